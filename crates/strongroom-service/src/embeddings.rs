//! Embeddings, as numbers or as base64 of little-endian 32-bit floats.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::call::{Answer, Call, CallHead};
use crate::chat;
use crate::fields::{self, Fields};
use crate::limits;
use crate::problem::Problem;

/// `POST embeddings`
pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let (head, request) = call.with_json().await?;
    answer(head, request).await
}

/// Answers a request, wherever it came from.
pub(crate) async fn answer(head: CallHead, mut request: Map<String, Value>) -> Result<Answer, Problem> {
    let deployment = chat::deployment(&head, &request)?;
    let base64 = check(Fields(&request))?;
    let gate = head.service.gate(head.account(), deployment.policy).await?;
    // Engines answer in numbers; the wire format is ours.
    request.remove("encoding_format");
    request.insert("model".to_owned(), Value::String(deployment.model.clone()));
    let mut list = gate.during(deployment.engine.embed(request)).await??;
    if base64 {
        encode(&mut list)?;
    }
    Ok(Answer::json(&list)?.guarded(gate.lease))
}

/// Answers whether base64 is wanted.
fn check(fields: Fields<'_>) -> Result<bool, Problem> {
    check_input(fields.value("input").ok_or_else(|| fields::missing("input"))?)?;
    fields.integer("dimensions", 1)?;
    match fields.string("encoding_format")? {
        None | Some("float") => Ok(false),
        Some("base64") => Ok(true),
        Some(_) => {
            let message = "Invalid 'encoding_format': it must be 'float' or 'base64'.";
            Err(Problem::invalid("encoding_format", message))
        }
    }
}

fn check_input(input: &Value) -> Result<(), Problem> {
    let texts = match input {
        Value::String(_) => std::slice::from_ref(input),
        Value::Array(texts) => texts.as_slice(),
        other => {
            return Err(fields::wrong_type(
                "input",
                "a string or an array of strings",
                other,
            ));
        }
    };
    if texts.is_empty() || texts.len() > limits::EMBEDDING_INPUTS {
        let message = format!(
            "Invalid 'input': it must have from 1 to {} entries.",
            limits::EMBEDDING_INPUTS
        );
        return Err(Problem::invalid("input", message));
    }
    // One array of tokens, or several inputs, each a text or an array of tokens.
    let tokens = texts.iter().all(Value::is_u64);
    for (index, text) in texts.iter().enumerate() {
        match text {
            Value::String(text) if text.is_empty() => {
                return Err(Problem::invalid(
                    "input",
                    "Invalid 'input': a string in it is empty.",
                ));
            }
            Value::String(_) => {}
            Value::Number(_) if tokens => {}
            Value::Array(tokens) if !tokens.is_empty() && tokens.iter().all(Value::is_u64) => {}
            other => return Err(fields::wrong_type(format!("input[{index}]"), "a string", other)),
        }
    }
    Ok(())
}

/// Replaces each array of numbers by its base64 form.
fn encode(list: &mut Map<String, Value>) -> Result<(), Problem> {
    let data = list
        .get_mut("data")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    for item in data {
        let Some(embedding) = item.get_mut("embedding") else {
            continue;
        };
        let Value::Array(numbers) = &*embedding else {
            continue;
        };
        let mut bytes = Vec::with_capacity(numbers.len() * size_of::<f32>());
        for number in numbers {
            let number = number
                .as_f64()
                .ok_or(Problem::Engine(strongroom_models::EngineError::Protocol))?;
            bytes.extend_from_slice(&single(number).to_le_bytes());
        }
        *embedding = Value::String(STANDARD.encode(bytes));
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the wire format has 32 bits; rounding is what is meant"
)]
fn single(number: f64) -> f32 {
    number as f32
}
