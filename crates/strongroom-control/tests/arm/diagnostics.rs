use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use strongroom_control::{BuiltInRole, LogSink, LogSinks};
use strongroom_journal::{Journal, SigningKey};
use tokio::sync::mpsc;

use crate::rig::{Rig, Told};

fn workspace(rig: &Rig) -> String {
    format!(
        "{}/resourceGroups/ops/providers/Microsoft.OperationalInsights/workspaces/Logs",
        rig.subscription
    )
}

/// A vault, its journal, and delivery to a folder.
struct Site {
    rig: Rig,
    vault: String,
    journal: Journal,
    sinks: LogSinks,
    delivery: tokio::task::JoinHandle<()>,
}

fn open(folder: &Path, name: &str) -> Journal {
    let key =
        SigningKey::load_or_create(&folder.join(format!("{name}-key")), "strongroom.localhost/x").unwrap();
    Journal::open(&folder.join(name), key).unwrap()
}

impl Site {
    async fn new(sink: Option<LogSink>) -> Self {
        let rig = Rig::new().await;
        rig.group("rg").await;
        let vault = rig.control.ensure_vault("kv1", "rg").unwrap().to_string();
        rig.control.ensure_vault("kv2", "rg").unwrap();
        let named = sink.map(|sink| (workspace(&rig).to_ascii_lowercase(), sink));
        let sinks = LogSinks {
            folder: rig.place.path().join("diagnostics"),
            named: named.into_iter().collect(),
        };
        Self::over(rig, vault, sinks).await
    }

    async fn over(rig: Rig, vault: String, sinks: LogSinks) -> Self {
        let journal = open(rig.place.path(), "vault-journal");
        let service = open(rig.place.path(), "service-journal");
        let deliver = rig
            .arm
            .clone()
            .deliver_logs(journal.clone(), service, sinks.clone());
        let delivery = tokio::spawn(deliver);
        // Once it is polled it knows its journals.
        tokio::task::yield_now().await;
        Self {
            rig,
            vault,
            journal,
            sinks,
            delivery,
        }
    }

    /// A stop and a start. What is journalled in between nobody delivers yet.
    async fn again(self, between: &[&str]) -> Self {
        let Self {
            rig,
            vault,
            journal,
            sinks,
            delivery,
        } = self;
        delivery.abort();
        let _ = delivery.await;
        for operation in between {
            note(&journal, &vault, operation).await;
        }
        drop(journal);
        Self::over(rig.again().await, vault, sinks).await
    }

    async fn set(&self, name: &str, properties: Value) -> Told {
        let path = format!(
            "{}/providers/Microsoft.Insights/diagnosticSettings/{name}",
            self.vault
        );
        self.rig.put(&path, json!({ "properties": properties })).await
    }

    fn audit(&self) -> Value {
        json!({"workspaceId": workspace(&self.rig), "logs": [{"categoryGroup": "audit", "enabled": true}]})
    }

    async fn note(&self, operation: &str) {
        note(&self.journal, &self.vault, operation).await;
    }

    /// The operations that arrived in the folder, each once, as soon as `last` is there. What was under way at a stop may be there
    /// twice.
    async fn delivered(&self, last: &str) -> Vec<String> {
        let folder = self.sinks.folder.clone();
        let look = async move {
            loop {
                let mut found: Vec<String> = Vec::new();
                for path in walk(&folder) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    // A line that is being written has no end yet.
                    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                        let record: Value = serde_json::from_str(line).unwrap();
                        let operation = record["operationName"].as_str().unwrap().to_owned();
                        if !found.contains(&operation) {
                            found.push(operation);
                        }
                    }
                }
                if found.iter().any(|operation| operation == last) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), look).await.unwrap()
    }
}

async fn note(journal: &Journal, vault: &str, operation: &str) {
    let event = json!({
        "time": "2026-11-25T12:34:56.7890000Z", "resourceId": vault.to_ascii_uppercase(), "operationName": operation,
        "category": "AuditEvent", "resultType": "Success",
    });
    let receipt = journal.append(event.to_string().into_bytes()).unwrap();
    receipt.durable().await.unwrap();
}

