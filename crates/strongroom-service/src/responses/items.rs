//! Items of responses: read from a request, and said to an engine as chat messages.

use serde_json::{Map, Value, json};

use crate::call::is_id;
use crate::fields;
use crate::ids;
use crate::limits;
use crate::problem::Problem;
use crate::service::shown;

/// Who may speak in a message.
const ROLES: [&str; 4] = ["user", "assistant", "system", "developer"];

/// Reads `input` into items as they are stored and listed: each with type, id and, if it is a message, with parts.
pub(super) fn read(input: &Value) -> Result<Vec<Value>, Problem> {
    match input {
        Value::String(text) => Ok(vec![message(
            "user",
            vec![json!({ "type": "input_text", "text": text })],
            None,
        )]),
        Value::Array(items) => {
            if items.is_empty() || items.len() > limits::INPUT_ITEMS {
                let message = format!(
                    "Invalid 'input': it must have from 1 to {} items.",
                    limits::INPUT_ITEMS
                );
                return Err(Problem::invalid("input", message));
            }
            items
                .iter()
                .enumerate()
                .map(|(index, item)| Reader { index }.item(item))
                .collect()
        }
        other => Err(fields::wrong_type(
            "input",
            "a string or an array of items",
            other,
        )),
    }
}

fn message(role: &str, content: Vec<Value>, id: Option<&str>) -> Value {
    let id = id.map_or_else(ids::message, str::to_owned);
    json!({ "id": id, "type": "message", "status": "completed", "role": role, "content": content })
}

/// Reads one item and knows what to call it in an error.
struct Reader {
    index: usize,
}

impl Reader {
    fn item(&self, value: &Value) -> Result<Value, Problem> {
        let item = value
            .as_object()
            .ok_or_else(|| fields::wrong_type(self.name(""), "an object", value))?;
        let kind = match item.get("type") {
            None => "message",
            Some(Value::String(kind)) => kind,
            Some(other) => return Err(fields::wrong_type(self.name(".type"), "a string", other)),
        };
        match kind {
            "message" => self.message(item),
            "function_call" => self.call(item, &["call_id", "name", "arguments"], ids::function_call),
            "function_call_output" => self.call(item, &["call_id"], ids::function_output),
            // What a model thought before is kept with the response, but no engine here reads it again.
            "reasoning" => Ok(value.clone()),
            other => {
                let message = format!("Items of type '{}' are not taken here.", shown(other));
                Err(Problem::coded("unsupported_value", self.name(".type"), message))
            }
        }
    }

    fn message(&self, item: &Map<String, Value>) -> Result<Value, Problem> {
        let role = item
            .get("role")
            .and_then(Value::as_str)
            .filter(|role| ROLES.contains(role))
            .ok_or_else(|| {
                Problem::invalid(
                    self.name(".role"),
                    format!("A message's role must be one of {}.", ROLES.join(", ")),
                )
            })?;
        let content = match item.get("content") {
            Some(Value::String(text)) => vec![text_part(role, text)],
            Some(Value::Array(parts)) => parts
                .iter()
                .map(|part| self.part(role, part))
                .collect::<Result<_, _>>()?,
            Some(other) => {
                return Err(fields::wrong_type(
                    self.name(".content"),
                    "a string or an array",
                    other,
                ));
            }
            None => {
                let text = format!("Missing required parameter: '{}'.", self.name(".content"));
                return Err(Problem::coded(
                    "missing_required_parameter",
                    self.name(".content"),
                    text,
                ));
            }
        };
        Ok(message(role, content, given_id(item)))
    }

    fn part(&self, role: &str, part: &Value) -> Result<Value, Problem> {
        let text = |name: &str| {
            part.get(name)
                .and_then(Value::as_str)
                .ok_or_else(|| Problem::invalid(self.name(".content"), format!("A part lacks its '{name}'.")))
        };
        match part.get("type").and_then(Value::as_str) {
            Some("input_text" | "output_text" | "text") => Ok(text_part(role, text("text")?)),
            Some("refusal") => Ok(json!({ "type": "refusal", "refusal": text("refusal")? })),
            Some("input_image") if part.get("image_url").is_some_and(Value::is_string) => Ok(part.clone()),
            other => {
                let kind = shown(other.unwrap_or("without a type"));
                let message =
                    format!("Parts of type '{kind}' are not taken here; text and images by URL are.");
                Err(Problem::coded(
                    "unsupported_value",
                    self.name(".content"),
                    message,
                ))
            }
        }
    }

