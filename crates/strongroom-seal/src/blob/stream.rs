//! Whole blobs and ranges over anything that reads and writes. For tools and tests: the service drives the sealer and the opener itself,
//! so that it can check the lease between segments.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use zeroize::Zeroizing;

use super::layout::{self, HEADER_LEN, SEGMENT_LEN};
use super::sealer::BlobSealer;
use crate::context::Context;
use crate::error::{OpenError, SealError};
use crate::object::ObjectKey;

/// Why a stream ended early.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What was read did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Enough to keep the reads that follow aligned, little enough to copy.
const LOOK_AHEAD: usize = 4096;

/// Seals all that `reader` gives and returns how many bytes were written.
pub fn seal_stream(
    mut sealer: BlobSealer,
    mut reader: impl Read,
    mut writer: impl Write,
) -> Result<u64, StreamError> {
    writer.write_all(sealer.header())?;
    let mut ahead = Zeroizing::new([0; LOOK_AHEAD]);
    loop {
        while !sealer.is_full() {
            let count = read_some(&mut reader, sealer.spare())?;
            sealer.filled(count)?;
            if count == 0 {
                break;
            }
        }
        // Whether a full segment is the last one shows only when more is asked for.
        let count = if sealer.is_full() {
            read_some(&mut reader, ahead.as_mut_slice())?
        } else {
            0
        };
        if count == 0 {
            writer.write_all(sealer.finish()?)?;
            return Ok(layout::stored_len(sealer.plain_len())?);
        }
        writer.write_all(sealer.seal_segment()?)?;
        sealer.push(&mut ahead.split_at(count).0);
    }
}

/// Opens a blob of `stored` bytes from `reader` and returns how many plaintext bytes were written. What was
/// written before an error is authentic, but not the whole.
pub fn open_stream(
    key: &ObjectKey,
    context: &Context<'_>,
    stored: u64,
    mut reader: impl Read,
    mut writer: impl Write,
) -> Result<u64, StreamError> {
    let plain = layout::plain_len(stored)?;
    let mut header = [0; HEADER_LEN];
    read_whole(&mut reader, &mut header)?;
    let opener = key.blob_opener(context, &header)?;
    let mut buffer = segment_buffer(stored);
    let segments = layout::segments(plain);
    for index in 0..segments {
        let place = place_for(&mut buffer, index, stored)?;
        read_whole(&mut reader, place)?;
        writer.write_all(opener.open_segment(index, index + 1 == segments, place)?)?;
    }
    match read_some(&mut reader, &mut [0])? {
        0 => Ok(plain),
        _ => Err(OpenError::TrailingBytes.into()),
    }
}

/// Opens the plaintext bytes in `range` of a blob of `stored` bytes, reading only the segments that hold them.
pub fn open_range(
    key: &ObjectKey,
    context: &Context<'_>,
    stored: u64,
    range: Range<u64>,
    mut reader: impl Read + Seek,
    mut writer: impl Write,
) -> Result<(), StreamError> {
    let plain = layout::plain_len(stored)?;
    if range.start > range.end || range.end > plain {
        return Err(OpenError::OutOfRange.into());
    }
    if range.is_empty() {
        return Ok(());
    }
    let mut header = [0; HEADER_LEN];
    reader.seek(SeekFrom::Start(0))?;
    read_whole(&mut reader, &mut header)?;
    let opener = key.blob_opener(context, &header)?;
    let mut buffer = segment_buffer(stored);
    let segments = layout::segments(plain);
    for index in layout::segment_of(range.start)..=layout::segment_of(range.end - 1) {
        reader.seek(SeekFrom::Start(layout::stored_range(index, stored).start))?;
        let place = place_for(&mut buffer, index, stored)?;
        read_whole(&mut reader, place)?;
        let content = opener.open_segment(index, index + 1 == segments, place)?;
        writer.write_all(part_of(content, layout::plain_range(index).start, &range))?;
    }
    Ok(())
}

/// The bytes of `content`, which begins at plaintext offset `start`, that lie in `range`.
fn part_of<'a>(content: &'a [u8], start: u64, range: &Range<u64>) -> &'a [u8] {
    let within = |offset: u64| {
        usize::try_from(offset.saturating_sub(start))
            .unwrap_or(usize::MAX)
            .min(content.len())
    };
    content
        .get(within(range.start)..within(range.end))
        .unwrap_or_default()
}

/// One buffer for every segment of a blob, no larger than the blob.
fn segment_buffer(stored: u64) -> Zeroizing<Vec<u8>> {
    let length = usize::try_from(stored).unwrap_or(SEGMENT_LEN).min(SEGMENT_LEN);
    Zeroizing::new(vec![0; length])
}

fn place_for(buffer: &mut [u8], index: u64, stored: u64) -> Result<&mut [u8], OpenError> {
    let range = layout::stored_range(index, stored);
    let length = usize::try_from(range.end - range.start).map_err(|_| OpenError::TooLarge)?;
    buffer.get_mut(..length).ok_or(OpenError::TooLarge)
}

fn read_whole(reader: &mut impl Read, place: &mut [u8]) -> Result<(), StreamError> {
    reader.read_exact(place).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => OpenError::Truncated.into(),
        _ => error.into(),
    })
}

fn read_some(reader: &mut impl Read, place: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(place) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
