//! Stored completions: kept, listed, changed, exported, deleted.

use http::Method;
use serde_json::{Value, json};
use strongroom_models::EngineError;

use super::rig::{READER, Rig, Said, chunk, said};

const CHAT: &str = "/openai/v1/chat/completions";

fn ask(text: &str, metadata: &Value) -> Value {
    let messages = json!([{ "role": "system", "content": "Be short." }, { "role": "user", "content": text }]);
    json!({ "model": "tiny", "messages": messages, "store": true, "metadata": metadata, "temperature": 0.5 })
}

async fn kept(rig: &Rig, text: &str, metadata: &Value) -> Value {
    let answer = rig.post(CHAT, &ask(text, metadata)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn id(completion: &Value) -> &str {
    completion["id"].as_str().unwrap()
}

pub(super) fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(id).collect()
}

fn err(status: u16, code: &str, param: Option<&str>) -> (u16, String, Option<String>) {
    (status, code.to_owned(), param.map(str::to_owned))
}

async fn stream(rig: &Rig, more: &Value) -> Said {
    let mut body = ask("hi", &json!({}));
    body["stream"] = json!(true);
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    rig.post(CHAT, &body).await
}

fn chunks(said: &Said) -> Vec<Value> {
    let events = said.events();
    let data = events.iter().filter(|event| *event != "[DONE]");
    data.map(|event| serde_json::from_str(event).unwrap()).collect()
}

#[tokio::test]
async fn a_completion_is_kept_with_how_it_was_asked_and_shown_as_the_api_shows_it() {
    let rig = Rig::new().await;
    let answer = kept(&rig, "hi", &json!({ "topic": "vaults" })).await;
    assert!(
        id(&answer).starts_with("chatcmpl-") && id(&answer) != "chatcmpl-1",
        "the engine's id is not unique"
    );
    assert_eq!(answer["metadata"], json!({ "topic": "vaults" }));
    let asked = rig.engine.asked();
    assert_eq!((asked.get("store"), asked.get("metadata")), (None, None));
    let path = format!("{CHAT}/{}", id(&answer));
    let shown = rig.get(&path).await.json();
    for (name, value) in [
        ("object", json!("chat.completion")),
        ("id", answer["id"].clone()),
        ("choices", answer["choices"].clone()),
        ("usage", answer["usage"].clone()),
        ("metadata", json!({ "topic": "vaults" })),
        ("temperature", json!(0.5)),
        ("tools", Value::Null),
        ("input_user", Value::Null),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    let azure = format!(
        "/openai/chat/completions/{}?api-version=2025-04-01-preview",
        id(&answer)
    );
    assert_eq!(rig.get(&azure).await.json(), shown);
    assert_eq!(rig.get(CHAT).await.json()["data"], json!([shown]));
    let deleted = rig.delete(&path).await.json();
    assert_eq!(
        deleted,
        json!({ "id": answer["id"], "object": "chat.completion.deleted", "deleted": true })
    );
    for gone in [
        rig.get(&path).await,
        rig.delete(&path).await,
        rig.get(&format!("{path}/messages")).await,
    ] {
        assert_eq!(gone.error(), err(404, "not_found", Some("id")));
    }
    assert_eq!(rig.kept().await, []);
}

#[tokio::test]
async fn messages_are_listed_in_pages_with_ids() {
    let rig = Rig::new().await;
    let mut body = ask("x", &json!({}));
    let parts = json!([{ "type": "text", "text": "look" }]);
    body["messages"] = json!([
        { "role": "user", "content": "one", "name": "ann" },
        { "role": "assistant", "tool_calls": [] },
        { "role": "user", "content": parts },
    ]);
    let answer = rig.post(CHAT, &body).await.json();
    let path = format!("{CHAT}/{}/messages", id(&answer));
    let all = rig.get(&path).await.json();
    let name = |number: usize| format!("{}-{number}", id(&answer));
    assert_eq!(ids(&all), [name(0), name(1), name(2)]);
    assert_eq!(
        all["data"][0],
        json!({ "id": name(0), "role": "user", "content": "one", "name": "ann", "content_parts": null })
    );
    assert_eq!(all["data"][1]["content"], Value::Null);
    assert_eq!(all["data"][2]["content_parts"], parts);
    let page = rig.get(&format!("{path}?limit=1&after={}", name(0))).await.json();
    assert_eq!(
        (ids(&page), &page["has_more"]),
        (vec![name(1).as_str()], &json!(true))
    );
    let last = rig.get(&format!("{path}?limit=1&order=desc")).await.json();
    assert_eq!(ids(&last), [name(2)]);
    let beyond = rig.get(&format!("{path}?after=none")).await;
    assert_eq!(beyond.error(), err(404, "not_found", Some("after")));
}

#[tokio::test]
async fn lists_are_filtered_by_model_and_metadata_and_page_in_both_orders() {
    let rig = Rig::new().await;
    let mut made = Vec::new();
    for number in 0..40 {
        let metadata =
            json!({ "parity": if number % 2 == 0 { "even" } else { "odd" }, "n": number.to_string() });
        made.push(id(&kept(&rig, "x", &metadata).await).to_owned());
    }
    let list = async |query: &str| rig.get(&format!("{CHAT}?{query}")).await.json();
    let first = list("").await;
    assert_eq!((ids(&first).len(), &first["has_more"]), (20, &json!(true)));
    assert_eq!(ids(&first)[..2], made[..2], "oldest first");
    assert_eq!(
        ids(&list("order=desc&limit=2").await),
        [made[39].as_str(), &made[38]]
    );
    let odd = list("metadata[parity]=odd&limit=3").await;
    assert_eq!(ids(&odd), [made[1].as_str(), &made[3], &made[5]]);
    assert_eq!(
        (&odd["has_more"], odd["last_id"].as_str()),
        (&json!(true), Some(made[5].as_str()))
    );
    let next = list(&format!("metadata%5Bparity%5D=odd&limit=100&after={}", made[5])).await;
    assert_eq!((ids(&next).len(), &next["has_more"]), (17, &json!(false)));
    let one = list("metadata[parity]=odd&metadata[n]=7&model=tiny").await;
    assert_eq!(ids(&one), [made[7].as_str()]);
    assert_eq!(ids(&list("metadata[n]=7&model=m").await), [made[7].as_str()]);
    for none in [
        "metadata[n]=7&model=other",
        "metadata[n]=",
        "metadata[parity]=odd&metadata[n]=8",
    ] {
        let none = list(none).await;
        assert_eq!(
            (&none["data"], &none["has_more"], &none["last_id"]),
            (&json!([]), &json!(false), &Value::Null)
        );
    }
    for (query, code) in [
        ("limit=101", "invalid_value"),
        ("order=up", "invalid_value"),
        ("after=x/y", "invalid_value"),
    ] {
        assert_eq!(rig.get(&format!("{CHAT}?{query}")).await.error().1, code);
    }
    let unknown = rig.get(&format!("{CHAT}?after=chatcmpl-none")).await;
    assert_eq!(unknown.error(), err(404, "not_found", Some("after")));
}

#[tokio::test]
async fn metadata_are_replaced_and_nothing_else() {
    let rig = Rig::new().await;
    let answer = kept(&rig, "x", &json!({ "a": "1" })).await;
    let path = format!("{CHAT}/{}", id(&answer));
    let changed = rig.post(&path, &json!({ "metadata": { "b": "2" } })).await.json();
    assert_eq!(
        (&changed["metadata"], &changed["choices"]),
        (&json!({ "b": "2" }), &answer["choices"])
    );
    assert_eq!(rig.get(&path).await.json(), changed);
    let many: serde_json::Map<_, _> = (0..17).map(|n| (n.to_string(), json!("x"))).collect();
    for (body, code) in [
        (json!({}), "missing_required_parameter"),
        (json!({ "metadata": "x" }), "invalid_type"),
        (json!({ "metadata": { "a": 1 } }), "invalid_type"),
        (json!({ "metadata": many }), "object_above_max_properties"),
        (
            json!({ "metadata": { "a": "x".repeat(513) } }),
            "string_above_max_length",
        ),
    ] {
        let refused = rig.post(&path, &body).await.error();
        assert_eq!(refused, err(400, code, Some("metadata")), "{body}");
    }
    let nowhere = rig
        .post(&format!("{CHAT}/chatcmpl-none"), &json!({ "metadata": {} }))
        .await;
    assert_eq!(nowhere.error(), err(404, "not_found", Some("id")));
}

#[tokio::test]
async fn a_stream_is_kept_as_the_completion_that_it_adds_up_to() {
    let rig = Rig::new().await;
    let told = stream(&rig, &json!({})).await;
    assert_eq!(told.events().last().map(String::as_str), Some("[DONE]"));
    let told = chunks(&told);
    assert_eq!(told.len(), 4, "usage was not asked for");
    assert!(
        told.iter()
            .all(|chunk| chunk.get("usage").is_none() && id(chunk) == id(&told[0]))
    );
    let stored = rig.get(&format!("{CHAT}/{}", id(&told[0]))).await.json();
    assert_eq!(stored["choices"][0]["message"]["content"], "one two three");
    assert_eq!(stored["choices"][0]["finish_reason"], "stop");
    assert_eq!(stored["usage"]["prompt_tokens"], 5, "it is kept all the same");
    let with_usage = stream(&rig, &json!({ "stream_options": { "include_usage": true } })).await;
    assert_eq!(chunks(&with_usage).last().unwrap()["usage"]["prompt_tokens"], 5);
    let too_many = stream(&rig, &json!({ "n": 129 })).await;
    assert_eq!(too_many.error(), err(400, "integer_above_max_value", Some("n")));
}

#[tokio::test]
async fn the_end_of_a_stream_follows_the_commit_and_a_stream_that_fails_is_not_kept() {
    let rig = Rig::new().await;
    let sender = rig.engine.by_hand();
    let mut body = ask("hi", &json!({}));
    body["stream"] = json!(true);
    let headers = [("content-type", "application/json")];
    let answer = rig
        .send(Method::POST, CHAT, body.to_string().into(), &headers)
        .await;
    let mut events = answer.into_body().into_data_stream();
    let mut next = async || {
        String::from_utf8(
            futures::StreamExt::next(&mut events)
                .await
                .unwrap()
                .unwrap()
                .to_vec(),
        )
        .unwrap()
    };
    sender
        .send(Ok(chunk(&json!({ "content": "a" }), None)))
        .await
        .unwrap();
    assert!(next().await.contains("\"a\""));
    sender.send(Ok(chunk(&json!({}), Some("stop")))).await.unwrap();
    assert_eq!(rig.kept().await, [], "it may still go on");
    drop(sender);
    let end = next().await;
    assert!(
        end.contains("\"stop\"") && end.ends_with("data: [DONE]\n\n"),
        "{end}"
    );
    assert_eq!(rig.kept().await, [("completion".to_owned(), 1)]);
    let sender = rig.engine.by_hand();
    sender
        .send(Ok(chunk(&json!({ "content": "a" }), None)))
        .await
        .unwrap();
    sender.send(Err(EngineError::Unavailable)).await.unwrap();
    let failed = stream(&rig, &json!({})).await.events();
    assert!(failed.last().unwrap().contains("model_unavailable"));
    *rig.engine.fails.lock().unwrap() = Some(EngineError::Unavailable);
    assert_eq!(rig.post(CHAT, &ask("x", &json!({}))).await.status, 503);
    assert_eq!(rig.kept().await, [("completion".to_owned(), 1)]);
}

#[tokio::test]
async fn an_export_is_a_training_set() {
    let rig = Rig::new().await;
    kept(&rig, "one", &json!({ "good": "yes" })).await;
    kept(&rig, "two", &json!({ "good": "no" })).await;
    *rig.engine.finish.lock().unwrap() = Some("length");
    kept(&rig, "cut short", &json!({ "good": "yes" })).await;
    let mut with_tools = ask("three", &json!({ "good": "yes" }));
    with_tools["tools"] = json!([{ "type": "function", "function": { "name": "f" } }]);
    rig.post(CHAT, &with_tools).await;
    let path = format!("{CHAT}/export");
    let export = json!({ "metadata": { "good": "yes" }, "model": "tiny", "filename": "good.jsonl" });
    let file = rig.post(&path, &export).await.json();
    assert_eq!(
        (&file["object"], &file["purpose"], &file["filename"]),
        (&json!("file"), &json!("fine-tune"), &json!("good.jsonl"))
    );
    let content = rig
        .get(&format!("/openai/v1/files/{}/content", id(&file)))
        .await
        .text();
    let lines: Vec<Value> = content
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let line = |text: &str| {
        json!([
            { "role": "system", "content": "Be short." },
            { "role": "user", "content": text },
            { "role": "assistant", "content": "one two three" },
        ])
    };
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], json!({ "messages": line("one") }));
    assert_eq!(
        (&lines[1]["messages"], &lines[1]["tools"]),
        (&line("three"), &with_tools["tools"])
    );
    let first = rig.post(&path, &json!({ "limit": 1 })).await.json();
    let content = rig
        .get(&format!("/openai/v1/files/{}/content", id(&first)))
        .await
        .text();
    assert_eq!(content.lines().count(), 1);
    let files = rig.kept().await;
    for (body, status, code) in [
        (
            json!({ "metadata": { "good": "perhaps" } }),
            400,
            "nothing_to_export",
        ),
        (json!({ "purpose": "batch" }), 400, "unknown_parameter"),
        (json!({ "filename": "a\u{0}b" }), 400, "invalid_file_name"),
        (json!({ "limit": 0 }), 400, "invalid_value"),
        (json!({ "after": "x/y" }), 400, "invalid_value"),
        (json!({ "after": "chatcmpl-none" }), 404, "not_found"),
    ] {
        let refused = rig.post(&path, &body).await.error();
        assert_eq!((refused.0, refused.1.as_str()), (status, code), "{body}");
    }
    assert_eq!(rig.kept().await, files, "what is refused leaves nothing");
}

