//! The operator's own folder: the key that signs, the evidence log, the key of pseudonyms.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::PackageError;
use super::key::LocalKey;
use super::log::EvidenceLog;
use super::redact::RedactionKey;

/// The folder. Whoever can read it can sign as this operator.
pub struct Home {
    folder: PathBuf,
    key: LocalKey,
}

impl Home {
    /// Opens the folder, and makes it with a new key and a new name if there is none. The name stands in the verifier key and in every
    /// checkpoint; no two operators have the same.
    pub fn open(folder: &Path) -> Result<Self, PackageError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(PackageError::io(folder))?;
        let name = name(&folder.join("origin"))?;
        let key = LocalKey::load_or_create(folder, &name)?;
        Ok(Self {
            folder: folder.to_owned(),
            key,
        })
    }

    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &LocalKey {
        &self.key
    }

    /// The evidence log, for this run alone.
    pub fn log(&self) -> Result<EvidenceLog, PackageError> {
        EvidenceLog::open(&self.folder.join("log"), &self.key)
    }

    /// The key that pseudonyms follow from.
    pub fn redaction_key(&self) -> Result<RedactionKey, PackageError> {
        RedactionKey::load_or_create(&self.folder.join("redaction.key"))
    }
}

/// The name in the file, or a new one, which is written there.
fn name(path: &Path) -> Result<String, PackageError> {
    match fs::read_to_string(path) {
        Ok(name) => return Ok(name.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(PackageError::io(path)(error)),
    }
    let name = format!("strongroom-evidence/{}", uuid::Uuid::new_v4().simple());
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(name.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(PackageError::io(path))?;
    Ok(name)
}
