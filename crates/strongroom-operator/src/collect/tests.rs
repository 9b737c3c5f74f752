use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::ask::Asker;
use crate::fact::{Outcome, Source};
use crate::facts::Facts;
use crate::question as word;
use crate::run::{Caller, Run};
use crate::testing::{Came, NOW_MS, Reply, SUBSCRIPTION, TOKEN, TestCloud, tight};

const VERSION: &str = "0123456789abcdef0123456789abcdef";

fn run(asker: &Asker) -> Run {
    Run {
        tool: "test".to_owned(),
        started_ms: NOW_MS,
        ended_ms: None,
        cloud: asker.cloud().name().to_owned(),
        tenant: "t".to_owned(),
        subscriptions: Vec::new(),
        scope: Vec::new(),
        caller: Caller {
            object_id: Some("me".to_owned()),
            application_id: None,
            credential: "client-secret".to_owned(),
        },
        clock: "still".to_owned(),
        sent: 0,
        repeated: 0,
        asked: Vec::new(),
    }
}

async fn collected(asker: &Asker, folder: &Path) -> Facts {
    let scope = Scope::default();
    let recorder = Recorder::begin(folder, run(asker), &scope).unwrap();
    collect(asker, &recorder, &scope).await.unwrap();
    recorder.finish(NOW_MS + 1, asker.tally().count()).unwrap()
}

fn of(facts: &Facts, question: &str) -> Vec<Fact> {
    let asked = facts
        .run()
        .asked
        .iter()
        .filter(|asked| asked.question == question);
    asked.map(|asked| facts.get(&asked.fact).unwrap()).collect()
}

fn account(number: usize, vault: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/a{number}"),
        "kind": "OpenAI",
        "identity": {"principalId": "33333333-3333-3333-3333-333333333333"},
        "properties": {"encryption": {"keySource": "Microsoft.KeyVault", "keyVaultProperties": {
            "keyVaultUri": vault, "keyName": "customer", "keyVersion": VERSION.to_uppercase()}}},
    })
}

/// A cloud with a few accounts that name one key.
fn orderly(came: &Came, vault: &str) -> Reply {
    if came.path == "/subscriptions" {
        return Reply::list(&[json!({"subscriptionId": SUBSCRIPTION, "state": "Enabled"})]);
    }
    let query = came.body["query"].as_str().unwrap_or_default();
    if query.contains("cognitiveservices/accounts") {
        return Reply::list(&[account(1, vault), account(2, vault)]);
    }
    if query.contains("keyvault/vaults") {
        let id =
            format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/v");
        return Reply::list(&[json!({"id": id, "properties": {"vaultUri": format!("{vault}/")}})]);
    }
    if query.contains("roleassignments") {
        let group = "44444444-4444-4444-4444-444444444444";
        return Reply::list(&[json!({"properties": {"principalId": group, "principalType": "Group"}})]);
    }
    Reply::list(&[])
}

async fn cloud_and_vault() -> (Arc<TestCloud>, String) {
    let cloud = TestCloud::start(|_| Reply::Hangs).await;
    let vault = cloud
        .url("v.vault.localhost", "")
        .as_str()
        .trim_end_matches('/')
        .to_owned();
    let named = vault.clone();
    cloud.now(move |came| orderly(came, &named));
    (cloud, vault)
}

