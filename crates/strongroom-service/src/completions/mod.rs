//! Stored completions: chat completions that were asked for with `store: true`, each a sealed record with what it was asked in a sealed
//! blob beside it. So a list, which shows answers alone, does not open what may be much longer.

mod export;
mod keep;
mod list;
mod told;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strongroom_store::{Change, Object, Order, Permit, Store, StoreError};

use crate::call::{Answer, Call};
use crate::fields::{self, Fields};
use crate::limits;
use crate::paging::Paging;
use crate::problem::Problem;

pub(crate) use export::export;
pub(crate) use keep::Keeper;
pub(crate) use list::list;
pub(crate) use told::told;

/// The kind under which completions are stored.
const KIND: &str = "completion";
/// The part that holds the messages that were asked.
const MESSAGES: u32 = 0;
/// What an error calls it.
const WHAT: &str = "chat completion";

/// A completion's record.
#[derive(Serialize, Deserialize)]
struct CompletionRecord {
    /// The completion as it was answered.
    completion: Map<String, Value>,
    /// How it was asked, without the messages: temperature, tools and the like.
    asked: Map<String, Value>,
    /// The deployment that was asked.
    deployment: String,
    metadata: Map<String, Value>,
}

/// `GET chat/completions/{id}`
pub(crate) async fn get(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let object = find(&call.service.store, call.permits.read()?, id).await?;
    Answer::json(&CompletionRecord::read(&object)?.show())
}

/// `POST chat/completions/{id}`: its metadata are replaced.
pub(crate) async fn update(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?.to_owned();
    let (head, request) = call.with_json().await?;
    let fields = Fields(&request);
    if fields.object("metadata")?.is_none() {
        return Err(fields::missing("metadata"));
    }
    let metadata = fields.metadata()?;
    let store = &head.service.store;
    for _ in 0..limits::UPDATE_TRIES {
        let object = find(store, head.permits.read()?, &id).await?;
        let mut record = CompletionRecord::read(&object)?;
        record.metadata = metadata.clone();
        let body = record.write()?;
        let (write, change) = (head.permits.write()?, Change::keeping(&body));
        let revision = Some(object.meta.revision);
        match store.update(write, KIND, &id, revision, change).await {
            Ok(_) => return Answer::json(&record.show()),
            Err(StoreError::RevisionConflict { .. }) => {}
            Err(error) => return Err(Problem::store(error, WHAT, &id)),
        }
    }
    Err(Problem::Busy)
}

/// `DELETE chat/completions/{id}`
pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let deleted = call.service.store.delete(call.permits.delete()?, KIND, id).await;
    deleted.map_err(|error| Problem::store(error, WHAT, id))?;
    Answer::json(&json!({ "id": id, "object": "chat.completion.deleted", "deleted": true }))
}

/// `GET chat/completions/{id}/messages`
pub(crate) async fn messages(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let (default, most) = (limits::ITEMS_PAGE_DEFAULT, limits::ITEMS_PAGE);
    let paging = Paging::read_from(&call.query, Order::Asc, default, most)?;
    let asked = read_messages(&call.service.store, call.permits.read()?, id).await?;
    let shown = asked.iter().enumerate();
    let shown = shown.map(|(index, message)| show_message(id, index, message));
    Answer::json(&paging.of_all(shown.collect(), "message")?)
}

/// A message as it is listed: with an id, and with its parts apart from its text.
fn show_message(id: &str, index: usize, message: &Value) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(format!("{id}-{index}")));
    shown.extend(message.as_object().cloned().unwrap_or_default());
    let parts = match shown.get("content") {
        Some(Value::Array(parts)) => Value::Array(parts.clone()),
        _ => Value::Null,
    };
    if !parts.is_null() || !shown.contains_key("content") {
        shown.insert("content".to_owned(), Value::Null);
    }
    shown.entry("name").or_insert(Value::Null);
    shown.insert("content_parts".to_owned(), parts);
    Value::Object(shown)
}

impl CompletionRecord {
    fn read(object: &Object) -> Result<Self, Problem> {
        serde_json::from_slice(&object.body).map_err(damaged)
    }

    fn write(&self) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
        serde_json::to_vec(self)
            .map(zeroize::Zeroizing::new)
            .map_err(|error| Problem::Internal(error.to_string()))
    }

    /// The completion with how it was asked and what is noted with it.
    fn show(&self) -> Map<String, Value> {
        let mut shown = self.completion.clone();
        shown.extend(self.asked.clone());
        shown.insert("metadata".to_owned(), Value::Object(self.metadata.clone()));
        shown
    }
}

async fn find(store: &Store, read: &Permit, id: &str) -> Result<Object, Problem> {
    let found = store.get(read, KIND, id).await;
    found.map_err(|error| Problem::store(error, WHAT, id))
}

/// What was asked.
async fn read_messages(store: &Store, read: &Permit, id: &str) -> Result<Vec<Value>, Problem> {
    let opened = store.open_blob(read, KIND, id, MESSAGES, None).await;
    let mut reader = opened.map_err(|error| Problem::store(error, WHAT, id))?;
    let mut whole = zeroize::Zeroizing::new(Vec::with_capacity(
        usize::try_from(reader.len()).unwrap_or_default(),
    ));
    while let Some(piece) = reader.next_chunk().await {
        let piece: Bytes = piece?;
        whole.extend_from_slice(&piece);
    }
    serde_json::from_slice(&whole).map_err(damaged)
}

fn damaged(_: serde_json::Error) -> Problem {
    Problem::Internal("a completion's record is not what it was".to_owned())
}
