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

/// One line of a training set.
pub(crate) const EXAMPLE: usize = 1 << 20;
/// The head of weights that a trainer hands out.
pub(crate) const WEIGHT_HEAD: usize = 16 << 20;
/// Weights that one training may hand out, as a multiple of its steps' epochs: a checkpoint each, and the model.
pub(crate) const WEIGHT_FILES_MORE: u64 = 16;
/// The bytes of one file of weights, as a multiple of the model in f32: the model, its masters and two moments each.
pub(crate) const WEIGHT_COPIES: u64 = 5;
/// A piece of weights on its way.
pub(crate) const WEIGHT_PIECE: usize = 256 << 10;
/// Events of one training that wait for whoever listens.
pub(crate) const TRAINER_EVENTS: usize = 16;
/// One line that a trainer says; what is longer is not of the protocol.
pub(crate) const TRAINER_LINE: usize = 64 << 10;
/// All that a trainer may say beside weights.
pub(crate) const TRAINER_SAYS: u64 = 256 << 20;
/// Lines of progress beyond one for each step.
pub(crate) const TRAINER_PROGRESS_MORE: u64 = 1000;
/// What is passed on of a trainer's error, in characters.
pub(crate) const TRAINER_MESSAGE: usize = 500;
/// How long a trainer may be silent.
pub(crate) const TRAINER_SILENCE: Duration = Duration::from_secs(600);
/// How long a training may take.
pub(crate) const TRAINER_TOTAL: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long it may take to try whether a cage can be built.
pub(crate) const CAGE_TRY: Duration = Duration::from_secs(20);
/// How often a cage's keeper looks whether what is in it has ended, or whoever asked for it is gone.
pub(crate) const CAGE_LOOK: Duration = Duration::from_millis(20);
/// How long the processes in a cage may take to end once they are killed.
pub(crate) const CAGE_END: Duration = Duration::from_secs(5);
/// Tokens of an example that are learnt from; the rest is cut off.
pub(crate) const LESSON_TOKENS: usize = 4096;
/// Tokens that go through the model at once while it learns, as far as one example allows.
pub(crate) const LESSONS_AT_ONCE: usize = 2048;
