//! What a caller asks of a response, read and checked; and the chat completion that answers it.

use serde_json::{Map, Value, json};

use super::items;
use crate::call::is_id;
use crate::fields::{self, Fields};
use crate::problem::Problem;
use crate::service::shown;

/// Parameters that are known; anything else is refused by name.
const KNOWN: &[&str] = &[
    "background",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// A request for a response.
pub(super) struct Ask {
    pub(super) input: Vec<Value>,
    pub(super) previous: Option<String>,
    pub(super) instructions: Option<String>,
    pub(super) store: bool,
    pub(super) stream: bool,
    /// The chat request, without `model`, `messages` and `stream`.
    pub(super) chat: Map<String, Value>,
    /// What the response object repeats of the request.
    pub(super) echo: Map<String, Value>,
}

impl Ask {
    /// Reads a request.
    pub(super) fn read(request: &Map<String, Value>) -> Result<Self, Problem> {
        let fields = Fields(request);
        refuse_unknown(request)?;
        refuse_what_is_not_here(fields)?;
        let previous = fields.string("previous_response_id")?;
        if let Some(id) = previous.filter(|id| !is_id(id)) {
            return Err(previous_not_found(id));
        }
        Ok(Self {
            input: items::read(fields.value("input").ok_or_else(|| fields::missing("input"))?)?,
            previous: previous.map(str::to_owned),
            instructions: fields.string("instructions")?.map(str::to_owned),
            store: fields.boolean("store")?.unwrap_or(true),
            stream: fields.boolean("stream")?.unwrap_or(false),
            chat: chat(fields)?,
            echo: echo(fields)?,
        })
    }
}

/// The error for a `previous_response_id` that names nothing.
pub(super) fn previous_not_found(id: &str) -> Problem {
    let message = format!("Previous response with id '{}' not found.", shown(id));
    Problem::coded("previous_response_not_found", "previous_response_id", message)
}

fn refuse_unknown(request: &Map<String, Value>) -> Result<(), Problem> {
    match request.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let name = shown(name);
            let message = format!("Unknown parameter: '{name}'.");
            Err(Problem::coded("unknown_parameter", name, message))
        }
    }
}

fn refuse_what_is_not_here(fields: Fields<'_>) -> Result<(), Problem> {
    if fields.boolean("background")? == Some(true) {
        return Err(fields::unsupported(
            "background",
            "Responses do not run in the background here.",
        ));
    }
    if fields.value("conversation").is_some() {
        let message = "Conversations are not offered here; chain responses by 'previous_response_id'.";
        return Err(fields::unsupported("conversation", message));
    }
    if fields.value("prompt").is_some() {
        return Err(fields::unsupported(
            "prompt",
            "Stored prompts are not offered here.",
        ));
    }
    if fields.integer("top_logprobs", 0)?.is_some_and(|count| count > 0) {
        return Err(fields::unsupported(
            "top_logprobs",
            "Log probabilities are not offered for responses here.",
        ));
    }
    if let Some(tool) = fields
        .array("tools")?
        .and_then(|tools| tools.iter().find(|tool| !is_function(tool)))
    {
        let kind = tool
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("without a type");
        let message = format!(
            "Tools of your own (type 'function') are taken; a tool '{}' is not.",
            shown(kind)
        );
        return Err(fields::unsupported("tools", message));
    }
    include(fields)?;
    match fields.string("truncation")? {
        None | Some("auto" | "disabled") => Ok(()),
        Some(_) => Err(Problem::invalid(
            "truncation",
            "Invalid 'truncation': it must be 'auto' or 'disabled'.",
        )),
    }
}

/// What `include` may ask for. There is nothing of these kinds here beyond what an answer holds anyway, so they change nothing;
/// log probabilities there could be, and they are not offered.
const INCLUDABLE: [&str; 7] = [
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
];
const LOG_PROBABILITIES: &str = "message.output_text.logprobs";

fn include(fields: Fields<'_>) -> Result<(), Problem> {
    for (index, wanted) in fields.array("include")?.into_iter().flatten().enumerate() {
        let name = format!("include[{index}]");
        let wanted = wanted
            .as_str()
            .ok_or_else(|| fields::wrong_type(name.as_str(), "a string", wanted))?;
        may_include(wanted, name)?;
    }
    Ok(())
}

/// Refuses what cannot be included, under the name of the parameter that asks for it.
pub(super) fn may_include(wanted: &str, param: String) -> Result<(), Problem> {
    if INCLUDABLE.contains(&wanted) {
        return Ok(());
    }
    if wanted == LOG_PROBABILITIES {
        return Err(fields::unsupported(
            "include",
            "Log probabilities are not offered for responses here.",
        ));
    }
    let known: Vec<String> = INCLUDABLE.iter().map(|name| format!("'{name}'")).collect();
    let message = format!(
        "Invalid value: '{}'. Supported values are: {}.",
        shown(wanted),
        known.join(", ")
    );
    Err(Problem::invalid(param, message))
}

