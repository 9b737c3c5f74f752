//! What an upstream's status and body mean: the one place that maps them.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

use super::config::ApiKey;
use crate::engine::EngineError;
use crate::limits;

/// The error body that OpenAI-compatible servers send; some put a plain text there.
#[derive(Deserialize)]
struct Body {
    error: Said,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Object {
        message: Option<String>,
        param: Option<String>,
        code: Option<serde_json::Value>,
    },
    Text(String),
}

/// The error behind a status that is no success.
pub(crate) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    key: Option<&ApiKey>,
) -> EngineError {
    match status.as_u16() {
        429 => EngineError::Overloaded {
            retry_after: retry_after(headers),
        },
        503 if headers.contains_key(RETRY_AFTER) => EngineError::Overloaded {
            retry_after: retry_after(headers),
        },
        408 | 504 => EngineError::TimedOut,
        401 | 403 | 407 => {
            // The caller has done nothing wrong: the key at fault is the one configured here.
            tracing::warn!(
                status = status.as_u16(),
                "the upstream model server refuses the configured key"
            );
            EngineError::Unavailable
        }
        400..=499 => complaint(status.as_u16(), body, key),
        500..=599 => EngineError::Unavailable,
        _ => EngineError::Protocol,
    }
}

fn complaint(status: u16, body: &[u8], key: Option<&ApiKey>) -> EngineError {
    let (message, param, code) = match serde_json::from_slice::<Body>(body) {
        Ok(Body {
            error: Said::Object { message, param, code },
        }) => (
            message,
            param,
            code.and_then(|code| code.as_str().map(str::to_owned)),
        ),
        Ok(Body {
            error: Said::Text(message),
        }) => (Some(message), None, None),
        Err(_) => (None, None, None),
    };
    if code.as_deref() == Some("model_not_found") {
        return EngineError::UnknownModel;
    }
    let message = match message {
        Some(message) => clean(&message, key),
        None => format!("the model server refused the request with status {status}"),
    };
    match status {
        400 => EngineError::BadRequest {
            message,
            param: param.map(|param| clean(&param, key)),
            code: code.map(|code| clean(&code, key)),
        },
        _ => EngineError::Upstream { status, message },
    }
}

/// Short, without control characters, and without the key even if the server repeats it.
fn clean(message: &str, key: Option<&ApiKey>) -> String {
    let without_key = match key.map(ApiKey::expose_secret) {
        Some(key) if !key.is_empty() => message.replace(key, "[key]"),
        _ => message.to_owned(),
    };
    without_key
        .chars()
        .filter(|letter| !letter.is_control())
        .take(limits::UPSTREAM_MESSAGE)
        .collect()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(limits::RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn refused(status: u16, body: &str) -> EngineError {
        let key = ApiKey::new(Zeroizing::new("sk-secret\n".into()));
        let status = StatusCode::from_u16(status).expect("status");
        refusal(status, &HeaderMap::new(), body.as_bytes(), Some(&key))
    }

    #[test]
    fn a_message_that_repeats_the_key_is_passed_on_without_it() {
        let EngineError::Upstream { status, message } =
            refused(422, r#"{"error":{"message":"bad key sk-secret\u0007, sorry"}}"#)
        else {
            panic!("not an upstream error")
        };
        assert_eq!((status, message.as_str()), (422, "bad key [key], sorry"));
    }

    #[test]
    fn a_bad_request_keeps_its_parameter_and_code() {
        let body = r#"{"error":{"message":"too long","param":"messages","code":"context_length_exceeded"}}"#;
        let wanted = EngineError::BadRequest {
            message: "too long".into(),
            param: Some("messages".into()),
            code: Some("context_length_exceeded".into()),
        };
        assert_eq!(refused(400, body), wanted);
    }

    #[test]
    fn each_status_says_what_the_caller_can_do() {
        assert_eq!(
            refused(404, r#"{"error":{"code":"model_not_found"}}"#),
            EngineError::UnknownModel
        );
        assert_eq!(refused(401, "{}"), EngineError::Unavailable);
        assert_eq!(refused(500, "sk-secret"), EngineError::Unavailable);
        assert_eq!(refused(504, ""), EngineError::TimedOut);
        assert_eq!(refused(302, ""), EngineError::Protocol);
        assert_eq!(refused(429, ""), EngineError::Overloaded { retry_after: None });
    }

    #[test]
    fn a_long_message_is_cut_and_an_unreadable_one_replaced() {
        let long = format!(r#"{{"error":"{}"}}"#, "é".repeat(5000));
        let EngineError::Upstream { message, .. } = refused(413, &long) else {
            panic!("not an upstream error")
        };
        assert_eq!(message.chars().count(), limits::UPSTREAM_MESSAGE);
        let EngineError::Upstream { message, .. } = refused(413, "<html>sk-secret") else {
            panic!("other error")
        };
        assert_eq!(message, "the model server refused the request with status 413");
    }

    #[test]
    fn retry_after_is_bounded() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "999999999".parse().expect("header"));
        let error = refusal(StatusCode::SERVICE_UNAVAILABLE, &headers, b"", None);
        assert_eq!(
            error,
            EngineError::Overloaded {
                retry_after: Some(limits::RETRY_AFTER)
            }
        );
    }
}
