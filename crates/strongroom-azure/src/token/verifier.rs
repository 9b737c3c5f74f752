//! The receiving side: what a token must be before anybody looks at what it says.

use std::sync::Arc;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::{Claims, KeySource, same_audience};
use crate::limits::{CLOCK_SKEW_SECONDS, TOKEN};

/// Verifies tokens of known issuers.
#[derive(Clone)]
pub struct Verifier {
    issuers: Vec<String>,
    keys: Arc<dyn KeySource>,
}

/// Why a token does not count. All of them mean 401; which one is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than any token is.
    #[error("the token is too long")]
    TooLong,
    /// It does not have the form of a signed token.
    #[error("the token is malformed")]
    Malformed,
    /// It wants another algorithm than RS256.
    #[error("the token is not signed with RS256")]
    Algorithm,
    /// Its issuer is not one of those that count here.
    #[error("the token's issuer is not trusted")]
    Issuer,
    /// Its issuer has no such key.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the token's signature does not verify")]
    Signature,
    /// It is for something else.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

impl Verifier {
    /// Trusts these issuers, whose keys `keys` knows.
    pub fn new(issuers: impl IntoIterator<Item = impl Into<String>>, keys: Arc<dyn KeySource>) -> Self {
        Self {
            issuers: issuers.into_iter().map(Into::into).collect(),
            keys,
        }
    }

    /// Checks everything and returns the claims. `now` is in seconds since the Unix epoch; any one of `audiences` will do.
    pub fn verify(&self, token: &str, audiences: &[&str], now: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN {
            return Err(TokenError::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = decode(header)?;
        if header.alg != "RS256" {
            return Err(TokenError::Algorithm);
        }
        let claims: Claims = decode(payload)?;
        // The issuer is not authentic yet: it only chooses among keys that are trusted anyway.
        if !self.issuers.contains(&claims.iss) {
            return Err(TokenError::Issuer);
        }
        let key = self
            .keys
            .key(&claims.iss, &header.kid)
            .ok_or(TokenError::UnknownKey)?;
        let (n, e) = key.rsa().ok_or(TokenError::UnknownKey)?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenError::Malformed)?;
        RsaPublicKeyComponents { n, e }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature)
            .map_err(|_| TokenError::Signature)?;
        check_use(&claims, audiences, now)?;
        Ok(claims)
    }
}

fn check_use(claims: &Claims, audiences: &[&str], now: u64) -> Result<(), TokenError> {
    if !audiences
        .iter()
        .any(|audience| same_audience(audience, &claims.aud))
    {
        return Err(TokenError::Audience);
    }
    if now >= claims.exp.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(TokenError::Expired);
    }
    if claims.nbf > now.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

fn decode<T: for<'a> Deserialize<'a>>(part: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}
