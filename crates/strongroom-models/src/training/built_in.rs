//! The trainer that comes along: this program, teaching the built-in decoder on the CPU.

use super::example::{self, Tools};
use super::program::{self, Program};
use super::{BaseModel, ExampleFault, Trainer, TrainerProgram, Training, TrainingError, TrainingOrder};
use crate::built_in::ModelSource;
use crate::limits;

/// Trains the built-in models in a process of its own.
pub struct BuiltInTrainer {
    models: Vec<BaseModel>,
    program: TrainerProgram,
}

impl BuiltInTrainer {
    /// A trainer of these models.
    pub fn new(models: Vec<BaseModel>, program: TrainerProgram) -> Self {
        Self { models, program }
    }
}

impl Trainer for BuiltInTrainer {
    fn base_models(&self) -> Vec<String> {
        self.models.iter().map(|model| model.name.clone()).collect()
    }

    fn check(&self, line: &[u8]) -> Result<(), ExampleFault> {
        example::check(line, Tools::Refused)
    }

    fn start(&self, order: TrainingOrder) -> Result<Training, TrainingError> {
        let model = find(&self.models, &order.base_model)?;
        let mut arguments = self.program.arguments.clone();
        arguments.push("teach".into());
        let program = Program {
            program: self.program.program.clone(),
            arguments,
            environment: Vec::new(),
            ends_input: false,
            model_folder: match &model.source {
                ModelSource::Rehearsal => None,
                ModelSource::Folder(folder) => Some(folder.clone()),
            },
            silence: limits::TRAINER_SILENCE,
            total: limits::TRAINER_TOTAL,
        };
        program::start(program, &model.source, order)
    }
}

pub(super) fn find<'a>(models: &'a [BaseModel], name: &str) -> Result<&'a BaseModel, TrainingError> {
    let model = models.iter().find(|model| model.name == name);
    model.ok_or(TrainingError::UnknownModel)
}
