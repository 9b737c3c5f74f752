//! The operator over 10,000 accounts of a running instance: how many calls it makes of those that the published limits force, how
//! long it takes, and how much memory.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a bench stops at the first thing that is wrong, prints its lines and measures time"
)]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use strongroom_testkit::{SystemOptions, strongroom_program};
use uuid::Uuid;

const ACCOUNTS: u64 = 10_000;
/// Rows of one page of Resource Graph, and ids of one look-up of Microsoft Graph.
const ROWS: u64 = 1_000;
const WATCH: Duration = Duration::from_millis(50);

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let system = SystemOptions::over(&data).unwrap().start().await.unwrap();
    system.stop().await;
    fill(&data.join("control/control.db"));
    let system = SystemOptions::over(&data).unwrap().start().await.unwrap();
    let facts = place.path().join("facts");
    let (took, peak) = watched("design", &["init"], &data, &facts).await;
    let run: Value = serde_json::from_slice(&std::fs::read(facts.join("run.json")).unwrap()).unwrap();
    let sent = run["sent"].as_u64().unwrap();
    let forced = forced(&run);
    line("operator: calls for 10,000 accounts", sent as f64, "", None);
    line(
        "operator: calls, of those that the limits force",
        sent as f64 / forced as f64,
        "x",
        Some(1.2),
    );
    line(
        "operator: calls that were repeated",
        run["repeated"].as_f64().unwrap(),
        "",
        None,
    );
    line(
        "operator: collecting and comparing 10,000 accounts",
        took,
        "s",
        None,
    );
    line("operator: peak memory, collecting", peak, "MiB", Some(512.0));
    drop(system);
    // From the facts alone: the instance is gone.
    let judge = ["--fail-on", "none", "--output", "json"];
    let (took, peak) = watched("check", &judge, &data, &facts).await;
    line("operator: judging 10,000 accounts", took, "s", None);
    line("operator: peak memory, judging", peak, "MiB", None);
}

/// Runs a command of the operator: how long it takes, in seconds, and its most memory, in MiB.
async fn watched(command: &str, arguments: &[&str], data: &Path, facts: &Path) -> (f64, f64) {
    let begun = Instant::now();
    let mut child = tokio::process::Command::new(strongroom_program().unwrap())
        .arg(command)
        .args(arguments)
        .args(["--only-show-errors", "--data"])
        .arg(data)
        .arg("--facts")
        .arg(facts)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let mut peak = 0.0_f64;
    loop {
        peak = peak.max(high_water(&status));
        tokio::select! {
            ended = child.wait() => {
                assert!(ended.unwrap().success());
                return (begun.elapsed().as_secs_f64(), peak);
            }
            () = tokio::time::sleep(WATCH) => {}
        }
    }
}

/// The most memory that a process has had, in MiB.
fn high_water(status: &str) -> f64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// The fewest calls that tell as much: full pages where there are pages, one call for each list that only Resource Manager or a vault
/// has.
fn forced(run: &Value) -> u64 {
    let asked = run["asked"].as_array().unwrap();
    let count = |word: &str| asked.iter().filter(|asked| asked["question"] == word).count() as u64;
    // One account more: the one that every instance has.
    let accounts = ACCOUNTS + 1;
    assert_eq!(count("deployments"), accounts);
    let below_accounts = accounts * 2;
    let pages = accounts.div_ceil(ROWS) + accounts.div_ceil(ROWS);
    let others = [
        "accounts",
        "principals",
        "deployments",
        "diagnostic-settings",
        // Read on this machine.
        "key-use",
        "stored-bytes",
    ];
    let rest = asked
        .iter()
        .filter(|asked| !others.iter().any(|word| asked["question"] == *word));
    // Where the vault's and the subscription's own logs go.
    below_accounts + pages + rest.count() as u64 + 2
}

/// As many documents as accounts have, in one transaction: one at a time they would take minutes.
fn fill(database: &Path) {
    let mut database = rusqlite::Connection::open(database).unwrap();
    let template: String = database
        .query_row(
            "SELECT json FROM document WHERE kind = 'account' LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let template: Value = serde_json::from_str(&template).unwrap();
    let transaction = database.transaction().unwrap();
    let put = |kind: &str, name: &str, document: Value| {
        let row = (kind, name, document.to_string());
        transaction
            .execute("INSERT INTO document (kind, name, json) VALUES (?1, ?2, ?3)", row)
            .unwrap();
    };
    for number in 0..ACCOUNTS {
        let (identity, name) = (Uuid::new_v4(), format!("a{number}"));
        let mut account = template.clone();
        account["id"] = json!(Uuid::new_v4());
        account["name"] = json!(name);
        account["identity"] = json!(identity);
        let text = |name: &str| account[name].as_str().unwrap().to_owned();
        let (subscription, group) = (text("subscription"), text("resource_group"));
        let resource = format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{name}"
        );
        put("account", &name, account);
        let principal = json!({
            "object_id": identity, "display_name": name, "created": 1, "kind": "ManagedIdentity",
            "client_id": Uuid::new_v4(), "resource": resource,
        });
        put("principal", &identity.to_string(), principal);
    }
    transaction.commit().unwrap();
}

fn line(name: &str, value: f64, unit: &str, goal: Option<f64>) {
    println!(
        "{}",
        json!({"name": name, "value": value, "unit": unit, "goal": goal, "better": "lower"})
    );
}
