//! Any OpenAI-compatible server as an engine.

mod answer;
mod chunks;
mod config;
mod link;
mod sse;

use std::sync::{Arc, PoisonError, RwLock};

use futures::stream;
use serde_json::Value;
use tokio::sync::watch;

pub use config::{ApiKey, Timeouts, UpstreamConfig};

use crate::engine::{BoxFuture, ChunkStream, Engine, EngineError, ModelCard, Object};
use crate::limits;
use chunks::Chunks;
use link::{Link, Patience};

/// An OpenAI-compatible server, reached by URL and key. Connections are kept and used again.
pub struct Upstream {
    link: Arc<Link>,
    models: RwLock<Vec<ModelCard>>,
    configured: bool,
    /// Counts the stops; work in flight watches it.
    stops: watch::Sender<u64>,
}

/// Why an upstream cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamConfigError {
    /// The address is not an `http` or `https` URL, or carries a user name or a query.
    #[error("the address of the upstream server must be a plain http or https URL")]
    Address,
    /// The key has characters that no header can carry.
    #[error("the key of the upstream server has characters that a header cannot carry")]
    Key,
    /// The TLS client could not be made.
    #[error("the TLS client could not be set up: {0}")]
    Client(String),
}

impl Upstream {
    /// Checks the configuration and readies a client; connects to nothing yet.
    pub fn new(config: UpstreamConfig) -> Result<Self, UpstreamConfigError> {
        let models: Vec<_> = config.models.iter().map(|id| card(id, 0, OWNER)).collect();
        Ok(Self {
            configured: !models.is_empty(),
            models: RwLock::new(models),
            link: Arc::new(Link::new(config)?),
            stops: watch::Sender::new(0),
        })
    }

    /// Asks the server for its models and offers those from now on, unless models were configured. Without configured
    /// ones [`Engine::models`] is empty until this has succeeded once.
    pub async fn refresh_models(&self) -> Result<Vec<ModelCard>, EngineError> {
        if !self.configured {
            let mut patience = self.patience();
            let response = self.link.get("models", &mut patience).await?;
            let listed = cards(&link::whole(response, &mut patience).await?)?;
            *self.models.write().unwrap_or_else(PoisonError::into_inner) = listed;
        }
        Ok(self.models())
    }

    async fn ask(&self, path: &str, mut request: Object) -> Result<Object, EngineError> {
        request.remove("stream");
        request.remove("stream_options");
        let mut patience = self.patience();
        let response = self.link.post(path, &request, &mut patience).await?;
        link::whole(response, &mut patience).await
    }

    async fn ask_for_chunks(&self, mut request: Object) -> Result<ChunkStream, EngineError> {
        request.insert("stream".to_owned(), Value::Bool(true));
        let mut patience = self.patience();
        let response = self
            .link
            .post("chat/completions", &request, &mut patience)
            .await?;
        let chunks = Chunks::new(response, patience)?;
        Ok(Box::pin(stream::unfold(Some(chunks), |chunks| async {
            let mut chunks = chunks?;
            match chunks.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(chunks))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })))
    }

    fn patience(&self) -> Patience {
        Patience::new(self.stops.subscribe(), self.link.timeouts())
    }
}

impl Engine for Upstream {
    fn models(&self) -> Vec<ModelCard> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn chat<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<Object, EngineError>> {
        Box::pin(self.ask("chat/completions", request))
    }

    fn chat_stream<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<ChunkStream, EngineError>> {
        Box::pin(self.ask_for_chunks(request))
    }

    fn embed<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<Object, EngineError>> {
        Box::pin(self.ask("embeddings", request))
    }

    /// What the server itself holds is beyond reach: only the work in flight ends.
    fn stop<'a>(&'a self) -> BoxFuture<'a, ()> {
        self.stops.send_modify(|stops| *stops += 1);
        Box::pin(async {})
    }
}

const OWNER: &str = "upstream";

fn card(id: &str, created: i64, owner: &str) -> ModelCard {
    ModelCard {
        id: id.to_owned(),
        created,
        owned_by: owner.to_owned(),
    }
}

fn cards(list: &Object) -> Result<Vec<ModelCard>, EngineError> {
    let data = list
        .get("data")
        .and_then(Value::as_array)
        .ok_or(EngineError::Protocol)?;
    if data.len() > limits::UPSTREAM_MODELS {
        return Err(EngineError::Protocol);
    }
    data.iter()
        .map(|model| {
            let id = model
                .get("id")?
                .as_str()
                .filter(|id| (1..=limits::MODEL_NAME).contains(&id.len()))?;
            let created = model.get("created").and_then(Value::as_i64).unwrap_or(0);
            let owner = model.get("owned_by").and_then(Value::as_str).unwrap_or(OWNER);
            Some(card(
                id,
                created,
                owner.get(..limits::MODEL_NAME).unwrap_or(owner),
            ))
        })
        .collect::<Option<_>>()
        .ok_or(EngineError::Protocol)
}

#[cfg(test)]
mod tests;
