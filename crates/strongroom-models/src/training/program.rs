//! The parent's side of one trainer process: feeds it, hears it, and ends it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::weights::{self, Head, Shapes};
use super::wire::{Order, PROTOCOL, Said};
use super::{Examples, Training, TrainingError, TrainingEvent, TrainingOrder, WeightsHead};
use crate::built_in::ModelSource;
use crate::limits;
use crate::model::config::DecoderConfig;
use crate::model::load::{ModelError, ModelFiles};
use crate::model::rehearsal;

/// A program to run for one training.
pub(super) struct Program {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// Variables of its environment; it has no others.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Whether it needs to see its input end. Ours does not, and takes the end for the end of its parent.
    pub(super) ends_input: bool,
    /// Where the model's folder is, as it sees it.
    pub(super) model_folder: Option<PathBuf>,
    pub(super) silence: Duration,
    pub(super) total: Duration,
}

type Sender = mpsc::Sender<Result<TrainingEvent, TrainingError>>;
type Outcome = Result<(), TrainingError>;

/// What one training may hand out.
struct Bounds {
    shapes: Shapes,
    file: u64,
    files: u64,
    progress: u64,
}

/// Starts the process.
pub(super) fn start(
    program: Program,
    source: &ModelSource,
    order: TrainingOrder,
) -> Result<Training, TrainingError> {
    let config = config(source).map_err(|error| TrainingError::Start(error.to_string()))?;
    let steps = order.plan.steps(order.training.count);
    let shapes = Shapes::of(&config);
    let bounds = Bounds {
        file: shapes.bytes().saturating_mul(limits::WEIGHT_COPIES) + limits::WEIGHT_HEAD as u64,
        files: u64::from(order.plan.n_epochs) + limits::WEIGHT_FILES_MORE,
        progress: steps.saturating_add(limits::TRAINER_PROGRESS_MORE),
        shapes,
    };
    let child = Command::new(&program.program)
        .args(&program.arguments)
        // The environment may hold keys; the trainer needs none of it.
        .env_clear()
        .envs(program.environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, to be killed as one; and an interrupt from the terminal is the parent's to handle.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| TrainingError::Start(error.to_string()))?;
    let (sender, events) = mpsc::channel(limits::TRAINER_EVENTS);
    let stop = watch::Sender::new(false);
    let (gone, is_gone) = watch::channel(false);
    tokio::spawn(run(
        child,
        program,
        order,
        bounds,
        sender,
        (stop.subscribe(), gone),
    ));
    Ok(Training {
        events,
        stop,
        gone: is_gone,
    })
}

/// What a base model looks like.
pub(super) fn config(source: &ModelSource) -> Result<DecoderConfig, ModelError> {
    let files = match source {
        ModelSource::Rehearsal => rehearsal::files(),
        ModelSource::Folder(folder) => ModelFiles::in_folder(folder)?,
    };
    Ok(DecoderConfig::parse(&files.config)?)
}

/// Runs one process to its end. Whatever happens, it is gone before anybody hears how it ended.
async fn run(
    mut child: Child,
    program: Program,
    order: TrainingOrder,
    bounds: Bounds,
    sender: Sender,
    (mut stop, gone): (watch::Receiver<bool>, watch::Sender<bool>),
) {
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let desk = Arc::new(Desk::new(sender.clone()));
    let outcome = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => None,
        () = desk.silence(program.silence) => Some(Err(TrainingError::Hung)),
        () = sleep(program.total) => Some(Err(TrainingError::TooLong)),
        outcome = converse(&mut child, &program, order, &bounds, &desk) => Some(outcome),
    };
    end(&mut child, group).await;
    gone.send_replace(true);
    if let Some(Err(error)) = outcome {
        let _ = sender.send(Err(error)).await;
    }
}

/// Ends whatever still runs of it, and waits until it is gone.
async fn end(child: &mut Child, group: Option<Pid>) {
    // If this is a cage's keeper, what it keeps goes first: the keeper ends when the last process in the cage has.
    if let Some(keeper) = child.id()
        && kill_children(keeper)
    {
        let _ = timeout(limits::CAGE_END, child.wait()).await;
    }
    // A leader that has ended without being waited for, or has left others of its group behind, keeps its number taken.
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    if let Err(error) = child.kill().await {
        tracing::error!(%error, "a trainer could not be killed");
    }
}

