//! A certificate that somebody wants to register.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_azure::token::Certificate;

fuzz_target!(|der: &[u8]| {
    let _ = Certificate::from_der(der);
    if let Ok(pem) = std::str::from_utf8(der) {
        let _ = Certificate::from_pem(pem);
    }
});
