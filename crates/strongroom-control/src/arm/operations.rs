//! Long-running operations: what goes on after its answer, on record until long after it ended, through restarts.

use std::sync::Arc;

use http::header::{LOCATION, RETRY_AFTER as RETRY_AFTER_HEADER};
use http::{Method, StatusCode};
use rusqlite::OptionalExtension;
use serde_json::json;
use strongroom_azure::{ErrorBody, Problem, ResourceId};
use uuid::Uuid;

use super::call::{ASYNC_OPERATION, Answer, Call};
use super::cognitive::{making, switching};
use super::event::{Event, Progress};
use super::fault::{Fault, Outcome, missing};
use super::inventory::{Rows, key};
use super::route::{Permission, Route, blocking};
use super::{Shared, groups, key_vault, time};
use crate::limits::{OPERATION_KEPT, RETRY_AFTER};

/// A resource group goes, with all that is in it.
pub(crate) const DELETE_GROUP: &str = "DeleteResourceGroup";
/// A key of an account takes over from another.
pub(crate) const SWITCH_KEY: &str = "SwitchAccountKey";
/// A deployment's model is opened.
pub(crate) const MAKE_DEPLOYMENT: &str = "MakeDeployment";
/// A deleted account goes for good.
pub(crate) const PURGE_ACCOUNT: &str = "PurgeAccount";

/// A deleted vault goes for good.
pub(crate) const PURGE_VAULT: &str = "PurgeVault";

/// One operation, as it was begun.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    kind: String,
    target: ResourceId,
    event: Option<Arc<Event>>,
}

pub(crate) fn routes() -> Vec<Route> {
    let status = "/subscriptions/{subscription}/operationStatuses/{operation}";
    let result = "/subscriptions/{subscription}/operationResults/{operation}";
    vec![
        Route::new(Method::GET, status, Permission::Signed, 0, blocking(show_status)),
        Route::new(Method::GET, result, Permission::Signed, 0, blocking(show_result)),
    ]
}

/// Puts an operation on record, in the transaction that begins it.
pub(crate) fn begin(rows: &Rows<'_>, call: &Call, kind: &str, target: &ResourceId) -> Outcome<Operation> {
    begin_as(rows, call, Uuid::new_v4().to_string(), kind, target)
}

/// The same under an id that something else names already.
pub(crate) fn begin_as(
    rows: &Rows<'_>,
    call: &Call,
    id: String,
    kind: &str,
    target: &ResourceId,
) -> Outcome<Operation> {
    let operation = Operation {
        id,
        kind: kind.to_owned(),
        target: target.clone(),
        event: call.event.clone(),
    };
    let kept = i64::try_from(OPERATION_KEPT.as_millis()).unwrap_or(i64::MAX);
    let old = call.now_ms.saturating_sub(kept);
    rows.connection()
        .prepare_cached("DELETE FROM operation WHERE ended_ms < ?1")?
        .execute([old])?;
    let sql = "INSERT INTO operation (id, target, starter, kind, status, started_ms, event)
        VALUES (?1, ?2, ?3, ?4, 'InProgress', ?5, ?6)";
    rows.connection().prepare_cached(sql)?.execute(rusqlite::params![
        operation.id,
        target.as_str(),
        call.caller(),
        kind,
        call.now_ms,
        serde_json::to_string(&call.event.as_deref())?,
    ])?;
    Ok(operation)
}

/// Lets an operation go on in the background.
pub(crate) fn run(arm: &Arc<Shared>, operation: &Operation) -> Outcome<()> {
    let (arm, operation) = (Arc::clone(arm), operation.clone());
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| Fault::Interrupted)?;
    runtime.spawn(async move {
        let weak = Arc::downgrade(&arm);
        let work = operation.clone();
        let done = tokio::spawn(async move { perform(arm, &work).await }).await;
        let done = done.unwrap_or(Err(Fault::Interrupted));
        let (Some(arm), false) = (weak.upgrade(), matches!(done, Err(Fault::Stopping))) else {
            // It is taken up at the next start.
            return;
        };
        if let Err(fault) = finish(&arm, &operation, done).await {
            tracing::error!(error = %fault, operation = operation.id, "the end of an operation was not recorded");
        }
    });
    Ok(())
}

/// Takes up what a stop of the program cut off.
pub(crate) fn resume(arm: &Arc<Shared>) -> Outcome<()> {
    let unfinished = arm.inventory.read(unfinished)?;
    for operation in &unfinished {
        run(arm, operation)?;
    }
    let known = unfinished.into_iter().map(|operation| operation.id).collect();
    making::resume(arm, &known)?;
    switching::resume(arm, &known)
}

/// The answer of a request whose work goes on.
pub(crate) fn accepted(call: &Call, operation: &Operation) -> Answer {
    let version = call.api_version.as_ref().map_or("", |version| version.as_str());
    let link = |kind: &str| {
        let path = format!("{}/{kind}/{}", call.arm.subscription(), operation.id);
        call.link(&path, &[("api-version", version)])
    };
    Answer::empty(StatusCode::ACCEPTED)
        .with(ASYNC_OPERATION, link("operationStatuses"))
        .with(LOCATION, link("operationResults"))
        .with(RETRY_AFTER_HEADER, RETRY_AFTER.to_string())
}

