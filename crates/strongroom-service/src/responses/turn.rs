//! One response as it grows out of a chat completion, whole or chunk by chunk, with the official events. Pure: no I/O, no time.

use serde_json::{Map, Value, json};
use strongroom_models::EngineError;

use crate::ids;
use crate::limits;
use crate::problem::{Form, Problem};
use crate::sse;

/// A response in the making.
pub(super) struct Turn {
    object: Map<String, Value>,
    items: Vec<Item>,
    usage: Value,
    finish: Option<String>,
    length: usize,
    /// `None` where nobody listens.
    events: Option<Events>,
}

/// Events that are not yet sent.
#[derive(Default)]
struct Events {
    sequence: u64,
    waiting: Vec<u8>,
}

enum Item {
    Message {
        id: String,
        parts: Vec<Part>,
    },
    Call {
        id: String,
        call_id: String,
        name: String,
        arguments: String,
        index: u64,
    },
}

struct Part {
    kind: PartKind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartKind {
    Text,
    Refusal,
}

impl PartKind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "output_text",
            Self::Refusal => "refusal",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Refusal => "refusal",
        }
    }
}

impl Part {
    fn show(&self, text: &str) -> Value {
        match self.kind {
            PartKind::Text => {
                json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
            }
            PartKind::Refusal => json!({ "type": "refusal", "refusal": text }),
        }
    }
}

impl Item {
    fn show(&self, status: &str) -> Value {
        match self {
            Self::Message { id, parts } => {
                let content: Vec<_> = parts.iter().map(|part| part.show(&part.text)).collect();
                json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
            }
            Self::Call {
                id,
                call_id,
                name,
                arguments,
                ..
            } => json!({
                "id": id,
                "type": "function_call",
                "status": status,
                "call_id": call_id,
                "name": name,
                "arguments": arguments,
            }),
        }
    }
}

impl Turn {
    /// Begins a response; `object` is its object with status `in_progress`.
    pub(super) fn new(object: Map<String, Value>, with_events: bool) -> Self {
        let events = with_events.then(Events::default);
        Self {
            object,
            items: Vec::new(),
            usage: Value::Null,
            finish: None,
            length: 0,
            events,
        }
    }

    /// The first events.
    pub(super) fn begin(&mut self) {
        for name in ["response.created", "response.in_progress"] {
            self.emit_object(name);
        }
    }

    /// The events since the last call.
    pub(super) fn take_events(&mut self) -> Vec<u8> {
        self.events
            .as_mut()
            .map(|events| std::mem::take(&mut events.waiting))
            .unwrap_or_default()
    }

    /// Takes a whole chat completion.
    pub(super) fn completion(&mut self, completion: &Map<String, Value>) -> Result<(), Problem> {
        self.answer(completion, "message")
    }

    /// Takes a chunk of one.
    pub(super) fn chunk(&mut self, chunk: &Map<String, Value>) -> Result<(), Problem> {
        self.answer(chunk, "delta")
    }

