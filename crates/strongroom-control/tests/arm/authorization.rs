use http::Method;
use serde_json::{Value, json};
use strongroom_azure::token::{Claims, Signer, StaticKeys, TrustedIssuer};
use strongroom_control::{BuiltInRole, NewAssignment};
use tempfile::TempDir;
use uuid::Uuid;

use crate::rig::{Rig, Told};

const AUTH: &str = "providers/Microsoft.Authorization";
const ARM: &str = "https://management.core.windows.net//.default";
const CRYPTO_USER: &str = "e147488a-f6f5-4113-8e2d-b22465e65bf6";

async fn assign(rig: &Rig, scope: &str, id: Uuid, principal: Uuid, role: &str) -> Told {
    let body = json!({"properties": {
        "roleDefinitionId": format!("{}/{AUTH}/roleDefinitions/{role}", rig.subscription),
        "principalId": principal,
        "principalType": "ServicePrincipal",
    }});
    rig.put(&format!("{scope}/{AUTH}/roleAssignments/{id}"), body)
        .await
}

async fn store(rig: &Rig) -> String {
    rig.group("rg").await;
    let id = "{sub}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/Store1".to_owned();
    rig.put(&id, json!({"location": "eastus"})).await;
    id.replace("{sub}", &rig.subscription)
}

#[tokio::test]
async fn an_assignment_is_made_listed_shown_and_taken_away() {
    let rig = Rig::new().await;
    let scope = store(&rig).await;
    let id = Uuid::new_v4();
    let other_case = scope
        .replace("resourceGroups", "ResourceGroups")
        .replace("Store1", "STORE1");
    let made = assign(&rig, &other_case, id, rig.nobody_id, CRYPTO_USER).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(
        made.body["properties"]["scope"], scope,
        "as the resource is spelled"
    );
    assert_eq!(made.body["id"], format!("{scope}/{AUTH}/roleAssignments/{id}"));
    assert_eq!(made.body["properties"]["createdBy"], rig.owner_id.to_string());
    assert!(made.body["properties"]["createdOn"].is_string());
    assert_eq!(
        assign(&rig, &scope, id, rig.nobody_id, CRYPTO_USER).await.status,
        200
    );

    let again = assign(&rig, &scope, Uuid::new_v4(), rig.nobody_id, CRYPTO_USER).await;
    assert_eq!(
        (again.status.as_u16(), again.code()),
        (409, "RoleAssignmentExists")
    );
    let message = again.body["error"]["message"].as_str().unwrap();
    assert!(message.contains(&id.simple().to_string()), "{message}");

    // Reader of the group, and owner of the subscription: above the store.
    let reader = BuiltInRole::by_name("Reader").unwrap().id.to_string();
    let above = Uuid::new_v4();
    assign(&rig, "{sub}/resourceGroups/rg", above, rig.nobody_id, &reader).await;
    let list = async |scope: &str, filter: &str| {
        let path = format!("{scope}/{AUTH}/roleAssignments?$filter={filter}");
        rig.get(&path).await.each("name")
    };
    let (nobody, id, above) = (rig.nobody_id, id.to_string(), above.to_string());
    let mine = format!("principalId eq '{nobody}'");
    assert_eq!(list(&other_case, "atScope()").await.len(), 3);
    assert_eq!(list("{sub}", &mine).await, [above.clone(), id.clone()]);
    assert_eq!(
        list(&scope, &format!("atScope() and assignedTo('{nobody}')"))
            .await
            .len(),
        2
    );
    assert_eq!(list("{sub}/resourceGroups/rg", "atScope()").await.len(), 2);
    assert_eq!(list("{sub}/resourceGroups/rg", &mine).await, [above, id.clone()]);
    for wrong in [
        "principalId eq 'x'",
        "scope eq 'a'",
        "atScope() or atScope()",
        "atScope(",
    ] {
        let path = format!("{{sub}}/{AUTH}/roleAssignments?$filter={wrong}");
        assert_eq!(rig.get(&path).await.status, 400, "{wrong}");
    }

    let one = format!("{scope}/{AUTH}/roleAssignments/{id}");
    assert_eq!(rig.get(&one).await.body, made.body);
    let gone = rig.ask(Method::DELETE, &one, Value::Null).await;
    assert_eq!(
        (gone.status.as_u16(), gone.body["name"].as_str()),
        (200, Some(id.as_str()))
    );
    assert_eq!(rig.ask(Method::DELETE, &one, Value::Null).await.status, 204);
    let missing = rig.get(&one).await;
    assert_eq!(
        (missing.status.as_u16(), missing.code()),
        (404, "RoleAssignmentNotFound")
    );
}

