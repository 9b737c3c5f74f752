//! Why no token was given, in the numbers that Azure's clients and their users know.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use strongroom_azure::{OAuthError, Trace};
use uuid::Uuid;

/// Why the token endpoint gives no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The path names another tenant.
    UnknownTenant(String),
    /// The body is no form, too long, or says something twice.
    Malformed,
    /// A field is missing.
    Missing(&'static str),
    /// Neither a secret nor an assertion.
    NoProof,
    /// More than one proof.
    ManyProofs,
    /// Another grant than client credentials.
    Grant,
    /// A scope without `/.default`.
    Scope(String),
    /// A `resource` where a scope belongs.
    ResourceForScope,
    /// Nobody knows what the token would be for.
    UnknownResource(String),
    /// No application or identity of this id can ask here.
    UnknownApplication(String),
    /// The secret is none of the application's.
    WrongSecret(String),
    /// It was one; its time is over.
    ExpiredSecret(String),
    /// The assertion has no form.
    AssertionForm,
    /// The assertion is not signed by a registered certificate.
    AssertionKey,
    /// The assertion is about somebody else.
    AssertionSubject,
    /// The assertion is for somebody else.
    AssertionAudience,
    /// The assertion is not within its time, or its life is too long.
    AssertionTime,
    /// The assertion was used already.
    AssertionUsed,
    /// No federated credential names the assertion's issuer.
    NoFederation(String),
    /// One does, and none of those its subject.
    NoFederatedSubject(String),
    /// One does, and is for another audience.
    FederatedAudience(String),
    /// The external issuer's key did not sign the assertion, or cannot be had.
    FederatedSignature,
    /// Too many wrong proofs; come back after so many seconds.
    TooOften(u64),
    /// Our fault.
    Failed,
}

