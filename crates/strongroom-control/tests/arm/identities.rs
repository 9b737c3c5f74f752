use http::Method;
use serde_json::{Value, json};
use strongroom_control::{BuiltInRole, NewIdentity};
use uuid::Uuid;

use crate::rig::{GRAPH, Rig};

const TYPE: &str = "providers/Microsoft.ManagedIdentity/userAssignedIdentities";

fn path(name: &str) -> String {
    format!("{{sub}}/resourceGroups/rg/{TYPE}/{name}")
}

#[tokio::test]
async fn an_identity_is_a_resource_like_any_other() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let body = json!({"location": "East US", "tags": {"a": "1"}});
    let made = rig.put(&path("Worker"), body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(
        (&made.body["location"], &made.body["name"]),
        (&json!("eastus"), &json!("Worker"))
    );
    assert_eq!(
        rig.put(&path("WORKER"), body).await.status,
        200,
        "the same, in any case"
    );
    let elsewhere = rig.put(&path("worker"), json!({"location": "westus"})).await;
    assert_eq!(
        (elsewhere.status.as_u16(), elsewhere.code()),
        (409, "InvalidResourceLocation")
    );
    let patched = rig
        .ask(Method::PATCH, &path("worker"), json!({"tags": {"b": "2"}}))
        .await;
    assert_eq!(patched.body["tags"], json!({"b": "2"}));
    for list in [
        format!("{{sub}}/{TYPE}"),
        format!("{{sub}}/resourceGroups/RG/{TYPE}"),
        "{sub}/resources".to_owned(),
    ] {
        assert_eq!(rig.get(&list).await.each("name"), ["Worker"], "{list}");
    }
}

#[tokio::test]
async fn the_principal_of_an_identity_comes_and_goes_with_it() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let made = rig.put(&path("Worker"), json!({"location": "eastus"})).await;
    let principal = made.body["properties"]["principalId"]
        .as_str()
        .unwrap()
        .to_owned();
    // Somebody who can have roles, as Graph knows it.
    let graph = rig.token(&format!("{GRAPH}/.default")).await;
    let known = rig
        .graph(
            &graph,
            Method::GET,
            &format!("/servicePrincipals/{principal}"),
            Value::Null,
        )
        .await;
    assert_eq!(known.body["displayName"], "Worker");
    let assignment = format!(
        "{{sub}}/resourceGroups/rg/providers/Microsoft.Authorization/roleAssignments/{}",
        Uuid::new_v4()
    );
    let reader = BuiltInRole::by_name("Reader").unwrap().id;
    let role = json!({"properties": {"roleDefinitionId": format!("/x/{reader}"), "principalId": principal}});
    assert_eq!(rig.put(&assignment, role).await.status, 201);

    assert_eq!(
        rig.ask(Method::DELETE, &path("worker"), Value::Null).await.status,
        200
    );
    assert_eq!(
        rig.ask(Method::DELETE, &path("worker"), Value::Null).await.status,
        204
    );
    assert_eq!(rig.get(&path("worker")).await.code(), "ResourceNotFound");
    assert!(rig.get("{sub}/resources").await.each("name").is_empty());
    let stays = rig.get(&assignment).await;
    assert_eq!(stays.body["properties"]["principalType"], "ServicePrincipal");
    let ids = json!({"ids": [principal]});
    let unknown = rig
        .graph(&graph, Method::POST, "/directoryObjects/getByIds", ids)
        .await;
    assert_eq!(unknown.body["value"], json!([]));
    let again = rig.put(&path("worker"), json!({"location": "eastus"})).await;
    assert_ne!(
        again.body["properties"]["principalId"], principal,
        "another principal"
    );
}

#[tokio::test]
async fn identities_that_other_doors_make_are_resources_too() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let new = |name: &str| NewIdentity {
        name: name.to_owned(),
        resource_group: "rg".to_owned(),
        location: "local".to_owned(),
    };
    let made = rig.actor().create_identity(&new("from-outside")).unwrap();
    assert_eq!(
        rig.get(&path("from-outside")).await.body["properties"]["principalId"],
        made.object_id.to_string()
    );
    let goes = rig.actor().create_identity(&new("goes")).unwrap().object_id;
    rig.actor().delete_principal(goes).unwrap();
    assert_eq!(rig.get(&path("goes")).await.status, 404);

    let rig = rig.again().await;
    assert_eq!(
        rig.get(&format!("{{sub}}/{TYPE}")).await.each("name"),
        ["from-outside"]
    );
}

