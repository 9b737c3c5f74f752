//! Roles, principals and account keys against a running instance, as a person handles them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Output;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use strongroom_testkit::{System, strongroom_command};

async fn run(system: &System, arguments: &[&str]) -> Output {
    strongroom_command(system.folder().root(), arguments)
        .await
        .unwrap()
}

async fn json(system: &System, arguments: &[&str]) -> Value {
    let output = run(system, &[arguments, &["--output", "json"]].concat()).await;
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a refused command says, and its exit code.
async fn refused(system: &System, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(system, arguments).await;
    assert!(!output.status.success(), "{arguments:?}");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap().to_owned()
}

/// A token of an application, for an audience.
async fn token(system: &System, application: &Value, audience: &str) -> String {
    let (client, secret) = (text(application, "appId"), text(application, "password"));
    system.token_of(&client, &secret, audience).await.unwrap()
}

#[tokio::test]
async fn a_role_is_given_and_taken_away_and_counts_at_the_vault_at_once() {
    let system = System::start().await.unwrap();
    let app = json(
        &system,
        &[
            "principal",
            "create",
            "app",
            "--display-name",
            "reader",
            "--with-secret",
        ],
    )
    .await;
    let vault_token = token(&system, &app, "https://vault.azure.net").await;
    let key = format!(
        "{}/keys/{}?api-version=2025-07-01",
        system.variable("STRONGROOM_VAULT_URL").trim_end_matches('/'),
        system.variable("STRONGROOM_KEY")
    );
    let status = async || {
        let request = system.client().get(&key).bearer_auth(&vault_token);
        request.send().await.unwrap().status()
    };
    assert_eq!(status().await, StatusCode::FORBIDDEN);
    let create = [
        "role",
        "assignment",
        "create",
        "--assignee",
        "reader",
        "--role",
        "Key Vault Reader",
    ];
    let made = json(&system, &create).await;
    assert_eq!(made[0]["properties"]["principalId"], app["id"]);
    assert_eq!(made[0]["properties"]["principalType"], "ServicePrincipal");
    assert_eq!(status().await, StatusCode::OK);

    let (exit, told) = refused(&system, &create).await;
    assert_eq!(exit, Some(1));
    assert!(told.contains("RoleAssignmentExists"), "{told}");
    assert!(told.contains(&text(&made[0], "name").replace('-', "")), "{told}");

    let listed = json(&system, &["role", "assignment", "list", "--assignee", "reader"]).await;
    assert_eq!(listed, made);
    let table = run(&system, &["role", "assignment", "list"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("Key Vault Reader") && table.contains("administrator"),
        "{table}"
    );

    let gone = json(
        &system,
        &[
            "role",
            "assignment",
            "delete",
            "--assignee",
            "reader",
            "--role",
            "Key Vault Reader",
        ],
    )
    .await;
    assert_eq!(gone, made);
    assert_eq!(status().await, StatusCode::FORBIDDEN);
}

/// The administrator's routes, on behalf of an application without any role.
struct Nobody {
    system: System,
    application: Value,
    token: String,
    group: String,
}

impl Nobody {
    async fn new() -> Self {
        let system = System::start().await.unwrap();
        let create = [
            "principal",
            "create",
            "app",
            "--display-name",
            "nobody",
            "--with-secret",
        ];
        let application = json(&system, &create).await;
        let token = token(&system, &application, "https://management.core.windows.net/").await;
        let group = format!(
            "/subscriptions/{}/resourceGroups/{}",
            system.variable("AZURE_SUBSCRIPTION_ID"),
            system.variable("STRONGROOM_RESOURCE_GROUP")
        );
        Self {
            system,
            application,
            token,
            group,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("https://localhost:{}/strongroom/{path}", self.system.https_port());
        let request = self.system.client().request(method, url).bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

#[tokio::test]
async fn whoever_may_not_is_told_which_action_is_missing_where() {
    let nobody = Nobody::new().await;
    let at = format!("scope={}", nobody.group);
    let owner = json!({"properties": {
        "roleDefinitionId": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
        "principalId": nobody.application["id"],
    }});
    let one = format!("role-assignments/{}?{at}", uuid::Uuid::new_v4());
    let key = json!({"keyName": "Key1"});
    let off = json!({"properties": {"disableLocalAuth": true}});
    let (assignments, account) = (
        "Microsoft.Authorization/roleAssignments",
        "Microsoft.CognitiveServices/accounts",
    );
    for (method, path, body, action) in [
        (
            Method::PUT,
            one.clone(),
            Some(owner),
            format!("{assignments}/write"),
        ),
        (Method::DELETE, one, None, format!("{assignments}/delete")),
        (
            Method::GET,
            format!("role-assignments?{at}"),
            None,
            format!("{assignments}/read"),
        ),
        (
            Method::GET,
            format!("role-definitions?{at}"),
            None,
            "Microsoft.Authorization/roleDefinitions/read".to_owned(),
        ),
        (
            Method::POST,
            "accounts/main/list-keys".to_owned(),
            None,
            format!("{account}/listKeys/action"),
        ),
        (
            Method::POST,
            "accounts/main/regenerate-key".to_owned(),
            Some(key),
            format!("{account}/regenerateKey/action"),
        ),
        (
            Method::PATCH,
            "accounts/main".to_owned(),
            Some(off),
            format!("{account}/write"),
        ),
    ] {
        let (status, answer) = nobody.ask(method, &path, body).await;
        let code = answer["error"]["code"].as_str();
        assert_eq!((status, code), (403, Some("AuthorizationFailed")), "{path}");
        let message = text(&answer["error"], "message");
        // Whether there is an account of that name is not told, and so not where it is either.
        let place = match path.starts_with("accounts/") {
            true => "/providers/Microsoft.CognitiveServices/accounts/main'",
            false => &nobody.group,
        };
        assert!(message.contains(&action) && message.contains(place), "{message}");
    }
    let (status, answer) = nobody.ask(Method::GET, "principals", None).await;
    let code = answer["error"]["code"].as_str();
    assert_eq!((status, code), (403, Some("Authorization_RequestDenied")));
}

#[tokio::test]
async fn requests_that_make_no_sense_are_told_so_in_the_shape_of_errors() {
    let nobody = Nobody::new().await;
    let id = uuid::Uuid::new_v4();
    for (method, path, body) in [
        (Method::PUT, "role-assignments/none?scope=/".to_owned(), None),
        (Method::PUT, format!("role-assignments/{id}?scope=/"), None),
        (
            Method::PUT,
            format!("role-assignments/{id}?scope=nowhere"),
            Some(json!({"properties": {}})),
        ),
        (Method::GET, "role-assignments".to_owned(), None),
        (Method::GET, "role-assignments?scope=nowhere".to_owned(), None),
        (
            Method::POST,
            "principals".to_owned(),
            Some(json!({"kind": "robot"})),
        ),
        (
            Method::POST,
            "accounts/main/regenerate-key".to_owned(),
            Some(json!({"keyName": "Key3"})),
        ),
        (
            Method::PATCH,
            "accounts/main".to_owned(),
            Some(json!("x".repeat(100_000))),
        ),
    ] {
        let (status, answer) = nobody.ask(method, &path, body).await;
        assert!((400..500).contains(&status), "{path} {status}");
        assert!(answer["error"]["code"].is_string(), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_custom_role_is_made_changed_and_deleted_by_its_name() {
    let system = System::start().await.unwrap();
    let read = "Microsoft.KeyVault/vaults/keys/read";
    let create = [
        "role",
        "definition",
        "create",
        "--name",
        "Key Looker",
        "--data-action",
        read,
    ];
    let role = json(&system, &create).await;
    assert_eq!(role[0]["properties"]["type"], "CustomRole");
    let update = [
        "role",
        "definition",
        "update",
        "--name",
        "key looker",
        "--action",
        "*/read",
    ];
    let changed = json(&system, &update).await;
    let permission = &changed[0]["properties"]["permissions"][0];
    assert_eq!(
        (&permission["dataActions"][0], &permission["actions"][0]),
        (&json!(read), &json!("*/read"))
    );
    let listed = json(&system, &["role", "definition", "list", "--custom-role-only"]).await;
    assert_eq!(listed, changed);
    let assignee = system.variable("AZURE_CLIENT_ID").to_owned();
    let on = ["--assignee", &assignee, "--role", "Key Looker"];
    json(&system, &[&["role", "assignment", "create"][..], &on].concat()).await;
    let delete = ["role", "definition", "delete", "--name", "Key Looker"];
    let (_, told) = refused(&system, &delete).await;
    assert!(told.contains("RoleDefinitionHasAssignments"), "{told}");
    json(&system, &[&["role", "assignment", "delete"][..], &on].concat()).await;
    json(&system, &delete).await;
}

#[tokio::test]
async fn groups_users_and_identities_are_handled_by_name() {
    let system = System::start().await.unwrap();
    json(
        &system,
        &["principal", "create", "group", "--display-name", "Key People"],
    )
    .await;
    let ada = "ada@contoso.example";
    let user = [
        "principal",
        "create",
        "user",
        "--display-name",
        "Ada",
        "--user-principal-name",
        ada,
    ];
    json(&system, &user).await;
    json(
        &system,
        &["group", "member", "add", "--group", "Key People", "--member", ada],
    )
    .await;
    let list = ["group", "member", "list", "--group", "Key People"];
    assert_eq!(json(&system, &list).await[0]["userPrincipalName"], ada);
    let create = [
        "role",
        "assignment",
        "create",
        "--assignee",
        "Key People",
        "--role",
        "Reader",
    ];
    json(&system, &create).await;
    let through = [
        "role",
        "assignment",
        "list",
        "--assignee",
        "Ada",
        "--include-groups",
    ];
    assert_eq!(json(&system, &through).await.as_array().unwrap().len(), 1);
    json(&system, &["principal", "delete", "--id", "Ada"]).await;
    assert_eq!(json(&system, &list).await, json!([]));

    let identity = json(
        &system,
        &["principal", "create", "identity", "--name", "service-id"],
    )
    .await;
    let client = text(&identity[0], "appId");
    let with = json(&system, &["account", "identity", "assign", "--identity", &client]).await;
    assert_eq!(with["identity"]["type"], "SystemAssigned, UserAssigned");
    let without = json(&system, &["account", "identity", "remove", "--identity", &client]).await;
    assert_eq!(without["identity"]["type"], "SystemAssigned");
}

#[tokio::test]
async fn account_keys_are_listed_regenerated_and_turned_off_live() {
    let system = System::start().await.unwrap();
    let keys = json(&system, &["account", "keys", "list"]).await;
    assert_eq!(text(&keys, "key1"), system.variable("OPENAI_API_KEY"));
    let status = async |key: &str| {
        let url = format!("{}/models", system.base_url());
        system
            .client()
            .get(url)
            .bearer_auth(key)
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(status(&text(&keys, "key1")).await, StatusCode::OK);
    let again = json(&system, &["account", "keys", "regenerate", "--key-name", "key1"]).await;
    assert_eq!(again["key2"], keys["key2"]);
    assert_eq!(status(&text(&keys, "key1")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&text(&again, "key1")).await, StatusCode::OK);
    let off = json(&system, &["account", "update", "--disable-local-auth", "true"]).await;
    assert_eq!(off["properties"]["disableLocalAuth"], true);
    assert_eq!(status(&text(&again, "key2")).await, StatusCode::UNAUTHORIZED);
    let (_, told) = refused(&system, &["account", "keys", "list"]).await;
    assert!(told.contains("disableLocalAuth is set to be true"), "{told}");
    json(&system, &["account", "update", "--disable-local-auth", "false"]).await;
    assert_eq!(status(&text(&again, "key2")).await, StatusCode::OK);
}
