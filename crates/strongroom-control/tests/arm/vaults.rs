//! Key Vault's management, as `az` and the management SDKs use it.

use http::Method;
use serde_json::{Value, json};
use strongroom_control::BuiltInRole;
use strongroom_vault::AuditEvent;

use crate::rig::{Rig, Told};

const VAULTS: &str = "{sub}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults";
const VAULT: &str = "{sub}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv1";
const DELETED: &str = "{sub}/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/kv1";

fn asked(rig: &Rig, properties: Value) -> Value {
    let mut whole = json!({
        "tenantId": rig.control.tenant(), "sku": {"family": "A", "name": "standard"}, "accessPolicies": [],
        "enableRbacAuthorization": true, "enableSoftDelete": true,
    });
    let properties = properties.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(properties);
    json!({"location": "East US", "tags": {"env": "test"}, "properties": whole})
}

async fn make(rig: &Rig) -> Told {
    rig.group("rg").await;
    let made = rig.put(VAULT, asked(rig, json!({}))).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made
}

async fn delete(rig: &Rig) {
    let gone = rig.ask(Method::DELETE, VAULT, Value::Null).await;
    assert_eq!(gone.status, 200, "{}", gone.body);
}

#[tokio::test]
async fn a_vault_is_made_shown_listed_changed_and_is_there_after_a_restart() {
    let rig = Rig::new().await;
    let made = make(&rig).await;
    let properties = &made.body["properties"];
    for (name, value) in [
        ("vaultUri", json!("https://kv1.vault.localhost:8443/")),
        ("provisioningState", json!("Succeeded")),
        ("enableSoftDelete", json!(true)),
        ("softDeleteRetentionInDays", json!(90)),
        ("enableRbacAuthorization", json!(true)),
        ("enablePurgeProtection", Value::Null),
        ("publicNetworkAccess", json!("Enabled")),
        ("sku", json!({"family": "A", "name": "standard"})),
        ("tenantId", json!(rig.control.tenant())),
    ] {
        assert_eq!(properties[name], value, "{name}");
    }
    assert_eq!(
        (&made.body["location"], &made.body["tags"]["env"]),
        (&json!("eastus"), &json!("test"))
    );
    assert!(made.body["systemData"]["createdBy"].is_string());
    // As `az keyvault update` does: what was shown is sent back, changed.
    let mut sent = made.body.clone();
    sent["properties"]["enabledForDeployment"] = json!(true);
    sent["properties"]["enablePurgeProtection"] = json!(true);
    let put = rig.put(&VAULT.replace("kv1", "KV1"), sent).await;
    assert_eq!(
        (put.status.as_u16(), &put.body["name"]),
        (200, &json!("kv1")),
        "{}",
        put.body
    );
    assert_eq!(put.body["properties"]["enabledForDeployment"], true);
    let patched = rig.ask(Method::PATCH, VAULT, json!({"tags": {"a": "b"}})).await;
    assert_eq!(patched.body["tags"], json!({"a": "b"}));

    let shown = rig.get(VAULT).await;
    assert_eq!((shown.status.as_u16(), &shown.body), (200, &patched.body));
    assert_ne!(shown.header("etag"), made.header("etag"));
    for path in [VAULTS, "{sub}/providers/Microsoft.KeyVault/vaults"] {
        let listed = rig.get(path).await;
        assert_eq!(listed.body["value"], json!([shown.body]), "{path}");
    }
    let every = "{sub}/resources?$filter=resourceType eq 'Microsoft.KeyVault/vaults'";
    assert_eq!(rig.get(every).await.each("name"), ["kv1"]);
    for none in ["managedHSMs", "deletedManagedHSMs"] {
        let path = format!("{{sub}}/providers/Microsoft.KeyVault/{none}");
        assert_eq!(rig.get(&path).await.body["value"], json!([]));
    }
    let hidden = rig.ask_as(
        &rig.nobody,
        Method::GET,
        "{sub}/providers/Microsoft.KeyVault/vaults",
        Value::Null,
        &[],
    );
    assert!(hidden.await.each("name").is_empty());
    let rig = rig.again().await;
    assert_eq!(rig.get(VAULT).await.body, shown.body);
}

