//! Engines that answer: upstream servers and a built-in model.
//!
//! An [`Engine`] speaks OpenAI's shapes as JSON objects and knows neither storage, keys nor routes. There are two kinds:
//! [`Upstream`] passes requests to any OpenAI-compatible server; [`BuiltIn`] keeps a small decoder in a worker process
//! of its own, so that stopping it provably removes the opened weights from memory.
//!
//! A [`Trainer`] makes models: [`BuiltInTrainer`] teaches that decoder in a process of its own; [`CommandTrainer`] runs any
//! program, in a cage.

mod built_in;
mod clock;
mod engine;
mod limits;
mod model;
mod random;
mod train;
mod training;
mod upstream;
mod weights;

pub use built_in::{BuiltIn, BuiltInConfig, LoadError, ModelSource, REHEARSAL_MODEL, Tuned, worker_main};
pub use engine::{BoxFuture, BoxStream, ChunkStream, Engine, EngineError, ModelCard, Object};
pub use train::{TrainError, train_rehearsal};
pub use training::{
    Adaptation, BaseModel, BuiltInTrainer, Checkpoint, CommandConfig, CommandTrainer, EXAMPLE_BYTES,
    ExampleFault, Examples, NotCaged, Plan, Progress, Trainer, TrainerProgram, Training, TrainingError,
    TrainingEvent, TrainingOrder, WeightsHead, trainer_main,
};
pub use upstream::{ApiKey, Timeouts, Upstream, UpstreamConfig, UpstreamConfigError};
pub use weights::{OpenWeights, WeightSource, WeightsCheck, WeightsError, Withheld};
