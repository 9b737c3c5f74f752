//! What came back: taken in within its bounds, told apart, and whether to ask again.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::fact::{Bytes, Failure, Outcome};
use crate::limits;

/// Headers that a fact keeps. None of them authorizes anything.
const KEPT: [&str; 16] = [
    "content-type",
    "date",
    "etag",
    "retry-after",
    "www-authenticate",
    "x-ms-correlation-request-id",
    "x-ms-keyvault-network-info",
    "x-ms-keyvault-region",
    "x-ms-keyvault-service-version",
    "x-ms-ratelimit-remaining-subscription-global-reads",
    "x-ms-ratelimit-remaining-subscription-reads",
    "x-ms-ratelimit-remaining-subscription-resource-requests",
    "x-ms-ratelimit-remaining-tenant-reads",
    "x-ms-request-id",
    "x-ms-user-quota-remaining",
    "x-ms-user-quota-resets-after",
];

/// Beside the headers that came, that the body is not the whole one.
const CUT: &str = "strongroom-body-cut";

/// The outcome of one exchange.
pub(super) struct Heard {
    pub(super) outcome: Outcome,
}

impl Heard {
    pub(super) fn nothing(failure: Failure, message: String) -> Self {
        let message = message.chars().take(limits::MESSAGE).collect();
        Self {
            outcome: Outcome::Failed { failure, message },
        }
    }

    fn status(&self) -> Option<u16> {
        match self.outcome {
            Outcome::Answered { status, .. } => Some(status),
            Outcome::Failed { .. } => None,
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        match &self.outcome {
            Outcome::Answered { headers, .. } => headers.get(name).map(String::as_str),
            Outcome::Failed { .. } => None,
        }
    }

    pub(super) fn is_throttled(&self) -> bool {
        self.status() == Some(429)
    }

    /// How long to wait before the question is put again; none if this is the last word.
    pub(super) fn again(&self, attempt: u32, backoff: Duration) -> Option<Duration> {
        let most = match &self.outcome {
            Outcome::Answered {
                status: 408 | 429 | 500 | 502 | 503 | 504,
                ..
            } => limits::ATTEMPTS,
            Outcome::Failed {
                failure: Failure::Unreachable | Failure::TimedOut,
                ..
            } => limits::ATTEMPTS_IN_SILENCE,
            _ => return None,
        };
        if attempt >= most {
            return None;
        }
        let wait = self
            .wait_asked_for()
            .unwrap_or_else(|| backoff * 2_u32.saturating_pow(attempt - 1));
        (wait <= limits::LONGEST_WAIT).then_some(wait)
    }

    /// The wait that the server asks for.
    fn wait_asked_for(&self) -> Option<Duration> {
        let seconds = self
            .header("retry-after")
            .and_then(|text| text.trim().parse().ok());
        seconds.map(Duration::from_secs).or_else(|| self.quota_resets())
    }

    /// When Resource Graph takes questions again: `hh:mm:ss`.
    pub(super) fn quota_resets(&self) -> Option<Duration> {
        let text = self.header("x-ms-user-quota-resets-after")?;
        let mut seconds = 0_u64;
        for part in text.split(':') {
            seconds = seconds.checked_mul(60)?.checked_add(part.trim().parse().ok()?)?;
        }
        Some(Duration::from_secs(seconds))
    }

    /// The server's clock less ours, as far as its header tells: to the second.
    pub(super) fn clock_offset(&self, received_ms: u64) -> Option<i64> {
        let told = jiff::fmt::rfc2822::parse(self.header("date")?).ok()?;
        let ours = i64::try_from(received_ms).ok()?;
        // The header's second is cut off: in the middle, it is half a second later.
        Some(told.timestamp().as_millisecond() + 500 - ours)
    }
}

/// Sends a request and takes its answer in.
pub(super) async fn take_in(request: RequestBuilder, most: usize, is_list: bool) -> Heard {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return broken(&error),
    };
    let status = response.status().as_u16();
    let mut headers = kept(response.headers());
    let mut taken = Vec::new();
    if response.status().is_success() {
        if let Err(heard) = body(response, most, &mut taken).await {
            return heard;
        }
        if let Err(message) = check(&taken, is_list) {
            return Heard::nothing(Failure::NotTheProtocol, message);
        }
    } else if body(response, most.min(limits::REFUSAL_BYTES), &mut taken)
        .await
        .is_err()
    {
        // The status says it: whatever came of the body will do, and is marked as not the whole.
        headers.insert(CUT.to_owned(), format!("after {} bytes", taken.len()));
    }
    Heard {
        outcome: Outcome::Answered {
            status,
            headers,
            body: Bytes(taken),
        },
    }
}

async fn body(mut response: Response, most: usize, taken: &mut Vec<u8>) -> Result<(), Heard> {
    let too_large = || {
        let message = format!("the answer has more than {most} bytes");
        Heard::nothing(Failure::TooLarge, message)
    };
    if response
        .content_length()
        .is_some_and(|length| length > most as u64)
    {
        return Err(too_large());
    }
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if taken.len() + piece.len() <= most => taken.extend_from_slice(&piece),
            Ok(Some(_)) => return Err(too_large()),
            Ok(None) => return Ok(()),
            Err(error) => return Err(broken(&error)),
        }
    }
}

fn broken(error: &reqwest::Error) -> Heard {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let failure = if error.is_timeout() {
        Failure::TimedOut
    } else {
        Failure::Unreachable
    };
    Heard::nothing(failure, cause.to_string())
}

fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.to_owned(), value.chars().take(limits::MESSAGE).collect()))
    };
    KEPT.into_iter().filter_map(text).collect()
}

#[derive(Deserialize)]
struct Shape {
    value: Option<Vec<IgnoredAny>>,
    data: Option<Vec<IgnoredAny>>,
}

/// A successful answer is one JSON object; a list has its rows in `value` or `data`.
fn check(body: &[u8], is_list: bool) -> Result<(), String> {
    if is_list {
        let shape: Shape =
            serde_json::from_slice(body).map_err(|error| format!("the answer is no list: {error}"))?;
        return match (shape.value, shape.data) {
            (None, None) => Err("the answer is no list: it has no rows".to_owned()),
            _ => Ok(()),
        };
    }
    let object: Result<BTreeMap<String, IgnoredAny>, _> = serde_json::from_slice(body);
    object
        .map(drop)
        .map_err(|error| format!("the answer is no JSON object: {error}"))
}
