//! Chat, files and responses through the doors, and the key turned off and on again.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use strongroom_testkit::{Instance, InstantUpstream, System, SystemOptions};
use tokio::time::timeout;

/// What the shortest bound, and a busy machine, allow.
const BOUND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

async fn with_upstream() -> (System, InstantUpstream) {
    let upstream = InstantUpstream::start().await.unwrap();
    let options = SystemOptions::new()
        .unwrap()
        .revocation_bound(BOUND)
        .upstream(upstream.url());
    (options.start().await.unwrap(), upstream)
}

fn chat_body(system: &System, stream: bool) -> Value {
    json!({
        "model": system.variable("STRONGROOM_DEPLOYMENT"), "stream": stream,
        "messages": [{"role": "user", "content": "Say it again."}],
    })
}

async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (
        status,
        body["error"]["code"].as_str().unwrap_or_default().to_owned(),
    )
}

/// Asks until the answer is as wanted; the system has its bound to get there.
async fn until(instance: &Instance, tls: bool, path: &str, wanted: (u16, &str)) {
    let asked = timeout(PATIENCE, async {
        loop {
            let request = if tls {
                instance.api_tls(Method::GET, path)
            } else {
                instance.api(Method::GET, path)
            };
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            if status == wanted.0 && (status == 200 || code(answer).await.1 == wanted.1) {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    asked.await.unwrap();
}

#[tokio::test]
async fn chat_files_and_responses_work_on_both_doors() {
    let (system, _upstream) = with_upstream().await;
    let content = vec![7; 3 << 20];
    let file = system.upload("a name.bin", content.clone()).await.unwrap();
    assert_eq!(system.download(&file).await.unwrap(), content);

    for tls in [false, true] {
        let api = |method, path: &str| {
            if tls {
                system.api_tls(method, path)
            } else {
                system.api(method, path)
            }
        };
        let files: Value = api(Method::GET, "/files")
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(files["data"][0]["id"], file.as_str());
        let chat = api(Method::POST, "/chat/completions").json(&chat_body(&system, false));
        let chat: Value = chat.send().await.unwrap().json().await.unwrap();
        assert_eq!(chat["choices"][0]["message"]["content"], "Say it again.");
        let stream = api(Method::POST, "/chat/completions").json(&chat_body(&system, true));
        let stream = stream.send().await.unwrap().text().await.unwrap();
        assert!(stream.trim_end().ends_with("data: [DONE]"), "{stream}");

        let model = system.variable("STRONGROOM_DEPLOYMENT");
        let made = api(Method::POST, "/responses").json(&json!({"model": model, "input": "Keep this."}));
        let made: Value = made.send().await.unwrap().json().await.unwrap();
        let id = made["id"].as_str().unwrap();
        let kept = api(Method::GET, &format!("/responses/{id}"));
        let kept: Value = kept.send().await.unwrap().json().await.unwrap();
        assert_eq!(kept["output"], made["output"]);
    }
}

#[tokio::test]
async fn a_disabled_key_blinds_both_doors_and_an_enabled_one_restores_them() {
    let (system, _upstream) = with_upstream().await;
    let file = system.upload("kept.txt", b"not lost".to_vec()).await.unwrap();
    let path = format!("/files/{file}");
    system.disable_key().await.unwrap();
    for tls in [false, true] {
        until(&system, tls, &path, (403, "customer_key_refused")).await;
    }
    let content = system
        .api(Method::GET, &format!("{path}/content"))
        .send()
        .await
        .unwrap();
    assert_eq!(code(content).await, (403, "customer_key_refused".to_owned()));
    let upload = system
        .upload_request("late.txt", b"too late".to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(code(upload).await, (403, "customer_key_refused".to_owned()));
    let chat = system
        .api(Method::POST, "/chat/completions")
        .json(&chat_body(&system, false));
    assert_eq!(
        code(chat.send().await.unwrap()).await,
        (403, "customer_key_refused".to_owned())
    );
    assert_eq!(system.status().await.unwrap()["key"]["state"], "refused");

    system.enable_key().await.unwrap();
    for tls in [false, true] {
        until(&system, tls, &path, (200, "")).await;
    }
    assert_eq!(system.download(&file).await.unwrap(), b"not lost");
}

#[tokio::test]
async fn a_rotated_key_opens_what_the_old_version_sealed() {
    let (system, _upstream) = with_upstream().await;
    let file = system
        .upload("kept.txt", b"older than the version".to_vec())
        .await
        .unwrap();
    let before = system.status().await.unwrap()["key"]["version"].clone();
    system.rotate_key().await.unwrap();
    let moved = timeout(PATIENCE, async {
        loop {
            // The version moves at a renewal or a use.
            assert_eq!(system.download(&file).await.unwrap(), b"older than the version");
            if system.status().await.unwrap()["key"]["version"] != before {
                return;
            }
        }
    });
    moved.await.unwrap();
}

#[tokio::test]
async fn a_model_server_that_is_away_does_not_hold_up_the_start() {
    let options = SystemOptions::new().unwrap().upstream("http://127.0.0.1:9/v1");
    let system = options.start().await.unwrap();
    assert_eq!(system.variable("STRONGROOM_DEPLOYMENT"), "strongroom-rehearsal");
    let answer = system.chat("What is a lease?").await.unwrap();
    assert_eq!(answer["model"], "strongroom-rehearsal");
}

#[tokio::test]
async fn requests_in_flight_finish_before_the_end() {
    let upstream = InstantUpstream::start_paced(Duration::from_millis(100), 5)
        .await
        .unwrap();
    let system = SystemOptions::new()
        .unwrap()
        .upstream(upstream.url())
        .start()
        .await
        .unwrap();
    let stream = system.chat_request("Say it again.", true).send().await.unwrap();
    let (text, _) = tokio::join!(stream.text(), system.stop());
    assert!(text.unwrap().trim_end().ends_with("data: [DONE]"));
}

#[tokio::test]
async fn requests_in_flight_finish_in_strict_mode_though_they_outlast_the_bound() {
    let upstream = InstantUpstream::start_paced(Duration::from_millis(100), 30)
        .await
        .unwrap();
    let system = SystemOptions::new()
        .unwrap()
        .upstream(upstream.url())
        .revocation_bound(Duration::from_secs(1))
        .outage_grace(Duration::ZERO)
        .start()
        .await
        .unwrap();
    let stream = system.chat_request("Say it again.", true).send().await.unwrap();
    let (text, _) = tokio::join!(stream.text(), system.stop());
    assert!(text.unwrap().trim_end().ends_with("data: [DONE]"));
}
