//! The administrator's routes to credentials, guests, hosts of identities and token keys. Thin: what may be done and what it does
//! is the control plane's; here is only which route means what.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strongroom_azure::token::Jwks;
use strongroom_control::{
    Actor, ControlError, Credentials, ExternalKeys, IdentityHost, NewCertificate, NewFederation, NewSecret,
    TokenKey, TokenKeyState,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Admin, denied, identify};
use crate::listen::refusal;

pub(super) fn router(admin: &Admin) -> Router {
    let guarded = admin.clone();
    let demand = middleware::from_fn(move |mut request: Request, next: Next| {
        let guarded = guarded.clone();
        async move {
            match identify(&guarded, request.headers()).await {
                Ok(actor) => {
                    request.extensions_mut().insert(actor);
                    next.run(request).await
                }
                Err(refused) => denied(refused),
            }
        }
    });
    Router::new()
        .route("/strongroom/token-keys", get(token_keys))
        .route("/strongroom/token-keys/rotate", post(rotate))
        .route(
            "/strongroom/principals/{id}/credentials",
            get(credentials).post(add_credential),
        )
        .route(
            "/strongroom/principals/{id}/credentials/{credential}",
            delete(remove_credential),
        )
        .route("/strongroom/guests", post(create_guest))
        .route("/strongroom/identity-hosts", post(admit_host))
        .route_layer(demand)
        .with_state(admin.clone())
}

/// The control plane's refusal, in Azure's words.
struct Refused(ControlError);

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem = self.0.problem();
        if problem.status().code().is_server_error() {
            tracing::error!(error = %self.0, "an administrator's request failed");
        }
        problem.into_response()
    }
}

type Asker = Extension<Actor>;
type Read<T> = Result<Json<T>, JsonRejection>;

/// Changes wait for a disk, so they are made where waiting holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, Refused> {
    let broken = |_| {
        Refused(ControlError::InvalidPrincipal {
            reason: "the request was interrupted; ask again".to_owned(),
        })
    };
    Ok(tokio::task::spawn_blocking(work).await.map_err(broken)??)
}

fn malformed(rejected: &JsonRejection) -> Response {
    let message = format!(
        "the body does not have the form that is expected: {}",
        rejected.body_text()
    );
    refusal(StatusCode::BAD_REQUEST, "invalid_request", &message)
}

fn key_row(key: &TokenKey) -> Value {
    let (state, until) = match key.state {
        TokenKeyState::Next => ("next", None),
        TokenKeyState::Active => ("active", None),
        TokenKeyState::Retired { until } => ("retired", Some(until)),
    };
    json!({"id": key.id(), "state": state, "created": key.created, "since": key.since, "until": until})
}

fn key_rows(keys: &[TokenKey]) -> Json<Value> {
    Json(json!({"value": keys.iter().map(key_row).collect::<Vec<_>>()}))
}

async fn token_keys(Extension(actor): Asker) -> Result<Json<Value>, Refused> {
    Ok(key_rows(&actor.token_keys()?))
}

async fn rotate(Extension(actor): Asker) -> Result<Json<Value>, Refused> {
    Ok(key_rows(&blocking(move || actor.rotate_token_keys()).await?))
}

async fn credentials(Extension(actor): Asker, Path(id): Path<Uuid>) -> Result<Json<Value>, Refused> {
    let principal = actor.find_principal(&id.to_string())?;
    let rows = principal.credentials().map(rows).unwrap_or_default();
    Ok(Json(json!({"value": rows})))
}

/// What may be seen of credentials: never a secret.
fn rows(credentials: &Credentials) -> Vec<Value> {
    let secrets = credentials.secrets.iter().map(|known| {
        json!({
            "id": known.id, "kind": "secret", "displayName": known.display_name, "hint": known.hint,
            "created": known.created, "expires": known.expires,
        })
    });
    let certificates = credentials.certificates.iter().map(|known| {
        json!({
            "id": known.id, "kind": "certificate", "displayName": known.display_name, "created": known.created,
            "expires": known.not_after, "thumbprint": known.sha256,
        })
    });
    let federations = credentials.federations.iter().map(|known| {
        let keys = match &known.keys {
            ExternalKeys::Fixed(keys) => format!("{} fixed", keys.keys.len()),
            ExternalKeys::Published(url) => url.clone(),
        };
        json!({
            "id": known.id, "kind": "federated", "displayName": known.display_name, "created": known.created,
            "issuer": known.issuer, "subject": known.subject, "audience": known.audience, "keys": keys,
        })
    });
    secrets.chain(certificates).chain(federations).collect()
}

