//! The three parts of a signed token, as far as they can be told without a key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::json;
use crate::limits::{KEY_NAME, TOKEN};

/// A token that has the form of one; nothing in it is authentic yet.
pub(super) struct Parts<'a> {
    pub(super) header: Header,
    /// What the signature covers.
    pub(super) message: &'a str,
    payload: &'a str,
    pub(super) signature: Vec<u8>,
}

/// What a header may say. Where it points to keys or demands understanding of something else, the token is refused: keys are
/// found by the issuer's name alone.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    pub(super) x5t: Option<String>,
    #[serde(default, rename = "x5t#S256")]
    pub(super) x5t_s256: Option<String>,
    #[serde(default)]
    jku: Option<IgnoredAny>,
    #[serde(default)]
    jwk: Option<IgnoredAny>,
    #[serde(default)]
    x5u: Option<IgnoredAny>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
    #[serde(default)]
    b64: Option<IgnoredAny>,
    #[serde(default)]
    zip: Option<IgnoredAny>,
}

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormFault {
    TooLong,
    Malformed,
    /// The header steers: it brings or points to a key, or changes what is signed.
    Header,
}

impl<'a> Parts<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, FormFault> {
        if token.len() > TOKEN {
            return Err(FormFault::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(FormFault::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(FormFault::Malformed)?;
        let header: Header = decode(header).ok_or(FormFault::Malformed)?;
        if header.steers() {
            return Err(FormFault::Header);
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| FormFault::Malformed)?;
        Ok(Self {
            header,
            message,
            payload,
            signature,
        })
    }

    /// What the token claims. Not authentic before the signature was verified.
    pub(super) fn claims<T: DeserializeOwned>(&self) -> Result<T, FormFault> {
        decode(self.payload).ok_or(FormFault::Malformed)
    }
}

impl Header {
    fn steers(&self) -> bool {
        let steering = [&self.jku, &self.jwk, &self.x5u, &self.crit, &self.b64, &self.zip];
        let long_name = self.kid.as_ref().is_some_and(|kid| kid.len() > KEY_NAME);
        long_name || steering.into_iter().any(Option::is_some)
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    json::read(&URL_SAFE_NO_PAD.decode(part).ok()?)
}
