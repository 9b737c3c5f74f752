//! Batches: many requests in one file, answered in the background into two others.
//!
//! A batch is a record and the job that works on it; `work` says how. While it runs its results stand in files that nobody sees yet, in pieces that are not
//! rewritten when it ends.

mod ask;
mod lines;
mod record;
mod results;
mod task;
mod validate;
mod work;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use strongroom_store::{NewObject, Object, Page, Permit, Store, Wish};

use self::record::{BatchRecord, LineRights, Made, When};
use self::task::Endpoint;
use crate::auth::{Act, Right};
use crate::call::{Answer, Call, CallHead};
use crate::fields::{self, Fields};
use crate::files::File;
use crate::ids;
use crate::limits;
use crate::paging::{self, Paging};
use crate::problem::Problem;
use crate::service::Service;

/// The kind under which batches are stored, and of the jobs that work on them.
const KIND: &str = "batch";
/// What an error calls it.
const WHAT: &str = "batch";
/// What the file with the requests must be for.
const PURPOSE: &str = "batch";
/// The one window that is offered; how long it is say the limits.
const WINDOW: &str = "24h";

/// Has the store's engine work on batches, for as long as the service lives.
pub(crate) fn register(service: &Arc<Service>) {
    let handler = Arc::new(work::Batches {
        service: Arc::downgrade(service),
    });
    service
        .store
        .register(&service.permits, KIND, limits::BATCHES_AT_ONCE, handler);
}

/// `POST batches`
pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let (head, request) = call.with_json().await?;
    let fields = Fields(&request);
    let endpoint = endpoint(fields)?;
    let rights = rights(&head, endpoint)?;
    window(fields)?;
    let metadata = fields.metadata()?;
    let retention = head.service.retention(head.account()).batches;
    let output_life = output_life(fields)?;
    let output_life = retention.map_or(output_life, |most| output_life.min(most));
    let input = input(&head, fields.required_string("input_file_id")?).await?;
    let id = ids::batch();
    let record = BatchRecord::new(Made {
        endpoint,
        input: input.meta.id,
        metadata,
        window: head.service.limits.batch_window,
        output_life,
        rights,
        files: (ids::file(), ids::file()),
    });
    let body = record.write()?;
    let new = NewObject::new(KIND, id, &body);
    let (meta, _) = head
        .service
        .store
        .begin_job(head.permits.write()?, new, 0)
        .await?;
    Answer::json(&record.show(&meta.id, meta.created(), None))
}

/// `GET batches/{id}`
pub(crate) async fn get(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let (store, permit) = (&call.service.store, call.permits.read()?);
    let missing = |error| Problem::store(error, WHAT, id);
    let object = store.get(permit, KIND, id).await.map_err(missing)?;
    Answer::json(&show(store, permit, &object).await?)
}

/// `GET batches`
pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let paging = Paging::read(&call.query, limits::BATCHES_PAGE_DEFAULT, limits::BATCHES_PAGE)?;
    let (store, permit) = (&call.service.store, call.permits.read()?);
    let page = Page {
        after: paging.after.clone(),
        limit: u32::try_from(paging.limit).unwrap_or(limits::BATCHES_PAGE),
        order: paging.order,
    };
    let listing = store.list(permit, KIND, page).await;
    let listing = listing.map_err(|error| match Problem::store(error, WHAT, "") {
        Problem::NotFound { what, .. } => Problem::NotFound {
            what,
            id: paging.after.clone().unwrap_or_default(),
            param: Some("after"),
        },
        other => other,
    })?;
    let mut data = Vec::with_capacity(listing.objects.len());
    for object in &listing.objects {
        data.push(show(store, permit, object).await?);
    }
    Answer::json(&paging::list(data, listing.has_more))
}

/// `POST batches/{id}/cancel`
pub(crate) async fn cancel(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let (store, read, write) = (&call.service.store, call.permits.read()?, call.permits.write()?);
    let missing = |error| Problem::store(error, WHAT, id);
    let found = BatchRecord::read(&store.get(read, KIND, id).await.map_err(missing)?)?;
    if found.status.is_end() {
        let message = format!("Cannot cancel a batch with status '{}'.", found.status.as_str());
        return Err(Problem::malformed("batch_not_cancellable", message));
    }
    store
        .ask_job_of(write, KIND, id, Wish::Cancel)
        .await
        .map_err(missing)?;
    // It may have ended meanwhile: what is told is what it is now.
    let object = store.get(read, KIND, id).await.map_err(missing)?;
    Answer::json(&show(store, read, &object).await?)
}

