//! The evidence log: one entry for each package, in a transparency log of the operator's own.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strongroom_journal::{Hash, Journal, JournalError, leaf_hash};

use super::error::PackageError;
use super::key::LocalKey;
use crate::limits::{LOG_ENTRIES, LOG_PAGE};

/// An open evidence log. While it is, no other run can open it.
pub struct EvidenceLog {
    journal: Journal,
    verifier: String,
    _lock: File,
}

/// An entry's place in the log.
pub(super) struct Place {
    /// `checkpoint.txt`: the proof that the entry is the last of the tree just after it, with the signed head of that tree.
    pub(super) checkpoint: String,
    /// `log.txt`: the leaf hashes of that tree.
    pub(super) leaves: String,
}

impl EvidenceLog {
    /// Opens the log in `folder`, or begins one there.
    pub fn open(folder: &Path, key: &LocalKey) -> Result<Self, PackageError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(PackageError::io(folder))?;
        let path = folder.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path);
        let lock = lock.map_err(PackageError::io(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PackageError::LogInUse),
            Err(TryLockError::Error(cause)) => return Err(PackageError::io(path)(cause)),
        }
        let journal = Journal::open(&folder.join("tiles"), key.for_log()?)?;
        let verifier = journal.verifying_key().to_string();
        Ok(Self {
            journal,
            verifier,
            _lock: lock,
        })
    }

    /// The key that its checkpoints verify with, as `name+id+key`.
    #[must_use]
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    /// The place of this entry, which is appended if the log does not have it. What is handed out is of the tree that ends with the entry, so
    /// that it stays the same however the log grows.
    pub(super) fn enter(&self, entry: &[u8]) -> Result<Place, PackageError> {
        let mut leaves = Vec::new();
        let index = match self.find(entry, &mut leaves)? {
            Some(index) => index,
            None => self.append(entry, &mut leaves)?,
        };
        let size = index + 1;
        let proof = self.journal.inclusion_proof(index, size)?;
        let note = self.journal.checkpoint_at(size)?;
        Ok(Place {
            checkpoint: format!("c2sp.org/tlog-proof@v1\nindex {index}\n{}\n{note}", lines(&proof)),
            leaves: lines(&leaves),
        })
    }

    /// Looks for the entry, and notes the leaves up to it.
    fn find(&self, entry: &[u8], leaves: &mut Vec<Hash>) -> Result<Option<u64>, JournalError> {
        let size = self.journal.size();
        let mut start = 0;
        while start < size {
            let end = size.min(start + LOG_PAGE);
            for (index, found) in (start..end).zip(self.journal.read(start, end)?) {
                leaves.push(leaf_hash(&found));
                if found == entry {
                    return Ok(Some(index));
                }
            }
            start = end;
        }
        Ok(None)
    }

    fn append(&self, entry: &[u8], leaves: &mut Vec<Hash>) -> Result<u64, PackageError> {
        if self.journal.size() >= LOG_ENTRIES {
            return Err(PackageError::LogFull);
        }
        let index = self.journal.append(entry.to_vec())?.wait()?;
        leaves.push(leaf_hash(entry));
        // The head in the log's own folder: at the next start nothing before it may be missing.
        self.journal.checkpoint()?;
        Ok(index)
    }
}

fn lines(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| STANDARD.encode(hash) + "\n").collect()
}
