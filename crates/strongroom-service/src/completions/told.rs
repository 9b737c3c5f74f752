//! A completion that is told chunk by chunk and kept. What ends it for a reader, its last chunk and `[DONE]`, follows the commit.

use bytes::Bytes;
use futures::stream;
use serde_json::{Map, Value, json};
use strongroom_models::{ChunkStream, EngineError};

use super::Keeper;
use crate::chat;
use crate::flow::{CutShort, Pieces};
use crate::limits;
use crate::problem::{Form, Problem};
use crate::sse;

/// A completion in the making.
struct Telling {
    growing: Growing,
    keeper: Option<Keeper>,
    /// What must not be told before the commit.
    held: Vec<u8>,
    /// Whether the caller asked for the usage.
    with_usage: bool,
    idle: std::time::Duration,
    form: Form,
}

/// Chunks as events. An engine that fails on the way says so in an event of its own, and nothing is kept.
pub(crate) fn told(
    chunks: ChunkStream,
    keeper: Keeper,
    wanted: usize,
    with_usage: bool,
    (idle, form): (std::time::Duration, Form),
) -> Pieces {
    let telling = Telling {
        growing: Growing::new(wanted),
        keeper: Some(keeper),
        held: Vec::new(),
        with_usage,
        idle,
        form,
    };
    Box::pin(stream::unfold(Some((telling, chunks)), |at| async {
        let (mut telling, mut chunks) = at?;
        loop {
            let next = chat::next_chunk(&mut chunks, telling.idle).await;
            let taken = match next {
                Some(chunk) => chunk.and_then(|chunk| telling.take(chunk)),
                None => return Some((telling.end().await, None)),
            };
            match taken {
                Ok(Some(event)) => return Some((Ok(event), Some((telling, chunks)))),
                Ok(None) => {}
                Err(problem) => return Some((Ok(telling.failed(&problem)), None)),
            }
        }
    }))
}

impl Telling {
    /// Takes a chunk; what may be told of it now.
    fn take(&mut self, mut chunk: Map<String, Value>) -> Result<Option<Bytes>, Problem> {
        self.growing.take(&chunk)?;
        if !self.with_usage {
            chunk.remove("usage");
            let is_empty = |choices: &Value| choices.as_array().is_some_and(Vec::is_empty);
            if chunk.get("choices").is_some_and(is_empty) {
                return Ok(None);
            }
        }
        if let Some(keeper) = &self.keeper {
            chunk.insert("id".to_owned(), json!(keeper.id()));
        }
        let event = sse::data(&chunk);
        if self.growing.is_finished() {
            self.held.extend_from_slice(&event);
            return Ok(None);
        }
        Ok(Some(event))
    }

    /// Commits, and only then tells the end.
    async fn end(&mut self) -> Result<Bytes, CutShort> {
        if let Some(keeper) = self.keeper.take() {
            match keeper.keep(self.growing.completion()).await {
                Ok(_) => {}
                // The key is gone: the stream must not seem to end.
                Err(Problem::Key(denied)) => return Err(CutShort::Key(denied)),
                Err(problem) => return Ok(self.failed(&problem)),
            }
        }
        let mut end = std::mem::take(&mut self.held);
        end.extend_from_slice(&sse::DONE);
        Ok(end.into())
    }

    fn failed(&self, problem: &Problem) -> Bytes {
        if let Some(detail) = problem.for_the_log() {
            tracing::error!(detail, "a completion failed while it was told");
        }
        sse::data(&json!({ "error": problem.object(self.form) }))
    }
}

/// The completion that chunks add up to.
struct Growing {
    /// What the chunks have in common.
    head: Map<String, Value>,
    choices: Vec<Map<String, Value>>,
    usage: Value,
    /// How many choices were asked for.
    wanted: usize,
    length: usize,
}

impl Growing {
    fn new(wanted: usize) -> Self {
        Self {
            head: Map::new(),
            choices: Vec::new(),
            usage: Value::Null,
            wanted,
            length: 0,
        }
    }

