//! The parent's side of one worker process: its start, its requests, its end.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::LoadError;
use super::frame::{self, FrameError, FromWorker, Reply, ToWorker};
use crate::engine::EngineError;
use crate::limits;
use crate::weights::{WeightSource, Withheld};

/// A running worker. When the last owner lets go, the process is killed.
pub(super) struct Worker {
    shared: Arc<Shared>,
    outbox: mpsc::UnboundedSender<Zeroizing<Vec<u8>>>,
    kill: watch::Sender<bool>,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// On request.
    Stopped,
    /// By itself; whether it had finished any request before.
    Broke { at: Instant, useful: bool },
}

/// How far loading got.
type Loading = Option<Result<(), LoadError>>;

struct Shared {
    desk: Mutex<Desk>,
    loading: watch::Sender<Loading>,
    ended: watch::Sender<bool>,
}

#[derive(Default)]
struct Desk {
    last_id: u64,
    /// Who waits for which answer. One whose caller has left stays until the worker has let go of it, so that the worker's
    /// line is never longer than it looks from here.
    waiting: HashMap<u64, mpsc::UnboundedSender<Reply>>,
    useful: bool,
    fate: Option<Fate>,
}

impl Worker {
    /// Starts the process and tells it what to load; requests may follow at once.
    pub(super) fn start(
        program: &Path,
        arguments: &[OsString],
        folder: Option<PathBuf>,
        weights: Option<Arc<dyn WeightSource>>,
    ) -> Result<Self, LoadError> {
        let child = Command::new(program)
            .args(arguments)
            // The environment may hold keys; the worker needs none of it.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // An interrupt from the terminal is the parent's to handle.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| LoadError::because(format!("the worker process cannot be started: {error}")))?;
        let (outbox, frames) = mpsc::unbounded_channel();
        let kill = watch::Sender::new(false);
        let shared = Arc::new(Shared {
            desk: Mutex::default(),
            loading: watch::Sender::new(None),
            ended: watch::Sender::new(false),
        });
        let feed = Feed {
            folder,
            weights,
            frames,
        };
        tokio::spawn(serve(child, shared.clone(), kill.subscribe(), feed));
        Ok(Self { shared, outbox, kill })
    }

    /// Sends a request, unless too many wait already.
    pub(super) fn ask(
        self: &Arc<Self>,
        request: impl FnOnce(u64) -> ToWorker,
    ) -> Result<Ticket, EngineError> {
        let (sender, replies) = mpsc::unbounded_channel();
        let id = {
            let mut desk = self.shared.desk();
            if let Some(fate) = desk.fate {
                return Err(fate.as_error());
            }
            if desk.waiting.len() >= limits::WORKER_REQUESTS {
                return Err(EngineError::Overloaded {
                    retry_after: Some(limits::WORKER_BUSY),
                });
            }
            desk.last_id += 1;
            let id = desk.last_id;
            desk.waiting.insert(id, sender);
            id
        };
        match frame::encode(&request(id)) {
            // If the worker is gone, the desk drops the sender and the ticket says so.
            Ok(frame) => drop(self.outbox.send(frame)),
            Err(_) => {
                self.shared.desk().waiting.remove(&id);
                let message = "the request is too large for this model".to_owned();
                return Err(EngineError::BadRequest {
                    message,
                    param: None,
                    code: None,
                });
            }
        }
        let deadline = Instant::now() + limits::WORKER_TOTAL;
        Ok(Ticket {
            id,
            replies,
            deadline,
            worker: self.clone(),
            done: false,
        })
    }

    /// Waits until the model is loaded or cannot be.
    pub(super) async fn loaded(&self) -> Result<(), LoadError> {
        let mut loading = self.shared.loading.subscribe();
        let outcome = match loading.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        outcome.unwrap_or_else(|| Err(LoadError::because("the worker process ended")))
    }

    /// Whether the model is in its memory, or on the way there.
    pub(super) fn is_alive(&self) -> bool {
        !*self.shared.ended.borrow()
    }

    /// Why loading failed, if it has.
    pub(super) fn failure(&self) -> Option<LoadError> {
        let loading = self.shared.loading.borrow();
        loading.as_ref().and_then(|loading| loading.clone().err())
    }