#[tokio::test]
async fn everything_is_asked_once_and_everything_asked_is_kept() {
    let (cloud, vault) = cloud_and_vault().await;
    let place = tempfile::tempdir().unwrap();
    let asker = cloud.asker(tight()).await;
    let facts = collected(&asker, &place.path().join("facts")).await;
    let run = facts.run();
    assert_eq!(run.asked.len(), cloud.came().len());
    assert_eq!(run.subscriptions, [SUBSCRIPTION]);
    assert_eq!(run.ended_ms, Some(NOW_MS + 1));
    // Both accounts name one key: it is asked about once.
    let about = format!("{vault}/keys/customer");
    for (question, abouts) in [
        (word::KEY, vec![format!("{about}/{VERSION}")]),
        (word::KEY_VERSIONS, vec![about.clone()]),
        (word::ROTATION_POLICY, vec![about]),
        (word::DELETED_KEYS, vec![vault]),
        (
            word::GROUP_MEMBERS,
            vec!["44444444-4444-4444-4444-444444444444".to_owned()],
        ),
    ] {
        let asked = of(&facts, question).into_iter().filter_map(|fact| fact.about);
        assert_eq!(asked.collect::<Vec<_>>(), abouts, "{question}");
    }
    assert_eq!(of(&facts, word::DEPLOYMENTS).len(), 2);
    // Accounts, their vault, the subscription.
    assert_eq!(of(&facts, word::DIAGNOSTIC_SETTINGS).len(), 4);
    assert_eq!(facts.iter().count(), run.asked.len());
    let count = asker.tally().count();
    assert_eq!((count.planned, count.answered), (count.sent, count.sent));
    // Nobody is ever asked for keys or by anything but a read.
    for came in cloud.came() {
        assert!(!came.path.to_lowercase().contains("listkeys"), "{came:?}");
    }
    for file in std::fs::read_dir(place.path().join("facts/raw")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains(TOKEN) && !text.contains("the-secret"));
    }
}

#[tokio::test]
async fn a_vault_that_refuses_is_a_fact_and_resource_manager_is_asked_instead() {
    let (cloud, vault) = cloud_and_vault().await;
    cloud.now(move |came| match came.host.as_str() {
        "v.vault.localhost" => Reply::Json(
            403,
            json!({"error": {"code": "Forbidden", "innererror": {"code": "ForbiddenByFirewall"}}}),
        ),
        _ => orderly(came, &vault),
    });
    let place = tempfile::tempdir().unwrap();
    let facts = collected(&cloud.asker(tight()).await, place.path()).await;
    let refused = of(&facts, word::KEY);
    assert_eq!(refused[0].status(), Some(403));
    let Outcome::Answered { body, .. } = &refused[0].outcome else {
        panic!("{:?}", refused[0].outcome)
    };
    assert!(String::from_utf8_lossy(&body.0).contains("ForbiddenByFirewall"));
    let shown = of(&facts, word::KEY_IN_MANAGEMENT);
    assert!(
        shown[0].request.url.contains("/vaults/v/keys/customer?"),
        "{}",
        shown[0].request.url
    );
    assert_eq!(of(&facts, word::KEY_VERSIONS_IN_MANAGEMENT).len(), 1);
}

#[tokio::test]
async fn a_vault_elsewhere_and_an_impossible_key_are_facts_and_nothing_is_sent() {
    for (vault, name, part) in [
        ("https://elsewhere.example", "customer", "not one of the cloud's"),
        ("https://v.vault.localhost", "../secrets/x", "no key or version"),
        ("not a url", "customer", "no URL"),
    ] {
        let cloud = TestCloud::start(move |came| {
            let mut reply = orderly(came, vault);
            if let Reply::Json(_, value) = &mut reply
                && came.body["query"]
                    .as_str()
                    .unwrap_or_default()
                    .contains("accounts")
            {
                for row in value["data"].as_array_mut().unwrap() {
                    row["properties"]["encryption"]["keyVaultProperties"]["keyName"] = name.into();
                }
            }
            reply
        })
        .await;
        let place = tempfile::tempdir().unwrap();
        let facts = collected(&cloud.asker(tight()).await, place.path()).await;
        let key = &of(&facts, word::KEY)[0];
        let Outcome::Failed { failure, message } = &key.outcome else {
            panic!("{:?}", key.outcome)
        };
        assert_eq!(*failure, Failure::NotAsked);
        assert!(message.contains(part), "{message}");
        assert!(cloud.came().iter().all(|came| !came.path.starts_with("/keys")));
    }
}

