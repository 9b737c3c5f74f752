//! Records: any bytes are refused without a panic, any content comes back, any change is noticed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_seal::{AccountId, Context, ObjectKey};
use uuid::Uuid;

fuzz_target!(|data: &[u8]| {
    let context =
        Context::new(AccountId::from_uuid(Uuid::from_u128(1)), "file", "file-1", 0).expect("is a context");
    let key = ObjectKey::generate().expect("draws");
    assert!(key.open_record(&context, data).is_err(), "forged");

    let (content, changes) = data.split_at(data.len() / 2);
    let mut sealed = key.seal_record(&context, content).expect("seals");
    assert_eq!(
        key.open_record(&context, &sealed).expect("opens").as_slice(),
        content
    );
    sealed
        .iter_mut()
        .zip(changes)
        .for_each(|(sealed, change)| *sealed ^= change);
    let changed = changes.iter().take(sealed.len()).any(|change| *change != 0);
    assert_eq!(key.open_record(&context, &sealed).is_err(), changed);
});
