//! Where large blobs live: sealed segments are appended, made durable under a new random name, read by range, removed.

pub(crate) mod folder;
#[cfg(any(test, feature = "conformance"))]
pub(crate) mod memory;
mod staged;

use std::{fmt, str::FromStr};

use strongroom_seal::{BoxFuture, SealError};
use thiserror::Error;

use crate::{
    error::StorageFault,
    sealing::{SealedSegment, SegmentBuffer},
};

pub(crate) use staged::{Litter, LitterBin, StagedFile};

/// A store of sealed blobs. A blob never changes once it is durable.
pub(crate) trait Blobs: Send + Sync + 'static {
    /// Begins a blob.
    fn create(&self) -> Box<dyn BlobSink>;

    /// Finds a blob; `None` if there is none of this name.
    fn open(&self, name: BlobName) -> BoxFuture<'_, Result<Option<Box<dyn BlobSource>>, StorageFault>>;

    /// Notes that a committed record refers to the blob. It need not be durable: the next start finds it out again.
    fn settle(&self, name: BlobName) -> BoxFuture<'_, Result<(), StorageFault>>;

    /// Removes a blob. One that is not there is as good as removed.
    fn remove(&self, name: BlobName) -> BoxFuture<'_, Result<(), StorageFault>>;

    /// Removes blobs so that they stay removed, whatever happens to the machine.
    fn remove_for_good(&self, names: Vec<BlobName>) -> BoxFuture<'_, Result<(), StorageFault>>;

    /// Every durable blob. Removes what was begun by another life of the program and never became durable.
    fn sweep(&self) -> BoxFuture<'_, Result<Found, StorageFault>>;
}

/// The durable blobs that are there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Waiting for their record's commit, or committed a moment before the end.
    pub(crate) staged: Vec<BlobName>,
    /// A committed record referred to each of these once.
    pub(crate) settled: Vec<BlobName>,
}

/// A blob being written. Dropping it removes it.
pub(crate) trait BlobSink: Send {
    /// Writes the segment and gives it back, so that its buffer serves again.
    fn append(&mut self, segment: SealedSegment) -> BoxFuture<'_, Result<SealedSegment, AppendError>>;

    /// Makes the blob durable: afterwards it survives a crash, until it is removed.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<BlobName, StorageFault>>;
}

/// A durable blob's bytes.
pub(crate) trait BlobSource: Send + Sync {
    /// How many there are.
    fn len(&self) -> u64;

    /// Fills the buffer from `offset`; fewer bytes than that are a fault.
    fn read_at(
        &self,
        offset: u64,
        buffer: SegmentBuffer,
    ) -> BoxFuture<'_, Result<SegmentBuffer, StorageFault>>;
}

/// Why a segment was not written.
#[derive(Debug, Error)]
pub(crate) enum AppendError {
    #[error(transparent)]
    Storage(#[from] StorageFault),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A blob's name: random, so that it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlobName(u128);

impl BlobName {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn random() -> Self {
        Self(uuid::Uuid::new_v4().as_u128())
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

/// The text is not a blob's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a blob's name")]
pub(crate) struct BlobNameError;

impl FromStr for BlobName {
    type Err = BlobNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != Self::LEN || !text.bytes().all(lower_hex) {
            return Err(BlobNameError);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| BlobNameError)
    }
}