async fn show(store: &Store, permit: &Permit, object: &Object) -> Result<Value, Problem> {
    let record = BatchRecord::read(object)?;
    let meta = &object.meta;
    let asked = if record.status.is_end() {
        None
    } else {
        let job = store.job_of(permit, KIND, &meta.id).await;
        job.map_err(|error| Problem::store(error, WHAT, &meta.id))?.wish
    };
    Ok(record.show(&meta.id, meta.created(), asked))
}

fn endpoint(fields: Fields<'_>) -> Result<Endpoint, Problem> {
    const NAME: &str = "endpoint";
    let name = fields.required_string(NAME)?;
    Endpoint::parse(name).ok_or_else(|| {
        let known = Endpoint::ALL
            .map(|endpoint| format!("'{}'", endpoint.path()))
            .join(", ");
        Problem::invalid(NAME, format!("Invalid 'endpoint': it must be one of {known}."))
    })
}

fn window(fields: Fields<'_>) -> Result<(), Problem> {
    const NAME: &str = "completion_window";
    if fields.required_string(NAME)? == WINDOW {
        return Ok(());
    }
    let message = format!("Invalid 'completion_window': it must be '{WINDOW}'.");
    Err(Problem::invalid(NAME, message))
}

/// Who makes a batch must be allowed what its lines ask for; what they may is kept with it.
fn rights(head: &CallHead, endpoint: Endpoint) -> Result<LineRights, Problem> {
    let has = |right: Right| head.caller.rights.holds(right);
    if !endpoint.needs().iter().all(|right| has(*right)) {
        return Err(Problem::NoRight);
    }
    Ok(LineRights {
        keeps_completions: has(Right::Completions(Act::Write)),
    })
}

/// `output_expires_after`: how long the files with the results are kept, from when they are there.
fn output_life(fields: Fields<'_>) -> Result<Duration, Problem> {
    const NAME: &str = "output_expires_after";
    let Some(after) = fields.object(NAME)? else {
        return Ok(limits::BATCH_OUTPUT_LIFE);
    };
    let after = Fields(after);
    if after.string("anchor")? != Some("created_at") {
        let message = "Invalid 'output_expires_after.anchor': it must be 'created_at'.";
        return Err(Problem::invalid("output_expires_after.anchor", message));
    }
    let seconds = after
        .integer("seconds", 1)?
        .ok_or_else(|| fields::missing("output_expires_after.seconds"))?;
    if !limits::EXPIRES_AFTER.contains(&seconds) {
        let (least, most) = (limits::EXPIRES_AFTER.start(), limits::EXPIRES_AFTER.end());
        let message = format!("Invalid 'output_expires_after.seconds': it must be from {least} to {most}.");
        return Err(Problem::invalid("output_expires_after.seconds", message));
    }
    Ok(Duration::from_secs(seconds))
}

/// The file with the requests.
async fn input(head: &CallHead, id: &str) -> Result<File, Problem> {
    const NAME: &str = "input_file_id";
    let found = File::find(&head.service.store, head.permits.read()?, id).await;
    let file = found.map_err(|problem| match problem {
        Problem::NotFound { what, .. } => Problem::NotFound {
            what,
            id: crate::service::shown(id),
            param: Some(NAME),
        },
        other => other,
    })?;
    if file.record.purpose != PURPOSE {
        let message = format!(
            "Invalid 'input_file_id': the file's purpose is '{}'; it must be '{PURPOSE}'.",
            file.record.purpose
        );
        return Err(Problem::coded("invalid_file_purpose", NAME, message));
    }
    Ok(file)
}

/// Metadata as it is shown: null where there is none.
fn shown_metadata(metadata: &Map<String, Value>) -> Value {
    if metadata.is_empty() {
        Value::Null
    } else {
        Value::Object(metadata.clone())
    }
}

/// The present time, for a record.
fn now(service: &Service) -> When {
    service.seconds()
}
