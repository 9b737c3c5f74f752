//! The body of a token request, and the query of a managed identity's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::limits::FORM_FIELDS;

/// Fields of a form or a query. The values may be secrets: wiped on drop.
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Reads one; `None` if a field stands twice or there are too many. RFC 6749, 3.2: parameters must not be repeated.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            let value = Zeroizing::new(value.into_owned());
            if fields.len() == FORM_FIELDS || fields.iter().any(|(known, _)| *known == name) {
                return None;
            }
            fields.push((name.into_owned(), value));
        }
        Some(Self(fields))
    }

    /// A field that is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// The id and secret in the value of an `Authorization: Basic` header. RFC 6749, 2.3.1: both are encoded as in a form.
pub fn basic_credentials(header: &str) -> Option<(String, Zeroizing<String>)> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let plain = |text: &str| {
        let mut pairs = url::form_urlencoded::parse(text.as_bytes());
        pairs
            .next()
            .map(|(name, _)| name.into_owned())
            .unwrap_or_default()
    };
    Some((plain(id), Zeroizing::new(plain(secret))))
}
