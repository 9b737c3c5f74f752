//! Fine-tuning: jobs, their events and checkpoints. What they read and make is sealed, and they pause while the customer key is refused.

mod dataset;
mod record;
mod request;
mod results;
mod work;

use serde_json::Value;
use strongroom_store::{JobStatus, Meta, NewObject, Order, Page, Permit, Store, StoreError, Wish};

use crate::call::{Answer, Call};
use crate::files::File;
use crate::ids;
use crate::limits;
use crate::paging::{self, Paging};
use crate::problem::Problem;
use record::{JobRecord, events, events_id, find};

pub(crate) use record::KIND;
pub(crate) use work::FineTuner;

/// What an error calls it.
const WHAT: &str = "fine-tuning job";

/// `POST fine_tuning/jobs`
pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let (head, body) = call.with_json().await?;
    let service = &head.service;
    let record = request::read(service, &head.caller.account_name, &body)?;
    let (store, read) = (&service.store, head.permits.read()?);
    check_file(store, read, &record.training_file, "training_file").await?;
    if let Some(id) = &record.validation_file {
        check_file(store, read, id, "validation_file").await?;
    }
    let body = record.write();
    let new = NewObject::new(KIND, ids::fine_tuning_job(), &body);
    let (meta, _) = store.begin_job(head.permits.write()?, new, 0).await?;
    Answer::json(&record.shape(&meta, None))
}

/// A file must be there and be meant for this.
async fn check_file(store: &Store, read: &Permit, id: &str, param: &'static str) -> Result<(), Problem> {
    let file = File::find(store, read, id)
        .await
        .map_err(|problem| match problem {
            Problem::NotFound { what, id, .. } => Problem::NotFound {
                what,
                id,
                param: Some(param),
            },
            other => other,
        })?;
    if file.record.purpose == "fine-tune" {
        return Ok(());
    }
    let message = format!("Invalid '{param}': the purpose of the file must be 'fine-tune'.");
    Err(Problem::coded("invalid_file_purpose", param, message))
}

/// `GET fine_tuning/jobs`
pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let paging = Paging::read(&call.query, limits::JOBS_PAGE_DEFAULT, limits::JOBS_PAGE)?;
    let (store, read) = (&call.service.store, call.permits.read()?);
    let wanted = usize::try_from(limits::JOBS_PAGE)
        .unwrap_or(paging.limit)
        .min(paging.limit);
    let page = Page {
        after: paging.after.clone(),
        limit: u32::try_from(wanted).unwrap_or(Page::MAX),
        order: paging.order,
    };
    let listing = store.list(read, KIND, page).await.map_err(|error| match error {
        StoreError::NotFound => Problem::NotFound {
            what: WHAT,
            id: paging.after.clone().unwrap_or_default(),
            param: Some("after"),
        },
        other => other.into(),
    })?;
    let mut data = Vec::new();
    for object in &listing.objects {
        let record = JobRecord::read(object)?;
        let job = job(store, read, &object.meta).await?;
        data.push(record.shape(&object.meta, job.as_ref()));
    }
    Answer::json(&paging::list(data, listing.has_more))
}

/// `GET fine_tuning/jobs/{id}`
pub(crate) async fn get(call: Call) -> Result<Answer, Problem> {
    let (store, read) = (&call.service.store, call.permits.read()?);
    let (meta, record) = find(store, read, call.id(WHAT)?).await?;
    let job = job(store, read, &meta).await?;
    Answer::json(&record.shape(&meta, job.as_ref()))
}

/// `POST fine_tuning/jobs/{id}/cancel`
pub(crate) async fn cancel(call: Call) -> Result<Answer, Problem> {
    ask(call, Wish::Cancel).await
}

/// `POST fine_tuning/jobs/{id}/pause`
pub(crate) async fn pause(call: Call) -> Result<Answer, Problem> {
    ask(call, Wish::Hold).await
}

/// `POST fine_tuning/jobs/{id}/resume`
pub(crate) async fn resume(call: Call) -> Result<Answer, Problem> {
    ask(call, Wish::Resume).await
}

