//! Creating a response, whole or as a stream of events.

use serde_json::{Map, Value, json};
use strongroom_models::EngineError;

use super::request::Ask;
use super::turn::Turn;
use super::{ResponseRecord, chain, items, keep, stream};
use crate::call::{Answer, Call, CallHead};
use crate::chat;
use crate::ids;
use crate::problem::Problem;
use crate::sse;

/// `POST responses`
pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let (head, request) = call.with_json().await?;
    answer(head, request).await
}

/// Answers a request, wherever it came from.
pub(crate) async fn answer(head: CallHead, request: Map<String, Value>) -> Result<Answer, Problem> {
    let deployment = chat::deployment(&head, &request)?;
    let ask = Ask::read(&request)?;
    let gate = head.service.gate(head.account(), deployment.policy).await?;
    let mut chat = ask.chat.clone();
    chat.insert("model".to_owned(), Value::String(deployment.model.clone()));
    chat.insert("messages".to_owned(), Value::Array(messages(&head, &ask).await?));
    let id = ids::response();
    let object = object(&head, &request, &ask, &id);
    if ask.stream {
        let slot = head.service.stream_slot()?;
        chat.insert("stream_options".to_owned(), json!({ "include_usage": true }));
        let chunks = gate.during(deployment.engine.chat_stream(chat)).await?;
        let chunks = chunks.map_err(in_words_of_responses)?;
        let metrics = head.service.metrics.clone();
        let growing = stream::Growing {
            turn: Turn::new(object, true),
            service: head.service,
            permits: head.permits,
            keep: ask.store.then_some(ask.input),
            id,
        };
        return Ok(sse::answer(growing.events(chunks), slot, &metrics).guarded(gate.lease));
    }
    let completion = gate.during(deployment.engine.chat(chat)).await?;
    let completion = completion.map_err(in_words_of_responses)?;
    let mut turn = Turn::new(object, false);
    turn.completion(&completion)?;
    turn.finish(head.service.seconds());
    let record = ResponseRecord {
        response: turn.into_object(),
        input: ask.input,
    };
    if ask.store {
        keep(&head.service, head.permits.write()?, &id, &record).await?;
    }
    Ok(Answer::json(&record.response)?.guarded(gate.lease))
}

/// An engine is asked in the words of chat completions: what it blames in a message came in as input here.
fn in_words_of_responses(error: EngineError) -> Problem {
    match error {
        EngineError::BadRequest {
            message,
            param: Some(param),
            code,
        } if param.starts_with("messages") => EngineError::BadRequest {
            message,
            param: Some("input".to_owned()),
            code,
        }
        .into(),
        other => other.into(),
    }
}

/// Everything that the engine is told: instructions, what was said before, and the input.
async fn messages(head: &CallHead, ask: &Ask) -> Result<Vec<Value>, Problem> {
    let mut messages = Vec::new();
    if let Some(instructions) = &ask.instructions {
        messages.push(json!({ "role": "system", "content": instructions }));
    }
    messages
        .extend(chain::messages(&head.service.store, head.permits.read()?, ask.previous.as_deref()).await?);
    ask.input.iter().for_each(|item| items::say(&mut messages, item));
    Ok(messages)
}

/// The response object as it begins.
fn object(head: &CallHead, request: &Map<String, Value>, ask: &Ask, id: &str) -> Map<String, Value> {
    let model = request
        .get("model")
        .and_then(Value::as_str)
        .or(head.deployment())
        .unwrap_or_default();
    let fresh = json!({
        "id": id,
        "object": "response",
        "created_at": head.service.seconds(),
        "status": "in_progress",
        "background": false,
        "completed_at": null,
        "error": null,
        "incomplete_details": null,
        "model": model,
        "output": [],
        "usage": null,
    });
    let mut object = match fresh {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    object.extend(ask.echo.clone());
    object
}