/// Asks, and fails unless the answer is this one.
async fn expect(rig: &Rig, (method, path, body): (Method, &str, Value), status: u16, code: &str) {
    let told = rig.ask(method.clone(), path, body).await;
    let heard = (told.status.as_u16(), told.code());
    assert_eq!(heard, (status, code), "{method} {path}: {}", told.body);
}

#[tokio::test]
async fn a_put_that_makes_no_vault_is_refused_in_azures_words() {
    let rig = Rig::new().await;
    let whole = asked(&rig, json!({}));
    let put = |path: &'static str, body: &Value| (Method::PUT, path, body.clone());
    expect(&rig, put(VAULT, &whole), 404, "ResourceGroupNotFound").await;
    make(&rig).await;
    rig.group("other").await;
    let elsewhere = "{sub}/resourceGroups/other/providers/Microsoft.KeyVault/vaults/kv1";
    let misnamed = "{sub}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/1kv";
    let moved = json!({"location": "westus", "properties": whole["properties"]});
    let (empty, bare) = (json!({}), json!({"location": "eastus"}));
    let odd = json!({"location": "eastus", "properties": 5});
    expect(&rig, put(elsewhere, &whole), 409, "VaultAlreadyExists").await;
    // Whoever had the provider's name would hold the service's own key.
    let providers = "{sub}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/Strongroom-Service";
    expect(&rig, put(providers, &whole), 409, "VaultAlreadyExists").await;
    expect(&rig, put(VAULT, &empty), 400, "LocationRequired").await;
    expect(&rig, put(VAULT, &bare), 400, "BadRequest").await;
    expect(&rig, put(VAULT, &moved), 409, "InvalidResourceLocation").await;
    expect(&rig, put(VAULT, &odd), 400, "InvalidRequestContent").await;
    expect(&rig, put(misnamed, &whole), 400, "VaultNameNotValid").await;
    let stale = [("if-none-match", "*")];
    let stale = rig.ask_as(&rig.owner, Method::PUT, VAULT, whole, &stale).await;
    assert_eq!(stale.status, 412);
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_refused_and_recorded() {
    let rig = Rig::new().await;
    make(&rig).await;
    let elsewhere = &VAULT.replace("/rg/", "/other/");
    let (none, days) = (
        Value::Null,
        json!({"properties": {"softDeleteRetentionInDays": 7}}),
    );
    let purge = &format!("{DELETED}/purge");
    let (policies, secret) = (
        &format!("{VAULT}/accessPolicies/set"),
        &format!("{VAULT}/secrets/s"),
    );
    expect(
        &rig,
        (Method::GET, elsewhere, none.clone()),
        404,
        "ResourceGroupNotFound",
    )
    .await;
    expect(&rig, (Method::DELETE, elsewhere, none.clone()), 204, "").await;
    expect(&rig, (Method::PATCH, VAULT, days), 400, "BadRequest").await;
    expect(&rig, (Method::POST, purge, none.clone()), 404, "ResourceNotFound").await;
    expect(&rig, (Method::GET, DELETED, none), 404, "ResourceNotFound").await;
    expect(&rig, (Method::PUT, policies, json!({})), 400, "InvalidRequestUri").await;
    expect(&rig, (Method::PUT, secret, json!({})), 404, "InvalidResourceType").await;
    let denied = rig.ask_as(&rig.nobody, Method::DELETE, VAULT, Value::Null, &[]);
    assert_eq!(denied.await.code(), "AuthorizationFailed");
    let log = "{sub}/providers/Microsoft.Insights/eventtypes/management/values?$filter=resourceProvider eq 'Microsoft.KeyVault' and status eq 'Failed'";
    let failed = rig.get(log).await;
    let rows = failed.body["value"].as_array().unwrap();
    let mut operations = rows.iter().map(|row| &row["operationName"]["value"]);
    assert!(
        operations.any(|operation| operation == "Microsoft.KeyVault/vaults/delete"),
        "{rows:?}"
    );
}

#[tokio::test]
async fn access_policies_change_by_their_own_route() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    rig.put(VAULT, asked(&rig, json!({"enableRbacAuthorization": false})))
        .await;
    let who = uuid::Uuid::new_v4();
    let policy = |keys: Value| {
        let policy =
            json!({"tenantId": rig.control.tenant(), "objectId": who, "permissions": {"keys": keys}});
        json!({"properties": {"accessPolicies": [policy]}})
    };
    let added = rig
        .put(
            &format!("{VAULT}/accessPolicies/add"),
            policy(json!(["get", "wrapKey"])),
        )
        .await;
    assert_eq!(added.status, 200, "{}", added.body);
    let shown = &rig.get(VAULT).await.body["properties"]["accessPolicies"];
    assert_eq!(*shown, added.body["properties"]["accessPolicies"]);
    assert_eq!(
        shown[0]["permissions"],
        json!({"keys": ["get", "wrapKey"], "secrets": [], "certificates": [], "storage": []})
    );
    rig.put(
        &format!("{VAULT}/accessPolicies/remove"),
        policy(json!(["get", "wrapKey"])),
    )
    .await;
    assert_eq!(
        rig.get(VAULT).await.body["properties"]["accessPolicies"],
        json!([])
    );
}

