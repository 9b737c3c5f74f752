//! An assertion as a client sends it. Whatever is read answers every question about it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_azure::token::{Assertion, Jwk};

fuzz_target!(|text: &str| {
    let Ok(assertion) = Assertion::parse(text) else { return };
    let _ = (assertion.issuer(), assertion.subject(), assertion.id(), assertion.key_id(), assertion.expires());
    let _ = assertion.names_certificate("a", "b");
    let _ = assertion.check_times(1_800_000_000, 3600);
    assert!(!assertion.is_signed_by(&Jwk::rsa("k", &[0xff; 256], &[1, 0, 1])));
});