impl Refusal {
    /// Status, `error`, number and sentence.
    fn parts(&self) -> (StatusCode, &'static str, u32, String) {
        let bad = |error, number, sentence: String| (StatusCode::BAD_REQUEST, error, number, sentence);
        let denied =
            |number, sentence: String| (StatusCode::UNAUTHORIZED, "invalid_client", number, sentence);
        match self {
            Self::UnknownTenant(tenant) => bad("invalid_request", 90002, format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
            )),
            Self::Malformed => bad("invalid_request", 9_002_313, "Invalid request. Request is malformed or invalid.".to_owned()),
            Self::Missing(field) => bad("invalid_request", 900_144, format!("The request body must contain the following parameter: '{field}'.")),
            Self::NoProof => denied(7_000_218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.".to_owned()),
            Self::ManyProofs => bad("invalid_request", 9_002_313, "Invalid request. A client proves itself in one way, not in several.".to_owned()),
            Self::Grant => bad("unsupported_grant_type", 70003, "The app requested an unsupported grant type; only client_credentials is served.".to_owned()),
            Self::Scope(scope) => bad("invalid_scope", 1_002_012, format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."
            )),
            Self::ResourceForScope => bad("invalid_request", 901_002, "The 'resource' request parameter is not supported.".to_owned()),
            Self::UnknownResource(resource) => bad("invalid_resource", 500_011, format!(
                "The resource principal named {resource} was not found in the tenant. This can happen if the application has not been installed by the administrator of the tenant."
            )),
            Self::UnknownApplication(id) => bad("unauthorized_client", 700_016, format!("Application with identifier '{id}' was not found in the directory.")),
            _ => self.proof_parts(),
        }
    }

    /// As [`Self::parts`], for what is wrong with the proof itself.
    fn proof_parts(&self) -> (StatusCode, &'static str, u32, String) {
        let denied =
            |number, sentence: String| (StatusCode::UNAUTHORIZED, "invalid_client", number, sentence);
        let text = |sentence: &str| sentence.to_owned();
        match self {
            Self::WrongSecret(app) => denied(
                7_000_215,
                format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{app}'."
                ),
            ),
            Self::ExpiredSecret(app) => denied(
                7_000_222,
                format!("The provided client secret keys for app '{app}' are expired."),
            ),
            Self::AssertionForm => denied(50027, text("JWT token is invalid or malformed.")),
            Self::AssertionKey => denied(
                700_027,
                text(
                    "The certificate with identifier used to sign the client assertion is not registered on application, is not within its time, or did not sign it.",
                ),
            ),
            Self::AssertionSubject => denied(
                700_021,
                text("Client assertion application identifier doesn't match 'client_id' parameter."),
            ),
            Self::AssertionAudience => denied(
                700_023,
                text("Client assertion audience claim does not match Realm issuer."),
            ),
            Self::AssertionTime => denied(
                700_024,
                text("Client assertion is not within its valid time range."),
            ),
            Self::AssertionUsed => denied(
                700_027,
                text("Client assertion was used for this resource already: each one counts once."),
            ),
            _ => self.federation_parts(),
        }
    }

    /// As [`Self::parts`], for what an external issuer's word lacks, and for what is left.
    fn federation_parts(&self) -> (StatusCode, &'static str, u32, String) {
        let denied =
            |number, sentence: String| (StatusCode::UNAUTHORIZED, "invalid_client", number, sentence);
        let text = |sentence: &str| sentence.to_owned();
        match self {
            Self::NoFederation(issuer) => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                70021,
                format!(
                    "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'."
                ),
            ),
            Self::NoFederatedSubject(subject) => denied(
                700_213,
                format!(
                    "No matching federated identity record found for presented assertion subject '{subject}'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion."
                ),
            ),
            Self::FederatedAudience(audience) => denied(
                700_212,
                format!(
                    "No matching federated identity record found for presented assertion audience. The credential is for '{audience}'."
                ),
            ),
            Self::FederatedSignature => denied(50013, text("Assertion failed signature validation.")),
            Self::TooOften(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "temporarily_unavailable",
                90055,
                text(
                    "Too many failed requests for this client. Proofs that are valid are taken all the same.",
                ),
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                90033,
                text("A transient error has occurred. Please try again."),
            ),
        }
    }

    /// Whether somebody tried to pass for a client.
    pub(super) fn is_failed_proof(&self) -> bool {
        matches!(
            self,
            Self::UnknownApplication(_)
                | Self::WrongSecret(_)
                | Self::ExpiredSecret(_)
                | Self::AssertionForm
                | Self::AssertionKey
                | Self::AssertionSubject
                | Self::AssertionAudience
                | Self::AssertionTime
                | Self::AssertionUsed
                | Self::NoFederation(_)
                | Self::NoFederatedSubject(_)
                | Self::FederatedAudience(_)
                | Self::FederatedSignature
        )
    }

    /// The answer. Its ids stand in the log as well, beside the reason.
    pub(super) fn answer(self, trace: &Trace) -> OAuthError {
        let (status, error, number, sentence) = self.parts();
        tracing::info!(number, trace_id = trace.trace_id, reason = ?self, "no token was given");
        let answer = OAuthError::new(status, error, number, &sentence, trace);
        match self {
            Self::TooOften(seconds) => answer.with_retry_after(seconds),
            _ => answer,
        }
    }
}

/// Marks a request, by the client's own id if that is a GUID.
pub(super) fn trace(headers: &HeaderMap, now: u64) -> Trace {
    let sent = headers
        .get("client-request-id")
        .and_then(|value| value.to_str().ok());
    let correlation_id = sent
        .and_then(|sent| sent.parse::<Uuid>().ok())
        .unwrap_or_else(Uuid::new_v4);
    let at = i64::try_from(now)
        .ok()
        .and_then(|now| Timestamp::from_second(now).ok());
    let at = at.unwrap_or(Timestamp::MAX);
    Trace {
        trace_id: Uuid::new_v4().to_string(),
        correlation_id: correlation_id.to_string(),
        timestamp: at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    }
}
