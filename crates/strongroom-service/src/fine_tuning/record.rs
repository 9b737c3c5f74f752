//! A fine-tuning job as it is stored: one sealed record, and its events in sealed records of many.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strongroom_models::{Adaptation, Plan, Progress};
use strongroom_store::{JobState, JobStatus, Meta, Object, Permit, Store, StoreError, Wish};
use zeroize::Zeroizing;

use super::WHAT;
use crate::limits;
use crate::problem::Problem;

/// The kind under which jobs are stored, and the kind of the jobs that work on them.
pub(crate) const KIND: &str = "fine_tuning_job";
/// The kind of records that hold events.
pub(crate) const EVENTS: &str = "fine_tuning_events";

/// All that is known of a job.
#[derive(Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) base: String,
    /// The account's name.
    pub(crate) owner: String,
    pub(crate) training_file: String,
    pub(crate) validation_file: Option<String>,
    pub(crate) asked: Asked,
    pub(crate) suffix: Option<String>,
    pub(crate) seed: u64,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) phase: Phase,
    /// What is known once the files are checked.
    pub(crate) checked: Option<Checked>,
    pub(crate) error: Option<JobError>,
    /// The id that the model will have, so that a job that is taken up again after a stop makes no second one.
    pub(crate) model_id: String,
    /// The same for the file of results.
    pub(crate) result_id: String,
    /// The model's name.
    pub(crate) model: Option<String>,
    pub(crate) has_results: bool,
    pub(crate) trained_tokens: Option<u64>,
    pub(crate) finished_at: Option<u64>,
    /// Oldest first.
    pub(crate) checkpoints: Vec<CheckpointRecord>,
    /// How many events there are.
    pub(crate) events: u64,
}

/// Hyperparameters as they were asked for; what is missing is chosen by the size of the training set.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) n_epochs: Option<u32>,
    pub(crate) batch_size: Option<u32>,
    pub(crate) learning_rate_multiplier: Option<f64>,
    pub(crate) adaptation: Adaptation,
}

/// How far a job is, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    ValidatingFiles,
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// What the check of the files found.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Checked {
    pub(crate) training: u64,
    pub(crate) validation: u64,
    pub(crate) plan: Plan,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct JobError {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct CheckpointRecord {
    /// What the store knows its weights by.
    pub(crate) id: String,
    /// The name under which it can be deployed.
    pub(crate) model: String,
    pub(crate) created: u64,
    pub(crate) progress: Progress,
}

/// One event.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) progress: Option<Progress>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

impl Asked {
    /// Decides what was left open.
    pub(crate) fn plan(&self, examples: u64, seed: u64) -> Plan {
        let few = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Plan {
            adaptation: self.adaptation,
            n_epochs: self
                .n_epochs
                .unwrap_or_else(|| few((150 / examples.max(1)).clamp(3, 12))),
            batch_size: self
                .batch_size
                .unwrap_or_else(|| few((examples / 50).clamp(1, 16))),
            learning_rate_multiplier: self.learning_rate_multiplier.unwrap_or(1.0),
            seed,
        }
    }
}

impl JobRecord {
    pub(crate) fn read(object: &Object) -> Result<Self, StoreError> {
        serde_json::from_slice(&object.body)
            .map_err(|_| StoreError::Corrupt(strongroom_store::Corruption::Format))
    }

    pub(crate) fn write(&self) -> Zeroizing<Vec<u8>> {
        bytes(self)
    }

    /// The official job object.
    pub(crate) fn shape(&self, meta: &Meta, job: Option<&JobStatus>) -> Value {
        let plan = self.checked.map(|checked| checked.plan);
        let hyperparameters = json!({
            "n_epochs": auto(plan.map(|plan| plan.n_epochs).or(self.asked.n_epochs)),
            "batch_size": auto(plan.map(|plan| plan.batch_size).or(self.asked.batch_size)),
            "learning_rate_multiplier":
                auto(plan.map(|plan| plan.learning_rate_multiplier).or(self.asked.learning_rate_multiplier)),
            "adaptation": self.asked.adaptation,
        });
        let results: Vec<&str> = self
            .has_results
            .then_some(self.result_id.as_str())
            .into_iter()
            .collect();
        json!({
            "id": meta.id,
            "object": "fine_tuning.job",
            "created_at": meta.created(),
            "finished_at": self.finished_at,
            "estimated_finish": null,
            "status": self.status(job),
            "model": self.base,
            "fine_tuned_model": self.model,
            "organization_id": self.owner,
            "training_file": self.training_file,
            "validation_file": self.validation_file,
            "result_files": results,
            "trained_tokens": self.trained_tokens,
            "hyperparameters": hyperparameters,
            "method": { "type": "supervised", "supervised": { "hyperparameters": hyperparameters } },
            "seed": self.seed,
            "user_provided_suffix": self.suffix,
            "integrations": [],
            "metadata": self.metadata,
            "error": self.error.as_ref().map(|error| {
                json!({ "code": error.code, "message": error.message, "param": error.param })
            }),
        })
    }

    /// How far it is. What is asked of it counts at once, though whoever works on it has yet to hear.
    pub(crate) fn status(&self, job: Option<&JobStatus>) -> &'static str {
        match self.phase {
            Phase::Succeeded => return "succeeded",
            Phase::Failed => return "failed",
            Phase::Cancelled => return "cancelled",
            Phase::ValidatingFiles | Phase::Queued | Phase::Running => {}
        }
        match job.map(|job| (job.wish, job.state)) {
            Some((Some(Wish::Cancel), _) | (_, JobState::Cancelled)) => return "cancelled",
            Some((Some(Wish::Hold), _) | (_, JobState::Held | JobState::Paused)) => return "paused",
            _ => {}
        }
        match self.phase {
            Phase::ValidatingFiles => "validating_files",
            Phase::Queued => "queued",
            _ => "running",
        }
    }
}

