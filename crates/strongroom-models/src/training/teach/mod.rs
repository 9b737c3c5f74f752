//! The built-in trainer's own process: reads an order and examples from its input, teaches the decoder, hands out weights.

mod adam;
mod learner;
mod lessons;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Stdin, Stdout, Write};

use super::wire::{Order, PROTOCOL, Said};
use super::{Progress, weights};
use crate::built_in::harden_worker;
use crate::limits;
use crate::model::load::{ModelError, ModelFiles};
use crate::model::rehearsal;
use learner::Learner;
use lessons::{Lessons, Score};

/// Teaches until the model is handed out, or says why not.
pub(super) fn main() -> u8 {
    let outcome = harden_worker().map_err(TeachError::Input).and_then(|()| teach());
    let Err(error) = outcome else {
        return 0;
    };
    say(&Said::Error {
        message: error.to_string(),
    });
    1
}

/// Why no model came out; told to whoever asked for it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TeachError {
    #[error("the order cannot be followed: {0}")]
    Input(String),
    #[error("the base model cannot be loaded: {0}")]
    Model(#[from] ModelError),
    #[error("the checkpoint does not fit the order")]
    Checkpoint,
    #[error("example {line} cannot be learnt")]
    Example { line: u64 },
    #[error("nothing is left to learn: the examples are longer than the model's context")]
    Nothing,
    #[error("the loss is not a number any more; a smaller learning rate may help")]
    Diverged,
    #[error("the computation failed")]
    Computation(#[from] candle_core::Error),
    #[error("a pipe broke")]
    Pipe(#[from] io::Error),
}

/// Where training is, and all that it needs.
struct Course {
    order: Order,
    learner: Learner,
    training: Lessons,
    validation: Option<Lessons>,
    progress: Progress,
    out: BufWriter<Stdout>,
}

fn teach() -> Result<(), TeachError> {
    let mut input = BufReader::with_capacity(64 << 10, io::stdin());
    let mut line = String::new();
    input.read_line(&mut line)?;
    let order: Order =
        serde_json::from_str(&line).map_err(|_| TeachError::Input("it is not readable".to_owned()))?;
    if order.protocol != PROTOCOL {
        return Err(TeachError::Input(format!("it is not of {PROTOCOL}")));
    }
    let files = match &order.model_folder {
        None => rehearsal::files(),
        Some(folder) => ModelFiles::in_folder(folder)?,
    };
    let mut learner = Learner::new(files, &order.plan)?;
    let training = learner.lessons(&mut input, order.training_examples)?;
    let validation = match order.validation_examples {
        0 => None,
        count => Some(learner.lessons(&mut input, count)?),
    };
    if training.is_empty() {
        return Err(TeachError::Nothing);
    }
    let progress = resume(&mut input, &order, &mut learner)?;
    end_with_parent(input);
    let mut course = Course {
        progress,
        order,
        learner,
        training,
        validation,
        out: BufWriter::with_capacity(limits::WEIGHT_PIECE, io::stdout()),
    };
    course.run()
}

/// Takes up the checkpoint that follows the examples, if one does.
fn resume(input: &mut impl Read, order: &Order, learner: &mut Learner) -> Result<Progress, TeachError> {
    if order.checkpoint_bytes == 0 {
        return Ok(Progress::default());
    }
    let mut bytes = Vec::new();
    input.take(order.checkpoint_bytes).read_to_end(&mut bytes)?;
    learner.take_up(&bytes)
}

/// The parent holds the input open for as long as it wants the model.
fn end_with_parent(mut input: BufReader<Stdin>) {
    std::thread::spawn(move || {
        let _ = io::copy(&mut input, &mut io::sink());
        std::process::exit(1);
    });
}

impl Course {
    fn run(&mut self) -> Result<(), TeachError> {
        let steps = self.order.plan.steps(self.order.training_examples);
        let in_epoch = (steps / u64::from(self.order.plan.n_epochs.max(1))).max(1);
        while self.progress.step < steps {
            let step = self.progress.step;
            self.step(step, steps, in_epoch)?;
            let ends_epoch = (step + 1).is_multiple_of(in_epoch);
            if ends_epoch && let Some(validation) = &self.validation {
                let score = self.learner.measure(validation)?;
                self.progress.valid_loss = Some(score.loss());
                self.progress.valid_accuracy = Some(score.accuracy());
            }
            say(&Said::Progress(self.progress.clone()));
            if ends_epoch && step + 1 < steps {
                let tensors = self.learner.checkpoint()?;
                weights::write(&mut self.out, &tensors, Some(&self.progress))?;
            }
        }
        weights::write(&mut self.out, &self.learner.model()?, None)?;
        Ok(self.out.flush()?)
    }

    fn step(&mut self, step: u64, steps: u64, in_epoch: u64) -> Result<(), TeachError> {
        let batch = self.training.batch(
            self.order.plan.seed,
            step / in_epoch,
            step % in_epoch,
            self.order.plan.batch_size,
        );
        let score: Score = self.learner.learn(&self.training, &batch, step, steps)?;
        if !score.loss().is_finite() {
            return Err(TeachError::Diverged);
        }
        self.progress = Progress {
            step: step + 1,
            total_steps: Some(steps),
            train_loss: Some(score.loss()),
            train_accuracy: Some(score.accuracy()),
            valid_loss: None,
            valid_accuracy: None,
            trained_tokens: self.progress.trained_tokens + self.training.tokens(&batch),
        };
        Ok(())
    }
}

/// One line on stderr; if nobody reads it any more, the weights will not be read either.
fn say(said: &Said) {
    if let Ok(mut line) = serde_json::to_vec(said) {
        line.push(b'\n');
        let _ = io::stderr().write_all(&line);
    }
}
