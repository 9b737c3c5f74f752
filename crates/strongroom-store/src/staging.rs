//! Blobs on their way in.

use std::sync::Arc;

use bytes::Bytes;
use strongroom_seal::{AccountId, ObjectKey, blob_layout};

use crate::{
    blobs::{AppendError, BlobSink, StagedFile},
    error::StoreError,
    keyring::Lease,
    limits,
    records::PartBytes,
    sealing::{SealedSegment, part_context},
    store::Inner,
};

/// Takes a blob in pieces and seals it segment by segment in one buffer. Dropping it removes what was written.
pub struct BlobWriter {
    inner: Arc<Inner>,
    lease: Lease,
    target: Target,
    key: ObjectKey,
    /// Gone after a failure: nothing more may be written then.
    segment: Option<SealedSegment>,
    sink: Option<Box<dyn BlobSink>>,
    len: u64,
}

/// The part that a blob is staged for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) account: AccountId,
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) part: u32,
}

impl BlobWriter {
    pub(crate) fn begin(inner: Arc<Inner>, lease: Lease, target: Target) -> Result<Self, StoreError> {
        let guard = lease.guard()?;
        let context = part_context(target.account, &target.kind, &target.id, target.part)?;
        let key = ObjectKey::generate()?;
        let segment = SealedSegment::begin(Box::new(key.blob_sealer(&context)?));
        drop(guard);
        Ok(Self {
            inner,
            lease,
            target,
            key,
            segment: Some(segment),
            sink: None,
            len: 0,
        })
    }

    /// Takes the next piece. After an error the blob is lost and only dropping is left.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        self.lease.check().inspect_err(|_| self.segment = None)?;
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            let segment = self.segment.as_mut().ok_or(StoreError::Closed)?;
            if segment.sealer().is_full() {
                self.store_segment(false).await?;
                continue;
            }
            let before = rest.len();
            segment.sealer().push(&mut rest);
            self.len += (before - rest.len()) as u64;
        }
        Ok(())
    }

    /// How much was taken so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was taken so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends the blob; it is durable now, or small enough to travel inside the record's commit.
    pub async fn finish(mut self) -> Result<StagedBlob, StoreError> {
        let stored = blob_layout::stored_len(self.len)?;
        let bytes = if self.sink.is_none() && self.len <= limits::INLINE_BLOB as u64 {
            let guard = self.lease.guard()?;
            let sealed = self.segment.take().ok_or(StoreError::Closed)?.into_inline()?;
            drop(guard);
            PartBytes::Inline(sealed)
        } else {
            self.store_segment(true).await?;
            let name = self.sink.take().ok_or(StoreError::Closed)?.finish().await?;
            PartBytes::File(StagedFile::new(name, self.inner.bin.clone()))
        };
        Ok(StagedBlob {
            target: self.target,
            size: self.len,
            stored,
            key: self.key,
            bytes,
        })
    }

    /// Seals and writes what the buffer holds. The blob has a key of its own, so no guard is held meanwhile: wiping must
    /// not wait for the disk.
    async fn store_segment(&mut self, last: bool) -> Result<(), StoreError> {
        let mut segment = self.segment.take().ok_or(StoreError::Closed)?;
        if last {
            segment.close();
        }
        let sink = self.sink.get_or_insert_with(|| self.inner.blobs.create());
        // Shown and given back at once: it is a use of the key, and is noted as one.
        drop(self.lease.guard()?);
        self.segment = Some(sink.append(segment).await?);
        Ok(())
    }
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Storage(fault) => Self::Io(fault),
            AppendError::Seal(error) => error.into(),
        }
    }
}

/// A sealed blob waiting for its record. Dropping it removes it.
pub struct StagedBlob {
    pub(crate) target: Target,
    pub(crate) size: u64,
    pub(crate) stored: u64,
    /// Kept until the commit, which wraps it under the branch version that is current then.
    pub(crate) key: ObjectKey,
    pub(crate) bytes: PartBytes,
}

impl StagedBlob {
    /// Its length before sealing.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.size
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Its part number.
    #[must_use]
    pub fn part(&self) -> u32 {
        self.target.part
    }
}
