//! A batch that is killed with its program, and one whose key is turned off under way: both end with each line answered once.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_operator::{Verification, verify};
use strongroom_testkit::{
    Canaries, Child, ChildOptions, INSTANT_MODEL, Instance, InstantUpstream, System, SystemOptions, form,
};

/// More than are asked before anybody looks twice.
const LINES: usize = 1500;

fn input(canary: &str) -> Vec<u8> {
    let line = |at: usize| {
        let message = json!({ "role": "user", "content": format!("{canary} {at}") });
        let body = json!({ "model": INSTANT_MODEL, "messages": [message] });
        let line = json!({
            "custom_id": format!("{canary}-{at}"), "method": "POST", "url": "/v1/chat/completions", "body": body,
        });
        format!("{line}\n")
    };
    (0..LINES).map(line).collect::<String>().into_bytes()
}

async fn answer(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn begin(instance: &Instance, canary: &str) -> String {
    let (kind, body) = form("batch.jsonl", &input(canary));
    // The testkit's form is for another purpose.
    let body = replaced(&body, b"assistants", b"batch");
    let upload = instance
        .api(Method::POST, "/files")
        .header("Content-Type", kind)
        .body(body);
    let file = answer(upload).await;
    let wanted = json!({
        "input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h",
        "metadata": { "note": canary },
    });
    let batch = answer(instance.api(Method::POST, "/batches").json(&wanted)).await;
    batch["id"].as_str().unwrap().to_owned()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|found| found == from).unwrap();
    let (head, tail) = bytes.split_at(at);
    [head, to, tail.get(from.len()..).unwrap_or_default()].concat()
}

async fn look(instance: &Instance, id: &str) -> Value {
    answer(instance.api(Method::GET, &format!("/batches/{id}"))).await
}

async fn until(instance: &Instance, id: &str, is: impl Fn(&Value) -> bool) -> Value {
    let looking = async {
        loop {
            let batch = look(instance, id).await;
            if is(&batch) {
                return batch;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), looking)
        .await
        .unwrap()
}

fn is_under_way(batch: &Value) -> bool {
    let completed = batch["request_counts"]["completed"].as_u64().unwrap();
    assert!(completed < LINES as u64, "the batch was too quick to be caught");
    completed > 0
}

/// Each line once, in order, answered with what it said.
async fn check_results(instance: &Instance, id: &str, canary: &str) {
    let ended = until(instance, id, |batch| batch["completed_at"].is_u64()).await;
    assert_eq!(
        ended["request_counts"],
        json!({ "total": LINES, "completed": LINES, "failed": 0 })
    );
    let output = instance
        .download(ended["output_file_id"].as_str().unwrap())
        .await
        .unwrap();
    let output = String::from_utf8(output).unwrap();
    assert_eq!(output.lines().count(), LINES);
    for (at, line) in output.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["custom_id"], format!("{canary}-{at}"));
        let said = &line["response"]["body"]["choices"][0]["message"]["content"];
        assert!(
            said.as_str().unwrap().contains(&format!("{canary} {at}")),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_killed_again_and_again_ends_with_each_line_answered_once() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    let upstream = InstantUpstream::start().await.unwrap();
    let start = async || -> Child {
        let options = ChildOptions::new(&folder).arg("--upstream").arg(upstream.url());
        options.start().await.unwrap()
    };
    let canaries = Canaries::random();
    let canary = canaries.at("batch");
    let mut child = start().await;
    let id = begin(&child, &canary).await;
    let mut seen = 0;
    for _ in 0..2 {
        let further =
            |batch: &Value| is_under_way(batch) && batch["request_counts"]["completed"].as_u64() > Some(seen);
        let batch = until(&child, &id, further).await;
        seen = batch["request_counts"]["completed"].as_u64().unwrap();
        child.kill().unwrap();
        assert!(canaries.search(&[folder.as_path()]).unwrap().is_empty());
        child = start().await;
    }
    // What was acknowledged as done was not done again: only what was in flight, twice.
    check_results(&child, &id, &canary).await;
    assert!(
        upstream.requests() <= LINES as u64 + 2 * 64,
        "{}",
        upstream.requests()
    );
    drop(child);
    assert!(canaries.search(&[folder.as_path()]).unwrap().is_empty());
    let report = verify(Verification {
        folder: &folder.join("service"),
        keys: None,
    })
    .unwrap();
    assert!(report.is_clean(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_key_is_turned_off_waits_and_goes_on_by_itself() {
    let upstream = InstantUpstream::start().await.unwrap();
    let options = SystemOptions::new().unwrap().upstream(upstream.url());
    let system: System = options.start().await.unwrap();
    let id = begin(&system, "canary").await;
    until(&system, &id, is_under_way).await;
    system.disable_key().await.unwrap();
    let job = async || -> Value {
        let jobs = system.admin(Method::GET, "jobs", None).await.unwrap();
        let jobs: Value = jobs.json().await.unwrap();
        jobs.as_array()
            .unwrap()
            .iter()
            .find(|job| job["object"] == id.as_str())
            .unwrap()
            .clone()
    };
    // How far it is can be read without the key.
    while job().await["state"] != "paused" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = upstream.requests();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(upstream.requests(), asked, "nothing is asked without the key");
    let paused = job().await;
    assert!(
        paused["done"].as_u64() > Some(0) && paused["done"].as_u64() < Some(LINES as u64),
        "{paused}"
    );
    let refused = system
        .api(Method::GET, &format!("/batches/{id}"))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 403);
    system.enable_key().await.unwrap();
    let back = async {
        while !system
            .api(Method::GET, "/files")
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.unwrap();
    check_results(&system, &id, "canary").await;
}
