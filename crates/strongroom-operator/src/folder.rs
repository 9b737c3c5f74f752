//! The files under `service/`, each by the name that the format gives it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::VerifyError;
use crate::limits::{CHUNK, FOLDER_DEPTH};

/// What the name of a blob ends with while its record commits.
const STAGED: &str = ".staged";

/// What a file is, by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `records.db`.
    Database,
    /// The database's log and shared memory.
    DatabaseLog,
    /// The file whose lock keeps a second writer out; empty.
    Lock,
    /// `blobs/xx/<name>`.
    Blob,
    /// `blobs/xx/<name>.staged`.
    Staged,
    /// `blobs/incoming/<name>`.
    Incoming,
    /// None of these.
    Unknown,
}

/// A file under the folder.
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Relative to the folder, with `/`.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) role: Role,
}

impl Found {
    /// The blob's name, which is the last part of its path.
    pub(crate) fn blob(&self) -> &str {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(STAGED).unwrap_or(name)
    }

    /// Whether it still is where it was found.
    pub(crate) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }
}

/// Lists all files. One that vanishes meanwhile, as files of a live service do, is left out.
pub(crate) fn walk(folder: &Path) -> Result<Vec<Found>, VerifyError> {
    let mut found = Vec::new();
    list(folder, folder, 0, &mut found)?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Hands the file to `visit` chunk by chunk. False if it is gone.
pub(crate) fn read(path: &Path, mut visit: impl FnMut(&[u8])) -> Result<bool, VerifyError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(VerifyError::io(path))?,
    };
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = file.read(&mut buffer).map_err(VerifyError::io(path))?;
        if count == 0 {
            return Ok(true);
        }
        visit(buffer.get(..count).unwrap_or_default());
    }
}

/// Opens the blob of this name, whether or not the service noted yet that its record was committed.
pub(crate) fn open_blob(folder: &Path, blob: &str) -> io::Result<File> {
    let shelf = folder.join("blobs").join(blob.get(..2).unwrap_or_default());
    let settled = || File::open(shelf.join(blob));
    settled()
        .or_else(|_| File::open(shelf.join(format!("{blob}{STAGED}"))))
        // It was renamed between the two looks.
        .or_else(|_| settled())
}

fn list(root: &Path, folder: &Path, depth: usize, found: &mut Vec<Found>) -> Result<(), VerifyError> {
    for entry in fs::read_dir(folder).map_err(VerifyError::io(folder))? {
        let path = entry.map_err(VerifyError::io(folder))?.path();
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(VerifyError::io(&path))?,
        };
        if metadata.is_dir() && depth < FOLDER_DEPTH {
            list(root, &path, depth + 1, found)?;
            continue;
        }
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        let role = if metadata.is_file() {
            role(&name)
        } else {
            Role::Unknown
        };
        found.push(Found {
            path,
            name,
            bytes: metadata.len(),
            role,
        });
    }
    Ok(())
}

fn role(name: &str) -> Role {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["records.db"] => Role::Database,
        ["records.db-wal" | "records.db-shm"] => Role::DatabaseLog,
        ["lock"] => Role::Lock,
        ["blobs", "incoming", blob] if is_blob_name(blob) => Role::Incoming,
        ["blobs", shelf, blob] if shelf.len() == 2 && blob.starts_with(shelf) => {
            match blob.strip_suffix(STAGED) {
                Some(name) if is_blob_name(name) => Role::Staged,
                None if is_blob_name(blob) => Role::Blob,
                _ => Role::Unknown,
            }
        }
        _ => Role::Unknown,
    }
}

fn is_blob_name(name: &str) -> bool {
    name.len() == 32
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_whole_path_only() {
        let name = "0f".repeat(16);
        assert_eq!(role("records.db"), Role::Database);
        assert_eq!(role(&format!("blobs/0f/{name}")), Role::Blob);
        assert_eq!(role(&format!("blobs/incoming/{name}")), Role::Incoming);
        assert_eq!(role(&format!("blobs/0f/{name}.staged")), Role::Staged);
        for strange in ["records.db.bak", "blobs/0f/notes.txt", "x/records.db", "lock/x"] {
            assert_eq!(role(strange), Role::Unknown, "{strange}");
        }
        assert_eq!(role(&format!("blobs/0e/{name}")), Role::Unknown);
        assert_eq!(role(&format!("blobs/0f/{name}.staged.staged")), Role::Unknown);
    }
}
