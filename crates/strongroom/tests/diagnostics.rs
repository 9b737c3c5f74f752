//! Diagnostic settings of a running instance: what happens to vault, account and subscription arrives where the setting says.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_testkit::System;

/// Every record below a folder, by category and operation.
fn records(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            found.extend(records(&path));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // A line that is being written has no end yet.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let record: Value = serde_json::from_str(line).unwrap();
            let member = |name: &str| record.get(name).and_then(Value::as_str).unwrap().to_owned();
            found.push((member("category"), member("operationName")));
        }
    }
    found
}

async fn arrived(folder: &Path, category: &str, operation: &str) {
    let wanted = (category.to_owned(), operation.to_owned());
    let look = async {
        while !records(folder).contains(&wanted) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), look).await;
    assert!(waited.is_ok(), "{wanted:?} is not among {:?}", records(folder));
}

#[tokio::test]
async fn operations_key_states_requests_and_writes_arrive_by_category() {
    let system = System::start().await.unwrap();
    let token = system.token("https://management.azure.com").await.unwrap();
    let subscription = format!("/subscriptions/{}", system.variable("AZURE_SUBSCRIPTION_ID"));
    let group = format!(
        "{subscription}/resourceGroups/{}",
        system.variable("STRONGROOM_RESOURCE_GROUP")
    );
    let vault = format!(
        "{group}/providers/Microsoft.KeyVault/vaults/{}",
        system.variable("STRONGROOM_VAULT")
    );
    let account = format!(
        "{group}/providers/Microsoft.CognitiveServices/accounts/{}",
        system.variable("STRONGROOM_ACCOUNT")
    );
    let workspace = format!("{group}/providers/Microsoft.OperationalInsights/workspaces/logs");
    let arm = async |path: &str, body: Value| {
        let url = format!(
            "{}{path}?api-version=2021-05-01-preview",
            system.variable("ARM_ENDPOINT").trim_end_matches('/')
        );
        let request = system.client().request(Method::PUT, url).bearer_auth(&token);
        let answer = request.json(&body).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{path}: {}",
            answer.text().await.unwrap()
        );
    };
    for scope in [&vault, &account] {
        let setting = json!({"properties": {"workspaceId": workspace, "logs": [{"categoryGroup": "allLogs", "enabled": true}]}});
        arm(
            &format!("{scope}/providers/Microsoft.Insights/diagnosticSettings/all"),
            setting,
        )
        .await;
    }
    let activity = json!({"properties": {"workspaceId": workspace, "logs": [{"category": "Administrative", "enabled": true}]}});
    arm(
        &format!("{subscription}/providers/Microsoft.Insights/diagnosticSettings/all"),
        activity,
    )
    .await;

    let folder = system.folder().root().join("diagnostics");
    arm(
        &format!("{subscription}/resourceGroups/later"),
        json!({"location": "eastus"}),
    )
    .await;
    arrived(
        &folder,
        "Administrative",
        "Microsoft.Resources/subscriptions/resourceGroups/write",
    )
    .await;
    // By now the instance knows whose requests are asked for.
    system.chat("What is a lease?").await.unwrap();
    arrived(&folder, "RequestResponse", "POST /chat/completions").await;
    system.disable_key().await.unwrap();
    arrived(&folder, "AuditEvent", "KeyUpdate").await;
    arrived(&folder, "Audit", "wiped").await;
    system.stop().await.unwrap();
}
