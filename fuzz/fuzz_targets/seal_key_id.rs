//! Key identifiers: what parses is written as one canonical text, whose host is where a connection would go.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_seal::{KeyId, KeyName};

fuzz_target!(|text: &str| {
    if let Ok(id) = KeyId::parse(text) {
        let written = id.to_string();
        assert_eq!(KeyId::parse(&written).as_ref(), Ok(&id));
        assert_eq!(
            KeyName::parse(&id.without_version().to_string()).as_ref(),
            Ok(id.key_name())
        );
        assert!(id.key_name().admit(&id).is_ok());
        let authority = written
            .trim_start_matches("https://")
            .split('/')
            .next()
            .unwrap_or_default();
        assert_eq!(authority.split(':').next(), Some(id.host()));
    }
    if let Ok(key) = KeyName::parse(text) {
        assert_eq!(KeyName::parse(&key.to_string()), Ok(key));
    }
    if let Some((vault, name)) = text.split_once(' ')
        && let Ok(key) = KeyName::new(vault, name)
    {
        assert_eq!(KeyName::new(key.vault(), key.name()).as_ref(), Ok(&key));
    }
});