/// Kills the children of a process, and says whether there were any.
fn kill_children(parent: u32) -> bool {
    let list =
        || std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let mut killed = false;
    for number in list().split_ascii_whitespace() {
        let Some(process) = number.parse().ok().and_then(Pid::from_raw) else {
            continue;
        };
        let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else {
            continue;
        };
        // Still a child now that there is a handle: the number has not become another's.
        if list().split_ascii_whitespace().any(|still| still == number) {
            killed |= pidfd_send_signal(&handle, Signal::KILL).is_ok();
        }
    }
    killed
}

/// Feeds and hears the process until it has ended.
async fn converse(
    child: &mut Child,
    program: &Program,
    order: TrainingOrder,
    bounds: &Bounds,
    desk: &Desk,
) -> Outcome {
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(TrainingError::Crashed);
    };
    let heard = async { tokio::try_join!(hear(stderr, bounds, desk), receive(stdout, bounds, desk)) };
    let fed = feed(stdin, program, order, desk);
    let ((told, model), _input) = futures::future::try_join(heard, fed).await?;
    let ended = child.wait().await;
    match (told, ended.is_ok_and(|status| status.success()), model) {
        (Some(error), ..) => Err(error),
        (None, true, true) => Ok(()),
        (None, _, _) => Err(TrainingError::Crashed),
    }
}

/// Writes order, examples and checkpoint. That the process stopped listening is no error of its own: its end says more.
async fn feed(
    stdin: ChildStdin,
    program: &Program,
    order: TrainingOrder,
    desk: &Desk,
) -> Result<Option<BufWriter<ChildStdin>>, TrainingError> {
    let (validation_examples, validation) = match order.validation {
        Some(Examples { count, lines }) => (count, Some(lines)),
        None => (0, None),
    };
    let (checkpoint_bytes, checkpoint) = match order.checkpoint {
        Some(checkpoint) => (checkpoint.bytes, Some(checkpoint.content)),
        None => (0, None),
    };
    let first = Order {
        protocol: PROTOCOL.to_owned(),
        base_model: order.base_model,
        model_folder: program.model_folder.clone(),
        plan: order.plan,
        training_examples: order.training.count,
        validation_examples,
        checkpoint_bytes,
    };
    let mut line = serde_json::to_vec(&first).map_err(|error| TrainingError::Start(error.to_string()))?;
    line.push(b'\n');
    let mut pipe = BufWriter::with_capacity(64 << 10, stdin);
    if pipe.write_all(&line).await.is_err() {
        return Ok(None);
    }
    let sources = [Some(order.training.lines), validation, checkpoint];
    for mut source in sources.into_iter().flatten() {
        while let Some(piece) = source.next().await {
            let piece = piece.map_err(|_: io::Error| TrainingError::Data)?;
            if pipe.write_all(&piece).await.is_err() {
                return Ok(None);
            }
            desk.alive();
        }
    }
    if pipe.flush().await.is_err() || program.ends_input {
        return Ok(None);
    }
    Ok(Some(pipe))
}

/// Hears what it says on stderr. What is not of the protocol is dropped: it may quote the examples.
async fn hear(
    mut stderr: impl AsyncRead + Unpin,
    bounds: &Bounds,
    desk: &Desk,
) -> Result<Option<TrainingError>, TrainingError> {
    let (mut line, mut piece) = (Vec::new(), BytesMut::with_capacity(limits::TRAINER_LINE));
    let (mut said, mut progress, mut too_long) = (0, 0, false);
    let mut told = None;
    loop {
        piece.clear();
        let length = stderr.read_buf(&mut piece).await.unwrap_or(0);
        said += length as u64;
        if said > limits::TRAINER_SAYS {
            return Err(TrainingError::Flooded);
        }
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let whole = part.ends_with(b"\n");
            too_long |= line.len() + part.len() > limits::TRAINER_LINE;
            if !too_long {
                line.extend_from_slice(part);
            }
            if !whole {
                continue;
            }
            match Said::read(&line).filter(|_| !too_long) {
                Some(Said::Progress(report)) => {
                    progress += 1;
                    if progress > bounds.progress {
                        return Err(TrainingError::Flooded);
                    }
                    desk.send(TrainingEvent::Progress(report)).await;
                }
                Some(Said::Error { message }) => told = told.or(Some(TrainingError::Told(message))),
                // The cage speaks before there is a program in it. What says so later is the program.
                Some(Said::NotCaged { message }) if progress == 0 && told.is_none() => {
                    told = Some(TrainingError::NotCaged(message));
                }
                Some(Said::NotCaged { .. }) | None => {}
            }
            line.clear();
            too_long = false;
        }
        if length == 0 {
            return Ok(told);
        }
    }
}