#[tokio::test]
async fn a_deleted_vault_is_seen_recovered_and_purged() {
    let rig = Rig::new().await;
    let made = make(&rig).await;
    let identity = rig.control.account("acct").unwrap().identity.unwrap();
    let user = BuiltInRole::by_name("Key Vault Crypto User").unwrap();
    let scope = made.body["id"].as_str().unwrap().parse().unwrap();
    rig.control.ensure_assignment(identity, user, &scope).unwrap();
    delete(&rig).await;
    assert_eq!(rig.get(VAULT).await.code(), "ResourceNotFound");
    let deleted = rig.get(DELETED).await;
    assert_eq!(deleted.body["properties"]["vaultId"], made.body["id"]);
    assert!(deleted.body["properties"]["scheduledPurgeDate"].is_string());
    let all = rig.get("{sub}/providers/Microsoft.KeyVault/deletedVaults").await;
    assert_eq!(all.body["value"], json!([deleted.body]));
    assert_eq!(
        rig.put(VAULT, asked(&rig, json!({}))).await.code(),
        "ConflictError"
    );
    let name = json!({"name": "kv1", "type": "Microsoft.KeyVault/vaults"});
    let check = "{sub}/providers/Microsoft.KeyVault/checkNameAvailability";
    let taken = rig.ask(Method::POST, check, name.clone()).await;
    assert_eq!(
        (&taken.body["nameAvailable"], &taken.body["reason"]),
        (&json!(false), &json!("AlreadyExists"))
    );
    let reserved = json!({"name": "strongroom-service", "type": "Microsoft.KeyVault/vaults"});
    let reserved = rig.ask(Method::POST, check, reserved).await;
    assert_eq!(reserved.body["nameAvailable"], false);

    let recovered = rig
        .put(VAULT, asked(&rig, json!({"createMode": "recover"})))
        .await;
    assert_eq!(
        (recovered.status.as_u16(), &recovered.body["id"]),
        (200, &made.body["id"]),
        "{}",
        recovered.body
    );
    assert_eq!(rig.control.remove_assignments_below(&scope).unwrap(), 0);
    delete(&rig).await;
    let begun = rig
        .ask(Method::POST, &format!("{DELETED}/purge"), Value::Null)
        .await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    let result = begun
        .header("location")
        .strip_prefix("https://management.localhost:8443")
        .unwrap()
        .to_owned();
    assert_eq!(rig.get(&result).await.status, 200);
    assert_eq!(rig.get(DELETED).await.status, 404);
    assert_eq!(
        rig.ask(Method::POST, check, name).await.body["nameAvailable"],
        true
    );

    let again = rig
        .put(VAULT, asked(&rig, json!({"enablePurgeProtection": true})))
        .await;
    assert_eq!(again.status, 201, "{}", again.body);
    delete(&rig).await;
    let refused = rig
        .ask(Method::POST, &format!("{DELETED}/purge"), Value::Null)
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (405, "MethodNotAllowed")
    );
}

