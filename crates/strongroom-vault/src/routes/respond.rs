//! How answers and problems become HTTP.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;
use strongroom_azure::{Challenge, Problem};
use zeroize::Zeroizing;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
pub(super) const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// What an operation answers.
pub(super) enum Answer {
    /// A JSON object.
    Json(Value),
    /// JSON that holds an unwrapped value, wiped once it was sent.
    Secret(Zeroizing<Vec<u8>>),
    /// Done, and nothing to say.
    Nothing,
}

impl Answer {
    pub(super) const fn status(&self) -> u16 {
        match self {
            Self::Json(_) | Self::Secret(_) => 200,
            Self::Nothing => 204,
        }
    }
}

/// What the audit record says of a problem: its closest code.
pub(super) fn signature(problem: &Problem) -> String {
    problem
        .body()
        .inner_code()
        .unwrap_or(&problem.body().error.code)
        .to_owned()
}

pub(super) fn respond(
    outcome: Result<Answer, Problem>,
    request_id: &str,
    asked: &HeaderMap,
    challenge: impl FnOnce() -> Challenge,
) -> Response {
    let mut response = match outcome {
        Ok(Answer::Json(value)) => json(Body::from(value.to_string())),
        Ok(Answer::Secret(bytes)) => json(Body::from(Bytes::from_owner(bytes))),
        Ok(Answer::Nothing) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => problem.into_response(),
    };
    let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(id) = asked.get(&CLIENT_REQUEST_ID) {
        headers.insert(CLIENT_REQUEST_ID, id.clone());
    }
    if unauthorized && let Ok(challenge) = HeaderValue::from_str(&challenge().to_string()) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}
