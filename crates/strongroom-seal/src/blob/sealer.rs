//! The writing end of a blob.

use aws_lc_rs::aead::{Aad, LessSafeKey};
use aws_lc_rs::rand;
use zeroize::Zeroize;

use super::layout::{HEADER_LEN, SEGMENT_LEN, TAG_LEN, room};
use super::{PREFIX_LEN, SALT_LEN, segment_key, segment_nonce};
use crate::error::SealError;
use crate::limits::{BUFFER_STEPS, MAX_BLOB_LEN};
use crate::secret::Secret;
use crate::xaes::KEY_LEN;

/// Seals one blob, segment by segment, in one buffer that it keeps.
///
/// Write [`BlobSealer::header`] first. Then bring plaintext in: either read straight into
/// [`BlobSealer::spare`] and report it with [`BlobSealer::filled`], or [`BlobSealer::push`] it. When [`BlobSealer::is_full`] and more plaintext
/// follows, write what [`BlobSealer::seal_segment`] returns; at the end, full or not, write what [`BlobSealer::finish`] returns.
pub struct BlobSealer {
    key: LessSafeKey,
    prefix: [u8; PREFIX_LEN],
    header: [u8; HEADER_LEN],
    /// Room for the plaintext of a segment and its tag.
    buffer: Vec<u8>,
    /// How many plaintext bytes lie at the start of the buffer.
    filled: usize,
    index: u32,
    /// Plaintext bytes in the segments before this one.
    before: u64,
    finished: bool,
}

impl BlobSealer {
    pub(crate) fn new(main: &Secret<KEY_LEN>, associated_data: &[u8]) -> Result<Self, SealError> {
        let mut random = [0; HEADER_LEN - 1];
        rand::fill(&mut random).map_err(|_| SealError::NoRandomness)?;
        Self::with_header(main, associated_data, &random)
    }

    /// `salt_and_prefix` must never be used twice with one main key.
    pub(crate) fn with_header(
        main: &Secret<KEY_LEN>,
        associated_data: &[u8],
        salt_and_prefix: &[u8; SALT_LEN + PREFIX_LEN],
    ) -> Result<Self, SealError> {
        let mut header = [0; HEADER_LEN];
        let (length, rest) = header.split_at_mut(1);
        length.fill(HEADER_LENGTH_BYTE);
        rest.copy_from_slice(salt_and_prefix);
        let (salt, prefix) = split_header(&header).ok_or(SealError::Library)?;
        let key = segment_key(main, salt, associated_data).map_err(|_| SealError::Library)?;
        Ok(Self {
            key,
            prefix,
            header,
            buffer: vec![0; buffer_len(0)],
            filled: 0,
            index: 0,
            before: 0,
            finished: false,
        })
    }

    /// The blob's first 40 bytes.
    pub const fn header(&self) -> &[u8; HEADER_LEN] {
        &self.header
    }

    /// The free part of the current segment, to read plaintext into. Empty when the segment is full or the blob finished.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.finished {
            return &mut [];
        }
        let room = self.room();
        if self.filled < room && self.filled + TAG_LEN >= self.buffer.len() {
            self.grow();
        }
        let end = room.min(self.buffer.len() - TAG_LEN);
        self.buffer.get_mut(self.filled..end).unwrap_or_default()
    }

    /// Says that `count` bytes of plaintext now stand at the start of what [`BlobSealer::spare`] gave.
    pub fn filled(&mut self, count: usize) -> Result<(), SealError> {
        if count > self.spare().len() {
            return Err(SealError::OutOfOrder);
        }
        self.filled += count;
        Ok(())
    }

    /// Copies plaintext in until the segment is full or `plain` is used up, and takes what it copied off the front of `plain`.
    pub fn push(&mut self, plain: &mut &[u8]) {
        while !plain.is_empty() {
            let spare = self.spare();
            let count = spare.len().min(plain.len());
            if count == 0 {
                return;
            }
            let (now, later) = plain.split_at(count);
            spare.split_at_mut(count).0.copy_from_slice(now);
            *plain = later;
            self.filled += count;
        }
    }

    /// Whether the current segment can take no more plaintext.
    pub const fn is_full(&self) -> bool {
        self.filled == self.room()
    }

    /// Plaintext bytes taken so far.
    pub const fn plain_len(&self) -> u64 {
        self.before + self.filled as u64
    }

    /// Seals the current segment, which must be full and not the last: plaintext must follow.
    pub fn seal_segment(&mut self) -> Result<&[u8], SealError> {
        if !self.is_full() {
            return Err(SealError::OutOfOrder);
        }
        self.seal(false)
    }

    /// Seals the last segment, full or not. The blob takes nothing more.
    pub fn finish(&mut self) -> Result<&[u8], SealError> {
        self.seal(true)
    }

    fn seal(&mut self, last: bool) -> Result<&[u8], SealError> {
        if self.finished {
            return Err(SealError::OutOfOrder);
        }
        if self.plain_len() > MAX_BLOB_LEN {
            return Err(SealError::TooLarge);
        }
        // A failure below ends the blob: no nonce may be used again.
        self.finished = true;
        let nonce = segment_nonce(self.prefix, self.index, last);
        let length = self.filled + TAG_LEN;
        let segment = self.buffer.get_mut(..length).ok_or(SealError::OutOfOrder)?;
        let (content, tag_place) = segment.split_at_mut(self.filled);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), content)
            .map_err(|_| SealError::Library)?;
        tag_place.copy_from_slice(tag.as_ref());
        self.before += self.filled as u64;
        self.filled = 0;
        if !last {
            self.index = self.index.checked_add(1).ok_or(SealError::TooLarge)?;
            self.finished = false;
        }
        Ok(segment)
    }

    const fn room(&self) -> usize {
        room(self.index as u64)
    }

    /// Moves to a buffer for whole segments; the plaintext in the old one is wiped.
    fn grow(&mut self) {
        let mut larger = vec![0; buffer_len(self.buffer.len())];
        larger
            .split_at_mut(self.buffer.len())
            .0
            .copy_from_slice(&self.buffer);
        std::mem::swap(&mut self.buffer, &mut larger);
        larger.zeroize();
    }
}

impl Drop for BlobSealer {
    fn drop(&mut self) {
        // Beyond `filled` the buffer holds sealed bytes only.
        if let Some(plain) = self.buffer.get_mut(..self.filled) {
            plain.zeroize();
        }
    }
}

/// How long a buffer is, with its place for a tag, after one of this length.
fn buffer_len(before: usize) -> usize {
    let mut steps = BUFFER_STEPS.iter().map(|step| step + TAG_LEN);
    steps.find(|step| *step > before).unwrap_or(SEGMENT_LEN)
}

/// The header begins with its own length.
const HEADER_LENGTH_BYTE: u8 = 40;

/// Salt and nonce prefix of a header, unless it begins otherwise.
pub(super) fn split_header(header: &[u8; HEADER_LEN]) -> Option<(&[u8; SALT_LEN], [u8; PREFIX_LEN])> {
    let (&length, rest) = header.split_first()?;
    let (salt, prefix) = rest.split_first_chunk()?;
    (length == HEADER_LENGTH_BYTE).then_some(())?;
    Some((salt, prefix.try_into().ok()?))
}
