//! Tokens of managed identities, for whoever holds the secret of the host that they are assigned to: as App Service gives them, and
//! as a machine does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use strongroom_azure::token::Form;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::refusal::{Refusal, trace};
use super::{Issued, TokenIssuer, uncached};
use crate::directory::{Principal, PrincipalKind, random_text};
use crate::error::ControlError;
use crate::limits::{HOST_IDENTITIES, IDENTITY_HOSTS, TOKEN_LIFE};

/// The identities that are assigned to one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityHost {
    /// Its own.
    pub system_assigned: Option<Uuid>,
    /// Others'.
    pub user_assigned: Vec<Uuid>,
}

/// Which identities a secret is good for.
#[derive(Clone)]
enum Assigned {
    /// Those of one host.
    Host(IdentityHost),
    /// Those of the AI service: of every account that there is, as long as it is, and its own. One must be named.
    Service,
}

/// The hosts, by their secrets: made anew at each start, kept in memory alone.
#[derive(Default)]
pub(super) struct Hosts(Mutex<Vec<(Zeroizing<String>, Assigned)>>);

/// How an identity is chosen among those of a host. Clients have several names for each.
const BY_CLIENT: [&str; 1] = ["client_id"];
const BY_OBJECT: [&str; 2] = ["principal_id", "object_id"];
const BY_RESOURCE: [&str; 2] = ["mi_res_id", "msi_res_id"];

/// Why there is no token for an identity.
enum Denied {
    /// No host has this secret.
    Secret,
    /// The request lacks something.
    Request(&'static str),
    /// The host has no such identity.
    Identity,
    /// No token is issued for that.
    Token(Refusal),
}

/// What both flavours answer; all numbers are text there.
#[derive(Serialize)]
struct Answer {
    access_token: String,
    expires_on: String,
    expires_in: String,
    not_before: String,
    resource: String,
    token_type: &'static str,
    client_id: String,
}

/// What App Service answers where there is no token.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AppServiceError {
    status_code: u16,
    message: &'static str,
    correlation_id: Uuid,
}