async fn ask(call: Call, wish: Wish) -> Result<Answer, Problem> {
    let (store, read) = (&call.service.store, call.permits.read()?);
    let id = call.id(WHAT)?;
    let (meta, record) = find(store, read, id).await?;
    let before = job(store, read, &meta).await?;
    let status = record.status(before.as_ref());
    if matches!(status, "succeeded" | "failed" | "cancelled") {
        let message = format!("The job is {status} already, and nothing more becomes of it.");
        return Err(Problem::malformed("job_has_ended", message));
    }
    if wish == Wish::Resume && status != "paused" {
        let message = format!("The job is {status}: only a paused one can be resumed.");
        return Err(Problem::malformed("job_is_not_paused", message));
    }
    let asked = store.ask_job_of(call.permits.write()?, KIND, id, wish).await;
    let job = asked.map_err(|error| Problem::store(error, WHAT, id))?;
    let (meta, record) = find(store, read, id).await?;
    Answer::json(&record.shape(&meta, Some(&job)))
}

/// `GET fine_tuning/jobs/{id}/events`
pub(crate) async fn list_events(call: Call) -> Result<Answer, Problem> {
    let paging = Paging::read(&call.query, limits::JOBS_PAGE_DEFAULT, limits::JOBS_PAGE)?;
    let (store, read) = (&call.service.store, call.permits.read()?);
    let (meta, record) = find(store, read, call.id(WHAT)?).await?;
    let after = match &paging.after {
        None => None,
        Some(id) => {
            let number = record::event_number(&meta.id, id).filter(|number| *number < record.events);
            Some(number.ok_or_else(|| after_nothing("event", id))?)
        }
    };
    let numbers = turned(record.events, after, &paging);
    let mut data = Vec::new();
    let mut page: Option<(String, Vec<record::Event>)> = None;
    for number in numbers.iter().copied().take(paging.limit) {
        let id = events_id(&meta.id, number);
        if page.as_ref().is_none_or(|(known, _)| *known != id) {
            let found = events(store, read, &id).await?;
            page = found.map(|(_, events)| (id, events));
        }
        let index = usize::try_from(number % limits::EVENTS_TOGETHER).unwrap_or(usize::MAX);
        let event = page.as_ref().and_then(|(_, events)| events.get(index));
        data.extend(event.map(|event| event.shape(&meta.id, number)));
    }
    Answer::json(&paging::list(data, numbers.len() > paging.limit))
}

/// `GET fine_tuning/jobs/{id}/checkpoints`
pub(crate) async fn list_checkpoints(call: Call) -> Result<Answer, Problem> {
    let paging = Paging::read(&call.query, limits::CHECKPOINTS_PAGE_DEFAULT, limits::JOBS_PAGE)?;
    let (meta, record) = find(&call.service.store, call.permits.read()?, call.id(WHAT)?).await?;
    let all: Vec<Value> = record
        .checkpoints
        .iter()
        .map(|checkpoint| checkpoint.shape(&meta.id))
        .collect();
    let after = match &paging.after {
        None => None,
        Some(id) => {
            let index = all
                .iter()
                .position(|one| one.get("id").and_then(Value::as_str) == Some(id));
            Some(index.ok_or_else(|| after_nothing("checkpoint", id))? as u64)
        }
    };
    let numbers = turned(all.len() as u64, after, &paging);
    let data = numbers.iter().take(paging.limit);
    let data = data.filter_map(|number| all.get(usize::try_from(*number).ok()?).cloned());
    Answer::json(&paging::list(data.collect(), numbers.len() > paging.limit))
}

/// The numbers below `count` in the order that is asked for, those after `after`, one more than the page has.
fn turned(count: u64, after: Option<u64>, paging: &Paging) -> Vec<u64> {
    let one_more = paging.limit.saturating_add(1);
    match paging.order {
        Order::Asc => (after.map_or(0, |after| after + 1)..count)
            .take(one_more)
            .collect(),
        Order::Desc => (0..after.unwrap_or(count)).rev().take(one_more).collect(),
    }
}

fn after_nothing(what: &'static str, id: &str) -> Problem {
    Problem::NotFound {
        what,
        id: id.to_owned(),
        param: Some("after"),
    }
}

/// How the work on it stands.
async fn job(store: &Store, read: &Permit, meta: &Meta) -> Result<Option<JobStatus>, StoreError> {
    match store.job_of(read, KIND, &meta.id).await {
        Ok(job) => Ok(Some(job)),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a job's work hears in place of a caller: a refused key pauses it, anything else is tried again.
fn store_error(problem: Problem) -> StoreError {
    match problem {
        Problem::Key(denied) => StoreError::Key(denied),
        Problem::NotFound { .. } => StoreError::NotFound,
        _ => StoreError::Busy,
    }
}
