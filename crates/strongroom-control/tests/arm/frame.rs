use http::Method;
use serde_json::{Value, json};

use crate::rig::Rig;

const GROUP: &str = "{sub}/resourceGroups/rg";

#[tokio::test]
async fn without_a_token_for_this_audience_nobody_is_answered() {
    let rig = Rig::new().await;
    let none = rig
        .ask_as("", Method::GET, "/subscriptions", Value::Null, &[])
        .await;
    assert_eq!((none.status.as_u16(), none.code()), (401, "AuthenticationFailed"));
    let challenge = none.header("www-authenticate");
    assert!(challenge.contains(&format!(
        "authorization_uri=\"https://localhost:8443/{}\"",
        rig.control.tenant()
    )));

    let vault = rig.token("https://vault.azure.net/.default").await;
    let foreign = rig
        .ask_as(&vault, Method::GET, "/subscriptions", Value::Null, &[])
        .await;
    assert_eq!(
        (foreign.status.as_u16(), foreign.code()),
        (401, "InvalidAuthenticationTokenAudience")
    );
    let broken = rig
        .ask_as("a.b.c", Method::GET, "/subscriptions", Value::Null, &[])
        .await;
    assert_eq!(
        (broken.status.as_u16(), broken.code()),
        (401, "InvalidAuthenticationToken")
    );
    for scope in [
        "https://management.azure.com/.default",
        "https://management.core.windows.net//.default",
    ] {
        let token = rig.token(scope).await;
        let told = rig
            .ask_as(&token, Method::GET, "/subscriptions", Value::Null, &[])
            .await;
        assert_eq!(told.status, 200, "{scope}");
    }
}

#[tokio::test]
async fn a_cloud_is_registered_without_a_token() {
    let rig = Rig::new().await;
    let told = rig
        .ask_as(
            "",
            Method::GET,
            "/metadata/endpoints?api-version=2022-09-01",
            Value::Null,
            &[],
        )
        .await;
    assert_eq!(told.status, 200);
    assert_eq!(told.body["resourceManager"], "https://management.localhost:8443/");
    assert_eq!(
        told.body["authentication"]["loginEndpoint"],
        "https://localhost:8443"
    );
    assert_eq!(told.body["suffixes"]["keyVaultDns"], "vault.localhost:8443");
}

#[tokio::test]
async fn api_versions_are_demanded_and_any_well_formed_one_will_do() {
    let rig = Rig::new().await;
    let path = "/subscriptions?x=1";
    let request = |query: &str| {
        let uri = format!("{path}{query}");
        http::Request::get(uri)
            .header("authorization", format!("Bearer {}", rig.owner))
            .header("host", "localhost:8443")
            .body(axum::body::Body::empty())
            .unwrap()
    };
    assert_eq!(rig.send(request("")).await.code(), "MissingApiVersionParameter");
    assert_eq!(
        rig.send(request("&api-version=new")).await.code(),
        "InvalidApiVersionParameter"
    );
    assert_eq!(
        rig.send(request("&api-version=2031-01-01-preview")).await.status,
        200
    );
}

#[tokio::test]
async fn the_ids_of_a_request_come_back() {
    let rig = Rig::new().await;
    let headers = [
        ("x-ms-client-request-id", "11111111-1111-1111-1111-111111111111"),
        (
            "x-ms-correlation-request-id",
            "22222222-2222-2222-2222-222222222222",
        ),
    ];
    let told = rig
        .ask_as(&rig.owner, Method::GET, "/tenants", Value::Null, &headers)
        .await;
    assert_eq!(told.header("x-ms-client-request-id"), headers[0].1);
    assert_eq!(told.header("x-ms-correlation-request-id"), headers[1].1);
    assert_eq!(told.header("x-ms-request-id").len(), 36);
}

#[tokio::test]
async fn a_caller_without_the_right_is_told_which_one() {
    let rig = Rig::new().await;
    let told = rig
        .ask_as(
            &rig.nobody,
            Method::PUT,
            GROUP,
            json!({"location": "eastus"}),
            &[],
        )
        .await;
    assert_eq!((told.status.as_u16(), told.code()), (403, "AuthorizationFailed"));
    let message = told.body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("action 'Microsoft.Resources/subscriptions/resourceGroups/write'"),
        "{message}"
    );
    assert!(
        message.contains(&format!("over scope '{}/resourceGroups/rg'", rig.subscription)),
        "{message}"
    );
    rig.group("rg").await;
    let list = rig
        .ask_as(&rig.nobody, Method::GET, "{sub}/resourceGroups", Value::Null, &[])
        .await;
    assert_eq!(list.body["value"], json!([]));
}