/// Everything that is done to the vault from its creation to its end.
async fn live_and_die(rig: &Rig) {
    make(rig).await;
    let from = [("x-ms-client-request-id", "11-22"), ("user-agent", "az")];
    let ask = async |method: Method, path: &str, body: Value| {
        rig.ask_as(&rig.owner, method, path, body, &from).await
    };
    ask(Method::GET, VAULT, Value::Null).await;
    ask(Method::GET, VAULTS, Value::Null).await;
    ask(Method::PATCH, VAULT, json!({"tags": {}})).await;
    let policies = json!({"properties": {"accessPolicies": []}});
    ask(Method::PUT, &format!("{VAULT}/accessPolicies/add"), policies).await;
    let key = json!({"properties": {"kty": "RSA"}});
    ask(Method::PUT, &format!("{VAULT}/keys/k1"), key).await;
    ask(Method::GET, &format!("{VAULT}/keys/k1"), Value::Null).await;
    rig.ask_as(&rig.nobody, Method::DELETE, VAULT, Value::Null, &from)
        .await;
    ask(Method::DELETE, VAULT, Value::Null).await;
    ask(Method::GET, DELETED, Value::Null).await;
    ask(
        Method::GET,
        "{sub}/providers/Microsoft.KeyVault/deletedVaults",
        Value::Null,
    )
    .await;
    ask(Method::PUT, VAULT, asked(rig, json!({"createMode": "recover"}))).await;
    ask(Method::DELETE, VAULT, Value::Null).await;
    ask(Method::POST, &format!("{DELETED}/purge"), Value::Null).await;
    ask(Method::GET, VAULT, Value::Null).await;
}

/// What the vaults' log calls each, and how it ended.
const LIFE: [(&str, &str, u16); 15] = [
    ("VaultPut", "OK", 201),
    ("VaultGet", "OK", 200),
    ("VaultList", "OK", 200),
    ("VaultPatch", "OK", 200),
    ("VaultPatch", "OK", 200),
    ("KeyCreate", "OK", 200),
    ("KeyGet", "OK", 200),
    ("VaultDelete", "AuthorizationFailed", 403),
    ("VaultDelete", "OK", 200),
    ("VaultGetDeleted", "OK", 200),
    ("VaultListDeleted", "OK", 200),
    ("VaultRecover", "OK", 200),
    ("VaultDelete", "OK", 200),
    ("VaultPurge", "OK", 202),
    ("VaultGet", "ResourceNotFound", 404),
];

fn has_every_field(rig: &Rig, event: &AuditEvent) {
    let vault = VAULT.replace("{sub}", &rig.subscription).to_uppercase();
    let shown = serde_json::to_value(event).unwrap();
    assert!(shown["time"].as_str().unwrap().ends_with('Z'), "{shown}");
    assert!(
        shown["durationMs"].as_str().unwrap().parse::<u64>().is_ok(),
        "{shown}"
    );
    for (place, text) in [
        ("/operationVersion", "2024-11-01"),
        ("/category", "AuditEvent"),
        ("/callerIpAddress", "127.0.0.1"),
        ("/correlationId", "11-22"),
        ("/properties/clientInfo", "az"),
    ] {
        assert_eq!(
            shown.pointer(place).and_then(Value::as_str),
            Some(text),
            "{place} of {shown}"
        );
    }
    let claim = &shown["identity"]["claim"];
    let who = &claim["http://schemas.microsoft.com/identity/claims/objectidentifier"];
    let is_refused = shown["resultSignature"] == "AuthorizationFailed";
    assert_eq!(
        *who,
        json!(if is_refused { rig.nobody_id } else { rig.owner_id }),
        "{shown}"
    );
    assert!(claim["appid"].is_string(), "{shown}");
    assert_eq!(
        shown.get("resultDescription").is_some(),
        shown["resultType"] == "Failed",
        "{shown}"
    );
    let uri = shown["properties"]["requestUri"].as_str().unwrap();
    assert!(
        uri.starts_with("https://management.localhost:8443/subscriptions/"),
        "{uri}"
    );
    let is_list = event.operation_name.contains("List");
    assert_eq!(event.resource_id == vault, !is_list, "{shown}");
    let id = shown["properties"]["id"].as_str().unwrap();
    assert_eq!(
        id.starts_with("https://kv1.vault.localhost:8443/"),
        !is_list,
        "{shown}"
    );
}

