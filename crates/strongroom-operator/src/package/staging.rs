//! Where a package is built: a folder beside the place it is for, which gets its name only when it is whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use super::error::PackageError;
use crate::limits::PACKAGE_FILES;

/// A file as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) sha256: String,
    pub(super) size: u64,
}

/// A folder being filled. What is dropped before [`Staging::settle`] is removed.
pub(super) struct Staging {
    folder: PathBuf,
    target: PathBuf,
    entries: Vec<Entry>,
    is_settled: bool,
}

impl Staging {
    /// Begins beside `target`, where nothing may be.
    pub(super) fn begin(target: &Path) -> Result<Self, PackageError> {
        if fs::symlink_metadata(target).is_ok() {
            return Err(PackageError::Exists(target.to_owned()));
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let folder = target.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        for path in [folder.clone(), folder.join("raw"), folder.join("oscal")] {
            builder.create(&path).map_err(PackageError::io(&path))?;
        }
        let target = target.to_owned();
        Ok(Self {
            folder,
            target,
            entries: Vec::new(),
            is_settled: false,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file that the manifest is to name.
    pub(super) fn write(
        &mut self,
        path: &str,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), PackageError>,
    ) -> Result<(), PackageError> {
        if self.entries.len() >= PACKAGE_FILES {
            return Err(PackageError::TooManyFiles { most: PACKAGE_FILES });
        }
        let mut hashed = Hashed {
            inner: BufWriter::new(self.create(path)?),
            context: Context::new(&SHA256),
            size: 0,
        };
        fill(&mut hashed)?;
        let Hashed { inner, context, size } = hashed;
        self.sync(path, inner)?;
        let sha256 = hex::encode(context.finish());
        self.entries.push(Entry {
            path: path.to_owned(),
            sha256,
            size,
        });
        Ok(())
    }

    /// Writes a file that the manifest cannot name.
    pub(super) fn write_outside(&self, path: &str, bytes: &[u8]) -> Result<(), PackageError> {
        let mut file = BufWriter::new(self.create(path)?);
        file.write_all(bytes).map_err(PackageError::io(path))?;
        self.sync(path, file)
    }

    /// What the manifest names, in order.
    pub(super) fn entries(&mut self) -> &[Entry] {
        self.entries.sort_by(|one, next| one.path.cmp(&next.path));
        &self.entries
    }

    /// Gives the folder its name.
    pub(super) fn settle(mut self) -> Result<(), PackageError> {
        for folder in [&self.folder.join("raw"), &self.folder.join("oscal"), &self.folder] {
            sync_folder(folder)?;
        }
        // A rename would replace an empty folder that came there meanwhile, and nothing else.
        fs::rename(&self.folder, &self.target).map_err(PackageError::io(&self.target))?;
        self.is_settled = true;
        sync_parent(&self.target)
    }

    /// Gives a file beside the folder the name that the folder was for.
    pub(super) fn settle_file(self, file: &Path) -> Result<(), PackageError> {
        // Unlike a rename, a link never replaces what came there meanwhile.
        let linked = fs::hard_link(file, &self.target);
        let _ = fs::remove_file(file);
        linked.map_err(PackageError::io(&self.target))?;
        sync_parent(&self.target)
    }

    fn create(&self, path: &str) -> Result<File, PackageError> {
        let path = self.folder.join(path);
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o644)
            .open(&path);
        file.map_err(PackageError::io(path))
    }

    fn sync(&self, path: &str, file: BufWriter<File>) -> Result<(), PackageError> {
        let path = self.folder.join(path);
        let file = file
            .into_inner()
            .map_err(|error| PackageError::io(&path)(error.into_error()))?;
        file.sync_all().map_err(PackageError::io(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.is_settled {
            // What is left is ours alone, by its name, and says that it is partial.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn sync_folder(folder: &Path) -> Result<(), PackageError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(PackageError::io(folder))
}

fn sync_parent(path: &Path) -> Result<(), PackageError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

struct Hashed<W> {
    inner: W,
    context: Context,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.context.update(bytes.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
