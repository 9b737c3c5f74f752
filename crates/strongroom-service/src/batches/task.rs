//! One line of a batch: what it asks for.

use serde_json::{Map, Value};

use crate::auth::{Act, Right};
use crate::limits;

/// What the lines of a batch are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Endpoint {
    Chat,
    Responses,
    Embeddings,
}

impl Endpoint {
    pub(super) const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Embeddings];

    /// As OpenAI writes it; Azure leaves `/v1` out.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let fits = |endpoint: &Self| {
            let path = endpoint.path();
            text == path || path.strip_prefix("/v1") == Some(text)
        };
        Self::ALL.into_iter().find(fits)
    }

    /// What a caller must be allowed for it.
    pub(super) fn needs(self) -> &'static [Right] {
        match self {
            Self::Chat => &[Right::Chat],
            Self::Responses => &[Right::Responses(Act::Write), Right::Responses(Act::Read)],
            Self::Embeddings => &[Right::Embeddings],
        }
    }
}

/// One request of a batch.
pub(super) struct Task {
    pub(super) custom_id: String,
    pub(super) model: String,
    pub(super) body: Map<String, Value>,
}

/// Why a line is no request of this batch. Says nothing of what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LineFault {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) param: Option<&'static str>,
}

impl LineFault {
    pub(super) fn new(code: &'static str, param: Option<&'static str>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message, param }
    }

    fn missing(param: &'static str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Self::new("missing_required_parameter", Some(param), message)
    }

    fn wrong(param: &'static str, wanted: &str) -> Self {
        let message = format!("Invalid '{param}': it must be {wanted}.");
        Self::new("invalid_request", Some(param), message)
    }

    pub(super) fn too_long() -> Self {
        let limit = limits::BATCH_LINE_BYTES;
        let message = format!("The line is longer than {limit} bytes, the most that is accepted.");
        Self::new("line_too_long", None, message)
    }
}

/// Reads a line that is to go to this endpoint.
pub(super) fn read(line: &[u8], endpoint: Endpoint) -> Result<Task, LineFault> {
    let not_json = || {
        LineFault::new(
            "invalid_json_line",
            None,
            "This line is not parseable as valid JSON.",
        )
    };
    // The parser stops at 128 levels, so that depth costs no stack.
    let mut line = match serde_json::from_slice(line) {
        Ok(Value::Object(line)) => line,
        Ok(_) => {
            return Err(LineFault::new(
                "invalid_json_line",
                None,
                "This line is not a JSON object.",
            ));
        }
        Err(_) => return Err(not_json()),
    };
    let custom_id = match line.remove("custom_id") {
        Some(Value::String(id)) if id.is_empty() || id.len() > limits::CUSTOM_ID_BYTES => {
            let wanted = format!("a string of 1 to {} bytes", limits::CUSTOM_ID_BYTES);
            return Err(LineFault::wrong("custom_id", &wanted));
        }
        Some(Value::String(id)) => id,
        None | Some(Value::Null) => return Err(LineFault::missing("custom_id")),
        Some(_) => return Err(LineFault::wrong("custom_id", "a string")),
    };
    match line.get("method") {
        Some(Value::String(method)) if method == "POST" => {}
        None | Some(Value::Null) => return Err(LineFault::missing("method")),
        Some(_) => {
            return Err(LineFault::new(
                "invalid_method",
                Some("method"),
                "Invalid 'method': it must be 'POST'.",
            ));
        }
    }
    match line.get("url") {
        Some(Value::String(url)) => check_url(url, endpoint)?,
        None | Some(Value::Null) => return Err(LineFault::missing("url")),
        Some(_) => return Err(LineFault::wrong("url", "a string")),
    }
    let (model, body) = body_of(&mut line)?;
    Ok(Task {
        custom_id,
        model,
        body,
    })
}

/// The request itself, and the deployment that it is for.
fn body_of(line: &mut Map<String, Value>) -> Result<(String, Map<String, Value>), LineFault> {
    let body = match line.remove("body") {
        Some(Value::Object(body)) => body,
        None | Some(Value::Null) => return Err(LineFault::missing("body")),
        Some(_) => return Err(LineFault::wrong("body", "an object")),
    };
    let model = match body.get("model") {
        Some(Value::String(model)) if !model.is_empty() => model.clone(),
        None | Some(Value::Null) => return Err(LineFault::missing("body.model")),
        Some(_) => {
            return Err(LineFault::wrong(
                "body.model",
                "a string with the name of a deployment",
            ));
        }
    };
    if body
        .get("stream")
        .is_some_and(|stream| *stream != Value::Bool(false) && !stream.is_null())
    {
        return Err(LineFault::new(
            "invalid_request",
            Some("body.stream"),
            "Streaming is not supported in batches.",
        ));
    }
    Ok((model, body))
}

fn check_url(url: &str, endpoint: Endpoint) -> Result<(), LineFault> {
    match Endpoint::parse(url) {
        Some(found) if found == endpoint => Ok(()),
        Some(_) => {
            let message = format!(
                "The URL of this line is not the endpoint of the batch, '{}'.",
                endpoint.path()
            );
            Err(LineFault::new("url_mismatch", Some("url"), message))
        }
        None => {
            let known = Endpoint::ALL.map(Endpoint::path).join("', '");
            let message = format!("Invalid 'url': it must be one of '{known}'.");
            Err(LineFault::new("invalid_url", Some("url"), message))
        }
    }
}
