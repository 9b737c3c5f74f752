//! Periods of rotation policies: what is read is written as it was read, and an accepted policy leaves a week on both sides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_vault::Period;
use strongroom_vault::conformance::read_request;

fuzz_target!(|text: &str| {
    if let Some(period) = Period::parse(text) {
        assert_eq!(period.as_str(), text.to_ascii_uppercase());
        assert_eq!(Period::parse(period.as_str()), Some(period));
        let policy = format!(
            r#"{{"lifetimeActions":[{{"trigger":{{"timeAfterCreate":"{text}"}},"action":{{"type":"Rotate"}}}}]}}"#
        );
        let read = read_request("PUT", "/keys/k/rotationpolicy", None, policy.as_bytes());
        assert!(read.is_some());
    }
});
