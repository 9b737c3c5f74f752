//! A model run here, in a worker process of its own.

mod frame;
mod order;
mod process;
mod shape;
mod worker;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, UNIX_EPOCH};

use futures::future::join_all;
use futures::stream;
use serde_json::Value;
use tokio::time::{Instant, timeout};

pub(crate) use worker::harden_worker;
pub use worker::worker_main;

use crate::engine::{BoxFuture, ChunkStream, Engine, EngineError, ModelCard, Object};
use crate::limits;
use crate::weights::{WeightSource, Withheld};
use frame::{Reply, ToWorker};
use process::{Fate, Ticket, Worker};
use shape::ChatShape;

/// The name of the model that comes along.
pub const REHEARSAL_MODEL: &str = "strongroom-rehearsal";

/// Which model the worker loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// The tiny model that comes along, for rehearsing only.
    Rehearsal,
    /// A local folder in Hugging Face's layout (`config.json`, `tokenizer.json`, `*.safetensors`), Llama or Qwen2 family.
    /// The folder's name is the model's.
    Folder(PathBuf),
}

/// A built-in model and the program that runs it.
#[derive(Clone, Debug)]
pub struct BuiltInConfig {
    /// Which model.
    pub model: ModelSource,
    /// The program whose worker command calls [`worker_main`]; usually the running program itself.
    pub worker_program: PathBuf,
    /// The arguments that make it a worker.
    pub worker_args: Vec<OsString>,
}

/// A model that was made from another: it has that one's configuration and tokenizer, and weights of its own.
pub struct Tuned {
    /// The name that requests have for it.
    pub name: String,
    /// When it was made, in Unix seconds.
    pub created: i64,
    /// Whose it is.
    pub owned_by: String,
    /// Who keeps its weights. They go from there into the worker's memory, and nowhere else.
    pub weights: Arc<dyn WeightSource>,
}

/// A model in a worker process, started with the first request and again after a stop or a crash.
///
/// Answers are greedy, and so always alike, unless the request asks for a temperature.
pub struct BuiltIn {
    config: BuiltInConfig,
    card: ModelCard,
    weights: Option<Arc<dyn WeightSource>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    worker: Option<Arc<Worker>>,
    /// Those that were given up and may still be working for somebody.
    retired: Vec<Weak<Worker>>,
    /// Crashes in a row, and until when none is started because of them.
    crashes: u32,
    not_before: Option<Instant>,
    /// Why the last of these could not load its model, if that was it.
    failure: Option<LoadError>,
}

/// Why a model cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model cannot be loaded: {reason}")]
pub struct LoadError {
    /// What is wrong with the folder, the weights or the worker, for the log.
    pub reason: String,
    /// Set if whoever keeps the weights does not give them out.
    pub withheld: Option<Withheld>,
}

impl LoadError {
    fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            withheld: None,
        }
    }

    fn withheld(withheld: Withheld) -> Self {
        Self {
            reason: withheld.to_string(),
            withheld: Some(withheld),
        }
    }
}

impl From<LoadError> for EngineError {
    fn from(error: LoadError) -> Self {
        error.withheld.map_or(Self::Unavailable, Self::Withheld)
    }
}

impl BuiltIn {
    /// Takes the configuration; the worker process starts with the first request, or with [`Self::load`].
    pub fn spawn(config: BuiltInConfig) -> Self {
        let card = match &config.model {
            ModelSource::Rehearsal => card(REHEARSAL_MODEL, REHEARSAL_MADE, "strongroom"),
            ModelSource::Folder(folder) => card(
                &folder.file_name().unwrap_or_default().to_string_lossy(),
                made(folder),
                "local",
            ),
        };
        Self {
            config,
            card,
            weights: None,
            state: Mutex::default(),
        }
    }

    /// The same for a model that was made from the configured one.
    pub fn tuned(base: BuiltInConfig, tuned: Tuned) -> Self {
        Self {
            config: base,
            card: card(&tuned.name, tuned.created, &tuned.owned_by),
            weights: Some(tuned.weights),
            state: Mutex::default(),
        }
    }

    /// Whether there is a process that has the model in its memory, or is loading it.
    pub fn is_resident(&self) -> bool {
        self.current().is_some_and(|worker| worker.is_alive())
    }