fn is_function(tool: &Value) -> bool {
    tool.get("type").and_then(Value::as_str) == Some("function")
        && tool.get("name").is_some_and(Value::is_string)
}

/// The chat request that answers this one.
fn chat(fields: Fields<'_>) -> Result<Map<String, Value>, Problem> {
    let mut chat = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            chat.insert(name.to_owned(), value);
        }
    };
    set(
        "temperature",
        fields.number("temperature", 0.0, 2.0)?.map(Value::from),
    );
    set("top_p", fields.number("top_p", 0.0, 1.0)?.map(Value::from));
    set(
        "max_completion_tokens",
        fields.integer("max_output_tokens", 1)?.map(Value::from),
    );
    set("user", fields.string("user")?.map(Value::from));
    set(
        "reasoning_effort",
        fields
            .object("reasoning")?
            .and_then(|reasoning| reasoning.get("effort"))
            .cloned(),
    );
    set("response_format", format(fields)?);
    let tools = fields.array("tools")?.filter(|tools| !tools.is_empty());
    if let Some(tools) = tools {
        set("tools", Some(tools.iter().map(chat_tool).collect()));
        set("tool_choice", tool_choice(fields)?);
        set(
            "parallel_tool_calls",
            fields.boolean("parallel_tool_calls")?.map(Value::from),
        );
    }
    Ok(chat)
}

/// `text.format` as chat completions spell it; plain text is the default and needs no word.
fn format(fields: Fields<'_>) -> Result<Option<Value>, Problem> {
    let Some(format) = fields.object("text")?.and_then(|text| text.get("format")) else {
        return Ok(None);
    };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(json!({ "type": "json_object" }))),
        Some("json_schema") => {
            let mut schema = format.as_object().cloned().unwrap_or_default();
            schema.remove("type");
            Ok(Some(json!({ "type": "json_schema", "json_schema": schema })))
        }
        _ => {
            let message = "Invalid 'text.format.type': it must be 'text', 'json_object' or 'json_schema'.";
            Err(Problem::invalid("text.format.type", message))
        }
    }
}

/// A tool in the flat form of responses, in the nested form of chat completions.
fn chat_tool(tool: &Value) -> Value {
    let mut function = tool.as_object().cloned().unwrap_or_default();
    function.remove("type");
    json!({ "type": "function", "function": function })
}

fn tool_choice(fields: Fields<'_>) -> Result<Option<Value>, Problem> {
    let Some(choice) = fields.value("tool_choice") else {
        return Ok(None);
    };
    let invalid = || {
        Problem::invalid(
            "tool_choice",
            "Invalid 'tool_choice': 'none', 'auto', 'required' or a function.",
        )
    };
    match choice {
        Value::String(word) if matches!(word.as_str(), "none" | "auto" | "required") => {
            Ok(Some(choice.clone()))
        }
        Value::Object(object) if object.get("type").and_then(Value::as_str) == Some("function") => {
            let name = object
                .get("name")
                .filter(|name| name.is_string())
                .ok_or_else(invalid)?;
            Ok(Some(json!({ "type": "function", "function": { "name": name } })))
        }
        _ => Err(invalid()),
    }
}

/// What the response object repeats of the request, with the official defaults.
fn echo(fields: Fields<'_>) -> Result<Map<String, Value>, Problem> {
    let or = |name: &str, default: Value| fields.value(name).cloned().unwrap_or(default);
    let mut text = or("text", json!({}));
    if let Some(text) = text.as_object_mut() {
        text.entry("format").or_insert_with(|| json!({ "type": "text" }));
    }
    let echo = json!({
        "instructions": or("instructions", Value::Null),
        "max_output_tokens": or("max_output_tokens", Value::Null),
        "max_tool_calls": or("max_tool_calls", Value::Null),
        "parallel_tool_calls": fields.boolean("parallel_tool_calls")?.unwrap_or(true),
        "previous_response_id": or("previous_response_id", Value::Null),
        "prompt_cache_key": or("prompt_cache_key", Value::Null),
        "reasoning": or("reasoning", json!({ "effort": null, "summary": null })),
        "safety_identifier": or("safety_identifier", Value::Null),
        "service_tier": "default",
        "store": fields.boolean("store")?.unwrap_or(true),
        "temperature": or("temperature", Value::Null),
        "text": text,
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])),
        "top_logprobs": 0,
        "top_p": or("top_p", Value::Null),
        "truncation": or("truncation", json!("disabled")),
        "user": or("user", Value::Null),
        "metadata": fields.metadata()?,
    });
    match echo {
        Value::Object(echo) => Ok(echo),
        _ => Ok(Map::new()),
    }
}
