//! Blobs on their way out.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use strongroom_seal::{OpenError, blob_layout};
use zeroize::Zeroizing;

use crate::{
    blobs::BlobSource,
    error::{Corruption, StorageFault, StoreError},
    keyring::Lease,
    limits,
    records::{Name, StoredBytes, StoredPart},
    sealing::{SegmentBuffer, corruption, part_context},
    staging::Target,
    store::{Inner, Misses},
};

/// Reads a blob, or a range of it, one segment at a time.
///
/// Between two pieces it holds no key: each segment's is unwrapped under a guard of the lease and wiped again. The plaintext of a segment
/// is overwritten by the next one's sealed bytes, and wiped with the reader.
pub struct BlobReader {
    inner: Arc<Inner>,
    lease: Lease,
    target: Target,
    wrapped: Vec<u8>,
    header: [u8; blob_layout::HEADER_LEN],
    stored: Stored,
    size: u64,
    whole: Range<u64>,
    /// What is still to be read.
    left: Range<u64>,
    spare: Spare,
}

/// Sealed bytes, wherever they are.
pub(crate) enum Stored {
    Inline(Vec<u8>),
    Blob(Box<dyn BlobSource>),
}

impl Stored {
    fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob(source) => source.len(),
        }
    }

    async fn read_at(&self, offset: u64, mut buffer: SegmentBuffer) -> Result<SegmentBuffer, StorageFault> {
        match self {
            Self::Blob(source) => source.read_at(offset, buffer).await,
            Self::Inline(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let found = start
                    .checked_add(buffer.len())
                    .and_then(|end| bytes.get(start..end));
                buffer.copy_from_slice(
                    found.ok_or_else(|| StorageFault::new("an inline blob ends too early"))?,
                );
                Ok(buffer)
            }
        }
    }
}

impl BlobReader {
    pub(crate) async fn open(
        inner: Arc<Inner>,
        lease: Lease,
        target: Target,
        part: StoredPart,
        range: Option<Range<u64>>,
    ) -> Result<Self, StoreError> {
        let size = part.size;
        let whole = match range {
            None => 0..size,
            Some(range) if range.start < size && range.start < range.end => range.start..range.end.min(size),
            Some(_) => return Err(StoreError::OutOfRange { len: size }),
        };
        let stored = inner.find_bytes(part.bytes, size).await?;
        let header = stored
            .read_at(0, SegmentBuffer::new(blob_layout::HEADER_LEN))
            .await?;
        let header = header.first_chunk().copied().ok_or(Corruption::Length)?;
        let left = whole.clone();
        Ok(Self {
            inner,
            lease,
            target,
            wrapped: part.wrapped,
            header,
            stored,
            size,
            whole,
            left,
            spare: Spare::default(),
        })
    }

    /// The length of the whole blob before sealing.
    #[must_use]
    pub fn blob_len(&self) -> u64 {
        self.size
    }

