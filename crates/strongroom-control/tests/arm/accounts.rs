//! Accounts of the AI service, as `az cognitiveservices` and the management SDKs ask for them.

use http::Method;
use serde_json::{Value, json};
use strongroom_control::NewIdentity;

use crate::rig::{Rig, Told};

pub(crate) const ONE: &str = "{sub}/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/one";
const DELETED: &str =
    "{sub}/providers/Microsoft.CognitiveServices/locations/eastus/resourceGroups/rg/deletedAccounts/one";

pub(crate) async fn rig_with_group() -> Rig {
    let rig = Rig::new().await;
    rig.group("rg").await;
    rig
}

pub(crate) async fn made(rig: &Rig) -> Told {
    let body = json!({
        "location": "East US", "kind": "OpenAI", "sku": {"name": "S0"}, "tags": {"team": "red"},
        "identity": {"type": "SystemAssigned"},
        "properties": {"publicNetworkAccess": "Enabled", "dynamicThrottlingEnabled": true},
    });
    let told = rig.put(ONE, body).await;
    assert_eq!(told.status, 201, "{}", told.body);
    told
}

pub(crate) async fn patch(rig: &Rig, body: Value) -> Told {
    rig.ask(Method::PATCH, ONE, body).await
}

#[tokio::test]
async fn an_account_is_made_shown_listed_and_changed() {
    let rig = rig_with_group().await;
    let told = made(&rig).await;
    let properties = &told.body["properties"];
    assert_eq!(properties["provisioningState"], "Succeeded");
    assert_eq!(properties["endpoint"], "https://one.openai.localhost/");
    assert!(properties.get("encryption").is_none());
    assert_eq!(properties["dynamicThrottlingEnabled"], true);
    assert_eq!(properties["networkAcls"]["defaultAction"], "Allow");
    assert_eq!(
        (&told.body["location"], &told.body["kind"]),
        (&json!("eastus"), &json!("OpenAI"))
    );
    assert!(told.body["identity"]["principalId"].is_string());
    let shown = rig.get(&ONE.replace("accounts", "ACCOUNTS")).await;
    assert_eq!(shown.body, told.body);
    assert_eq!(shown.header("etag"), told.header("etag"));

    let told = patch(
        &rig,
        json!({"tags": {"team": "blue"}, "properties": {"disableLocalAuth": true, "networkAcls": {
            "defaultAction": "Deny", "ipRules": [{"value": "10.0.0.0/24"}, {"value": "127.0.0.1"}],
        }}}),
    )
    .await;
    assert_eq!(told.status, 200, "{}", told.body);
    let properties = &told.body["properties"];
    assert_eq!(told.body["tags"], json!({"team": "blue"}));
    assert_eq!(
        (
            &properties["disableLocalAuth"],
            &properties["dynamicThrottlingEnabled"]
        ),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        properties["networkAcls"]["ipRules"],
        json!([{"value": "10.0.0.0/24"}, {"value": "127.0.0.1"}])
    );
    assert!(rig.control.account("one").unwrap().disable_local_auth);
}

#[tokio::test]
async fn accounts_are_in_lists_and_resource_graph_whichever_door_changed_them() {
    let rig = rig_with_group().await;
    made(&rig).await;
    for list in [
        "{sub}/providers/Microsoft.CognitiveServices/accounts",
        "{sub}/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts",
    ] {
        let (names, _) = rig.all(list, "name").await;
        assert!(names.contains(&"one".to_owned()), "{list}");
    }
    let query = json!({"query": "Resources | where type =~ 'microsoft.cognitiveservices/accounts' and tags.team == 'red' | project name, properties.endpoint"});
    let told = rig
        .ask(
            Method::POST,
            "/providers/Microsoft.ResourceGraph/resources",
            query,
        )
        .await;
    assert_eq!(told.body["data"][0]["name"], "one");
    // What the tags' own provider says is the account's too, and what other doors change is in the lists.
    let tags = json!({"operation": "Merge", "properties": {"tags": {"cost": "7"}}});
    let told = rig
        .ask(
            Method::PATCH,
            &format!("{ONE}/providers/Microsoft.Resources/tags/default"),
            tags,
        )
        .await;
    assert_eq!(told.status, 200);
    assert_eq!(rig.control.account("one").unwrap().tags.len(), 2);
    let rig = rig.again().await;
    assert_eq!(
        rig.get(ONE).await.body["tags"],
        json!({"team": "red", "cost": "7"})
    );
}

