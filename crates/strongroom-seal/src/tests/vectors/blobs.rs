//! The vectors about blobs.

use super::keys::{OTHER_ACCOUNT, counting, named, object_key, vector};
use super::run::{plaintext, seal};
use super::{Blob, Case, Digest, Edit, Hex, Named, Vector};
use crate::blob::layout::{FIRST_ROOM, HEADER_LEN, ROOM, SEGMENT_LEN};
use crate::limits::MAX_BLOB_LEN;

const MIB: u64 = SEGMENT_LEN as u64;
const HEADER: u64 = HEADER_LEN as u64;
const FIRST: u64 = FIRST_ROOM as u64;
/// Four segments, the last one short.
const LONG: u64 = FIRST + 2 * ROOM as u64 + 1000;
const SHORT: u64 = 20;
const FORGED: &str = "OpenError::NotAuthentic";

pub(super) fn all() -> Vec<(String, Vector)> {
    [valid(), small(), long(), moved(), ranges(), lengths()].concat()
}

fn header() -> [u8; HEADER_LEN - 1] {
    counting(0xe0)
}

fn made(length: u64, sealed_for: Option<Named>, then: Vec<Edit>) -> Blob {
    let context = sealed_for.clone().unwrap_or_else(|| named("file-1", 1));
    let stored = seal(&object_key(), &context, &header(), length);
    let header = header();
    let (salt, nonce_prefix) = header.split_at(32);
    Blob::Made {
        plaintext_length: length,
        salt: Hex::of(salt),
        nonce_prefix: Hex::of(nonce_prefix),
        sealed_for,
        sealed: Digest::of(&stored),
        then,
    }
}

fn open(name: &str, description: &str, expect: &str, blob: Blob) -> (String, Vector) {
    let length = match &blob {
        Blob::Made { plaintext_length, .. } => *plaintext_length,
        Blob::Bytes(_) => SHORT,
    };
    let case = Case::OpenBlob {
        object_key: object_key(),
        context: named("file-1", 1),
        blob,
        recorded_length: None,
        plaintext: (expect == "ok").then(|| Digest::of(&plaintext(length))),
    };
    vector("blob", name, description, expect, case)
}

fn valid() -> Vec<(String, Vector)> {
    let whole = |name, description, length| open(name, description, "ok", made(length, None, vec![]));
    vec![
        whole("valid-empty", "no plaintext: one empty segment", 0),
        whole("valid-one-byte", "one byte", 1),
        whole(
            "valid-first-segment-but-one",
            "one byte less than the first segment holds",
            FIRST - 1,
        ),
        whole(
            "valid-first-segment",
            "exactly what the first segment holds: no second segment",
            FIRST,
        ),
        whole(
            "valid-first-segment-and-one",
            "one byte more than the first segment holds",
            FIRST + 1,
        ),
        whole(
            "valid-two-segments",
            "exactly what two segments hold",
            FIRST + ROOM as u64,
        ),
        whole(
            "valid-two-segments-and-one",
            "one byte more than two segments hold",
            FIRST + ROOM as u64 + 1,
        ),
        whole("valid-four-segments", "four segments, the last one short", LONG),
    ]
}

