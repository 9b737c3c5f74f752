//! Blobs on their way in.

use bytes::Bytes;

use crate::error::StoreError;

/// Takes a blob in pieces and seals it segment by segment. Dropping it removes what was written.
pub struct BlobWriter {}

impl BlobWriter {
    /// Takes the next piece.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        let _ = piece;
        Err(StoreError::Closed)
    }

    /// How much was taken so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        0
    }

    /// Whether nothing was taken so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the blob; it is durable, or small enough to travel inside the record's commit.
    pub async fn finish(self) -> Result<StagedBlob, StoreError> {
        Err(StoreError::Closed)
    }
}

/// A sealed blob waiting for its record. Dropping it removes it.
pub struct StagedBlob {}

impl StagedBlob {
    /// Its length before sealing.
    #[must_use]
    pub fn len(&self) -> u64 {
        0
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its part number.
    #[must_use]
    pub fn part(&self) -> u32 {
        0
    }
}
