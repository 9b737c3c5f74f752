//! A published set of keys. What is read is found again by its ids, and only where an id stands once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_azure::token::Jwks;

fuzz_target!(|body: &[u8]| {
    let Some(set) = Jwks::parse(body) else { return };
    for key in &set.keys {
        let same = set.keys.iter().filter(|other| other.kid == key.kid).count();
        assert_eq!(set.key(&key.kid).is_some(), same == 1 && !key.kid.is_empty());
    }
});
