//! Models, chat completions and embeddings.

use serde_json::{Value, json};
use strongroom_models::EngineError;

use super::rig::{Rig, chunk};

fn hello() -> Value {
    json!({ "model": "tiny", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 3, "stop": ["x"], "n": 1 })
}

#[tokio::test]
async fn models_are_the_deployments() {
    let rig = Rig::new().await;
    let list = rig.get("/openai/v1/models").await.json();
    let ids: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["drains", "goes-on", "tiny"]);
    let model = rig.get("/openai/v1/models/tiny").await.json();
    assert_eq!(
        model,
        json!({ "id": "tiny", "object": "model", "created": 7, "owned_by": "tests" })
    );
    let code = ("model_not_found".to_owned(), Some("model".to_owned()));
    assert_eq!(
        rig.get("/openai/v1/models/none").await.error(),
        (404, code.0, code.1)
    );
}

#[tokio::test]
async fn a_completion_is_passed_through_and_the_engine_gets_its_own_models_name() {
    let rig = Rig::new().await;
    let answer = rig.post("/openai/v1/chat/completions", &hello()).await.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["message"]["content"], "one two three");
    let mut expected = hello();
    expected["model"] = json!("m");
    assert_eq!(rig.engine.asked(), expected);
    let azure = "/openai/deployments/tiny/chat/completions?api-version=2024-10-21";
    let mut body = hello();
    body.as_object_mut().unwrap().remove("model");
    assert_eq!(rig.post(azure, &body).await.json()["object"], "chat.completion");
}

#[tokio::test]
async fn a_stream_is_framed_as_events_and_ends_with_done() {
    let rig = Rig::new().await;
    let mut body = hello();
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    let answer = rig.post("/openai/v1/chat/completions", &body).await;
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let events = answer.events();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    assert_eq!(chunks[0]["choices"][0]["delta"]["content"], "one ");
    assert_eq!(chunks.last().unwrap()["usage"]["prompt_tokens"], 5);
    assert_eq!(
        rig.engine.asked()["stream_options"],
        json!({ "include_usage": true })
    );
}

#[tokio::test]
async fn an_engine_that_fails_before_the_stream_gives_a_status_and_on_the_way_an_event() {
    let rig = Rig::new().await;
    let mut body = hello();
    body["stream"] = json!(true);
    *rig.engine.fails.lock().unwrap() = Some(EngineError::Overloaded { retry_after: None });
    let answer = rig.post("/openai/v1/chat/completions", &body).await;
    assert_eq!(answer.error(), (429, "rate_limit_exceeded".to_owned(), None));
    assert_eq!(answer.header("retry-after"), "5");
    let chunks = rig.engine.by_hand();
    chunks
        .send(Ok(chunk(&json!({ "content": "a" }), None)))
        .await
        .unwrap();
    chunks.send(Err(EngineError::Unavailable)).await.unwrap();
    let events = rig.post("/openai/v1/chat/completions", &body).await.events();
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(
        (events.len(), &last["error"]["code"]),
        (2, &json!("model_unavailable"))
    );
}

#[tokio::test]
async fn each_failure_of_an_engine_has_its_status() {
    let rig = Rig::new().await;
    let bad = |code: Option<&str>| EngineError::BadRequest {
        message: "too long".to_owned(),
        param: Some("messages".to_owned()),
        code: code.map(str::to_owned),
    };
    let upstream = |status| EngineError::Upstream {
        status,
        message: "no".to_owned(),
    };
    let cases = [
        (
            bad(Some("context_length_exceeded")),
            400,
            "context_length_exceeded",
        ),
        (bad(None), 400, "invalid_value"),
        (EngineError::UnknownModel, 404, "model_not_found"),
        (EngineError::TimedOut, 504, "model_timeout"),
        (EngineError::Unavailable, 503, "model_unavailable"),
        (EngineError::Stopped, 503, "model_unavailable"),
        (EngineError::Protocol, 502, "model_error"),
        (upstream(422), 422, "model_refused"),
        (upstream(401), 502, "model_refused"),
        (upstream(302), 502, "model_refused"),
    ];
    for (failure, status, code) in cases {
        *rig.engine.fails.lock().unwrap() = Some(failure.clone());
        let (said, named, _) = rig.post("/openai/v1/chat/completions", &hello()).await.error();
        assert_eq!((said, named.as_str()), (status, code), "{failure:?}");
    }
}

#[tokio::test]
async fn what_shall_not_be_kept_is_not_and_the_engine_hears_nothing_of_it() {
    let rig = Rig::new().await;
    let mut body = hello();
    for store in [json!(false), Value::Null] {
        body["store"] = store;
        body["metadata"] = json!({ "a": "b" });
        let answer = rig.post("/openai/v1/chat/completions", &body).await.json();
        assert_eq!(
            (answer["id"].as_str(), answer.get("metadata")),
            (Some("chatcmpl-1"), None)
        );
        assert_eq!(rig.engine.asked().get("store"), None);
    }
    assert_eq!(rig.kept().await, []);
    body["store"] = json!("yes");
    let refused = rig.post("/openai/v1/chat/completions", &body).await.error();
    assert_eq!(
        refused,
        (400, "invalid_type".to_owned(), Some("store".to_owned()))
    );
}

#[tokio::test]
async fn more_streams_than_the_limit_are_told_to_come_again() {
    let rig = Rig::with(crate::Limits {
        streams: 1,
        ..crate::Limits::default()
    })
    .await;
    let _open = rig.engine.by_hand();
    let mut body = hello();
    body["stream"] = json!(true);
    let headers = [("content-type", "application/json")];
    let path = "/openai/v1/chat/completions";
    let first = rig
        .send(http::Method::POST, path, body.to_string().into(), &headers)
        .await;
    assert_eq!(
        rig.post(path, &body).await.error(),
        (429, "rate_limit_exceeded".to_owned(), None)
    );
    drop(first);
    assert_eq!(rig.post(path, &body).await.status, 200);
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_as_little_endian_base64() {
    let rig = Rig::new().await;
    let mut body = json!({ "model": "tiny", "input": "hi" });
    let floats = rig.post("/openai/v1/embeddings", &body).await.json();
    assert_eq!(floats["data"][0]["embedding"], json!([0.5, -1.25, 3.0]));
    body["encoding_format"] = json!("base64");
    let azure = "/openai/deployments/tiny/embeddings?api-version=2024-10-21";
    for path in ["/openai/v1/embeddings", azure] {
        // 0.5, -1.25 and 3.0 as the standard says: 0000003f 0000a0bf 00004040.
        assert_eq!(
            rig.post(path, &body).await.json()["data"][0]["embedding"],
            "AAAAPwAAoL8AAEBA"
        );
    }
    assert_eq!(rig.engine.asked().get("encoding_format"), None);
    for input in [json!(["a", "b"]), json!([1, 2, 3]), json!([[1, 2], [3]])] {
        body["input"] = input;
        assert_eq!(rig.post("/openai/v1/embeddings", &body).await.status, 200);
    }
}
