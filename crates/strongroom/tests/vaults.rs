//! Vaults against a running instance, as a person handles them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::path::Path;
use std::process::Output;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use strongroom_testkit::{ChildOptions, System, strongroom_command};

async fn run(folder: &Path, arguments: &[&str]) -> Output {
    let arguments: Vec<&str> = arguments.iter().flat_map(|words| words.split(' ')).collect();
    strongroom_command(folder, &arguments).await.unwrap()
}

/// What a command says in JSON. Each argument may be several words.
async fn told(system: &System, arguments: &[&str]) -> Value {
    let output = run(system.folder().root(), &[arguments, &["--output json"]].concat()).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// How a command that is refused ends, and what it says.
async fn refused(system: &System, arguments: &[&str]) -> (i32, String) {
    let output = run(system.folder().root(), arguments).await;
    assert!(!output.status.success(), "{arguments:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}

#[tokio::test]
async fn a_vault_is_made_changed_deleted_recovered_and_purged() {
    let system = System::start().await.unwrap();
    let made = told(
        &system,
        &["vault create --name kv1 --retention-days 7 --tag env=test"],
    )
    .await;
    let properties = &made[0]["properties"];
    assert_eq!(
        (&properties["softDeleteRetentionInDays"], &made[0]["tags"]["env"]),
        (&json!(7), &json!("test"))
    );
    assert_eq!(properties["enableRbacAuthorization"], true);
    let table = run(system.folder().root(), &["vault list"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    for word in ["customer-vault", "kv1", "roles", "https://kv1.vault.localhost:"] {
        assert!(table.contains(word), "{table}");
    }
    let changed = told(
        &system,
        &["vault update --name KV1 --public-network-access disabled --default-action deny"],
    )
    .await;
    assert_eq!(changed[0]["properties"]["publicNetworkAccess"], "Disabled");
    assert_eq!(told(&system, &["vault show --name kv1"]).await, changed);
    let scope = changed[0]["id"].as_str().unwrap();
    told(&system, &["principal create app --display-name reader"]).await;
    let assign = [
        "role assignment create --assignee reader --scope",
        scope,
        "--role",
        "acdd72a7-3385-48ef-bd42-f606fba81ae7",
    ];
    told(&system, &assign).await;

    let gone = told(&system, &["vault delete --name kv1"]).await;
    assert_eq!(gone, changed);
    let deleted = told(&system, &["vault list-deleted"]).await;
    assert_eq!(
        (&deleted[0]["name"], &deleted[0]["properties"]["vaultId"]),
        (&json!("kv1"), &changed[0]["id"])
    );
    let (exit, said) = refused(&system, &["vault create --name kv1"]).await;
    assert!(exit == 1 && said.contains("ConflictError"), "{exit} {said}");
    assert_eq!(
        told(&system, &["vault recover --name kv1"]).await[0]["properties"],
        changed[0]["properties"]
    );
    let left = told(&system, &["role assignment list --assignee reader"]).await;
    assert_eq!(left, json!([]), "the roles do not come back");
    told(&system, &["vault delete --name kv1"]).await;
    let listed = told(&system, &["vault list-deleted"]).await;
    assert_eq!(told(&system, &["vault purge --name kv1"]).await, listed);
    assert_eq!(told(&system, &["vault list-deleted"]).await, json!([]));
    told(&system, &["vault create --name kv2 --enable-purge-protection"]).await;
    told(&system, &["vault delete --name kv2"]).await;
    let (exit, said) = refused(&system, &["vault purge --name kv2"]).await;
    assert!(exit == 1 && said.contains("MethodNotAllowed"), "{exit} {said}");
}

#[tokio::test]
async fn what_cannot_be_done_ends_with_its_code_and_says_why() {
    let system = System::start().await.unwrap();
    for (arguments, exit, code) in [
        ("vault show --name kv1", 1, "ResourceNotFound"),
        ("vault purge --name kv1", 1, "ResourceNotFound"),
        ("vault create --name kv2 --sku premium", 1, "no HSM"),
        ("vault create --name 1kv", 1, "VaultNameNotValid"),
        ("vault create --name customer-vault", 1, "VaultAlreadyExists"),
        ("vault create --name ../x", 64, "is not a name"),
        ("vault create --name kv2 --tag env", 64, "NAME=VALUE"),
        (
            "vault create --name kv2 --retention-days many",
            2,
            "invalid value",
        ),
    ] {
        let (ended, said) = refused(&system, &[arguments]).await;
        assert!(
            ended == exit && said.contains(code),
            "{arguments}: {ended} {said}"
        );
    }
}

/// An application that asks the vault `kv1` for a key that is not there.
struct User {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl User {
    async fn new(system: &System) -> Self {
        let create = ["principal create app --display-name user --with-secret"];
        let app = told(system, &create).await;
        let [client, secret] = ["appId", "password"].map(|name| app[name].as_str().unwrap());
        let token = system.token_of(client, secret, "https://vault.azure.net").await;
        let port = system.https_port();
        let here = ([127, 0, 0, 1], port).into();
        let client = system
            .client_builder()
            .unwrap()
            .resolve("kv1.vault.localhost", here);
        Self {
            client: client.build().unwrap(),
            url: format!("https://kv1.vault.localhost:{port}/keys/none?api-version=2025-07-01"),
            token: token.unwrap(),
        }
    }

    /// The code that it hears.
    async fn is_told(&self) -> String {
        let request = self.client.get(&self.url).bearer_auth(&self.token);
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        let error = &body["error"];
        let inner = error["innererror"]["code"].as_str();
        inner.or(error["code"].as_str()).unwrap().to_owned()
    }
}

#[tokio::test]
async fn access_policies_and_the_firewall_count_at_once() {
    let system = System::start().await.unwrap();
    told(
        &system,
        &["vault create --name kv1 --enable-rbac-authorization false"],
    )
    .await;
    let user = User::new(&system).await;
    assert_eq!(user.is_told().await, "AccessDenied");
    let set = told(
        &system,
        &["vault policy set --name kv1 --assignee user --key-permissions get list"],
    )
    .await;
    assert_eq!(set[0]["permissions"]["keys"], json!(["get", "list"]));
    assert_eq!(user.is_told().await, "KeyNotFound");
    told(&system, &["vault update --name kv1 --default-action deny"]).await;
    assert_eq!(user.is_told().await, "ForbiddenByFirewall");
    let added = told(
        &system,
        &["vault network add --name kv1 --ip-address 127.0.0.1 --ip-address 10.0.0.0/8"],
    )
    .await;
    assert_eq!(
        added["ipRules"],
        json!([{"value": "127.0.0.1/32"}, {"value": "10.0.0.0/8"}])
    );
    assert_eq!(user.is_told().await, "KeyNotFound");
    told(
        &system,
        &["vault network remove --name kv1 --ip-address 127.0.0.1"],
    )
    .await;
    assert_eq!(user.is_told().await, "ForbiddenByFirewall");
    assert_eq!(
        told(&system, &["vault network list --name kv1"]).await["ipRules"],
        json!([{"value": "10.0.0.0/8"}])
    );
    let (exit, said) = refused(
        &system,
        &["vault network remove --name kv1 --ip-address 127.0.0.1"],
    )
    .await;
    assert!(exit == 1 && said.contains("no rule"), "{said}");
    told(&system, &["vault update --name kv1 --default-action allow"]).await;
    assert_eq!(
        told(&system, &["vault policy remove --name kv1 --assignee user"]).await,
        json!([])
    );
    assert_eq!(user.is_told().await, "AccessDenied");
}

#[tokio::test]
async fn without_its_vault_the_service_is_blind_until_the_roles_are_granted_again() {
    let system = System::start().await.unwrap();
    let file = system.upload("a.txt", b"kept".to_vec()).await.unwrap();
    told(&system, &["vault delete --name customer-vault"]).await;
    let code = async || {
        let path = format!("/files/{file}/content");
        let answer = system.api(Method::GET, &path).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        body["error"]["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code().await, "customer_key_gone");
    let recovered = told(&system, &["vault recover --name customer-vault"]).await;
    assert_eq!(code().await, "customer_key_refused");
    let status = system.status().await.unwrap();
    assert_ne!(status["key"]["state"], "held");
    let scope = recovered[0]["id"].as_str().unwrap();
    let listed = told(&system, &["principal list --kind identity"]).await;
    let identity = listed[0]["id"].as_str().unwrap();
    let role = "e147488a-f6f5-4113-8e2d-b22465e65bf6";
    let grant = [
        "role assignment create --assignee-object-id",
        identity,
        "--role",
        role,
        "--scope",
        scope,
    ];
    told(&system, &grant).await;
    let granted = async {
        while system.download(&file).await.ok().as_deref() != Some(b"kept") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), granted)
        .await
        .unwrap();
}

#[tokio::test]
async fn limits_hold_where_up_is_told_so() {
    let place = tempfile::tempdir().unwrap();
    let wrong = run(place.path(), &["up --throttling 3000"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    let child = ChildOptions::new(place.path())
        .arg("--throttling")
        .arg("2000")
        .start()
        .await
        .unwrap();
    let mut last = StatusCode::OK;
    for number in 0..11 {
        let path = format!("keys/k{number}/create");
        let made = child
            .vault(Method::POST, &path, Some(json!({"kty": "EC"})))
            .await
            .unwrap();
        last = made.status();
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    child.kill().unwrap();
}
