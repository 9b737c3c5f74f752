//! Wrapped keys: any bytes parse to themselves or are refused, and nothing but what was wrapped unwraps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_seal::{AccountId, BranchKey, BranchVersion, Context, ObjectKey, Secret, WrappedKey};
use uuid::Uuid;

fuzz_target!(|data: &[u8]| {
    let account = AccountId::from_uuid(Uuid::from_u128(1));
    let seed = Secret::build(|bytes| bytes.fill(7));
    let branch = BranchKey::derive(&seed, account, BranchVersion::FIRST).expect("derives");
    let context = Context::new(account, "file", "file-1", 1).expect("is a context");

    if let Ok(wrapped) = WrappedKey::parse(data) {
        assert_eq!(wrapped.as_bytes(), data);
        assert!(branch.unwrap(&context, &wrapped).is_err(), "forged");
    }
    // The same bytes as a change to a true one.
    let key = ObjectKey::generate().expect("draws");
    let mut stored = branch.wrap(&context, &key).expect("wraps").as_bytes().to_vec();
    stored
        .iter_mut()
        .zip(data)
        .for_each(|(stored, change)| *stored ^= change);
    let changed = data.iter().take(stored.len()).any(|change| *change != 0);
    let unwrapped = WrappedKey::parse(&stored).and_then(|wrapped| branch.unwrap(&context, &wrapped));
    assert_eq!(unwrapped.is_err(), changed);
});