#[tokio::test]
async fn what_makes_no_account_is_refused_as_azure_words_it() {
    let rig = rig_with_group().await;
    let body = |kind: &str, sku: &str| json!({"location": "eastus", "kind": kind, "sku": {"name": sku}});
    for (path, body, status, code) in [
        (ONE, body("Face", "S0"), 400, "InvalidApiSetId"),
        (ONE, body("OpenAI", "F0"), 400, "InvalidSkuId"),
        (ONE, json!({"kind": "OpenAI"}), 400, "LocationRequired"),
        (
            ONE,
            json!({"location": "eastus", "identity": {"type": "Borrowed"}}),
            400,
            "InvalidRequestContent",
        ),
        (
            ONE,
            json!({"location": "eastus", "properties": {"networkAcls": {"ipRules": [{"value": "x"}]}}}),
            400,
            "InvalidIpRule",
        ),
        (
            ONE,
            json!({"location": "eastus", "properties": {"encryption": {"keySource": "Mine"}}}),
            400,
            "InvalidRequestContent",
        ),
        (
            "{sub}/resourceGroups/none/providers/Microsoft.CognitiveServices/accounts/one",
            body("OpenAI", "S0"),
            404,
            "ResourceGroupNotFound",
        ),
        (
            "{sub}/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/a_b",
            body("OpenAI", "S0"),
            400,
            "InvalidResourceName",
        ),
    ] {
        let told = rig.put(path, body).await;
        assert_eq!(
            (told.status.as_u16(), told.code()),
            (status, code),
            "{path} {}",
            told.body
        );
    }
    assert_eq!(patch(&rig, json!({"tags": {}})).await.code(), "ResourceNotFound");
    assert_eq!(rig.get(ONE).await.code(), "ResourceNotFound");
    made(&rig).await;
    let elsewhere = rig.put(ONE, json!({"location": "westus"})).await;
    assert_eq!(
        (elsewhere.status.as_u16(), elsewhere.code()),
        (409, "InvalidResourceLocation")
    );
    rig.group("other").await;
    let taken = rig
        .put(
            "{sub}/resourceGroups/other/providers/Microsoft.CognitiveServices/accounts/ONE",
            body("OpenAI", "S0"),
        )
        .await;
    assert_eq!((taken.status.as_u16(), taken.code()), (409, "CustomDomainInUse"));
    let denied = rig
        .ask_as(&rig.nobody, Method::PUT, ONE, body("OpenAI", "S0"), &[])
        .await;
    assert_eq!(denied.code(), "AuthorizationFailed");
}

#[tokio::test]
async fn a_subdomain_is_a_label_of_its_own_and_set_once() {
    let rig = rig_with_group().await;
    made(&rig).await;
    let told = patch(&rig, json!({"properties": {"customSubDomainName": "Special"}})).await;
    assert_eq!(
        told.body["properties"]["endpoint"],
        "https://special.openai.localhost/"
    );
    assert_eq!(rig.control.account_at("special").unwrap().name, "one");
    assert_eq!(rig.control.account_at("ONE").unwrap().name, "one");
    let again = patch(&rig, json!({"properties": {"customSubDomainName": "other"}})).await;
    assert_eq!(again.code(), "CannotChangeCustomDomain");
    let other = "{sub}/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/special";
    assert_eq!(
        rig.put(other, json!({"location": "eastus"})).await.code(),
        "CustomDomainInUse"
    );
    let check = async |label: &str| {
        let body = json!({"subdomainName": label, "type": "Microsoft.CognitiveServices/accounts"});
        let path = "{sub}/providers/Microsoft.CognitiveServices/checkDomainAvailability";
        rig.ask(Method::POST, path, body).await.body["isSubdomainAvailable"].clone()
    };
    assert_eq!(
        (check("special").await, check("one").await, check("free").await),
        (json!(false), json!(false), json!(true))
    );
    assert_eq!(check("not_a_label").await, false);
}