#[tokio::test]
async fn what_is_done_to_a_vault_is_in_the_vaults_log_reads_and_refusals_too() {
    let rig = Rig::new().await;
    live_and_die(&rig).await;
    let events = std::mem::take(&mut *rig.audits.events.lock().unwrap());
    let ended = |event: &AuditEvent| {
        (
            event.operation_name,
            event.result_signature.clone(),
            event.properties.http_status_code,
        )
    };
    let seen: Vec<_> = events.iter().map(ended).collect();
    assert_eq!(
        seen,
        LIFE.map(|(name, result, status)| (name, result.to_owned(), status))
    );
    events[1..].iter().for_each(|event| has_every_field(&rig, event));

    // What was done is not told without its record; a refusal is told all the same.
    rig.audits
        .is_shut
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let told = rig.get(VAULTS).await;
    assert_eq!((told.status.as_u16(), told.code()), (503, "ServiceUnavailable"));
    let told = rig.get(&VAULT.replace("kv1", "none")).await;
    assert_eq!(told.code(), "ResourceNotFound");
}

#[tokio::test]
async fn a_row_that_is_too_old_lets_nobody_assign_roles_on_a_vault_that_went() {
    let rig = Rig::new().await;
    let scope = make(&rig).await.body["id"].as_str().unwrap().parse().unwrap();
    let new = strongroom_control::NewAssignment {
        id: uuid::Uuid::new_v4(),
        principal: rig.nobody_id,
        principal_type: None,
        role: BuiltInRole::by_name("Reader").unwrap().id,
        scope,
        description: None,
    };
    rig.vaults.delete_vault("kv1").unwrap();
    assert!(rig.actor().assign(new.clone()).is_err());
    rig.vaults.recover_vault("kv1").unwrap();
    assert!(rig.actor().assign(new).is_ok());
}

#[tokio::test]
async fn vaults_go_with_their_group_and_locks_hold_them() {
    let rig = Rig::new().await;
    make(&rig).await;
    let lock = format!("{VAULT}/providers/Microsoft.Authorization/locks/keep");
    rig.put(&lock, json!({"properties": {"level": "CanNotDelete"}}))
        .await;
    assert_eq!(
        rig.ask(Method::DELETE, VAULT, Value::Null).await.code(),
        "ScopeLocked"
    );
    rig.ask(Method::DELETE, &lock, Value::Null).await;
    let begun = rig
        .ask(Method::DELETE, "{sub}/resourceGroups/rg", Value::Null)
        .await;
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    assert_eq!(rig.get(DELETED).await.status, 200);
    assert!(rig.vaults.vaults().is_empty());
    // It comes back into a group of its group's name only.
    let recover = asked(&rig, json!({"createMode": "recover"}));
    assert_eq!(
        rig.put(VAULT, recover.clone()).await.code(),
        "ResourceGroupNotFound"
    );
    rig.group("rg").await;
    assert_eq!(rig.put(VAULT, recover).await.status, 200);
}

