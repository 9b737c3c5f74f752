//! Accounts at the running system: keys that take over from one another under load, what is taken away and given back, several
//! accounts beside each other.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use strongroom_testkit::{ChildOptions, Instance, System, SystemOptions, form, strongroom_command};
use tokio::task::JoinHandle;
use tokio::time::Instant;

const BOUND: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// What Resource Manager answered.
struct Told {
    status: StatusCode,
    operation: Option<String>,
    body: Value,
}

/// The administrator at Resource Manager; `{sub}` in the path is the subscription.
async fn arm(instance: &Instance, method: Method, path: &str, body: Value) -> Told {
    let token = instance
        .token("https://management.core.windows.net/")
        .await
        .unwrap();
    let subscription = format!("/subscriptions/{}", instance.variable("AZURE_SUBSCRIPTION_ID"));
    let path = path.replace("{sub}", &subscription);
    let url = match path.strip_prefix("https://") {
        Some(_) => path,
        None => format!(
            "https://localhost:{}{path}?api-version=2025-06-01",
            instance.https_port()
        ),
    };
    let request = instance.client().request(method, url).bearer_auth(token);
    let request = if body.is_null() {
        request
    } else {
        request.json(&body)
    };
    let answer = request.send().await.unwrap();
    let operation = answer.headers().get("azure-asyncoperation");
    Told {
        status: answer.status(),
        operation: operation.map(|url| url.to_str().unwrap().to_owned()),
        body: answer.json().await.unwrap_or_default(),
    }
}

/// The same, and waits for what goes on after the answer. Gives how that ended.
async fn done(instance: &Instance, method: Method, path: &str, body: Value) -> Value {
    let told = arm(instance, method, path, body).await;
    assert!(told.status.is_success(), "{path}: {} {}", told.status, told.body);
    let Some(operation) = told.operation else {
        return told.body;
    };
    ended(instance, &operation).await
}