#[tokio::test]
async fn what_cannot_be_assigned_says_why() {
    let rig = Rig::new().await;
    let scope = store(&rig).await;
    let stranger = Uuid::new_v4();
    let code = async |scope: &str, principal: Uuid, role: &str| {
        let told = assign(&rig, scope, Uuid::new_v4(), principal, role).await;
        (told.status.as_u16(), told.code().to_owned())
    };
    let expected = |status: u16, code: &str| (status, code.to_owned());
    let (nobody, none) = (rig.nobody_id, stranger.to_string());
    assert_eq!(
        code(&scope, stranger, CRYPTO_USER).await,
        expected(400, "PrincipalNotFound")
    );
    assert_eq!(
        code(&scope, nobody, &none).await,
        expected(404, "RoleDefinitionDoesNotExist")
    );
    let nowhere = "{sub}/resourceGroups/none";
    assert_eq!(
        code(nowhere, nobody, CRYPTO_USER).await,
        expected(404, "ResourceGroupNotFound")
    );
    let nothing = format!("{scope}2");
    assert_eq!(
        code(&nothing, nobody, CRYPTO_USER).await,
        expected(404, "ResourceNotFound")
    );
    let foreign = "/subscriptions/00000000-0000-0000-0000-000000000001";
    assert_eq!(
        code(foreign, nobody, CRYPTO_USER).await,
        expected(404, "SubscriptionNotFound")
    );

    let named = format!("{scope}/{AUTH}/roleAssignments/not-a-guid");
    let role = format!("{}/{AUTH}/roleDefinitions/{CRYPTO_USER}", rig.subscription);
    let body = json!({"properties": {"roleDefinitionId": role, "principalId": nobody}});
    assert_eq!(
        rig.put(&named, body.clone()).await.code(),
        "InvalidRoleAssignmentId"
    );
    let mut typed = body;
    typed["properties"]["principalType"] = json!("Group");
    let path = format!("{scope}/{AUTH}/roleAssignments/{stranger}");
    assert_eq!(rig.put(&path, typed).await.code(), "UnmatchedPrincipalType");
    let empty = rig.put(&path, json!({})).await;
    assert_eq!(
        (empty.status.as_u16(), empty.code()),
        (400, "InvalidRequestContent")
    );
    let denied = rig.ask_as(&rig.nobody, Method::PUT, &path, json!({}), &[]).await;
    assert_eq!(
        (denied.status.as_u16(), denied.code()),
        (403, "AuthorizationFailed")
    );
}

