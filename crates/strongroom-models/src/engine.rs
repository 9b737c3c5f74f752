//! What every engine is: something that answers in OpenAI's shapes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use serde_json::{Map, Value};

use crate::weights::Withheld;

/// A boxed future, so that engines can stand behind `dyn Engine`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A boxed stream of chunks that outlives the call that made it.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// A JSON object, keys in the order they came.
pub type Object = Map<String, Value>;

/// The chunks of a streamed chat completion; ends after the last chunk or the first error.
pub type ChunkStream = BoxStream<'static, Result<Object, EngineError>>;

/// Answers chat completions and embeddings. Requests and answers are JSON objects in OpenAI's shapes; `model` in a
/// request names one of [`Engine::models`].
///
/// Dropping a returned future or stream cancels the work behind it.
pub trait Engine: Send + Sync + 'static {
    /// The models that can be asked for now.
    fn models(&self) -> Vec<ModelCard>;

    /// Answers with a whole `chat.completion` object; `stream` in the request is ignored.
    fn chat<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<Object, EngineError>>;

    /// Answers with `chat.completion.chunk` objects, without the closing `[DONE]`.
    fn chat_stream<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<ChunkStream, EngineError>>;

    /// Answers with a `list` of `embedding` objects (as numbers, unless the request asks an upstream for another
    /// `encoding_format`) and their `usage`.
    fn embed<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<Object, EngineError>>;

    /// Ends all work in flight with [`EngineError::Stopped`] and, for a model held here, the process that holds it.
    /// Resolves when that process is gone. The next request starts afresh.
    fn stop<'a>(&'a self) -> BoxFuture<'a, ()>;

    /// Gives up the process that holds a model without ending anybody's work: it takes nothing new, and ends with what is under way in
    /// it, at once if that is nothing. The next request starts another. Where no model is held there is nothing to give up.
    fn retire(&self) {}
}

/// One model, as `/models` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCard {
    /// What a request puts into `model`.
    pub id: String,
    /// Unix seconds; 0 where nothing is known.
    pub created: i64,
    /// Who made or serves it.
    pub owned_by: String,
}

/// Why an engine gave no answer. Messages are fit for the caller: they hold no keys and no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The request cannot be answered as it is; change it.
    #[error("{message}")]
    BadRequest {
        /// What is wrong.
        message: String,
        /// The parameter at fault, where one is.
        param: Option<String>,
        /// OpenAI's code for it, such as `context_length_exceeded`, where one fits.
        code: Option<String>,
    },
    /// No such model here; ask for one of [`Engine::models`].
    #[error("the model does not exist")]
    UnknownModel,
    /// Too much work at once; come again.
    #[error("the model server is overloaded")]
    Overloaded {
        /// How long to wait, where known.
        retry_after: Option<Duration>,
    },
    /// The answer did not come in time; come again.
    #[error("the model server did not answer in time")]
    TimedOut,
    /// The model server or worker cannot be reached or broke off; come again later.
    #[error("the model server is unavailable")]
    Unavailable,
    /// The upstream server refused with a status of its own.
    #[error("{message}")]
    Upstream {
        /// The HTTP status, 400 to 499.
        status: u16,
        /// Its message, cleaned.
        message: String,
    },
    /// Whoever keeps the model's weights does not give them out; the reason says whether that may change.
    #[error("the model's weights are not given out: {0}")]
    Withheld(Withheld),
    /// The engine was stopped while at work, as a revocation does.
    #[error("the model was stopped")]
    Stopped,
    /// The upstream server or the worker said something that is not the protocol.
    #[error("the model server gave an answer that cannot be understood")]
    Protocol,
}

impl EngineError {
    /// A bad request that blames `param`.
    pub(crate) fn bad_param(param: &str, message: impl Into<String>) -> Self {
        Self::BadRequest {
            message: message.into(),
            param: Some(param.to_owned()),
            code: None,
        }
    }
}