    /// Resolves when the process that runs now is gone; at once, if none does.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        let worker = self.current();
        async move {
            if let Some(worker) = worker {
                let ended = worker.ended();
                // Waiting for it must not keep it.
                drop(worker);
                ended.await;
            }
        }
    }

    /// Starts the worker, if none runs, and waits until the model is loaded. Needed only to hear early, and in words, why
    /// it cannot be. Must be called within a Tokio runtime, like every method of [`Engine`].
    pub async fn load(&self) -> Result<(), LoadError> {
        let worker = self.worker()?;
        match timeout(limits::WORKER_LOAD, worker.loaded()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                worker.stop().await;
                Err(LoadError::because("loading takes too long"))
            }
        }
    }

    /// The running worker, or a new one.
    fn worker(&self) -> Result<Arc<Worker>, LoadError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = &state.worker {
            match worker.fate() {
                None => return Ok(worker.clone()),
                Some(Fate::Stopped) => state.forgive(),
                Some(Fate::Broke { at, useful }) => {
                    state.failure = worker.failure();
                    state.count_crash(at, useful);
                }
            }
            state.worker = None;
        }
        if state.not_before.is_some_and(|moment| Instant::now() < moment) {
            let last = state.failure.as_ref().map(|failure| failure.reason.as_str());
            let last = last.unwrap_or("it said nothing");
            return Err(LoadError::because(format!(
                "the worker process ended again and again: {last}"
            )));
        }
        let folder = match &self.config.model {
            ModelSource::Rehearsal => None,
            ModelSource::Folder(folder) => Some(folder.clone()),
        };
        let BuiltInConfig {
            worker_program,
            worker_args,
            ..
        } = &self.config;
        match Worker::start(worker_program, worker_args, folder, self.weights.clone()) {
            Ok(worker) => Ok(state.worker.insert(Arc::new(worker)).clone()),
            Err(error) => {
                tracing::error!(reason = %error.reason, "a model worker cannot be started");
                state.count_crash(Instant::now(), false);
                Err(error)
            }
        }
    }

    fn ask(&self, request: impl FnOnce(u64) -> ToWorker) -> Result<Ticket, EngineError> {
        self.worker().map_err(|_| EngineError::Unavailable)?.ask(request)
    }

    /// With weights that others keep, why there is no answer is mostly theirs to say, and is heard by loading first.
    async fn weights_loaded(&self) -> Result<(), EngineError> {
        if self.weights.is_some() {
            self.load().await?;
        }
        Ok(())
    }

    fn current(&self) -> Option<Arc<Worker>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.worker.clone()
    }

    fn check_model(&self, request: &Object) -> Result<(), EngineError> {
        match request.get("model").and_then(Value::as_str) {
            Some(model) if model == self.card.id => Ok(()),
            Some(_) => Err(EngineError::UnknownModel),
            None => Err(EngineError::bad_param("model", "`model` must name a model")),
        }
    }

    async fn begin_chat(&self, request: &Object, usage: bool) -> Result<(ChatShape, Ticket), EngineError> {
        self.check_model(request)?;
        let order = order::chat(request)?;
        self.weights_loaded().await?;
        let ticket = self.ask(|id| ToWorker::Chat { id, order })?;
        Ok((ChatShape::new(&self.card.id, usage), ticket))
    }

    async fn whole_chat(&self, request: Object) -> Result<Object, EngineError> {
        let (shape, mut ticket) = self.begin_chat(&request, false).await?;
        let mut text = String::new();
        loop {
            match ticket.next().await? {
                Reply::Text(piece) => text += &piece,
                Reply::Answered(outcome) => return Ok(shape.whole(&text, &outcome)),
                Reply::Refused(error) => return Err(shape::refusal(&error, "messages")),
                Reply::Vector(_) | Reply::Embedded { .. } => return Err(EngineError::Protocol),
            }
        }
    }

    async fn streamed_chat(&self, request: Object) -> Result<ChunkStream, EngineError> {
        let (shape, mut ticket) = self.begin_chat(&request, order::wants_usage(&request)).await?;
        // A refusal is an error of the call, not of its stream, so the first reply is awaited here.
        let first = ticket.next().await?;
        let ready = VecDeque::from([shape.opening()]);
        let mut answer = Answer {
            shape,
            ticket,
            ready,
            closed: false,
        };
        answer.take(first)?;
        Ok(Box::pin(stream::unfold(Some(answer), |answer| async {
            let mut answer = answer?;
            match answer.next().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(answer))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })))
    }

    async fn vectors(&self, request: Object) -> Result<Object, EngineError> {
        self.check_model(&request)?;
        let passages = order::embed(&request)?;
        let dimensions = order::dimensions(&request)?;
        self.weights_loaded().await?;
        let mut ticket = self.ask(|id| ToWorker::Embed { id, passages })?;
        let mut vectors = Vec::new();
        loop {
            match ticket.next().await? {
                Reply::Vector(vector) if dimensions.is_none_or(|asked| asked == vector.len() as u64) => {
                    vectors.push(vector);
                }
                Reply::Vector(vector) => {
                    let message = format!("this model's embeddings have {} dimensions", vector.len());
                    return Err(EngineError::bad_param("dimensions", message));
                }
                Reply::Embedded { tokens } => return Ok(shape::embeddings(&self.card.id, vectors, tokens)),
                Reply::Refused(error) => return Err(shape::refusal(&error, "input")),
                Reply::Text(_) | Reply::Answered(_) => return Err(EngineError::Protocol),
            }
        }
    }

    async fn stop_workers(&self) {
        let workers = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .workers();
        join_all(workers.iter().map(|worker| worker.stop())).await;
    }
}

