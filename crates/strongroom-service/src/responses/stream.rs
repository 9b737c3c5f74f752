//! A response that is told event by event. Its last event, `response.completed`, follows the durable commit.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use serde_json::Value;
use strongroom_models::ChunkStream;

use super::turn::Turn;
use super::{ResponseRecord, keep};
use crate::auth::Permits;
use crate::chat;
use crate::flow::{CutShort, Pieces};
use crate::problem::Problem;
use crate::service::Service;

/// A response that grows while it is told.
pub(super) struct Growing {
    pub(super) turn: Turn,
    pub(super) service: Arc<Service>,
    pub(super) permits: Permits,
    /// The input, if the response shall be kept.
    pub(super) keep: Option<Vec<Value>>,
    pub(super) id: String,
}

enum Phase {
    Begin(ChunkStream),
    Flow(ChunkStream),
    Over,
}

impl Growing {
    /// Its events, a few at a time.
    pub(super) fn events(self, chunks: ChunkStream) -> Pieces {
        Box::pin(stream::unfold(
            (self, Phase::Begin(chunks)),
            |(mut growing, phase)| async move {
                match phase {
                    Phase::Begin(chunks) => {
                        growing.turn.begin();
                        Some((Ok(growing.told()), (growing, Phase::Flow(chunks))))
                    }
                    Phase::Flow(chunks) => {
                        let (piece, phase) = growing.flow(chunks).await;
                        Some((piece, (growing, phase)))
                    }
                    Phase::Over => None,
                }
            },
        ))
    }

    /// Waits for chunks until there is something to tell.
    async fn flow(&mut self, mut chunks: ChunkStream) -> (Result<Bytes, CutShort>, Phase) {
        loop {
            let taken = match chat::next_chunk(&mut chunks, self.service.limits.engine_idle).await {
                Some(chunk) => chunk.and_then(|chunk| self.turn.chunk(&chunk)),
                None => return (self.end().await, Phase::Over),
            };
            if let Err(problem) = taken {
                return (Ok(self.failed(&problem)), Phase::Over);
            }
            let told = self.told();
            if !told.is_empty() {
                return (Ok(told), Phase::Flow(chunks));
            }
        }
    }

    /// Closes the items, commits, and only then announces the response.
    async fn end(&mut self) -> Result<Bytes, CutShort> {
        let response = self.turn.finish(self.service.seconds()).clone();
        if let Some(input) = self.keep.take() {
            let record = ResponseRecord { response, input };
            match self.commit(&record).await {
                Ok(()) => {}
                // The key is gone: the stream must not seem to end.
                Err(Problem::Key(denied)) => return Err(CutShort::Key(denied)),
                Err(problem) => return Ok(self.failed(&problem)),
            }
        }
        self.turn.announce();
        Ok(self.told())
    }

    async fn commit(&self, record: &ResponseRecord) -> Result<(), Problem> {
        keep(&self.service, self.permits.write()?, &self.id, record).await
    }

    fn failed(&mut self, problem: &Problem) -> Bytes {
        if let Some(detail) = problem.for_the_log() {
            tracing::error!(detail, "a response failed while it was told");
        }
        self.turn.fail(problem);
        self.told()
    }

    fn told(&mut self) -> Bytes {
        self.turn.take_events().into()
    }
}
