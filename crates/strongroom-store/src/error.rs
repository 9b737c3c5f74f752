//! What can go wrong, said as what the caller can do about it.

use std::io;

use strongroom_seal::{SealError, limits as seal_limits};
use thiserror::Error;

use crate::keyring::KeyDenied;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// The customer key does not allow it now. Nothing was read or written.
    #[error(transparent)]
    Key(#[from] KeyDenied),
    /// There is no such object, part or cursor.
    #[error("no such object")]
    NotFound,
    /// An object of this kind and id exists; choose another id.
    #[error("an object with this id exists")]
    AlreadyExists,
    /// The object changed since the caller read it; read again and decide anew.
    #[error("the object is at revision {current} now")]
    RevisionConflict {
        /// The revision that is stored.
        current: u64,
    },
    /// What is stored does not open or contradicts itself. The object is damaged or was tampered with.
    #[error("stored object is damaged: {0}")]
    Corrupt(#[from] Corruption),
    /// The body or blob is larger than the store takes.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The most bytes accepted.
        limit: u64,
    },
    /// The range begins at or after the end of the blob.
    #[error("range outside of the blob's {len} bytes")]
    OutOfRange {
        /// The blob's length.
        len: u64,
    },
    /// Kind, id or part number cannot name an object.
    #[error("not a valid name for an object")]
    BadName,
    /// The permit is for another account or another action.
    #[error("the permit does not allow this")]
    NotPermitted,
    /// Sealing did not happen; nothing was written.
    #[error(transparent)]
    Seal(SealError),
    /// Too much work is queued; try again shortly.
    #[error("the store is busy")]
    Busy,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// The storage failed.
    #[error(transparent)]
    Io(#[from] StorageFault),
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::TooLarge => Self::TooLarge {
                limit: seal_limits::MAX_BLOB_LEN,
            },
            other => Self::Seal(other),
        }
    }
}

/// In what way a stored object is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Corruption {
    /// The wrapped object key does not open under the account's branch key and this name.
    #[error("its key does not open")]
    Key,
    /// The sealed bytes do not authenticate.
    #[error("its bytes do not authenticate")]
    Sealed,
    /// What is readable beside the seal differs from what is repeated inside.
    #[error("its clear columns differ from its seal")]
    Columns,
    /// A part's bytes are missing, too short or too long.
    #[error("a part has the wrong length or is missing")]
    Length,
    /// The place of its key is not its own, or not free: the database names one place for two keys.
    #[error("its key's place is another's")]
    Place,
    /// The format's magic or version is not one this program reads.
    #[error("its format is unknown")]
    Format,
}

/// The storage below failed; the detail is for the log and carries no content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("storage failed: {detail}")]
pub struct StorageFault {
    detail: String,
    is_full: bool,
}

impl StorageFault {
    pub(crate) fn new(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            is_full: false,
        }
    }

    /// The storage has no room, or its owner's share of it is used up.
    pub(crate) fn full(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            is_full: true,
        }
    }

    /// The same failure, where the storage was found to have no room: that is why.
    pub(crate) fn for_want_of_room(self) -> Self {
        Self {
            is_full: true,
            ..self
        }
    }

    /// Whether there is no room: trying again does not help before somebody makes some.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }
}

impl From<io::Error> for StorageFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::full(error.to_string()),
            _ => Self::new(error.to_string()),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.into())
    }
}

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenStoreError {
    /// Another process holds the folder; stop it or choose another folder.
    #[error("{folder} is in use by another process")]
    InUse {
        /// The store's folder.
        folder: String,
    },
    /// The folder was written by a newer version of the program.
    #[error("the record database has format version {found}; this program reads up to {known}")]
    FutureFormat {
        /// The version found.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// The folder was written by an older version of the program, in a format that was never released. Begin anew in another folder.
    #[error(
        "the record database has format version {found}, which was never released; this program reads {known} and carries nothing over"
    )]
    PastFormat {
        /// The version found.
        found: i64,
        /// The version known.
        known: i64,
    },
    /// The record database is missing and blobs are there. Nothing was made or removed: put the database back, or move the
    /// folder `blobs` away if its content is not wanted any more.
    #[error(
        "{folder} holds blobs without their record database: put records.db back from the same backup, or move {folder}/blobs away to begin anew"
    )]
    BlobsWithoutDatabase {
        /// The store's folder.
        folder: String,
    },
    /// The file at the database's place is not ours.
    #[error("the record database is not a Strongroom store")]
    NotAStore,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageFault),
}

impl From<io::Error> for OpenStoreError {
    fn from(error: io::Error) -> Self {
        Self::Storage(error.into())
    }
}
