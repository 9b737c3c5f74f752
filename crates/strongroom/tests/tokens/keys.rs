//! The keys that sign our own tokens, at the running system.

use reqwest::Method;
use serde_json::Value;
use strongroom_testkit::{Child, ChildOptions, Instance, System, strongroom_command};

use crate::entra::{MANAGEMENT, SERVICE, VAULT, planes};

async fn listed(instance: &Instance) -> Vec<(String, String)> {
    let answer = instance.admin(Method::GET, "token-keys", None).await.unwrap();
    let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    answer["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (text(&key["id"]), text(&key["state"])))
        .collect()
}

fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap());
    let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// The administrator's tokens for the three planes.
async fn tokens(system: &System) -> [String; 3] {
    let mut tokens = [const { String::new() }; 3];
    for (token, audience) in tokens.iter_mut().zip([VAULT, MANAGEMENT, SERVICE]) {
        *token = system.token(audience).await.unwrap();
    }
    tokens
}

#[tokio::test]
async fn a_rotation_reaches_every_plane_without_a_restart_and_breaks_no_token() {
    let system = System::start().await.unwrap();
    let old = tokens(&system).await;
    let rotated = strongroom_command(system.folder().root(), &["token-key", "rotate"])
        .await
        .unwrap();
    assert!(rotated.status.success(), "{rotated:?}");
    let new = tokens(&system).await;
    assert_ne!(kid(&old[0]), kid(&new[0]));
    for tokens in [&old, &new] {
        let [vault, management, service] = tokens;
        assert_eq!(planes(&system, [vault, management, service]).await, [200; 3]);
    }
    let states: Vec<_> = listed(&system)
        .await
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(states, ["retired", "active", "next"]);
    // The service, which holds a token of the old key, goes on.
    system.upload("a.txt", vec![1; 100]).await.unwrap();
}

#[tokio::test]
async fn kill_9_in_the_middle_of_rotations_loses_no_key_that_signed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    let mut tokens: Vec<String> = Vec::new();
    for round in 0..3_u64 {
        let child = ChildOptions::new(&folder).start().await.unwrap();
        check(&child, &tokens).await;
        tokens.push(child.token(VAULT).await.unwrap());
        let client = Instance::at(child.folder()).unwrap();
        // Rotations follow one another until the process is gone; it is struck after as many answers as the round has.
        let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
        let rotating = tokio::spawn(async move {
            while let Ok(answer) = client.admin(Method::POST, "token-keys/rotate", None).await {
                if answered.send(answer.status().is_success()).is_err() || !answer.status().is_success() {
                    return;
                }
            }
        });
        for _ in 0..=round {
            assert_eq!(answers.recv().await, Some(true));
        }
        tokens.push(child.token(VAULT).await.unwrap());
        child.strike().unwrap();
        child.kill().unwrap();
        rotating.await.unwrap();
    }
    let child = ChildOptions::new(&folder).start().await.unwrap();
    check(&child, &tokens).await;
    let states: Vec<_> = listed(&child).await.into_iter().map(|(_, state)| state).collect();
    for single in ["active", "next"] {
        assert_eq!(
            states.iter().filter(|state| *state == single).count(),
            1,
            "{states:?}"
        );
    }
    let files = std::fs::read_dir(child.folder().root().join("control/token-keys")).unwrap();
    assert_eq!(files.count(), 2);
}

/// Every key that signed a token that was given out is still published. The issuer's name has the port, which is another one after
/// each start here, so the tokens themselves cannot be shown again.
async fn check(child: &Child, tokens: &[String]) {
    let url = format!(
        "{}/{}/discovery/v2.0/keys",
        child.variable("AZURE_AUTHORITY_HOST"),
        child.variable("AZURE_TENANT_ID")
    );
    let published: Value = child
        .client()
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let published = published["keys"].as_array().unwrap();
    for token in tokens {
        assert!(
            published.iter().any(|key| key["kid"] == kid(token)),
            "{published:?}"
        );
    }
}
