//! The `WWW-Authenticate` challenge by which a vault tells a client where to get a token and for what.

use std::fmt;
use std::str::FromStr;

use crate::limits::CHALLENGE;

/// A Bearer challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Where tokens are issued: `https://host[:port]/<tenant>`.
    pub authorization: String,
    /// What the token must be for; the scope is this and `/.default`.
    pub resource: String,
}

/// Why a header is no challenge that can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// It is not a Bearer challenge, or unreasonably long.
    #[error("the challenge is not of the Bearer scheme")]
    Scheme,
    /// It does not say where to get a token.
    #[error("the challenge has no authorization parameter")]
    NoAuthorization,
    /// It does not say what the token is for.
    #[error("the challenge has neither a resource nor a scope parameter")]
    NoResource,
}

impl fmt::Display for Challenge {
    /// The header's value. Clients split it at commas and equals signs, so both values go in quotes and hold neither.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Bearer authorization=\"{}\", resource=\"{}\"",
            self.authorization, self.resource
        )
    }
}

impl FromStr for Challenge {
    type Err = ChallengeError;

    fn from_str(header: &str) -> Result<Self, ChallengeError> {
        let (scheme, parameters) = header.trim().split_once(' ').ok_or(ChallengeError::Scheme)?;
        if header.len() > CHALLENGE || !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(ChallengeError::Scheme);
        }
        let find = |names: [&str; 2]| {
            let mut pairs = parameters
                .split(',')
                .filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(name, _)| names.iter().any(|known| name.trim().eq_ignore_ascii_case(known)))
        };
        let value = |text: &str| text.trim().trim_matches('"').to_owned();
        let authorization = find(["authorization", "authorization_uri"])
            .ok_or(ChallengeError::NoAuthorization)?
            .1;
        let (name, resource) = find(["resource", "scope"]).ok_or(ChallengeError::NoResource)?;
        let mut resource = value(resource);
        if name.trim().eq_ignore_ascii_case("scope") {
            resource = crate::token::scope_to_audience(&resource).to_owned();
        }
        Ok(Self {
            authorization: value(authorization),
            resource,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_reads_as_it_was_written() {
        let challenge = Challenge {
            authorization: "https://localhost:8443/tenant".to_owned(),
            resource: "https://vault.localhost:8443".to_owned(),
        };
        assert_eq!(challenge.to_string().parse(), Ok(challenge));
    }

    #[test]
    fn a_scope_stands_for_its_resource() {
        let header =
            r#"bearer authorization_uri="https://login/t", scope="https://vault.azure.net/.default""#;
        assert_eq!(
            header.parse::<Challenge>().unwrap().resource,
            "https://vault.azure.net"
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        assert_eq!("Basic realm=x".parse::<Challenge>(), Err(ChallengeError::Scheme));
        assert_eq!("Bearer".parse::<Challenge>(), Err(ChallengeError::Scheme));
        assert_eq!(
            "Bearer resource=\"x\"".parse::<Challenge>(),
            Err(ChallengeError::NoAuthorization)
        );
        assert_eq!(
            "Bearer authorization=\"x\"".parse::<Challenge>(),
            Err(ChallengeError::NoResource)
        );
    }
}
