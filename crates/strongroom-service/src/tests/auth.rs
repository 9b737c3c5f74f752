//! Who may do what.

use axum::body::Body;
use http::Method;
use serde_json::json;

use super::rig::{KEY, READER, Rig, Said, said};

async fn with(rig: &Rig, headers: &[(&str, &str)]) -> Said {
    said(
        rig.send(Method::GET, "/openai/v1/models", Body::empty(), headers)
            .await,
    )
    .await
}

#[tokio::test]
async fn a_key_goes_in_either_header_and_a_token_in_bearer() {
    let rig = Rig::new().await;
    let bearer = format!("Bearer {KEY}");
    for headers in [
        ("api-key", KEY),
        ("authorization", bearer.as_str()),
        ("authorization", "bearer good.token.here"),
    ] {
        assert_eq!(with(&rig, &[headers]).await.status, 200, "{}", headers.0);
    }
}

#[tokio::test]
async fn what_is_no_credential_of_this_account_is_refused_with_401() {
    let rig = Rig::new().await;
    let long = "a".repeat(20_000);
    let cases = [
        (("authorization", ""), "invalid_api_key"),
        (("authorization", "Bearer "), "missing_api_key"),
        (("authorization", "Bearer  "), "missing_api_key"),
        (("authorization", "Basic abc"), "invalid_api_key"),
        (("authorization", "Bearer wrong"), "invalid_api_key"),
        (("authorization", "Bearer old.token.here"), "token_expired"),
        (("api-key", "wrong"), "invalid_api_key"),
        (("api-key", ""), "invalid_api_key"),
        (("api-key", long.as_str()), "invalid_api_key"),
        (("api-key", "key-of-fabrikam"), "invalid_api_key"),
    ];
    for (header, code) in cases {
        let answer = with(&rig, &[header]).await;
        let (status, said, _) = answer.error();
        assert_eq!(status, 401, "{header:.40?}");
        assert_eq!(said, code, "{header:.40?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

#[tokio::test]
async fn a_caller_who_only_reads_can_neither_write_nor_delete_nor_ask() {
    let rig = Rig::new().await;
    let file = rig.upload("a.txt", b"hello").await;
    let path = format!("/openai/v1/files/{}", file["id"].as_str().unwrap());
    let reader = [("api-key", READER), ("content-type", "application/json")];
    let read = said(rig.send(Method::GET, &path, Body::empty(), &reader).await).await;
    assert_eq!(read.status, 200);
    let deleted = said(rig.send(Method::DELETE, &path, Body::empty(), &reader).await).await;
    assert_eq!(deleted.error(), (403, "permission_denied".to_owned(), None));
    let body = json!({ "model": "tiny", "messages": [{ "role": "user", "content": "hi" }] });
    for path in ["/openai/v1/chat/completions", "/openai/v1/responses"] {
        let asked = said(
            rig.send(Method::POST, path, body.to_string().into(), &reader)
                .await,
        )
        .await;
        assert_eq!(asked.error().0, 403, "{path}");
    }
    assert_eq!(rig.get(&path).await.status, 200, "the file is still there");
}

#[tokio::test]
async fn rights_over_responses_are_no_rights_over_files() {
    let rig = Rig::new().await;
    let file = rig.upload("a.txt", b"hello").await;
    let path = format!("/openai/v1/files/{}", file["id"].as_str().unwrap());
    let asking = [
        ("authorization", "Bearer asking.token.here"),
        ("content-type", "application/json"),
    ];
    let body = json!({ "model": "tiny", "input": "hi" }).to_string();
    let made = said(
        rig.send(Method::POST, "/openai/v1/responses", body.into(), &asking)
            .await,
    )
    .await;
    assert_eq!(made.status, 200);
    let deleted = said(rig.send(Method::DELETE, &path, Body::empty(), &asking).await).await;
    assert_eq!(deleted.error(), (403, "permission_denied".to_owned(), None));
    let response = format!("/openai/v1/responses/{}", made.json()["id"].as_str().unwrap());
    let deleted = said(rig.send(Method::DELETE, &response, Body::empty(), &asking).await).await;
    assert_eq!(deleted.status, 200);
}

#[tokio::test]
async fn a_caller_without_any_right_is_told_so() {
    let rig = Rig::new().await;
    let answer = with(&rig, &[("authorization", "Bearer no.rights.here")]).await;
    assert_eq!(answer.error(), (403, "permission_denied".to_owned(), None));
}
