use http::Method;
use serde_json::{Value, json};

use crate::rig::{Rig, Told};

const GROUP: &str = "{sub}/resourceGroups/rg";
/// What can be put into a group, each by its own provider.
const OF_GROUP: [&str; 5] = [
    "Microsoft.Storage/storageAccounts/one",
    "Microsoft.CognitiveServices/accounts/one",
    "Microsoft.KeyVault/vaults/kv1",
    "Microsoft.ManagedIdentity/userAssignedIdentities/identity",
    "Microsoft.Network/privateEndpoints/end",
];
const ACCOUNT: &str = "{sub}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/one";

#[tokio::test]
async fn nothing_is_put_into_a_group_that_is_being_deleted() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    // As in the midst of its deletion.
    let path = rig.place.path().join("control/resources.db");
    let database = rusqlite::Connection::open(path).unwrap();
    let deleting = "UPDATE resource SET json = json_set(json, '$.properties.provisioningState', 'Deleting') WHERE name = 'rg' COLLATE NOCASE";
    assert_eq!(database.execute(deleting, []).unwrap(), 1);
    for what in OF_GROUP {
        let body = json!({"location": "eastus", "properties": {"tenantId": rig.control.tenant(), "sku": {"family": "A", "name": "standard"}}});
        let told = rig.put(&format!("{GROUP}/providers/{what}"), body).await;
        assert_eq!(
            (told.status.as_u16(), told.code()),
            (409, "ResourceGroupBeingDeleted"),
            "{what}"
        );
    }
    assert!(rig.control.account("one").is_none() && rig.vaults.vault("kv1").is_err());
}

#[tokio::test]
async fn a_group_is_made_shown_changed_and_goes_with_all_that_is_in_it() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let again = rig
        .put(
            "{sub}/RESOURCEGROUPS/RG",
            json!({"location": "East US", "tags": {"a": "b"}, "managedBy": "x"}),
        )
        .await;
    assert_eq!((again.status.as_u16(), &again.body["name"]), (200, &json!("rg")));
    let shown = rig.get(GROUP).await;
    assert_eq!(shown.body["managedBy"], "x");
    assert_eq!(shown.body["properties"]["provisioningState"], "Succeeded");
    rig.put(ACCOUNT, json!({"location": "eastus"})).await;
    assert_eq!(rig.ask(Method::HEAD, GROUP, Value::Null).await.status, 204);

    let begun = rig.ask(Method::DELETE, GROUP, Value::Null).await;
    assert_eq!((begun.status.as_u16(), begun.header("retry-after")), (202, "1"));
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    let result = begun
        .header("location")
        .strip_prefix("https://management.localhost:8443")
        .unwrap()
        .to_owned();
    assert_eq!(rig.get(&result).await.status, 200);
    assert_eq!(rig.ask(Method::HEAD, GROUP, Value::Null).await.status, 404);
    assert_eq!(rig.get(ACCOUNT).await.code(), "ResourceGroupNotFound");
    rig.group("rg").await;
    assert_eq!(rig.get(ACCOUNT).await.code(), "ResourceNotFound");
    // It can be asked for after a restart too.
    let rig = rig.again().await;
    assert_eq!(rig.finish(&begun).await.body["status"], "Succeeded");
    let stranger = rig
        .ask_as(&rig.nobody, Method::GET, &result, Value::Null, &[])
        .await;
    assert_eq!(stranger.code(), "OperationNotFound");
}

#[tokio::test]
async fn what_was_granted_on_a_thing_ends_with_it() {
    let rig = Rig::new().await;
    let may_read = async |path: &str| {
        let told = rig.ask_as(&rig.nobody, Method::GET, path, Value::Null, &[]).await;
        told.status != 403
    };
    let identity = rig.control.account("acct").unwrap().identity.unwrap();
    let owner = strongroom_control::BuiltInRole::by_name("Owner").unwrap();
    rig.group("rg").await;
    for path in [ACCOUNT, GROUP] {
        rig.put(ACCOUNT, json!({"location": "eastus"})).await;
        let scope = path.replace("{sub}", &rig.subscription).parse().unwrap();
        rig.control.ensure_assignment(identity, owner, &scope).unwrap();
        assert!(may_read(path).await, "{path}");
        let gone = rig.ask(Method::DELETE, path, Value::Null).await;
        if gone.status == 202 {
            rig.finish(&gone).await;
            rig.group("rg").await;
        }
        assert!(!may_read(path).await, "{path}");
    }
}

