//! The file of results: what each step measured, as CSV.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use strongroom_models::Progress;
use strongroom_store::{JobTurn, StoreError};

use super::record::{JobRecord, events, events_id};
use crate::files::{File, Whole};
use crate::limits;
use crate::problem::Problem;

const HEAD: &str = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n";

/// Stores the file, unless a turn that was cut off has.
pub(super) async fn store(turn: &JobTurn, record: &JobRecord) -> Result<(), StoreError> {
    let (store, write) = (turn.store(), turn.write());
    match File::find(store, turn.read(), &record.result_id).await {
        Ok(_) => return Ok(()),
        Err(Problem::NotFound { .. }) => {}
        Err(problem) => return Err(super::store_error(problem)),
    }
    let text = csv(turn, record.events).await?;
    let mut file = Whole::begin(store, write, &record.result_id).await?;
    file.writer().write(text.into()).await?;
    let (name, purpose) = ("step_metrics.csv".to_owned(), "fine-tune-results".to_owned());
    file.put(name, purpose, None)
        .await
        .map(drop)
        .map_err(super::store_error)
}

/// A step that was repeated after a stop counts as it was measured last.
async fn csv(turn: &JobTurn, events_in_all: u64) -> Result<String, StoreError> {
    let mut steps: BTreeMap<u64, Progress> = BTreeMap::new();
    let mut number = 0;
    while number < events_in_all {
        let id = events_id(turn.object(), number);
        if let Some((_, page)) = events(turn.store(), turn.read(), &id).await? {
            let progress = page.into_iter().filter_map(|event| event.progress);
            steps.extend(progress.map(|progress| (progress.step, progress)));
        }
        number += limits::EVENTS_TOGETHER;
    }
    let mut text = HEAD.to_owned();
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    for progress in steps.values() {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{}",
            progress.step,
            number(progress.train_loss),
            number(progress.train_accuracy),
            number(progress.valid_loss),
            number(progress.valid_accuracy)
        );
    }
    Ok(text)
}