    /// How many bytes this reader yields in all: the blob's, or the range's.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.whole.end - self.whole.start
    }

    /// Whether it yields nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    /// The next piece; `None` at the end. After an error there is nothing more.
    pub async fn next_chunk(&mut self) -> Option<Result<Bytes, StoreError>> {
        if self.left.is_empty() {
            return None;
        }
        let piece = self.next_segment().await;
        if piece.is_err() {
            self.left.start = self.left.end;
        }
        Some(piece)
    }

    async fn next_segment(&mut self) -> Result<Bytes, StoreError> {
        self.lease.check()?;
        let index = blob_layout::segment_of(self.left.start);
        let place = blob_layout::stored_range(index, self.stored.len());
        let length = usize::try_from(place.end - place.start).map_err(|_| Corruption::Length)?;
        let buffer = self.spare.take().fit(length, self.room());
        let mut buffer = self.stored.read_at(place.start, buffer).await?;
        let opened = self.open_segment(index, &mut buffer).await?;
        let start = blob_layout::plain_range(index).start;
        let within = |offset: u64| {
            usize::try_from(offset.saturating_sub(start))
                .unwrap_or(usize::MAX)
                .min(opened)
        };
        let piece = within(self.left.start)..within(self.left.end);
        let lent = Lent {
            buffer,
            piece,
            spare: self.spare.clone(),
        };
        if lent.piece.is_empty() {
            return Err(Corruption::Length.into());
        }
        self.left.start += lent.piece.len() as u64;
        Ok(Bytes::from_owner(lent))
    }

    /// The length of this blob's longest segment.
    fn room(&self) -> usize {
        usize::try_from(self.stored.len()).map_or(blob_layout::SEGMENT_LEN, |stored| {
            stored.min(blob_layout::SEGMENT_LEN)
        })
    }

    /// Opens a segment where it lies and says how long its plaintext is.
    async fn open_segment(&mut self, index: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let last = index + 1 == blob_layout::segments(self.size);
        let mut misses = Misses::default();
        for _ in 0..limits::COMMIT_TRIES {
            let Target {
                account,
                kind,
                id,
                part,
            } = &self.target;
            let context = part_context(*account, kind, id, *part)?;
            match self
                .inner
                .open_key(&mut self.lease, &context, &self.wrapped)
                .await
            {
                Ok((guard, key)) => {
                    let opener = key.blob_opener(&context, &self.header).map_err(corruption)?;
                    let opened = opener.open_segment(index, last, buffer).map(|plain| plain.len());
                    drop(guard);
                    return opened.map_err(|error: OpenError| corruption(error).into());
                }
                Err(miss) => {
                    misses.judge(miss)?;
                    let name = Name {
                        account: *account,
                        kind,
                        id,
                    };
                    let part = self.inner.records.part(name, *part).await?;
                    self.wrapped = part.ok_or(StoreError::NotFound)?.wrapped;
                }
            }
        }
        Err(StoreError::Busy)
    }
}

/// A segment's plaintext in a caller's hands. When given back, its buffer serves the next segment.
struct Lent {
    buffer: SegmentBuffer,
    piece: Range<usize>,
    spare: Spare,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(self.piece.clone()).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.spare.give(std::mem::take(&mut self.buffer));
    }
}

/// The buffer that waits to be used again.
#[derive(Clone, Default)]
struct Spare {
    buffer: Arc<Mutex<SegmentBuffer>>,
}

impl Spare {
    fn take(&self) -> SegmentBuffer {
        std::mem::take(&mut *self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give(&self, buffer: SegmentBuffer) {
        *self.buffer.lock().unwrap_or_else(PoisonError::into_inner) = buffer;
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
pub struct StoredReader {
    stored: Stored,
    at: u64,
}

impl StoredReader {
    pub(crate) fn new(stored: Stored) -> Self {
        Self { stored, at: 0 }
    }

    /// How many bytes are stored.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.stored.len()
    }

    /// Whether nothing is stored; never so for a sound blob.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece; `None` at the end. After an error there is nothing more.
    pub async fn next_chunk(&mut self) -> Option<Result<Bytes, StoreError>> {
        let left = self.len().saturating_sub(self.at);
        let length = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(blob_layout::SEGMENT_LEN);
        if length == 0 {
            return None;
        }
        let read = self.stored.read_at(self.at, SegmentBuffer::new(length)).await;
        self.at = if read.is_ok() {
            self.at + length as u64
        } else {
            self.len()
        };
        Some(read.map(Bytes::from_owner).map_err(Into::into))
    }
}

impl Inner {
    /// Finds a blob's sealed bytes and checks that there are as many as the plaintext's length demands.
    pub(crate) async fn find_bytes(&self, bytes: StoredBytes, size: u64) -> Result<Stored, StoreError> {
        let stored = match bytes {
            StoredBytes::Inline(bytes) => Stored::Inline(bytes),
            StoredBytes::File(name) => Stored::Blob(self.blobs.open(name).await?.ok_or(Corruption::Length)?),
        };
        let expected = blob_layout::stored_len(size).map_err(|_| Corruption::Length)?;
        if stored.len() == expected {
            Ok(stored)
        } else {
            Err(Corruption::Length.into())
        }
    }
}
