//! First start, second start, a second writer, the end.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use strongroom_testkit::{ChildOptions, System, SystemOptions, strongroom_command, strongroom_program};

const VARIABLES: [&str; 22] = [
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_API_KEY",
    "STRONGROOM_ACCOUNT",
    "STRONGROOM_RESOURCE_GROUP",
    "STRONGROOM_VAULT",
    "STRONGROOM_VAULT_URL",
    "STRONGROOM_KEY",
    "STRONGROOM_DEPLOYMENT",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_AUTHORITY_HOST",
    "ARM_ENDPOINT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "HTTPS_PROXY",
    "NO_PROXY",
    "AZURE_CONFIG_DIR",
];

#[tokio::test]
async fn the_first_start_makes_everything_and_closes_it_to_others() {
    let system = System::start().await.unwrap();
    for name in VARIABLES {
        assert!(!system.variable(name).is_empty(), "{name}");
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let root = system.folder().root();
    assert_eq!(mode(root), 0o700);
    for secret in ["env", "tls/ca.key"] {
        assert_eq!(mode(&root.join(secret)), 0o600, "{secret}");
    }
    let ready = format!("http://127.0.0.1:{}/readyz", system.http_port());
    assert_eq!(system.client().get(ready).send().await.unwrap().status(), 200);
    let metrics = format!("http://127.0.0.1:{}/metrics", system.http_port());
    let metrics = system
        .client()
        .get(metrics)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for name in [
        "strongroom_service_received_bytes",
        "strongroom_key_held 0",
        "strongroom_lease_age_seconds 0",
    ] {
        assert!(metrics.contains(name), "{metrics}");
    }
}

#[tokio::test]
async fn the_second_start_finds_everything() {
    let system = System::start().await.unwrap();
    let file = system
        .upload("kept.txt", b"kept over a restart".to_vec())
        .await
        .unwrap();
    let before: Vec<String> = [
        "OPENAI_API_KEY",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
        "STRONGROOM_VAULT",
    ]
    .map(|name| system.variable(name).to_owned())
    .to_vec();
    let root = system.folder().root().to_owned();
    let place = system.stop().await;
    let system = SystemOptions::over(&root).unwrap().start().await.unwrap();
    let after: Vec<String> = [
        "OPENAI_API_KEY",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
        "STRONGROOM_VAULT",
    ]
    .map(|name| system.variable(name).to_owned())
    .to_vec();
    assert_eq!(before, after);
    assert_eq!(system.download(&file).await.unwrap(), b"kept over a restart");
    drop(place);
}

#[tokio::test]
async fn a_second_writer_on_one_folder_is_refused_with_its_own_exit_code() {
    let place = tempfile::tempdir().unwrap();
    let first = ChildOptions::new(place.path()).start().await.unwrap();
    let mut second = ChildOptions::new(place.path()).command().unwrap();
    let second = second.stderr(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("another instance runs on"), "{message}");
    assert!(
        first
            .upload("after.txt", b"the first is not disturbed".to_vec())
            .await
            .is_ok()
    );
    let ended = first.terminate().await.unwrap();
    assert_eq!(ended.code(), Some(0), "a clean shutdown");
}

#[tokio::test]
async fn a_killed_instance_is_found_whole_by_the_next() {
    let place = tempfile::tempdir().unwrap();
    let first = ChildOptions::new(place.path()).start().await.unwrap();
    let file = first.upload("kept.txt", b"acknowledged".to_vec()).await.unwrap();
    first.kill().unwrap();
    let second = ChildOptions::new(place.path()).start().await.unwrap();
    assert_eq!(second.download(&file).await.unwrap(), b"acknowledged");
}

#[tokio::test]
async fn a_folder_that_lost_its_records_is_refused_and_its_blobs_are_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let first = ChildOptions::new(place.path()).start().await.unwrap();
    let file = first.upload("kept.bin", vec![7; 300_000]).await.unwrap();
    first.terminate().await.unwrap();
    let (records, aside) = (
        place.path().join("service/records.db"),
        place.path().join("records.aside"),
    );
    std::fs::rename(&records, &aside).unwrap();
    let mut second = ChildOptions::new(place.path()).command().unwrap();
    let second = second.stderr(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("records.db is missing or empty"), "{message}");
    std::fs::rename(&aside, &records).unwrap();
    let third = ChildOptions::new(place.path()).start().await.unwrap();
    assert_eq!(third.download(&file).await.unwrap(), vec![7; 300_000]);
}

#[tokio::test]
async fn an_activity_log_that_was_changed_is_found_at_the_next_start_and_nothing_runs_on_it() {
    let place = tempfile::tempdir().unwrap();
    let first = ChildOptions::new(place.path()).start().await.unwrap();
    let made = strongroom_command(place.path(), &["vault", "create", "--name", "on-record"]).await;
    assert!(made.unwrap().status.success());
    first.terminate().await.unwrap();
    // Somebody makes a write look like one that was never done.
    let log = place.path().join("logs/control-journal/head");
    let whole = std::fs::read(&log).unwrap();
    let at = whole.windows(9).rposition(|text| text == b"Succeeded").unwrap();
    let mut changed = whole.clone();
    changed[at..at + 9].copy_from_slice(b"Cancelled");
    std::fs::write(&log, changed).unwrap();
    let mut second = ChildOptions::new(place.path()).command().unwrap();
    let second = second.stderr(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("checkpoint"), "{message}");
    std::fs::write(&log, whole).unwrap();
    ChildOptions::new(place.path()).start().await.unwrap();
}

#[test]
fn wrong_settings_are_reported_together_with_exit_code_64() {
    let place = tempfile::tempdir().unwrap();
    let outcome = Command::new(strongroom_program().unwrap())
        .args([
            "up",
            "--revocation-bound",
            "2h",
            "--outage-grace",
            "48h",
            "--upstream",
            "nowhere",
            "--data",
        ])
        .arg(place.path())
        .output()
        .unwrap();
    assert_eq!(outcome.status.code(), Some(64));
    let report = String::from_utf8(outcome.stderr).unwrap();
    for setting in ["--revocation-bound", "--outage-grace", "--upstream"] {
        assert!(report.contains(setting), "{report}");
    }
}
