//! Any program as a trainer.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::built_in::find;
use super::cage::{self, Caging, NotCaged};
use super::example::{self, Tools};
use super::program::{self, Program};
use super::{BaseModel, ExampleFault, Trainer, TrainerProgram, Training, TrainingError, TrainingOrder};
use crate::built_in::ModelSource;
use crate::limits;

/// A program that trains, and how it is confined.
#[derive(Clone, Debug)]
pub struct CommandConfig {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// The models that it may be asked to train.
    pub models: Vec<BaseModel>,
    /// What builds the cage.
    pub cage: TrainerProgram,
    /// Folders that it must not even read, such as the one with the vault's key.
    pub hidden: Vec<PathBuf>,
    /// Whether it may use the network.
    pub network: bool,
    /// Whether it runs without a cage: it may then write what it likes wherever it likes.
    pub insecure: bool,
    /// How long it may be silent.
    pub silence: Duration,
    /// How long a training may take.
    pub total: Duration,
}

impl CommandConfig {
    /// The defaults: caged, without network.
    pub fn new(command: Vec<OsString>, models: Vec<BaseModel>, cage: TrainerProgram) -> Self {
        Self {
            command,
            models,
            cage,
            hidden: Vec::new(),
            network: false,
            insecure: false,
            silence: limits::TRAINER_SILENCE,
            total: limits::TRAINER_TOTAL,
        }
    }
}

/// Trains by a program of the user's.
pub struct CommandTrainer {
    config: CommandConfig,
}

impl CommandTrainer {
    /// Tries whether the cage can be built here, and takes the configuration if so, or if it asks for none.
    pub async fn new(config: CommandConfig) -> Result<Self, NotCaged> {
        let trainer = Self { config };
        if !trainer.config.insecure {
            trainer.try_cage().await?;
        }
        Ok(trainer)
    }

    async fn try_cage(&self) -> Result<(), NotCaged> {
        let failed = |reason: String| NotCaged { reason };
        let mut command = Command::new(&self.config.cage.program);
        command
            .args(self.arguments(&ModelSource::Rehearsal, true))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let output = timeout(limits::CAGE_TRY, command.output())
            .await
            .map_err(|_| failed("it takes too long to build".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed(cage::reason(&output.stderr))),
        }
    }

    fn arguments(&self, source: &ModelSource, only_try: bool) -> Vec<OsString> {
        let caging = Caging {
            open: self.config.insecure,
            only_try,
            network: self.config.network,
            rehearsal: *source == ModelSource::Rehearsal,
            hidden: self.config.hidden.clone(),
            command: self.config.command.clone(),
        };
        let mut arguments = self.config.cage.arguments.clone();
        arguments.extend(caging.arguments());
        arguments
    }
}

impl Trainer for CommandTrainer {
    fn base_models(&self) -> Vec<String> {
        self.config
            .models
            .iter()
            .map(|model| model.name.clone())
            .collect()
    }

    fn check(&self, line: &[u8]) -> Result<(), ExampleFault> {
        example::check(line, Tools::Learnt)
    }

    fn start(&self, order: TrainingOrder) -> Result<Training, TrainingError> {
        let model = find(&self.config.models, &order.base_model)?;
        let model_folder = match &model.source {
            ModelSource::Folder(folder) => Some(folder.clone()),
            // It is a part of this program, and the cage lays it out in its memory.
            ModelSource::Rehearsal if self.config.insecure => None,
            ModelSource::Rehearsal => Some(Path::new(cage::REHEARSAL).to_owned()),
        };
        let program = Program {
            program: self.config.cage.program.clone(),
            arguments: self.arguments(&model.source, false),
            environment: cage::environment(),
            ends_input: true,
            model_folder,
            silence: self.config.silence,
            total: self.config.total,
        };
        program::start(program, &model.source, order)
    }
}
