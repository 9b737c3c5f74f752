//! What the journals hold, when, and that an outsider can check it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::Value;
use strongroom::DataFolder;
use strongroom_journal::{Journal, SigningKey, VerifyingKey};
use strongroom_store::{Action, NewObject};
use strongroom_testkit::{System, SystemOptions, strongroom_command};

async fn json(system: &System, arguments: &[&str]) -> Value {
    let output = strongroom_command(system.folder().root(), arguments)
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// What is on the disk of a journal of fewer entries than a tile has.
fn on_disk(folder: &Path, journal: &str) -> String {
    let head = folder.join(format!("logs/{journal}-journal/head"));
    String::from_utf8_lossy(&std::fs::read(head).unwrap()).into_owned()
}

#[tokio::test]
async fn an_export_is_on_record_before_it_arrives_and_once() {
    let system = System::start().await.unwrap();
    let file = system.upload("a.txt", b"content".to_vec()).await.unwrap();
    let token = system.token("https://management.azure.com").await.unwrap();
    let url = format!(
        "{}/strongroom/export",
        system.variable("ARM_ENDPOINT").trim_end_matches('/')
    );
    let answer = system
        .client_builder()
        .unwrap()
        .build()
        .unwrap()
        .request(Method::POST, url)
        .bearer_auth(token)
        .json(&serde_json::json!({"kind": "file", "id": file, "part": 0}))
        .send()
        .await
        .unwrap();
    // Its head is here, its body is not: the line must be on the disk.
    assert_eq!(answer.status(), 200);
    let told = |text: &str| text.matches("\"exported\"").count();
    let lines = on_disk(system.folder().root(), "service");
    assert_eq!(told(&lines), 1, "{lines}");
    assert!(lines.contains(&file), "{file} in {lines}");
    let body = answer.bytes().await.unwrap();
    let head: Value = serde_json::from_slice(body.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert!(head.get("keyset_json").unwrap().is_string(), "{head}");

    let folder = system.folder().root().to_owned();
    let _place = system.stop().await;
    assert_eq!(told(&on_disk(&folder, "service")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_one_of_more_shreddings_than_the_queue_holds_is_on_record() {
    const COUNT: usize = 9000;
    let options = SystemOptions::new().unwrap();
    let system = options
        .erase_within(Duration::from_millis(400))
        .start()
        .await
        .unwrap();
    let running = system.running();
    let permit = |action| running.permits().permit(running.account(), action, "test");
    let (write, delete) = (permit(Action::Write), permit(Action::Delete));
    let ids: Vec<String> = (0..COUNT).map(|number| format!("id-{number}")).collect();
    for ids in ids.chunks(1000) {
        let put = ids
            .iter()
            .map(|id| running.store().put(&write, NewObject::new("thing", id, b"x")));
        join_all(put).await.into_iter().for_each(|put| drop(put.unwrap()));
    }
    for ids in ids.chunks(1000) {
        let deleted = ids.iter().map(|id| running.store().delete(&delete, "thing", id));
        join_all(deleted).await.into_iter().for_each(|done| done.unwrap());
    }
    let administer = permit(Action::Administer);
    while running
        .store()
        .statistics(&administer)
        .await
        .unwrap()
        .awaiting_erasure
        > 0
    {
        tokio::task::yield_now().await;
    }
    let folder = system.folder().clone();
    let _place = system.stop().await;
    let lines = entries(&folder);
    let told = lines.iter().filter(|line| line["event"] == "shredded");
    let told: HashSet<_> = told.filter_map(|line| line["id"].as_str()).collect();
    let missing: Vec<_> = ids.iter().filter(|id| !told.contains(id.as_str())).collect();
    assert!(
        missing.is_empty(),
        "{} of {COUNT} are missing: {missing:?}",
        missing.len()
    );
    assert!(lines.iter().all(|line| line["event"] != "missed"));
}

/// All lines of the service's journal.
fn entries(folder: &DataFolder) -> Vec<Value> {
    let key = folder.root().join("control/service-journal-key");
    let key = SigningKey::load_or_create(&key, "strongroom.localhost/service").unwrap();
    let journal = Journal::open(&folder.logs().join("service-journal"), key).unwrap();
    let entries = journal.read(0, journal.size()).unwrap();
    let lines = entries.iter().map(|entry| serde_json::from_slice(entry));
    lines.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_stop_writes_what_is_told_last_and_signs_it() {
    let system = System::start().await.unwrap();
    system.upload("a.txt", b"content".to_vec()).await.unwrap();
    let status = json(&system, &["status", "--output", "json"]).await;
    let folder = system.folder().root().to_owned();
    let _place = system.stop().await;

    let lines = on_disk(&folder, "service");
    for event in ["\"last_use\"", "\"wiped\"", "\"stopped\""] {
        assert!(lines.contains(event), "{event} in {lines}");
    }
    for journal in status.get("journals").unwrap().as_array().unwrap() {
        let text = |name: &str| journal.get(name).unwrap().as_str().unwrap();
        let name = text("journal");
        let note = folder.join(format!("logs/{name}-journal/checkpoint"));
        let note = std::fs::read_to_string(note).unwrap();
        let checkpoint = VerifyingKey::parse(text("verifier_key"))
            .unwrap()
            .verify(&note)
            .unwrap();
        assert!(
            checkpoint.size >= journal.get("entries").unwrap().as_u64().unwrap(),
            "{name}"
        );
        let last = "\"time\":\"";
        let entries = on_disk(&folder, name)
            .matches(if name == "service" { "\"event\":" } else { last })
            .count();
        assert_eq!(checkpoint.size, entries as u64, "{name}");
    }
}

#[tokio::test]
async fn a_journal_that_lost_what_was_signed_keeps_the_program_from_starting() {
    let system = System::start().await.unwrap();
    let folder = system.folder().root().to_owned();
    let _place = system.stop().await;
    let head = folder.join("logs/service-journal/head");
    let mut damaged = std::fs::read(&head).unwrap();
    // The length of the first entry: all that follows would pass for a torn tail.
    damaged[..2].copy_from_slice(&[0, 0]);
    std::fs::write(&head, &damaged).unwrap();
    let refused = SystemOptions::over(&folder).unwrap().start().await;
    let said = refused.err().unwrap().to_string();
    assert!(said.contains("logs/service-journal"), "{said}");
    assert!(said.contains("entries were lost or removed"), "{said}");
    assert_eq!(
        std::fs::read(&head).unwrap(),
        damaged,
        "it is left as it was found"
    );
}
