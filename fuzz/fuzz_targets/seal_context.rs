//! Contexts and account ids: no panic, and one encoding never stands for two contexts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_seal::{AccountId, CheckValue, Context, ObjectKey};
use uuid::Uuid;

fuzz_target!(|parts: (u128, &str, &str, u32, &str, &str)| {
    let (account, kind, id, part, other_kind, other_id) = parts;
    let account = AccountId::from_uuid(Uuid::from_u128(account));
    assert_eq!(account.to_string().parse(), Ok(account));
    if let Ok(parsed) = kind.parse::<AccountId>() {
        assert_eq!(parsed.to_string(), kind.to_ascii_lowercase());
    }
    if let Ok(check) = id.parse::<CheckValue>() {
        assert_eq!(check.to_string(), id.to_ascii_lowercase());
    }
    let (one, two) = (
        Context::new(account, kind, id, part),
        Context::new(account, other_kind, other_id, part),
    );
    if let (Ok(one), Ok(two)) = (one, two) {
        let key = ObjectKey::generate().expect("draws");
        let same = key.export(&one).associated_data() == key.export(&two).associated_data();
        assert_eq!(same, one == two);
    }
});