impl CheckpointRecord {
    /// The official checkpoint object.
    pub(crate) fn shape(&self, job: &str) -> Value {
        let Progress {
            step,
            train_loss,
            train_accuracy,
            valid_loss,
            valid_accuracy,
            ..
        } = self.progress;
        let mut metrics = Map::new();
        for (name, value) in [
            ("train_loss", train_loss),
            ("train_mean_token_accuracy", train_accuracy),
            ("valid_loss", valid_loss),
            ("valid_mean_token_accuracy", valid_accuracy),
            ("full_valid_loss", valid_loss),
            ("full_valid_mean_token_accuracy", valid_accuracy),
        ] {
            if let Some(value) = value {
                metrics.insert(name.to_owned(), json!(value));
            }
        }
        metrics.insert("step".to_owned(), json!(step));
        json!({
            "id": format!("ftckpt_{}", self.id),
            "object": "fine_tuning.job.checkpoint",
            "created_at": self.created,
            "fine_tuned_model_checkpoint": self.model,
            "fine_tuning_job_id": job,
            "step_number": step,
            "metrics": metrics,
        })
    }
}

impl Event {
    /// The official event object.
    pub(crate) fn shape(&self, job: &str, number: u64) -> Value {
        let data = self.progress.as_ref().map(|progress| {
            json!({
                "step": progress.step,
                "total_steps": progress.total_steps,
                "train_loss": progress.train_loss,
                "train_mean_token_accuracy": progress.train_accuracy,
                "valid_loss": progress.valid_loss,
                "valid_mean_token_accuracy": progress.valid_accuracy,
            })
        });
        json!({
            "id": event_id(job, number),
            "object": "fine_tuning.job.event",
            "created_at": self.at,
            "level": self.level,
            "message": self.message,
            "type": if data.is_some() { "metrics" } else { "message" },
            "data": data,
        })
    }
}

/// Finds a job.
pub(crate) async fn find(store: &Store, read: &Permit, id: &str) -> Result<(Meta, JobRecord), Problem> {
    let missing = |error| Problem::store(error, WHAT, id);
    let object = store.get(read, KIND, id).await.map_err(missing)?;
    let record = JobRecord::read(&object)?;
    Ok((object.meta, record))
}

/// Which record of events a number is in.
pub(crate) fn events_id(job: &str, number: u64) -> String {
    format!("{job}-{}", number / limits::EVENTS_TOGETHER)
}

/// The events in one record; none, if there is none yet.
pub(crate) async fn events(
    store: &Store,
    read: &Permit,
    id: &str,
) -> Result<Option<(Meta, Vec<Event>)>, StoreError> {
    let object = match store.get(read, EVENTS, id).await {
        Err(StoreError::NotFound) => return Ok(None),
        other => other?,
    };
    let events = serde_json::from_slice(&object.body)
        .map_err(|_| StoreError::Corrupt(strongroom_store::Corruption::Format))?;
    Ok(Some((object.meta, events)))
}

/// What is to be sealed. Made of strings and numbers, it always can be written.
pub(crate) fn bytes(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(value).unwrap_or_default())
}

/// An event's id: its job's, and its number.
fn event_id(job: &str, number: u64) -> String {
    let job = job.strip_prefix("ftjob-").unwrap_or(job);
    format!("ftevent-{job}-{number}")
}

/// The number in an event's id, if it is of this job.
pub(crate) fn event_number(job: &str, id: &str) -> Option<u64> {
    let number = id.rsplit_once('-')?.1.parse().ok()?;
    (event_id(job, number) == id).then_some(number)
}

fn auto<T: Serialize>(value: Option<T>) -> Value {
    value.map_or_else(|| json!("auto"), |value| json!(value))
}