#[tokio::test]
async fn rows_say_what_the_vaults_say_after_a_stop_in_between() {
    let rig = Rig::new().await;
    let made = make(&rig).await;
    let set = |change: fn(&mut strongroom_vault::VaultSettings)| {
        rig.vaults.update_vault("kv1", |before| {
            let mut after = before.clone();
            change(&mut after);
            Ok::<_, strongroom_vault::VaultFault>(after)
        })
    };
    set(|vault| vault.purge_protection = true).unwrap();
    let rig = rig.again().await;
    let shown = rig.get(VAULT).await.body;
    assert_eq!(shown["properties"]["enablePurgeProtection"], true);
    assert_eq!(shown["systemData"], made.body["systemData"]);
    rig.vaults.delete_vault("kv1").unwrap();
    let rig = rig.again().await;
    assert_eq!(rig.get(VAULT).await.status, 404);
    rig.vaults.recover_vault("kv1").unwrap();
    let rig = rig.again().await;
    assert_eq!(rig.get(VAULT).await.body["id"], made.body["id"]);
}

#[tokio::test]
async fn keys_are_made_once_and_seen_through_resource_manager() {
    let rig = Rig::new().await;
    make(&rig).await;
    let key = format!("{VAULT}/keys/k1");
    let body = json!({"tags": {"a": "b"}, "properties": {"kty": "EC", "curveName": "P-256", "attributes": {"enabled": true}}});
    let made = rig.put(&key, body).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let properties = &made.body["properties"];
    assert_eq!(
        (&properties["kty"], &properties["curveName"]),
        (&json!("EC"), &json!("P-256"))
    );
    assert_eq!(properties["keyUri"], "https://kv1.vault.localhost:8443/keys/k1");
    let again = rig.put(&key, json!({"properties": {"kty": "RSA"}})).await;
    assert_eq!(again.body, made.body);
    let shown = rig.get(&key).await;
    assert_eq!(shown.body, made.body);
    let versions = rig.get(&format!("{key}/versions")).await;
    let version = versions.each("name").remove(0);
    assert!(
        properties["keyUriWithVersion"]
            .as_str()
            .unwrap()
            .ends_with(&version)
    );
    let one = rig.get(&format!("{key}/versions/{version}")).await;
    assert_eq!(
        (one.status.as_u16(), &one.body),
        (200, &versions.body["value"][0])
    );
    for number in 2..28 {
        let body = json!({"properties": {"kty": "EC"}});
        assert_eq!(
            rig.put(&format!("{VAULT}/keys/k{number}"), body).await.status,
            200
        );
    }
    let (names, pages) = rig.all(&format!("{VAULT}/keys"), "name").await;
    assert_eq!((names.len(), pages), (27, 2));
    for (path, body, status, code) in [
        (
            "keys/x",
            json!({"properties": {"kty": "RSA-HSM"}}),
            400,
            "BadRequest",
        ),
        (
            "keys/x",
            json!({"properties": {"kty": "RSA", "keySize": 1024}}),
            400,
            "BadRequest",
        ),
        (
            "keys/x",
            json!({"properties": {"kty": "EC", "rotationPolicy": {}}}),
            400,
            "BadRequest",
        ),
        ("keys/x", json!({}), 400, "InvalidRequestContent"),
        ("keys/none", Value::Null, 404, "KeyNotFound"),
    ] {
        let method = if body.is_null() { Method::GET } else { Method::PUT };
        let told = rig.ask(method, &format!("{VAULT}/{path}"), body).await;
        assert_eq!(
            (told.status.as_u16(), told.code()),
            (status, code),
            "{}",
            told.body
        );
    }
}

const ENDPOINT: &str = "{sub}/resourceGroups/rg/providers/Microsoft.Network/privateEndpoints/pe";
const CONNECTIONS: &str =
    "{sub}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv1/privateEndpointConnections";
const BY_HAND: &str = "manualPrivateLinkServiceConnections";
const BY_ITSELF: &str = "privateLinkServiceConnections";

