//! The three policies of revocation, measured against the bound, with requests in flight and without.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::rig::{
    Rig, Weights, about_model, chat, deployed, gone, import, is_there, manage, turn, until_answered,
    weight_events,
};
use crate::{BOUND, PATIENCE, SLACK};

/// A token stream that is under way; resolves to what came of it and when.
async fn stream(rig: &Rig, deployment: &str) -> tokio::task::JoinHandle<(bool, Instant)> {
    let body = json!({
        "model": deployment, "stream": true, "temperature": 2, "seed": 1, "max_tokens": 1000,
        "messages": [{"role": "user", "content": "Go on and on."}],
    });
    let answer = rig.api(Method::POST, "/chat/completions").json(&body);
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut pieces = answer.bytes_stream();
    pieces.next().await.unwrap().unwrap();
    tokio::spawn(async move {
        let mut is_whole = false;
        while let Some(Ok(piece)) = pieces.next().await {
            is_whole = piece.windows(6).any(|bytes| bytes == b"[DONE]");
        }
        (is_whole, Instant::now())
    })
}

async fn residual(rig: &Rig) -> Vec<(String, bool)> {
    let status = rig.status().await.unwrap();
    let rows = status["weights"].as_array().unwrap();
    let row = |row: &Value| {
        let name = row["deployment"].as_str().unwrap().to_owned();
        (name, row["residual"].as_bool().unwrap())
    };
    rows.iter().map(row).collect()
}

/// The process is gone a moment before its end is known.
async fn until_none_is_opened(rig: &Rig) {
    let none = timeout(PATIENCE, async {
        while !residual(rig).await.is_empty() {
            sleep(SLACK / 5).await;
        }
    });
    none.await.expect("the status must know of no opened weights");
}

async fn change(rig: &Rig, name: &str, policy: &str) {
    let body = json!({"properties": {"revocationPolicy": policy}});
    let (status, shown) = manage(rig, Method::PATCH, name, Some(body)).await;
    assert_eq!(
        (status, &shown["properties"]["revocationPolicy"]),
        (200, &json!(policy))
    );
}

fn events(rig: &Rig) -> Vec<String> {
    weight_events(rig)
        .into_iter()
        .map(|(event, answer)| format!("{event} {answer}"))
        .collect()
}

/// Waits until the journal says this.
async fn until_journalled(rig: &Rig, event: &str) {
    let told = timeout(PATIENCE, async {
        while !events(rig).iter().any(|known| known == event) {
            sleep(SLACK / 5).await;
        }
    });
    assert!(told.await.is_ok(), "{event} is not in {:?}", events(rig));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_answers_and_memory_within_the_bound() {
    let _turn = turn().await;
    let rig = Rig::start().await;
    let model = import(&rig, "night", &Weights::new().bytes).await;
    let worker = deployed(&rig, "own", &model, "Shutdown").await;
    assert_eq!(residual(&rig).await, [("own".to_owned(), false)]);
    let under_way = stream(&rig, "own").await;
    let lost = Instant::now();
    rig.disable_key().await.unwrap();
    gone(worker).await;
    assert!(
        lost.elapsed() <= BOUND + SLACK,
        "gone {:?} after the loss",
        lost.elapsed()
    );
    let (is_whole, ended) = under_way.await.unwrap();
    assert!(!is_whole && ended <= lost + BOUND + SLACK);
    assert_eq!(chat(&rig, "own").await, (403, "customer_key_refused".to_owned()));
    until_none_is_opened(&rig).await;
    until_journalled(&rig, "weights_gone refused").await;
    rig.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_in_memory_keep_the_vault_being_asked_though_nobody_asks_the_model() {
    let _turn = turn().await;
    let (system, vault) = strongroom_testkit::SystemOptions::new()
        .unwrap()
        .revocation_bound(BOUND)
        .start_with_failing_vault()
        .await
        .unwrap();
    let model = import(&system, "night", &Weights::new().bytes).await;
    let worker = deployed(&system, "own", &model, "Shutdown").await;
    // An idle account gives its lease up after a while; this one must not.
    sleep(BOUND * 3).await;
    assert!(is_there(worker));
    let lost = Instant::now();
    vault.answer(strongroom_testkit::Cue::Refused);
    gone(worker).await;
    assert!(
        lost.elapsed() <= BOUND + SLACK,
        "gone {:?} after the loss",
        lost.elapsed()
    );
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_lets_what_is_in_flight_finish_and_then_forgets() {
    let _turn = turn().await;
    let rig = Rig::start().await;
    let model = import(&rig, "night", &Weights::new().bytes).await;
    let worker = deployed(&rig, "own", &model, "Drain").await;
    let under_way = stream(&rig, "own").await;
    rig.disable_key().await.unwrap();
    let refused = timeout(BOUND + SLACK, async {
        while about_model(&rig, Method::GET, &model).await.0 == 200 {}
    });
    refused.await.expect("the loss is heard within the bound");
    // Nothing new, though the process is there, and at work.
    assert_eq!(chat(&rig, "own").await, (403, "customer_key_refused".to_owned()));
    assert!(is_there(worker) && !under_way.is_finished());
    let (is_whole, _) = under_way.await.unwrap();
    assert!(is_whole, "what was in flight is finished");
    let finished = Instant::now();
    gone(worker).await;
    assert!(
        finished.elapsed() <= BOUND + SLACK,
        "gone {:?} later",
        finished.elapsed()
    );
    until_journalled(&rig, "weights_gone refused").await;
    rig.enable_key().await.unwrap();
    until_answered(&rig, "own").await;
    rig.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prevent_new_goes_on_as_on_azure_and_is_reported_until_another_policy_ends_it() {
    let _turn = turn().await;
    let rig = Rig::start().await;
    let model = import(&rig, "night", &Weights::new().bytes).await;
    let worker = deployed(&rig, "own", &model, "PreventNew").await;
    let said = until_answered(&rig, "own").await;
    rig.disable_key().await.unwrap();
    until_journalled(&rig, "weights_residual refused").await;
    sleep(BOUND + SLACK).await;
    assert_eq!(chat(&rig, "own").await, (200, said));
    assert_eq!(residual(&rig).await, [("own".to_owned(), true)]);
    let wanted = crate::rig::wanted(&model, "PreventNew");
    let (status, told) = manage(&rig, Method::PUT, "new", Some(wanted)).await;
    assert_eq!(
        (status, &told["error"]["code"]),
        (403, &json!("customer_key_refused"))
    );

    // The policy counts at once, for what is in memory too.
    let changed = Instant::now();
    change(&rig, "own", "Shutdown").await;
    gone(worker).await;
    assert!(
        changed.elapsed() <= BOUND + SLACK,
        "gone {:?} later",
        changed.elapsed()
    );
    assert_eq!(chat(&rig, "own").await, (403, "customer_key_refused".to_owned()));
    until_none_is_opened(&rig).await;
    // Once it is gone it is a new one, whatever the policy.
    change(&rig, "own", "PreventNew").await;
    assert_eq!(chat(&rig, "own").await, (403, "customer_key_refused".to_owned()));
    rig.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_relaxed_in_time_lets_the_weights_stay() {
    let _turn = turn().await;
    let rig = Rig::start().await;
    let model = import(&rig, "night", &Weights::new().bytes).await;
    let worker = deployed(&rig, "own", &model, "Shutdown").await;
    change(&rig, "own", "PreventNew").await;
    rig.disable_key().await.unwrap();
    sleep(BOUND + SLACK + Duration::from_millis(100)).await;
    assert!(is_there(worker));
    assert_eq!(chat(&rig, "own").await.0, 200);
    rig.system.stop().await;
}
