//! The public keys of an issuer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::limits::KEYS_IN_SET;

/// An RSA public key in the form of RFC 7517.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// The key type: `RSA`.
    pub kty: String,
    /// What the key is for: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// The key's id, as tokens name it.
    pub kid: String,
    /// The algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// The modulus, big-endian, base64url.
    #[serde(default)]
    pub n: String,
    /// The exponent, big-endian, base64url.
    #[serde(default)]
    pub e: String,
}

impl Jwk {
    /// Modulus and exponent, if the key is one that signs with RSA.
    pub(crate) fn rsa(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let for_signing = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        if self.kty != "RSA" || !for_signing {
            return None;
        }
        Some((
            URL_SAFE_NO_PAD.decode(&self.n).ok()?,
            URL_SAFE_NO_PAD.decode(&self.e).ok()?,
        ))
    }
}

/// A set of keys, as issuers publish it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

impl Jwks {
    /// Reads a published set; `None` if it is none, or unreasonably large.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body)
            .ok()
            .filter(|set| set.keys.len() <= KEYS_IN_SET)
    }
}

/// Where a verifier finds keys: a fixed set, or one that is fetched and refreshed.
pub trait KeySource: Send + Sync + 'static {
    /// The key that `issuer` calls `kid`.
    fn key(&self, issuer: &str, kid: &str) -> Option<Jwk>;
}

/// A fixed set of keys of one issuer.
pub struct StaticKeys {
    issuer: String,
    set: Jwks,
}

impl StaticKeys {
    /// The keys of `issuer`.
    pub fn new(issuer: impl Into<String>, set: Jwks) -> Self {
        Self {
            issuer: issuer.into(),
            set,
        }
    }
}

impl KeySource for StaticKeys {
    fn key(&self, issuer: &str, kid: &str) -> Option<Jwk> {
        let keys = if issuer == self.issuer {
            self.set.keys.as_slice()
        } else {
            &[]
        };
        keys.iter().find(|key| key.kid == kid).cloned()
    }
}
