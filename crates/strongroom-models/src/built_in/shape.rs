//! From the worker's replies to OpenAI's answers.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock;
use crate::engine::{EngineError, Object};
use crate::model::generate::{Ending, GenerateError, Outcome};

/// What all parts of one chat answer have in common.
pub(super) struct ChatShape {
    id: String,
    created: i64,
    model: String,
    usage: bool,
}

impl ChatShape {
    /// A new answer. With `usage`, chunks carry OpenAI's usage fields.
    pub(super) fn new(model: &str, usage: bool) -> Self {
        let id = format!("chatcmpl-{}", Uuid::new_v4().simple());
        Self {
            id,
            created: clock::unix_seconds(),
            model: model.to_owned(),
            usage,
        }
    }

    /// The whole `chat.completion`.
    pub(super) fn whole(&self, text: &str, outcome: &Outcome) -> Object {
        self.object(
            "chat.completion",
            json!([{
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": null,
                "finish_reason": finish_reason(outcome),
            }]),
            Some(usage(outcome)),
        )
    }

    /// The first chunk: who speaks.
    pub(super) fn opening(&self) -> Object {
        self.chunk(
            json!({"role": "assistant", "content": "", "refusal": null}),
            Value::Null,
        )
    }

    /// A piece of text.
    pub(super) fn piece(&self, text: &str) -> Object {
        self.chunk(json!({"content": text}), Value::Null)
    }

    /// What ends the answer: the reason, and the usage if it was asked for.
    pub(super) fn closing(&self, outcome: &Outcome) -> Vec<Object> {
        let mut chunks = vec![self.chunk(json!({}), json!(finish_reason(outcome)))];
        if self.usage {
            chunks.push(self.object("chat.completion.chunk", json!([]), Some(usage(outcome))));
        }
        chunks
    }

    fn chunk(&self, delta: Value, finish_reason: Value) -> Object {
        let choice = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}]);
        self.object("chat.completion.chunk", choice, self.usage.then_some(Value::Null))
    }

    fn object(&self, kind: &str, choices: Value, usage: Option<Value>) -> Object {
        let mut object = Object::new();
        object.insert("id".into(), json!(self.id));
        object.insert("object".into(), json!(kind));
        object.insert("created".into(), json!(self.created));
        object.insert("model".into(), json!(self.model));
        object.insert("choices".into(), choices);
        if let Some(usage) = usage {
            object.insert("usage".into(), usage);
        }
        object
    }
}

/// The `list` of embeddings.
pub(super) fn embeddings(model: &str, vectors: Vec<Vec<f32>>, tokens: usize) -> Object {
    let data: Vec<Value> = (0usize..)
        .zip(vectors)
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    let mut list = Object::new();
    list.insert("object".into(), json!("list"));
    list.insert("data".into(), Value::Array(data));
    list.insert("model".into(), json!(model));
    list.insert(
        "usage".into(),
        json!({"prompt_tokens": tokens, "total_tokens": tokens}),
    );
    list
}

/// What a refusal of the worker means for the caller; `param` is where the input stood.
pub(super) fn refusal(error: &GenerateError, param: &str) -> EngineError {
    match error {
        GenerateError::TooLong { tokens, most } => EngineError::BadRequest {
            message: format!(
                "the input has {tokens} tokens, but at most {most} fit into this model's context"
            ),
            param: Some(param.to_owned()),
            code: Some("context_length_exceeded".to_owned()),
        },
        GenerateError::Empty => EngineError::bad_param(param, format!("`{param}` must not be empty")),
        GenerateError::UnknownToken => EngineError::bad_param(
            param,
            format!("`{param}` has a token that this model does not know"),
        ),
        GenerateError::Cancelled | GenerateError::Failed => EngineError::Unavailable,
    }
}

fn finish_reason(outcome: &Outcome) -> &'static str {
    match outcome.ending {
        Ending::Stop => "stop",
        Ending::Length => "length",
    }
}

fn usage(outcome: &Outcome) -> Value {
    json!({
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.answer_tokens,
        "total_tokens": outcome.prompt_tokens + outcome.answer_tokens,
    })
}