#[tokio::test]
async fn identities_come_and_go_and_are_nobody_afterwards() {
    let rig = rig_with_group().await;
    let first = made(&rig).await.body["identity"]["principalId"].clone();
    let owner = rig.control.actor(rig.owner_id);
    let user = owner
        .create_identity(&NewIdentity {
            name: "user".to_owned(),
            resource_group: "rg".to_owned(),
            location: "eastus".to_owned(),
        })
        .unwrap();
    let id = user.resource().unwrap().to_owned();
    let both = json!({"identity": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {id.clone(): {}}}});
    let told = patch(&rig, both).await;
    let identity = &told.body["identity"];
    assert_eq!(
        (&identity["type"], &identity["principalId"]),
        (&json!("SystemAssigned, UserAssigned"), &first)
    );
    assert_eq!(
        identity["userAssignedIdentities"][&id]["principalId"],
        user.object_id.to_string()
    );
    let strange =
        json!({"identity": {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/x": {}}}});
    assert_eq!(patch(&rig, strange).await.status, 404);
    let told = patch(&rig, json!({"identity": {"type": "UserAssigned"}})).await;
    assert_eq!(
        told.body["identity"]["type"], "UserAssigned",
        "those that are not named stay"
    );
    assert!(
        rig.control
            .principal(first.as_str().unwrap().parse().unwrap())
            .is_none()
    );
    let told = patch(&rig, json!({"identity": {"type": "None"}})).await;
    assert!(told.body.get("identity").is_none());
    let told = patch(&rig, json!({"identity": {"type": "SystemAssigned"}})).await;
    assert_ne!(told.body["identity"]["principalId"], first, "it is another one");
}

#[tokio::test]
async fn keys_are_listed_and_made_anew() {
    let rig = rig_with_group().await;
    made(&rig).await;
    let keys = rig
        .ask(Method::POST, &format!("{ONE}/listKeys"), Value::Null)
        .await;
    assert_eq!(keys.status, 200, "{}", keys.body);
    let body = json!({"keyName": "Key2"});
    let made = rig.ask(Method::POST, &format!("{ONE}/regenerateKey"), body).await;
    assert_eq!(made.body["key1"], keys.body["key1"]);
    assert_ne!(made.body["key2"], keys.body["key2"]);
    let slot = |key: &Value| {
        rig.control
            .authenticate_key("one", key.as_str().unwrap())
            .map(|(_, slot)| slot)
    };
    assert_eq!(
        (slot(&keys.body["key2"]), slot(&made.body["key2"])),
        (None, Some(1))
    );
    patch(&rig, json!({"properties": {"disableLocalAuth": true}})).await;
    let refused = rig
        .ask(Method::POST, &format!("{ONE}/listKeys"), Value::Null)
        .await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "BadRequest"));
}

#[tokio::test]
async fn deployments_name_models_that_there_are() {
    let rig = rig_with_group().await;
    made(&rig).await;
    let one = format!("{ONE}/deployments/chat");
    let body = |model: &str, more: Value| {
        let mut properties = json!({"model": {"format": "OpenAI", "name": model, "version": "1"}});
        properties
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"sku": {"name": "Standard", "capacity": 3}, "properties": properties})
    };
    let refused = rig.put(&one, body("gpt-17", json!({}))).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (400, "DeploymentModelNotSupported")
    );
    let told = rig
        .put(
            &one,
            body(
                "rehearsal",
                json!({"raiPolicyName": "x", "revocationPolicy": "Drain"}),
            ),
        )
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    let properties = &told.body["properties"];
    assert_eq!(
        (&properties["raiPolicyName"], &properties["revocationPolicy"]),
        (&json!("x"), &json!("Drain"))
    );
    assert_eq!(properties["provisioningState"], "Succeeded");
    let wrong = rig
        .put(&one, body("rehearsal", json!({"revocationPolicy": "Ignore"})))
        .await;
    assert_eq!(wrong.code(), "InvalidRequestContent");
    let again = rig.put(&one, body("rehearsal", json!({}))).await;
    assert_eq!(
        (
            again.status.as_u16(),
            &again.body["properties"]["revocationPolicy"]
        ),
        (200, &json!("Drain"))
    );
    let changed = rig
        .ask(
            Method::PATCH,
            &one,
            json!({"sku": {"name": "Standard", "capacity": 9}, "tags": {"a": "b"}}),
        )
        .await;
    assert_eq!(
        (&changed.body["sku"]["capacity"], &changed.body["tags"]["a"]),
        (&json!(9), &json!("b"))
    );
}