impl Hosts {
    fn find(&self, presented: &str) -> Option<Assigned> {
        let hosts = self.lock();
        // All are compared, so that the time taken does not tell which one came close.
        hosts.iter().fold(None, |found, (secret, host)| {
            let same = verify_slices_are_equal(secret.as_bytes(), presented.as_bytes()).is_ok();
            if same { Some(host.clone()) } else { found }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Zeroizing<String>, Assigned)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenIssuer {
    /// Lets a host ask for tokens of its identities: gives the secret of its `X-IDENTITY-HEADER`, the only time that it can be seen. It
    /// counts until this process ends.
    pub fn admit_host(&self, host: IdentityHost) -> Result<Zeroizing<String>, ControlError> {
        let all = host.system_assigned.iter().chain(&host.user_assigned);
        for id in all {
            let known = self.inner.control.principal(*id);
            if known.is_none_or(|known| known.kind() != PrincipalKind::ManagedIdentity) {
                return Err(ControlError::NotFound {
                    what: "managed identity",
                    name: id.to_string(),
                });
            }
        }
        let mut hosts = self.inner.hosts.lock();
        if hosts.len() >= IDENTITY_HOSTS || host.user_assigned.len() > HOST_IDENTITIES {
            return Err(ControlError::TooMany {
                what: "hosts or identities of a host",
            });
        }
        let secret = random_text()?;
        hosts.push((secret.clone(), Assigned::Host(host)));
        Ok(secret)
    }

    /// Lets the AI service ask for tokens of its accounts' identities, whichever there are when it asks, and of its own. As
    /// [`Self::admit_host`].
    pub fn admit_service(&self) -> Result<Zeroizing<String>, ControlError> {
        let secret = random_text()?;
        self.inner.hosts.lock().push((secret.clone(), Assigned::Service));
        Ok(secret)
    }

    /// The managed-identity endpoints: for plain HTTP on loopback. A machine's has no header for a secret, so that it stands in the
    /// path: without one, any process here could take any identity.
    pub fn identity_routes(&self) -> Router {
        Router::new()
            .route("/msi/token", get(app_service))
            .route("/imds/{secret}/metadata/identity/oauth2/token", get(machine))
            .with_state(self.clone())
    }

    fn identity_grant(&self, secret: &str, query: &str) -> Result<Answer, Denied> {
        let host = self.inner.hosts.find(secret).ok_or(Denied::Secret)?;
        let form = Form::parse(query.as_bytes()).ok_or(Denied::Request("A query parameter stands twice."))?;
        let field = |name, missing| form.get(name).ok_or(Denied::Request(missing));
        field("api-version", "The api-version query parameter is required.")?;
        let resource = field("resource", "The resource query parameter is required.")?;
        let principal = self.choose(&host, &form)?;
        let issued = self.issue(&principal, resource);
        let Issued { token, from, until } = issued.map_err(Denied::Token)?;
        Ok(Answer {
            access_token: token,
            expires_on: until.to_string(),
            expires_in: TOKEN_LIFE.as_secs().to_string(),
            not_before: from.to_string(),
            resource: resource.to_owned(),
            token_type: "Bearer",
            client_id: principal.client_id().unwrap_or_default().to_string(),
        })
    }

    /// The identity that is asked for; without a choice the host's own, or the only one that there is.
    fn choose(&self, assigned: &Assigned, form: &Form) -> Result<Arc<Principal>, Denied> {
        let host = match assigned {
            Assigned::Host(host) => host,
            Assigned::Service => return self.choose_for_service(form),
        };
        let all = host.system_assigned.iter().chain(&host.user_assigned);
        let mut assigned = all.filter_map(|id| self.inner.control.principal(*id));
        let named = |names: &[&'static str]| names.iter().find_map(|name| form.get(name));
        let (client, object, resource) = (named(&BY_CLIENT), named(&BY_OBJECT), named(&BY_RESOURCE));
        let is = |known: &Principal| {
            let same = |asked: Option<&str>, known: Option<String>| {
                asked.is_none_or(|asked| known.is_some_and(|known| known.eq_ignore_ascii_case(asked)))
            };
            same(client, known.client_id().map(|id| id.to_string()))
                && same(object, Some(known.object_id.to_string()))
                && same(resource, known.resource().map(str::to_owned))
        };
        let chosen = match [client, object, resource].into_iter().flatten().count() {
            0 if host.system_assigned.is_none() && host.user_assigned.len() > 1 => None,
            0 | 1 => assigned.find(|known| is(known)),
            _ => {
                return Err(Denied::Request(
                    "Only one of client_id, principal_id and mi_res_id may be given.",
                ));
            }
        };
        chosen.ok_or(Denied::Identity)
    }
}

impl TokenIssuer {
    fn choose_for_service(&self, form: &Form) -> Result<Arc<Principal>, Denied> {
        let control = &self.inner.control;
        let client = BY_CLIENT.iter().find_map(|name| form.get(name));
        let client = client.and_then(|client| client.parse::<Uuid>().ok());
        let named = client.and_then(|client| control.principal_by_client(client));
        named
            .filter(|known| control.is_service_identity(known.object_id))
            .ok_or(Denied::Identity)
    }
}

async fn app_service(
    State(issuer): State<TokenIssuer>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let presented = text(&headers, "x-identity-header");
    match issuer.identity_grant(presented, query.as_deref().unwrap_or_default()) {
        Ok(answer) => uncached(Json(answer)),
        Err(denied) => uncached(denied.as_app_service_error()),
    }
}

async fn machine(
    State(issuer): State<TokenIssuer>,
    Path(secret): Path<Zeroized>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    // Both are what a request has that somebody else was tricked into sending.
    let forwarded = headers.contains_key("x-forwarded-for");
    let granted = if forwarded || !text(&headers, "metadata").eq_ignore_ascii_case("true") {
        Err(Denied::Request(
            "The header Metadata: true is required, and X-Forwarded-For is not allowed.",
        ))
    } else {
        issuer.identity_grant(&secret.0, query.as_deref().unwrap_or_default())
    };
    match granted {
        Ok(answer) => uncached(Json(answer)),
        Err(Denied::Token(refusal)) => uncached(refusal.answer(&trace(&headers, issuer.now()))),
        Err(denied) => uncached(denied.as_machine_error()),
    }
}

/// A secret out of a path: wiped on drop.
struct Zeroized(Zeroizing<String>);

impl<'de> serde::Deserialize<'de> for Zeroized {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Denied {
    fn sentence(&self) -> &'static str {
        match self {
            Self::Secret => "The identity header is not valid.",
            Self::Request(sentence) => sentence,
            Self::Identity => "Identity not found: no such managed identity is assigned here.",
            Self::Token(Refusal::UnknownResource(_)) => {
                "AADSTS500011: The resource principal was not found in the tenant."
            }
            Self::Token(_) => "The token could not be issued.",
        }
    }

    /// As App Service says it: clients show `message` to their users.
    fn as_app_service_error(&self) -> (StatusCode, Json<AppServiceError>) {
        let status = match self {
            Self::Secret => StatusCode::UNAUTHORIZED,
            Self::Token(Refusal::Failed) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Request(_) | Self::Identity | Self::Token(_) => StatusCode::BAD_REQUEST,
        };
        let body = AppServiceError {
            status_code: status.as_u16(),
            message: self.sentence(),
            correlation_id: Uuid::new_v4(),
        };
        (status, Json(body))
    }

    /// As a machine's endpoint says it. Clients take 400 for "no identity here", and try 404 and 5xx again.
    fn as_machine_error(&self) -> (StatusCode, Json<HashMap<&'static str, &'static str>>) {
        let (status, error) = match self {
            Self::Secret => (StatusCode::UNAUTHORIZED, "unauthorized_client"),
            _ => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        let body = HashMap::from([("error", error), ("error_description", self.sentence())]);
        (status, Json(body))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
