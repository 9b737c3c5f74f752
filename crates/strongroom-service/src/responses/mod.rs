//! Responses: what was asked and what was answered, kept as one sealed record each.

mod chain;
mod create;
mod items;
mod request;
mod stream;
mod turn;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strongroom_store::{NewObject, Permit, Store};

use crate::call::{Answer, Call};
use crate::limits;
use crate::paging::Paging;
use crate::problem::Problem;
use crate::service::Service;

pub(crate) use create::{answer, create};

/// The kind under which responses are stored.
const KIND: &str = "response";
/// What an error calls it.
const WHAT: &str = "response";

/// A response's record.
#[derive(Serialize, Deserialize)]
struct ResponseRecord {
    /// The response object as it was answered.
    response: Map<String, Value>,
    /// The items that it was asked with; not those of responses before it.
    input: Vec<Value>,
}

/// `GET responses/{id}`
pub(crate) async fn get(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    if call.query.get("stream").is_some_and(|stream| stream == "true") {
        let message =
            "Only responses that run in the background can be streamed again; they are not offered here.";
        return Err(Problem::invalid("stream", message));
    }
    check_include(&call)?;
    let record = find(&call.service.store, call.permits.read()?, id).await?;
    Answer::json(&record.response)
}

/// `include` in a query: repeated, with or without brackets.
fn check_include(call: &Call) -> Result<(), Problem> {
    let wanted = ["include", "include[]"].map(|name| call.query.all(name));
    wanted
        .into_iter()
        .flatten()
        .try_for_each(|wanted| request::may_include(wanted, "include".to_owned()))
}

/// `DELETE responses/{id}`
pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let deleted = call.service.store.delete(call.permits.delete()?, KIND, id).await;
    deleted.map_err(|error| Problem::store(error, WHAT, id))?;
    Answer::json(&json!({ "id": id, "object": "response", "deleted": true }))
}

/// `POST responses/{id}/cancel`: no response runs in the background here.
pub(crate) async fn cancel(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    find(&call.service.store, call.permits.read()?, id).await?;
    Err(Problem::malformed(
        "response_not_cancellable",
        "Cannot cancel a synchronous response.",
    ))
}

/// `GET responses/{id}/input_items`
pub(crate) async fn input_items(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    check_include(&call)?;
    let paging = Paging::read(&call.query, limits::ITEMS_PAGE_DEFAULT, limits::ITEMS_PAGE)?;
    let input = find(&call.service.store, call.permits.read()?, id).await?.input;
    Answer::json(&paging.of_all(input, "item")?)
}

async fn find(store: &Store, permit: &Permit, id: &str) -> Result<ResponseRecord, Problem> {
    let object = store
        .get(permit, KIND, id)
        .await
        .map_err(|error| Problem::store(error, WHAT, id))?;
    let damaged = |_| Problem::Internal("a response's record is not what it was".to_owned());
    serde_json::from_slice(&object.body).map_err(damaged)
}

/// Commits a response, durably.
async fn keep(service: &Service, permit: &Permit, id: &str, record: &ResponseRecord) -> Result<(), Problem> {
    let body = serde_json::to_vec(record).map_err(|error| Problem::Internal(error.to_string()))?;
    let body = zeroize::Zeroizing::new(body);
    let life = service.retention(permit.account()).responses;
    let new = NewObject {
        expires: Some(life.unwrap_or(limits::RESPONSE_LIFE)),
        ..NewObject::new(KIND, id, &body)
    };
    service.store.put(permit, new).await?;
    Ok(())
}
