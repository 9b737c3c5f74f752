//! What is said on a trainer's pipes, beside examples and weights.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Plan, Progress};
use crate::limits;

/// The name and version of the protocol.
pub(super) const PROTOCOL: &str = "strongroom-trainer-1";

/// The first line that a trainer reads.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) protocol: String,
    pub(super) base_model: String,
    /// A folder in Hugging Face's layout; without it the trainer knows the model by its name.
    pub(super) model_folder: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) plan: Plan,
    /// Lines that follow.
    pub(super) training_examples: u64,
    /// Lines that follow those.
    pub(super) validation_examples: u64,
    /// Bytes that follow those: a checkpoint that the trainer handed out before.
    pub(super) checkpoint_bytes: u64,
}

/// A line that a trainer says.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Said {
    Progress(Progress),
    /// It gives up.
    Error {
        message: String,
    },
    /// The cage could not be built; nothing was run.
    NotCaged {
        message: String,
    },
}

impl Said {
    /// `None` for a line that is not of the protocol, such as a warning of some library.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let mut said = serde_json::from_slice(line).ok()?;
        if let Self::Error { message } | Self::NotCaged { message } = &mut said {
            *message = message
                .chars()
                .filter(|letter| !letter.is_control())
                .take(limits::TRAINER_MESSAGE)
                .collect();
        }
        match &said {
            Self::Progress(progress) if !progress.is_finite() => None,
            _ => Some(said),
        }
    }
}

impl Progress {
    fn is_finite(&self) -> bool {
        [
            self.train_loss,
            self.train_accuracy,
            self.valid_loss,
            self.valid_accuracy,
        ]
        .into_iter()
        .flatten()
        .all(f64::is_finite)
    }
}
