use super::{KeyId, KeyIdError, KeyName};

const ID: &str = "https://team.vault.localhost:8443/keys/customer-key/0123456789abcdef";

#[test]
fn an_identifier_is_written_as_it_was_read() {
    let id = KeyId::parse(ID).unwrap();
    assert_eq!(id.to_string(), ID);
    assert_eq!(id.vault(), "https://team.vault.localhost:8443");
    assert_eq!(id.host(), "team.vault.localhost");
    assert_eq!(id.name(), "customer-key");
    assert_eq!(id.version(), "0123456789abcdef");
    assert_eq!(
        id.without_version().to_string(),
        "https://team.vault.localhost:8443/keys/customer-key"
    );
    assert_eq!(
        KeyName::parse(&id.without_version().to_string()),
        Ok(id.without_version())
    );
}

#[test]
fn one_vault_has_one_spelling() {
    let plain = KeyName::new("https://team.vault.azure.net", "k").unwrap();
    for spelling in [
        "https://team.vault.azure.net/",
        "https://TEAM.vault.Azure.net",
        "https://team.vault.azure.net:443",
    ] {
        assert_eq!(KeyName::new(spelling, "k").as_ref(), Ok(&plain), "{spelling}");
    }
}

#[test]
fn a_foreign_key_is_not_admitted() {
    let configured = KeyName::new("https://team.vault.azure.net", "k").unwrap();
    let admit = |id: &str| configured.admit(&KeyId::parse(id).unwrap());
    assert_eq!(admit("https://team.vault.azure.net/keys/k/1"), Ok(()));
    for foreign in [
        "https://team.vault.azure.net/keys/other/1",
        "https://evil.vault.azure.net/keys/k/1",
        "https://team.vault.azure.net:8443/keys/k/1",
    ] {
        assert_eq!(admit(foreign), Err(KeyIdError::Foreign), "{foreign}");
    }
}

#[test]
fn what_is_not_an_identifier_is_refused_with_its_reason() {
    let long = format!("https://v.example/keys/{}/1", "k".repeat(128));
    let longer = format!("https://v.example/keys/k/{}", "1".repeat(600));
    let label = format!("https://{}.example/keys/k/1", "v".repeat(64));
    for (text, reason) in [
        ("", KeyIdError::NotHttps),
        ("http://v.example/keys/k/1", KeyIdError::NotHttps),
        ("https://", KeyIdError::Path),
        ("https:///keys/k/1", KeyIdError::Host),
        ("https://v.example", KeyIdError::Path),
        ("https://v.example/secrets/k/1", KeyIdError::Path),
        ("https://v.example/keys/k", KeyIdError::Path),
        ("https://v.example/keys//1", KeyIdError::Name),
        ("https://v.example/keys/k_k/1", KeyIdError::Name),
        ("https://v.example/keys/../1", KeyIdError::Name),
        (&long, KeyIdError::Name),
        ("https://v.example/keys/k/", KeyIdError::Version),
        ("https://v.example/keys/k/1/", KeyIdError::Version),
        ("https://v.example/keys/k/1?api-version=7.4", KeyIdError::Version),
        (&longer, KeyIdError::TooLong),
        ("https://user@v.example/keys/k/1", KeyIdError::Host),
        ("https://v.example:/keys/k/1", KeyIdError::Host),
        ("https://v.example:0/keys/k/1", KeyIdError::Host),
        ("https://v.example:+1/keys/k/1", KeyIdError::Host),
        ("https://v.example:99999/keys/k/1", KeyIdError::Host),
        ("https://[::1]/keys/k/1", KeyIdError::Host),
        ("https://v..example/keys/k/1", KeyIdError::Host),
        ("https://-v.example/keys/k/1", KeyIdError::Host),
        ("https://v.example#.vault.azure.net/keys/k/1", KeyIdError::Host),
        ("https://v.exam\u{440}le/keys/k/1", KeyIdError::Host),
        (&label, KeyIdError::Host),
    ] {
        assert_eq!(KeyId::parse(text), Err(reason), "{text}");
    }
}