#[tokio::test]
async fn a_type_that_nobody_provides_is_kept_as_it_was_sent() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let sent = json!({
        "location": "East US", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "tags": {"env": "test"},
        "properties": {"unknown": {"deep": [1, 2]}}, "name": "other", "future": true,
    });
    let made = rig.put(ACCOUNT, sent).await;
    assert_eq!(made.status, 201);
    let shown = rig.get(&ACCOUNT.replace("Storage", "STORAGE")).await.body;
    assert_eq!(
        shown["id"],
        format!(
            "{}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/one",
            rig.subscription
        )
    );
    assert_eq!(
        (&shown["name"], &shown["type"]),
        (&json!("one"), &json!("Microsoft.Storage/storageAccounts"))
    );
    assert_eq!(
        (&shown["location"], &shown["future"]),
        (&json!("eastus"), &json!(true))
    );
    assert_eq!(
        shown["properties"],
        json!({"unknown": {"deep": [1, 2]}, "provisioningState": "Succeeded"})
    );
    assert_eq!(shown["systemData"]["createdByType"], "Application");

    let changed = rig
        .ask(
            Method::PATCH,
            ACCOUNT,
            json!({"tags": {"a": "b"}, "properties": {"unknown": {"more": 1}}}),
        )
        .await;
    assert_eq!(changed.body["tags"], json!({"a": "b"}));
    assert_eq!(
        changed.body["properties"]["unknown"],
        json!({"deep": [1, 2], "more": 1})
    );
    let moved = rig.put(ACCOUNT, json!({"location": "westus"})).await;
    assert_eq!(moved.code(), "InvalidResourceLocation");
    assert_eq!(rig.ask(Method::DELETE, ACCOUNT, Value::Null).await.status, 200);
    assert_eq!(rig.ask(Method::DELETE, ACCOUNT, Value::Null).await.status, 204);
}

#[tokio::test]
async fn children_need_their_parents_and_go_with_them() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let service = format!("{ACCOUNT}/blobServices/default");
    assert_eq!(
        rig.put(&service, json!({})).await.code(),
        "ParentResourceNotFound"
    );
    rig.put(ACCOUNT, json!({"location": "eastus"})).await;
    assert_eq!(rig.put(&service, json!({})).await.status, 201);
    assert_eq!(
        rig.put(&format!("{service}/containers/c"), json!({}))
            .await
            .status,
        201
    );
    let setting = format!("{ACCOUNT}/providers/Microsoft.Insights/dataCollectionRuleAssociations/d");
    assert_eq!(
        rig.put(&setting, json!({"properties": {"logs": []}}))
            .await
            .status,
        201
    );
    for (collection, name) in [
        (format!("{service}/containers"), "c"),
        (
            format!("{ACCOUNT}/providers/Microsoft.Insights/dataCollectionRuleAssociations"),
            "d",
        ),
        (
            format!("{GROUP}/providers/Microsoft.Storage/storageAccounts"),
            "one",
        ),
        (
            "{sub}/providers/Microsoft.Storage/storageAccounts".to_owned(),
            "one",
        ),
    ] {
        assert_eq!(rig.get(&collection).await.each("name"), [name], "{collection}");
    }
    // Lists of resources show what stands by itself.
    assert_eq!(rig.get("{sub}/resources").await.each("name"), ["one"]);
    rig.ask(Method::DELETE, ACCOUNT, Value::Null).await;
    assert_eq!(rig.get(&setting).await.status, 404);
}

#[tokio::test]
async fn lists_take_the_filters_that_clients_send() {
    let rig = Rig::new().await;
    for group in ["rg", "other"] {
        rig.group(group).await;
        for (kind, name, tags) in [
            (
                "Microsoft.Storage/storageAccounts",
                "a",
                json!({"env": "test", "x": "1"}),
            ),
            ("Microsoft.Search/searchServices", "b", json!({"env": "live"})),
        ] {
            let path = format!("{{sub}}/resourceGroups/{group}/providers/{kind}/{group}{name}");
            rig.put(&path, json!({"location": "eastus", "tags": tags})).await;
        }
    }
    for (filter, names) in [
        (
            "resourceType eq 'Microsoft.Storage/storageAccounts' and name eq 'rga'",
            vec!["rga"],
        ),
        (
            "resourceType eq 'microsoft.storage/STORAGEACCOUNTS'",
            vec!["othera", "rga"],
        ),
        ("resourceGroup eq 'RG'", vec!["rgb", "rga"]),
        ("tagname eq 'env' and tagvalue eq 'live'", vec!["otherb", "rgb"]),
        ("tagname eq 'x'", vec!["othera", "rga"]),
        (
            "startswith(tagname, 'en')",
            vec!["otherb", "othera", "rgb", "rga"],
        ),
        (
            "location eq 'eastus' and name ne 'rga'",
            vec!["otherb", "othera", "rgb"],
        ),
        ("substringof('other', name)", vec!["otherb", "othera"]),
    ] {
        let found = rig.get(&format!("{{sub}}/resources?$filter={filter}")).await;
        assert_eq!(found.each("name"), names, "{filter}");
    }
    let (names, pages) = rig
        .all("{sub}/resources?$top=3&$filter=location eq 'eastus'", "name")
        .await;
    assert_eq!((names.len(), pages), (4, 2));
    let expanded = rig
        .get("{sub}/resources?$top=1&$expand=createdTime,changedTime,provisioningState")
        .await;
    assert_eq!(expanded.body["value"][0]["provisioningState"], "Succeeded");
    assert_eq!(
        rig.get("{sub}/resourceGroups/rg/resources").await.each("name"),
        ["rgb", "rga"]
    );
    assert_eq!(
        rig.get("{sub}/resourceGroups?$filter=tagname eq 'none'")
            .await
            .body["value"],
        json!([])
    );
}

