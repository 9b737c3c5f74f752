//! A control plane with 10,000 accounts: how long it takes to start, to list them and to count them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a bench stops at the first thing that is wrong, prints its lines and measures time"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use strongroom_control::{
    Account, AiService, Arm, ArmParts, BuiltInRole, Control, Encryption, LoadFault, NewAccount, ServedModel,
    ServiceFault,
};
use strongroom_journal::{Journal, SigningKey};
use strongroom_seal::{AccountId, BoxFuture, Clock, Moment};
use strongroom_vault::{JournalAudit, RootKey, VaultEngine};
use uuid::Uuid;

const ACCOUNTS: usize = 10_000;
const AUTHORITY: &str = "https://localhost:8443";
const PAGE: &str = "/providers/Microsoft.CognitiveServices/accounts?api-version=2025-06-01";
const GRAPH: &str = "/providers/Microsoft.ResourceGraph/resources?api-version=2024-04-01";

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Moment {
        Moment {
            boot: Duration::from_secs(5),
            wall: Duration::from_secs(1_800_000_000),
        }
    }
}

/// A service that is never asked.
struct Nobody;

impl AiService for Nobody {
    fn models(&self) -> Vec<ServedModel> {
        Vec::new()
    }

    fn tuned_models(&self, _: AccountId) -> BoxFuture<'_, Result<Vec<ServedModel>, LoadFault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn load<'a>(&'a self, _: AccountId, _: &'a str) -> BoxFuture<'a, Result<(), LoadFault>> {
        Box::pin(async { Ok(()) })
    }

    fn settle(&self, _: AccountId) -> BoxFuture<'_, Result<(), ServiceFault>> {
        Box::pin(async { Ok(()) })
    }

    fn forget(&self, _: AccountId) -> BoxFuture<'_, Result<(), ServiceFault>> {
        Box::pin(async { Ok(()) })
    }
}

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
    let folder = tempfile::tempdir().unwrap();
    let control = plane(folder.path());
    let (owner, secret) = control.ensure_administrator(None).unwrap();
    let subscription = format!("/subscriptions/{}", control.subscription());
    let role = BuiltInRole::by_name("Owner").unwrap();
    control
        .ensure_assignment(owner.object_id, role, &subscription.parse().unwrap())
        .unwrap();
    let template = control.ensure_account(&account()).unwrap();
    drop(control);
    fill(&folder.path().join("control/control.db"), &template);

    let (took, (_, arm)) = timed(|| open(folder.path()));
    line(
        "first start: as many rows are written",
        took.as_secs_f64(),
        "s",
        None,
    );
    drop(arm);
    let (took, (control, arm)) = timed(|| open(folder.path()));
    line("start", took.as_secs_f64(), "s", Some(2.0));

    let client = owner.client_id().unwrap().to_string();
    let door = Door {
        token: token(&control, &client, &secret.unwrap()).await,
        arm,
    };
    list(&door, &subscription).await;
    count(&door).await;
}

/// An owner at Resource Manager.
struct Door {
    arm: Arm,
    token: String,
}

impl Door {
    async fn ask(&self, method: Method, path: String, body: Value) -> Value {
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "management.localhost:8443")
            .header("authorization", format!("Bearer {}", self.token));
        let answer = self.arm.answer(request.body(body).unwrap()).await;
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&answer).unwrap()
    }
}

async fn list(door: &Door, subscription: &str) {
    let begin = Instant::now();
    let (mut path, mut seen, mut pages) = (format!("{subscription}{PAGE}"), 0, 0_u32);
    loop {
        let page = door.ask(Method::GET, path, Value::Null).await;
        seen += page["value"].as_array().unwrap().len();
        pages += 1;
        let Some(next) = page["nextLink"].as_str() else {
            break;
        };
        path = next
            .trim_start_matches("https://management.localhost:8443")
            .to_owned();
    }
    assert_eq!(seen, ACCOUNTS + 1);
    let each = begin.elapsed().as_secs_f64() * 1e3 / f64::from(pages);
    line("one page of 1,000 accounts", each, "ms", None);
}

