//! The body of a token request, and the header that may stand beside it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_azure::token::{Form, basic_credentials};

fuzz_target!(|body: &[u8]| {
    if let Some(form) = Form::parse(body) {
        let _ = (form.get("grant_type"), form.get(""), form.get("scope"));
    }
    if let Ok(header) = std::str::from_utf8(body) {
        let _ = basic_credentials(header);
    }
});
