//! The token issuer: Entra's protocol for applications, App Service's for managed identities.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use strongroom_azure::token::{Claims, Signer, StaticKeys, TrustedIssuer, Verifier, scope_to_audience};
use strongroom_azure::{ErrorStatus, OAuthError, OpenIdConfiguration, Problem};
use strongroom_seal::Clock;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::control::Control;
use crate::directory::{Principal, PrincipalKind, random_text};
use crate::error::ControlError;
use crate::limits::{TOKEN_LIFE, TOKEN_REQUEST};

/// Issues tokens of one tenant under one authority. Clones share it.
#[derive(Clone)]
pub struct TokenIssuer {
    inner: Arc<Inner>,
}

struct Inner {
    control: Control,
    authority: String,
    issuer: String,
    signer: Arc<Signer>,
    clock: Arc<dyn Clock>,
    /// Header secrets of managed identities: made anew at each start, kept in memory alone.
    identities: Mutex<HashMap<Uuid, Zeroizing<String>>>,
}

#[derive(Serialize)]
struct TokenAnswer {
    token_type: &'static str,
    expires_in: u64,
    ext_expires_in: u64,
    access_token: String,
}

/// What App Service answers; `expires_on` is text there.
#[derive(Serialize)]
struct IdentityAnswer {
    access_token: String,
    expires_on: String,
    resource: String,
    token_type: &'static str,
    client_id: String,
}

impl TokenIssuer {
    pub(crate) fn new(control: Control, authority: &str, signer: Arc<Signer>, clock: Arc<dyn Clock>) -> Self {
        let authority = authority.trim_end_matches('/').to_owned();
        let issuer = OpenIdConfiguration::for_tenant(&authority, &control.tenant()).issuer;
        let identities = Mutex::new(HashMap::new());
        Self {
            inner: Arc::new(Inner {
                control,
                authority,
                issuer,
                signer,
                clock,
                identities,
            }),
        }
    }

    /// What every plane verifies this issuer's tokens with.
    pub fn verifier(&self) -> Verifier {
        Verifier::new([TrustedIssuer {
            names: vec![self.inner.issuer.clone()],
            tenant: self.inner.control.tenant(),
            audiences: None,
            guest: false,
            keys: Arc::new(StaticKeys::new(self.inner.signer.jwks())),
        }])
    }

    /// Seconds since the Unix epoch, by the clock that tokens are issued with.
    pub fn now(&self) -> u64 {
        self.inner.clock.now().wall.as_secs()
    }

    /// Lets a managed identity ask for tokens: gives the secret of its `X-IDENTITY-HEADER`.
    pub fn admit_identity(&self, object_id: Uuid) -> Result<Zeroizing<String>, ControlError> {
        let secret = random_text()?;
        self.identities().insert(object_id, secret.clone());
        Ok(secret)
    }

