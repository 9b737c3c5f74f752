//! What was said before: the responses that `previous_response_id` leads back to.

use serde_json::Value;
use strongroom_store::{Permit, Store, StoreError};

use super::{KIND, ResponseRecord, items, request};
use crate::limits;
use crate::problem::Problem;

/// The chat messages of a conversation so far, oldest first.
pub(super) async fn messages(
    store: &Store,
    permit: &Permit,
    previous: Option<&str>,
) -> Result<Vec<Value>, Problem> {
    let mut records: Vec<ResponseRecord> = Vec::new();
    let mut bytes = 0;
    let mut next = previous.map(str::to_owned);
    while let Some(id) = next {
        if records.len() == limits::CHAIN {
            return Err(too_long(format!(
                "it goes back more than {} responses",
                limits::CHAIN
            )));
        }
        let object = store.get(permit, KIND, &id).await.map_err(|error| match error {
            StoreError::NotFound | StoreError::BadName => request::previous_not_found(&id),
            other => other.into(),
        })?;
        bytes += object.body.len();
        if bytes > limits::CHAIN_BYTES {
            return Err(too_long(format!(
                "it has more than {} bytes",
                limits::CHAIN_BYTES
            )));
        }
        let record: ResponseRecord = serde_json::from_slice(&object.body)
            .map_err(|_| Problem::Internal("a response's record is not what it was".to_owned()))?;
        next = record
            .response
            .get("previous_response_id")
            .and_then(Value::as_str)
            .map(str::to_owned);
        records.push(record);
    }
    let mut messages = Vec::new();
    for record in records.iter().rev() {
        record
            .input
            .iter()
            .for_each(|item| items::say(&mut messages, item));
        let output = record
            .response
            .get("output")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        output.for_each(|item| items::say(&mut messages, item));
    }
    Ok(messages)
}

fn too_long(why: String) -> Problem {
    let message = format!("The conversation behind 'previous_response_id' is too long: {why}.");
    Problem::coded("conversation_too_long", "previous_response_id", message)
}
