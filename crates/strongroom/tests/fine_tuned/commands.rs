//! The same by the program's own commands, against the program in a process of its own.

use std::path::Path;

use serde_json::Value;
use strongroom_testkit::{Child, ChildOptions, strongroom_command};

use crate::rig::{Weights, chat, gone, workers_of};

async fn run(child: &Child, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = strongroom_command(child.folder().root(), arguments)
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code(),
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr,
    )
}

async fn fine(child: &Child, arguments: &[&str]) -> Value {
    let (code, said, stderr) = run(child, &[arguments, &["--output", "json"]].concat()).await;
    assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_brought_deployed_and_shredded_by_commands() {
    let folder = tempfile::tempdir().unwrap();
    let child = ChildOptions::new(folder.path()).start().await.unwrap();
    let file = folder.path().join("night.safetensors");
    std::fs::write(&file, Weights::new().bytes).unwrap();
    let shown = |path: &Path| path.to_str().unwrap().to_owned();
    let import = [
        "model",
        "import",
        "--base",
        "rehearsal",
        "--name",
        "night",
        &shown(&file),
    ];
    let model = fine(&child, &import).await[0]["id"].as_str().unwrap().to_owned();
    assert!(
        model.starts_with("ft:strongroom-rehearsal:main:night:"),
        "{model}"
    );
    let listed = fine(&child, &["model", "list"]).await;
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|known| known["id"] == *model)
    );
    assert_eq!(
        fine(&child, &["model", "show", "--name", &model]).await[0]["id"],
        *model
    );

    it_is_deployed_and_goes_on_without_the_key(&child, &model).await;

    let worker = *workers_of(child.id()).iter().next().unwrap();
    fine(&child, &["deployment", "delete", "--name", "own"]).await;
    gone(worker).await;
    fine(&child, &["key", "enable"]).await;
    let deleted = loop {
        let (code, said, stderr) =
            run(&child, &["model", "delete", "--name", &model, "--output", "json"]).await;
        if code == Some(0) {
            break said;
        }
        assert!(stderr.contains("customer_key_refused"), "{stderr}");
    };
    assert_eq!(deleted["deleted"], true);
    let (code, _, stderr) = run(&child, &["model", "show", "--name", &model]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("model_not_found"), "{stderr}");
    child.terminate().await.unwrap();
}

async fn it_is_deployed_and_goes_on_without_the_key(child: &Child, model: &str) {
    let create = ["deployment", "create", "--name", "own", "--model", model];
    let made = fine(child, &create).await;
    assert_eq!(made[0]["properties"]["provisioningState"], "Succeeded");
    assert_eq!(made[0]["properties"]["revocationPolicy"], "Shutdown");
    assert_eq!(chat(child, "own").await.0, 200);
    let update = [
        "deployment",
        "update",
        "--name",
        "own",
        "--revocation-policy",
        "prevent-new",
    ];
    assert_eq!(
        fine(child, &update).await[0]["properties"]["revocationPolicy"],
        "PreventNew"
    );
    fine(child, &["key", "disable"]).await;
    let (code, _, stderr) = run(
        child,
        &["deployment", "create", "--name", "two", "--model", model],
    )
    .await;
    assert_eq!(code, Some(77), "{stderr}");
    assert!(stderr.contains("customer_key_refused"), "{stderr}");
    // It goes on, and the status says so.
    assert_eq!(chat(child, "own").await.0, 200);
    let output = strongroom_command(child.folder().root(), &["status"])
        .await
        .unwrap();
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(status.contains("denied: residual"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_was_deleted_stays_away_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let child = ChildOptions::new(folder.path()).start().await.unwrap();
    let name = child.variable("STRONGROOM_DEPLOYMENT").to_owned();
    assert_eq!(chat(&child, &name).await.0, 200);
    fine(&child, &["deployment", "delete", "--name", &name]).await;
    assert_eq!(chat(&child, &name).await.0, 404);
    child.terminate().await.unwrap();
    let child = ChildOptions::new(folder.path()).start().await.unwrap();
    assert_eq!(chat(&child, &name).await.0, 404);
    let create = ["deployment", "create", "--name", &name, "--model", &name];
    fine(&child, &create).await;
    assert_eq!(chat(&child, &name).await.0, 200);
    child.terminate().await.unwrap();
}