    /// Discovery, keys and tokens: what is served under the authority.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/{tenant}/v2.0/.well-known/openid-configuration", get(discovery))
            .route("/{tenant}/discovery/v2.0/keys", get(keys))
            .route("/{tenant}/oauth2/v2.0/token", post(token))
            .layer(DefaultBodyLimit::max(TOKEN_REQUEST))
            .with_state(self.clone())
    }

    /// The managed-identity endpoint: for plain HTTP on loopback.
    pub fn identity_routes(&self) -> Router {
        Router::new()
            .route("/msi/token", get(identity_token))
            .with_state(self.clone())
    }

    fn issue(&self, principal: &Principal, audience: &str) -> Result<(String, u64), StatusCode> {
        let now = self.now();
        let expires = now.saturating_add(TOKEN_LIFE.as_secs());
        let object_id = principal.object_id.to_string();
        let claims = Claims {
            iss: self.inner.issuer.clone(),
            aud: audience.to_owned(),
            exp: expires,
            nbf: now,
            iat: now,
            oid: object_id.clone(),
            sub: object_id,
            tid: self.inner.control.tenant(),
            appid: principal.client_id().map(|id| id.to_string()),
            idtyp: Some("app".to_owned()),
            resource: principal.resource().map(str::to_owned),
            uti: Some(Uuid::new_v4().simple().to_string()),
        };
        let token = self
            .inner
            .signer
            .sign(&claims)
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok((token, expires))
    }

    fn check_tenant(&self, tenant: &str) -> Result<(), OAuthError> {
        if tenant.eq_ignore_ascii_case(&self.inner.control.tenant()) {
            return Ok(());
        }
        Err(OAuthError::new(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            90002,
            "Tenant not found.",
        ))
    }

    fn identities(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Zeroizing<String>>> {
        self.inner
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn discovery(State(issuer): State<TokenIssuer>, Path(tenant): Path<String>) -> Response {
    match issuer.check_tenant(&tenant) {
        Ok(()) => {
            let tenant = issuer.inner.control.tenant();
            Json(OpenIdConfiguration::for_tenant(&issuer.inner.authority, &tenant)).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

async fn keys(State(issuer): State<TokenIssuer>, Path(tenant): Path<String>) -> Response {
    match issuer.check_tenant(&tenant) {
        Ok(()) => Json(issuer.inner.signer.jwks()).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn token(
    State(issuer): State<TokenIssuer>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Ok(body) = body else {
        let sentence = "Invalid request. Request is malformed or invalid.";
        return uncached(OAuthError::new(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            9_002_313,
            sentence,
        ));
    };
    match grant(&issuer, &tenant, &headers, &body) {
        Ok(answer) => uncached(Json(answer)),
        Err(refusal) => uncached(refusal),
    }
}

/// The client-credentials grant.
fn grant(
    issuer: &TokenIssuer,
    tenant: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<TokenAnswer, OAuthError> {
    issuer.check_tenant(tenant)?;
    let form = Form::parse(body);
    let bad = |number, sentence: &str| {
        OAuthError::new(StatusCode::BAD_REQUEST, "invalid_request", number, sentence)
    };
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => {
            let sentence = "The app requested an unsupported grant type; only client_credentials is served.";
            return Err(OAuthError::new(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                70003,
                sentence,
            ));
        }
        None => {
            return Err(bad(
                900_144,
                "The request body must contain the following parameter: 'grant_type'.",
            ));
        }
    }
    let basic = basic_credentials(headers);
    let (id, secret) = match &basic {
        Some((id, secret)) => (Some(id.as_str()), Some(secret.as_str())),
        None => (form.get("client_id"), form.get("client_secret")),
    };
    let id = id.ok_or_else(|| {
        bad(
            900_144,
            "The request body must contain the following parameter: 'client_id'.",
        )
    })?;
    let secret = secret.ok_or_else(|| {
        let sentence =
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        OAuthError::new(StatusCode::UNAUTHORIZED, "invalid_client", 7_000_218, sentence)
    })?;
    let scope = form.get("scope").ok_or_else(|| {
        bad(
            900_144,
            "The request body must contain the following parameter: 'scope'.",
        )
    })?;
    let principal = authenticate(issuer, id, secret)?;
    let (access_token, _) = issuer
        .issue(&principal, scope_to_audience(scope))
        .map_err(|status| {
            OAuthError::new(status, "server_error", 90033, "A transient error has occurred.")
        })?;
    let life = TOKEN_LIFE.as_secs();
    Ok(TokenAnswer {
        token_type: "Bearer",
        expires_in: life,
        ext_expires_in: life,
        access_token,
    })
}

fn authenticate(issuer: &TokenIssuer, client_id: &str, secret: &str) -> Result<Arc<Principal>, OAuthError> {
    let known = issuer.inner.control.principal_by_client(client_id);
    let Some(principal) = known.filter(|principal| principal.kind() == PrincipalKind::Application) else {
        let sentence = "Application with the given identifier was not found in the directory.";
        return Err(OAuthError::new(
            StatusCode::BAD_REQUEST,
            "unauthorized_client",
            700_016,
            sentence,
        ));
    };
    if principal.has_secret(secret, issuer.now()) {
        return Ok(principal);
    }
    let sentence = "Invalid client secret provided.";
    Err(OAuthError::new(
        StatusCode::UNAUTHORIZED,
        "invalid_client",
        7_000_215,
        sentence,
    ))
}

async fn identity_token(
    State(issuer): State<TokenIssuer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match identity_grant(&issuer, query.as_deref().unwrap_or_default(), &headers) {
        Ok(answer) => uncached(Json(answer)),
        Err(problem) => uncached(problem),
    }
}

fn identity_grant(issuer: &TokenIssuer, query: &str, headers: &HeaderMap) -> Result<IdentityAnswer, Problem> {
    let bad = |message: &str| Problem::new(ErrorStatus::BAD_REQUEST, "BadRequest", message);
    let presented = headers
        .get("x-identity-header")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let form = Form::parse(query.as_bytes());
    form.get("api-version")
        .ok_or_else(|| bad("The api-version query parameter is required."))?;
    let resource = form
        .get("resource")
        .ok_or_else(|| bad("The resource query parameter is required."))?;
    let holder = issuer.identities().iter().find_map(|(id, secret)| {
        verify_slices_are_equal(secret.as_bytes(), presented.as_bytes())
            .is_ok()
            .then_some(*id)
    });
    let refused = || {
        Problem::new(
            ErrorStatus::UNAUTHORIZED,
            "Unauthorized",
            "The identity header is not valid.",
        )
    };
    let principal = holder
        .and_then(|id| issuer.inner.control.principal(id))
        .ok_or_else(refused)?;
    let client_id = principal.client_id().map(|id| id.to_string()).unwrap_or_default();
    if form.get("client_id").is_some_and(|asked| asked != client_id) {
        return Err(bad("No managed identity with this client_id is assigned here."));
    }
    let failed = |_| {
        Problem::new(
            ErrorStatus::INTERNAL,
            "InternalError",
            "The token could not be issued.",
        )
    };
    let (access_token, expires) = issuer
        .issue(&principal, scope_to_audience(resource))
        .map_err(failed)?;
    Ok(IdentityAnswer {
        access_token,
        expires_on: expires.to_string(),
        resource: resource.to_owned(),
        token_type: "Bearer",
        client_id,
    })
}

/// Fields of a form or a query. The values may be secrets: wiped on drop.
struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    fn parse(body: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(body);
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned())))
                .collect(),
        )
    }

    /// A field that is there and not empty.
    fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str());
        found.filter(|value| !value.is_empty())
    }
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    scheme
        .eq_ignore_ascii_case("Basic")
        .then(|| (id.to_owned(), Zeroizing::new(secret.to_owned())))
}

fn uncached(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
