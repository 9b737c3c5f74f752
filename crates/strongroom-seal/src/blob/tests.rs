use std::io::Cursor;

use super::layout::{self, FIRST_ROOM, HEADER_LEN, ROOM, SEGMENT_LEN, TAG_LEN};
use super::{open_range, open_stream, seal_stream};
use crate::limits::MAX_BLOB_LEN;
use crate::{AccountId, Context, ObjectKey, OpenError, SealError, StreamError};

fn context() -> Context<'static> {
    Context::new(
        AccountId::from_uuid(uuid::Uuid::from_u128(7)),
        "file",
        "file-1",
        1,
    )
    .unwrap()
}

fn plain(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn stored(key: &ObjectKey, plain: &[u8]) -> Vec<u8> {
    let mut stored = Vec::new();
    let length = seal_stream(key.blob_sealer(&context()).unwrap(), plain, &mut stored).unwrap();
    assert_eq!(length, stored.len() as u64);
    stored
}

fn opened(key: &ObjectKey, stored: &[u8]) -> Result<Vec<u8>, StreamError> {
    let mut plain = Vec::new();
    open_stream(key, &context(), stored.len() as u64, stored, &mut plain).map(|_| plain)
}

const LENGTHS: [usize; 9] = [
    0,
    1,
    65_536,
    65_537,
    FIRST_ROOM - 1,
    FIRST_ROOM,
    FIRST_ROOM + 1,
    FIRST_ROOM + ROOM,
    FIRST_ROOM + ROOM + 1,
];

#[test]
fn what_is_sealed_opens_at_every_boundary_and_has_the_length_that_the_layout_says() {
    let key = ObjectKey::generate().unwrap();
    for length in LENGTHS {
        let plain = plain(length);
        let stored = stored(&key, &plain);
        assert_eq!(layout::stored_len(length as u64), Ok(stored.len() as u64));
        assert_eq!(layout::plain_len(stored.len() as u64), Ok(length as u64));
        assert!(opened(&key, &stored).unwrap() == plain, "{length}");
    }
}

#[test]
fn a_range_opens_alone_and_reads_only_its_own_segments() {
    let key = ObjectKey::generate().unwrap();
    let plain = plain(FIRST_ROOM + ROOM + 1000);
    let mut stored = stored(&key, &plain);
    let length = stored.len() as u64;
    // The middle segment is ruined: ranges beside it must not notice, ranges across it must fail.
    stored[SEGMENT_LEN + 5] ^= 1;
    let read = |range: std::ops::Range<usize>| {
        let mut part = Vec::new();
        let wanted = range.start as u64..range.end as u64;
        open_range(&key, &context(), length, wanted, Cursor::new(&stored), &mut part).map(|()| part)
    };
    for range in [
        0..0,
        0..1,
        10..FIRST_ROOM,
        FIRST_ROOM + ROOM..FIRST_ROOM + ROOM + 1000,
        plain.len()..plain.len(),
    ] {
        assert!(read(range.clone()).unwrap() == plain[range.clone()], "{range:?}");
    }
    let open_error = |result: Result<Vec<u8>, StreamError>| match result {
        Err(StreamError::Open(error)) => error,
        _ => panic!("opened"),
    };
    assert_eq!(
        open_error(read(FIRST_ROOM - 1..FIRST_ROOM + 1)),
        OpenError::NotAuthentic
    );
    assert_eq!(open_error(read(0..plain.len() + 1)), OpenError::OutOfRange);
}

#[test]
fn a_range_across_segments_is_the_same_bytes() {
    let key = ObjectKey::generate().unwrap();
    let plain = plain(FIRST_ROOM + ROOM + 1000);
    let stored = stored(&key, &plain);
    for range in [
        FIRST_ROOM - 1..FIRST_ROOM + 1,
        5..FIRST_ROOM + ROOM + 7,
        0..plain.len(),
    ] {
        let mut part = Vec::new();
        let wanted = range.start as u64..range.end as u64;
        open_range(
            &key,
            &context(),
            stored.len() as u64,
            wanted,
            Cursor::new(&stored),
            &mut part,
        )
        .unwrap();
        assert!(part == plain[range.clone()], "{range:?}");
    }
}

#[test]
fn the_layout_agrees_with_itself_around_every_segment() {
    for plain in [
        0,
        1,
        FIRST_ROOM as u64,
        FIRST_ROOM as u64 + 1,
        (FIRST_ROOM + ROOM) as u64,
        10_000_000_000,
    ] {
        let stored = layout::stored_len(plain).unwrap();
        let segments = layout::segments(plain);
        assert_eq!(layout::stored_range(0, stored).start, HEADER_LEN as u64);
        assert_eq!(layout::stored_range(segments - 1, stored).end, stored);
        assert!(layout::stored_range(segments, stored).is_empty());
        if plain > 0 {
            assert_eq!(layout::segment_of(plain - 1), segments - 1);
        }
    }
    for segment in [0, 1, 2, 1000, u64::from(u32::MAX)] {
        let range = layout::plain_range(segment);
        assert_eq!(layout::segment_of(range.start), segment);
        assert_eq!(layout::segment_of(range.end - 1), segment);
        assert_eq!(layout::segment_of(range.end), segment + 1);
    }
}

#[test]
fn impossible_lengths_are_refused() {
    assert_eq!(layout::stored_len(MAX_BLOB_LEN + 1), Err(SealError::TooLarge));
    assert_eq!(layout::plain_len(u64::MAX), Err(OpenError::TooLarge));
    for stored in [0, 40, 55, SEGMENT_LEN + 1, SEGMENT_LEN + TAG_LEN] {
        assert_eq!(
            layout::plain_len(stored as u64),
            Err(OpenError::Truncated),
            "{stored}"
        );
    }
}

#[test]
fn a_sealer_refuses_to_be_used_out_of_order() {
    let key = ObjectKey::generate().unwrap();
    let mut sealer = key.blob_sealer(&context()).unwrap();
    assert_eq!(sealer.seal_segment(), Err(SealError::OutOfOrder));
    let spare = sealer.spare().len();
    assert_eq!(sealer.filled(spare + 1), Err(SealError::OutOfOrder));
    assert_eq!(sealer.finish().map(<[u8]>::len), Ok(TAG_LEN));
    assert_eq!(sealer.finish(), Err(SealError::OutOfOrder));
    assert_eq!(sealer.seal_segment(), Err(SealError::OutOfOrder));
    assert!(sealer.spare().is_empty());
    let mut rest: &[u8] = b"late";
    sealer.push(&mut rest);
    assert_eq!(rest, b"late");
}

#[test]
fn filling_in_place_and_pushing_give_the_same_blob() {
    let key = ObjectKey::generate().unwrap();
    let plain = plain(FIRST_ROOM + 100_000);
    let mut sealer = key.blob_sealer(&context()).unwrap();
    let mut pushed = sealer.header().to_vec();
    let mut rest = plain.as_slice();
    while !rest.is_empty() {
        let (mut now, later) = rest.split_at(rest.len().min(70_001));
        while !now.is_empty() {
            if sealer.is_full() {
                pushed.extend_from_slice(sealer.seal_segment().unwrap());
            }
            sealer.push(&mut now);
        }
        rest = later;
    }
    assert_eq!(sealer.plain_len(), plain.len() as u64);
    pushed.extend_from_slice(sealer.finish().unwrap());
    assert!(opened(&key, &pushed).unwrap() == plain);
}

#[test]
fn a_failed_opening_leaves_zeroes_and_no_plaintext() {
    let key = ObjectKey::generate().unwrap();
    let mut stored = stored(&key, b"a secret of some length");
    let last = stored.len() - 1;
    stored[last] ^= 1;
    let (header, segment) = stored.split_first_chunk_mut().unwrap();
    let opener = key.blob_opener(&context(), header).unwrap();
    assert_eq!(
        opener.open_segment(0, true, segment),
        Err(OpenError::NotAuthentic)
    );
    assert!(segment[..segment.len() - TAG_LEN].iter().all(|byte| *byte == 0));
}
