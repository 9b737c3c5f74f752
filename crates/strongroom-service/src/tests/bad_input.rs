//! Bad input: each case answered in the API's own error shape, and nothing lost.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::rig::{FORM, Rig, form, said};
use crate::Limits;
use crate::limits;

const CHAT: &str = "/openai/v1/chat/completions";
const RESPONSES: &str = "/openai/v1/responses";
const EMBEDDINGS: &str = "/openai/v1/embeddings";

fn err(status: u16, code: &str, param: Option<&str>) -> (u16, String, Option<String>) {
    (status, code.to_owned(), param.map(str::to_owned))
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_is_refused_wherever_json_is_read() {
    let rig = Rig::new().await;
    let deep = "[".repeat(10_000);
    let deep_object = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"\"text\"",
        b"{\"model\":\"tiny\"} trailing",
        b"{\"model\":\"\xff\xfe\"}",
        deep.as_bytes(),
        deep_object.as_bytes(),
    ];
    for path in [CHAT, RESPONSES, EMBEDDINGS] {
        for body in bodies {
            let answer = rig.post_bytes(path, body.to_vec()).await;
            assert_eq!(
                answer.error(),
                err(400, "invalid_json", None),
                "{path}: {:.20?}",
                body
            );
        }
    }
    assert!(
        rig.post_bytes(CHAT, deep_object)
            .await
            .text()
            .contains("nested too deeply")
    );
    assert!(
        rig.post_bytes(CHAT, b"{\"a\":\"\xff\"}".to_vec())
            .await
            .text()
            .contains("not UTF-8")
    );
}

#[tokio::test]
async fn a_body_larger_than_the_limit_is_refused_announced_or_not() {
    let rig = Rig::with(Limits {
        json_bytes: 1000,
        ..Limits::default()
    })
    .await;
    let long = json!({ "model": "tiny", "messages": [], "pad": "x".repeat(2000) }).to_string();
    assert_eq!(
        rig.post_bytes(CHAT, long.clone()).await.error(),
        err(413, "request_too_large", None)
    );
    let pieces = vec![
        Ok::<_, std::io::Error>(Bytes::from(long.clone())),
        Ok(Bytes::from(long)),
    ];
    let body = Body::from_stream(futures::stream::iter(pieces));
    let answer = said(rig.send(Method::POST, CHAT, body, &[]).await).await;
    assert_eq!(answer.error(), err(413, "request_too_large", None));
    assert_eq!(answer.header("connection"), "close");
}

#[tokio::test]
async fn more_long_bodies_than_memory_is_set_aside_for_are_told_to_come_again() {
    let rig = Rig::with(Limits {
        json_held: 200 * 1024,
        ..Limits::default()
    })
    .await;
    let path = "/openai/v1/chat/completions";
    let long = format!("{{\"model\":\"none\",\"pad\":\"{}\"}}", "y".repeat(100_000));
    let endless = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    {
        let json = [("content-type", "application/json")];
        let mut open = std::pin::pin!(rig.send(Method::POST, path, endless, &json));
        assert!(futures::poll!(open.as_mut()).is_pending());
        let crowded = rig.post_bytes(path, long.clone()).await;
        assert_eq!(crowded.error(), err(429, "rate_limit_exceeded", None));
        assert!(!crowded.header("retry-after").is_empty());
        let short = rig.post(path, &json!({"model": "none", "messages": []})).await;
        assert_eq!(short.error().0, 404, "a short one is taken all the same");
    }
    assert_eq!(rig.post_bytes(path, long).await.error().0, 404);
}

#[tokio::test]
async fn another_content_type_is_refused() {
    let rig = Rig::new().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", FORM] {
        let answer = said(
            rig.send(Method::POST, CHAT, "{}".into(), &[("content-type", kind)])
                .await,
        )
        .await;
        assert_eq!(
            answer.error(),
            err(415, "unsupported_content_type", None),
            "{kind}"
        );
    }
    for kind in ["application/json", "text/plain; boundary=x"] {
        let answer = said(
            rig.send(
                Method::POST,
                "/openai/v1/files",
                "{}".into(),
                &[("content-type", kind)],
            )
            .await,
        )
        .await;
        assert_eq!(
            answer.error(),
            err(415, "unsupported_content_type", None),
            "{kind}"
        );
    }
    let answer = said(rig.send(Method::POST, "/openai/v1/files", "".into(), &[]).await).await;
    assert_eq!(answer.error().0, 415);
}