/// Defects of a blob that is small enough to stand in its file.
fn small() -> Vec<(String, Vector)> {
    let good = seal(&object_key(), &named("file-1", 1), &header(), SHORT);
    let bytes = |name, description, expect, bytes: &[u8]| {
        open(name, description, expect, Blob::Bytes(Hex::of(bytes)))
    };
    let flip = |name, description, expect, at: usize| {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        bytes(name, description, expect, &flipped)
    };
    let recorded = |name, description, expect, length| {
        let case = Case::OpenBlob {
            object_key: object_key(),
            context: named("file-1", 1),
            blob: Blob::Bytes(Hex::of(&good)),
            recorded_length: Some(length),
            plaintext: None,
        };
        vector("blob", name, description, expect, case)
    };
    let length = good.len();
    vec![
        bytes("valid-short", "twenty bytes", "ok", &good),
        bytes("nothing", "no bytes at all", "OpenError::Truncated", b""),
        bytes(
            "header-only",
            "nothing follows the header",
            "OpenError::Truncated",
            &good[..HEADER_LEN],
        ),
        bytes(
            "no-room-for-a-tag",
            "shorter than header and tag",
            "OpenError::Truncated",
            &good[..55],
        ),
        bytes(
            "truncated",
            "the last byte is missing",
            FORGED,
            &good[..length - 1],
        ),
        bytes(
            "trailing-byte",
            "a byte follows the end",
            FORGED,
            &[good.as_slice(), &[0]].concat(),
        ),
        recorded(
            "longer-than-recorded",
            "bytes follow the length on record: the seal shows it first",
            FORGED,
            75,
        ),
        recorded(
            "shorter-than-recorded",
            "fewer bytes than the length on record",
            "OpenError::Truncated",
            77,
        ),
        flip(
            "flipped-header-length",
            "one bit of the header's length byte is flipped",
            "OpenError::NotOurs",
            0,
        ),
        flip("flipped-salt", "one bit of the salt is flipped", FORGED, 1),
        flip(
            "flipped-nonce-prefix",
            "one bit of the nonce prefix is flipped",
            FORGED,
            39,
        ),
        flip(
            "flipped-content",
            "one bit of the content is flipped",
            FORGED,
            HEADER_LEN,
        ),
        flip("flipped-tag", "one bit of the tag is flipped", FORGED, length - 1),
    ]
}

/// Defects that need several segments.
fn long() -> Vec<(String, Vector)> {
    let edited = |name, description, edit| open(name, description, FORGED, made(LONG, None, vec![edit]));
    let stored = LONG + HEADER + 4 * 16;
    let trailing = Case::OpenBlob {
        object_key: object_key(),
        context: named("file-1", 1),
        blob: made(
            SHORT,
            None,
            vec![Edit::Append {
                bytes: Hex::of(b"more"),
            }],
        ),
        recorded_length: Some(SHORT + HEADER + 16),
        plaintext: None,
    };
    vec![
        edited(
            "reordered",
            "two full segments have changed places",
            Edit::SwapSegments { first: 1, second: 2 },
        ),
        edited(
            "duplicated",
            "a full segment stands there twice",
            Edit::DuplicateSegment { segment: 1 },
        ),
        edited(
            "removed",
            "a full segment is missing",
            Edit::RemoveSegment { segment: 2 },
        ),
        edited(
            "truncated-at-a-segment",
            "the last segment is missing",
            Edit::Truncate { length: 3 * MIB },
        ),
        edited(
            "truncated-in-a-segment",
            "the end of the third segment and all after it is missing",
            Edit::Truncate { length: 3 * MIB - 5 },
        ),
        open(
            "truncated-to-a-tag",
            "the last segment has no content left, which no writer leaves",
            "OpenError::Truncated",
            made(LONG, None, vec![Edit::Truncate { length: 3 * MIB + 16 }]),
        ),
        edited(
            "flipped-first-segment",
            "one bit of the first segment is flipped",
            Edit::FlipBit { byte: 1000, bit: 5 },
        ),
        edited(
            "flipped-first-tag",
            "one bit of the first segment's tag is flipped",
            Edit::FlipBit {
                byte: MIB - 1,
                bit: 0,
            },
        ),
        edited(
            "flipped-middle-segment",
            "one bit of the second segment is flipped",
            Edit::FlipBit { byte: MIB, bit: 0 },
        ),
        edited(
            "flipped-last-segment",
            "one bit of the last segment is flipped",
            Edit::FlipBit {
                byte: 3 * MIB + 1,
                bit: 7,
            },
        ),
        edited(
            "flipped-last-tag",
            "one bit of the last tag is flipped",
            Edit::FlipBit {
                byte: stored - 1,
                bit: 0,
            },
        ),
        vector(
            "blob",
            "bytes-after-the-recorded-end",
            "bytes follow the length on record",
            "OpenError::TrailingBytes",
            trailing,
        ),
    ]
}

