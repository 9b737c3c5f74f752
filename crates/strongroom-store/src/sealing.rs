//! The only place where plaintext becomes what a back end accepts, and where it comes back.

use std::ops::{Deref, DerefMut};

use strongroom_seal::{AccountId, BlobSealer, Context, ObjectKey, OpenError, SealError, blob_layout};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    error::{Corruption, StoreError},
    object::PartSize,
    records::{RECORD_PART, StoredRecord},
};

/// Sealed bytes. Nothing else may enter a back end, and nothing outside of this module makes one.
pub(crate) struct Sealed(Vec<u8>);

impl Sealed {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes arbitrary bytes, for the suites that try back ends without keys.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn pretend(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// The next stretch of a blob, sealed at the moment it is written, in the buffer where its plaintext stands.
pub(crate) struct SealedSegment {
    sealer: Box<BlobSealer>,
    first: bool,
    last: bool,
}

impl SealedSegment {
    pub(crate) fn begin(sealer: Box<BlobSealer>) -> Self {
        Self {
            sealer,
            first: true,
            last: false,
        }
    }

    /// Where plaintext is brought in.
    pub(crate) fn sealer(&mut self) -> &mut BlobSealer {
        &mut self.sealer
    }

    /// Nothing follows.
    pub(crate) fn close(&mut self) {
        self.last = true;
    }

    /// Seals, and shows the bytes to be stored: with the first segment, also the header.
    pub(crate) fn with_bytes<E>(
        &mut self,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, SealError> {
        if self.first
            && let Err(error) = write(self.sealer.header())
        {
            return Ok(Err(error));
        }
        self.first = false;
        let sealed = if self.last {
            self.sealer.finish()?
        } else {
            self.sealer.seal_segment()?
        };
        Ok(write(sealed))
    }

    /// Seals a whole small blob at once.
    pub(crate) fn into_inline(mut self) -> Result<Sealed, SealError> {
        self.close();
        let length = blob_layout::stored_len(self.sealer.plain_len())?;
        let mut stored = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        match self.with_bytes(|bytes| {
            stored.extend_from_slice(bytes);
            Ok::<_, std::convert::Infallible>(())
        })? {
            Ok(()) => Ok(Sealed(stored)),
        }
    }
}

/// Room for a segment on its way out: its sealed bytes are read into it and opened where they lie. It serves one segment after another.
/// Wiped in its whole length when dropped, and not between two segments: that would be a pass over memory for each, and the next one's
/// sealed bytes overwrite what stands there.
#[derive(Default)]
pub(crate) struct SegmentBuffer(Vec<u8>);

impl SegmentBuffer {
    pub(crate) fn new(length: usize) -> Self {
        Self(vec![0; length])
    }

    /// The same buffer with this length, or if it is too small for that, another with `room`. It is never moved by growing, which would
    /// leave a copy behind.
    pub(crate) fn fit(mut self, length: usize, room: usize) -> Self {
        if self.0.capacity() < length {
            self = Self(Vec::with_capacity(room.max(length)));
        }
        self.0.resize(length, 0);
        self
    }
}

impl Deref for SegmentBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for SegmentBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl AsRef<[u8]> for SegmentBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SegmentBuffer {
    fn drop(&mut self) {
        // The last segment may be shorter than those before it.
        self.0.resize(self.0.capacity(), 0);
        self.0.as_mut_slice().zeroize();
    }
}

/// What stands in the clear beside a record, and is repeated inside its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clear {
    pub(crate) created_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) revision: u64,
    pub(crate) parts: Vec<PartSize>,
}

const ENVELOPE: u8 = 1;
const FIXED: usize = 1 + 8 + 8 + 8 + 4;
const PER_PART: usize = 4 + 8;

impl Clear {
    pub(crate) fn of(stored: &StoredRecord) -> Self {
        Self {
            created_ms: stored.created_ms,
            expires_ms: stored.expires_ms,
            revision: stored.revision,
            parts: stored.parts.clone(),
        }
    }

    fn encoded_len(&self) -> usize {
        FIXED + self.parts.len() * PER_PART
    }

    /// Version, creation, expiry (0: none), revision, number of parts, number and length of each; big-endian.
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(ENVELOPE);
        out.extend_from_slice(&self.created_ms.to_be_bytes());
        out.extend_from_slice(&self.expires_ms.unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&self.revision.to_be_bytes());
        let parts = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&parts.to_be_bytes());
        for size in &self.parts {
            out.extend_from_slice(&size.part.to_be_bytes());
            out.extend_from_slice(&size.size.to_be_bytes());
        }
    }
}

/// Seals a record's clear columns and body as one.
pub(crate) fn seal_record(
    key: &ObjectKey,
    name: &Context<'_>,
    clear: &Clear,
    body: &[u8],
) -> Result<Sealed, SealError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(clear.encoded_len() + body.len()));
    clear.encode(&mut plain);
    plain.extend_from_slice(body);
    key.seal_record(name, &plain).map(Sealed)
}

/// Opens a record and compares what is inside with what stood beside it.
pub(crate) fn open_record(
    key: &ObjectKey,
    name: &Context<'_>,
    clear: &Clear,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Corruption> {
    let mut plain = key.open_record(name, sealed).map_err(corruption)?;
    let mut expected = Vec::with_capacity(clear.encoded_len());
    clear.encode(&mut expected);
    match plain.first() {
        Some(&ENVELOPE) => {}
        _ => return Err(Corruption::Format),
    }
    if !plain.starts_with(&expected) {
        return Err(Corruption::Columns);
    }
    plain.copy_within(expected.len().., 0);
    let body = plain.len() - expected.len();
    if let Some(tail) = plain.get_mut(body..) {
        tail.zeroize();
    }
    plain.truncate(body);
    Ok(plain)
}

/// The context of a record's own key and body.
pub(crate) fn record_context<'a>(
    account: AccountId,
    kind: &'a str,
    id: &'a str,
) -> Result<Context<'a>, StoreError> {
    Context::new(account, kind, id, RECORD_PART).map_err(|_| StoreError::BadName)
}

/// The context of one of its blobs.
pub(crate) fn part_context<'a>(
    account: AccountId,
    kind: &'a str,
    id: &'a str,
    part: u32,
) -> Result<Context<'a>, StoreError> {
    if part == RECORD_PART {
        return Err(StoreError::BadName);
    }
    Context::new(account, kind, id, part).map_err(|_| StoreError::BadName)
}

/// What a failure to open stored bytes means.
pub(crate) fn corruption(error: OpenError) -> Corruption {
    match error {
        OpenError::NotOurs | OpenError::FutureVersion { .. } => Corruption::Format,
        OpenError::Truncated | OpenError::TrailingBytes | OpenError::TooLarge | OpenError::OutOfRange => {
            Corruption::Length
        }
        OpenError::WrongBranch { .. }
        | OpenError::WrongAccount
        | OpenError::CheckMismatch
        | OpenError::NotEndorsed => Corruption::Key,
        OpenError::NotAuthentic => Corruption::Sealed,
    }
}

#[cfg(test)]
mod tests {
    use super::SegmentBuffer;

    #[test]
    fn a_segment_buffer_serves_again_where_it_is_and_never_grows() {
        let buffer = SegmentBuffer::default().fit(60, 100);
        let place = buffer.as_ptr();
        let buffer = buffer.fit(100, 100).fit(10, 100).fit(100, 100);
        assert_eq!((buffer.len(), buffer.as_ptr()), (100, place));
        assert_eq!(buffer[10..], [0; 90], "what was cut off does not come back");
        assert_eq!(buffer.fit(200, 300).len(), 200);
    }
}
