//! A model server that answers at once, so that a measurement sees Strongroom and not a model.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::error::TestkitError;

/// The model that it claims to serve.
pub const INSTANT_MODEL: &str = "instant";

/// An OpenAI-compatible server on a free port; it ends with this value.
pub struct InstantUpstream {
    address: SocketAddr,
    served: Arc<Served>,
    task: tokio::task::JoinHandle<()>,
}

struct Served {
    requests: AtomicU64,
    pace: Duration,
    pieces: usize,
}

impl InstantUpstream {
    /// Starts one whose streams come in one go.
    pub async fn start() -> Result<Self, TestkitError> {
        Self::start_paced(Duration::ZERO, 3).await
    }

    /// Starts one whose streams come in `pieces`, one every `pace`: for cutting a stream on its way.
    pub async fn start_paced(pace: Duration, pieces: usize) -> Result<Self, TestkitError> {
        let served = Arc::new(Served {
            requests: AtomicU64::new(0),
            pace,
            pieces,
        });
        let routes = Router::new()
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(chat))
            .route("/v1/embeddings", post(embeddings))
            .with_state(Arc::clone(&served));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            // Ends only with the task: the listener's errors are retried within.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self {
            address,
            served,
            task,
        })
    }

    /// What `--upstream` takes.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Requests for completions and embeddings so far.
    pub fn requests(&self) -> u64 {
        self.served.requests.load(Ordering::Relaxed)
    }
}

impl Drop for InstantUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn models() -> Json<Value> {
    Json(json!({
        "object": "list",
        "data": [{"id": INSTANT_MODEL, "object": "model", "created": 0, "owned_by": "testkit"}],
    }))
}

/// Repeats the last message, so that a canary in a prompt is also one in a completion.
async fn chat(State(served): State<Arc<Served>>, Json(request): Json<Value>) -> Response {
    served.requests.fetch_add(1, Ordering::Relaxed);
    let content = said(&request);
    if request.get("stream").and_then(Value::as_bool) == Some(true) {
        return stream(&served, &content);
    }
    Json(json!({
        "id": "chatcmpl-instant", "object": "chat.completion", "created": 0, "model": INSTANT_MODEL,
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": content, "refusal": null},
        }],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }))
    .into_response()
}

fn said(request: &Value) -> String {
    let last = request
        .get("messages")
        .and_then(Value::as_array)
        .and_then(|messages| messages.last());
    match last.and_then(|message| message.get("content")) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "Yes.".to_owned(),
    }
}

fn stream(served: &Served, content: &str) -> Response {
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({
            "id": "chatcmpl-instant", "object": "chat.completion.chunk", "created": 0,
            "model": INSTANT_MODEL,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let mut lines = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
    for number in 0..served.pieces {
        let text = if number == 0 {
            content.to_owned()
        } else {
            format!(" {number}")
        };
        lines.push(chunk(json!({"content": text}), Value::Null));
    }
    lines.push(chunk(json!({}), json!("stop")));
    lines.push(Bytes::from_static(b"data: [DONE]\n\n"));
    let pace = served.pace;
    let paced = futures::stream::unfold(lines.into_iter(), move |mut lines| async move {
        let line = lines.next()?;
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
        }
        Some((Ok::<_, Infallible>(line), lines))
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(paced)).into_response()
}

async fn embeddings(State(served): State<Arc<Served>>, Json(request): Json<Value>) -> Json<Value> {
    served.requests.fetch_add(1, Ordering::Relaxed);
    let count = match request.get("input") {
        Some(Value::Array(inputs)) => inputs.len(),
        _ => 1,
    };
    let data: Vec<Value> = (0..count)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": [0.25, -0.5, 1.0]}))
        .collect();
    Json(json!({
        "object": "list", "model": INSTANT_MODEL, "data": data,
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }))
}
