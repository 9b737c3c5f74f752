//! Small secret files: made once, readable by their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::ControlError;

/// Makes the folder, for its owner alone.
pub(crate) fn make_folder(path: &Path) -> Result<(), ControlError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(at(path))
}

/// Reads the file, which must be readable by its owner alone. If there is none and there may be none yet, writes what `make`
/// gives, durably.
pub(crate) fn load_or_create(
    path: &Path,
    may_make: bool,
    make: impl FnOnce() -> Result<Zeroizing<Vec<u8>>, ControlError>,
) -> Result<Zeroizing<Vec<u8>>, ControlError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 == 0 => {
            return fs::read(path).map(Zeroizing::new).map_err(at(path));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path)(error)),
        _ => {
            return Err(ControlError::Key {
                path: path.to_owned(),
            });
        }
    }
    let content = make()?;
    // A crash in between leaves the old name without a file, never with half of one.
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(at(&temporary))?;
    file.write_all(&content)
        .and_then(|()| file.sync_all())
        .map_err(at(&temporary))?;
    fs::rename(&temporary, path).map_err(at(path))?;
    sync_folder_of(path)?;
    Ok(content)
}

/// Makes names in the file's folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), ControlError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

fn at(path: &Path) -> impl Fn(io::Error) -> ControlError {
    let path = path.to_owned();
    move |source| ControlError::Io {
        path: path.clone(),
        source,
    }
}