async fn ended(instance: &Instance, operation: &str) -> Value {
    let begun = Instant::now();
    loop {
        let told = arm(instance, Method::GET, operation, Value::Null).await;
        if told.body["status"] != "InProgress" {
            return told.body;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", told.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn account(name: &str) -> String {
    format!("{{sub}}/resourceGroups/strongroom/providers/Microsoft.CognitiveServices/accounts/{name}")
}

/// A customer key in the instance's own vault.
fn customer(key: &str, version: &str) -> Value {
    json!({"properties": {"encryption": {"keySource": "Microsoft.KeyVault", "keyVaultProperties": {
        "keyVaultUri": "https://customer-vault.vault.localhost/", "keyName": key, "keyVersion": version,
    }}}})
}

fn service() -> Value {
    json!({"properties": {"encryption": {"keySource": "Microsoft.CognitiveServices"}}})
}

async fn switch(instance: &Instance, to: Value) {
    let ended = done(instance, Method::PATCH, &account("main"), to).await;
    assert_eq!(ended["status"], "Succeeded", "{ended}");
}

async fn create_key(instance: &Instance, name: &str) -> String {
    let answer = instance
        .vault(
            Method::POST,
            &format!("keys/{name}/create"),
            Some(json!({"kty": "RSA"})),
        )
        .await;
    let made: Value = answer.unwrap().error_for_status().unwrap().json().await.unwrap();
    version_of(&made)
}

fn version_of(bundle: &Value) -> String {
    bundle["key"]["kid"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned()
}

async fn is_enabled(instance: &Instance, key: &str, version: &str, enabled: bool) {
    let change = json!({"attributes": {"enabled": enabled}});
    let answer = instance
        .vault(Method::PATCH, &format!("keys/{key}/{version}"), Some(change))
        .await;
    answer.unwrap().error_for_status().unwrap();
}

/// The keys that anything of the instance's own account still needs.
async fn needed(instance: &Instance) -> Vec<String> {
    let status = instance.status().await.unwrap();
    let rows = status["still_needed"].as_array().unwrap();
    rows.iter()
        .map(|row| row["key"].as_str().unwrap().to_owned())
        .collect()
}

async fn verify(instance: &Instance) {
    let output = strongroom_command(instance.folder().root(), &["verify"])
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// A file's id and what is in it.
type Kept = (String, Vec<u8>);

/// Uploads, downloads and compares until it is told to stop. Nothing may fail.
struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<Vec<Kept>>>,
}

impl Load {
    fn start(system: &Arc<System>) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..4_u8).map(|worker| {
            let (system, stop, rounds) = (Arc::clone(system), Arc::clone(&stop), Arc::clone(&rounds));
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for round in 0_usize.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // Inline, one segment, several.
                    let length = [100, 70_000, 100, 1_200_000][round % 4];
                    let content: Vec<u8> = (worker..=250).cycle().skip(round % 200).take(length).collect();
                    let id = system.upload("load.bin", content.clone()).await.unwrap();
                    assert!(
                        system.download(&id).await.unwrap() == content,
                        "what was uploaded comes back"
                    );
                    kept.push((id, content));
                    rounds.fetch_add(1, Ordering::Relaxed);
                    // What is uploaded is also verified, after each step.
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                kept
            })
        });
        Self {
            tasks: tasks.collect(),
            stop,
            rounds,
        }
    }

    /// Until some more has gone through.
    async fn goes_on(&self) {
        let wanted = self.rounds.load(Ordering::Relaxed) + 8;
        let begun = Instant::now();
        while self.rounds.load(Ordering::Relaxed) < wanted {
            let ended = self.tasks.iter().any(JoinHandle::is_finished);
            assert!(!ended && begun.elapsed() < PATIENCE, "the load does not go on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self) -> Vec<Kept> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.unwrap());
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_take_over_from_one_another_under_load_and_nothing_fails_or_is_lost() {
    let system = Arc::new(System::start().await.unwrap());
    let first = system
        .key(Method::GET, "", None)
        .await
        .unwrap()
        .json::<Value>()
        .await
        .unwrap();
    let (own, first) = (system.variable("STRONGROOM_KEY").to_owned(), version_of(&first));
    let second = create_key(&system, "second").await;
    let load = Load::start(&system);
    load.goes_on().await;

    let settled = async |key: String| {
        load.goes_on().await;
        let needed = needed(&system).await;
        assert!(
            needed.len() == 1 && needed[0].contains(&key),
            "{needed:?} instead of {key}"
        );
        verify(&system).await;
    };
    switch(&system, service()).await;
    settled("strongroom-service.vault.localhost/keys/service-key/".to_owned()).await;
    // What was left is not needed: it can be off.
    is_enabled(&system, &own, &first, false).await;
    load.goes_on().await;
    is_enabled(&system, &own, &first, true).await;

    switch(&system, customer(&own, &first)).await;
    settled(format!("/keys/{own}/{first}")).await;
    system.rotate_key().await.unwrap();
    let latest = system
        .key(Method::GET, "", None)
        .await
        .unwrap()
        .json::<Value>()
        .await
        .unwrap();
    let latest = version_of(&latest);
    settled(format!("/keys/{own}/{first}")).await;
    switch(&system, customer(&own, &latest)).await;
    settled(format!("/keys/{own}/{latest}")).await;
    is_enabled(&system, &own, &first, false).await;

    switch(&system, customer("second", &second)).await;
    settled(format!("/keys/second/{second}")).await;
    is_enabled(&system, &own, &latest, false).await;
    load.goes_on().await;

    switch(&system, customer("second", "")).await;
    settled(format!("/keys/second/{second}")).await;
    let rotated = system
        .vault(Method::POST, "keys/second/rotate", None)
        .await
        .unwrap();
    let rotated = version_of(&rotated.error_for_status().unwrap().json().await.unwrap());
    let begun = Instant::now();
    while needed(&system).await
        != [format!(
            "https://customer-vault.vault.localhost/keys/second/{rotated}"
        )]
    {
        assert!(
            begun.elapsed() < PATIENCE,
            "without a version the latest is followed"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    settled(format!("/keys/second/{rotated}")).await;

    switch(&system, service()).await;
    settled("/keys/service-key/".to_owned()).await;
    for (id, content) in load.end().await {
        assert!(system.download(&id).await.unwrap() == content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_that_fails_at_its_first_use_leaves_the_old_one_in_force() {
    let options = SystemOptions::new().unwrap().revocation_bound(BOUND);
    let (system, vault) = options.start_with_failing_vault().await.unwrap();
    let file = system.upload("a.txt", b"content".to_vec()).await.unwrap();
    create_key(&system, "second").await;
    let before = needed(&system).await;
    // Everything that can be known beforehand is right; the vault refuses when it comes to it.
    vault.refuse_wraps(true);
    let ended = done(&system, Method::PATCH, &account("main"), customer("second", "")).await;
    assert_eq!(ended["status"], "Failed", "{ended}");
    assert_eq!(ended["error"]["code"], "EncryptionChangeFailed");
    vault.refuse_wraps(false);
    assert_eq!(needed(&system).await, before);
    assert_eq!(system.download(&file).await.unwrap(), b"content");
    let shown = arm(&system, Method::GET, &account("main"), Value::Null).await;
    let encryption = &shown.body["properties"]["encryption"]["keyVaultProperties"];
    assert_eq!(encryption["keyName"], system.variable("STRONGROOM_KEY"));
    verify(&system).await;
}

/// Waits until downloads are refused, and says for how long they were not.
async fn blind_after(instance: &Instance, file: &str) -> Duration {
    let begun = Instant::now();
    while instance.download(file).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the service still sees");
    }
    begun.elapsed()
}

async fn sees_again(instance: &Instance, file: &str, content: &[u8]) {
    let begun = Instant::now();
    loop {
        match instance.download(file).await {
            Ok(found) => return assert_eq!(found, content),
            Err(error) => assert!(begun.elapsed() < PATIENCE, "still blind: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_control_plane_takes_away_blinds_the_service_within_the_bound_until_it_gives_it_back() {
    let system = SystemOptions::new()
        .unwrap()
        .revocation_bound(BOUND)
        .start()
        .await
        .unwrap();
    let file = system.upload("a.txt", b"content".to_vec()).await.unwrap();
    let slack = Duration::from_secs(1);

    // The account: deleted and recovered.
    let gone = arm(&system, Method::DELETE, &account("main"), Value::Null).await;
    assert_eq!(gone.status, StatusCode::OK);
    assert!(blind_after(&system, &file).await < BOUND + slack);
    let restore = json!({"location": "local", "properties": {"restore": true}});
    assert_eq!(
        arm(&system, Method::PUT, &account("main"), restore).await.status,
        StatusCode::OK
    );
    sees_again(&system, &file, b"content").await;

    // The role that lets its identity use the key.
    let shown = arm(&system, Method::GET, &account("main"), Value::Null).await;
    let identity = shown.body["identity"]["principalId"].as_str().unwrap().to_owned();
    let vault = format!(
        "/subscriptions/{}/resourceGroups/strongroom/providers/Microsoft.KeyVault/vaults/customer-vault",
        system.variable("AZURE_SUBSCRIPTION_ID")
    );
    let role = [
        "--role",
        "Key Vault Crypto Service Encryption User",
        "--scope",
        &vault,
        "--assignee",
    ];
    let command = async |verb: &str, who: &str| {
        let arguments = [&["role", "assignment", verb], role.as_slice(), &[who]].concat();
        let output = strongroom_command(system.folder().root(), &arguments)
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let taken = Instant::now();
    command("delete", &identity).await;
    let command_took = taken.elapsed();
    assert!(blind_after(&system, &file).await < BOUND + slack + command_took);
    command("create", &identity).await;
    sees_again(&system, &file, b"content").await;

    // Its identity. The next one is somebody else, and is granted the role anew.
    let none = json!({"identity": {"type": "None"}});
    assert_eq!(
        arm(&system, Method::PATCH, &account("main"), none).await.status,
        StatusCode::OK
    );
    assert!(blind_after(&system, &file).await < BOUND + slack);
    let own = json!({"identity": {"type": "SystemAssigned"}});
    let made = arm(&system, Method::PATCH, &account("main"), own).await;
    let another = made.body["identity"]["principalId"].as_str().unwrap().to_owned();
    assert_ne!(another, identity);
    assert!(system.download(&file).await.is_err());
    command("create", &another).await;
    sees_again(&system, &file, b"content").await;

    // The vault's firewall, which lets no trusted service through either.
    let vault = vault.replace(
        &format!("/subscriptions/{}", system.variable("AZURE_SUBSCRIPTION_ID")),
        "{sub}",
    );
    let firewall = async |action: &str| {
        let rules = json!({"properties": {"networkAcls": {"defaultAction": action, "bypass": "None"}}});
        let told = arm(&system, Method::PATCH, &vault, rules).await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    };
    firewall("Deny").await;
    assert!(blind_after(&system, &file).await < BOUND + slack);
    firewall("Allow").await;
    sees_again(&system, &file, b"content").await;
    verify(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_plane_obeys_firewall_local_authentication_and_deployments_at_once() {
    let system = System::start().await.unwrap();
    let status = async || system.api(Method::GET, "/files").send().await.unwrap();
    let change = async |properties: Value| {
        let told = arm(
            &system,
            Method::PATCH,
            &account("main"),
            json!({"properties": properties}),
        )
        .await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    };
    for (closed, open, message) in [
        (
            json!({"networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "10.0.0.0/8"}]}}),
            json!({"networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "127.0.0.1"}]}}),
            "Access denied due to Virtual Network/Firewall rules.",
        ),
        (
            json!({"publicNetworkAccess": "Disabled"}),
            json!({"publicNetworkAccess": "Enabled"}),
            "Public access is disabled. Please configure private endpoint.",
        ),
    ] {
        change(closed).await;
        let refused = status().await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        let body: Value = refused.json().await.unwrap();
        assert_eq!(
            (&body["error"]["code"], &body["error"]["message"]),
            (&json!("AccessDenied"), &json!(message))
        );
        change(open).await;
        assert_eq!(status().await.status(), StatusCode::OK);
    }
    change(json!({"disableLocalAuth": true})).await;
    assert_eq!(status().await.status(), StatusCode::UNAUTHORIZED);
    change(json!({"disableLocalAuth": false})).await;
    assert_eq!(status().await.status(), StatusCode::OK);

    let models = async || {
        let answer = system.api(Method::GET, "/models").send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        let rows = body["data"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let model = system.variable("STRONGROOM_DEPLOYMENT").to_owned();
    let path = format!("{}/deployments/second", account("main"));
    let body = json!({"properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}, "revocationPolicy": "Drain"}});
    assert_eq!(
        arm(&system, Method::PUT, &path, body).await.status,
        StatusCode::CREATED
    );
    let becomes = async |served: bool| {
        let begun = Instant::now();
        while models().await.contains(&"second".to_owned()) != served {
            assert!(begun.elapsed() < PATIENCE, "the service does not follow");
        }
    };
    becomes(true).await;
    assert_eq!(
        arm(&system, Method::DELETE, &path, Value::Null).await.status,
        StatusCode::OK
    );
    becomes(false).await;
}

/// An account's data plane by its label, with its key.
struct DataPlane {
    /// Of its own: when the key is lost, the connection on which an answer left just before is reset.
    client: reqwest::Client,
    base: String,
    key: String,
}

impl DataPlane {
    async fn of(instance: &Instance, name: &str, label: &str) -> Self {
        let keys = arm(
            instance,
            Method::POST,
            &format!("{}/listKeys", account(name)),
            Value::Null,
        )
        .await;
        Self {
            client: instance.client_builder().unwrap().build().unwrap(),
            base: format!(
                "https://localhost:{}/openai-accounts/{label}/openai/v1",
                instance.https_port()
            ),
            key: keys.body["key1"].as_str().unwrap().to_owned(),
        }
    }

    async fn upload(&self, content: &[u8]) -> Result<String, StatusCode> {
        let (kind, body) = form("a.txt", content);
        let request = self
            .client
            .post(format!("{}/files", self.base))
            .header("api-key", &self.key);
        let answer = request
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .unwrap();
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        let file: Value = answer.json().await.unwrap();
        Ok(file["id"].as_str().unwrap().to_owned())
    }

    async fn download(&self, id: &str) -> Result<Vec<u8>, StatusCode> {
        let url = format!("{}/files/{id}/content", self.base);
        let request = self.client.get(url).header("api-key", &self.key);
        // An answer that the loss of the key cuts off is reset.
        let cut = |_| StatusCode::BAD_GATEWAY;
        let answer = request.send().await.map_err(cut)?;
        match answer.status() {
            StatusCode::OK => Ok(answer.bytes().await.map_err(cut)?.to_vec()),
            status => Err(status),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_stand_beside_each_other_with_keys_of_their_own() {
    let system = SystemOptions::new()
        .unwrap()
        .revocation_bound(BOUND)
        .start()
        .await
        .unwrap();
    let body = json!({"location": "local", "kind": "OpenAI", "sku": {"name": "S0"}, "properties": {"customSubDomainName": "deux"}});
    assert_eq!(
        arm(&system, Method::PUT, &account("two"), body).await.status,
        StatusCode::CREATED
    );
    let two = DataPlane::of(&system, "two", "two").await;
    let by_subdomain = DataPlane::of(&system, "two", "deux").await;
    let main = DataPlane::of(&system, "main", "main").await;
    let (in_two, in_main) = (
        two.upload(b"two").await.unwrap(),
        main.upload(b"main").await.unwrap(),
    );
    assert_eq!(by_subdomain.download(&in_two).await.unwrap(), b"two");
    assert_eq!(main.download(&in_two).await, Err(StatusCode::NOT_FOUND));
    let crossed = DataPlane {
        key: main.key.clone(),
        ..DataPlane::of(&system, "two", "two").await
    };
    assert_eq!(crossed.download(&in_two).await, Err(StatusCode::UNAUTHORIZED));

    // The customer key of one is nothing to the other, which is under the service's own.
    system.disable_key().await.unwrap();
    let begun = Instant::now();
    while main.download(&in_main).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(main.download(&in_main).await, Err(StatusCode::FORBIDDEN));
    assert_eq!(two.download(&in_two).await.unwrap(), b"two");
    system.enable_key().await.unwrap();
    verify(&system).await;

    // Deleted it is blind, purged it is gone, and another of its name sees nothing of it.
    arm(&system, Method::DELETE, &account("two"), Value::Null).await;
    assert!(two.download(&in_two).await.is_err());
    verify(&system).await;
    let deleted = "{sub}/providers/Microsoft.CognitiveServices/locations/local/resourceGroups/strongroom/deletedAccounts/two";
    let ended = done(&system, Method::DELETE, deleted, Value::Null).await;
    assert_eq!(ended["status"], "Succeeded", "{ended}");
    verify(&system).await;
    let again = json!({"location": "local", "kind": "OpenAI"});
    assert_eq!(
        arm(&system, Method::PUT, &account("two"), again).await.status,
        StatusCode::CREATED
    );
    let again = DataPlane::of(&system, "two", "two").await;
    assert_eq!(again.download(&in_two).await, Err(StatusCode::NOT_FOUND));
    assert_eq!(main.download(&in_main).await.unwrap(), b"main");
}

#[tokio::test]
async fn status_and_pins_show_each_caller_the_accounts_that_it_administers() {
    let system = System::start().await.unwrap();
    let body = json!({"location": "local", "kind": "OpenAI"});
    let made = arm(&system, Method::PUT, &account("two"), body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let command = async |line: &str| {
        let arguments: Vec<_> = line.split(' ').collect();
        let output = strongroom_command(system.folder().root(), &arguments)
            .await
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        output.stdout
    };
    let overview: Value =
        serde_json::from_slice(&command("status --account two --output json").await).unwrap();
    assert_eq!(overview["account"], "two");
    let names = |overview: &Value| {
        let rows = overview["accounts"].as_array().unwrap();
        rows.iter()
            .map(|row| row["account"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&overview), ["main", "two"]);
    let table = String::from_utf8(command("status").await).unwrap();
    assert!(
        table.contains("strongroom-service.vault.localhost/keys/service-key"),
        "{table}"
    );

    let app = command("principal create app --display-name op --with-secret --output json").await;
    let app: Value = serde_json::from_slice(&app).unwrap();
    let (client, secret) = (app["appId"].as_str().unwrap(), app["password"].as_str().unwrap());
    let token = system
        .token_of(client, secret, "https://management.core.windows.net/")
        .await
        .unwrap();
    let look = async |what: &str| {
        let url = format!("https://localhost:{}/strongroom/{what}", system.https_port());
        let answer = system.client().get(url).bearer_auth(&token).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    for what in ["pins", "status", "status?account=two", "status?account=none"] {
        assert_eq!(look(what).await.0, 403, "{what}");
    }
    let scope = made.body["id"].as_str().unwrap();
    let grant = "role assignment create --assignee op --role Contributor --scope";
    command(&format!("{grant} {scope}")).await;
    let (status, pins) = look("pins").await;
    assert_eq!((status, pins.as_array().unwrap().len()), (200, 1));
    assert_eq!(pins[0]["account_id"], overview["account_id"]);
    let (status, seen) = look("status?account=two").await;
    assert_eq!((status, names(&seen)), (200, vec!["two".to_owned()]));
    for what in ["status", "status?account=main", "status?account=none"] {
        assert_eq!(look(what).await.0, 403, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_a_kill_cut_off_goes_on_at_the_next_start_and_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data");
    let mut files: Vec<Kept> = Vec::new();
    for round in 0..12_u8 {
        let child = ChildOptions::new(&folder).start().await.unwrap();
        for (id, content) in &files {
            assert!(child.download(id).await.unwrap() == *content, "round {round}");
        }
        let content = vec![round; 100_000];
        files.push((child.upload("a.bin", content.clone()).await.unwrap(), content));
        // To the other kind of key each time, so that there is something to do.
        let shown = arm(&child, Method::GET, &account("main"), Value::Null).await;
        let source = shown.body["properties"]["encryption"]["keySource"].clone();
        let to = if source == "Microsoft.KeyVault" {
            service()
        } else {
            customer(child.variable("STRONGROOM_KEY"), "")
        };
        let begun = arm(&child, Method::PATCH, &account("main"), to).await;
        let operation = match begun.status {
            StatusCode::ACCEPTED => begun.operation.unwrap(),
            // The one that the last kill cut off is still at work, and goes there by itself.
            StatusCode::OK => String::new(),
            other => panic!("round {round}: {other} {}", begun.body),
        };
        // The kill falls at another point of the work each time.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 4)).await;
        child.kill().unwrap();
        if operation.is_empty() {
            continue;
        }
        let child = ChildOptions::new(&folder).start().await.unwrap();
        let path = operation.split_once("/subscriptions").unwrap().1;
        let url = format!("https://localhost:{}/subscriptions{path}", child.https_port());
        let ended = ended(&child, &url).await;
        assert_eq!(ended["status"], "Succeeded", "round {round}: {ended}");
        assert_eq!(needed(&child).await.len(), 1, "round {round}");
        verify(&child).await;
        child.terminate().await.unwrap();
    }
}