    fn answer(&mut self, said: &Map<String, Value>, under: &str) -> Result<(), Problem> {
        if let Some(usage) = said.get("usage").filter(|usage| usage.is_object()) {
            self.usage = shown_usage(usage);
        }
        let Some(choice) = said.get("choices").and_then(|choices| choices.get(0)) else {
            return Ok(());
        };
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(finish.to_owned());
        }
        let Some(message) = choice.get(under) else {
            return Ok(());
        };
        for (field, kind) in [("content", PartKind::Text), ("refusal", PartKind::Refusal)] {
            if let Some(text) = message
                .get(field)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
            {
                self.add_text(kind, text)?;
            }
        }
        let calls = message
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for (position, call) in (0..).zip(calls) {
            self.add_call(position, call)?;
        }
        Ok(())
    }

    fn add_text(&mut self, kind: PartKind, text: &str) -> Result<(), Problem> {
        self.grow(text)?;
        let output = match self
            .items
            .iter()
            .position(|item| matches!(item, Item::Message { .. }))
        {
            Some(output) => output,
            None => self.add_item(Item::Message {
                id: ids::message(),
                parts: Vec::new(),
            }),
        };
        let Some(Item::Message { id, parts }) = self.items.get_mut(output) else {
            return Ok(());
        };
        let content = match parts.iter().position(|part| part.kind == kind) {
            Some(content) => content,
            None => {
                let part = Part {
                    kind,
                    text: String::new(),
                };
                let fields = json!({ "part": part.show("") });
                emit_part(
                    &mut self.events,
                    "response.content_part.added",
                    (id, output, parts.len()),
                    fields,
                );
                parts.push(part);
                parts.len() - 1
            }
        };
        let Some(part) = parts.get_mut(content) else {
            return Ok(());
        };
        part.text.push_str(text);
        let mut fields = json!({ "delta": text });
        with_logprobs(kind, &mut fields);
        emit_part(
            &mut self.events,
            &format!("response.{}.delta", kind.name()),
            (id, output, content),
            fields,
        );
        Ok(())
    }

    fn add_call(&mut self, position: u64, call: &Value) -> Result<(), Problem> {
        let at = call.get("index").and_then(Value::as_u64).unwrap_or(position);
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let function = call.get("function");
        let known = self
            .items
            .iter()
            .position(|item| matches!(item, Item::Call { index, .. } if *index == at));
        let output = match known {
            Some(output) => output,
            None => {
                let name = text(function.and_then(|function| function.get("name")));
                let call_id = text(call.get("id"));
                let id = ids::function_call();
                self.add_item(Item::Call {
                    id,
                    call_id,
                    name,
                    arguments: String::new(),
                    index: at,
                })
            }
        };
        let added = text(function.and_then(|function| function.get("arguments")));
        if added.is_empty() {
            return Ok(());
        }
        self.grow(&added)?;
        if let Some(Item::Call { id, arguments, .. }) = self.items.get_mut(output) {
            arguments.push_str(&added);
            let fields = json!({ "item_id": id, "output_index": output, "delta": added });
            emit(&mut self.events, "response.function_call_arguments.delta", fields);
        }
        Ok(())
    }

    fn add_item(&mut self, item: Item) -> usize {
        let output = self.items.len();
        let fields = json!({ "output_index": output, "item": item.show("in_progress") });
        emit(&mut self.events, "response.output_item.added", fields);
        self.items.push(item);
        output
    }

    /// An engine that never ends must not fill the memory.
    fn grow(&mut self, text: &str) -> Result<(), Problem> {
        self.length += text.len();
        if self.length > limits::OUTPUT_BYTES || self.items.len() > limits::INPUT_ITEMS {
            return Err(Problem::Engine(EngineError::Protocol));
        }
        Ok(())
    }

    /// Closes every item. What is left is to keep the object, and then to announce it.
    pub(super) fn finish(&mut self, now: u64) -> &Map<String, Value> {
        let (status, reason) = match self.finish.as_deref() {
            Some("length") => ("incomplete", Some("max_output_tokens")),
            Some("content_filter") => ("incomplete", Some("content_filter")),
            _ => ("completed", None),
        };
        for (output, item) in self.items.iter().enumerate() {
            close(&mut self.events, output, item, status);
        }
        let output = self.items.iter().map(|item| item.show(status)).collect();
        let usage = std::mem::take(&mut self.usage);
        let completed = if reason.is_none() {
            Value::from(now)
        } else {
            Value::Null
        };
        let details = reason.map_or(Value::Null, |reason| json!({ "reason": reason }));
        self.set("status", json!(status));
        self.set("completed_at", completed);
        self.set("incomplete_details", details);
        self.set("output", output);
        self.set("usage", usage);
        &self.object
    }

    /// The last event, once the object is kept.
    pub(super) fn announce(&mut self) {
        let incomplete = self.object.get("status").and_then(Value::as_str) == Some("incomplete");
        self.emit_object(if incomplete {
            "response.incomplete"
        } else {
            "response.completed"
        });
    }

    /// The last event of a response that failed.
    pub(super) fn fail(&mut self, problem: &Problem) {
        let said = problem.object(Form::V1);
        let overload = said.get("code").and_then(Value::as_str) == Some("rate_limit_exceeded");
        let code = if overload {
            "rate_limit_exceeded"
        } else {
            "server_error"
        };
        let output = self.items.iter().map(|item| item.show("incomplete")).collect();
        self.set("status", json!("failed"));
        self.set("error", json!({ "code": code, "message": said.get("message") }));
        self.set("output", output);
        self.emit_object("response.failed");
    }

    /// The object as it is.
    pub(super) fn into_object(self) -> Map<String, Value> {
        self.object
    }

    fn set(&mut self, name: &str, value: Value) {
        self.object.insert(name.to_owned(), value);
    }

    fn emit_object(&mut self, name: &str) {
        if self.events.is_some() {
            emit(&mut self.events, name, json!({ "response": self.object }));
        }
    }
}

fn close(events: &mut Option<Events>, output: usize, item: &Item, status: &str) {
    match item {
        Item::Message { id, parts } => {
            for (content, part) in parts.iter().enumerate() {
                let mut fields = json!({ part.kind.field(): part.text });
                with_logprobs(part.kind, &mut fields);
                let place = (id.as_str(), output, content);
                emit_part(
                    events,
                    &format!("response.{}.done", part.kind.name()),
                    place,
                    fields,
                );
                let fields = json!({ "part": part.show(&part.text) });
                emit_part(events, "response.content_part.done", place, fields);
            }
        }
        Item::Call {
            id, name, arguments, ..
        } => {
            let fields =
                json!({ "item_id": id, "output_index": output, "name": name, "arguments": arguments });
            emit(events, "response.function_call_arguments.done", fields);
        }
    }
    emit(
        events,
        "response.output_item.done",
        json!({ "output_index": output, "item": item.show(status) }),
    );
}

fn with_logprobs(kind: PartKind, fields: &mut Value) {
    if let (PartKind::Text, Some(fields)) = (kind, fields.as_object_mut()) {
        fields.insert("logprobs".to_owned(), json!([]));
    }
}

fn emit_part(events: &mut Option<Events>, name: &str, place: (&str, usize, usize), mut fields: Value) {
    if let Some(fields) = fields.as_object_mut() {
        let (item, output, content) = place;
        fields.insert("item_id".to_owned(), item.into());
        fields.insert("output_index".to_owned(), output.into());
        fields.insert("content_index".to_owned(), content.into());
    }
    emit(events, name, fields);
}

fn emit(events: &mut Option<Events>, name: &str, fields: Value) {
    let (Some(events), Value::Object(fields)) = (events, fields) else {
        return;
    };
    let mut event = Map::new();
    event.insert("type".to_owned(), name.into());
    event.insert("sequence_number".to_owned(), events.sequence.into());
    event.extend(fields);
    events.sequence += 1;
    sse::named(&mut events.waiting, name, &event);
}

fn shown_usage(usage: &Value) -> Value {
    let count = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let (input, output) = (count("/prompt_tokens"), count("/completion_tokens"));
    json!({
        "input_tokens": input,
        "input_tokens_details": {
            "cache_write_tokens": 0,
            "cached_tokens": count("/prompt_tokens_details/cached_tokens"),
        },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": count("/completion_tokens_details/reasoning_tokens") },
        "total_tokens": input + output,
    })
}