async fn count(door: &Door) {
    let of_type = "Resources | where type =~ 'microsoft.cognitiveservices/accounts'";
    for (name, rest) in [
        ("Resource Graph counts all", "| count"),
        (
            "Resource Graph counts by a property",
            "and properties.encryption.keySource == 'Microsoft.KeyVault' | count",
        ),
    ] {
        let query = format!("{of_type} {rest}");
        let mut took = Vec::new();
        for _ in 0..20 {
            let (begin, body) = (Instant::now(), json!({"query": query}));
            let told = door.ask(Method::POST, GRAPH.to_owned(), body).await;
            took.push(begin.elapsed());
            assert_eq!(told["data"][0]["Count"], ACCOUNTS + 1, "{told}");
        }
        took.sort_unstable();
        let middle = took[took.len() / 2].as_secs_f64() * 1e3;
        line(name, middle, "ms", Some(100.0));
    }
}

fn account() -> NewAccount {
    NewAccount {
        name: "acct".to_owned(),
        resource_group: "rg".to_owned(),
        location: "eastus".to_owned(),
        encryption: Encryption::customer("https://v1.vault.localhost", "customer", None),
    }
}

/// As many documents as accounts have, in one transaction: one at a time they would take minutes.
fn fill(database: &Path, account: &Account) {
    let mut database = rusqlite::Connection::open(database).unwrap();
    let transaction = database.transaction().unwrap();
    let put = |kind: &str, name: &str, document: Value| {
        let row = (kind, name, document.to_string());
        transaction
            .execute("INSERT INTO document (kind, name, json) VALUES (?1, ?2, ?3)", row)
            .unwrap();
    };
    for number in 0..ACCOUNTS {
        let (identity, name) = (Uuid::new_v4(), format!("a{number}"));
        let account = Account {
            id: AccountId::from_uuid(Uuid::new_v4()),
            name: name.clone(),
            identity: Some(identity),
            ..account.clone()
        };
        put("account", &name, json!(account));
        let principal = json!({
            "object_id": identity, "display_name": name, "created": 1, "kind": "ManagedIdentity",
            "client_id": Uuid::new_v4(), "resource": account.resource_id(),
        });
        put("principal", &identity.to_string(), principal);
    }
    transaction.commit().unwrap();
}

fn plane(folder: &Path) -> Control {
    let root = RootKey::File(folder.join("root-key"));
    let vaults = VaultEngine::open(&folder.join("vault"), root, Arc::new(StillClock)).unwrap();
    Control::open(&folder.join("control"), vaults, Arc::new(StillClock)).unwrap()
}

fn open(folder: &Path) -> (Control, Arm) {
    let clock: Arc<dyn Clock> = Arc::new(StillClock);
    let control = plane(folder);
    let journal = |name: &str| {
        let key = folder.join(format!("{name}-key"));
        let key = SigningKey::load_or_create(&key, "strongroom.localhost/x").unwrap();
        Journal::open(&folder.join(name), key).unwrap()
    };
    let arm = Arm::open(ArmParts {
        folder: folder.join("control"),
        verifier: control.issuer(AUTHORITY).verifier([]),
        control: control.clone(),
        login: AUTHORITY.to_owned(),
        journal: journal("journal"),
        audit: Arc::new(JournalAudit::new(journal("vault-journal"))),
        service: Arc::new(Nobody),
        clock,
    });
    (control, arm.unwrap())
}

async fn token(control: &Control, client: &str, secret: &str) -> String {
    let form = format!(
        "grant_type=client_credentials&client_id={client}&client_secret={secret}&scope=https://management.core.windows.net//.default"
    );
    let path = format!("/{}/oauth2/v2.0/token", control.tenant());
    let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(Body::from(form)).unwrap();
    let answer = tower::ServiceExt::oneshot(control.issuer(AUTHORITY).routes(), request)
        .await
        .unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let done = work();
    (begin.elapsed(), done)
}

fn line(name: &str, value: f64, unit: &str, goal: Option<f64>) {
    println!(
        "{}",
        json!({"name": name, "value": value, "unit": unit, "goal": goal, "better": "lower"})
    );
}
