//! What the administrator's routes to the control plane have in common: who asks, how work is waited for, how refusals and
//! secrets are answered.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use strongroom_azure::{ErrorStatus, Problem};
use strongroom_control::{Actor, ControlError};
use zeroize::Zeroizing;

use super::{Admin, denied, identify};
use crate::limits;

pub(super) type Asker = Extension<Actor>;
pub(super) type Answer = Result<Json<Value>, Refused>;

/// Lets nobody through whose token is not good, and the others as an [`Asker`].
pub(super) fn guard(admin: &Admin, routes: Router) -> Router {
    let admin = admin.clone();
    routes.route_layer(middleware::from_fn(move |mut request: Request, next: Next| {
        let admin = admin.clone();
        async move {
            match identify(&admin, request.headers()).await {
                Ok(actor) => {
                    request.extensions_mut().insert(actor);
                    in_shape(next.run(request).await).await
                }
                Err(refused) => denied(refused),
            }
        }
    }))
}

/// What a request that does not fit its route is told, in the one shape of errors.
async fn in_shape(response: Response) -> Response {
    let plain = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/plain");
    let kind = response.headers().get(CONTENT_TYPE);
    let status = ErrorStatus::new(response.status()).filter(|_| kind.is_some_and(plain));
    let Some(status) = status else { return response };
    let text = to_bytes(response.into_body(), limits::ADMIN_BODY)
        .await
        .unwrap_or_default();
    let reason = String::from_utf8_lossy(&text).into_owned();
    Problem::new(status, "InvalidRequestContent", reason).into_response()
}

/// The control plane's refusal, in Azure's words.
pub(super) struct Refused(ControlError);

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

/// Changes wait for a disk, so they are made where waiting holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| ControlError::Interrupted)??)
}

pub(super) fn list(items: impl Iterator<Item = Value>) -> Json<Value> {
    Json(json!({"value": items.collect::<Vec<_>>()}))
}

/// A JSON object with a secret in it, in memory that is wiped.
pub(super) fn shown_once(fields: &[(&str, &str)]) -> Result<Response, Refused> {
    #[derive(Serialize)]
    struct Fields<'a>(#[serde(serialize_with = "as_object")] &'a [(&'a str, &'a str)]);
    fn as_object<S: Serializer>(fields: &&[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
    }
    // Every character takes six bytes at most, so the buffer is never moved.
    let room = fields
        .iter()
        .map(|(name, value)| 8 + name.len() + 6 * value.len())
        .sum::<usize>();
    let mut body = Zeroizing::new(Vec::with_capacity(room + 2));
    serde_json::to_writer(&mut *body, &Fields(fields)).map_err(ControlError::Document)?;
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Bytes::from_owner(body)).into_response())
}