/// Method, path, body; status and code of the refusal.
type Case = (Method, &'static str, Value, u16, &'static str);

async fn refuses(cases: &[Case]) {
    let rig = Rig::new().await;
    rig.group("rg").await;
    for (method, path, body, status, code) in cases {
        let told = rig.ask(method.clone(), path, body.clone()).await;
        assert_eq!(
            (told.status.as_u16(), told.code()),
            (*status, *code),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn addresses_that_nothing_can_have_are_refused() {
    refuses(&[
        (
            Method::GET,
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups",
            Value::Null,
            404,
            "SubscriptionNotFound",
        ),
        (
            Method::GET,
            "/subscriptions/x/resourceGroups",
            Value::Null,
            400,
            "InvalidSubscriptionId",
        ),
        (
            Method::GET,
            "/subscriptions/a%2fb",
            Value::Null,
            400,
            "InvalidRequestUri",
        ),
        (Method::GET, "{sub}/../x", Value::Null, 400, "InvalidRequestUri"),
        (Method::POST, GROUP, Value::Null, 405, "MethodNotAllowed"),
        (
            Method::GET,
            "{sub}/nothing",
            Value::Null,
            400,
            "InvalidRequestUri",
        ),
        (
            Method::GET,
            "{sub}/resources?$filter=name eq",
            Value::Null,
            400,
            "InvalidFilterInQueryString",
        ),
        (
            Method::PUT,
            "{sub}/resourceGroups/rg/providers/Microsoft.KeyVault/secretStores/v",
            json!({}),
            404,
            "InvalidResourceType",
        ),
    ])
    .await;
}

#[tokio::test]
async fn bodies_that_no_group_can_have_are_refused() {
    refuses(&[
        (Method::PUT, GROUP, Value::Null, 400, "InvalidRequestContent"),
        (Method::PUT, GROUP, json!("{"), 400, "InvalidRequestContent"),
        (Method::PUT, GROUP, json!("[1]"), 400, "InvalidRequestContent"),
        (
            Method::PUT,
            GROUP,
            json!("[".repeat(65) + &"]".repeat(65)),
            400,
            "InvalidRequestContent",
        ),
        (
            Method::PUT,
            GROUP,
            json!(format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20))),
            413,
            "RequestContentTooLarge",
        ),
        (Method::PUT, GROUP, json!({}), 400, "LocationRequired"),
        (
            Method::PUT,
            "{sub}/resourceGroups/a.",
            json!({"location": "x"}),
            400,
            "InvalidResourceGroup",
        ),
        (
            Method::PUT,
            GROUP,
            json!({"location": "westus"}),
            409,
            "InvalidResourceGroupLocation",
        ),
        (
            Method::PUT,
            GROUP,
            json!({"location": "eastus", "tags": {"a": 1}}),
            400,
            "InvalidTagValue",
        ),
    ])
    .await;
}

#[tokio::test]
async fn conditions_are_held_against_the_entity_tag() {
    let rig = Rig::new().await;
    rig.group("rg").await;
    let first = rig.get(GROUP).await.header("etag").to_owned();
    let body = json!({"location": "eastus", "tags": {"a": "b"}});
    let ask = |method: Method, name: &'static str, value: String, body: Value| {
        let rig = &rig;
        async move {
            rig.ask_as(&rig.owner, method, GROUP, body, &[(name, &value)])
                .await
                .status
                .as_u16()
        }
    };
    assert_eq!(
        ask(Method::PUT, "if-none-match", "*".to_owned(), body.clone()).await,
        412
    );
    assert_eq!(
        ask(Method::PUT, "if-match", first.clone(), body.clone()).await,
        200
    );
    assert_eq!(
        ask(Method::PUT, "if-match", first.clone(), body.clone()).await,
        412
    );
    assert_eq!(
        ask(Method::DELETE, "if-match", first.clone(), Value::Null).await,
        412
    );
    let second = rig.get(GROUP).await.header("etag").to_owned();
    assert_ne!(first, second);
    assert_eq!(ask(Method::GET, "if-none-match", second, Value::Null).await, 304);
}
