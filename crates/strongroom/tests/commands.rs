//! The commands against a running instance, as a person runs them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Output;

use serde_json::Value;
use strongroom_testkit::{System, strongroom_command};

async fn run(system: &System, arguments: &[&str]) -> Output {
    strongroom_command(system.folder().root(), arguments)
        .await
        .unwrap()
}

async fn json(system: &System, arguments: &[&str]) -> Value {
    let output = run(system, &[arguments, &["--output", "json"]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn the_key_is_turned_off_and_on_and_rotated_in_the_vaults_own_protocol() {
    let system = System::start().await.unwrap();
    let listed = json(&system, &["key", "list"]).await;
    assert_eq!(listed[0]["enabled"], true);
    let rotated = json(&system, &["key", "rotate"]).await;
    assert_eq!(rotated.as_array().unwrap().len(), 2);
    let off = json(&system, &["key", "disable"]).await;
    assert!(
        off.as_array()
            .unwrap()
            .iter()
            .all(|version| version["enabled"] == false)
    );
    let version = listed[0]["version"].as_str().unwrap();
    let on = json(&system, &["key", "enable", "--key-version", version]).await;
    let enabled: Vec<_> = on
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["enabled"] == true)
        .collect();
    assert_eq!(enabled.len(), 1);
    assert_eq!(enabled[0]["version"], version);
    let unknown = run(&system, &["key", "enable", "--key-version", "../x"]).await;
    assert_eq!(unknown.status.code(), Some(64));
    // As of a variable that is not set.
    let empty = run(&system, &["key", "disable", "--key-version", ""]).await;
    assert_eq!(empty.status.code(), Some(64));
    assert_eq!(json(&system, &["key", "list"]).await, on);
}

#[tokio::test]
async fn status_shows_key_lease_and_what_is_sealed() {
    let system = System::start().await.unwrap();
    system.upload("a.txt", vec![1; 1000]).await.unwrap();
    let status = json(&system, &["status"]).await;
    assert_eq!(status["account"], system.variable("STRONGROOM_ACCOUNT"));
    assert_eq!(status["key"]["state"], "held");
    assert_eq!(status["key"]["last_answer"]["answer"], "yes");
    assert_eq!(status["key"]["revocation_bound_ms"], 10_000);
    assert_eq!(status["key"]["outage_grace_ms"], 300_000);
    assert_eq!(status["sealed"][0]["kind"], "file");
    assert_eq!(status["sealed"][0]["objects"], 1);
    assert_eq!(status["still_needed"][0]["objects"], 1);
    let table = run(&system, &["status"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    for line in [
        "Customer key",
        "Lease age",
        "Revocation bound   10.0 s",
        "Outage grace       300.0 s",
    ] {
        assert!(table.contains(line), "{table}");
    }
}

#[tokio::test]
async fn verify_opens_everything_and_says_when_the_key_does_not_let_it() {
    let system = System::start().await.unwrap();
    system.upload("a.txt", vec![1; 200_000]).await.unwrap();
    let report = json(&system, &["verify"]).await;
    assert_eq!(report["fault_count"], 0, "{report}");
    system.disable_key().await.unwrap();
    let refused = run(&system, &["verify"]).await;
    assert_eq!(refused.status.code(), Some(77), "{}", told(&refused));
    let blind = run(&system, &["verify", "--blind"]).await;
    assert!(blind.status.success(), "{}", told(&blind));
    system.delete_key().await.unwrap();
    let gone = run(&system, &["verify"]).await;
    assert_eq!(gone.status.code(), Some(77), "{}", told(&gone));
}

#[tokio::test]
async fn an_export_has_the_key_and_the_sealed_bytes_and_is_counted() {
    let system = System::start().await.unwrap();
    let file = system.upload("a.bin", vec![1; 200_000]).await.unwrap();
    let to = system.folder().root().with_extension("exported");
    let target = to.display().to_string();
    let exported = run(&system, &["export", "file", &file, "--to", &target]).await;
    assert!(exported.status.success(), "{}", told(&exported));
    let keyset: Value = serde_json::from_slice(&std::fs::read(to.join("keyset.json")).unwrap()).unwrap();
    assert!(keyset["primaryKeyId"].is_u64(), "{keyset}");
    assert!(std::fs::metadata(to.join("sealed.bin")).unwrap().len() > 200_000);
    assert!(std::fs::metadata(to.join("associated_data.bin")).unwrap().len() > 0);
    assert_eq!(json(&system, &["status"]).await["exports"], 1);

    let again = run(&system, &["export", "file", &file, "--to", &target]).await;
    assert_eq!(
        again.status.code(),
        Some(1),
        "a folder that exists is not written over"
    );
    let none = run(
        &system,
        &["export", "file", "file-none", "--to", &format!("{target}2")],
    )
    .await;
    assert_eq!(none.status.code(), Some(1));
    assert!(told(&none).contains("not_found"), "{}", told(&none));
    system.disable_key().await.unwrap();
    let refused = run(&system, &["export", "file", &file, "--to", &format!("{target}3")]).await;
    assert_eq!(refused.status.code(), Some(77), "{}", told(&refused));
    assert!(
        told(&refused).contains("customer_key_refused"),
        "{}",
        told(&refused)
    );
}

#[tokio::test]
async fn a_rekey_is_a_job_that_can_be_followed() {
    let system = System::start().await.unwrap();
    let file = system.upload("a.txt", b"kept".to_vec()).await.unwrap();
    let begun = json(&system, &["rekey"]).await;
    let done = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        loop {
            let jobs = json(&system, &["jobs"]).await;
            assert_eq!(jobs[0]["id"], begun["id"]);
            if jobs[0]["state"] == "done" {
                return;
            }
        }
    });
    done.await.unwrap();
    assert_eq!(json(&system, &["status"]).await["key"]["branch"], 2);
    // Followed, it is told of until it is over; it may be so already.
    assert!(run(&system, &["rekey"]).await.status.success());
    let followed = run(&system, &["jobs", "--follow"]).await;
    assert!(followed.status.success(), "{}", told(&followed));
    let lines = String::from_utf8_lossy(&followed.stdout).into_owned();
    assert!(
        lines.is_empty() || lines.trim_end().ends_with("done  2/2"),
        "{lines}"
    );
    let begun = begun["id"].as_str().unwrap();
    assert_eq!(
        json(&system, &["jobs", "--cancel", begun]).await["state"],
        "done",
        "what is over stays as it is"
    );
    let none = run(&system, &["jobs", "--cancel", "job-99"]).await;
    assert_eq!(none.status.code(), Some(1), "{}", told(&none));
    assert_eq!(system.download(&file).await.unwrap(), b"kept");
}

#[tokio::test]
async fn without_an_instance_commands_say_so_with_their_own_exit_code() {
    let place = tempfile::tempdir().unwrap();
    for arguments in [
        &["status"][..],
        &["key", "list"],
        &["env"],
        &["jobs"],
        &["verify"],
    ] {
        let output = strongroom_command(place.path(), arguments).await.unwrap();
        assert_eq!(output.status.code(), Some(69), "{arguments:?}");
        assert!(told(&output).contains("strongroom up"), "{}", told(&output));
    }
    let wrong = strongroom_command(place.path(), &["key", "melt"]).await.unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test]
async fn env_prints_what_a_shell_needs() {
    let system = System::start().await.unwrap();
    let printed = run(&system, &["env"]).await;
    let file = std::fs::read(system.folder().env_file()).unwrap();
    assert_eq!(printed.stdout, file);
}