impl Engine for BuiltIn {
    fn models(&self) -> Vec<ModelCard> {
        vec![self.card.clone()]
    }

    fn chat<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<Object, EngineError>> {
        Box::pin(self.whole_chat(request))
    }

    fn chat_stream<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<ChunkStream, EngineError>> {
        Box::pin(self.streamed_chat(request))
    }

    /// Embeddings are the mean of the final hidden states, at length 1; always as numbers, whatever `encoding_format` says.
    fn embed<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<Object, EngineError>> {
        Box::pin(self.vectors(request))
    }

    fn stop<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(self.stop_workers())
    }

    fn retire(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.retired.retain(|worker| worker.strong_count() > 0);
        if let Some(worker) = state.worker.take() {
            // Whoever waits for an answer holds it; with the last of them the process ends.
            state.retired.push(Arc::downgrade(&worker));
        }
    }
}

impl State {
    /// The running worker and those that others still hold.
    fn workers(&self) -> Vec<Arc<Worker>> {
        let retired = self.retired.iter().filter_map(Weak::upgrade);
        retired.chain(self.worker.clone()).collect()
    }

    fn forgive(&mut self) {
        self.crashes = 0;
        self.not_before = None;
        self.failure = None;
    }

    /// The first crash costs nothing, so that one bad request does not shut others out; then the wait doubles.
    fn count_crash(&mut self, at: Instant, useful: bool) {
        self.crashes = if useful { 1 } else { self.crashes.saturating_add(1) };
        self.not_before = Some(at + back_off(self.crashes));
    }
}

fn back_off(crashes: u32) -> Duration {
    match crashes.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => limits::WORKER_BACK_OFF
            .saturating_mul(2u32.saturating_pow(doublings))
            .min(limits::WORKER_BACK_OFF_MOST),
    }
}

/// One streamed answer.
struct Answer {
    shape: ChatShape,
    ticket: Ticket,
    ready: VecDeque<Object>,
    closed: bool,
}

impl Answer {
    async fn next(&mut self) -> Result<Option<Object>, EngineError> {
        while self.ready.is_empty() && !self.closed {
            let reply = self.ticket.next().await?;
            self.take(reply)?;
        }
        Ok(self.ready.pop_front())
    }

    fn take(&mut self, reply: Reply) -> Result<(), EngineError> {
        match reply {
            Reply::Text(text) => self.ready.push_back(self.shape.piece(&text)),
            Reply::Answered(outcome) => {
                self.ready.extend(self.shape.closing(&outcome));
                self.closed = true;
            }
            Reply::Refused(error) => return Err(shape::refusal(&error, "messages")),
            Reply::Vector(_) | Reply::Embedded { .. } => return Err(EngineError::Protocol),
        }
        Ok(())
    }
}

/// When the rehearsal model was made: 23 November 2026.
const REHEARSAL_MADE: i64 = 1_795_392_000;

fn card(id: &str, created: i64, owner: &str) -> ModelCard {
    ModelCard {
        id: id.to_owned(),
        created,
        owned_by: owner.to_owned(),
    }
}

/// When the folder's configuration was written, as far as that can be known.
fn made(folder: &Path) -> i64 {
    let modified = folder
        .join("config.json")
        .metadata()
        .and_then(|file| file.modified())
        .ok();
    let since = modified.and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
    since
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_after_crashes_starts_at_nothing_doubles_and_is_bounded() {
        let waits: Vec<u128> = [1, 2, 3, 4, 60]
            .map(|crashes| back_off(crashes).as_millis())
            .into();
        assert_eq!(waits, [0, 250, 500, 1000, 30_000]);
    }
}
