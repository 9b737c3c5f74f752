//! The route table itself.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Method;

use super::rig::{Rig, said};
use crate::auth::{Act, Right};
use crate::limits::Limits;
use crate::problem::{Form, Problem};
use crate::routes::{BodyLimit, Gate, ROUTES};

#[test]
fn every_route_has_a_path_a_body_limit_a_time_out_and_rights() {
    let mut seen = BTreeSet::new();
    for route in ROUTES {
        assert!(route.path.starts_with('/'), "{}", route.path);
        assert!(
            seen.insert((route.method_name(), route.path)),
            "{} stands twice",
            route.path
        );
        assert!(!route.time.is_zero(), "{}", route.path);
        assert!(!route.needs.is_empty(), "{}", route.path);
        let limit = route.body.bytes(&Limits::default());
        assert_eq!(limit == 0, route.body == BodyLimit::None, "{}", route.path);
        // Whatever touches storage needs the key; a deployment's policy decides for inference alone.
        assert_eq!(
            route.gate == Gate::Deployment,
            route.method_name() == "POST"
                && ["/chat/completions", "/embeddings", "/responses"].contains(&route.path),
            "{}",
            route.path
        );
        let changes = route.needs.iter().any(|right| match right {
            Right::Models(act)
            | Right::Files(act)
            | Right::FineTuning(act)
            | Right::Responses(act)
            | Right::Completions(act) => *act != Act::Read,
            Right::Chat | Right::Embeddings => false,
        });
        assert!(!(changes && route.method_name() == "GET"), "{}", route.path);
        let [(first, v1), (second, azure)] = route.paths();
        assert_eq!((first, second), (Form::V1, Form::Azure));
        assert!(
            v1.starts_with("/openai/v1/") && azure.starts_with("/openai/"),
            "{v1} {azure}"
        );
    }
}

#[tokio::test]
async fn every_route_of_the_table_is_served_in_both_forms() {
    let rig = Rig::new().await;
    for route in ROUTES {
        for (form, path) in route.paths() {
            let version = if form == Form::Azure {
                "?api-version=2024-10-21"
            } else {
                ""
            };
            let path = path.replace("{id}", "none").replace("{deployment}", "none") + version;
            let method = Method::from_bytes(route.method_name().as_bytes()).unwrap();
            let answer = said(rig.send(method, &path, Body::empty(), &[]).await).await;
            if answer.status != 200 {
                let (status, code, _) = answer.error();
                assert!(
                    !matches!(code.as_str(), "unknown_url" | "method_not_supported"),
                    "{path}: {status} {code}"
                );
                assert_ne!(status, 500, "{path}: {code}");
            }
        }
    }
}

#[tokio::test]
async fn other_paths_and_methods_have_the_apis_own_errors() {
    let rig = Rig::new().await;
    for path in [
        "/",
        "/openai",
        "/openai/v1",
        "/openai/v1/nothing",
        "/openai/v1/files/a/b/c",
        "/v1/files",
    ] {
        assert_eq!(rig.get(path).await.error().0, 404, "{path}");
        assert_eq!(rig.get(path).await.error().1, "unknown_url", "{path}");
    }
    assert_eq!(
        rig.delete("/openai/v1/files").await.error(),
        (405, "method_not_supported".to_owned(), None)
    );
}

#[tokio::test]
async fn a_full_disk_is_an_answer_of_its_own_that_is_not_to_be_tried_again() {
    let full = std::io::Error::from_raw_os_error(28);
    let problem = Problem::from(strongroom_store::StoreError::from(full));
    let answer = said(problem.answer(Form::V1)).await;
    assert_eq!(answer.error(), (507, "insufficient_storage".to_owned(), None));
    assert_eq!(answer.header("x-should-retry"), "false");
}

#[tokio::test]
async fn what_a_query_wants_included_is_known_or_refused() {
    let rig = Rig::new().await;
    for path in [
        "/openai/v1/responses/resp_0",
        "/openai/v1/responses/resp_0/input_items",
    ] {
        let known = format!("{path}?include[]=reasoning.encrypted_content&include[]=web_search_call.results");
        assert_eq!(rig.get(&known).await.error().0, 404);
        for wrong in ["include[]=all&include[]=file_search_call.results", "include=all"] {
            assert_eq!(
                rig.get(&format!("{path}?{wrong}")).await.error(),
                (400, "invalid_value".to_owned(), Some("include".to_owned()))
            );
        }
    }
}

#[tokio::test]
async fn answers_carry_the_ids_of_their_form() {
    let rig = Rig::new().await;
    let answer = rig.get("/openai/v1/models").await;
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert!(answer.header("openai-processing-ms").parse::<u64>().is_ok());
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = rig.get("/openai/models?api-version=2024-10-21").await;
    assert_eq!(answer.header("apim-request-id"), answer.header("x-ms-request-id"));
    assert_eq!(answer.header("x-request-id").len(), 36);
    // Errors carry them too.
    assert!(
        rig.get("/openai/v1/files/none")
            .await
            .header("x-request-id")
            .starts_with("req_")
    );
}

#[tokio::test]
async fn what_is_counted_carries_patterns_and_no_names() {
    let rig = Rig::new().await;
    let file = rig.upload("a-secret-name.txt", b"hello").await;
    rig.get(&format!(
        "/openai/v1/files/{}/content",
        file["id"].as_str().unwrap()
    ))
    .await;
    rig.get("/openai/v1/files/file-secret").await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &rig.registry).unwrap();
    let line = r#"strongroom_service_requests_total{route="/files/{id}",method="GET",class="4xx"} 1"#;
    assert!(text.contains(line), "{text}");
    assert!(text.contains("strongroom_service_in_flight 0"), "{text}");
    assert!(text.contains("strongroom_service_sent_bytes_total"), "{text}");
    assert!(!text.contains("secret") && !text.contains("contoso"), "{text}");
}
