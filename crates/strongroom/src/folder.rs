//! The data folder: what lies where, with which permissions, and the lock that admits one program.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Where commands look if they are not told.
pub(crate) const DEFAULT: &str = "./strongroom-data";

/// The layout of one data folder. Everything the program keeps lies below it.
#[derive(Clone, Debug)]
pub struct DataFolder {
    root: PathBuf,
}

impl DataFolder {
    /// The folder at `root`, which need not exist yet. The path is made absolute, for it is printed and shared.
    pub fn at(root: &Path) -> Result<Self, FolderError> {
        let root = std::path::absolute(root).map_err(|cause| FolderError::at(root, cause))?;
        Ok(Self { root })
    }

    /// Whether commands find this folder without being told.
    pub(crate) fn is_default(&self) -> bool {
        std::path::absolute(DEFAULT).is_ok_and(|default| default == self.root)
    }

    /// Makes what is missing, all of it closed to other users.
    pub(crate) fn prepare(&self) -> Result<(), FolderError> {
        for folder in [
            self.root.clone(),
            self.service(),
            self.vault(),
            self.control(),
            self.tls(),
            self.logs(),
        ] {
            make_private(&folder).map_err(|cause| FolderError::at(&folder, cause))?;
        }
        Ok(())
    }

    /// Makes what is missing and takes the lock.
    pub(crate) fn occupy(&self) -> Result<FolderLock, FolderError> {
        self.prepare()?;
        FolderLock::take(&self.root.join("lock"))
    }

    /// Whether what an earlier start made is all there. A database that is lost must not be begun anew beside the
    /// others: nothing would open any more, and blobs without a record would be swept away.
    pub(crate) fn check_whole(&self) -> Result<(), FolderError> {
        // The last file of a first start: before it, a start that was broken off is taken up again.
        if !self.env_file().exists() {
            return Ok(());
        }
        let lost = [
            self.control().join("control.db"),
            self.vault().join("vault.db"),
            self.service().join("records.db"),
        ]
        .into_iter()
        .find(|database| fs::metadata(database).map_or(true, |found| found.len() == 0));
        lost.map_or(Ok(()), |database| Err(FolderError::Lost { database }))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Sealed records and blobs, and the service's journal.
    pub fn service(&self) -> PathBuf {
        self.root.join("service")
    }

    /// What diagnostic settings deliver, unless it has a place of its own.
    pub(crate) fn diagnostics(&self) -> PathBuf {
        self.root.join("diagnostics")
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.root.join("vault")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.root.join("control")
    }

    pub(crate) fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// The program's logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The certificate of the local authority, for clients to trust.
    pub fn authority_certificate(&self) -> PathBuf {
        self.tls().join("ca.pem")
    }

    /// The shell file with what clients need.
    pub fn env_file(&self) -> PathBuf {
        self.root.join("env")
    }

    /// Where `az` keeps its settings for this instance.
    pub(crate) fn azure_config(&self) -> PathBuf {
        self.root.join("azure-config")
    }
}

/// Held for as long as the program uses the folder.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    fn take(path: &Path) -> Result<Self, FolderError> {
        let at = |cause| FolderError::at(path, cause);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(at)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(FolderError::InUse {
                folder: path.parent().unwrap_or(path).to_owned(),
            }),
            Err(errno) => Err(at(errno.into())),
        }
    }
}

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another instance runs on this folder: use that one, or stop it.
    #[error("the data folder {} is in use by another instance", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A database of an earlier start is missing or empty: put it back, with what lies beside it, from a copy.
    #[error(
        "{} is missing or empty, and what an earlier start stored cannot be read without it; \
         put it back, or start on another folder",
        database.display()
    )]
    Lost {
        /// The database.
        database: PathBuf,
    },
    /// The file system said no: mend what `cause` says and start again.
    #[error("{}: {cause}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system answered.
        cause: io::Error,
    },
}

impl FolderError {
    pub(crate) fn at(path: &Path, cause: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            cause,
        }
    }
}

/// Replaces `path` as a whole or not at all; readable by the owner alone.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), FolderError> {
    let at = |cause| FolderError::at(path, cause);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(at)?;
    file.write_all(content).map_err(at)?;
    file.sync_all().map_err(at)?;
    fs::rename(&temporary, path).map_err(at)?;
    match path.parent() {
        Some(folder) => File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(at),
        None => Ok(()),
    }
}

/// Makes a folder (and those above it), or closes an existing one, for the owner alone.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode == 0o700 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_occupant_of_one_folder_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(&place.path().join("data")).unwrap();
        let first = folder.occupy().unwrap();
        assert!(matches!(folder.occupy(), Err(FolderError::InUse { .. })));
        drop(first);
        folder.occupy().unwrap();
    }

    #[test]
    fn a_folder_that_lost_a_database_is_told_from_one_that_never_had_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path()).unwrap();
        folder.prepare().unwrap();
        folder.check_whole().unwrap();
        let databases = ["control/control.db", "vault/vault.db", "service/records.db"];
        for database in databases {
            fs::write(place.path().join(database), b"pages").unwrap();
        }
        write_private(&folder.env_file(), b"").unwrap();
        folder.check_whole().unwrap();
        for database in databases.map(|database| place.path().join(database)) {
            fs::write(&database, b"").unwrap();
            assert!(matches!(folder.check_whole(), Err(FolderError::Lost { .. })));
            fs::remove_file(&database).unwrap();
            let Err(FolderError::Lost { database: named }) = folder.check_whole() else {
                panic!("{database:?} is not missed");
            };
            assert_eq!(named, database);
            fs::write(&database, b"pages").unwrap();
        }
    }

    #[test]
    fn folders_and_files_are_closed_to_other_users() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path()).unwrap();
        let _lock = folder.occupy().unwrap();
        write_private(&folder.env_file(), b"export A='b'\n").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.service()), 0o700);
        assert_eq!(mode(&folder.env_file()), 0o600);
    }
}
