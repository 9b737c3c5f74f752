//! Assertions: tokens by which a client proves who it is, signed by itself or by an issuer that vouches for it.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::Jwk;
use super::jwks::Algorithm;
use super::parts::{FormFault, Header, Parts};
use crate::limits::{ASSERTION_SKEW_SECONDS, TOKEN};

/// An assertion that has the form of one. What it says is not authentic until [`Assertion::is_signed_by`] was true.
pub struct Assertion<'a> {
    parts: Parts<'a>,
    algorithm: Algorithm,
    claims: Said,
}

/// Why a text is no assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// It does not have the form of a signed token, says something twice, or is too long.
    #[error("the assertion is malformed")]
    Malformed,
    /// Its header brings a key, points to one, or asks for something that is not understood.
    #[error("the assertion's header steers")]
    Header,
    /// It is signed with something else than RS256 or PS256.
    #[error("the assertion is signed with an algorithm that is not taken")]
    Algorithm,
}

/// Why an assertion does not count now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionTime {
    /// Its time is over, or has not come.
    #[error("the assertion is not within its time")]
    Outside,
    /// It would count for longer than any may.
    #[error("the assertion's life is too long")]
    TooLong,
}

#[derive(Deserialize)]
struct Said {
    iss: String,
    sub: String,
    aud: Audiences,
    exp: Seconds,
    #[serde(default)]
    nbf: Option<Seconds>,
    #[serde(default)]
    iat: Option<Seconds>,
    #[serde(default)]
    jti: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl<'a> Assertion<'a> {
    /// Reads one. Blanks around it do not count: files often end with a line's end.
    pub fn parse(text: &'a str) -> Result<Self, AssertionError> {
        // Blanks are no reason to look at more than a token's length.
        if text.len() > 2 * TOKEN {
            return Err(AssertionError::Malformed);
        }
        let parts = Parts::read(text.trim())?;
        let algorithm = Algorithm::by_name(&parts.header.alg).ok_or(AssertionError::Algorithm)?;
        let claims = parts.claims()?;
        Ok(Self {
            parts,
            algorithm,
            claims,
        })
    }

    /// Who issued it.
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// Whom it is about.
    pub fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// Its own id.
    pub fn id(&self) -> Option<&str> {
        self.claims.jti.as_deref().filter(|id| !id.is_empty())
    }

    /// When it ends, in seconds since the Unix epoch.
    pub fn expires(&self) -> u64 {
        self.claims.exp.0
    }

    /// From when on its times forbid it, and its use need not be remembered.
    pub fn must_be_remembered_until(&self) -> u64 {
        self.claims.exp.0.saturating_add(ASSERTION_SKEW_SECONDS)
    }

    /// The id of the key that is said to have signed it.
    pub fn key_id(&self) -> Option<&str> {
        self.parts.header.kid.as_deref()
    }

    /// Whether the header names the certificate with these thumbprints (base64url; SHA-1 and SHA-256). Where it names both,
    /// both must be its.
    pub fn names_certificate(&self, sha1: &str, sha256: &str) -> bool {
        let Header { x5t, x5t_s256, .. } = &self.parts.header;
        let is = |said: &Option<String>, known: &str| {
            said.as_deref().map(|said| said.trim_end_matches('=') == known)
        };
        matches!(
            (is(x5t, sha1), is(x5t_s256, sha256)),
            (Some(true), None | Some(true)) | (None, Some(true))
        )
    }

    /// Whether it is for this audience, to the letter.
    pub fn is_for(&self, audience: &str) -> bool {
        match &self.claims.aud {
            Audiences::One(one) => one == audience,
            Audiences::Many(many) => many.iter().any(|one| one == audience),
        }
    }

    /// Whether this key signed it.
    pub fn is_signed_by(&self, key: &Jwk) -> bool {
        key.verifies(
            self.algorithm,
            self.parts.message.as_bytes(),
            &self.parts.signature,
        )
    }

    /// Whether it counts at `now` (seconds since the Unix epoch) and for no longer than `life` seconds in all.
    pub fn check_times(&self, now: u64, life: u64) -> Result<(), AssertionTime> {
        let late = now.saturating_add(ASSERTION_SKEW_SECONDS);
        let Said { exp, nbf, iat, .. } = &self.claims;
        let early = [nbf, iat].into_iter().flatten().any(|from| from.0 > late);
        if early || now >= exp.0.saturating_add(ASSERTION_SKEW_SECONDS) {
            return Err(AssertionTime::Outside);
        }
        let from = nbf.as_ref().or(iat.as_ref()).map_or(now, |from| from.0.min(now));
        if exp.0.saturating_sub(from) > life.saturating_add(ASSERTION_SKEW_SECONDS) {
            return Err(AssertionTime::TooLong);
        }
        Ok(())
    }
}

impl From<FormFault> for AssertionError {
    fn from(fault: FormFault) -> Self {
        match fault {
            FormFault::TooLong | FormFault::Malformed => Self::Malformed,
            FormFault::Header => Self::Header,
        }
    }
}

/// A time as tokens write it: a number, which some clients give with a fraction.
#[derive(Debug, Clone, Copy)]
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Seconds;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("seconds since the Unix epoch")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                Ok(Seconds(seconds))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Seconds, E> {
                let seconds = Duration::try_from_secs_f64(seconds).map_err(E::custom)?;
                Ok(Seconds(seconds.as_secs()))
            }
        }
        deserializer.deserialize_any(Number)
    }
}
