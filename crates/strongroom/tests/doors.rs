//! Who is answered on which door.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_testkit::System;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Sends one raw request to the plain door and reads the head of the answer.
async fn raw(system: &System, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", system.http_port()))
        .await
        .unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 2048];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(answer.get(..length).unwrap()).into_owned()
}

#[tokio::test]
async fn the_proxy_leads_to_our_own_names_and_nowhere_else() {
    let system = System::start().await.unwrap();
    for version in ["1.0", "1.1"] {
        for (name, status) in [
            ("any-vault.vault.localhost:443", "200"),
            ("localhost:443", "200"),
            ("example.com:443", "403"),
            ("127.0.0.1:22", "403"),
            ("169.254.169.254:80", "403"),
        ] {
            let answer = raw(
                &system,
                &format!("CONNECT {name} HTTP/{version}\r\nHost: {name}\r\n\r\n"),
            )
            .await;
            assert!(
                answer.starts_with(&format!("HTTP/{version} {status}")),
                "{name}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_on_every_route() {
    let system = System::start().await.unwrap();
    for path in [
        "/openai/v1/models",
        "/msi/token",
        "/readyz",
        "/metrics",
        "/nothing",
    ] {
        let answer = raw(
            &system,
            &format!("GET {path} HTTP/1.1\r\nHost: rebound.example\r\n\r\n"),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{path}: {answer}");
        let port = system.http_port();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: https://page.example\r\n\r\n");
        let answer = raw(&system, &request).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer}");
    }
    let vault = format!(
        "{}/keys",
        system.variable("STRONGROOM_VAULT_URL").trim_end_matches('/')
    );
    let answer = system
        .client()
        .get(vault)
        .header("Origin", "null")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
}

#[tokio::test]
async fn an_account_answers_by_path_and_by_host_and_not_under_another_name() {
    let system = System::start().await.unwrap();
    let account = system.variable("STRONGROOM_ACCOUNT");
    let port = system.https_port();
    for base in [
        system.base_url(),
        system.tls_base_url(),
        format!("https://{account}.openai.localhost:{port}/openai/v1"),
        format!("https://{account}.cognitiveservices.localhost:{port}/openai/v1"),
    ] {
        let answer = system
            .client()
            .get(format!("{base}/models"))
            .bearer_auth(system.variable("OPENAI_API_KEY"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{base}");
        let list: Value = answer.json().await.unwrap();
        assert_eq!(list["object"], "list", "{base}");
    }
    let other = format!("https://localhost:{port}/openai-accounts/another/openai/v1/models");
    let answer = system
        .client()
        .get(other)
        .bearer_auth(system.variable("OPENAI_API_KEY"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn the_managed_identity_demands_the_header_secret() {
    let system = System::start().await.unwrap();
    let url = format!(
        "http://127.0.0.1:{}/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net",
        system.http_port()
    );
    let plain = system.client().get(&url).send().await.unwrap();
    assert!(plain.status().is_client_error());
    let guessed = system
        .client()
        .get(&url)
        .header("X-IDENTITY-HEADER", "guess")
        .send()
        .await
        .unwrap();
    assert!(guessed.status().is_client_error());
}

#[tokio::test]
async fn the_administrators_routes_demand_the_administrator() {
    let system = System::start().await.unwrap();
    let url = format!("https://localhost:{}/strongroom/status", system.https_port());
    assert_eq!(system.client().get(&url).send().await.unwrap().status(), 401);
    let with_key = system
        .client()
        .get(&url)
        .bearer_auth(system.variable("OPENAI_API_KEY"));
    assert_eq!(with_key.send().await.unwrap().status(), 401);
    let status = system.admin(Method::GET, "status", None).await.unwrap();
    assert_eq!(status.status(), 200);
}

#[tokio::test]
async fn what_is_served_nowhere_and_what_cannot_be_read_is_told_in_the_errors_own_shape() {
    let system = System::start().await.unwrap();
    let root = format!("https://localhost:{}", system.https_port());
    for url in [
        format!("http://127.0.0.1:{}/v1/models", system.http_port()),
        format!("{root}/openai/v1/models"),
        format!("{root}/strongroom/nothing"),
    ] {
        let answer = system.client().get(&url).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{url}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "unknown_url", "{url}");
    }
    for wanted in [
        json!({"kind": 5}),
        json!([]),
        json!({"kind": "file", "id": "file-1"}),
    ] {
        let answer = system.admin(Method::POST, "export", Some(wanted)).await.unwrap();
        assert_eq!(answer.status(), 400);
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "invalid_request");
    }
}
