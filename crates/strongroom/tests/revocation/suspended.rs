//! A process that stood still for longer than the bound.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use strongroom_testkit::{ChildOptions, InstantUpstream};
use tokio::time::{sleep, timeout};

use crate::clients::{self, End};
use crate::rig::wall_ms;
use crate::{BOUND, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_suspension_nothing_is_served_under_the_old_lease() {
    let place = tempfile::tempdir().unwrap();
    let upstream = InstantUpstream::start_paced(Duration::from_millis(20), 5_000)
        .await
        .unwrap();
    let bound = format!("{}s", BOUND.as_secs());
    let options = ChildOptions::new(&place.path().join("data"))
        .arg("--upstream")
        .arg(upstream.url())
        .arg("--revocation-bound")
        .arg(bound);
    let child = options.start().await.unwrap();
    let file = child.upload("kept.txt", b"kept".to_vec()).await.unwrap();
    let mut stream = clients::draining("token stream", child.chat_request("Go on.", true));
    stream.at_least(200).await;

    let suspended_ms = wall_ms();
    child.suspend().unwrap();
    // It waits in the socket until the process goes on, and is then its first request.
    let request = child.api(Method::GET, &format!("/files/{file}/content"));
    let waiting = tokio::spawn(async move { request.send().await.unwrap() });
    sleep(BOUND + BOUND / 2).await;
    let seen_before = *stream.progress.borrow();
    let resumed_ms = wall_ms();
    child.resume().unwrap();

    let answer = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.bytes().await.unwrap().as_ref(), b"kept");
    let seen = stream.seen().await;
    assert_ne!(seen.end, End::Whole);
    assert_eq!(seen.bytes, seen_before, "the stream went on under the old lease");

    let logs = child.folder().logs();
    child.terminate().await.unwrap();
    let journal = journal(&logs.join("service-journal"));
    let event = |event: &Value, name: &str| event["event"] == name;
    let at = |event: &Value| event["at_ms"].as_u64().unwrap();
    let wiped = journal
        .iter()
        .position(|entry| event(entry, "wiped") && at(entry) >= suspended_ms);
    let (until, after) = journal.split_at(wiped.expect("the old lease's key is wiped"));
    let last_use = until.iter().rfind(|entry| event(entry, "last_use")).map(at);
    let last_use = last_use.expect("the old lease was used");
    assert!(
        last_use < resumed_ms,
        "the old lease was used after the suspension"
    );
    let heard = after
        .iter()
        .find(|entry| event(entry, "key_heard") && entry["answer"] == "held");
    assert!(at(heard.expect("the vault was asked anew")) >= resumed_ms);
}

/// Every entry of a journal, in order.
fn journal(folder: &Path) -> Vec<Value> {
    let mut entries = Vec::new();
    let mut names: Vec<_> = files(folder);
    names.sort();
    for name in names {
        let bytes = fs::read(name).unwrap();
        let starts = bytes
            .windows(9)
            .enumerate()
            .filter(|(_, window)| window == b"{\"event\":");
        for (start, _) in starts {
            let mut values = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter();
            entries.extend(values.next().and_then(Result::ok));
        }
    }
    assert!(!entries.is_empty());
    entries
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}
