//! What a token issuer says of itself and of failures.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

/// The OpenID Connect discovery document, as far as Azure's clients read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIdConfiguration {
    /// The issuer that tokens name.
    pub issuer: String,
    /// Where a person would sign in.
    pub authorization_endpoint: String,
    /// Where tokens are issued.
    pub token_endpoint: String,
    /// Where the signing keys are.
    pub jwks_uri: String,
    /// How clients may prove who they are.
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// What the issuer answers to.
    pub response_types_supported: Vec<String>,
    /// Whether subjects are the same for every client.
    pub subject_types_supported: Vec<String>,
    /// How tokens are signed.
    pub id_token_signing_alg_values_supported: Vec<String>,
}

impl OpenIdConfiguration {
    /// The document of the tenant at `authority` (`https://host[:port]`), in one of the protocol's versions. The issuer is the
    /// same in both: that which tokens name.
    pub fn for_tenant(authority: &str, tenant: &str, version: ProtocolVersion) -> Self {
        let one = |value: &str| vec![value.to_owned()];
        let below = |path: &str| match version {
            ProtocolVersion::V1 => format!("{authority}/{tenant}/{path}"),
            ProtocolVersion::V2 => {
                let (family, name) = path.split_once('/').unwrap_or((path, ""));
                format!("{authority}/{tenant}/{family}/v2.0/{name}")
            }
        };
        Self {
            issuer: format!("{authority}/{tenant}/v2.0"),
            authorization_endpoint: below("oauth2/authorize"),
            token_endpoint: below("oauth2/token"),
            jwks_uri: below("discovery/keys"),
            token_endpoint_auth_methods_supported: vec![
                "client_secret_post".to_owned(),
                "private_key_jwt".to_owned(),
                "client_secret_basic".to_owned(),
            ],
            response_types_supported: one("token"),
            subject_types_supported: one("pairwise"),
            id_token_signing_alg_values_supported: one("RS256"),
        }
    }
}

/// The two protocols that Entra speaks: tokens for a `resource`, and tokens for a `scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// `/oauth2/token`
    V1,
    /// `/oauth2/v2.0/token`
    V2,
}

/// A refusal of the token endpoint, in the form of RFC 6749 with Entra's AADSTS number and what finds it again in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuthError {
    #[serde(skip)]
    status: u16,
    #[serde(skip)]
    retry_after: Option<u64>,
    /// `invalid_client`, `invalid_request`, ...
    pub error: String,
    /// A sentence that begins with the AADSTS number, and the trace.
    pub error_description: String,
    /// The number again, as clients read it: a list of integers.
    pub error_codes: Vec<u32>,
    /// When it happened.
    pub timestamp: String,
    /// The id of the request.
    pub trace_id: String,
    /// The id that the client gave its request, or one that was made for it.
    pub correlation_id: String,
}

/// What finds a request again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The id of the request.
    pub trace_id: String,
    /// The id that the client gave its request, or one that was made for it.
    pub correlation_id: String,
    /// When it was answered, as `2026-11-25 12:00:00Z`.
    pub timestamp: String,
}

impl OAuthError {
    /// A refusal with its AADSTS number; `status` is that of HTTP.
    pub fn new(status: StatusCode, error: &str, number: u32, sentence: &str, trace: &Trace) -> Self {
        let Trace {
            trace_id,
            correlation_id,
            timestamp,
        } = trace.clone();
        Self {
            status: status.as_u16(),
            retry_after: None,
            error: error.to_owned(),
            error_description: format!(
                "AADSTS{number}: {sentence} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}"
            ),
            error_codes: vec![number],
            timestamp,
            trace_id,
            correlation_id,
        }
    }

    /// Asks the client to come back after so many seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The status of HTTP; 400 where none was given, as in a body that was parsed.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST)
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(&self)).into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_where_clients_look() {
        let paths = |version| {
            let document = OpenIdConfiguration::for_tenant("https://x", "t", version);
            (document.token_endpoint, document.jwks_uri)
        };
        let pair = |one: &str, other: &str| (format!("https://x/t/{one}"), format!("https://x/t/{other}"));
        assert_eq!(paths(ProtocolVersion::V1), pair("oauth2/token", "discovery/keys"));
        assert_eq!(
            paths(ProtocolVersion::V2),
            pair("oauth2/v2.0/token", "discovery/v2.0/keys")
        );
    }

    #[test]
    fn a_refusal_carries_number_and_trace_as_clients_read_them() {
        let trace = Trace {
            trace_id: "t".to_owned(),
            correlation_id: "c".to_owned(),
            timestamp: "2026-11-25 12:00:00Z".to_owned(),
        };
        let refusal = OAuthError::new(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            7_000_215,
            "Wrong.",
            &trace,
        );
        let json = serde_json::to_value(&refusal).unwrap();
        let description =
            "AADSTS7000215: Wrong. Trace ID: t Correlation ID: c Timestamp: 2026-11-25 12:00:00Z";
        assert_eq!(json["error_description"], description);
        assert_eq!(json["error_codes"], serde_json::json!([7_000_215]));
        let response = refusal.with_retry_after(7).into_response();
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "7");
    }
}
