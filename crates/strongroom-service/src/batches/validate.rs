//! The look at every line before the first is asked.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use strongroom_store::{AccountId, StoreError};

use super::lines::{Line, Lines};
use super::record::BatchRecord;
use super::task::{self, LineFault};
use crate::limits;
use crate::service::Service;

/// Looks at all lines, and notes in the record how many there are and what is wrong with them.
pub(super) async fn validate(
    service: &Service,
    account: AccountId,
    record: &mut BatchRecord,
    mut lines: Lines,
) -> Result<(), StoreError> {
    let mut seen = Seen::new();
    let mut model = None;
    record.total = 0;
    record.faults.clear();
    while let Some(line) = lines.next().await {
        let line = line?;
        record.total += 1;
        if record.total > limits::BATCH_LINES {
            let message = format!(
                "The input file has more than {} requests, the most that is accepted.",
                limits::BATCH_LINES
            );
            record.faults.clear();
            record.fault(LineFault::new("too_many_tasks", None, message), None);
            return Ok(());
        }
        let checked = check(service, account, record, &line, &mut seen, &mut model);
        if let Err(fault) = checked {
            record.fault(fault, Some(line.number));
        }
    }
    if record.total == 0 {
        let message = "The input file holds no requests.";
        record.fault(LineFault::new("empty_file", None, message), None);
    }
    Ok(())
}

fn check(
    service: &Service,
    account: AccountId,
    record: &BatchRecord,
    line: &Line,
    seen: &mut Seen,
    model: &mut Option<String>,
) -> Result<(), LineFault> {
    let text = line.text.as_ref().ok_or_else(LineFault::too_long)?;
    let task = task::read(text, record.endpoint)?;
    if !seen.is_new(&task.custom_id) {
        let message = "The custom_id for this request is a duplicate of another request's.";
        return Err(LineFault::new("duplicate_custom_id", Some("custom_id"), message));
    }
    match model {
        Some(model) if *model == task.model => Ok(()),
        Some(_) => {
            let message = "The model of this request is not that of the requests before it.";
            Err(LineFault::new("mismatched_model", Some("body.model"), message))
        }
        None if service.deployment(account, &task.model).is_err() => {
            let message = "The deployment that the model names does not exist.";
            Err(LineFault::new("model_not_found", Some("body.model"), message))
        }
        None => {
            *model = Some(task.model);
            Ok(())
        }
    }
}

/// The custom ids so far, as 128 bits each: tens of thousands of them are not kept in full.
struct Seen {
    hashers: [RandomState; 2],
    hashes: HashSet<[u64; 2]>,
}

impl Seen {
    fn new() -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            hashes: HashSet::new(),
        }
    }

    fn is_new(&mut self, id: &str) -> bool {
        let hash = self.hashers.each_ref().map(|hasher| hasher.hash_one(id));
        self.hashes.insert(hash)
    }
}
