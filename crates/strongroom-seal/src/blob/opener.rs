//! The reading end of a blob.

use aws_lc_rs::aead::{Aad, LessSafeKey};
use zeroize::Zeroize;

use super::layout::{HEADER_LEN, TAG_LEN, room};
use super::sealer::split_header;
use super::{PREFIX_LEN, segment_key, segment_nonce};
use crate::error::OpenError;
use crate::secret::Secret;
use crate::xaes::KEY_LEN;

/// Opens the segments of one blob, each by itself, in any order and from any thread.
pub struct BlobOpener {
    key: LessSafeKey,
    prefix: [u8; PREFIX_LEN],
}

impl BlobOpener {
    pub(crate) fn new(
        main: &Secret<KEY_LEN>,
        associated_data: &[u8],
        header: &[u8; HEADER_LEN],
    ) -> Result<Self, OpenError> {
        let (salt, prefix) = split_header(header).ok_or(OpenError::NotOurs)?;
        let key = segment_key(main, salt, associated_data).map_err(|_| OpenError::NotAuthentic)?;
        Ok(Self { key, prefix })
    }

    /// Opens the segment that has this `index`, where it lies, and returns its plaintext.
    ///
    /// `in_place` is what `layout::stored_range` says. `last` must be true for the blob's last segment and for no
    /// other: that is what shows a missing end. After a failure the bytes are zero.
    pub fn open_segment<'a>(
        &self,
        index: u64,
        last: bool,
        in_place: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let number = u32::try_from(index).map_err(|_| OpenError::TooLarge)?;
        check_length(index, last, in_place.len())?;
        let nonce = segment_nonce(self.prefix, number, last);
        let (content, tag) = in_place
            .split_last_chunk_mut::<TAG_LEN>()
            .ok_or(OpenError::Truncated)?;
        if self
            .key
            .open_in_place_separate_tag(nonce, Aad::empty(), tag.as_slice(), content)
            .is_err()
        {
            content.zeroize();
            return Err(OpenError::NotAuthentic);
        }
        Ok(content)
    }
}

/// Only the last segment may be shorter than its room, and only the first may be empty.
fn check_length(index: u64, last: bool, length: usize) -> Result<(), OpenError> {
    let most = room(index) + TAG_LEN;
    let least = match (last, index) {
        (false, _) => most,
        (true, 0) => TAG_LEN,
        (true, _) => TAG_LEN + 1,
    };
    if length < least {
        Err(OpenError::Truncated)
    } else if length > most {
        Err(OpenError::TrailingBytes)
    } else {
        Ok(())
    }
}