#[tokio::test]
async fn the_identities_of_a_group_go_with_the_group() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let made = rig.put(&path("worker"), json!({"location": "eastus"})).await;
    let principal: Uuid = made.body["properties"]["principalId"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let gone = rig
        .ask(Method::DELETE, "{sub}/resourceGroups/rg", Value::Null)
        .await;
    assert_eq!(gone.status, 202);
    while rig.get("{sub}/resourceGroups/rg").await.status == 200 {
        tokio::task::yield_now().await;
    }
    assert!(rig.control.principal(principal).is_none());
}

#[tokio::test]
async fn issuers_that_vouch_for_an_identity_are_kept_by_name() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    rig.put(&path("worker"), json!({"location": "eastus"})).await;
    let one = path("worker/federatedIdentityCredentials/cluster");
    let body = |subject: &str| {
        json!({"properties": {
            "issuer": "https://cluster.example/", "subject": subject, "audiences": ["api://AzureADTokenExchange"],
        }})
    };
    let made = rig.put(&one, body("system:serviceaccount:a:b")).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(rig.put(&one, body("system:serviceaccount:a:c")).await.status, 200);
    let other = path("worker/federatedIdentityCredentials/other");
    let same = rig.put(&other, body("system:serviceaccount:a:c")).await;
    assert_eq!((same.status.as_u16(), same.code()), (409, "Conflict"));
    let shown = rig.get(&one.replace("worker", "WORKER")).await;
    assert_eq!(shown.body["properties"]["subject"], "system:serviceaccount:a:c");
    let list = path("worker/federatedIdentityCredentials");
    assert_eq!(rig.get(&list).await.each("name"), ["cluster"]);
    let two = json!({"properties": {"issuer": "https://x.example", "subject": "s", "audiences": ["a", "b"]}});
    assert_eq!(rig.put(&other, two).await.status, 400);
    assert_eq!(rig.ask(Method::DELETE, &one, Value::Null).await.status, 200);
    assert_eq!(rig.ask(Method::DELETE, &one, Value::Null).await.status, 204);
    assert_eq!(rig.get(&one).await.status, 404);
    let nowhere = path("none/federatedIdentityCredentials/x");
    assert_eq!(rig.put(&nowhere, body("s")).await.code(), "ResourceNotFound");
}

#[tokio::test]
async fn roles_on_identities_decide_and_a_resource_shows_its_own_identity() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let denied = rig
        .ask_as(
            &rig.nobody,
            Method::PUT,
            &path("worker"),
            json!({"location": "eastus"}),
            &[],
        )
        .await;
    assert_eq!(
        (denied.status.as_u16(), denied.code()),
        (403, "AuthorizationFailed")
    );
    rig.put(&path("worker"), json!({"location": "eastus"})).await;
    let account = "{sub}/resourceGroups/nobodys/providers/Microsoft.CognitiveServices/accounts/acct";
    let own = rig
        .get(&format!(
            "{account}/providers/Microsoft.ManagedIdentity/identities/default"
        ))
        .await;
    assert_eq!(own.body["properties"]["principalId"], rig.nobody_id.to_string());
    let none = "{sub}/resourceGroups/rg/providers/Microsoft.ManagedIdentity/identities/default";
    assert_eq!(rig.get(none).await.status, 404);
    let worker = path("worker").replace("{sub}", &rig.subscription);
    rig.actor().add_account_identity("acct", &worker).unwrap();
    let users = rig
        .ask(Method::POST, &path("worker/listAssociatedResources"), Value::Null)
        .await;
    assert_eq!(
        (&users.body["totalCount"], users.each("name")),
        (&json!(1), vec!["acct".to_owned()])
    );
}