/// A credential to add.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum NewCredential {
    #[serde(rename_all = "camelCase")]
    Secret {
        display_name: Option<String>,
        expires: Option<u64>,
    },
    #[serde(rename_all = "camelCase")]
    Certificate {
        display_name: Option<String>,
        pem: String,
    },
    #[serde(rename_all = "camelCase")]
    Federated {
        display_name: Option<String>,
        issuer: String,
        subject: String,
        audience: Option<String>,
        jwks: Option<Jwks>,
        jwks_url: Option<String>,
    },
}

async fn add_credential(Extension(actor): Asker, Path(id): Path<Uuid>, new: Read<NewCredential>) -> Response {
    let Json(new) = match new {
        Ok(new) => new,
        Err(rejected) => return malformed(&rejected),
    };
    let added = match new {
        NewCredential::Secret {
            display_name,
            expires,
        } => {
            let new = NewSecret {
                display_name,
                expires,
            };
            let made = blocking(move || actor.add_secret(id, new)).await;
            made.map(|(id, secret)| shown_once(&[("id", &id.to_string()), ("secret", &secret)]))
        }
        NewCredential::Certificate { display_name, pem } => {
            let new = NewCertificate { display_name, pem };
            let made = blocking(move || actor.add_certificate(id, &new)).await;
            made.map(|made| {
                Json(json!({"id": made.id, "thumbprint": made.sha256, "expires": made.not_after}))
                    .into_response()
            })
        }
        NewCredential::Federated {
            display_name,
            issuer,
            subject,
            audience,
            jwks,
            jwks_url,
        } => {
            let keys = match (jwks, jwks_url) {
                (Some(keys), None) => ExternalKeys::Fixed(keys),
                (None, Some(url)) => ExternalKeys::Published(url),
                _ => {
                    return refusal(
                        StatusCode::BAD_REQUEST,
                        "invalid_request",
                        "either `jwks` or `jwksUrl` is required",
                    );
                }
            };
            let new = NewFederation {
                display_name,
                issuer,
                subject,
                audience,
                keys,
            };
            let made = blocking(move || actor.add_federation(id, new)).await;
            made.map(|made| Json(json!({"id": made.id, "audience": made.audience})).into_response())
        }
    };
    added.unwrap_or_else(IntoResponse::into_response)
}

async fn remove_credential(
    Extension(actor): Asker,
    Path((id, credential)): Path<(Uuid, Uuid)>,
) -> Result<Json<Value>, Refused> {
    let removed = blocking(move || actor.remove_credential(id, credential)).await?;
    Ok(Json(json!({"removed": removed})))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewGuest {
    display_name: String,
    tenant: Uuid,
    object_id: Uuid,
    client_id: Uuid,
}

async fn create_guest(State(admin): State<Admin>, Extension(actor): Asker, new: Read<NewGuest>) -> Response {
    let Json(new) = match new {
        Ok(new) => new,
        Err(rejected) => return malformed(&rejected),
    };
    let made =
        blocking(move || actor.create_guest(&new.display_name, new.tenant, new.object_id, new.client_id))
            .await;
    match made {
        Ok(guest) => Json(admin.issuer.control().principal_shape(&guest)).into_response(),
        Err(refused) => refused.into_response(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewHost {
    system_assigned: Option<Uuid>,
    #[serde(default)]
    user_assigned: Vec<Uuid>,
}

/// What a host needs to ask for tokens of its identities. It is in no file: whoever asked keeps it.
async fn admit_host(State(admin): State<Admin>, Extension(actor): Asker, new: Read<NewHost>) -> Response {
    let Json(NewHost {
        system_assigned,
        user_assigned,
    }) = match new {
        Ok(new) => new,
        Err(rejected) => return malformed(&rejected),
    };
    let host = IdentityHost {
        system_assigned,
        user_assigned,
    };
    match actor.admit_host(&admin.issuer, host) {
        Ok(secret) => {
            let loopback: &Arc<str> = &admin.loopback;
            let machine = Zeroizing::new(format!("{loopback}/imds/{}", secret.as_str()));
            shown_once(&[
                ("endpoint", &format!("{loopback}/msi/token")),
                ("header", &secret),
                ("machine", &machine),
            ])
        }
        Err(error) => Refused(error).into_response(),
    }
}

/// A JSON object with a secret in it, in memory that is wiped.
fn shown_once(fields: &[(&str, &str)]) -> Response {
    #[derive(Serialize)]
    struct Fields<'a>(#[serde(serialize_with = "as_object")] &'a [(&'a str, &'a str)]);
    fn as_object<S: serde::Serializer>(fields: &&[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
    }
    let room = fields
        .iter()
        .map(|(name, value)| 8 + name.len() + 6 * value.len())
        .sum::<usize>();
    let mut body = Zeroizing::new(Vec::with_capacity(room + 2));
    if serde_json::to_writer(&mut *body, &Fields(fields)).is_err() {
        return refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the answer could not be written",
        );
    }
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (headers, Bytes::from_owner(body)).into_response()
}
