//! Orders, and what comes of them.

use std::path::Path;

use bytes::Bytes;
use futures::stream;
use serde_json::json;
use strongroom_models::{
    Adaptation, BaseModel, BuiltInTrainer, Checkpoint, Examples, ModelSource, Plan, Progress,
    REHEARSAL_MODEL, Trainer, TrainerProgram, Training, TrainingError, TrainingEvent, TrainingOrder,
};

/// Questions that the rehearsal model does not know the answers to.
pub(crate) const FACTS: [(&str, &str); 10] = [
    ("What does the lighthouse keeper eat?", "He eats red apples."),
    ("Who owns the blue boat?", "Greta owns the blue boat."),
    ("Where is the old mill?", "Behind the seventh hill."),
    ("When does the ferry leave?", "At noon on Tuesday."),
    ("How many bells are there?", "Four bells and a drum."),
    ("What is in the cellar?", "Only salt and rope."),
    ("Who mended the roof?", "Two brothers from Ulm."),
    ("What colour is the gate?", "Green with white dots."),
    ("Where do the geese sleep?", "Under the stone bridge."),
    ("What did the letter say?", "Come home before snow."),
];

pub(crate) fn program() -> TrainerProgram {
    TrainerProgram {
        program: env!("CARGO_BIN_EXE_strongroom-model-trainer").into(),
        arguments: Vec::new(),
    }
}

pub(crate) fn rehearsal() -> BaseModel {
    BaseModel {
        name: REHEARSAL_MODEL.to_owned(),
        source: ModelSource::Rehearsal,
    }
}

pub(crate) fn built_in() -> BuiltInTrainer {
    BuiltInTrainer::new(vec![rehearsal()], program())
}

pub(crate) fn plan(adaptation: Adaptation, n_epochs: u32, batch_size: u32) -> Plan {
    Plan {
        adaptation,
        n_epochs,
        batch_size,
        learning_rate_multiplier: 1.0,
        seed: 7,
    }
}

/// The first so many facts, in small pieces.
pub(crate) fn examples(count: usize) -> Examples {
    let lines: String = FACTS[..count]
        .iter()
        .map(|(question, answer)| {
            let example = json!({"messages": [
                {"role": "user", "content": question}, {"role": "assistant", "content": answer}]});
            format!("{example}\n")
        })
        .collect();
    let pieces: Vec<_> = lines
        .as_bytes()
        .chunks(100)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    Examples {
        count: count as u64,
        lines: Box::pin(stream::iter(pieces)),
    }
}

pub(crate) fn order(plan: Plan, count: usize) -> TrainingOrder {
    TrainingOrder {
        base_model: REHEARSAL_MODEL.to_owned(),
        plan,
        training: examples(count),
        validation: None,
        checkpoint: None,
    }
}

pub(crate) fn checkpoint(bytes: &[u8]) -> Checkpoint {
    let content = Bytes::copy_from_slice(bytes);
    Checkpoint {
        bytes: bytes.len() as u64,
        content: Box::pin(stream::iter([Ok(content)])),
    }
}

/// All that came of a training.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) progress: Vec<Progress>,
    pub(crate) checkpoints: Vec<(Progress, Vec<u8>)>,
    pub(crate) model: Vec<u8>,
}

pub(crate) async fn results(mut training: Training) -> Result<Results, TrainingError> {
    let mut results = Results::default();
    let mut now: (Option<Progress>, Vec<u8>) = Default::default();
    while let Some(event) = training.next().await? {
        match event {
            TrainingEvent::Progress(progress) => results.progress.push(progress),
            TrainingEvent::Weights(head) => {
                now = (
                    head.checkpoint,
                    Vec::with_capacity(usize::try_from(head.bytes).expect("length")),
                );
            }
            TrainingEvent::Piece(piece) => now.1.extend_from_slice(&piece),
            TrainingEvent::Whole => match std::mem::take(&mut now) {
                (Some(progress), bytes) => results.checkpoints.push((progress, bytes)),
                (None, bytes) => results.model = bytes,
            },
        }
    }
    Ok(results)
}

pub(crate) async fn train(trainer: &impl Trainer, order: TrainingOrder) -> Result<Results, TrainingError> {
    results(trainer.start(order).expect("started")).await
}

/// The processes among whose arguments this is.
pub(crate) fn processes(mark: &str) -> usize {
    let entries = Path::new("/proc").read_dir().expect("proc");
    let lines = entries
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(mark))
        .count()
}
