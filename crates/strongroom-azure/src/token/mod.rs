//! Access tokens and assertions: JSON web tokens signed with RSA.
//!
//! One place verifies them for every plane: issuer, tenant, audience, times, signature. The algorithm of an access token is fixed;
//! what a token says of its own algorithm is only ever compared with it, and where it says its key is to be found is a reason to refuse it.

mod assertion;
mod audience;
mod certificate;
mod claims;
mod fetch;
mod form;
mod json;
mod jwks;
mod memo;
mod parts;
mod remote;
mod signer;
mod verifier;

pub use assertion::{Assertion, AssertionError, AssertionTime};
pub use audience::{KnownResource, same_audience, scope_to_audience};
pub use certificate::{Certificate, CertificateError};
pub use claims::Claims;
pub use fetch::{KeyHosts, KeyHostsError};
pub use form::{Form, basic_credentials};
pub use jwks::{Algorithm, Asked, Jwk, Jwks, KeySource, StaticKeys};
pub use remote::{FetchKeys, RemoteKeys};
pub use signer::{Signer, SignerError};
pub use verifier::{TokenError, TrustedIssuer, Verifier};

/// The token of a `Authorization: Bearer` header's value.
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

/// Whether a credential looks like a token rather than a key: three parts between dots.
pub fn looks_like_token(credential: &str) -> bool {
    credential.split('.').count() == 3 && credential.split('.').all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests;