    fn call(&self, item: &Map<String, Value>, wanted: &[&str], id: fn() -> String) -> Result<Value, Problem> {
        for name in wanted {
            if !item.get(*name).is_some_and(Value::is_string) {
                return Err(Problem::invalid(
                    self.name(&format!(".{name}")),
                    format!("'{name}' must be a string."),
                ));
            }
        }
        if item.get("type").and_then(Value::as_str) == Some("function_call_output") {
            output_text(item).ok_or_else(|| {
                Problem::invalid(
                    self.name(".output"),
                    "'output' must be a string or an array of text parts.",
                )
            })?;
        }
        let mut item = item.clone();
        let id = given_id(&item).map_or_else(id, str::to_owned);
        item.insert("id".to_owned(), Value::String(id));
        item.entry("status").or_insert_with(|| json!("completed"));
        Ok(Value::Object(item))
    }

    fn name(&self, rest: &str) -> String {
        format!("input[{}]{rest}", self.index)
    }
}

fn given_id(item: &Map<String, Value>) -> Option<&str> {
    item.get("id").and_then(Value::as_str).filter(|id| is_id(id))
}

fn text_part(role: &str, text: &str) -> Value {
    if role == "assistant" {
        json!({ "type": "output_text", "text": text, "annotations": [] })
    } else {
        json!({ "type": "input_text", "text": text })
    }
}

/// A tool's output: text, or the texts of its parts.
fn output_text(item: &Map<String, Value>) -> Option<String> {
    match item.get("output")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts
            .iter()
            .map(|part| part.get("text").and_then(Value::as_str))
            .collect(),
        _ => None,
    }
}

/// Appends an item to chat messages. Calls that follow each other are one message of the assistant, as chat completions have it.
pub(super) fn say(messages: &mut Vec<Value>, item: &Value) {
    match item.get("type").and_then(Value::as_str) {
        Some("message") => messages.push(chat_message(item)),
        Some("function_call") => {
            let call = json!({
                "id": item.get("call_id"),
                "type": "function",
                "function": { "name": item.get("name"), "arguments": item.get("arguments") },
            });
            let last = messages.last_mut().and_then(Value::as_object_mut);
            match last.filter(|last| last.get("role").and_then(Value::as_str) == Some("assistant")) {
                Some(last) => {
                    let calls = last.entry("tool_calls").or_insert_with(|| json!([]));
                    if let Some(calls) = calls.as_array_mut() {
                        calls.push(call);
                    }
                }
                None => messages.push(json!({ "role": "assistant", "content": null, "tool_calls": [call] })),
            }
        }
        Some("function_call_output") => {
            let output = item.as_object().and_then(output_text).unwrap_or_default();
            messages.push(json!({ "role": "tool", "tool_call_id": item.get("call_id"), "content": output }));
        }
        _ => {}
    }
}

fn chat_message(item: &Value) -> Value {
    let role = match item.get("role").and_then(Value::as_str) {
        // The newer name of the same role, which few servers know.
        Some("developer") => "system",
        Some(role) => role,
        None => "user",
    };
    let parts = item
        .get("content")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let content = match parts {
        [only] if text_of(only).is_some() => json!(text_of(only)),
        parts => parts.iter().map(chat_part).collect(),
    };
    json!({ "role": role, "content": content })
}

fn chat_part(part: &Value) -> Value {
    match part.get("image_url") {
        Some(url) => {
            let detail = part.get("detail").cloned().unwrap_or_else(|| json!("auto"));
            json!({ "type": "image_url", "image_url": { "url": url, "detail": detail } })
        }
        None => json!({ "type": "text", "text": text_of(part).unwrap_or_default() }),
    }
}

fn text_of(part: &Value) -> Option<&str> {
    part.get("text")
        .or_else(|| part.get("refusal"))
        .and_then(Value::as_str)
}
