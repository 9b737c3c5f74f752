//! A streamed answer, passed on chunk by chunk.

use std::collections::VecDeque;

use futures::FutureExt;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use super::link::Patience;
use super::sse::SseParser;
use crate::engine::{EngineError, Object};

/// The chunks of one answer as they arrive.
pub(crate) struct Chunks {
    response: Response,
    patience: Patience,
    parser: SseParser,
    ready: VecDeque<Vec<u8>>,
    /// A chunk said why the answer ended, so an end of the body is no cut.
    concluded: bool,
}

impl Chunks {
    pub(crate) fn new(response: Response, patience: Patience) -> Result<Self, EngineError> {
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        if !kind
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("text/event-stream")
        {
            return Err(EngineError::Protocol);
        }
        Ok(Self {
            response,
            patience,
            parser: SseParser::new(),
            ready: VecDeque::new(),
            concluded: false,
        })
    }

    /// The next chunk; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Object>, EngineError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if event == b"[DONE]" {
                    // What ends the body has mostly come along; taking it lets the connection serve again.
                    let _ = self.response.chunk().now_or_never();
                    return Ok(None);
                }
                return self.chunk(&event).map(Some);
            }
            let Some(bytes) = self.patience.chunk(&mut self.response).await? else {
                return match self.concluded {
                    true => Ok(None),
                    false => Err(EngineError::Unavailable),
                };
            };
            let mut events = Vec::new();
            self.parser
                .push(&bytes, &mut events)
                .map_err(|_| EngineError::Protocol)?;
            self.ready.extend(events);
        }
    }

    fn chunk(&mut self, event: &[u8]) -> Result<Object, EngineError> {
        let chunk: Object = serde_json::from_slice(event).map_err(|_| EngineError::Protocol)?;
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(EngineError::Unavailable);
        }
        let choices = chunk
            .get("choices")
            .and_then(Value::as_array)
            .ok_or(EngineError::Protocol)?;
        self.concluded |= choices.iter().any(|choice| {
            choice
                .get("finish_reason")
                .is_some_and(|reason| !reason.is_null())
        });
        Ok(chunk)
    }
}
