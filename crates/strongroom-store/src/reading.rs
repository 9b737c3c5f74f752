//! Blobs on their way out.

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::error::StoreError;

/// Reads a blob, or a range of it, one segment at a time.
pub struct BlobReader {}

impl BlobReader {
    /// The length of the whole blob before sealing.
    #[must_use]
    pub fn blob_len(&self) -> u64 {
        0
    }

    /// How many bytes this reader yields in all: the blob's, or the range's.
    #[must_use]
    pub fn len(&self) -> u64 {
        0
    }

    /// Whether it yields nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece; `None` at the end. After an error there is nothing more.
    pub async fn next_chunk(&mut self) -> Option<Result<Bytes, StoreError>> {
        None
    }
}

/// An object on its way out together with its key: it opens with Tink, and outlives revocation.
pub struct TinkExport {
    /// The key, as a Tink JSON keyset.
    pub keyset_json: Zeroizing<String>,
    /// What Tink wants as associated data.
    pub associated_data: Vec<u8>,
    /// The sealed bytes as stored.
    pub stored: StoredReader,
}

/// Reads sealed bytes as they are stored.
pub struct StoredReader {}

impl StoredReader {
    /// How many bytes are stored.
    #[must_use]
    pub fn len(&self) -> u64 {
        0
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece; `None` at the end.
    pub async fn next_chunk(&mut self) -> Option<Result<Bytes, StoreError>> {
        None
    }
}
