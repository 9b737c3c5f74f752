//! Files: names, purposes and contents, all sealed.

mod content;
mod range;
mod upload;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strongroom_store::{Meta, Object, Page, Permit, Store};

use crate::call::{Answer, Call};
use crate::limits;
use crate::paging::{self, Paging};
use crate::problem::Problem;

pub(crate) use content::content;
pub(crate) use upload::{set, twice, upload};

/// The kind under which files are stored.
const KIND: &str = "file";
/// The part that holds a file's content.
const CONTENT: u32 = 0;
/// What an error calls it.
const WHAT: &str = "File object";

/// A file's record: what is sealed beside its content.
#[derive(Serialize, Deserialize)]
struct FileRecord {
    filename: String,
    purpose: String,
}

/// `GET files`
pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let paging = Paging::read(&call.query, limits::FILES_PAGE, limits::FILES_PAGE)?;
    let purpose = call.query.get("purpose").filter(|purpose| !purpose.is_empty());
    let (data, has_more) = collect(&call.service.store, call.permits.read()?, paging, purpose).await?;
    Answer::json(&paging::list(data, has_more))
}

/// `GET files/{id}`
pub(crate) async fn get(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    Answer::json(&show(
        &find(&call.service.store, call.permits.read()?, id).await?,
    )?)
}

/// `DELETE files/{id}`
pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let deleted = call.service.store.delete(call.permits.delete()?, KIND, id).await;
    deleted.map_err(|error| Problem::store(error, WHAT, id))?;
    Answer::json(&json!({ "id": id, "object": "file", "deleted": true }))
}

async fn find(store: &Store, permit: &Permit, id: &str) -> Result<Object, Problem> {
    store
        .get(permit, KIND, id)
        .await
        .map_err(|error| Problem::store(error, WHAT, id))
}

/// Walks the store's pages. A purpose is sealed, so that every file must be opened to compare it.
async fn collect(
    store: &Store,
    permit: &Permit,
    paging: Paging,
    purpose: Option<&str>,
) -> Result<(Vec<Value>, bool), Problem> {
    let Paging {
        mut after,
        limit,
        order,
    } = paging;
    let mut data = Vec::new();
    loop {
        let wanted = if purpose.is_some() {
            Page::MAX
        } else {
            page_of(limit - data.len())
        };
        let page = Page {
            after: after.clone(),
            limit: wanted,
            order,
        };
        let listing =
            store
                .list(permit, KIND, page)
                .await
                .map_err(|error| match Problem::store(error, WHAT, "") {
                    Problem::NotFound { what, .. } => Problem::NotFound {
                        what,
                        id: after.clone().unwrap_or_default(),
                        param: Some("after"),
                    },
                    other => other,
                })?;
        after = listing.objects.last().map(|object| object.meta.id.clone());
        for object in &listing.objects {
            let file = show(object)?;
            if purpose.is_some_and(|purpose| file.get("purpose").and_then(Value::as_str) != Some(purpose)) {
                continue;
            }
            if data.len() == limit {
                return Ok((data, true));
            }
            data.push(file);
        }
        if !listing.has_more || listing.objects.is_empty() {
            return Ok((data, false));
        }
        if purpose.is_none() && data.len() == limit {
            return Ok((data, true));
        }
    }
}

fn page_of(left: usize) -> u32 {
    u32::try_from(left).unwrap_or(Page::MAX).clamp(1, Page::MAX)
}

fn show(object: &Object) -> Result<Value, Problem> {
    let record: FileRecord = read(object)?;
    Ok(shape(&object.meta, &record))
}

fn read(object: &Object) -> Result<FileRecord, Problem> {
    serde_json::from_slice(&object.body)
        .map_err(|_| Problem::Internal("a file's record is not what it was".to_owned()))
}

/// The official file object.
fn shape(meta: &Meta, record: &FileRecord) -> Value {
    json!({
        "id": meta.id,
        "object": "file",
        "bytes": meta.size_of(CONTENT).unwrap_or(0),
        "created_at": meta.created(),
        "expires_at": meta.expires(),
        "filename": record.filename,
        "purpose": record.purpose,
        "status": "processed",
        "status_details": null,
    })
}
