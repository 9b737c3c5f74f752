//! The token issuer: Entra's protocol for applications, App Service's and the machines' for managed identities.

mod changes;
mod grant;
mod identity;
pub(crate) mod keys;
mod proof;
mod refusal;
pub(crate) mod replay;
mod resources;
mod throttle;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};
use strongroom_azure::token::{Claims, RemoteKeys, TrustedIssuer, Verifier};
use strongroom_azure::{OpenIdConfiguration, ProtocolVersion};
use uuid::Uuid;

use crate::control::Control;
use crate::directory::Principal;
use crate::error::ControlError;
use crate::limits::{EXTERNAL_ISSUERS, TOKEN_LIFE, TOKEN_REQUEST};
use identity::Hosts;
pub use identity::IdentityHost;
pub use keys::{TokenKey, TokenKeyState};
use refusal::{Refusal, trace};
use resources::Resources;
pub(crate) use resources::local_audiences;
use throttle::Failures;

/// Issues tokens of one tenant under one authority. Clones share it.
#[derive(Clone)]
pub struct TokenIssuer {
    inner: Arc<Inner>,
}

struct Inner {
    control: Control,
    authority: String,
    issuer: String,
    resources: Resources,
    failures: Failures,
    hosts: Hosts,
    /// Keys of external issuers that were fetched, by URL.
    external: Mutex<HashMap<String, RemoteKeys>>,
}

/// A token, and when it ends.
struct Issued {
    token: String,
    from: u64,
    until: u64,
}

impl TokenIssuer {
    pub(crate) fn new(control: Control, authority: &str) -> Self {
        let authority = authority.trim_end_matches('/').to_owned();
        let issuer =
            OpenIdConfiguration::for_tenant(&authority, &control.tenant(), ProtocolVersion::V2).issuer;
        Self {
            inner: Arc::new(Inner {
                control,
                issuer,
                resources: Resources::of(&authority),
                failures: Failures::default(),
                hosts: Hosts::default(),
                external: Mutex::default(),
                authority,
            }),
        }
    }

    /// What every plane verifies tokens with: this issuer's, and those of `guests`.
    pub fn verifier(&self, guests: impl IntoIterator<Item = TrustedIssuer>) -> Verifier {
        let own = TrustedIssuer {
            names: vec![self.inner.issuer.clone()],
            tenant: self.inner.control.tenant(),
            audiences: None,
            guest: false,
            keys: self.inner.control.token_keys(),
        };
        Verifier::new(std::iter::once(own).chain(guests).collect::<Vec<_>>())
    }

    /// The control plane that it issues for.
    pub fn control(&self) -> &Control {
        &self.inner.control
    }

    /// Seconds since the Unix epoch, by the clock that tokens are issued with.
    pub fn now(&self) -> u64 {
        self.inner.control.now()
    }

    /// Discovery, keys and tokens: what is served under the authority.
    pub fn routes(&self) -> Router {
        let discovery = |version| get(move |issuer, path| discovery(issuer, path, version));
        let token =
            |version| post(move |issuer, path, headers, body| token(issuer, path, headers, body, version));
        Router::new()
            .route(
                "/{tenant}/v2.0/.well-known/openid-configuration",
                discovery(ProtocolVersion::V2),
            )
            .route(
                "/{tenant}/.well-known/openid-configuration",
                discovery(ProtocolVersion::V1),
            )
            .route("/{tenant}/discovery/v2.0/keys", get(keys))
            .route("/{tenant}/discovery/keys", get(keys))
            .route("/{tenant}/oauth2/v2.0/token", token(ProtocolVersion::V2))
            .route("/{tenant}/oauth2/token", token(ProtocolVersion::V1))
            .layer(DefaultBodyLimit::max(TOKEN_REQUEST))
            .with_state(self.clone())
    }

    fn issue(&self, principal: &Principal, audience: &str) -> Result<Issued, Refusal> {
        if !self.inner.resources.know(audience) {
            return Err(Refusal::UnknownResource(said(audience)));
        }
        let from = self.now();
        let until = from.saturating_add(TOKEN_LIFE.as_secs());
        let object_id = principal.object_id.to_string();
        let claims = Claims {
            iss: self.inner.issuer.clone(),
            aud: audience.to_owned(),
            exp: until,
            nbf: from,
            iat: from,
            oid: object_id.clone(),
            sub: object_id,
            tid: self.inner.control.tenant(),
            appid: principal.client_id().map(|id| id.to_string()),
            idtyp: Some("app".to_owned()),
            resource: principal.resource().map(str::to_owned),
            upn: None,
            uti: Some(Uuid::new_v4().simple().to_string()),
        };
        let failed = |error: &dyn std::error::Error| {
            tracing::error!(%error, "a token could not be signed");
            Refusal::Failed
        };
        let signer = self.inner.control.token_keys().signer();
        let signer = signer.map_err(|error| failed(&error))?;
        let token = signer.sign(&claims).map_err(|error| failed(&error))?;
        Ok(Issued { token, from, until })
    }

    fn check_tenant(&self, tenant: &str) -> Result<(), Refusal> {
        if tenant.eq_ignore_ascii_case(&self.inner.control.tenant()) {
            return Ok(());
        }
        Err(Refusal::UnknownTenant(said(tenant)))
    }

    /// The published keys of an external issuer. Clones of what is kept, so that all who ask share one cache.
    fn external_keys(&self, url: &str) -> Result<RemoteKeys, ControlError> {
        let mut external = self.inner.external.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = external.get(url) {
            return Ok(known.clone());
        }
        let keys = RemoteKeys::new(self.inner.control.published_at(url)?);
        if external.len() >= EXTERNAL_ISSUERS {
            external.clear();
        }
        external.insert(url.to_owned(), keys.clone());
        Ok(keys)
    }
}

type Served = State<TokenIssuer>;

/// How clients ask who issues tokens when they have no tenant in mind (`az logout`): they are told of the one that there is.
const ANY_TENANT: &str = "organizations";

async fn discovery(State(issuer): Served, Path(tenant): Path<String>, version: ProtocolVersion) -> Response {
    let named = if tenant == ANY_TENANT {
        Ok(())
    } else {
        issuer.check_tenant(&tenant)
    };
    match named {
        Ok(()) => {
            let tenant = issuer.inner.control.tenant();
            Json(OpenIdConfiguration::for_tenant(
                &issuer.inner.authority,
                &tenant,
                version,
            ))
            .into_response()
        }
        Err(refusal) => refusal
            .answer(&trace(&HeaderMap::new(), issuer.now()))
            .into_response(),
    }
}

async fn keys(State(issuer): Served, Path(tenant): Path<String>) -> Response {
    let now = issuer.now();
    let published = issuer.check_tenant(&tenant).and_then(|()| {
        let published = issuer.inner.control.token_keys().published(now);
        published.map_err(|_| Refusal::Failed)
    });
    match published {
        Ok(keys) => uncached(Json(keys)),
        Err(refusal) => refusal.answer(&trace(&HeaderMap::new(), now)).into_response(),
    }
}

async fn token(
    State(issuer): Served,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
    version: ProtocolVersion,
) -> Response {
    let granted = match body {
        Ok(body) => issuer.grant(&tenant, version, &headers, &body).await,
        Err(_) => Err(Refusal::Malformed),
    };
    match granted {
        Ok(answer) => uncached(answer),
        Err(refusal) => uncached(refusal.answer(&trace(&headers, issuer.now()))),
    }
}

fn uncached(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a client said, as far as it is said back to it.
fn said(text: &str) -> String {
    const LENGTH: usize = 200;
    text.chars().take(LENGTH).collect()
}
