use azure_core::http::StatusCode;
use azure_core::http::headers::Headers;
use proptest::prelude::*;

use super::*;

fn http(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> azure_core::Error {
    let mut all = Headers::new();
    for (name, value) in headers {
        all.insert(*name, *value);
    }
    let status = StatusCode::from(status);
    let raw = RawResponse::from_bytes(status, all, body.as_bytes().to_vec());
    let kind = ErrorKind::HttpResponse {
        status,
        error_code: None,
        raw_response: Some(Box::new(raw)),
    };
    azure_core::Error::with_message(kind, "text")
}

fn vault(status: u16, inner: &str) -> NoAnswer {
    let body = format!(r#"{{"error":{{"code":"C","message":"m","innererror":{{"code":"{inner}"}}}}}}"#);
    from_error(&http(status, &[], &body)).answer
}

fn identity(status: u16, error: &str) -> NoAnswer {
    let body = format!(r#"{{"error":"{error}","error_description":"d"}}"#);
    let inner = http(status, &[], &body);
    let once = azure_core::Error::with_error(ErrorKind::Credential, inner, "once");
    from_error(&azure_core::Error::with_error(
        ErrorKind::Credential,
        once,
        "twice",
    ))
    .answer
}

#[test]
fn every_row_of_the_table_means_what_it_says() {
    let wait = NoAnswer::Throttled { retry_after: None };
    for (status, inner, expected) in [
        (401, "", NoAnswer::Refused),
        (403, "KeyDisabled", NoAnswer::Refused),
        (403, "ForbiddenByRbac", NoAnswer::Refused),
        (403, "ForbiddenByFirewall", NoAnswer::Refused),
        (403, "AnythingElse", NoAnswer::Refused),
        (404, "", NoAnswer::Gone),
        (409, "ObjectIsDeletedButRecoverable", NoAnswer::Gone),
        (409, "ObjectIsBeingDeleted", NoAnswer::Gone),
        (409, "ObjectIsBeingRecovered", NoAnswer::Unreachable),
        (409, "AnythingElse", NoAnswer::Refused),
        (410, "", NoAnswer::Gone),
        (408, "", NoAnswer::Unreachable),
        (429, "VaultRequestTypeLimitReached", wait),
        (500, "", NoAnswer::Unreachable),
        (503, "KeyDisabled", NoAnswer::Unreachable),
        (599, "", NoAnswer::Unreachable),
        (400, "", NoAnswer::Refused),
        (302, "", NoAnswer::Refused),
        (204, "", NoAnswer::Refused),
        (418, "", NoAnswer::Refused),
    ] {
        assert_eq!(vault(status, inner), expected, "vault {status} {inner}");
    }
    for (status, error, expected) in [
        (400, "invalid_client", NoAnswer::Refused),
        (400, "temporarily_unavailable", NoAnswer::Unreachable),
        (400, "server_error", NoAnswer::Unreachable),
        (401, "invalid_client", NoAnswer::Refused),
        (403, "", NoAnswer::Refused),
        (404, "", NoAnswer::Refused),
        (408, "", NoAnswer::Unreachable),
        (410, "", NoAnswer::Unreachable),
        (429, "", wait),
        (500, "", NoAnswer::Unreachable),
        (503, "invalid_client", NoAnswer::Unreachable),
    ] {
        assert_eq!(identity(status, error), expected, "identity {status} {error}");
    }
}

#[test]
fn silence_is_never_a_refusal() {
    for kind in [ErrorKind::Connection, ErrorKind::Io] {
        let plain = azure_core::Error::with_message(kind.clone(), "reset");
        assert_eq!(from_error(&plain).answer, NoAnswer::Unreachable);
        let token = azure_core::Error::with_error(ErrorKind::Credential, plain, "no token");
        assert_eq!(from_error(&token).answer, NoAnswer::Unreachable);
    }
    assert_eq!(
        too_late(Duration::from_secs(1), None).answer,
        NoAnswer::Unreachable
    );
    let page = azure_core::Error::with_message(ErrorKind::DataConversion, "not JSON");
    let gateway = azure_core::Error::with_error(ErrorKind::Credential, page, "no token");
    assert_eq!(from_error(&gateway).answer, NoAnswer::Unreachable);
}

#[test]
fn silence_after_a_refusal_does_not_unsay_it() {
    let reset = || azure_core::Error::with_message(ErrorKind::Io, "reset");
    let no_token = |inner| azure_core::Error::with_error(ErrorKind::Credential, inner, "no token");
    for (heard, expected) in [
        (None, NoAnswer::Unreachable),
        (Some(401), NoAnswer::Refused),
        (Some(403), NoAnswer::Refused),
        (Some(404), NoAnswer::Gone),
        (Some(503), NoAnswer::Unreachable),
    ] {
        assert_eq!(last_word(&reset(), heard).answer, expected);
        assert_eq!(last_word(&no_token(reset()), heard).answer, expected);
        assert_eq!(last_word(&no_token(http(503, &[], "")), heard).answer, expected);
        assert_eq!(too_late(Duration::from_secs(1), heard).answer, expected);
    }
    let throttled = no_token(http(429, &[], ""));
    assert_eq!(last_word(&throttled, Some(401)).answer, NoAnswer::Refused);
    let vault = last_word(&http(503, &[], ""), Some(401)).answer;
    assert_eq!(vault, NoAnswer::Unreachable, "the vault's own later word counts");
}

#[test]
fn an_answer_that_cannot_be_used_grants_nothing() {
    for kind in [ErrorKind::DataConversion, ErrorKind::Other] {
        assert_eq!(
            from_error(&azure_core::Error::with_message(kind, "odd")).answer,
            NoAnswer::Refused
        );
    }
    assert_eq!(malformed("wrong key").answer, NoAnswer::Refused);
}

#[test]
fn the_time_to_wait_and_the_request_id_are_kept() {
    let error = from_error(&http(
        429,
        &[("retry-after", "7"), ("x-ms-request-id", "r-1")],
        "",
    ));
    assert_eq!(
        error.answer,
        NoAnswer::Throttled {
            retry_after: Some(Duration::from_secs(7))
        }
    );
    assert_eq!(error.request_id.as_deref(), Some("r-1"));
    let dated = from_error(&http(
        429,
        &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")],
        "",
    ));
    assert_eq!(dated.answer, NoAnswer::Throttled { retry_after: None });
    let endless = from_error(&http(429, &[("retry-after", "18446744073709551615")], ""));
    assert_eq!(
        endless.answer,
        NoAnswer::Throttled {
            retry_after: Some(MAX_RETRY_AFTER)
        }
    );
}

#[test]
fn foreign_text_stays_on_one_short_line() {
    let detail = malformed(&format!("a\nb\r{}", "x".repeat(5000))).detail;
    assert!(detail.chars().count() <= MAX_DETAIL && !detail.contains(['\n', '\r']));
}

proptest! {
    #[test]
    fn only_times_outs_conflicts_and_server_errors_count_as_silence(status in 100_u16..1000, body in ".{0,40}") {
        let answer = from_error(&http(status, &[], &body)).answer;
        if answer == NoAnswer::Unreachable {
            prop_assert!(status == 408 || (500..600).contains(&status));
        }
    }
}