#[tokio::test]
async fn what_there_is_to_choose_from_and_how_much_is_used_is_told() {
    let rig = rig_with_group().await;
    made(&rig).await;
    let one = format!("{ONE}/deployments/chat");
    let body = json!({
        "sku": {"name": "Standard", "capacity": "9"},
        "properties": {"model": {"format": "OpenAI", "name": "rehearsal", "version": "1"}},
    });
    assert_eq!(rig.put(&one, body).await.status, 201);
    let used = rig.get(&format!("{ONE}/usages")).await;
    assert_eq!(used.body["value"][0]["currentValue"], 9);
    assert_eq!(
        rig.get(&format!("{ONE}/deployments")).await.each("name"),
        ["chat"]
    );
    for (path, field, value) in [
        (format!("{ONE}/models"), "name", "rehearsal"),
        (
            "{sub}/providers/Microsoft.CognitiveServices/locations/eastus/models".to_owned(),
            "kind",
            "OpenAI",
        ),
        (
            "{sub}/providers/Microsoft.CognitiveServices/skus".to_owned(),
            "name",
            "S0",
        ),
        (
            format!("{ONE}/skus"),
            "resourceType",
            "Microsoft.CognitiveServices/accounts",
        ),
    ] {
        assert_eq!(rig.get(&path).await.body["value"][0][field], value, "{path}");
    }
    // Slashes of a model's name are none of an id's.
    let spelled = strongroom_control::Deployment::of("rehearsal", 1, Default::default());
    rig.control.put_deployment("one", "llama/3:1b", spelled).unwrap();
    assert_eq!(
        rig.get(&format!("{ONE}/deployments")).await.each("name"),
        ["chat", "llama~3~1b"]
    );
    assert_eq!(
        rig.ask(
            Method::DELETE,
            &format!("{ONE}/deployments/LLAMA~3~1B"),
            Value::Null
        )
        .await
        .status,
        200
    );
    assert_eq!(rig.ask(Method::DELETE, &one, Value::Null).await.status, 200);
    assert_eq!(rig.ask(Method::DELETE, &one, Value::Null).await.status, 204);
    assert_eq!(rig.get(&one).await.status, 404);
    assert!(rig.control.account("one").unwrap().deployments.is_empty());
}

#[tokio::test]
async fn a_deleted_account_can_be_recovered_until_it_is_purged() {
    let rig = rig_with_group().await;
    let before = made(&rig).await;
    let identity = rig.control.account("one").unwrap().identity.unwrap();
    assert_eq!(rig.ask(Method::DELETE, ONE, Value::Null).await.status, 200);
    assert_eq!(rig.ask(Method::DELETE, ONE, Value::Null).await.status, 204);
    assert_eq!(rig.get(ONE).await.code(), "ResourceNotFound");
    assert!(rig.control.account("one").is_none() && rig.control.principal(identity).is_none());
    let listed = rig
        .get("{sub}/providers/Microsoft.CognitiveServices/deletedAccounts")
        .await;
    assert_eq!(listed.each("name"), ["one"]);
    assert!(rig.get(DELETED).await.body["properties"]["scheduledPurgeDate"].is_string());
    let again = rig.put(ONE, json!({"location": "eastus"})).await;
    assert_eq!(
        (again.status.as_u16(), again.code()),
        (409, "FlagMustBeSetForRestore")
    );

    let rig = rig.again().await;
    let restored = rig
        .put(
            ONE,
            json!({"location": "eastus", "properties": {"restore": true}}),
        )
        .await;
    assert_eq!(restored.status, 200, "{}", restored.body);
    assert_eq!(restored.body["identity"], before.body["identity"]);
    assert_eq!(
        restored.body["properties"]["internalId"],
        before.body["properties"]["internalId"]
    );
    assert_eq!(rig.get(DELETED).await.status, 404);

    // A group takes its accounts along, and they can be recovered once there is a group of that name again.
    let begun = rig
        .ask(Method::DELETE, "{sub}/resourceGroups/rg", Value::Null)
        .await;
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    let purge = rig.ask(Method::DELETE, DELETED, Value::Null).await;
    assert_eq!(purge.status, 202, "{}", purge.body);
    assert_eq!(rig.finish(&purge).await.body["status"], "Succeeded");
    assert_eq!(rig.service.forgotten.lock().unwrap().len(), 1);
    assert_eq!(rig.get(DELETED).await.status, 404);
    rig.group("rg").await;
    let fresh = made(&rig).await;
    assert_ne!(
        fresh.body["properties"]["internalId"],
        before.body["properties"]["internalId"]
    );
}
