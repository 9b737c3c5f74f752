//! Blobs: any bytes are refused without a panic, content comes back whole and in ranges, any change is noticed.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use strongroom_seal::{AccountId, Context, ObjectKey, open_range, open_stream, seal_stream};
use uuid::Uuid;

fuzz_target!(|data: &[u8]| {
    let context =
        Context::new(AccountId::from_uuid(Uuid::from_u128(1)), "file", "file-1", 1).expect("is a context");
    let key = ObjectKey::generate().expect("draws");
    let opens = |stored: &[u8]| open_stream(&key, &context, stored.len() as u64, stored, Vec::new()).is_ok();
    assert!(!opens(data), "forged");

    // Two bytes choose a range and a change, one how often the rest is repeated to span segments.
    let [from, change, repeat, content @ ..] = data else {
        return;
    };
    let times = if content.len() > 4096 {
        usize::from(*repeat)
    } else {
        1
    };
    let content = content.repeat(times);
    let mut stored = Vec::new();
    seal_stream(
        key.blob_sealer(&context).expect("begins"),
        content.as_slice(),
        &mut stored,
    )
    .expect("seals");
    let length = stored.len() as u64;
    let start = content.len() * usize::from(*from) / 256;
    let (mut part, range) = (Vec::new(), start as u64..content.len() as u64);
    open_range(&key, &context, length, range, Cursor::new(&stored), &mut part).expect("opens");
    assert!(part == content[start..]);

    let at = stored.len() * usize::from(*from) / 256;
    stored[at] ^= change;
    assert_eq!(opens(&stored), *change == 0);
    stored[at] ^= change;
    let cut = &stored[..at];
    assert!(!opens(cut), "opened without its end");
});
