//! The operator's commands against a running instance, as a person runs them, with changes really made.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_testkit::{System, strongroom_command, strongroom_program};

const PATIENCE: Duration = Duration::from_secs(60);

async fn run(system: &System, arguments: &[&str]) -> Output {
    strongroom_command(system.folder().root(), arguments)
        .await
        .unwrap()
}

async fn json(system: &System, arguments: &[&str], code: i32) -> Value {
    let output = run(system, &[arguments, &["--output", "json"]].concat()).await;
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The program alone, with these variables and no others.
async fn bare(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::new(strongroom_program().unwrap());
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.envs(variables.iter().copied()).output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn account(system: &System, body: Value) {
    let (group, name) = (
        system.variable("STRONGROOM_RESOURCE_GROUP"),
        system.variable("STRONGROOM_ACCOUNT"),
    );
    let path = format!("/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{name}");
    let answer = system.manage(Method::PATCH, &path, Some(body)).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// What a shell of `strongroom shell` holds, but for who asks.
fn shell(system: &System) -> Vec<(String, String)> {
    let names = [
        "ARM_ENDPOINT",
        "AZURE_TENANT_ID",
        "AZURE_SUBSCRIPTION_ID",
        "SSL_CERT_FILE",
        "HTTPS_PROXY",
        "NO_PROXY",
    ];
    let value = |name: &str| (name.to_owned(), system.variable(name).to_owned());
    names.into_iter().map(value).collect()
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    let pairs = variables.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[tokio::test]
async fn whoami_tells_who_asks_and_what_that_one_may_read() {
    let system = System::start().await.unwrap();
    let who = json(&system, &["whoami"], 0).await;
    assert_eq!(who["cloud"], "Strongroom");
    assert_eq!(who["tenant"], system.variable("AZURE_TENANT_ID"));
    assert_eq!(who["credential"], "client-secret");
    assert_eq!(
        who["subscriptions"][0]["id"],
        system.variable("AZURE_SUBSCRIPTION_ID")
    );
    let reads = who["reads"].as_array().unwrap();
    assert!(reads.iter().all(|read| read["may"] == "yes"), "{who:#}");
    assert!(
        reads
            .iter()
            .any(|read| read["what"].as_str().unwrap().starts_with("keys of https://"))
    );
    // As in `strongroom shell`, through its proxy: somebody to whom nothing is granted.
    let create = [
        "principal",
        "create",
        "app",
        "--display-name",
        "stranger",
        "--with-secret",
    ];
    let made = json(&system, &create, 0).await;
    let made = |name: &str| made[name].as_str().unwrap().to_owned();
    let mut variables = shell(&system);
    variables.push(("AZURE_CLIENT_ID".to_owned(), made("appId")));
    variables.push(("AZURE_CLIENT_SECRET".to_owned(), made("password")));
    let variables = borrowed(&variables);
    let query = [
        "whoami",
        "-o",
        "tsv",
        "--query",
        "reads[?may=='no'].[what, status]",
    ];
    let told = bare(&query, &variables).await;
    assert!(told.status.success(), "{told:?}");
    assert!(text(&told.stdout).contains("locks of "), "{told:?}");
    assert!(
        text(&told.stdout).lines().all(|line| line.ends_with("\t403")),
        "{told:?}"
    );
    let secret = system.variable("AZURE_CLIENT_SECRET");
    assert!(!text(&told.stdout).contains(secret) && !text(&told.stderr).contains(secret));
}

/// The answer of one hop of the first account's chain.
fn hop(checked: &Value, name: &str) -> Value {
    let hops = checked["chains"][0]["hops"].as_array().unwrap().clone();
    let hop = hops.into_iter().find(|hop| hop["hop"] == name);
    hop.map(|hop| hop["answer"].clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_certificate_proves_who_asks_as_a_secret_does() {
    let system = System::start().await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(["client.example".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let file = place.path().join("client.pem");
    std::fs::write(&file, format!("{}{}", certificate.pem(), key.serialize_pem())).unwrap();
    let file = file.to_str().unwrap();
    let made = json(
        &system,
        &["principal", "create", "app", "--display-name", "certified"],
        0,
    )
    .await;
    let add = [
        "principal",
        "credential",
        "add",
        "certificate",
        "--id",
        "certified",
        "--file",
        file,
    ];
    json(&system, &add, 0).await;
    let mut variables = shell(&system);
    variables.push((
        "AZURE_CLIENT_ID".to_owned(),
        made[0]["appId"].as_str().unwrap().to_owned(),
    ));
    variables.push(("AZURE_CLIENT_CERTIFICATE_PATH".to_owned(), file.to_owned()));
    let told = bare(&["whoami", "-o", "json"], &borrowed(&variables)).await;
    assert!(told.status.success(), "{told:?}");
    let who: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(who["credential"], "client-certificate");
    assert_eq!(who["objectId"], made[0]["id"]);
    // Another file is told, and nobody is asked.
    std::fs::write(file, "nothing").unwrap();
    let wrong = bare(&["whoami"], &borrowed(&variables)).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("a certificate and its RSA key"),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn check_says_where_the_chain_breaks_and_ends_with_a_code_that_says_so() {
    let system = System::start().await.unwrap();
    let before = run(&system, &["check", "--fail-on", "none", "-o", "json"]).await;
    assert_eq!(before.status.code(), Some(0), "{before:?}");
    let before: Value = serde_json::from_slice(&before.stdout).unwrap();
    for name in ["key", "version", "identity", "grant"] {
        assert_eq!(hop(&before, name), "pass", "{name}: {:#}", before["chains"]);
    }
    system.disable_key().await.unwrap();
    let after = json(&system, &["check", "--fail-on", "critical"], 3).await;
    assert_eq!(hop(&after, "version"), "fail", "{:#}", after["chains"]);
    let table = run(&system, &["check", "--only-show-errors"]).await;
    assert_eq!(table.status.code(), Some(3));
    assert!(
        text(&table.stdout).contains("> version"),
        "{}",
        text(&table.stdout)
    );
    // One line: how it ended. Nothing else is said beside the data.
    assert_eq!(text(&table.stderr).lines().count(), 1, "{table:?}");
}

#[tokio::test]
async fn the_proof_of_use_is_read_from_the_vaults_own_log() {
    let system = System::start().await.unwrap();
    let path = format!(
        "/resourceGroups/{}/providers/Microsoft.KeyVault/vaults/{}/providers/Microsoft.Insights/diagnosticSettings/all",
        system.variable("STRONGROOM_RESOURCE_GROUP"),
        system.variable("STRONGROOM_VAULT")
    );
    let subscription = system.variable("AZURE_SUBSCRIPTION_ID");
    let sink = format!(
        "/subscriptions/{subscription}/resourceGroups/elsewhere/providers/Microsoft.Storage/storageAccounts/logs"
    );
    let setting = json!({"properties": {"storageAccountId": sink, "logs": [{"category": "AuditEvent", "enabled": true}]}});
    let answer = system.manage(Method::PUT, &path, Some(setting)).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    system.upload("a.txt", vec![1; 1000]).await.unwrap();
    // Logs are delivered when they are: until the unwrap is in them, its proof is missing and nothing else is said.
    let look = async {
        loop {
            let checked = json(&system, &["check", "--fail-on", "none"], 0).await;
            if hop(&checked, "use") == "pass" {
                return checked;
            }
        }
    };
    let checked = tokio::time::timeout(PATIENCE, look).await.unwrap();
    // The chain holds from the account to its proof of use.
    let hops = checked["chains"][0]["hops"].as_array().unwrap();
    assert!(hops.iter().all(|hop| hop["answer"] == "pass"), "{hops:#?}");
}

#[tokio::test]
async fn facts_that_were_collected_are_judged_again_without_asking_anybody() {
    let system = System::start().await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("facts");
    let folder = folder.to_str().unwrap();
    let first = json(&system, &["check", "--fail-on", "none", "--facts", folder], 0).await;
    system.disable_key().await.unwrap();
    let again = json(&system, &["check", "--fail-on", "none", "--facts", folder], 0).await;
    assert_eq!(first, again);
    assert_private(Path::new(folder));
    let index = std::fs::read_to_string(Path::new(folder).join("run.json")).unwrap();
    let index: Value = serde_json::from_str(&index).unwrap();
    let asked = index["asked"].as_array().unwrap();
    let settings = asked
        .iter()
        .filter(|asked| asked["question"] == "diagnostic-settings");
    let settings: Vec<&str> = settings.map(|asked| asked["about"].as_str().unwrap()).collect();
    let vault = format!("/vaults/{}", system.variable("STRONGROOM_VAULT"));
    assert!(
        settings.iter().any(|about| about.ends_with(&vault)),
        "{settings:?}"
    );
    for file in std::fs::read_dir(Path::new(folder).join("raw")).unwrap() {
        let fact = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for secret in ["AZURE_CLIENT_SECRET", "OPENAI_API_KEY"] {
            assert!(!fact.contains(system.variable(secret)), "{fact}");
        }
        let fact: Value = serde_json::from_str(&fact).unwrap();
        let sent = fact["request"].to_string().to_lowercase();
        assert!(!sent.contains("bearer") && !sent.contains("listkeys"), "{sent}");
    }
    // Damage is not judged.
    let facts = std::fs::read_dir(Path::new(folder).join("raw")).unwrap();
    let one = facts.into_iter().next().unwrap().unwrap().path();
    std::fs::write(&one, b"{}").unwrap();
    let damaged = run(&system, &["check", "--facts", folder]).await;
    assert_eq!(damaged.status.code(), Some(1));
    assert!(
        text(&damaged.stderr).contains("is not what was collected"),
        "{damaged:?}"
    );
}

fn assert_private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!(mode(&folder.join("raw")), 0);
    assert_eq!(mode(&folder.join("run.json")), 0);
}

#[tokio::test]
async fn a_design_is_written_from_what_is_live_and_drift_is_told() {
    let system = System::start().await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("strongroom.yaml");
    let file = file.to_str().unwrap();
    let written = run(&system, &["design", "init", "--to", file]).await;
    assert!(written.status.success(), "{written:?}");
    let design = std::fs::read_to_string(file).unwrap();
    assert!(design.contains(system.variable("STRONGROOM_KEY")), "{design}");
    assert!(
        design.contains("vault-network: public") && design.contains("soft-delete-days: 90"),
        "{design}"
    );
    // What somebody approved is not written over.
    assert_eq!(
        run(&system, &["design", "init", "--to", file])
            .await
            .status
            .code(),
        Some(1)
    );
    let same = run(&system, &["design", "diff", "--design", file]).await;
    assert!(same.status.success(), "{same:?}");
    account(
        &system,
        json!({"properties": {"networkAcls": {"defaultAction": "Deny", "ipRules": []}}}),
    )
    .await;
    let differences = json(&system, &["design", "diff", "--design", file], 5).await;
    assert_eq!(differences[0]["what"], "network", "{differences:#}");
    assert_eq!(
        (&differences[0]["approved"], &differences[0]["live"]),
        (&json!("public"), &json!("restricted"))
    );
    let checked = run(&system, &["check", "--design", file, "--fail-on", "none"]).await;
    assert!(checked.status.success(), "{checked:?}");
    // Faults of the file are told with their lines, before anybody is asked.
    std::fs::write(
        file,
        design.replace("identity: system", "identity: nobody") + "surprise: 1\n",
    )
    .unwrap();
    let wrong = run(&system, &["check", "--design", file]).await;
    assert_eq!(wrong.status.code(), Some(64));
    let told = text(&wrong.stderr);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(
        lines.iter().all(|line| line.contains("strongroom.yaml:")),
        "{told}"
    );
}

#[tokio::test]
async fn output_is_what_was_asked_for_and_nothing_else() {
    let system = System::start().await.unwrap();
    let yaml = run(
        &system,
        &[
            "whoami",
            "-o",
            "yaml",
            "--query",
            "{cloud: cloud, credential: credential}",
        ],
    )
    .await;
    assert_eq!(
        text(&yaml.stdout),
        "cloud: Strongroom\ncredential: client-secret\n"
    );
    let wrong = bare(&["whoami", "--query", "reads[?"], &[]).await;
    assert_eq!(wrong.status.code(), Some(2));
    for arguments in [["whoami", "-o", "xml"], ["check", "--fail-on", "awful"]] {
        assert_eq!(bare(&arguments, &[]).await.status.code(), Some(2));
    }
    let script = bare(&["completion", "bash"], &[]).await;
    assert!(text(&script.stdout).contains("whoami"), "{script:?}");
    let place = tempfile::tempdir().unwrap();
    let made = bare(&["man", "--to", place.path().to_str().unwrap()], &[]).await;
    assert!(made.status.success(), "{made:?}");
    let page = std::fs::read_to_string(place.path().join("strongroom-check.1")).unwrap();
    assert!(page.contains("strongroom check"), "{page}");
    // A cloud that cannot be asked.
    let elsewhere = [("ARM_ENDPOINT", "https://127.0.0.1:9"), ("HOME", "/nonexistent")];
    let silent = bare(&["whoami"], &elsewhere).await;
    assert_eq!(silent.status.code(), Some(1));
    assert!(
        text(&silent.stderr).contains("did not say what belongs to its cloud"),
        "{silent:?}"
    );
    assert!(silent.stdout.is_empty());
}