fn moved() -> Vec<(String, Vector)> {
    let moved = |name, description, from| open(name, description, FORGED, made(SHORT, Some(from), vec![]));
    let wrong_key = Case::OpenBlob {
        object_key: Hex::of(&counting::<32>(0x41)),
        context: named("file-1", 1),
        blob: Blob::Bytes(Hex::of(&seal(
            &object_key(),
            &named("file-1", 1),
            &header(),
            SHORT,
        ))),
        recorded_length: None,
        plaintext: None,
    };
    let other_account = Named {
        account: OTHER_ACCOUNT.to_owned(),
        ..named("file-1", 1)
    };
    let other_kind = Named {
        kind: "batch".to_owned(),
        ..named("file-1", 1)
    };
    vec![
        moved(
            "moved-from-another-account",
            "the blob was sealed for another account",
            other_account,
        ),
        moved(
            "moved-from-another-kind",
            "the blob was sealed for another kind",
            other_kind,
        ),
        moved(
            "moved-from-another-id",
            "the blob was sealed for another object",
            named("file-2", 1),
        ),
        moved(
            "moved-from-another-part",
            "the blob was sealed for another part",
            named("file-1", 2),
        ),
        vector("blob", "wrong-key", "another object key", FORGED, wrong_key),
    ]
}

fn ranges() -> Vec<(String, Vector)> {
    let range = |name, description, expect: &str, start: u64, end: u64, then| {
        let part =
            || plaintext(LONG)[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].to_vec();
        let case = Case::OpenRange {
            object_key: object_key(),
            context: named("file-1", 1),
            blob: made(LONG, None, then),
            start,
            end,
            plaintext: (expect == "ok").then(|| Digest::of(&part())),
        };
        vector("range", name, description, expect, case)
    };
    let ruined = || {
        vec![Edit::FlipBit {
            byte: MIB + 1,
            bit: 0,
        }]
    };
    let beyond = "OpenError::OutOfRange";
    vec![
        range("valid-first-byte", "the first byte", "ok", 0, 1, vec![]),
        range(
            "valid-across-a-boundary",
            "the bytes on both sides of a boundary",
            "ok",
            FIRST - 1,
            FIRST + 1,
            vec![],
        ),
        range("valid-last-byte", "the last byte", "ok", LONG - 1, LONG, vec![]),
        range("valid-nothing", "no bytes, at the end", "ok", LONG, LONG, vec![]),
        range(
            "valid-beside-a-ruined-segment",
            "segments that the range does not touch are not read",
            "ok",
            0,
            FIRST,
            ruined(),
        ),
        range(
            "across-a-ruined-segment",
            "one bit of a segment in the range is flipped",
            FORGED,
            0,
            FIRST + 1,
            ruined(),
        ),
        range(
            "beyond-the-end",
            "one byte more than there is",
            beyond,
            0,
            LONG + 1,
            vec![],
        ),
        range("backwards", "the end lies before the start", beyond, 2, 1, vec![]),
    ]
}

fn lengths() -> Vec<(String, Vector)> {
    let case = |name, description, expect, stored, plaintext| {
        vector(
            "blob-length",
            name,
            description,
            expect,
            Case::BlobLength { stored, plaintext },
        )
    };
    let largest_segments = 1 + (MAX_BLOB_LEN - FIRST).div_ceil(ROOM as u64);
    let largest = MAX_BLOB_LEN + HEADER + 16 * largest_segments;
    vec![
        case("valid-empty", "an empty blob", "ok", 56, Some(0)),
        case(
            "valid-largest",
            "the largest blob",
            "ok",
            largest,
            Some(MAX_BLOB_LEN),
        ),
        case(
            "too-large",
            "one byte more than the largest blob",
            "OpenError::TooLarge",
            largest + 1,
            None,
        ),
        case(
            "empty-second-segment",
            "a second segment without content",
            "OpenError::Truncated",
            MIB + 16,
            None,
        ),
    ]
}
