//! From OpenAI's requests to orders for the worker. What the built-in engine cannot do is refused, never ignored.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::engine::{EngineError, Object};
use crate::limits;
use crate::model::generate::{ChatOrder, Passage};
use crate::model::sampler::Sampling;
use crate::model::template::{Role, Turn};

/// Reads a chat completion request.
pub(super) fn chat(request: &Object) -> Result<ChatOrder, EngineError> {
    refuse_what_is_not_here(request)?;
    let messages = request
        .get("messages")
        .and_then(Value::as_array)
        .filter(|messages| (1..=limits::CHAT_MESSAGES).contains(&messages.len()))
        .ok_or_else(|| {
            EngineError::bad_param("messages", "`messages` must be a list of at least one message")
        })?;
    Ok(ChatOrder {
        turns: messages
            .iter()
            .enumerate()
            .map(|(index, message)| turn(index, message))
            .collect::<Result<_, _>>()?,
        max_tokens: max_tokens(request)?,
        stops: stops(request)?,
        sampling: sampling(request)?,
    })
}

/// Whether a streamed answer ends with a chunk of usage counts.
pub(super) fn wants_usage(request: &Object) -> bool {
    request
        .get("stream_options")
        .and_then(|options| options.get("include_usage"))
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// Reads an embeddings request.
pub(super) fn embed(request: &Object) -> Result<Vec<Passage>, EngineError> {
    let wrong = || EngineError::bad_param("input", "`input` must be a text, a list of texts, or tokens");
    let passages = match request.get("input").ok_or_else(wrong)? {
        Value::String(text) => vec![Passage::Text(text.clone())],
        Value::Array(items) if items.iter().all(Value::is_u64) => {
            vec![Passage::Tokens(tokens(items).ok_or_else(wrong)?)]
        }
        Value::Array(items) => items
            .iter()
            .map(passage)
            .collect::<Option<_>>()
            .ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    match passages.len() {
        1..=limits::EMBED_INPUTS => Ok(passages),
        _ => Err(EngineError::bad_param(
            "input",
            format!("`input` must have from 1 to {} entries", limits::EMBED_INPUTS),
        )),
    }
}

/// The vector length that an embeddings request asks for.
pub(super) fn dimensions(request: &Object) -> Result<Option<u64>, EngineError> {
    whole_number(request, "dimensions", 1)
}

fn passage(item: &Value) -> Option<Passage> {
    match item {
        Value::String(text) => Some(Passage::Text(text.clone())),
        Value::Array(items) => tokens(items).map(Passage::Tokens),
        _ => None,
    }
}

fn tokens(items: &[Value]) -> Option<Vec<u32>> {
    items
        .iter()
        .map(|item| item.as_u64().and_then(|token| u32::try_from(token).ok()))
        .collect()
}

fn turn(index: usize, message: &Value) -> Result<Turn, EngineError> {
    let wrong = |reason: &str| EngineError::bad_param(&format!("messages[{index}].role"), reason);
    let message = message.as_object().ok_or_else(|| {
        EngineError::bad_param(&format!("messages[{index}]"), "each message must be an object")
    })?;
    let role = match message.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => return Err(wrong("this model cannot use tools")),
        _ => {
            return Err(wrong(
                "the role of a message must be system, developer, user or assistant",
            ));
        }
    };
    Ok(Turn {
        role,
        text: text(index, message)?,
    })
}

fn text(index: usize, message: &Map<String, Value>) -> Result<String, EngineError> {
    let param = format!("messages[{index}].content");
    let wrong = || EngineError::bad_param(&param, "the content of a message must be text");
    match message.get("content") {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| match part.get("type").and_then(Value::as_str) {
                Some("text") => part.get("text").and_then(Value::as_str),
                _ => None,
            })
            .collect::<Option<String>>()
            .ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

fn max_tokens(request: &Object) -> Result<Option<usize>, EngineError> {
    let newer = whole_number(request, "max_completion_tokens", 1)?;
    let older = whole_number(request, "max_tokens", 1)?;
    Ok(newer
        .or(older)
        .map(|most| usize::try_from(most).unwrap_or(usize::MAX)))
}

fn stops(request: &Object) -> Result<Vec<String>, EngineError> {
    let wrong = || {
        let most = limits::CHAT_STOPS;
        EngineError::bad_param(
            "stop",
            format!("`stop` must be a text or a list of at most {most} texts, none empty"),
        )
    };
    let stops = match request.get("stop") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => stops
            .iter()
            .map(|stop| stop.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(wrong)?,
        Some(_) => return Err(wrong()),
    };
    let fit = stops
        .iter()
        .all(|stop| (1..=limits::CHAT_STOP).contains(&stop.len()));
    (fit && stops.len() <= limits::CHAT_STOPS)
        .then_some(stops)
        .ok_or_else(wrong)
}

fn sampling(request: &Object) -> Result<Sampling, EngineError> {
    let seed = match request.get("seed") {
        None | Some(Value::Null) => Uuid::new_v4().as_u64_pair().0,
        Some(seed) => match (seed.as_u64(), seed.as_i64()) {
            (Some(seed), _) => seed,
            (None, Some(seed)) => seed.cast_unsigned(),
            (None, None) => return Err(EngineError::bad_param("seed", "`seed` must be a whole number")),
        },
    };
    Ok(Sampling {
        temperature: number(request, "temperature", 0.0, 2.0)?.unwrap_or(0.0),
        top_p: number(request, "top_p", 0.0, 1.0)?.unwrap_or(1.0),
        seed,
    })
}

fn number(request: &Object, name: &str, least: f64, most: f64) -> Result<Option<f64>, EngineError> {
    match request.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(EngineError::bad_param(
                name,
                format!("`{name}` must be a number from {least} to {most}"),
            )),
        },
    }
}

fn whole_number(request: &Object, name: &str, least: u64) -> Result<Option<u64>, EngineError> {
    match request.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) if number >= least => Ok(Some(number)),
            _ => Err(EngineError::bad_param(
                name,
                format!("`{name}` must be a whole number of at least {least}"),
            )),
        },
    }
}

type AsksForSomething = fn(&Value) -> bool;

/// Parameters that would change the answer. A value that asks for nothing is let through.
fn refuse_what_is_not_here(request: &Object) -> Result<(), EngineError> {
    let asks: [(&str, AsksForSomething); 10] = [
        ("n", |value| value.as_u64() != Some(1)),
        ("tools", |value| {
            value.as_array().is_none_or(|tools| !tools.is_empty())
        }),
        ("functions", |value| {
            value.as_array().is_none_or(|tools| !tools.is_empty())
        }),
        ("logprobs", |value| value.as_bool() != Some(false)),
        ("top_logprobs", |value| value.as_u64() != Some(0)),
        ("logit_bias", |value| {
            value.as_object().is_none_or(|bias| !bias.is_empty())
        }),
        ("frequency_penalty", |value| value.as_f64() != Some(0.0)),
        ("presence_penalty", |value| value.as_f64() != Some(0.0)),
        ("response_format", |value| {
            value.get("type").and_then(Value::as_str) != Some("text")
        }),
        ("modalities", |value| value != &serde_json::json!(["text"])),
    ];
    for (name, asks_for_something) in asks {
        if request
            .get(name)
            .is_some_and(|value| !value.is_null() && asks_for_something(value))
        {
            return Err(EngineError::bad_param(
                name,
                format!("this model does not support `{name}`"),
            ));
        }
    }
    Ok(())
}
