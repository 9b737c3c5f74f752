//! Every number that bounds something here.

use std::time::Duration;

/// An upstream connection, TLS included.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
/// From a request to the head of the upstream's answer; a long prompt takes its time.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(120);
/// Between two pieces of an upstream's answer.
pub(crate) const IDLE: Duration = Duration::from_secs(60);
/// For the whole of an upstream's answer.
pub(crate) const TOTAL: Duration = Duration::from_secs(600);

/// `config.json` of a model.
pub(crate) const MODEL_CONFIG_BYTES: u64 = 1 << 20;
/// `tokenizer.json` of a model.
pub(crate) const MODEL_TOKENIZER_BYTES: u64 = 64 << 20;
/// One `*.safetensors` file.
pub(crate) const MODEL_WEIGHT_FILE_BYTES: u64 = 64 << 30;
/// `*.safetensors` files in one folder.
pub(crate) const MODEL_FILES: usize = 256;
/// The header of weights that come as a stream.
pub(crate) const WEIGHTS_HEADER: usize = 16 << 20;
/// Tensors of weights that come as a stream.
pub(crate) const WEIGHTS_TENSORS: usize = 100_000;
/// Tokens that a model knows.
pub(crate) const MODEL_VOCABULARY: usize = 1 << 20;
/// Width of any layer.
pub(crate) const MODEL_WIDTH: usize = 1 << 18;
/// Layers of a model.
pub(crate) const MODEL_LAYERS: usize = 512;
/// Longest context, whatever the model was made for; a CPU is too slow for more.
pub(crate) const MODEL_CONTEXT: usize = 32_768;
/// Tokens of a prompt that are read in one step.
pub(crate) const PREFILL_TOKENS: usize = 256;

/// One line of an event stream.
pub(crate) const SSE_LINE: usize = 1 << 20;
/// The data of one event.
pub(crate) const SSE_EVENT: usize = 4 << 20;
/// A whole answer of an upstream server.
pub(crate) const UPSTREAM_ANSWER: usize = 64 << 20;
/// What is read of an upstream's error.
pub(crate) const UPSTREAM_ERROR: usize = 64 << 10;
/// What is passed on of an upstream's error message, in characters.
pub(crate) const UPSTREAM_MESSAGE: usize = 1000;
/// Models that an upstream may list.
pub(crate) const UPSTREAM_MODELS: usize = 10_000;
/// Length of a model's name.
pub(crate) const MODEL_NAME: usize = 256;
/// Longest wait that an upstream may ask for.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(3600);

/// One frame between parent and worker.
pub(crate) const FRAME: usize = 32 << 20;
/// Requests that one worker holds, the one at work included.
pub(crate) const WORKER_REQUESTS: usize = 32;
/// When to come again if it holds as many.
pub(crate) const WORKER_BUSY: Duration = Duration::from_secs(2);
/// For one request to the worker, waiting in line included.
pub(crate) const WORKER_TOTAL: Duration = Duration::from_secs(600);
/// How long loading may take.
pub(crate) const WORKER_LOAD: Duration = Duration::from_secs(300);
/// No new worker within this after the second crash in a row; doubles with each further one.
pub(crate) const WORKER_BACK_OFF: Duration = Duration::from_millis(250);
/// The longest that it doubles to.
pub(crate) const WORKER_BACK_OFF_MOST: Duration = Duration::from_secs(30);

/// Messages in one conversation.
pub(crate) const CHAT_MESSAGES: usize = 4096;
/// Stop sequences in one request.
pub(crate) const CHAT_STOPS: usize = 4;
/// Length of a stop sequence.
pub(crate) const CHAT_STOP: usize = 1024;
/// Texts in one embeddings request.
pub(crate) const EMBED_INPUTS: usize = 2048;
