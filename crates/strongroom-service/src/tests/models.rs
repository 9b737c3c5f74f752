//! Fine-tuned models: brought, listed, found, deleted.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Method;
use serde_json::Value;
use strongroom_models::{BuiltInConfig, ModelSource};
use strongroom_seal::NoAnswer;

use super::rig::{FORM, READER, Rig, Said, form, said};
use crate::{RevocationPolicy, ServiceJournal, TunedDeployment, TunedParts};

/// A file of one small tensor.
fn weights() -> Vec<u8> {
    let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let length = u64::try_from(header.len()).unwrap().to_le_bytes();
    [&length[..], header, &[1; 8]].concat()
}

async fn import(rig: &Rig, fields: &[(&str, Option<&str>, &[u8])]) -> Said {
    let headers = [("content-type", FORM)];
    let body = form(fields).into();
    said(rig.send(Method::POST, "/openai/v1/models", body, &headers).await).await
}

async fn imported(rig: &Rig, suffix: &str) -> String {
    let answer = import(
        rig,
        &[
            ("file", Some("model.safetensors"), &weights()),
            ("base_model", None, b"strongroom-rehearsal"),
            ("suffix", None, suffix.as_bytes()),
        ],
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn ids(answer: &Said) -> Vec<String> {
    let answer = answer.json();
    let data = answer["data"].as_array().unwrap();
    data.iter()
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_model_that_was_brought_is_listed_found_and_deleted_in_both_forms() {
    let rig = Rig::new().await;
    let (one, other) = (imported(&rig, "night-shift").await, imported(&rig, "day").await);
    assert!(
        one.starts_with("ft:strongroom-rehearsal:contoso:night-shift:"),
        "{one}"
    );
    let listed = rig.get("/openai/v1/models").await;
    assert_eq!(
        ids(&listed),
        ["drains", "goes-on", "tiny", &other, &one].map(str::to_owned)
    );
    let found = rig.get(&format!("/openai/v1/models/{one}")).await.json();
    assert_eq!(found["object"], "model");
    assert_eq!(found["owned_by"], "contoso");
    let azure = rig
        .get(&format!("/openai/models/{one}?api-version=2024-10-21"))
        .await
        .json();
    assert_eq!(azure["model"], "strongroom-rehearsal");
    assert_eq!(azure["fine_tune"], Value::Null);
    let deleted = rig.delete(&format!("/openai/v1/models/{one}")).await.json();
    assert_eq!(deleted["deleted"], true);
    let (status, code, _) = rig.get(&format!("/openai/v1/models/{one}")).await.error();
    assert_eq!((status, code.as_str()), (404, "model_not_found"));
    assert!(!ids(&rig.get("/openai/v1/models").await).contains(&one));
}

#[tokio::test]
async fn a_name_counts_as_a_whole() {
    let rig = Rig::new().await;
    let name = imported(&rig, "night").await;
    for wrong in [
        name.replace("night", "day"),
        format!("{name}:ckpt-step-1"),
        name.to_uppercase(),
    ] {
        let (status, ..) = rig.get(&format!("/openai/v1/models/{wrong}")).await.error();
        assert_eq!(status, 404, "{wrong}");
        let (status, ..) = rig.delete(&format!("/openai/v1/models/{wrong}")).await.error();
        assert_eq!(status, 404, "{wrong}");
    }
    let (status, code, _) = rig.delete("/openai/v1/models/tiny").await.error();
    assert_eq!((status, code.as_str()), (400, "model_not_fine_tuned"));
}

#[tokio::test]
async fn what_are_no_weights_or_not_for_a_model_here_is_refused_and_nothing_is_kept() {
    let rig = Rig::new().await;
    let (whole, base) = (weights(), b"strongroom-rehearsal".as_slice());
    let cut = whole.get(..whole.len() - 1).unwrap();
    for (fields, code, param) in [
        (
            vec![("file", Some("w"), cut), ("base_model", None, base)],
            "invalid_weights",
            "file",
        ),
        (
            vec![
                ("file", Some("w"), b"PK\x03\x04 a zip"),
                ("base_model", None, base),
            ],
            "invalid_weights",
            "file",
        ),
        (
            vec![("file", Some("w"), &whole), ("base_model", None, b"gpt-9")],
            "invalid_value",
            "base_model",
        ),
        (
            vec![("file", Some("w"), &whole)],
            "missing_required_parameter",
            "base_model",
        ),
        (
            vec![("base_model", None, base)],
            "missing_required_parameter",
            "file",
        ),
        (
            vec![
                ("file", Some("w"), &whole),
                ("base_model", None, base),
                ("suffix", None, b"a:b"),
            ],
            "invalid_value",
            "suffix",
        ),
        (vec![("weights", Some("w"), &whole)], "unknown_parameter", "form"),
    ] {
        let (status, found, at) = import(&rig, &fields).await.error();
        assert_eq!((status, found.as_str(), at.as_deref()), (400, code, Some(param)));
    }
    assert_eq!(ids(&rig.get("/openai/v1/models").await).len(), 3);
}

#[tokio::test]
async fn without_the_key_no_model_is_seen_brought_or_deleted_and_with_it_all_is_as_before() {
    let rig = Rig::new().await;
    let name = imported(&rig, "night").await;
    rig.turn_key_off(NoAnswer::Refused).await;
    for path in [
        "/openai/v1/models".to_owned(),
        format!("/openai/v1/models/{name}"),
    ] {
        assert_eq!(rig.get(&path).await.error().1, "customer_key_refused");
    }
    let deleted = rig.delete(&format!("/openai/v1/models/{name}")).await;
    assert_eq!(deleted.error().1, "customer_key_refused");
    let again = import(&rig, &[("file", Some("w"), &weights())]).await;
    assert_eq!(again.error().1, "customer_key_refused");
    rig.turn_key_on().await;
    assert_eq!(rig.get(&format!("/openai/v1/models/{name}")).await.status, 200);
}

#[tokio::test]
async fn whoever_may_only_see_models_neither_brings_nor_deletes_one() {
    let rig = Rig::new().await;
    let name = imported(&rig, "night").await;
    let headers = [("api-key", READER), ("content-type", FORM)];
    let (one, all) = (format!("/openai/v1/models/{name}"), "/openai/v1/models");
    let seen = said(rig.send(Method::GET, all, Body::empty(), &headers).await).await;
    assert!(ids(&seen).contains(&name));
    for (method, path) in [(Method::POST, all), (Method::DELETE, one.as_str())] {
        let answer = said(rig.send(method, path, Body::empty(), &headers).await).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
}

#[tokio::test]
async fn whoever_still_holds_a_deployment_that_is_gone_opens_its_weights_no_more() {
    let rig = Rig::new().await;
    let name = imported(&rig, "night").await;
    let parts = TunedParts {
        store: rig.store.clone(),
        permits: rig.permits.clone(),
        journal: Arc::clone(&rig.journal) as Arc<dyn ServiceJournal>,
        now: Arc::new(Duration::default),
    };
    // It waits for what it is told, as a worker does, and is told nothing.
    let worker = BuiltInConfig {
        model: ModelSource::Rehearsal,
        worker_program: "/bin/cat".into(),
        worker_args: Vec::new(),
    };
    let made = (0, RevocationPolicy::PreventNew);
    let deployment = TunedDeployment::new(parts, worker, rig.account, "night", &name, made).unwrap();
    let held = deployment.clone();
    deployment.close();
    let error = held.load().await.unwrap_err();
    assert_eq!(error.reason, "the deployment is gone");
    assert!(error.withheld.is_some());
}