#[tokio::test]
async fn who_may_only_ask_keeps_and_sees_nothing() {
    let rig = Rig::new().await;
    let answer = kept(&rig, "x", &json!({})).await;
    let as_caller = async |method: Method, path: &str, body: String, credential: (&str, &str)| {
        let headers = [("content-type", "application/json"), credential];
        said(rig.send(method, path, body.into(), &headers).await).await
    };
    let asks = ("authorization", "Bearer asking.token.here");
    let mut body = ask("x", &json!({}));
    let denied = err(403, "permission_denied", None);
    assert_eq!(
        as_caller(Method::POST, CHAT, body.to_string(), asks)
            .await
            .error(),
        denied
    );
    body["store"] = json!(false);
    assert_eq!(
        as_caller(Method::POST, CHAT, body.to_string(), asks).await.status,
        200
    );
    assert_eq!(
        as_caller(Method::GET, CHAT, String::new(), asks).await.error(),
        denied
    );
    let reads = ("api-key", READER);
    let path = format!("{CHAT}/{}", id(&answer));
    assert_eq!(
        as_caller(Method::GET, &path, String::new(), reads).await.status,
        200
    );
    assert_eq!(
        as_caller(Method::DELETE, &path, String::new(), reads)
            .await
            .error(),
        denied
    );
    let change = json!({ "metadata": {} }).to_string();
    assert_eq!(
        as_caller(Method::POST, &path, change, reads).await.error(),
        denied
    );
    let export = format!("{CHAT}/export");
    assert_eq!(
        as_caller(Method::POST, &export, "{}".to_owned(), reads)
            .await
            .error(),
        denied
    );
}