#[tokio::test]
async fn definitions_are_found_by_name_and_id_and_custom_ones_made_changed_and_deleted() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let by_name = "{sub}/providers/Microsoft.Authorization/roleDefinitions?$filter=roleName eq 'key vault crypto service encryption user'";
    let found = rig.get(by_name).await;
    assert_eq!(found.each("name"), [CRYPTO_USER]);
    let shown = format!("{}/{AUTH}/roleDefinitions/{CRYPTO_USER}", rig.subscription);
    assert_eq!(
        found.body["value"][0]["id"], shown,
        "the id that assignments name"
    );
    assert_eq!(rig.get(&shown).await.body["properties"]["type"], "BuiltInRole");
    let at_root = format!("/{AUTH}/roleDefinitions/{CRYPTO_USER}");
    let anybody = rig
        .ask_as(&rig.nobody, Method::GET, &at_root, Value::Null, &[])
        .await;
    assert_eq!(
        (anybody.status.as_u16(), &anybody.body["id"]),
        (200, &json!(shown))
    );

    let id = Uuid::new_v4();
    let path = format!("{{sub}}/{AUTH}/roleDefinitions/{id}");
    let body = |name: &str, action: &str| {
        json!({"properties": {
            "roleName": name, "type": "CustomRole", "description": "d",
            "permissions": [{"actions": [action], "notActions": []}],
            "assignableScopes": [format!("{}/resourceGroups/rg", rig.subscription)],
        }})
    };
    let made = rig.put(&path, body("Looker", "*/read")).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(
        rig.put(&path, body("Looker", "Microsoft.KeyVault/*/read"))
            .await
            .status,
        201
    );
    let list = async |scope: &str, filter: &str| {
        let path = format!("{scope}/{AUTH}/roleDefinitions?$filter={filter}");
        rig.get(&path).await.each("name")
    };
    let id = id.to_string();
    assert_eq!(
        list("{sub}/resourceGroups/rg", "type eq 'CustomRole'").await,
        [id.as_str()]
    );
    assert!(
        list("{sub}", "type eq 'CustomRole'").await.is_empty(),
        "not assignable that high"
    );
    assert_eq!(
        list("{sub}", "atScopeAndBelow() and type eq 'CustomRole'").await,
        [id]
    );
    let taken = rig.put(&path, body("Reader", "*/read")).await;
    assert_eq!(taken.code(), "RoleDefinitionWithSameNameExists");
    let built_in = format!("{{sub}}/{AUTH}/roleDefinitions/{CRYPTO_USER}");
    assert_eq!(
        rig.put(&built_in, body("Mine", "*/read")).await.code(),
        "InvalidRoleDefinition"
    );
    assert_eq!(rig.ask(Method::DELETE, &path, Value::Null).await.status, 200);
    assert_eq!(rig.ask(Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(rig.get(&path).await.code(), "RoleDefinitionDoesNotExist");
}

#[tokio::test]
async fn a_limited_administrator_assigns_what_its_condition_names_and_nothing_else() {
    let rig = Rig::new().await;
    let scope = store(&rig).await;
    let (limited, _, token) = rig.application("limited", ARM).await;
    let role = BuiltInRole::by_name("Key Vault Data Access Administrator").unwrap();
    assert_eq!(
        assign(&rig, &scope, Uuid::new_v4(), limited, &role.id.to_string())
            .await
            .status,
        201
    );
    let put = async |role: &str| {
        let body =
            json!({"properties": {"roleDefinitionId": format!("/x/{role}"), "principalId": rig.nobody_id}});
        let path = format!("{scope}/{AUTH}/roleAssignments/{}", Uuid::new_v4());
        rig.ask_as(&token, Method::PUT, &path, body, &[]).await
    };
    assert_eq!(put(CRYPTO_USER).await.status, 201);
    let owner = BuiltInRole::by_name("Owner").unwrap().id.to_string();
    assert_eq!(put(&owner).await.code(), "AuthorizationFailed");
    let held = rig
        .ask_as(
            &token,
            Method::GET,
            &format!("{scope}/{AUTH}/permissions"),
            Value::Null,
            &[],
        )
        .await;
    let actions = held.body["value"][0]["actions"].as_array().unwrap();
    assert!(actions.contains(&json!("Microsoft.Authorization/roleAssignments/write")));
    assert_eq!(
        rig.get(&format!("{scope}/{AUTH}/denyAssignments")).await.body,
        json!({"value": []})
    );
}

#[tokio::test]
async fn the_activity_log_tells_who_was_granted_what() {
    let rig = Rig::new().await;
    let scope = store(&rig).await;
    let id = Uuid::new_v4();
    assign(&rig, &scope, id, rig.nobody_id, CRYPTO_USER).await;
    rig.ask(
        Method::DELETE,
        &format!("{scope}/{AUTH}/roleAssignments/{id}"),
        Value::Null,
    )
    .await;
    let log = "{sub}/providers/Microsoft.Insights/eventtypes/management/values?$filter=resourceProvider eq Microsoft.Authorization";
    let rows = rig.get(log).await.body["value"].as_array().unwrap().clone();
    let text = |row: &Value, name: &str| -> Value {
        serde_json::from_str(row["properties"][name].as_str().unwrap()).unwrap()
    };
    let find = |operation: &str, status: &str| {
        let is = |row: &&Value| {
            row["operationName"]["value"]
                .as_str()
                .unwrap()
                .ends_with(operation)
                && row["status"]["value"] == status
        };
        rows.iter().find(is).unwrap()
    };
    let granted = text(find("roleAssignments/write", "Started"), "requestbody");
    assert_eq!(granted["properties"]["principalId"], rig.nobody_id.to_string());
    let revoked = text(find("roleAssignments/delete", "Succeeded"), "responseBody");
    assert_eq!(revoked["name"], id.to_string());
}

#[tokio::test]
async fn lists_of_many_assignments_come_in_pages() {
    let rig = Rig::new().await;
    let scope = store(&rig).await;
    for number in 0..1100_u32 {
        let made = rig.actor().create_application(&format!("a{number}")).unwrap();
        let new = NewAssignment {
            id: Uuid::new_v4(),
            principal: made.object_id,
            principal_type: None,
            role: CRYPTO_USER.parse().unwrap(),
            scope: scope.parse().unwrap(),
            description: None,
        };
        rig.actor().assign(new).unwrap();
    }
    let (names, pages) = rig.all(&format!("{scope}/{AUTH}/roleAssignments"), "name").await;
    assert_eq!((names.len(), pages), (1101, 2));
}

#[tokio::test]
async fn an_object_id_of_ours_in_a_token_of_another_tenant_is_nobody() {
    let entra = Signer::generate().unwrap();
    let tenant = "7a9f0f04-31c4-4a6c-9f1a-0d6a4f5f2b11";
    let guests = TrustedIssuer {
        names: vec!["https://sts.windows.net/x/".to_owned()],
        tenant: tenant.to_owned(),
        audiences: None,
        guest: true,
        keys: std::sync::Arc::new(StaticKeys::new(entra.jwks())),
    };
    let rig = Rig::with_guests(TempDir::new().unwrap(), Some(guests)).await;
    let claims = Claims {
        iss: "https://sts.windows.net/x/".to_owned(),
        aud: "https://management.azure.com/".to_owned(),
        exp: 1_800_003_600,
        nbf: 1_800_000_000,
        iat: 1_800_000_000,
        oid: rig.owner_id.to_string(),
        sub: rig.owner_id.to_string(),
        tid: tenant.to_owned(),
        appid: None,
        idtyp: None,
        resource: None,
        upn: None,
        uti: None,
    };
    let told = rig
        .ask_as(
            &entra.sign(&claims).unwrap(),
            Method::GET,
            "{sub}/resources",
            Value::Null,
            &[],
        )
        .await;
    assert_eq!(
        (told.status.as_u16(), told.code()),
        (401, "InvalidAuthenticationTokenTenant")
    );
}
