//! The arithmetic of blobs: no overflow for any number, and every length fits with its ranges.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_seal::blob_layout::{plain_len, plain_range, segment_of, segments, stored_len, stored_range};

fuzz_target!(|numbers: (u64, u64)| {
    let (stored, other) = numbers;
    let (_, _, _) = (plain_range(other), stored_range(other, stored), segment_of(other));
    assert!(segments(other) > 0);
    let Ok(plain) = plain_len(stored) else { return };
    assert_eq!(stored_len(plain), Ok(stored));
    let last = segments(plain) - 1;
    assert_eq!(stored_range(last, stored).end, stored);
    assert!(stored_range(last + 1, stored).is_empty());
    if plain > 0 {
        let segment = segment_of(other % plain);
        assert!(segment <= last && plain_range(segment).contains(&(other % plain)));
    }
});