    /// Resolves when the process is gone.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.shared.ended.subscribe();
        async move {
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// How it ended, if it has.
    pub(super) fn fate(&self) -> Option<Fate> {
        self.shared.desk().fate
    }

    /// Kills the process and waits until it is gone. Whoever waits for an answer hears [`EngineError::Stopped`].
    pub(super) async fn stop(&self) {
        {
            let mut desk = self.shared.desk();
            desk.fate.get_or_insert(Fate::Stopped);
            desk.waiting.clear();
        }
        self.kill.send_replace(true);
        self.ended().await;
    }

    fn cancel(&self, id: u64) {
        if self.shared.desk().waiting.contains_key(&id)
            && let Ok(frame) = frame::encode(&ToWorker::Cancel { id })
        {
            let _ = self.outbox.send(frame);
        }
    }
}

impl Fate {
    /// What somebody hears who still waits.
    fn as_error(self) -> EngineError {
        match self {
            Self::Stopped => EngineError::Stopped,
            Self::Broke { .. } => EngineError::Unavailable,
        }
    }
}

/// The right to the answer of one request. Dropping it early cancels the request.
pub(super) struct Ticket {
    id: u64,
    replies: mpsc::UnboundedReceiver<Reply>,
    deadline: Instant,
    worker: Arc<Worker>,
    done: bool,
}

impl Ticket {
    /// The next part of the answer. After a stop nothing more comes, not even what had arrived before.
    pub(super) async fn next(&mut self) -> Result<Reply, EngineError> {
        let reply = timeout_at(self.deadline, self.replies.recv())
            .await
            .map_err(|_| EngineError::TimedOut)?;
        match (self.worker.fate(), reply) {
            (Some(Fate::Stopped), _) => Err(EngineError::Stopped),
            (_, Some(reply)) => {
                self.done = reply.is_last();
                Ok(reply)
            }
            (Some(fate), None) => Err(fate.as_error()),
            (None, None) => Err(EngineError::Protocol),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.done {
            self.worker.cancel(self.id);
        }
    }
}

/// Runs one worker to its end, which is the process's end.
async fn serve(mut child: Child, shared: Arc<Shared>, mut kill: watch::Receiver<bool>, feed: Feed) {
    if let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) {
        tokio::select! {
            biased;
            _ = kill.changed() => {}
            outcome = shared.receive(stdout) => report(outcome),
            failed = feed.send(stdin) => shared.fail(failed),
        }
    }
    // SIGKILL, then the wait that makes sure.
    if let Err(error) = child.kill().await {
        tracing::error!(%error, "a model worker could not be killed");
    }
    shared.end();
}

fn report(outcome: Result<(), FrameError>) {
    match outcome {
        Ok(()) => tracing::warn!("a model worker ended by itself"),
        Err(error) => tracing::warn!(%error, "a model worker broke off"),
    }
}

/// What a worker is told: which model to load, with which weights, and then the requests.
struct Feed {
    folder: Option<PathBuf>,
    weights: Option<Arc<dyn WeightSource>>,
    frames: mpsc::UnboundedReceiver<Zeroizing<Vec<u8>>>,
}

impl Feed {
    /// Ends only if there is nothing to load. That the pipe broke is heard, with what the worker still had to say, at its other end.
    async fn send(self, mut stdin: ChildStdin) -> LoadError {
        match self.send_all(&mut stdin).await {
            Err(Unfed::Failed(error)) => error,
            Ok(()) | Err(Unfed::Pipe) => std::future::pending().await,
        }
    }

    async fn send_all(self, stdin: &mut ChildStdin) -> Result<(), Unfed> {
        let Self {
            folder,
            weights,
            mut frames,
        } = self;
        let mut open = match weights {
            Some(source) => Some(source.open().await?),
            None => None,
        };
        let load = ToWorker::Load {
            folder,
            weights: open.as_ref().map(|open| open.length),
        };
        let load = frame::encode(&load)
            .map_err(|_| LoadError::because("the path of the model folder is not Unicode"))?;
        stdin.write_all(&load).await?;
        if let Some(open) = &mut open {
            while let Some(piece) = open.pieces.next().await {
                stdin.write_all(&piece?).await?;
            }
        }
        // Whatever it holds to read them is let go of.
        drop(open);
        while let Some(frame) = frames.recv().await {
            stdin.write_all(&frame).await?;
        }
        Ok(())
    }
}

/// Why a worker is not told everything.
enum Unfed {
    Pipe,
    Failed(LoadError),
}

impl From<std::io::Error> for Unfed {
    fn from(_: std::io::Error) -> Self {
        Self::Pipe
    }
}

impl From<LoadError> for Unfed {
    fn from(error: LoadError) -> Self {
        Self::Failed(error)
    }
}

impl From<Withheld> for Unfed {
    fn from(withheld: Withheld) -> Self {
        Self::Failed(LoadError::withheld(withheld))
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(&self, mut stdout: impl AsyncRead + Unpin) -> Result<(), FrameError> {
        while let Some(message) = frame::read_async(&mut stdout).await? {
            match message {
                FromWorker::Loaded => drop(self.loading.send_replace(Some(Ok(())))),
                FromWorker::NotLoaded { reason } => {
                    tracing::error!(%reason, "the model cannot be loaded");
                    self.loading.send_replace(Some(Err(LoadError::because(reason))));
                }
                FromWorker::Reply { id, reply } => self.dispatch(id, reply)?,
            }
        }
        Ok(())
    }

    fn dispatch(&self, id: u64, reply: Reply) -> Result<(), FrameError> {
        let mut desk = self.desk();
        let sender = match reply.is_last() {
            true => {
                desk.useful = true;
                desk.waiting.remove(&id)
            }
            false => desk.waiting.get(&id).cloned(),
        };
        // An answer is bounded by the model's context, so nothing piles up without end behind a slow reader.
        let _ = sender.ok_or(FrameError::Malformed)?.send(reply);
        Ok(())
    }

    fn fail(&self, error: LoadError) {
        tracing::warn!(reason = %error.reason, "the model cannot be loaded");
        if error.withheld.is_some() {
            // The worker did nothing wrong: the next one need not wait.
            self.desk().fate.get_or_insert(Fate::Stopped);
        }
        self.loading.send_replace(Some(Err(error)));
    }

    fn end(&self) {
        let mut desk = self.desk();
        let useful = desk.useful;
        desk.fate.get_or_insert(Fate::Broke {
            at: Instant::now(),
            useful,
        });
        desk.waiting.clear();
        drop(desk);
        self.loading.send_if_modified(|loading| {
            let unknown = loading.is_none();
            if unknown {
                *loading = Some(Err(LoadError::because("the worker process ended")));
            }
            unknown
        });
        self.ended.send_replace(true);
    }
}
