//! What an answer means, in one place: refused, gone, unreachable or throttled. Never merged, never guessed elsewhere.
//!
//! Two rules stand behind the table. Whoever *answers* without saying yes has not been silent: unless the answer means "try
//! again later", the lease ends, also if the rest of the answer never comes. And silence alone, from the vault or from the
//! token endpoint, is never taken for a refusal.

use std::error::Error as _;
use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_core::http::RawResponse;
use azure_core::http::headers::HeaderName;
use serde::Deserialize;
use strongroom_seal::{NoAnswer, VaultError};

use crate::limits::{MAX_DETAIL, MAX_RETRY_AFTER};

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Vault,
    /// The token endpoint.
    Identity,
}

/// A verdict before the time to wait is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Refused,
    Gone,
    Unreachable,
    Throttled,
}

struct Row {
    from: From,
    statuses: std::ops::RangeInclusive<u16>,
    /// The inner code (of a vault) or the error (of a token endpoint); `None` matches any.
    code: Option<&'static str>,
    verdict: Verdict,
}

const fn row(
    from: From,
    statuses: std::ops::RangeInclusive<u16>,
    code: Option<&'static str>,
    verdict: Verdict,
) -> Row {
    Row {
        from,
        statuses,
        code,
        verdict,
    }
}

/// The first row that matches decides.
const TABLE: &[Row] = &[
    // 401 after a token that was fresh: the identity is not accepted.
    row(From::Vault, 401..=401, None, Verdict::Refused),
    // Disabled, no permission, firewall, public access off: all are the customer's no.
    row(From::Vault, 403..=403, None, Verdict::Refused),
    row(From::Vault, 404..=404, None, Verdict::Gone),
    row(
        From::Vault,
        409..=409,
        Some("ObjectIsDeletedButRecoverable"),
        Verdict::Gone,
    ),
    row(
        From::Vault,
        409..=409,
        Some("ObjectIsBeingDeleted"),
        Verdict::Gone,
    ),
    // On its way back: neither a no nor a yes yet.
    row(
        From::Vault,
        409..=409,
        Some("ObjectIsBeingRecovered"),
        Verdict::Unreachable,
    ),
    row(From::Vault, 410..=410, None, Verdict::Gone),
    row(From::Vault, 408..=408, None, Verdict::Unreachable),
    row(From::Vault, 429..=429, None, Verdict::Throttled),
    row(From::Vault, 500..=599, None, Verdict::Unreachable),
    // Anything else was heard and was not a yes: 400 for a value it cannot unwrap, a redirect, a success that is no success.
    row(From::Vault, 0..=u16::MAX, None, Verdict::Refused),
    // Entra says so with status 400 as well.
    row(
        From::Identity,
        400..=400,
        Some("temporarily_unavailable"),
        Verdict::Unreachable,
    ),
    row(
        From::Identity,
        400..=400,
        Some("server_error"),
        Verdict::Unreachable,
    ),
    row(From::Identity, 408..=408, None, Verdict::Unreachable),
    // The metadata service of a machine answers so while it is being updated.
    row(From::Identity, 410..=410, None, Verdict::Unreachable),
    row(From::Identity, 429..=429, None, Verdict::Throttled),
    row(From::Identity, 500..=599, None, Verdict::Unreachable),
    // invalid_client, unauthorized_client, no identity assigned, wrong header secret: the identity is rejected.
    row(From::Identity, 0..=u16::MAX, None, Verdict::Refused),
];

fn verdict(from: From, status: u16, code: Option<&str>) -> Verdict {
    TABLE
        .iter()
        .find(|row| {
            row.from == from && row.statuses.contains(&status) && (row.code.is_none() || row.code == code)
        })
        .map_or(Verdict::Refused, |row| row.verdict)
}

/// What a failed call means.
pub(super) fn from_error(error: &azure_core::Error) -> VaultError {
    let from = if *error.kind() == ErrorKind::Credential {
        From::Identity
    } else {
        From::Vault
    };
    let cause = if from == From::Identity {
        innermost(error)
    } else {
        error
    };
    match cause.kind() {
        ErrorKind::HttpResponse {
            status, raw_response, ..
        } => from_status(
            from,
            u16::from(*status),
            raw_response.as_deref(),
            &cause.to_string(),
        ),
        ErrorKind::Connection | ErrorKind::Io => silent(&described(cause)),
        // A token endpoint that answers with something else than its protocol is a gateway's page, not a rejection.
        ErrorKind::DataConversion if from == From::Identity => silent(&described(cause)),
        _ => malformed(&described(cause)),
    }
}

