//! Responses: whole, as events, chained, listed, deleted.

use serde_json::{Value, json};
use strongroom_models::EngineError;

use super::rig::{Rig, Said, chunk};

const PATH: &str = "/openai/v1/responses";

fn parse(answer: &Said) -> Vec<Value> {
    answer
        .events()
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect()
}

fn path(response: &Value) -> String {
    format!("{PATH}/{}", response["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_response_has_the_official_shape_and_is_kept_as_it_was_answered() {
    let rig = Rig::new().await;
    let ask = json!({
        "model": "tiny", "input": "hi", "instructions": "be short", "metadata": { "topic": "greeting" },
        "temperature": 0.5, "max_output_tokens": 9,
    });
    let response = rig.post(PATH, &ask).await.json();
    assert!(response["id"].as_str().unwrap().starts_with("resp_"));
    let message = &response["output"][0];
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    let text = json!({ "type": "output_text", "text": "one two three", "annotations": [], "logprobs": [] });
    assert_eq!(message["content"], json!([text]));
    let fields = [
        ("object", json!("response")),
        ("status", json!("completed")),
        ("model", json!("tiny")),
        ("instructions", json!("be short")),
        ("metadata", json!({ "topic": "greeting" })),
        ("temperature", json!(0.5)),
        ("max_output_tokens", json!(9)),
        ("store", json!(true)),
        ("error", Value::Null),
        ("tools", json!([])),
        ("tool_choice", json!("auto")),
        ("parallel_tool_calls", json!(true)),
    ];
    for (name, value) in fields {
        assert_eq!(response[name], value, "{name}");
    }
    assert_eq!(response["usage"]["input_tokens"], 5);
    assert_eq!(response["usage"]["total_tokens"], 8);
    let messages = json!([{ "role": "system", "content": "be short" }, { "role": "user", "content": "hi" }]);
    assert_eq!(
        rig.engine.asked(),
        json!({ "temperature": 0.5, "max_completion_tokens": 9, "model": "m", "messages": messages })
    );
    assert_eq!(rig.get(&path(&response)).await.json(), response);
    let azure = path(&response).replace("/v1", "") + "?api-version=2025-04-01-preview";
    assert_eq!(rig.get(&azure).await.json(), response);
}

#[tokio::test]
async fn a_stream_tells_the_official_events_in_order() {
    let rig = Rig::new().await;
    let answer = rig
        .post(PATH, &json!({ "model": "tiny", "input": "hi", "stream": true }))
        .await;
    let events = parse(&answer);
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(kinds(&events), expected);
    let numbers: Vec<_> = events
        .iter()
        .map(|event| event["sequence_number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..11).collect::<Vec<_>>());
    let named: Vec<_> = answer
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("event: ").map(str::to_owned))
        .collect();
    assert_eq!(named, expected);
    let last = &events[10]["response"];
    assert_eq!(last["output"][0]["content"][0]["text"], "one two three");
    assert_eq!(last["usage"]["output_tokens"], 3);
    assert_eq!(
        rig.get(&path(last)).await.json(),
        *last,
        "what was announced is what is kept"
    );
}

#[tokio::test]
async fn completed_is_told_only_after_the_commit() {
    let rig = Rig::new().await;
    let chunks = rig.engine.by_hand();
    let ask = json!({ "model": "tiny", "input": "hi", "stream": true });
    let headers = [("content-type", "application/json")];
    let answer = rig
        .send(http::Method::POST, PATH, ask.to_string().into(), &headers)
        .await;
    chunks
        .send(Ok(chunk(&json!({ "content": "a" }), Some("stop"))))
        .await
        .unwrap();
    drop(chunks);
    let mut stream = answer.into_body().into_data_stream();
    let mut told = String::new();
    while let Some(piece) = futures::StreamExt::next(&mut stream).await {
        told.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        if let Some(at) = told.find("\"id\":\"resp_") {
            let id = &told[at + 6..at + 6 + 37];
            let kept = rig.get(&format!("{PATH}/{id}")).await.status == 200;
            assert_eq!(kept, told.contains("response.completed"), "{told}");
        }
    }
    assert!(told.contains("response.completed"));
}

#[tokio::test]
async fn what_the_caller_does_not_want_kept_is_not_kept() {
    let rig = Rig::new().await;
    for stream in [false, true] {
        let answer = rig
            .post(
                PATH,
                &json!({ "model": "tiny", "input": "hi", "store": false, "stream": stream }),
            )
            .await;
        let response = if stream {
            parse(&answer).pop().unwrap()["response"].clone()
        } else {
            answer.json()
        };
        assert_eq!(response["store"], false);
        assert_eq!(rig.get(&path(&response)).await.error().0, 404);
    }
}

#[tokio::test]
async fn a_chain_brings_back_what_was_said_but_not_the_instructions() {
    let rig = Rig::new().await;
    let first = rig
        .post(
            PATH,
            &json!({ "model": "tiny", "input": "a", "instructions": "old" }),
        )
        .await
        .json();
    let second = rig
        .post(
            PATH,
            &json!({ "model": "tiny", "input": "b", "previous_response_id": first["id"] }),
        )
        .await
        .json();
    let ask =
        json!({ "model": "tiny", "input": "c", "previous_response_id": second["id"], "instructions": "new" });
    let third = rig.post(PATH, &ask).await.json();
    assert_eq!(third["previous_response_id"], second["id"]);
    let said = |role: &str, content: &str| json!({ "role": role, "content": content });
    let expected = json!([
        said("system", "new"),
        said("user", "a"),
        said("assistant", "one two three"),
        said("user", "b"),
        said("assistant", "one two three"),
        said("user", "c"),
    ]);
    assert_eq!(rig.engine.asked()["messages"], expected);
    rig.delete(&path(&first)).await;
    let code = (
        "previous_response_not_found".to_owned(),
        Some("previous_response_id".to_owned()),
    );
    assert_eq!(rig.post(PATH, &ask).await.error(), (400, code.0, code.1));
}

#[tokio::test]
async fn a_chain_has_an_end() {
    let rig = Rig::new().await;
    let mut previous = rig
        .post(PATH, &json!({ "model": "tiny", "input": "a" }))
        .await
        .json();
    for _ in 1..crate::limits::CHAIN {
        let ask = json!({ "model": "tiny", "input": "a", "previous_response_id": previous["id"] });
        previous = rig.post(PATH, &ask).await.json();
    }
    let ask = json!({ "model": "tiny", "input": "a", "previous_response_id": previous["id"] });
    previous = rig.post(PATH, &ask).await.json();
    let ask = json!({ "model": "tiny", "input": "a", "previous_response_id": previous["id"] });
    assert_eq!(rig.post(PATH, &ask).await.error().1, "conversation_too_long");
}

#[tokio::test]
async fn input_items_are_listed_with_paging() {
    let rig = Rig::new().await;
    let input = json!([
        { "role": "developer", "content": "rules" },
        { "role": "user", "content": [{ "type": "input_text", "text": "one" }, { "type": "input_text", "text": "two" }] },
        { "type": "message", "id": "msg_mine", "role": "assistant", "content": "three" },
        { "role": "user", "content": "four" },
    ]);
    let response = rig
        .post(PATH, &json!({ "model": "tiny", "input": input }))
        .await
        .json();
    let parts = json!([{ "type": "text", "text": "one" }, { "type": "text", "text": "two" }]);
    assert_eq!(
        rig.engine.asked()["messages"][0],
        json!({ "role": "system", "content": "rules" })
    );
    assert_eq!(
        rig.engine.asked()["messages"][1],
        json!({ "role": "user", "content": parts })
    );
    let items = format!("{}/input_items", path(&response));
    let all = rig.get(&format!("{items}?order=asc")).await.json();
    assert_eq!(all["data"].as_array().unwrap().len(), 4);
    assert_eq!(all["data"][2]["id"], "msg_mine");
    assert_eq!(all["data"][2]["content"][0]["type"], "output_text");
    assert_eq!(
        all["data"][3]["content"],
        json!([{ "type": "input_text", "text": "four" }])
    );
    let newest = rig.get(&format!("{items}?limit=1")).await.json();
    assert_eq!(
        (&newest["data"][0], &newest["has_more"]),
        (&all["data"][3], &json!(true))
    );
    let rest = rig.get(&format!("{items}?order=asc&after=msg_mine")).await.json();
    assert_eq!(
        (&rest["data"], &rest["has_more"]),
        (&json!([all["data"][3]]), &json!(false))
    );
    assert_eq!(rig.get(&format!("{items}?after=msg_none")).await.error().0, 404);
}

#[tokio::test]
async fn functions_are_offered_called_and_answered() {
    let rig = Rig::new().await;
    let call = json!({ "id": "call_1", "type": "function", "function": { "name": "add", "arguments": "{\"a\":1}" } });
    *rig.engine.message.lock().unwrap() =
        Some(json!({ "role": "assistant", "content": null, "tool_calls": [call] }));
    *rig.engine.finish.lock().unwrap() = Some("tool_calls");
    let tool =
        json!({ "type": "function", "name": "add", "parameters": { "type": "object" }, "strict": true });
    let ask = json!({ "model": "tiny", "input": "1+?", "tools": [tool], "tool_choice": { "type": "function", "name": "add" } });
    let response = rig.post(PATH, &ask).await.json();
    let function = json!({ "name": "add", "parameters": { "type": "object" }, "strict": true });
    assert_eq!(
        rig.engine.asked()["tools"],
        json!([{ "type": "function", "function": function }])
    );
    assert_eq!(
        rig.engine.asked()["tool_choice"],
        json!({ "type": "function", "function": { "name": "add" } })
    );
    let item = &response["output"][0];
    assert_eq!(
        (&item["type"], &item["call_id"], &item["name"]),
        (&json!("function_call"), &json!("call_1"), &json!("add"))
    );
    let output = json!({ "type": "function_call_output", "call_id": "call_1", "output": "2" });
    rig.post(
        PATH,
        &json!({ "model": "tiny", "input": [output], "previous_response_id": response["id"] }),
    )
    .await;
    let expected = json!([
        { "role": "user", "content": "1+?" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "call_1", "content": "2" },
    ]);
    assert_eq!(rig.engine.asked()["messages"], expected);
}

#[tokio::test]
async fn a_streamed_call_grows_by_its_arguments() {
    let rig = Rig::new().await;
    let chunks = rig.engine.by_hand();
    let delta = |call: Value| Ok(chunk(&json!({ "tool_calls": [call] }), None));
    let begun = json!({ "index": 0, "id": "call_1", "type": "function", "function": { "name": "add", "arguments": "" } });
    chunks.send(delta(begun)).await.unwrap();
    for part in ["{\"a\"", ":1}"] {
        chunks
            .send(delta(json!({ "index": 0, "function": { "arguments": part } })))
            .await
            .unwrap();
    }
    chunks
        .send(Ok(chunk(&json!({}), Some("tool_calls"))))
        .await
        .unwrap();
    drop(chunks);
    let events = parse(
        &rig.post(PATH, &json!({ "model": "tiny", "input": "x", "stream": true }))
            .await,
    );
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(kinds(&events), expected);
    assert_eq!(events[5]["arguments"], "{\"a\":1}");
}

#[tokio::test]
async fn an_answer_that_was_cut_for_length_is_incomplete() {
    let rig = Rig::new().await;
    for stream in [false, true] {
        *rig.engine.finish.lock().unwrap() = Some("length");
        let answer = rig
            .post(PATH, &json!({ "model": "tiny", "input": "x", "stream": stream }))
            .await;
        let response = if stream {
            let last = parse(&answer).pop().unwrap();
            assert_eq!(last["type"], "response.incomplete");
            last["response"].clone()
        } else {
            answer.json()
        };
        assert_eq!(response["status"], "incomplete");
        assert_eq!(
            response["incomplete_details"],
            json!({ "reason": "max_output_tokens" })
        );
    }
}

#[tokio::test]
async fn an_engine_that_fails_on_the_way_makes_a_failed_response() {
    let rig = Rig::new().await;
    let chunks = rig.engine.by_hand();
    chunks
        .send(Ok(chunk(&json!({ "content": "a" }), None)))
        .await
        .unwrap();
    chunks.send(Err(EngineError::Unavailable)).await.unwrap();
    let events = parse(
        &rig.post(PATH, &json!({ "model": "tiny", "input": "x", "stream": true }))
            .await,
    );
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["response"]["status"], "failed");
    assert_eq!(last["response"]["error"]["code"], "server_error");
}

#[tokio::test]
async fn a_refusal_is_a_part_of_its_own() {
    let rig = Rig::new().await;
    *rig.engine.message.lock().unwrap() =
        Some(json!({ "role": "assistant", "content": null, "refusal": "no" }));
    let response = rig
        .post(PATH, &json!({ "model": "tiny", "input": "x" }))
        .await
        .json();
    assert_eq!(
        response["output"][0]["content"],
        json!([{ "type": "refusal", "refusal": "no" }])
    );
}

#[tokio::test]
async fn a_response_is_deleted_and_cannot_be_cancelled() {
    let rig = Rig::new().await;
    let response = rig
        .post(PATH, &json!({ "model": "tiny", "input": "x" }))
        .await
        .json();
    let cancel = format!("{}/cancel", path(&response));
    assert_eq!(
        rig.post(&cancel, &json!({})).await.error().1,
        "response_not_cancellable"
    );
    let deleted = rig.delete(&path(&response)).await.json();
    assert_eq!(
        deleted,
        json!({ "id": response["id"], "object": "response", "deleted": true })
    );
    for gone in [path(&response), format!("{}/input_items", path(&response))] {
        assert_eq!(
            rig.get(&gone).await.error(),
            (404, "not_found".to_owned(), Some("id".to_owned()))
        );
    }
    assert_eq!(rig.post(&cancel, &json!({})).await.error().0, 404);
}
