//! The administrator's routes to credentials, guests, hosts of identities and token keys. Thin: what may be done and what it does
//! is the control plane's; here is only which route means what.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_azure::token::Jwks;
use strongroom_control::{
    ControlError, Credentials, ExternalKeys, IdentityHost, NewCertificate, NewFederation, NewSecret,
    TokenKey, TokenKeyState,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Admin;
use super::plane::{Answer, Asker, Refused, blocking, guard, list, shown_once};

pub(super) fn router(admin: &Admin) -> Router {
    let routes = Router::new()
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
        .with_state(admin.clone());
    guard(admin, routes)
}

fn key_row(key: &TokenKey) -> Value {
    let (state, until) = match key.state {
        TokenKeyState::Next => ("next", None),
        TokenKeyState::Active => ("active", None),
        TokenKeyState::Retired { until } => ("retired", Some(until)),
    };
    json!({"id": key.id(), "state": state, "created": key.created, "since": key.since, "until": until})
}

async fn token_keys(Extension(actor): Asker) -> Answer {
    Ok(list(actor.token_keys()?.iter().map(key_row)))
}

async fn rotate(Extension(actor): Asker) -> Answer {
    let keys = blocking(move || actor.rotate_token_keys()).await?;
    Ok(list(keys.iter().map(key_row)))
}

async fn credentials(Extension(actor): Asker, Path(id): Path<Uuid>) -> Answer {
    let principal = actor.find_principal(&id.to_string())?;
    let rows = principal.credentials().map(rows).unwrap_or_default();
    Ok(list(rows.into_iter()))
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

async fn add_credential(
    Extension(actor): Asker,
    Path(id): Path<Uuid>,
    Json(new): Json<NewCredential>,
) -> Result<Response, Refused> {
    match new {
        NewCredential::Secret {
            display_name,
            expires,
        } => {
            let new = NewSecret {
                display_name,
                expires,
            };
            let (id, secret) = blocking(move || actor.add_secret(id, new)).await?;
            shown_once(&[("id", &id.to_string()), ("secret", &secret)])
        }
        NewCredential::Certificate { display_name, pem } => {
            let new = NewCertificate { display_name, pem };
            let made = blocking(move || actor.add_certificate(id, &new)).await?;
            let shown = json!({"id": made.id, "thumbprint": made.sha256, "expires": made.not_after});
            Ok(Json(shown).into_response())
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
                    let reason = "either `jwks` or `jwksUrl` is required".to_owned();
                    return Err(ControlError::InvalidRequest { reason }.into());
                }
            };
            let new = NewFederation {
                display_name,
                issuer,
                subject,
                audience,
                keys,
            };
            let made = blocking(move || actor.add_federation(id, new)).await?;
            Ok(Json(json!({"id": made.id, "audience": made.audience})).into_response())
        }
    }
}

async fn remove_credential(Extension(actor): Asker, Path((id, credential)): Path<(Uuid, Uuid)>) -> Answer {
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

async fn create_guest(
    State(admin): State<Admin>,
    Extension(actor): Asker,
    Json(new): Json<NewGuest>,
) -> Answer {
    let made =
        blocking(move || actor.create_guest(&new.display_name, new.tenant, new.object_id, new.client_id));
    Ok(Json(admin.control.principal_shape(&*made.await?)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewHost {
    system_assigned: Option<Uuid>,
    #[serde(default)]
    user_assigned: Vec<Uuid>,
}

/// What a host needs to ask for tokens of its identities. It is in no file: whoever asked keeps it.
async fn admit_host(
    State(admin): State<Admin>,
    Extension(actor): Asker,
    Json(new): Json<NewHost>,
) -> Result<Response, Refused> {
    let host = IdentityHost {
        system_assigned: new.system_assigned,
        user_assigned: new.user_assigned,
    };
    let secret = actor.admit_host(&admin.issuer, host)?;
    let loopback = &admin.loopback;
    let machine = Zeroizing::new(format!("{loopback}/imds/{}", secret.as_str()));
    shown_once(&[
        ("endpoint", &format!("{loopback}/msi/token")),
        ("header", &secret),
        ("machine", &machine),
    ])
}
