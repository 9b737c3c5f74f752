//! The public keys of an issuer.

use std::pin::Pin;

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::json;
use crate::limits::{KEY_SET, KEYS_IN_SET};

/// An RSA public key in the form of RFC 7517.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// The key type: `RSA`.
    pub kty: String,
    /// What the key is for: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// The key's id, as tokens name it. Without one, no token can name the key.
    #[serde(default)]
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

/// How a signature was made. Nothing else is taken, whatever a token asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: access tokens, and assertions of older clients.
    Rs256,
    /// RSASSA-PSS with SHA-256: assertions of newer clients.
    Ps256,
}

impl Algorithm {
    /// By its name in a header.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    fn parameters(self) -> &'static RsaParameters {
        match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
        }
    }
}

impl Jwk {
    /// An RSA key for signatures by its modulus and exponent, big-endian.
    pub fn rsa(kid: impl Into<String>, modulus: &[u8], exponent: &[u8]) -> Self {
        Self {
            kty: "RSA".to_owned(),
            usage: Some("sig".to_owned()),
            kid: kid.into(),
            alg: None,
            n: URL_SAFE_NO_PAD.encode(modulus),
            e: URL_SAFE_NO_PAD.encode(exponent),
        }
    }

    /// Whether the key is one for signatures of this kind.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        let for_signing = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let for_this = self.alg.as_deref().is_none_or(|alg| alg == algorithm.name());
        self.kty == "RSA" && for_signing && for_this
    }

    /// Whether the key made this signature. A key that is for something else, of another kind, or shorter than 2048 bits made none.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let (Some(n), Some(e)) = (part(&self.n), part(&self.e)) else {
            return false;
        };
        RsaPublicKeyComponents { n, e }
            .verify(algorithm.parameters(), message, signature)
            .is_ok()
    }
}

/// A set of keys, as issuers publish it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

impl Jwks {
    /// Reads a published set; `None` if it is none, says something twice, or is unreasonably large.
    pub fn parse(body: &[u8]) -> Option<Self> {
        if body.len() > KEY_SET {
            return None;
        }
        json::read::<Self>(body).filter(|set| set.keys.len() <= KEYS_IN_SET)
    }

    /// The one key of this id. Two keys of one id are neither's: which is meant cannot be told.
    pub fn key(&self, kid: &str) -> Option<&Jwk> {
        let mut named = self.keys.iter().filter(|key| !kid.is_empty() && key.kid == kid);
        named.next().filter(|_| named.next().is_none())
    }
}

/// An answer that may have to be fetched.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a verifier finds the keys of one issuer: a fixed set, or one that is fetched and refreshed.
pub trait KeySource: Send + Sync + 'static {
    /// The key that the issuer calls `kid`. `now` is in seconds since the Unix epoch.
    fn key<'a>(&'a self, kid: &'a str, now: u64) -> Asked<'a, Option<Jwk>>;
}

/// A fixed set of keys.
pub struct StaticKeys(Jwks);

impl StaticKeys {
    /// These keys, for good.
    pub fn new(set: Jwks) -> Self {
        Self(set)
    }
}

impl KeySource for StaticKeys {
    fn key<'a>(&'a self, kid: &'a str, _: u64) -> Asked<'a, Option<Jwk>> {
        Box::pin(std::future::ready(self.0.key(kid).cloned()))
    }
}
