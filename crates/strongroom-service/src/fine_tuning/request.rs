//! What a caller asks a fine-tuning job to be.

use serde_json::{Map, Value};
use strongroom_models::Adaptation;

use super::record::{Asked, JobRecord, Phase};
use crate::call::is_id;
use crate::fields::{self, Fields};
use crate::fine_tuned;
use crate::ids;
use crate::limits;
use crate::problem::Problem;
use crate::service::{Service, shown};

const KNOWN: [&str; 11] = [
    "model",
    "training_file",
    "validation_file",
    "hyperparameters",
    "method",
    "suffix",
    "seed",
    "metadata",
    "integrations",
    "user",
    "trainingType",
];

/// Reads the body of a creation.
pub(super) fn read(service: &Service, owner: &str, body: &Map<String, Value>) -> Result<JobRecord, Problem> {
    if let Some(unknown) = body.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        let name = shown(unknown);
        return Err(Problem::coded(
            "unknown_parameter",
            name.clone(),
            format!("Unknown parameter: '{name}'."),
        ));
    }
    let fields = Fields(body);
    let base = fields.required_string("model")?;
    if !service
        .trainers
        .iter()
        .any(|trainer| trainer.base_models().iter().any(|model| model == base))
    {
        let message = format!(
            "Model {} is not available for fine-tuning or does not exist.",
            shown(base)
        );
        return Err(Problem::coded("model_not_available", "model", message));
    }
    if fields.array("integrations")?.is_some_and(|all| !all.is_empty()) {
        return Err(fields::unsupported(
            "integrations",
            "'integrations' are not offered here.",
        ));
    }
    let suffix = fields.string("suffix")?;
    fine_tuned::check_suffix(suffix)?;
    Ok(JobRecord {
        base: base.to_owned(),
        owner: owner.to_owned(),
        training_file: file_id(&fields, "training_file")?.ok_or_else(|| fields::missing("training_file"))?,
        validation_file: file_id(&fields, "validation_file")?,
        asked: asked(&fields)?,
        suffix: suffix.map(str::to_owned),
        seed: match fields.integer("seed", 0)? {
            Some(seed) if seed <= limits::SEED => seed,
            Some(_) => {
                let most = limits::SEED;
                return Err(Problem::invalid(
                    "seed",
                    format!("Invalid 'seed': it must be at most {most}."),
                ));
            }
            None => uuid::Uuid::new_v4().as_u64_pair().0 & limits::SEED,
        },
        metadata: fields.metadata()?,
        phase: Phase::ValidatingFiles,
        checked: None,
        error: None,
        model_id: fine_tuned::new_id(),
        result_id: ids::file(),
        model: None,
        has_results: false,
        trained_tokens: None,
        finished_at: None,
        checkpoints: Vec::new(),
        events: 0,
    })
}

/// What cannot be an id is a file that does not exist.
fn file_id(fields: &Fields<'_>, name: &'static str) -> Result<Option<String>, Problem> {
    match fields.string(name)? {
        None | Some("") => Ok(None),
        Some(id) if is_id(id) => Ok(Some(id.to_owned())),
        Some(id) => Err(Problem::NotFound {
            what: "File object",
            id: shown(id),
            param: Some(name),
        }),
    }
}

/// Hyperparameters stand in `method`, or, as they did before there were methods, beside it.
fn asked(fields: &Fields<'_>) -> Result<Asked, Problem> {
    let beside = fields.object("hyperparameters")?;
    let method = fields.object("method")?;
    let within = match method {
        None => None,
        Some(method) => {
            let method = Fields(method);
            match method.string("type")? {
                Some("supervised") => {}
                None => return Err(fields::missing("method.type")),
                Some(_) => {
                    return Err(fields::unsupported(
                        "method.type",
                        "Only the method 'supervised' is offered here.",
                    ));
                }
            }
            match method.object("supervised")? {
                None => None,
                Some(supervised) => Fields(supervised).object("hyperparameters")?,
            }
        }
    };
    match within.or(beside) {
        None => Ok(Asked::default()),
        Some(given) => hyperparameters(given),
    }
}

fn hyperparameters(given: &Map<String, Value>) -> Result<Asked, Problem> {
    let known = ["n_epochs", "batch_size", "learning_rate_multiplier", "adaptation"];
    if let Some(unknown) = given.keys().find(|key| !known.contains(&key.as_str())) {
        let name = format!("hyperparameters.{}", shown(unknown));
        let message = format!("Unknown parameter: '{name}'.");
        return Err(Problem::coded("unknown_parameter", name, message));
    }
    Ok(Asked {
        n_epochs: count(given, "hyperparameters.n_epochs", limits::EPOCHS)?,
        batch_size: count(given, "hyperparameters.batch_size", limits::BATCH)?,
        learning_rate_multiplier: number(given, "hyperparameters.learning_rate_multiplier")?,
        adaptation: match given.get("adaptation").filter(|value| !value.is_null()) {
            None => Adaptation::default(),
            Some(value) => serde_json::from_value(value.clone()).map_err(|_| {
                let message = "Invalid 'hyperparameters.adaptation': it must be 'lora' or 'full'.";
                Problem::invalid("hyperparameters.adaptation", message)
            })?,
        },
    })
}

fn open<'a>(given: &'a Map<String, Value>, name: &'static str) -> Option<&'a Value> {
    let key = name.rsplit('.').next().unwrap_or(name);
    let value = given.get(key).filter(|value| !value.is_null());
    value.filter(|value| value.as_str() != Some("auto"))
}

fn count(given: &Map<String, Value>, name: &'static str, most: u32) -> Result<Option<u32>, Problem> {
    let Some(value) = open(given, name) else {
        return Ok(None);
    };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| (1..=most).contains(number))
        .map(Some)
        .ok_or_else(|| {
            let message = format!("Invalid '{name}': it must be 'auto' or a whole number from 1 to {most}.");
            Problem::invalid(name, message)
        })
}

fn number(given: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, Problem> {
    let Some(value) = open(given, name) else {
        return Ok(None);
    };
    let most = limits::RATE;
    value
        .as_f64()
        .filter(|number| *number > 0.0 && *number <= most)
        .map(Some)
        .ok_or_else(|| {
            let message =
                format!("Invalid '{name}': it must be 'auto' or a number above 0 and at most {most}.");
            Problem::invalid(name, message)
        })
}
