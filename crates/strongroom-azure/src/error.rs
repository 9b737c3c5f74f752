//! The one error body that all of Azure uses, in both directions.

use std::fmt;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

/// `{"error":{"code","message","innererror":{"code"}}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A code for programs, such as `Forbidden`.
    pub code: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// A closer code, such as `KeyDisabled`.
    #[serde(
        default,
        rename = "innererror",
        alias = "innerError",
        skip_serializing_if = "Option::is_none"
    )]
    pub inner: Option<InnerError>,
    /// Each thing that is wrong, where more than one is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Self>,
}

impl ErrorDetail {
    /// A code for programs and a sentence for people.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            inner: None,
            details: Vec::new(),
        }
    }
}

/// A closer code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InnerError {
    /// The code.
    pub code: String,
}

impl ErrorBody {
    /// Reads an error body that a service sent; `None` if it is none.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The inner code, if there is one.
    pub fn inner_code(&self) -> Option<&str> {
        self.error.inner.as_ref().map(|inner| inner.code.as_str())
    }
}

/// A status of an error: 4xx or 5xx, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorStatus(StatusCode);

impl ErrorStatus {
    /// 400.
    pub const BAD_REQUEST: Self = Self(StatusCode::BAD_REQUEST);
    /// 401.
    pub const UNAUTHORIZED: Self = Self(StatusCode::UNAUTHORIZED);
    /// 403.
    pub const FORBIDDEN: Self = Self(StatusCode::FORBIDDEN);
    /// 404.
    pub const NOT_FOUND: Self = Self(StatusCode::NOT_FOUND);
    /// 405.
    pub const METHOD_NOT_ALLOWED: Self = Self(StatusCode::METHOD_NOT_ALLOWED);
    /// 409.
    pub const CONFLICT: Self = Self(StatusCode::CONFLICT);
    /// 412.
    pub const PRECONDITION_FAILED: Self = Self(StatusCode::PRECONDITION_FAILED);
    /// 413.
    pub const TOO_LARGE: Self = Self(StatusCode::PAYLOAD_TOO_LARGE);
    /// 429.
    pub const TOO_MANY_REQUESTS: Self = Self(StatusCode::TOO_MANY_REQUESTS);
    /// 500.
    pub const INTERNAL: Self = Self(StatusCode::INTERNAL_SERVER_ERROR);
    /// 503.
    pub const UNAVAILABLE: Self = Self(StatusCode::SERVICE_UNAVAILABLE);

    /// The status, if it is one of an error.
    pub fn new(status: StatusCode) -> Option<Self> {
        (status.is_client_error() || status.is_server_error()).then_some(Self(status))
    }

    /// The status for HTTP.
    pub fn code(self) -> StatusCode {
        self.0
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: ErrorStatus,
    body: ErrorBody,
    retry_after: Option<u64>,
}

impl Problem {
    /// An error with a code for programs and a sentence for people.
    pub fn new(status: ErrorStatus, code: impl Into<String>, message: impl Into<String>) -> Self {
        let error = ErrorDetail::new(code, message);
        Self {
            status,
            body: ErrorBody { error },
            retry_after: None,
        }
    }

    /// Adds a closer code.
    #[must_use]
    pub fn with_inner(mut self, code: impl Into<String>) -> Self {
        self.body.error.inner = Some(InnerError { code: code.into() });
        self
    }

    /// Adds each thing that is wrong.
    #[must_use]
    pub fn with_details(mut self, details: Vec<ErrorDetail>) -> Self {
        self.body.error.details = details;
        self
    }

    /// Asks the client to come back after so many seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The status.
    pub fn status(&self) -> ErrorStatus {
        self.status
    }

    /// The body.
    pub fn body(&self) -> &ErrorBody {
        &self.body
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.status.0.as_u16(),
            self.body.error.code,
            self.body.error.message
        )
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status.0, Json(self.body)).into_response();
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
    fn what_is_written_is_what_clients_parse() {
        let problem = Problem::new(ErrorStatus::FORBIDDEN, "Forbidden", "The key is disabled.")
            .with_inner("KeyDisabled");
        let json = serde_json::to_string(problem.body()).unwrap();
        let expected = r#"{"error":{"code":"Forbidden","message":"The key is disabled.","innererror":{"code":"KeyDisabled"}}}"#;
        assert_eq!(json, expected);
        assert_eq!(
            ErrorBody::parse(json.as_bytes()).unwrap().inner_code(),
            Some("KeyDisabled")
        );
    }

    #[test]
    fn bodies_of_other_shapes_are_no_error_bodies() {
        for body in ["", "<html>", "{}", r#"{"error":"x"}"#, r#"{"error":{}}"#] {
            assert_eq!(ErrorBody::parse(body.as_bytes()), None, "{body}");
        }
        assert!(ErrorBody::parse(br#"{"error":{"code":"X","innerError":{"code":"Y"}}}"#).is_some());
    }

    #[test]
    fn a_success_is_no_error_status() {
        assert_eq!(ErrorStatus::new(StatusCode::OK), None);
        assert_eq!(ErrorStatus::new(StatusCode::FOUND), None);
        assert_eq!(
            ErrorStatus::new(StatusCode::NOT_FOUND),
            Some(ErrorStatus::NOT_FOUND)
        );
    }

    #[test]
    fn a_retry_is_announced_in_the_header() {
        let problem =
            Problem::new(ErrorStatus::TOO_MANY_REQUESTS, "Throttled", "Slow down.").with_retry_after(3);
        let response = problem.into_response();
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "3");
        assert_eq!(response.status(), 429);
    }
}
