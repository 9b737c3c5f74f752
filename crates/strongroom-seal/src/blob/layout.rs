//! Where the bytes of a blob lie. Pure arithmetic: a range read asks it which segments to fetch.
//!
//! A stored blob is a 40-byte header and then segments. Each stored segment but the last ends at a multiple of 1 MiB of the
//! stored bytes; the first one shares its mebibyte with the header.

use std::ops::Range;

use crate::error::{OpenError, SealError};
use crate::limits::MAX_BLOB_LEN;

/// Length of the header: its own length, the salt, the nonce prefix.
pub const HEADER_LEN: usize = 40;
/// Length of a stored segment, the tag included.
pub const SEGMENT_LEN: usize = 1024 * 1024;
/// Length of a segment's tag.
pub const TAG_LEN: usize = 16;
/// Most plaintext in the first segment.
pub const FIRST_ROOM: usize = SEGMENT_LEN - HEADER_LEN - TAG_LEN;
/// Most plaintext in each further segment.
pub const ROOM: usize = SEGMENT_LEN - TAG_LEN;

// The same numbers for offsets in blobs, which may be larger than memory.
const HEADER: u64 = HEADER_LEN as u64;
const SEGMENT: u64 = SEGMENT_LEN as u64;
const TAG: u64 = TAG_LEN as u64;
const FIRST: u64 = FIRST_ROOM as u64;
const FURTHER: u64 = ROOM as u64;

/// How long a blob of `plain` bytes is when stored.
pub const fn stored_len(plain: u64) -> Result<u64, SealError> {
    if plain > MAX_BLOB_LEN {
        return Err(SealError::TooLarge);
    }
    Ok(HEADER + plain + TAG * segments(plain))
}

/// How many plaintext bytes a blob of `stored` bytes holds.
pub const fn plain_len(stored: u64) -> Result<u64, OpenError> {
    if stored < HEADER + TAG {
        return Err(OpenError::Truncated);
    }
    let segments = stored.div_ceil(SEGMENT);
    let last = stored - (segments - 1) * SEGMENT;
    if segments > 1 && last <= TAG {
        // A segment after the first is never empty.
        return Err(OpenError::Truncated);
    }
    let plain = stored - HEADER - TAG * segments;
    if plain > MAX_BLOB_LEN {
        Err(OpenError::TooLarge)
    } else {
        Ok(plain)
    }
}

/// How many segments hold `plain` bytes; an empty blob has one.
pub const fn segments(plain: u64) -> u64 {
    1 + plain.saturating_sub(FIRST).div_ceil(FURTHER)
}

/// The segment that holds the plaintext byte at `offset`.
pub const fn segment_of(offset: u64) -> u64 {
    if offset < FIRST {
        0
    } else {
        1 + (offset - FIRST) / FURTHER
    }
}

/// The plaintext bytes that `segment` holds when it is full.
pub const fn plain_range(segment: u64) -> Range<u64> {
    if segment == 0 {
        return 0..FIRST;
    }
    let start = (segment - 1).saturating_mul(FURTHER).saturating_add(FIRST);
    start..start.saturating_add(FURTHER)
}

/// Where the sealed bytes of `segment` lie in a blob of `stored` bytes: what [`super::BlobOpener::open_segment`] takes, which for
/// the first segment leaves the header out. Empty if the blob has no such segment.
pub const fn stored_range(segment: u64, stored: u64) -> Range<u64> {
    let start = if segment == 0 {
        HEADER
    } else {
        segment.saturating_mul(SEGMENT)
    };
    let end = (segment.saturating_add(1)).saturating_mul(SEGMENT);
    let end = if end < stored { end } else { stored };
    if start < end { start..end } else { end..end }
}

/// Most plaintext bytes that the segment with this index can hold.
pub(crate) const fn room(index: u64) -> usize {
    if index == 0 { FIRST_ROOM } else { ROOM }
}