/// Receives files of weights until the pipe ends; whether the model was among them.
async fn receive(
    mut stdout: impl AsyncRead + Unpin,
    bounds: &Bounds,
    desk: &Desk,
) -> Result<bool, TrainingError> {
    let garbage = |reason: &str| TrainingError::Garbage(reason.to_owned());
    let mut model = false;
    for _ in 0..bounds.files {
        let mut prefix = [0; weights::PREFIX];
        let first = stdout.read(&mut prefix).await.unwrap_or(0);
        if first == 0 {
            return Ok(model);
        }
        if model {
            return Err(garbage("something follows the model"));
        }
        let cut = || garbage("it breaks off");
        let rest = prefix.get_mut(first..).unwrap_or_default();
        stdout.read_exact(rest).await.map_err(|_| cut())?;
        let length =
            weights::head_length(prefix).ok_or_else(|| garbage("its head has an impossible length"))?;
        let mut opening = BytesMut::zeroed(weights::PREFIX + length);
        let (front, head) = opening.split_at_mut(weights::PREFIX);
        front.copy_from_slice(&prefix);
        stdout.read_exact(head).await.map_err(|_| cut())?;
        let Head { checkpoint, body } = bounds.shapes.check(head).map_err(TrainingError::Garbage)?;
        let bytes = body + opening.len() as u64;
        if bytes > bounds.file {
            return Err(TrainingError::Flooded);
        }
        model = checkpoint.is_none();
        desk.send(TrainingEvent::Weights(WeightsHead { checkpoint, bytes }))
            .await;
        desk.send(TrainingEvent::Piece(opening.freeze())).await;
        pass(&mut stdout, body, desk).await.ok_or_else(cut)?;
        desk.send(TrainingEvent::Whole).await;
    }
    match stdout.read(&mut [0]).await {
        Ok(0) | Err(_) => Ok(model),
        Ok(_) => Err(TrainingError::Flooded),
    }
}

/// Passes on as many bytes; `None` if the pipe ends before.
async fn pass(stdout: &mut (impl AsyncRead + Unpin), bytes: u64, desk: &Desk) -> Option<()> {
    let mut body = stdout.take(bytes);
    while body.limit() > 0 {
        let mut piece = BytesMut::with_capacity(limits::WEIGHT_PIECE);
        while piece.len() < limits::WEIGHT_PIECE {
            if body.read_buf(&mut piece).await.ok()? == 0 {
                break;
            }
            desk.alive();
        }
        if piece.is_empty() {
            return None;
        }
        desk.send(TrainingEvent::Piece(piece.freeze())).await;
    }
    Some(())
}

/// Hands events on, and knows when the process was last heard of.
struct Desk {
    sender: Sender,
    heard: Mutex<Instant>,
}

impl Desk {
    fn new(sender: Sender) -> Self {
        Self {
            sender,
            heard: Mutex::new(Instant::now()),
        }
    }

    fn alive(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn send(&self, event: TrainingEvent) {
        self.alive();
        // If nobody listens any more, the process is about to be killed.
        let _ = self.sender.send(Ok(event)).await;
    }

    /// Resolves when nothing was heard for so long, although somebody listened.
    async fn silence(&self, most: Duration) {
        loop {
            let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.elapsed() >= most {
                return;
            }
            sleep_until(heard + most).await;
            if self.sender.capacity() == 0 {
                self.alive();
            }
        }
    }
}
