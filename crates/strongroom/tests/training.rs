//! The real program trains the real model: under a key that is taken away and comes back, and killed in the middle.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_testkit::{Canaries, Child, ChildOptions, Instance, search_bytes, strongroom_command};
use tokio::time::{sleep, timeout};

/// The bound in these tests, and what may come on top of it on a busy machine.
const BOUND: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

async fn answer(instance: &Instance, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = instance.api(method, path);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

/// Uploads a training set whose answers all have the canary.
async fn training_file(instance: &Instance, canaries: &Canaries) -> String {
    let lines: String = (0..10)
        .map(|number| {
            let example = json!({"messages": [
                {"role": "user", "content": format!("{} {number}?", canaries.at("question"))},
                {"role": "assistant", "content": format!("{} {number}", canaries.at("answer"))}]});
            format!("{example}\n")
        })
        .collect();
    let mut body = Vec::new();
    body.extend_from_slice(b"--b0\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n");
    body.extend_from_slice(
        b"--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"set.jsonl\"\r\n\r\n",
    );
    body.extend_from_slice(lines.as_bytes());
    body.extend_from_slice(b"\r\n--b0--\r\n");
    let request = instance
        .api(Method::POST, "/files")
        .header("Content-Type", "multipart/form-data; boundary=b0")
        .body(body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["id"].as_str().expect("a file").to_owned()
}

async fn begin(instance: &Instance, canaries: &Canaries, epochs: u32) -> String {
    let file = training_file(instance, canaries).await;
    let body = json!({"model": "strongroom-rehearsal", "training_file": file, "seed": 3,
        "suffix": canaries.at("suffix"), "metadata": {"note": canaries.at("metadata")},
        "hyperparameters": {"n_epochs": epochs, "batch_size": 2}});
    let (status, job) = answer(instance, Method::POST, "/fine_tuning/jobs", Some(body)).await;
    assert_eq!(status, 200, "{job}");
    job["id"].as_str().unwrap().to_owned()
}

async fn until(instance: &Instance, job: &str, status: &str) -> Value {
    let path = format!("/fine_tuning/jobs/{job}");
    let asking = async {
        loop {
            let (_, shown) = answer(instance, Method::GET, &path, None).await;
            if shown["status"] == status {
                return shown;
            }
            assert_ne!(shown["status"], "failed", "{shown}");
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("the job must come so far")
}

/// Waits for a first checkpoint.
async fn checkpoint(instance: &Instance, job: &str) {
    let path = format!("/fine_tuning/jobs/{job}/checkpoints");
    let asking = async {
        while answer(instance, Method::GET, &path, None).await.1["data"][0].is_null() {
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("a checkpoint");
}

/// The trainers below a process.
fn trainers(parent: u32) -> HashSet<u32> {
    let mut found = HashSet::new();
    let Ok(tasks) = PathBuf::from(format!("/proc/{parent}/task")).read_dir() else {
        return found;
    };
    for task in tasks.flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            if line.split(|byte| *byte == 0).any(|word| word == b"teach") {
                found.insert(child);
            }
        }
    }
    found
}

fn is_there(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/statm")).is_ok_and(|pages| !pages.starts_with("0 "))
}

async fn gone(processes: HashSet<u32>) {
    while processes.iter().any(|process| is_there(*process)) {
        sleep(Duration::from_millis(5)).await;
    }
}

/// The steps that the job's events tell of, in their order.
async fn steps(instance: &Instance, job: &str) -> Vec<u64> {
    let mut steps = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/fine_tuning/jobs/{job}/events?order=asc&limit=100{after}");
        let (_, page) = answer(instance, Method::GET, &path, None).await;
        let events = page["data"].as_array().unwrap();
        steps.extend(events.iter().filter_map(|event| event["data"]["step"].as_u64()));
        if page["has_more"] != true {
            return steps;
        }
        after = format!("&after={}", page["last_id"].as_str().unwrap());
    }
}

/// Nothing of what went in, and no weights that came out, is kept in the clear.
fn nothing_is_in_the_clear(canaries: &Canaries, folders: &[&Path]) {
    assert_eq!(canaries.search(folders).unwrap().len(), 0);
    for needle in [b"model.layers.0".as_slice(), b"training.value."] {
        assert_eq!(
            search_bytes(needle, folders).unwrap().len(),
            0,
            "weights in the clear"
        );
    }
}

/// Without the key the trainer is gone within the bound and the job is not to be seen; with it the job goes on by itself.
async fn revoke_and_restore(child: &Child, job: &str) {
    let working = trainers(child.id());
    assert_eq!(working.len(), 1, "one trainer has the examples");
    child.disable_key().await.unwrap();
    timeout(BOUND + SLACK, gone(working))
        .await
        .expect("the trainer must be gone within the bound");
    let (status, body) = answer(child, Method::GET, &format!("/fine_tuning/jobs/{job}"), None).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (403, &json!("customer_key_refused"))
    );
    assert!(trainers(child.id()).is_empty());
    child.enable_key().await.unwrap();
    let goes_on = async {
        while trainers(child.id()).is_empty() {
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, goes_on).await.expect("it goes on by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_training_survives_a_revocation_and_a_kill_and_leaves_nothing_in_the_clear() {
    let place = tempfile::tempdir().unwrap();
    let folders = ["data", "temporary", "output"].map(|name| place.path().join(name));
    let [data, temporary, output] = &folders;
    std::fs::create_dir(temporary).unwrap();
    std::fs::create_dir(output).unwrap();
    let start = |name: &str| {
        ChildOptions::new(data)
            .arg("--revocation-bound")
            .arg("2s")
            .arg("--erase-within")
            .arg("1s")
            .env("TMPDIR", temporary)
            .stderr(output.join(name))
            .start()
    };
    let child = start("first").await.unwrap();
    let canaries = Canaries::random();
    let job = begin(&child, &canaries, 20).await;
    checkpoint(&child, &job).await;

    revoke_and_restore(&child, &job).await;
    checkpoint(&child, &job).await;
    let before = steps(&child, &job).await;

    let working = trainers(child.id());
    child.kill().unwrap();
    timeout(PATIENCE, gone(working))
        .await
        .expect("nobody is left who has the examples");
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    nothing_is_in_the_clear(&canaries, &folders);

    let child = start("second").await.unwrap();
    let shown = until(&child, &job, "succeeded").await;
    let steps = steps(&child, &job).await;
    assert!(steps.starts_with(&before), "no event that was seen is lost");
    assert_eq!(steps.last(), Some(&100));
    assert!(
        steps.len() < 400,
        "{} steps: it went on from checkpoints",
        steps.len()
    );
    assert!(
        shown["fine_tuned_model"]
            .as_str()
            .unwrap()
            .contains(&canaries.at("suffix"))
    );
    nothing_is_in_the_clear(&canaries, &folders);
    let verified = strongroom_command(data, &["verify"]).await.unwrap();
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    child.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_of_the_users_trains_in_place_of_the_built_in_trainer() {
    let place = tempfile::tempdir().unwrap();
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../strongroom-models/tests/training/example_trainer.py"
    );
    let options = ChildOptions::new(&place.path().join("data"));
    let options = options.arg("--trainer-command").arg("python3").arg(example);
    let child = options.start().await.unwrap();
    let canaries = Canaries::random();
    let job = begin(&child, &canaries, 3).await;
    let shown = until(&child, &job, "succeeded").await;
    assert_eq!(
        shown["trained_tokens"].as_u64().map(|tokens| tokens > 0),
        Some(true)
    );
    nothing_is_in_the_clear(&canaries, &[place.path()]);
    child.terminate().await.unwrap();
}