/// Whether the vault rejected the token itself, so that a fresh one may do.
pub(super) fn is_unauthorized(error: &azure_core::Error) -> bool {
    *error.kind() != ErrorKind::Credential
        && error.http_status().is_some_and(|status| u16::from(status) == 401)
}

/// What a failed call means in which the vault had said `heard` before: silence after a no does not unsay it, be it the
/// vault's or that of the token endpoint, which was to give another token.
pub(super) fn last_word(error: &azure_core::Error, heard: Option<u16>) -> VaultError {
    let meant = from_error(error);
    let is_vaults = *error.kind() != ErrorKind::Credential && error.http_status().is_some();
    let is_later = matches!(meant.answer, NoAnswer::Unreachable | NoAnswer::Throttled { .. });
    match heard {
        Some(status) if is_later && !is_vaults => unfinished(status, &meant.detail),
        _ => meant,
    }
}

/// The outer deadline passed.
pub(super) fn too_late(deadline: Duration, heard: Option<u16>) -> VaultError {
    let detail = format!("no answer within {} ms", deadline.as_millis());
    match heard {
        Some(status) => unfinished(status, &detail),
        None => silent(&detail),
    }
}

/// The vault said so, and then something was missing.
fn unfinished(status: u16, missing: &str) -> VaultError {
    from_status(From::Vault, status, None, &format!("and then: {missing}"))
}

/// There was an answer, but not one that this protocol knows: the wrong key, the wrong length, no JSON. It is no yes, so
/// it ends the lease; it is no outage either.
pub(super) fn malformed(detail: &str) -> VaultError {
    VaultError::new(
        NoAnswer::Refused,
        bounded(&format!("the answer cannot be used: {detail}")),
    )
}

fn silent(detail: &str) -> VaultError {
    VaultError::new(NoAnswer::Unreachable, bounded(detail))
}

fn from_status(from: From, status: u16, response: Option<&RawResponse>, text: &str) -> VaultError {
    let codes = response
        .map(|response| Codes::read(from, response.body()))
        .unwrap_or_default();
    let header =
        |name| response.and_then(|r| r.headers().get_optional_string(&HeaderName::from_static(name)));
    let answer = match verdict(from, status, codes.inner.as_deref()) {
        Verdict::Refused => NoAnswer::Refused,
        Verdict::Gone => NoAnswer::Gone,
        Verdict::Unreachable => NoAnswer::Unreachable,
        Verdict::Throttled => NoAnswer::Throttled {
            retry_after: retry_after(header("retry-after").as_deref()),
        },
    };
    let who = if from == From::Vault {
        "the vault"
    } else {
        "the token endpoint"
    };
    let inner = codes.inner.as_deref().unwrap_or("no inner code");
    let outer = codes.outer.as_deref().unwrap_or("no code");
    let detail = bounded(&format!("{who} answered {status} ({outer}, {inner}): {text}"));
    VaultError::new(answer, detail).with_request_id(header("x-ms-request-id").map(|id| bounded(&id)))
}

/// Whole seconds; a date, or nonsense, counts as none.
fn retry_after(value: Option<&str>) -> Option<Duration> {
    let seconds: u64 = value?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

#[derive(Debug, Default)]
struct Codes {
    outer: Option<String>,
    inner: Option<String>,
}

impl Codes {
    fn read(from: From, body: &[u8]) -> Self {
        match from {
            From::Vault => {
                let Ok(Body { error }) = serde_json::from_slice::<Body>(body) else {
                    return Self::default();
                };
                Self {
                    outer: error.code,
                    inner: error.innererror.and_then(|inner| inner.code),
                }
            }
            From::Identity => {
                let Ok(Rejection { error }) = serde_json::from_slice(body) else {
                    return Self::default();
                };
                Self {
                    outer: None,
                    inner: Some(error),
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct Body {
    error: Detail,
}

#[derive(Deserialize)]
struct Detail {
    code: Option<String>,
    innererror: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    code: Option<String>,
}

#[derive(Deserialize)]
struct Rejection {
    error: String,
}

/// Credentials wrap what happened, sometimes more than once.
fn innermost(error: &azure_core::Error) -> &azure_core::Error {
    match error.downcast_ref::<azure_core::Error>() {
        Some(inner) => innermost(inner),
        None => error,
    }
}

/// The error with its causes: TLS and DNS say what is wrong at the end of the chain.
fn described(error: &azure_core::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// Foreign text, made fit for one line of a log.
fn bounded(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_DETAIL)
        .collect()
}

#[cfg(test)]
mod tests;
