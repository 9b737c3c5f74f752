//! Access tokens: JSON web tokens signed with RS256.
//!
//! One place verifies them for every plane: issuer, audience, times, signature. The algorithm is fixed; what a token says of its own
//! algorithm is only ever compared with it.

mod claims;
mod jwks;
mod signer;
mod verifier;

pub use claims::Claims;
pub use jwks::{Jwk, Jwks, KeySource, StaticKeys};
pub use signer::{Signer, SignerError};
pub use verifier::{TokenError, Verifier};

/// The token of a `Authorization: Bearer` header's value.
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

/// The audience that a scope asks for: exactly one `/.default` is taken off its end.
pub fn scope_to_audience(scope: &str) -> &str {
    scope.strip_suffix("/.default").unwrap_or(scope)
}

/// Whether two audiences are the same: one slash at the end does not count.
pub fn same_audience(one: &str, other: &str) -> bool {
    let trimmed = |text: &str| text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    trimmed(one) == trimmed(other)
}

/// Whether a credential looks like a token rather than a key: three parts between dots.
pub fn looks_like_token(credential: &str) -> bool {
    credential.split('.').count() == 3 && credential.split('.').all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests;