#[tokio::test]
async fn audit_events_of_a_vault_arrive_in_order_also_those_of_a_pause() {
    let site = Site::new(None).await;
    site.note("BeforeTheSetting").await;
    let made = site.set("audit", site.audit()).await;
    assert_eq!(made.status, 200, "{}", made.body);
    site.note("KeyGet").await;
    note(
        &site.journal,
        &site.vault.replace("kv1", "kv2"),
        "KeyOfAnotherVault",
    )
    .await;
    site.note("KeyUnwrap").await;
    assert_eq!(site.delivered("KeyUnwrap").await, ["KeyGet", "KeyUnwrap"]);
    let site = site.again(&["KeyWrap", "KeySign"]).await;
    site.note("KeyVerify").await;
    assert_eq!(
        site.delivered("KeyVerify").await,
        ["KeyGet", "KeyUnwrap", "KeyWrap", "KeySign", "KeyVerify"]
    );
    let [file] = &walk(&site.sinks.folder)[..] else {
        panic!("one file for one hour")
    };
    let inside = format!(
        "insights-logs-auditevent/resourceId={}/y=2026/m=11/d=25/h=12/m=00/PT1H.json",
        site.vault.to_ascii_uppercase()
    );
    let folder = file.to_str().unwrap().strip_suffix(&inside).unwrap();
    assert!(folder.contains("/workspaces/logs-"), "{folder}");
    let gone = format!(
        "{}/providers/Microsoft.Insights/diagnosticSettings/audit",
        site.vault
    );
    assert_eq!(site.rig.ask(Method::DELETE, &gone, Value::Null).await.status, 200);
    assert_eq!(site.rig.ask(Method::DELETE, &gone, Value::Null).await.status, 204);
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[derive(Clone)]
struct Endpoint {
    seen: mpsc::UnboundedSender<(HeaderMap, Value)>,
    refusals: Arc<AtomicUsize>,
}

async fn take(State(endpoint): State<Endpoint>, headers: HeaderMap, Json(body): Json<Value>) -> StatusCode {
    let left = endpoint
        .refusals
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if left.is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    endpoint.seen.send((headers, body)).unwrap();
    StatusCode::OK
}

#[tokio::test]
async fn an_endpoint_that_fails_gets_its_records_later_and_no_secret_with_them() {
    let (seen, mut arrived) = mpsc::unbounded_channel();
    let endpoint = Endpoint {
        seen,
        refusals: Arc::new(AtomicUsize::new(1)),
    };
    let routes = axum::Router::new()
        .route("/in", post(take))
        .with_state(endpoint.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let site = Site::new(Some(LogSink::Http(url.parse().unwrap()))).await;
    site.set("audit", site.audit()).await;
    for operation in ["KeyGet", "KeyUnwrap"] {
        site.note(operation).await;
    }
    let mut names = Vec::new();
    while names.len() < 2 {
        let (headers, body) = arrived.recv().await.unwrap();
        assert!(!headers.contains_key("authorization"));
        let records = body["records"].as_array().unwrap();
        names.extend(records.iter().map(|record| record["operationName"].clone()));
    }
    assert_eq!(names, ["KeyGet", "KeyUnwrap"]);
    assert_eq!(endpoint.refusals.load(Ordering::SeqCst), 0, "it was refused once");
}

#[tokio::test]
async fn writes_to_the_control_plane_are_the_subscriptions_log() {
    let site = Site::new(None).await;
    let path = "{sub}/providers/Microsoft.Insights/diagnosticSettings/activity";
    let properties = json!({"storageAccountId": workspace(&site.rig), "logs": [{"category": "Administrative", "enabled": true}]});
    assert_eq!(
        site.rig
            .put(path, json!({ "properties": properties }))
            .await
            .status,
        200
    );
    site.rig.group("later").await;
    let group = "Microsoft.Resources/subscriptions/resourceGroups/write";
    let operations = site.delivered(group).await;
    assert_eq!(operations, ["Microsoft.Insights/diagnosticSettings/write", group]);
}

#[tokio::test]
async fn settings_are_checked_shown_and_listed_with_their_categories() {
    let site = Site::new(None).await;
    let code = async |properties: Value| site.set("x", properties).await.code().to_owned();
    let workspace = workspace(&site.rig);
    let log = |entry: Value| json!({"workspaceId": workspace, "logs": [entry]});
    for wrong in [
        json!({}),
        json!({"logs": [{"category": "AuditEvent", "enabled": true}]}),
        json!({"workspaceId": "not an id", "logs": []}),
        log(json!({"category": "Nothing", "enabled": true})),
        log(json!({"categoryGroup": "nothing", "enabled": true})),
        log(json!({"category": "AuditEvent", "categoryGroup": "audit", "enabled": true})),
        log(json!({"enabled": true})),
        log(
            json!({"category": "AuditEvent", "enabled": true, "retentionPolicy": {"enabled": true, "days": 7}}),
        ),
    ] {
        assert_eq!(code(wrong.clone()).await, "BadRequest", "{wrong}");
    }
    let made = site.set("one", site.audit()).await;
    assert_eq!(made.body["properties"]["logs"][0]["category"], Value::Null);
    assert_eq!(
        made.body["properties"]["logs"][0]["retentionPolicy"],
        json!({"days": 0, "enabled": false})
    );
    let twice = site.set("two", site.audit()).await;
    assert_eq!((twice.status.as_u16(), twice.code()), (409, "Conflict"));
    for number in 0..4 {
        let elsewhere = json!({"workspaceId": format!("{workspace}{number}"), "logs": []});
        assert_eq!(site.set(&format!("s{number}"), elsewhere).await.status, 200);
    }
    let sixth = site
        .set("s5", json!({"workspaceId": format!("{workspace}5"), "logs": []}))
        .await;
    assert_eq!((sixth.status.as_u16(), sixth.code()), (409, "Conflict"));
    let list = format!("{}/providers/Microsoft.Insights/diagnosticSettings", site.vault);
    assert_eq!(
        site.rig.get(&list).await.each("name"),
        ["one", "s0", "s1", "s2", "s3"]
    );
    let categories = format!("{list}Categories");
    let names = site.rig.get(&categories).await.each("name");
    assert_eq!(
        names,
        ["AuditEvent", "AzurePolicyEvaluationDetails", "AllMetrics"]
    );
    let one = site.rig.get(&format!("{categories}/auditevent")).await;
    assert_eq!(
        one.body["properties"]["categoryGroups"],
        json!(["audit", "allLogs"])
    );
    let none = format!(
        "{}2/providers/Microsoft.Insights/diagnosticSettings/x",
        site.vault
    );
    assert_eq!(
        site.rig
            .put(&none, json!({"properties": site.audit()}))
            .await
            .code(),
        "ResourceNotFound"
    );
    let patch = site
        .rig
        .ask(Method::PATCH, &format!("{list}/one"), json!({}))
        .await;
    assert_eq!(patch.status, 405);
}

#[tokio::test]
async fn logs_go_where_whoever_asks_for_it_has_a_right() {
    let site = Site::new(None).await;
    let rig = &site.rig;
    let grant = |role: &str, scope: &str| {
        let role = BuiltInRole::by_name(role).unwrap();
        let scope = scope.parse().unwrap();
        rig.control
            .ensure_assignment(rig.nobody_id, role, &scope)
            .unwrap();
    };
    let path = format!("{}/providers/Microsoft.Insights/diagnosticSettings/x", site.vault);
    let ask = async |destination: &str, id: &str| {
        let body = json!({"properties": {destination: id, "logs": []}});
        let told = rig.ask_as(&rig.nobody, Method::PUT, &path, body, &[]).await;
        (told.status.as_u16(), told.code().to_owned())
    };
    let there = workspace(rig);
    grant("Contributor", &site.vault);
    for destination in [
        "workspaceId",
        "storageAccountId",
        "eventHubAuthorizationRuleId",
        "marketplacePartnerId",
    ] {
        let denied = (403, "LinkedAuthorizationFailed".to_owned());
        assert_eq!(ask(destination, &there).await, denied, "{destination}");
    }
    let ops = format!("{}/resourceGroups/ops", rig.subscription);
    rig.group("ops").await;
    grant("Reader", &ops);
    assert_eq!(ask("workspaceId", &there).await.0, 403);
    grant("Contributor", &ops);
    for destination in [
        "workspaceId",
        "storageAccountId",
        "eventHubAuthorizationRuleId",
        "marketplacePartnerId",
    ] {
        assert_eq!(ask(destination, &there).await.0, 200, "{destination}");
    }
    let foreign = there.replace(
        &rig.subscription,
        &format!("/subscriptions/{}", uuid::Uuid::new_v4()),
    );
    assert_eq!(ask("workspaceId", &foreign).await.1, "LinkedAuthorizationFailed");
}