/// An endpoint that asks to reach a resource.
fn asking(target: &Value, how: &str) -> Value {
    let asks = json!([{"name": "c", "properties": {"privateLinkServiceId": target, "groupIds": ["vault"]}}]);
    json!({"location": "eastus", "properties": {how: asks}})
}

/// What an endpoint, or its vault, says of the one connection.
fn state<'a>(shown: &'a Value, list: &str) -> &'a Value {
    &shown["properties"][list][0]["properties"]["privateLinkServiceConnectionState"]["status"]
}

#[tokio::test]
async fn private_endpoints_ask_and_owners_approve_or_reject() {
    let rig = Rig::new().await;
    let vault = make(&rig).await.body["id"].clone();
    let made = rig.put(ENDPOINT, asking(&vault, BY_HAND)).await;
    assert_eq!(
        (made.status.as_u16(), state(&made.body, BY_HAND)),
        (201, &json!("Pending"))
    );
    let one = format!(
        "{CONNECTIONS}/{}",
        rig.get(CONNECTIONS).await.each("name").remove(0)
    );
    let decide =
        |status: &str| json!({"properties": {"privateLinkServiceConnectionState": {"status": status}}});
    let approved = rig.put(&one, decide("approved")).await;
    assert_eq!(approved.status, 200, "{}", approved.body);
    assert_eq!(state(&rig.get(ENDPOINT).await.body, BY_HAND), "Approved");
    let shown = rig.get(VAULT).await.body;
    assert_eq!(state(&shown, "privateEndpointConnections"), "Approved");
    // Asking again keeps what was decided, also through a change of the vault and a restart.
    rig.put(&one, decide("Rejected")).await;
    rig.put(ENDPOINT, asking(&vault, BY_HAND)).await;
    rig.ask(Method::PATCH, VAULT, json!({"tags": {}})).await;
    let rig = rig.again().await;
    assert_eq!(
        state(&rig.get(VAULT).await.body, "privateEndpointConnections"),
        "Rejected"
    );
    let links = rig.get(&format!("{VAULT}/privateLinkResources")).await;
    assert_eq!(links.body["value"][0]["properties"]["groupId"], "vault");
    expect(&rig, (Method::PUT, &one, decide("Perhaps")), 400, "BadRequest").await;

    assert_eq!(rig.ask(Method::DELETE, ENDPOINT, Value::Null).await.status, 200);
    assert!(rig.get(CONNECTIONS).await.each("name").is_empty());
    assert!(state(&rig.get(VAULT).await.body, "privateEndpointConnections").is_null());
    expect(
        &rig,
        (Method::PUT, &one, decide("Approved")),
        404,
        "PrivateEndpointConnectionNotFound",
    )
    .await;
}

#[tokio::test]
async fn an_endpoint_approves_itself_only_for_whoever_may_and_leaves_what_it_no_longer_asks_for() {
    let rig = Rig::new().await;
    let vault = make(&rig).await.body["id"].clone();
    let contributor = BuiltInRole::by_name("Contributor").unwrap();
    let identity = rig.control.account("acct").unwrap().identity.unwrap();
    let at = ENDPOINT.replace("{sub}", &rig.subscription).parse().unwrap();
    rig.control.ensure_assignment(identity, contributor, &at).unwrap();
    let alone = asking(&vault, BY_ITSELF);
    let refused = rig
        .ask_as(&rig.nobody, Method::PUT, ENDPOINT, alone.clone(), &[])
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (403, "LinkedAuthorizationFailed")
    );
    let group = asking(&json!(format!("{}/resourceGroups/rg", rig.subscription)), BY_HAND);
    expect(&rig, (Method::PUT, ENDPOINT, group), 404, "ResourceNotFound").await;
    let made = rig.put(ENDPOINT, alone).await;
    assert_eq!(state(&made.body, BY_ITSELF), "Approved");
    rig.put(ENDPOINT, json!({"location": "eastus", "properties": {}}))
        .await;
    assert!(rig.get(CONNECTIONS).await.each("name").is_empty());
}
