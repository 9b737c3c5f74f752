//! A zip of any bytes: it is refused or read, never a panic, and what is read is bounded.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use strongroom_evidence::{Trust, verify_zip};

fuzz_target!(|data: &[u8]| {
    let verdict = verify_zip(Cursor::new(data), &Trust::default()).unwrap();
    // It says whose word it is, and nobody signed these bytes.
    assert!(!verdict.is_proven());
    let _ = verdict.to_string();
});
