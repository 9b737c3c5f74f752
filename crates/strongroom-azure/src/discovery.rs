//! What a token issuer says of itself and of failures.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
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
    /// The document of the tenant at `authority` (`https://host[:port]`).
    pub fn for_tenant(authority: &str, tenant: &str) -> Self {
        let one = |value: &str| vec![value.to_owned()];
        Self {
            issuer: format!("{authority}/{tenant}/v2.0"),
            authorization_endpoint: format!("{authority}/{tenant}/oauth2/v2.0/authorize"),
            token_endpoint: format!("{authority}/{tenant}/oauth2/v2.0/token"),
            jwks_uri: format!("{authority}/{tenant}/discovery/v2.0/keys"),
            token_endpoint_auth_methods_supported: vec![
                "client_secret_post".to_owned(),
                "client_secret_basic".to_owned(),
            ],
            response_types_supported: one("token"),
            subject_types_supported: one("pairwise"),
            id_token_signing_alg_values_supported: one("RS256"),
        }
    }
}

/// A refusal of the token endpoint, in the form of RFC 6749 with Entra's AADSTS number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuthError {
    #[serde(skip)]
    status: u16,
    /// `invalid_client`, `invalid_request`, ...
    pub error: String,
    /// A sentence that begins with the AADSTS number.
    pub error_description: String,
    /// The number again, as clients read it: a list of integers.
    pub error_codes: Vec<u32>,
}

impl OAuthError {
    /// A refusal with its AADSTS number; `status` is that of HTTP.
    pub fn new(status: StatusCode, error: &str, number: u32, sentence: &str) -> Self {
        Self {
            status: status.as_u16(),
            error: error.to_owned(),
            error_description: format!("AADSTS{number}: {sentence}"),
            error_codes: vec![number],
        }
    }

    /// The status of HTTP; 400 where none was given, as in a body that was parsed.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST)
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        (self.status(), Json(self)).into_response()
    }
}