/// The work of each kind. Each can be done again after it was cut off.
async fn perform(arm: Arc<Shared>, operation: &Operation) -> Outcome<()> {
    let target = operation.target.clone();
    match operation.kind.as_str() {
        DELETE_GROUP => tokio::task::spawn_blocking(move || groups::delete(&arm, &target))
            .await
            .unwrap_or(Err(Fault::Interrupted)),
        PURGE_VAULT => tokio::task::spawn_blocking(move || key_vault::purge(&arm, &target))
            .await
            .unwrap_or(Err(Fault::Interrupted)),
        MAKE_DEPLOYMENT => making::make(arm, &target, &operation.id).await,
        SWITCH_KEY => switching::switch(arm, &target, &operation.id).await,
        PURGE_ACCOUNT => switching::purge_at(&arm, &target).await,
        _ => Err(Fault::Interrupted),
    }
}

async fn finish(arm: &Arc<Shared>, operation: &Operation, done: Outcome<()>) -> Outcome<()> {
    let now_ms = time::now_ms(&*arm.clock);
    let problem = done.err().map(Fault::into_problem);
    let progress = problem
        .clone()
        .map_or(Progress::Succeeded(StatusCode::OK), |problem| {
            Progress::Failed(Box::new(problem))
        });
    // Before it can be seen: what a client takes for done is on record.
    if let Some(event) = &operation.event {
        arm.activity.record(event, &progress, now_ms).await?;
    }
    let (arm, id) = (Arc::clone(arm), operation.id.clone());
    let write = move || {
        arm.inventory
            .write(|rows| conclude(rows, &id, problem.as_ref(), now_ms))
    };
    tokio::task::spawn_blocking(write)
        .await
        .map_err(|_| Fault::Interrupted)?
}

fn conclude(rows: &Rows<'_>, id: &str, problem: Option<&Problem>, now_ms: i64) -> Outcome<()> {
    let status = if problem.is_some() { "Failed" } else { "Succeeded" };
    let error = problem
        .map(|problem| serde_json::to_string(problem.body()))
        .transpose()?;
    let sql = "UPDATE operation SET status = ?2, ended_ms = ?3, error = ?4 WHERE id = ?1";
    let values = rusqlite::params![id, status, now_ms, error];
    rows.connection().prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn unfinished(rows: &Rows<'_>) -> Outcome<Vec<Operation>> {
    let sql = "SELECT id, kind, target, event FROM operation WHERE status = 'InProgress'";
    let mut statement = rows.connection().prepare_cached(sql)?;
    let found = statement.query_map([], |row| {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, String>(3)?,
        ))
    })?;
    found
        .map(|row| {
            let (id, kind, target, event) = row?;
            Ok(Operation {
                id,
                kind,
                target: target.parse().map_err(|_| Fault::Interrupted)?,
                event: serde_json::from_str::<Option<Event>>(&event)?.map(Arc::new),
            })
        })
        .collect()
}

/// What is on record of an operation.
struct Record {
    target: String,
    status: String,
    started_ms: i64,
    ended_ms: Option<i64>,
    error: Option<ErrorBody>,
}

/// Only whoever began it, or may read what it is about, sees it.
fn find(call: &Call) -> Outcome<Record> {
    let id = call.name("operation").to_ascii_lowercase();
    let none = || {
        missing(
            "OperationNotFound",
            format!("The operation '{id}' could not be found."),
        )
    };
    let sql = "SELECT target, status, started_ms, ended_ms, error, starter FROM operation WHERE id = ?1";
    let found = call.arm.inventory.read(|rows| {
        let mut statement = rows.connection().prepare_cached(sql)?;
        let found = statement.query_row([&id], |row| {
            let error: Option<String> = row.get(4)?;
            let record = Record {
                target: row.get(0)?,
                status: row.get(1)?,
                started_ms: row.get(2)?,
                ended_ms: row.get(3)?,
                error: error.and_then(|error| ErrorBody::parse(error.as_bytes())),
            };
            Ok((record, row.get::<_, String>(5)?))
        });
        Ok(found.optional()?)
    })?;
    let (record, starter) = found.ok_or_else(none)?;
    let readable = |target: &ResourceId| {
        let action = "Microsoft.Resources/subscriptions/resourceGroups/read";
        call.may(target, action)
    };
    let known = starter == call.caller() || record.target.parse().is_ok_and(|target| readable(&target));
    known.then_some(record).ok_or_else(none)
}

fn show_status(call: &Arc<Call>) -> Outcome<Answer> {
    let record = find(call)?;
    let mut body = json!({
        "id": key(&call.path),
        "name": call.name("operation"),
        "status": record.status,
        "startTime": time::text(record.started_ms),
    });
    if let Some(fields) = body.as_object_mut() {
        if let Some(ended) = record.ended_ms {
            fields.insert("endTime".to_owned(), time::text(ended).into());
        }
        if let Some(error) = &record.error {
            fields.insert("error".to_owned(), serde_json::to_value(&error.error)?);
        }
    }
    Ok(in_progress(&record, Answer::ok(body)))
}

fn show_result(call: &Arc<Call>) -> Outcome<Answer> {
    let record = find(call)?;
    if let Some(error) = &record.error {
        return Ok(Answer::new(StatusCode::CONFLICT, serde_json::to_value(error)?));
    }
    let status = if record.ended_ms.is_some() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let mut answer = Answer::empty(status);
    if status == StatusCode::ACCEPTED {
        answer = answer.with(LOCATION, call.link(call.path.as_str(), &version(call)));
    }
    Ok(in_progress(&record, answer))
}

fn version(call: &Call) -> Vec<(&'static str, &str)> {
    let version = call
        .api_version
        .as_ref()
        .map(|version| ("api-version", version.as_str()));
    version.into_iter().collect()
}

fn in_progress(record: &Record, answer: Answer) -> Answer {
    if record.ended_ms.is_some() {
        return answer;
    }
    answer.with(RETRY_AFTER_HEADER, RETRY_AFTER.to_string())
}