#[tokio::test]
async fn lists_that_have_no_end_go_in_circles_or_lead_away_are_cut_and_say_so() {
    for (way, expected) in [
        ("on", Failure::NotAsked),
        ("circle", Failure::NotTheProtocol),
        ("away", Failure::NotAsked),
        ("number", Failure::NotTheProtocol),
        ("nonsense", Failure::NotTheProtocol),
    ] {
        let (cloud, vault) = cloud_and_vault().await;
        let count = AtomicUsize::new(0);
        let base = cloud.url("localhost", "/locks").to_string();
        let away = cloud.url("elsewhere.localhost", "/locks").to_string();
        cloud.now(move |came| {
            if !came.path.ends_with("/locks") {
                return orderly(came, &vault);
            }
            let next = match way {
                "on" => json!(format!("{base}?{}", count.fetch_add(1, Ordering::SeqCst))),
                "circle" => json!(format!("{base}?same")),
                "away" => json!(away),
                "number" => json!(7),
                _ => json!("::"),
            };
            Reply::Json(200, json!({"value": [], "nextLink": next}))
        });
        let place = tempfile::tempdir().unwrap();
        let facts = collected(&cloud.asker(tight()).await, place.path()).await;
        let pages = of(&facts, word::LOCKS);
        let failures: Vec<_> = pages
            .iter()
            .filter_map(|fact| match fact.outcome {
                Outcome::Failed { failure, .. } => Some(failure),
                Outcome::Answered { .. } => None,
            })
            .collect();
        assert_eq!(failures, [expected], "{way}");
        assert!(pages.len() <= tight().pages + 1, "{way}");
        assert!(cloud.came().iter().all(|came| came.host != "elsewhere.localhost"));
    }
}

#[tokio::test]
async fn pages_of_resource_graph_follow_one_another_by_their_token() {
    let (cloud, vault) = cloud_and_vault().await;
    let at = vault.clone();
    cloud.now(move |came| {
        let query = came.body["query"].as_str().unwrap_or_default();
        if !query.contains("cognitiveservices/accounts") {
            return orderly(came, &at);
        }
        match came.body["options"]["$skipToken"].as_str() {
            None => Reply::Json(200, json!({"data": [account(1, &at)], "$skipToken": "second"})),
            Some("second") => Reply::Json(200, json!({"data": [account(2, &at)]})),
            Some(_) => Reply::Json(400, json!({})),
        }
    });
    let place = tempfile::tempdir().unwrap();
    let facts = collected(&cloud.asker(tight()).await, place.path()).await;
    let pages = of(&facts, word::ACCOUNTS);
    assert_eq!(pages.len(), 2);
    assert!(
        pages
            .iter()
            .all(|fact| fact.source == Source::ResourceGraph && fact.status() == Some(200))
    );
    assert_eq!(of(&facts, word::DEPLOYMENTS).len(), 2);
}

#[tokio::test]
async fn an_interrupted_run_goes_on_and_asks_nothing_twice() {
    let (cloud, vault) = cloud_and_vault().await;
    let at = vault.clone();
    cloud.now(move |came| match came.host.as_str() {
        "v.vault.localhost" => Reply::Hangs,
        _ if came.path.ends_with("/locks") => Reply::Json(503, json!({})),
        _ => orderly(came, &at),
    });
    let place = tempfile::tempdir().unwrap();
    let asker = cloud.asker(tight()).await;
    let scope = Scope::default();
    let recorder = Recorder::begin(place.path(), run(&asker), &scope).unwrap();
    collect(&asker, &recorder, &scope).await.unwrap();
    // As a kill would leave it: no end, and a last line that was cut off.
    drop(recorder);
    let index = place.path().join("index.jsonl");
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, format!("{text}{{\"sent\":\"ab")).unwrap();
    let before = Facts::open(place.path()).unwrap();
    assert_eq!(before.run().ended_ms, None);
    let first = cloud.came().len();
    cloud.now(move |came| orderly(came, &vault));
    let facts = collected(&asker, place.path()).await;
    let again: Vec<Came> = cloud.came().split_off(first);
    assert!(
        again
            .iter()
            .all(|came| came.host == "v.vault.localhost" || came.path.ends_with("/locks")),
        "{again:?}"
    );
    assert!(facts.iter().all(|fact| fact.unwrap().status() == Some(200)));
    // What was superseded is gone, and nothing half-written is left.
    let files = std::fs::read_dir(place.path().join("raw")).unwrap().count();
    assert_eq!(files, facts.run().asked.len());
    assert!(!index.exists());
    // A run that has ended is not written over, and is as it was said to be.
    let ended = Recorder::begin(place.path(), run(&asker), &scope);
    assert!(matches!(ended, Err(RecorderError::Ended(_))));
    let id = facts.ids().remove(0);
    let path = place.path().join(format!("raw/{id}.json"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.push(b' ');
    std::fs::write(&path, bytes).unwrap();
    assert!(facts.get(&id).is_err());
}
