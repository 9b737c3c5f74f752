//! The receiving side: what a token must be before anybody looks at what it says.

use std::sync::Arc;

use super::audience::{KnownResource, same_audience};
use super::jwks::Algorithm;
use super::memo::Memo;
use super::parts::{FormFault, Parts};
use super::{Claims, KeySource};
use crate::limits::{CLOCK_SKEW_SECONDS, TOKEN_LIFE_SECONDS};

/// Verifies tokens of known issuers.
#[derive(Clone)]
pub struct Verifier {
    trusted: Arc<[TrustedIssuer]>,
    memo: Arc<Memo>,
}

/// An issuer whose tokens count, and for what.
#[derive(Clone)]
pub struct TrustedIssuer {
    /// The names it goes by in `iss`, compared to the letter.
    pub names: Vec<String>,
    /// Its tenant: `tid` of its tokens must be this one.
    pub tenant: String,
    /// The audiences for which it counts, where that is restricted. One that belongs to one of Azure's resources counts
    /// where that resource is served; any other (an application's own) counts everywhere.
    pub audiences: Option<Vec<String>>,
    /// Whether its tenant is another one than that which owns what is served here. Its principals are guests then.
    pub guest: bool,
    /// Its keys.
    pub keys: Arc<dyn KeySource>,
}

/// Why a token does not count. All of them mean 401; which one is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is longer than any token is.
    #[error("the token is too long")]
    TooLong,
    /// It does not have the form of a signed token, or says something twice.
    #[error("the token is malformed")]
    Malformed,
    /// Its header brings a key, points to one, or asks for something that is not understood.
    #[error("the token's header steers")]
    Header,
    /// It wants another algorithm than RS256.
    #[error("the token is not signed with RS256")]
    Algorithm,
    /// Its issuer is not one of those that count here.
    #[error("the token's issuer is not trusted")]
    Issuer,
    /// Its tenant is not its issuer's.
    #[error("the token's tenant is not its issuer's")]
    Tenant,
    /// Its issuer has no such key, or none can be had now.
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
    /// It would count for longer than any token may.
    #[error("the token's life is too long")]
    Life,
}

impl From<FormFault> for TokenError {
    fn from(fault: FormFault) -> Self {
        match fault {
            FormFault::TooLong => Self::TooLong,
            FormFault::Malformed => Self::Malformed,
            FormFault::Header => Self::Header,
        }
    }
}

impl Verifier {
    /// Trusts these issuers.
    pub fn new(trusted: impl Into<Vec<TrustedIssuer>>) -> Self {
        Self {
            trusted: trusted.into().into(),
            memo: Arc::default(),
        }
    }

    /// Whether tokens of this tenant are those of guests.
    pub fn is_guest(&self, tenant: &str) -> bool {
        let mut guests = self.trusted.iter().filter(|trusted| trusted.guest);
        guests.any(|trusted| trusted.tenant.eq_ignore_ascii_case(tenant))
    }

    /// Checks everything and returns the claims. `now` is in seconds since the Unix epoch; any one of `audiences` will do.
    pub async fn verify(&self, token: &str, audiences: &[&str], now: u64) -> Result<Claims, TokenError> {
        let parts = Parts::read(token)?;
        if parts.header.alg != "RS256" {
            return Err(TokenError::Algorithm);
        }
        let claims: Claims = parts.claims()?;
        // The issuer is not authentic yet: it only chooses among keys that are trusted anyway.
        let issuer = self
            .trusted
            .iter()
            .find(|trusted| trusted.names.contains(&claims.iss));
        let issuer = issuer.ok_or(TokenError::Issuer)?;
        if !claims.tid.eq_ignore_ascii_case(&issuer.tenant) {
            return Err(TokenError::Tenant);
        }
        let kid = parts.header.kid.as_deref().ok_or(TokenError::Malformed)?;
        let key = issuer.keys.key(kid, now).await.ok_or(TokenError::UnknownKey)?;
        if !self
            .memo
            .verifies(&key, Algorithm::Rs256, parts.message, &parts.signature)
        {
            return Err(TokenError::Signature);
        }
        issuer.check_audience(&claims.aud, audiences)?;
        check_times(&claims, now)?;
        Ok(claims)
    }
}

impl TrustedIssuer {
    fn check_audience(&self, claimed: &str, served: &[&str]) -> Result<(), TokenError> {
        let is_served = served.iter().any(|audience| same_audience(audience, claimed));
        let counts = match &self.audiences {
            None => is_served,
            Some(own) => {
                let is_own = own.iter().any(|audience| same_audience(audience, claimed));
                is_own && (is_served || KnownResource::by_audience(claimed).is_none())
            }
        };
        counts.then_some(()).ok_or(TokenError::Audience)
    }
}

fn check_times(claims: &Claims, now: u64) -> Result<(), TokenError> {
    if now >= claims.exp.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(TokenError::Expired);
    }
    if claims.nbf > now.saturating_add(CLOCK_SKEW_SECONDS) {
        return Err(TokenError::NotYetValid);
    }
    if claims.exp.saturating_sub(claims.nbf) > TOKEN_LIFE_SECONDS {
        return Err(TokenError::Life);
    }
    Ok(())
}
