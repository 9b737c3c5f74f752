//! Chat completions, whole or as a stream of chunks. Only what is asked for with `store: true` is kept.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};
use strongroom_models::ChunkStream;

use crate::call::{Answer, Call, CallHead};
use crate::completions::{self, Keeper};
use crate::fields::{self, Fields};
use crate::flow::Pieces;
use crate::limits;
use crate::parts::Deployment;
use crate::problem::{Form, Problem};
use crate::service::shown;
use crate::sse;

/// Who may speak in a message.
const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];

/// `POST chat/completions`
pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let (head, request) = call.with_json().await?;
    answer(head, request).await
}

/// Answers a request, wherever it came from.
pub(crate) async fn answer(head: CallHead, mut request: Map<String, Value>) -> Result<Answer, Problem> {
    let deployment = deployment(&head, &request)?;
    let stream = check(Fields(&request))?;
    let gate = head.service.gate(head.account(), deployment.policy).await?;
    let keeper = Keeper::of(&head, &request).await?;
    // `store` and metadata are for the service; an upstream need not know.
    request.remove("store");
    let metadata = request.remove("metadata");
    request.insert("model".to_owned(), Value::String(deployment.model.clone()));
    if !stream {
        request.remove("stream");
        let mut completion = gate.during(deployment.engine.chat(request)).await??;
        if let Some(keeper) = keeper {
            completion = keeper.keep(completion).await?;
            completion.insert("metadata".to_owned(), metadata.unwrap_or(Value::Null));
        }
        return Ok(Answer::json(&completion)?.guarded(gate.lease));
    }
    let slot = head.service.stream_slot()?;
    let idle = head.service.limits.engine_idle;
    let pieces = match keeper {
        None => {
            let chunks = gate.during(deployment.engine.chat_stream(request)).await??;
            pieces(chunks, idle, head.form)
        }
        Some(keeper) => {
            let choices = choices(Fields(&request))?;
            let with_usage = demand_usage(&mut request);
            let chunks = gate.during(deployment.engine.chat_stream(request)).await??;
            completions::told(chunks, keeper, choices, with_usage, (idle, head.form))
        }
    };
    Ok(sse::answer(pieces, slot, &head.service.metrics).guarded(gate.lease))
}

/// How many choices are asked for.
fn choices(fields: Fields<'_>) -> Result<usize, Problem> {
    let choices = fields.integer("n", 1)?.unwrap_or(1);
    if choices > limits::CHOICES {
        let message = format!("Invalid 'n': at most {} choices are kept.", limits::CHOICES);
        return Err(Problem::coded("integer_above_max_value", "n", message));
    }
    Ok(usize::try_from(choices).unwrap_or(usize::MAX))
}

/// Has the engine tell the usage, which is kept. Answers whether the caller wants to hear it too.
fn demand_usage(request: &mut Map<String, Value>) -> bool {
    const NAME: &str = "include_usage";
    let options = request.entry("stream_options").or_insert(Value::Null);
    if options.is_null() {
        *options = json!({});
    }
    let wanted = options.get(NAME) == Some(&Value::Bool(true));
    if let Some(options) = options.as_object_mut() {
        options.insert(NAME.to_owned(), Value::Bool(true));
    }
    wanted
}

/// The deployment that a request is for: in the path, or as `model` in the body.
pub(crate) fn deployment(head: &CallHead, request: &Map<String, Value>) -> Result<Deployment, Problem> {
    let name = match head.deployment() {
        Some(name) => name,
        None => Fields(request).required_string("model")?,
    };
    head.service.deployment(head.account(), name)
}

/// Looks at what the service itself must understand; the engine looks at the rest. Answers whether a stream is wanted.
fn check(fields: Fields<'_>) -> Result<bool, Problem> {
    let messages = fields
        .array("messages")?
        .ok_or_else(|| fields::missing("messages"))?;
    if messages.is_empty() {
        let message = "Invalid 'messages': empty array. Expected an array with minimum length 1.";
        return Err(Problem::coded("empty_array", "messages", message));
    }
    for (index, message) in messages.iter().enumerate() {
        check_message(index, message)?;
    }
    fields.metadata()?;
    fields.boolean("store")?;
    let stream = fields.boolean("stream")?.unwrap_or(false);
    if fields.object("stream_options")?.is_some() && !stream {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Problem::invalid("stream_options", message));
    }
    Ok(stream)
}

fn check_message(index: usize, message: &Value) -> Result<(), Problem> {
    let Some(message) = message.as_object() else {
        return Err(fields::wrong_type(
            format!("messages[{index}]"),
            "an object",
            message,
        ));
    };
    match message.get("role") {
        Some(Value::String(role)) if ROLES.contains(&role.as_str()) => {}
        Some(Value::String(role)) => {
            let text = format!(
                "Invalid value: '{}'. Supported values are: {}.",
                shown(role),
                ROLES.map(|role| format!("'{role}'")).join(", ")
            );
            return Err(Problem::invalid(format!("messages[{index}].role"), text));
        }
        Some(other) => {
            return Err(fields::wrong_type(
                format!("messages[{index}].role"),
                "a string",
                other,
            ));
        }
        None => {
            let name = format!("messages[{index}].role");
            let text = format!("Missing required parameter: '{name}'.");
            return Err(Problem::coded("missing_required_parameter", name, text));
        }
    }
    match message.get("content") {
        None | Some(Value::Null | Value::String(_) | Value::Array(_)) => Ok(()),
        Some(other) => Err(fields::wrong_type(
            format!("messages[{index}].content"),
            "a string or an array of parts",
            other,
        )),
    }
}

/// Chunks as events. An engine that fails on the way says so in an event of its own; a lease that ends is seen further out.
fn pieces(chunks: ChunkStream, idle: Duration, form: Form) -> Pieces {
    enum Step {
        Flowing(ChunkStream),
        Over,
    }
    Box::pin(stream::unfold(Step::Flowing(chunks), move |step| async move {
        let Step::Flowing(mut chunks) = step else {
            return None;
        };
        match next_chunk(&mut chunks, idle).await {
            Some(Ok(chunk)) => Some((Ok(sse::data(&chunk)), Step::Flowing(chunks))),
            Some(Err(problem)) => {
                let event = sse::data(&json!({ "error": problem.object(form) }));
                Some((Ok(event), Step::Over))
            }
            None => Some((Ok(sse::DONE), Step::Over)),
        }
    }))
}

/// The next chunk, unless it takes too long.
pub(crate) async fn next_chunk(
    chunks: &mut ChunkStream,
    idle: Duration,
) -> Option<Result<Map<String, Value>, Problem>> {
    let idle = idle.min(limits::INFERENCE_TIME);
    match tokio::time::timeout(idle, chunks.next()).await {
        Ok(next) => next.map(|chunk| chunk.map_err(Problem::Engine)),
        Err(_) => Some(Err(Problem::TimedOut)),
    }
}