/// A field, the JSON put into it, the code and the parameter of the answer.
type Wrong = (&'static str, &'static str, &'static str, &'static str);

const WRONG_CHAT: &[Wrong] = &[
    ("model", "5", "invalid_type", "model"),
    ("model", "null", "missing_required_parameter", "model"),
    ("model", "\"\"", "missing_required_parameter", "model"),
    ("messages", "\"hi\"", "invalid_type", "messages"),
    ("messages", "null", "missing_required_parameter", "messages"),
    ("messages", "[]", "empty_array", "messages"),
    ("messages", "[5]", "invalid_type", "messages[0]"),
    (
        "messages",
        r#"[{"content":"x"}]"#,
        "missing_required_parameter",
        "messages[0].role",
    ),
    ("messages", r#"[{"role":1}]"#, "invalid_type", "messages[0].role"),
    (
        "messages",
        r#"[{"role":"user","content":"x"},{"role":"king","content":"x"}]"#,
        "invalid_value",
        "messages[1].role",
    ),
    (
        "messages",
        r#"[{"role":"user","content":7}]"#,
        "invalid_type",
        "messages[0].content",
    ),
    ("stream", "\"yes\"", "invalid_type", "stream"),
    ("stream_options", "{}", "invalid_value", "stream_options"),
    ("metadata", "[]", "invalid_type", "metadata"),
];

const WRONG_RESPONSE: &[Wrong] = &[
    ("input", "null", "missing_required_parameter", "input"),
    ("input", "5", "invalid_type", "input"),
    ("input", "[]", "invalid_value", "input"),
    ("input", "[5]", "invalid_type", "input[0]"),
    (
        "input",
        r#"[{"role":"king","content":"x"}]"#,
        "invalid_value",
        "input[0].role",
    ),
    (
        "input",
        r#"[{"role":"user"}]"#,
        "missing_required_parameter",
        "input[0].content",
    ),
    (
        "input",
        r#"[{"type":"item_reference"}]"#,
        "unsupported_value",
        "input[0].type",
    ),
    (
        "input",
        r#"[{"role":"user","content":[{"type":"input_file"}]}]"#,
        "unsupported_value",
        "input[0].content",
    ),
    (
        "input",
        r#"[{"type":"function_call_output","output":"x"}]"#,
        "invalid_value",
        "input[0].call_id",
    ),
    ("temperature", "3", "invalid_value", "temperature"),
    ("temperature", "\"hot\"", "invalid_type", "temperature"),
    ("max_output_tokens", "0", "invalid_value", "max_output_tokens"),
    ("max_output_tokens", "1.5", "invalid_type", "max_output_tokens"),
    ("instructions", "{}", "invalid_type", "instructions"),
    ("metadata", r#"{"k":1}"#, "invalid_type", "metadata"),
    ("background", "true", "unsupported_parameter", "background"),
    (
        "conversation",
        "\"conv_1\"",
        "unsupported_parameter",
        "conversation",
    ),
    (
        "tools",
        r#"[{"type":"web_search"}]"#,
        "unsupported_parameter",
        "tools",
    ),
    ("tool_choice", "5", "invalid_value", "tool_choice"),
    (
        "text",
        r#"{"format":{"type":"poem"}}"#,
        "invalid_value",
        "text.format.type",
    ),
    (
        "previous_response_id",
        "\"resp_none\"",
        "previous_response_not_found",
        "previous_response_id",
    ),
    (
        "previous_response_id",
        "\"../x\"",
        "previous_response_not_found",
        "previous_response_id",
    ),
    ("nonsense", "1", "unknown_parameter", "nonsense"),
    ("truncation", "\"maybe\"", "invalid_value", "truncation"),
    ("include", "\"x\"", "invalid_type", "include"),
    ("include", "[7]", "invalid_type", "include[0]"),
    (
        "include",
        r#"["reasoning.encrypted_content","all"]"#,
        "invalid_value",
        "include[1]",
    ),
    (
        "include",
        r#"["message.output_text.logprobs"]"#,
        "unsupported_parameter",
        "include",
    ),
];

const WRONG_EMBEDDING: &[Wrong] = &[
    ("input", "null", "missing_required_parameter", "input"),
    ("input", "[]", "invalid_value", "input"),
    ("input", r#"["a",""]"#, "invalid_value", "input"),
    ("input", "{}", "invalid_type", "input"),
    ("input", r#"["a",5]"#, "invalid_type", "input[1]"),
    ("input", "[[1,-2]]", "invalid_type", "input[0]"),
    ("encoding_format", "\"hex\"", "invalid_value", "encoding_format"),
    ("dimensions", "0", "invalid_value", "dimensions"),
];

#[tokio::test]
async fn a_wrong_type_or_value_names_its_parameter() {
    let rig = Rig::new().await;
    let tool = json!({ "type": "function", "name": "f" });
    let tables = [
        (
            CHAT,
            json!({ "messages": [{ "role": "user", "content": "hi" }] }),
            WRONG_CHAT,
        ),
        (
            RESPONSES,
            json!({ "input": "x", "tools": [tool] }),
            WRONG_RESPONSE,
        ),
        (EMBEDDINGS, json!({ "input": "x" }), WRONG_EMBEDDING),
    ];
    for (path, right, wrongs) in tables {
        for (name, value, code, param) in wrongs {
            let mut body = right.clone();
            body["model"] = json!("tiny");
            body[name] = serde_json::from_str(value).unwrap();
            assert_eq!(
                rig.post(path, &body).await.error(),
                err(400, code, Some(param)),
                "{path} {name}: {value}"
            );
        }
    }
}

#[tokio::test]
async fn metadata_has_its_limits() {
    let rig = Rig::new().await;
    let pairs: serde_json::Map<_, _> = (0..17).map(|number| (number.to_string(), json!("x"))).collect();
    let cases = [
        (Value::Object(pairs), "object_above_max_properties"),
        (json!({ "k".repeat(65): "v" }), "string_above_max_length"),
        (json!({ "k": "v".repeat(513) }), "string_above_max_length"),
    ];
    for (metadata, code) in cases {
        let body = json!({ "model": "tiny", "input": "x", "metadata": metadata });
        assert_eq!(
            rig.post(RESPONSES, &body).await.error(),
            err(400, code, Some("metadata"))
        );
    }
    let most = json!({ "k".repeat(64): "ü".repeat(512) });
    let body = json!({ "model": "tiny", "input": "x", "metadata": most });
    assert_eq!(rig.post(RESPONSES, &body).await.json()["metadata"], most);
}

#[tokio::test]
async fn an_unknown_model_is_404_in_the_words_of_each_form() {
    let rig = Rig::new().await;
    let body =
        json!({ "model": "no\u{7}ne", "messages": [{ "role": "user", "content": "x" }], "input": "x" });
    for path in [CHAT, EMBEDDINGS, RESPONSES] {
        assert_eq!(
            rig.post(path, &body).await.error(),
            err(404, "model_not_found", Some("model")),
            "{path}"
        );
    }
    for path in ["chat/completions", "embeddings"] {
        let path = format!("/openai/deployments/none/{path}?api-version=2024-10-21");
        assert_eq!(
            rig.post(&path, &body).await.error(),
            err(404, "DeploymentNotFound", None),
            "{path}"
        );
    }
    // Not UTF-8 once it is decoded.
    let path = "/openai/deployments/%ff/embeddings?api-version=2024-10-21";
    assert_eq!(rig.post(path, &body).await.error().0, 404);
}

#[tokio::test]
async fn unknown_ids_and_ids_that_cannot_be_are_404() {
    let rig = Rig::new().await;
    let long = "a".repeat(129);
    for id in ["file-none", "..%2f..%2fetc", "%00", "a%20b", "%E2%98%83", &long] {
        for path in [
            format!("/openai/v1/files/{id}"),
            format!("/openai/v1/files/{id}/content"),
            format!("{RESPONSES}/{id}"),
        ] {
            assert_eq!(
                rig.get(&path).await.error(),
                err(404, "not_found", Some("id")),
                "{path}"
            );
        }
        assert_eq!(rig.delete(&format!("/openai/v1/files/{id}")).await.error().0, 404);
    }
    let azure = "/openai/files/file-none?api-version=2024-10-21";
    assert_eq!(rig.get(azure).await.error(), err(404, "NotFound", Some("id")));
    // An object of another kind is not found under this one.
    let file = rig.upload("a", b"1").await;
    assert_eq!(
        rig.get(&format!("{RESPONSES}/{}", file["id"].as_str().unwrap()))
            .await
            .error()
            .0,
        404
    );
}

#[tokio::test]
async fn bad_paging_is_refused_by_name() {
    let rig = Rig::new().await;
    let cases = [
        ("limit=0", 400, "limit"),
        ("limit=10001", 400, "limit"),
        ("limit=-1", 400, "limit"),
        ("limit=x", 400, "limit"),
        ("limit=", 400, "limit"),
        ("order=up", 400, "order"),
        ("after=..%2f", 400, "after"),
        ("after=%00", 400, "after"),
        ("after=file-none", 404, "after"),
        ("purpose=batch&after=file-none", 404, "after"),
    ];
    for (query, status, param) in cases {
        let (got, _, named) = rig.get(&format!("/openai/v1/files?{query}")).await.error();
        assert_eq!((got, named.as_deref()), (status, Some(param)), "{query}");
    }
    let long = format!("/openai/v1/files?after={}", "a".repeat(limits::QUERY_BYTES));
    assert_eq!(rig.get(&long).await.error().0, 413);
}

#[tokio::test]
async fn the_azure_form_needs_a_version_that_is_one() {
    let rig = Rig::new().await;
    let missing = rig.get("/openai/files").await;
    assert_eq!(
        missing.error(),
        err(400, "MissingApiVersionParameter", Some("api-version"))
    );
    for version in ["x", "2024-13-45x", "../2024-10-21", "%ff"] {
        let answer = rig.get(&format!("/openai/files?api-version={version}")).await;
        assert_eq!(
            answer.error(),
            err(400, "InvalidApiVersionParameter", Some("api-version")),
            "{version}"
        );
    }
    assert_eq!(rig.get("/openai/files?api-version=2024-10-21").await.status, 200);
}

/// A form's field: name, file name, content.
type Field = (&'static str, Option<&'static str>, &'static [u8]);
/// A form, the code and the parameter of the answer.
type WrongForm = (&'static [Field], &'static str, &'static str);

const PURPOSE: Field = ("purpose", None, b"batch");
const FILE: Field = ("file", Some("a"), b"1");
const ANCHOR: Field = ("expires_after[anchor]", None, b"created_at");
const SECONDS: Field = ("expires_after[seconds]", None, b"3600");
const A_MINUTE: Field = ("expires_after[seconds]", None, b"60");
const OTHER_ANCHOR: Field = ("expires_after[anchor]", None, b"last_active_at");

const WRONG_FORMS: &[WrongForm] = &[
    (&[PURPOSE], "missing_required_parameter", "file"),
    (&[FILE], "missing_required_parameter", "purpose"),
    (&[], "missing_required_parameter", "purpose"),
    (&[PURPOSE, ("file", Some("a"), b"")], "empty_file", "file"),
    (&[PURPOSE, ("file", None, b"1")], "invalid_value", "file"),
    (&[PURPOSE, ("file", Some(""), b"1")], "invalid_file_name", "file"),
    (
        &[PURPOSE, ("file", Some("a\tb"), b"1")],
        "invalid_file_name",
        "file",
    ),
    (
        &[("purpose", None, b"world-peace"), FILE],
        "invalid_value",
        "purpose",
    ),
    (
        &[FILE, ("purpose", None, b"fine-tune-results")],
        "invalid_value",
        "purpose",
    ),
    (
        &[("purpose", None, b"\xff\xfe"), FILE],
        "invalid_value",
        "purpose",
    ),
    (
        &[("purpose", None, &[b'a'; limits::FORM_FIELD_BYTES + 1]), FILE],
        "invalid_value",
        "purpose",
    ),
    (&[PURPOSE, PURPOSE, FILE], "invalid_value", "purpose"),
    (&[PURPOSE, FILE, FILE], "invalid_value", "file"),
    (
        &[PURPOSE, ("nonsense", None, b"1"), FILE],
        "unknown_parameter",
        "form",
    ),
    (
        &[PURPOSE, SECONDS, FILE],
        "missing_required_parameter",
        "expires_after.anchor",
    ),
    (
        &[PURPOSE, ANCHOR, FILE],
        "missing_required_parameter",
        "expires_after.seconds",
    ),
    (
        &[PURPOSE, ANCHOR, A_MINUTE, FILE],
        "invalid_value",
        "expires_after.seconds",
    ),
    (
        &[PURPOSE, OTHER_ANCHOR, SECONDS, FILE],
        "invalid_value",
        "expires_after.anchor",
    ),
];

#[tokio::test]
async fn a_form_that_is_not_an_upload_is_refused_and_leaves_nothing() {
    let rig = Rig::new().await;
    for (number, (fields, code, param)) in WRONG_FORMS.iter().enumerate() {
        assert_eq!(
            rig.upload_form(form(fields)).await.error(),
            err(400, code, Some(param)),
            "form {number}"
        );
    }
    let long = "a".repeat(limits::FILE_NAME_BYTES + 1);
    let answer = rig
        .upload_form(form(&[PURPOSE, ("file", Some(&long), b"1")]))
        .await;
    assert_eq!(answer.error(), err(400, "invalid_file_name", Some("file")));
    let bare = [("content-type", "multipart/form-data")];
    let bare = said(
        rig.send(Method::POST, "/openai/v1/files", "x".into(), &bare)
            .await,
    )
    .await;
    assert_eq!(bare.error(), err(400, "invalid_multipart", None));
    assert_eq!(rig.get("/openai/v1/files").await.json()["data"], json!([]));
}

#[tokio::test]
async fn an_oversized_file_is_refused_and_leaves_nothing() {
    let rig = Rig::with(Limits {
        file_bytes: 100_000,
        ..Limits::default()
    })
    .await;
    let fits = form(&[("purpose", None, b"batch"), ("file", Some("a"), &[1; 100_000])]);
    assert_eq!(rig.upload_form(fits).await.status, 200);
    let over = form(&[("purpose", None, b"batch"), ("file", Some("a"), &[1; 100_001])]);
    assert_eq!(
        rig.upload_form(over).await.error(),
        err(413, "request_too_large", None)
    );
    let far_over = form(&[
        ("purpose", None, b"batch"),
        ("file", Some("a"), &vec![1; 1_000_000]),
    ]);
    assert_eq!(
        rig.upload_form(far_over).await.error(),
        err(413, "request_too_large", None)
    );
    assert_eq!(
        rig.get("/openai/v1/files").await.json()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up_with_408() {
    let rig = Rig::with(Limits {
        body_idle: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    for (path, kind) in [(CHAT, "application/json"), ("/openai/v1/files", FORM)] {
        let begun = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"--b0un"))]);
        let body = Body::from_stream(futures::StreamExt::chain(begun, futures::stream::pending()));
        let answer = said(
            rig.send(Method::POST, path, body, &[("content-type", kind)])
                .await,
        )
        .await;
        assert_eq!(answer.error(), err(408, "request_timeout", None), "{path}");
        assert_eq!(answer.header("connection"), "close");
    }
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let rig = Rig::new().await;
    let names: Vec<_> = (0..limits::HEADERS).map(|number| format!("x-{number}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let answer = said(
        rig.send(Method::GET, "/openai/v1/models", Body::empty(), &headers)
            .await,
    )
    .await;
    assert_eq!(answer.error(), err(413, "request_too_large", None));
}

#[tokio::test]
async fn what_fails_inside_is_not_told() {
    let problem = crate::problem::Problem::Internal("the-inner-detail".to_owned());
    for form in [crate::problem::Form::V1, crate::problem::Form::Azure] {
        let answer = said(problem.answer(form)).await;
        assert_eq!(answer.error(), err(500, "internal_error", None));
        assert!(!answer.text().contains("the-inner-detail"));
    }
    assert_eq!(problem.for_the_log(), Some("the-inner-detail"));
}
