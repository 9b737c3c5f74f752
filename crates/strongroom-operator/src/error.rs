use std::io;
use std::path::PathBuf;

/// Why no verdict could be reached. A verdict, good or bad, is a [`Report`](crate::Report).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no `records.db` in the folder. Give the data folder's `service` folder.
    #[error("{} holds no records.db", folder.display())]
    NoStore {
        /// The folder that was looked at.
        folder: PathBuf,
    },
    /// The database is of another version of the format. Use the `verify` that came with it.
    #[error("the database has format version {found}, this program reads version {known}")]
    OtherFormat {
        /// Version found.
        found: i64,
        /// Version that this program reads.
        known: i64,
    },
    /// The database is not Strongroom's.
    #[error("records.db is not a Strongroom database")]
    NotOurs,
    /// SQLite could not read the database; it may be damaged.
    #[error("records.db cannot be read: {0}")]
    Database(#[from] rusqlite::Error),
    /// The operating system refused to show a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl VerifyError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
