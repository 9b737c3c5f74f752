use serde_json::json;

use super::*;
use crate::question::LOCKS;
use crate::testing::{Reply, TOKEN, TestCloud, tight};

fn list(url: Url) -> Question {
    Question {
        source: Source::ResourceManager,
        question: LOCKS,
        about: None,
        url,
        body: None,
        is_list: true,
    }
}

fn failure(fact: &Fact) -> Option<Failure> {
    match fact.outcome {
        Outcome::Failed { failure, .. } => Some(failure),
        Outcome::Answered { .. } => None,
    }
}

#[tokio::test]
async fn an_answer_is_kept_with_its_time_and_without_what_authorized_it() {
    let cloud = TestCloud::start(|_| {
        let headers = vec![
            ("x-ms-request-id", "r1".to_owned()),
            ("set-cookie", "secret".to_owned()),
        ];
        Reply::Headers(200, headers, json!({"value": []}))
    })
    .await;
    let asker = cloud.asker(tight()).await;
    let fact = asker.ask(&list(cloud.url("localhost", "/a?api-version=1"))).await;
    assert_eq!(fact.body(), Some(b"{\"value\":[]}".as_slice()));
    assert_eq!(fact.caller, "me");
    assert_eq!(fact.request.api_version.as_deref(), Some("1"));
    assert_eq!(fact.clock_offset_ms, Some(5_500));
    let written = String::from_utf8(crate::fact::encode(&fact).1).unwrap();
    assert!(
        written.contains("x-ms-request-id") && !written.contains("cookie"),
        "{written}"
    );
    assert!(
        !written.contains(TOKEN) && !written.to_lowercase().contains("bearer"),
        "{written}"
    );
    assert!(cloud.came()[0].has_token);
}

#[tokio::test]
async fn answers_that_are_not_the_protocol_are_told_apart_from_silence() {
    for (reply, expected) in [
        (Reply::Endless, Failure::TooLarge),
        (Reply::Hangs, Failure::TimedOut),
        (Reply::Stalls, Failure::TimedOut),
        (Reply::Raw("{\"value\": [1, 2"), Failure::NotTheProtocol),
        (Reply::Raw("<html>"), Failure::NotTheProtocol),
        (Reply::Raw("[1]"), Failure::NotTheProtocol),
        (Reply::Raw("{\"value\": {\"a\": 1}}"), Failure::NotTheProtocol),
        (Reply::Raw("{}"), Failure::NotTheProtocol),
        (Reply::Raw("\u{feff}{\"value\": []}"), Failure::NotTheProtocol),
    ] {
        let reply = std::sync::Mutex::new(Some(reply));
        let cloud = TestCloud::start(move |_| reply.lock().unwrap().take().unwrap_or(Reply::Hangs)).await;
        let asker = cloud.asker(tight()).await;
        let fact = asker.ask(&list(cloud.url("localhost", "/a"))).await;
        assert_eq!(failure(&fact), Some(expected), "{:?}", fact.outcome);
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_host_that_is_not_the_clouds_and_no_redirect_is_followed() {
    let cloud = TestCloud::start(|came| {
        let port = came.query.clone();
        let there = format!("https://elsewhere.localhost:{port}/stolen");
        Reply::Headers(302, vec![("location", there)], json!({}))
    })
    .await;
    let asker = cloud.asker(tight()).await;
    for host in ["elsewhere.localhost", "a.b.vault.localhost"] {
        let fact = asker.ask(&list(cloud.url(host, "/a"))).await;
        assert_eq!(failure(&fact), Some(Failure::NotAsked));
    }
    assert!(cloud.came().is_empty());
    let mut url = cloud.url("localhost", "/a");
    let port = url.port().unwrap().to_string();
    url.set_query(Some(&port));
    let fact = asker.ask(&list(url)).await;
    assert_eq!(fact.status(), Some(302));
    assert_eq!(cloud.came().len(), 1);
}

#[tokio::test]
async fn who_asks_for_patience_gets_it_but_not_for_ever() {
    let cloud =
        TestCloud::start(|_| Reply::Headers(429, vec![("retry-after", "0".to_owned())], json!({}))).await;
    let asker = cloud.asker(tight()).await;
    let fact = asker.ask(&list(cloud.url("localhost", "/a"))).await;
    assert_eq!(fact.status(), Some(429));
    assert_eq!(cloud.came().len(), limits::ATTEMPTS as usize);
    assert_eq!(asker.tally().count().repeated, u64::from(limits::ATTEMPTS) - 1);
    // Longer than anybody would wait: the answer stands.
    cloud.now(|_| Reply::Headers(503, vec![("retry-after", "86400".to_owned())], json!({})));
    let fact = asker.ask(&list(cloud.url("localhost", "/b"))).await;
    assert_eq!(fact.status(), Some(503));
    assert_eq!(cloud.came().len(), limits::ATTEMPTS as usize + 1);
    // A refusal is the last word.
    cloud.now(|_| Reply::Json(403, json!({"error": {"code": "AuthorizationFailed"}})));
    let fact = asker.ask(&list(cloud.url("localhost", "/c"))).await;
    assert_eq!((fact.status(), fact.body()), (Some(403), None));
    assert_eq!(cloud.came().len(), limits::ATTEMPTS as usize + 2);
}

#[tokio::test]
async fn a_quota_that_is_used_up_holds_the_next_question_until_it_is_there_again() {
    let cloud = TestCloud::start(|_| {
        let headers = vec![
            ("x-ms-user-quota-remaining", "0".to_owned()),
            ("x-ms-user-quota-resets-after", "00:00:01".to_owned()),
        ];
        Reply::Headers(200, headers, json!({"data": []}))
    })
    .await;
    let asker = cloud.asker(tight()).await;
    let question = Question {
        source: Source::ResourceGraph,
        body: Some("{}".to_owned()),
        ..list(cloud.url("localhost", "/g"))
    };
    let begun = tokio::time::Instant::now();
    asker.ask(&question).await;
    assert!(begun.elapsed() < Duration::from_millis(900));
    asker.ask(&question).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
}
