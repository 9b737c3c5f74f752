//! Trainers: what makes a model's weights fit a training set.
//!
//! Every trainer is a program that speaks one protocol over its pipes (docs/trainers.md): examples go in, progress and
//! weights come out. The built-in one is this program itself; [`CommandTrainer`] runs any other, in a cage. Neither writes
//! a file: what was learnt from is in the memory of that process, and gone with it.

mod built_in;
mod cage;
mod command;
mod example;
mod program;
mod teach;
mod weights;
mod wire;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

pub use built_in::BuiltInTrainer;
pub use cage::NotCaged;
pub use command::{CommandConfig, CommandTrainer};
pub use example::ExampleFault;

/// The longest line that a training set may have, in bytes.
pub const EXAMPLE_BYTES: usize = limits::EXAMPLE;

use crate::built_in::ModelSource;
use crate::engine::BoxStream;
use crate::limits;

/// Makes models out of others and examples.
pub trait Trainer: Send + Sync + 'static {
    /// The models that training can start from.
    fn base_models(&self) -> Vec<String>;

    /// Whether training could learn from this line, without its end.
    fn check(&self, line: &[u8]) -> Result<(), ExampleFault>;

    /// Starts training; what comes of it is heard from the returned value. Dropping that ends the training, and with it the
    /// process that has the examples in memory. Must be called within a Tokio runtime.
    fn start(&self, order: TrainingOrder) -> Result<Training, TrainingError>;
}

/// A model that training can start from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseModel {
    /// As requests name it.
    pub name: String,
    /// Where its files are.
    pub source: ModelSource,
}

/// The program that this process starts for training: itself, with the arguments that lead to [`trainer_main`].
#[derive(Clone, Debug)]
pub struct TrainerProgram {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<OsString>,
}

/// What to learn, from what, and how.
pub struct TrainingOrder {
    /// One of [`Trainer::base_models`].
    pub base_model: String,
    /// How.
    pub plan: Plan,
    /// What to learn.
    pub training: Examples,
    /// What to measure by.
    pub validation: Option<Examples>,
    /// From where to go on.
    pub checkpoint: Option<Checkpoint>,
}

/// How to train; nothing is left open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is changed.
    pub adaptation: Adaptation,
    /// How often every example is seen.
    pub n_epochs: u32,
    /// Examples that make one step.
    pub batch_size: u32,
    /// How many times the trainer's own rate.
    pub learning_rate_multiplier: f64,
    /// The same seed gives the same model, on the same machine.
    pub seed: u64,
}

/// Which weights are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adaptation {
    /// Narrow matrices beside the model's own, merged into them at the end.
    #[default]
    Lora,
    /// All of them.
    Full,
}

/// Checked examples, as JSON lines.
pub struct Examples {
    /// How many lines.
    pub count: u64,
    /// Their bytes, each line with its end; pieces may end anywhere.
    pub lines: BoxStream<'static, io::Result<Bytes>>,
}

/// A checkpoint as it was handed out.
pub struct Checkpoint {
    /// Its length.
    pub bytes: u64,
    /// Its bytes; pieces may end anywhere.
    pub content: BoxStream<'static, io::Result<Bytes>>,
}

/// What is heard of a training, in this order: progress and weights as they come; after a [`TrainingEvent::Weights`] its bytes in
/// pieces, until the next event that is none.
pub enum TrainingEvent {
    /// A step is done.
    Progress(Progress),
    /// A checkpoint or the model follows.
    Weights(WeightsHead),
    /// A piece of it.
    Piece(Bytes),
    /// All of it has come.
    Whole,
}

/// What the weights are that follow.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightsHead {
    /// How far training was when it made this checkpoint; `None` for the model, which comes last.
    pub checkpoint: Option<Progress>,
    /// Bytes in all.
    pub bytes: u64,
}

/// How far a training is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done; the first is 1.
    pub step: u64,
    /// Steps in all, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u64>,
    /// Mean loss over the step's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_loss: Option<f64>,
    /// The share of the step's tokens that the model would have said itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// Mean loss over the whole validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_loss: Option<f64>,
    /// The share of the validation set's tokens that the model would have said itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_accuracy: Option<f64>,
    /// Tokens seen so far, those of repeated examples again.
    #[serde(default)]
    pub trained_tokens: u64,
}

/// Why no model came out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainingError {
    /// Ask for one of [`Trainer::base_models`].
    #[error("the base model is unknown, or cannot be trained")]
    UnknownModel,
    /// The program cannot be started; see the configuration.
    #[error("the trainer cannot be started: {0}")]
    Start(String),
    /// Its cage cannot be built here; see the configuration.
    #[error("the trainer cannot be confined: {0}")]
    NotCaged(String),
    /// The examples or the checkpoint broke off; read them again.
    #[error("the training data could not be read to its end")]
    Data,
    /// The program says why it gave up.
    #[error("{0}")]
    Told(String),
    /// It ended before it had made a model.
    #[error("the trainer ended without a model")]
    Crashed,
    /// It was silent for too long.
    #[error("the trainer was silent for too long")]
    Hung,
    /// It took longer than a training may.
    #[error("the trainer took too long")]
    TooLong,
    /// It said more than a training may.
    #[error("the trainer said too much")]
    Flooded,
    /// What it handed out is no model.
    #[error("the trainer handed out something that is no model: {0}")]
    Garbage(String),
}

/// A running training.
pub struct Training {
    events: mpsc::Receiver<Result<TrainingEvent, TrainingError>>,
    stop: watch::Sender<bool>,
    gone: watch::Receiver<bool>,
}

impl Training {
    /// What comes next. `None` is success: the model has come, and the process has ended.
    pub async fn next(&mut self) -> Result<Option<TrainingEvent>, TrainingError> {
        self.events.recv().await.transpose()
    }

    /// Kills the process and waits until it is gone.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.events.close();
        let _ = self.gone.wait_for(|gone| *gone).await;
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl Plan {
    /// The steps that this many examples take.
    pub fn steps(&self, examples: u64) -> u64 {
        examples
            .div_ceil(u64::from(self.batch_size.max(1)))
            .saturating_mul(u64::from(self.n_epochs))
    }
}

/// What the program's hidden trainer command does; `arguments` are what follows it on the command line. Answers the code to end with.
pub fn trainer_main(arguments: Vec<OsString>) -> u8 {
    match arguments.first().and_then(|first| first.to_str()) {
        Some("teach") => teach::main(),
        Some("cage") => cage::main(arguments),
        _ => 1,
    }
}