#[tokio::test]
async fn tags_are_merged_replaced_and_taken_away() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let tags = format!("{GROUP}/providers/Microsoft.Resources/tags/default");
    let of = |told: Told| told.body["properties"]["tags"].clone();
    let patch =
        |operation: &str, given: Value| json!({"operation": operation, "properties": {"tags": given}});
    assert_eq!(
        of(rig
            .put(&tags, json!({"properties": {"tags": {"a": "1", "b": "2"}}}))
            .await),
        json!({"a": "1", "b": "2"})
    );
    let merged = rig
        .ask(Method::PATCH, &tags, patch("Merge", json!({"A": "3"})))
        .await;
    assert_eq!(of(merged), json!({"b": "2", "A": "3"}));
    let less = rig
        .ask(Method::PATCH, &tags, patch("Delete", json!({"b": "2"})))
        .await;
    assert_eq!(of(less), json!({"A": "3"}));
    assert_eq!(rig.get(GROUP).await.body["tags"], json!({"A": "3"}));
    assert_eq!(rig.get("{sub}/tagNames").await.each("tagName"), ["a"]);
    assert_eq!(
        rig.ask(Method::PATCH, &tags, patch("Add", json!({})))
            .await
            .code(),
        "InvalidTagsPatchOperation"
    );
    assert_eq!(rig.ask(Method::DELETE, &tags, Value::Null).await.status, 200);
    assert_eq!(of(rig.get(&tags).await), json!({}));
    let subscription = "{sub}/providers/Microsoft.Resources/tags/default";
    assert_eq!(
        of(rig
            .put(subscription, json!({"properties": {"tags": {"s": "1"}}}))
            .await),
        json!({"s": "1"})
    );
}

#[tokio::test]
async fn locks_forbid_what_they_say_until_they_are_taken_away() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    rig.put(ACCOUNT, json!({"location": "eastus"})).await;
    let lock = format!("{ACCOUNT}/providers/Microsoft.Authorization/locks/l");
    let level = |level: &str| json!({"properties": {"level": level}});
    assert_eq!(rig.put(&lock, level("Never")).await.code(), "InvalidLockLevel");
    assert_eq!(rig.put(&lock, level("CanNotDelete")).await.status, 201);
    // Neither the thing, nor what it is in, nor what is in it.
    rig.put(&format!("{ACCOUNT}/blobServices/default"), json!({}))
        .await;
    for path in [ACCOUNT, GROUP, &format!("{ACCOUNT}/blobServices/default")] {
        let told = rig.ask(Method::DELETE, path, Value::Null).await;
        assert_eq!(
            (told.status.as_u16(), told.code()),
            (409, "ScopeLocked"),
            "{path}"
        );
    }
    assert_eq!(rig.put(ACCOUNT, json!({"location": "eastus"})).await.status, 200);

    assert_eq!(rig.put(&lock, level("ReadOnly")).await.status, 200);
    assert_eq!(
        rig.put(ACCOUNT, json!({"location": "eastus"})).await.code(),
        "ScopeLocked"
    );
    assert_eq!(rig.get(ACCOUNT).await.status, 200);
    assert_eq!(
        rig.get(&format!("{GROUP}/providers/Microsoft.Authorization/locks"))
            .await
            .each("name"),
        ["l"]
    );
    let here = format!("{GROUP}/providers/Microsoft.Authorization/locks?$filter=atScope()");
    assert_eq!(rig.get(&here).await.body["value"], json!([]));
    assert_eq!(rig.ask(Method::DELETE, &lock, Value::Null).await.status, 200);
    assert_eq!(rig.ask(Method::DELETE, ACCOUNT, Value::Null).await.status, 200);
}

#[tokio::test]
async fn providers_know_the_types_that_there_are() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    rig.put(
        &format!("{GROUP}/providers/Contoso.Web/sites/s"),
        json!({"location": "eastus"}),
    )
    .await;
    let told = rig.get("{sub}/providers/contoso.web").await;
    assert_eq!(told.body["resourceTypes"][0]["resourceType"], "sites");
    assert_eq!(
        rig.get("{sub}/providers/Nobody.Knows").await.code(),
        "InvalidResourceNamespace"
    );
    let registered = rig
        .ask(
            Method::POST,
            "{sub}/providers/Microsoft.Storage/register",
            Value::Null,
        )
        .await;
    assert_eq!(registered.body["registrationState"], "Registered");
    let operations = rig.get("/providers/Microsoft.Authorization/operations").await;
    assert!(
        operations
            .each("name")
            .contains(&"Microsoft.Authorization/locks/write".to_owned())
    );
}