    fn take(&mut self, chunk: &Map<String, Value>) -> Result<(), Problem> {
        for name in ["created", "model", "system_fingerprint", "service_tier"] {
            if let Some(value) = chunk.get(name) {
                self.head.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage = usage.clone();
        }
        let choices = chunk.get("choices").and_then(Value::as_array);
        choices
            .into_iter()
            .flatten()
            .try_for_each(|choice| self.add(choice))
    }

    fn add(&mut self, choice: &Value) -> Result<(), Problem> {
        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        if at >= self.wanted {
            return Err(Problem::Engine(EngineError::Protocol));
        }
        while self.choices.len() <= at {
            let index = self.choices.len();
            let fresh = json!({ "index": index, "message": { "role": "assistant", "content": null }, "logprobs": null, "finish_reason": null });
            self.choices.push(fresh.as_object().cloned().unwrap_or_default());
        }
        let Some(known) = self.choices.get_mut(at) else {
            return Ok(());
        };
        if let Some(finish) = choice.get("finish_reason").filter(|finish| !finish.is_null()) {
            known.insert("finish_reason".to_owned(), finish.clone());
        }
        for (under, added) in [
            ("message", choice.get("delta")),
            ("logprobs", choice.get("logprobs")),
        ] {
            if let Some(added) = added.filter(|added| added.is_object()) {
                let slot = known.entry(under).or_insert(Value::Null);
                grow(slot, added, &mut self.length)?;
            }
        }
        Ok(())
    }

    /// Whether every choice has said why it ends.
    fn is_finished(&self) -> bool {
        let has_ended =
            |choice: &Map<String, Value>| choice.get("finish_reason").is_some_and(|why| !why.is_null());
        self.choices.len() == self.wanted && self.choices.iter().all(has_ended)
    }

    fn completion(&mut self) -> Map<String, Value> {
        let mut completion = Map::new();
        completion.insert("id".to_owned(), Value::Null);
        completion.insert("object".to_owned(), json!("chat.completion"));
        completion.append(&mut self.head);
        let choices = std::mem::take(&mut self.choices);
        completion.insert(
            "choices".to_owned(),
            choices.into_iter().map(Value::Object).collect(),
        );
        completion.insert("usage".to_owned(), std::mem::take(&mut self.usage));
        completion
    }
}

/// Adds a delta to what is known: texts grow, members are added, entries of lists go by their index or to the end. An engine that never
/// ends must not fill the memory.
fn grow(known: &mut Value, delta: &Value, length: &mut usize) -> Result<(), Problem> {
    match (known, delta) {
        (_, Value::Null) => {}
        (Value::String(text), Value::String(more)) => {
            lengthen(length, more.len())?;
            text.push_str(more);
        }
        (Value::Object(members), Value::Object(more)) => {
            for (name, value) in more {
                // Said anew with each chunk by some engines, and not in pieces by any.
                if matches!(name.as_str(), "role" | "type" | "id" | "index") {
                    lengthen(length, name.len())?;
                    members.insert(name.clone(), value.clone());
                    continue;
                }
                lengthen(length, name.len())?;
                grow(members.entry(name).or_insert(Value::Null), value, length)?;
            }
        }
        (Value::Array(entries), Value::Array(more)) => {
            for entry in more {
                let index = entry.get("index").and_then(Value::as_u64);
                let same = |known: &&mut Value| known.get("index").and_then(Value::as_u64) == index;
                let known = index.and_then(|_| entries.iter_mut().find(same));
                if let Some(known) = known {
                    grow(known, entry, length)?;
                    continue;
                }
                lengthen(length, weight(entry))?;
                // Those with an index are looked for one by one.
                if index.is_some() && entries.len() >= limits::INPUT_ITEMS {
                    return Err(Problem::Engine(EngineError::Protocol));
                }
                entries.push(entry.clone());
            }
        }
        (known, value) => {
            lengthen(length, weight(value))?;
            *known = value.clone();
        }
    }
    Ok(())
}

fn lengthen(length: &mut usize, by: usize) -> Result<(), Problem> {
    *length += by;
    if *length > limits::OUTPUT_BYTES {
        return Err(Problem::Engine(EngineError::Protocol));
    }
    Ok(())
}

/// About how much memory a value takes.
fn weight(value: &Value) -> usize {
    const EACH: usize = 32;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Array(entries) => entries.iter().map(weight).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len() + weight(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Growing;
    use crate::limits;

    fn take(growing: &mut Growing, choices: Value) -> Result<(), String> {
        let chunk = json!({ "id": "x", "model": "m", "created": 7, "choices": choices });
        let taken = growing.take(chunk.as_object().unwrap());
        taken.map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn texts_calls_and_choices_grow_each_by_itself() {
        let mut growing = Growing::new(2);
        let call = |index: u32, delta: Value| json!([{ "index": index, "delta": delta }]);
        take(
            &mut growing,
            call(0, json!({ "role": "assistant", "content": "" })),
        )
        .unwrap();
        take(&mut growing, call(0, json!({ "content": "one " }))).unwrap();
        let first = json!({ "index": 0, "id": "call_1", "type": "function", "function": { "name": "f", "arguments": "" } });
        take(
            &mut growing,
            call(1, json!({ "role": "assistant", "tool_calls": [first] })),
        )
        .unwrap();
        take(
            &mut growing,
            call(
                0,
                json!({ "role": "assistant", "content": "two", "refusal": null }),
            ),
        )
        .unwrap();
        let more = |text: &str| json!({ "tool_calls": [{ "index": 0, "function": { "arguments": text } }] });
        take(&mut growing, call(1, more("{\"a\""))).unwrap();
        take(&mut growing, call(1, more(":1}"))).unwrap();
        take(
            &mut growing,
            json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }]),
        )
        .unwrap();
        assert!(!growing.is_finished());
        take(
            &mut growing,
            json!([{ "index": 1, "delta": {}, "finish_reason": "tool_calls" }]),
        )
        .unwrap();
        assert!(growing.is_finished());
        let done = growing.completion();
        assert_eq!(
            (&done["object"], &done["model"], &done["created"]),
            (&json!("chat.completion"), &json!("m"), &json!(7))
        );
        assert_eq!(done["choices"][0]["message"]["content"], "one two");
        assert_eq!(done["choices"][0]["finish_reason"], "stop");
        let call = &done["choices"][1]["message"]["tool_calls"][0];
        assert_eq!(
            (&call["id"], &call["function"]),
            (
                &json!("call_1"),
                &json!({ "name": "f", "arguments": "{\"a\":1}" })
            )
        );
    }

    #[test]
    fn an_engine_that_tells_too_much_or_of_choices_that_nobody_asked_for_is_not_believed() {
        let mut growing = Growing::new(1);
        assert!(take(&mut growing, json!([{ "index": 1, "delta": {} }])).is_err());
        let long = "x".repeat(limits::OUTPUT_BYTES / 2);
        take(
            &mut growing,
            json!([{ "index": 0, "delta": { "content": long } }]),
        )
        .unwrap();
        assert!(
            take(
                &mut growing,
                json!([{ "index": 0, "delta": { "content": long } }])
            )
            .is_err()
        );
        let mut growing = Growing::new(1);
        let mut added = 0;
        let calls = |index: usize| json!([{ "index": 0, "delta": { "tool_calls": [{ "index": index, "id": "x" }] } }]);
        while take(&mut growing, calls(added)).is_ok() {
            added += 1;
        }
        assert_eq!(added, limits::INPUT_ITEMS);
    }
}
