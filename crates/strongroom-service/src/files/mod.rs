//! Files: names, purposes and contents, all sealed.

mod content;
mod draft;
mod file;
mod range;
mod upload;
mod whole;

use serde_json::{Value, json};
use strongroom_store::{Page, Permit, Store};

use crate::call::{Answer, Call};
use crate::limits;
use crate::paging::{self, Paging};
use crate::problem::Problem;

pub(crate) use content::content;
pub(crate) use draft::{Draft, DraftFault};
pub(crate) use file::{Content, File};
pub(crate) use upload::{check_name, check_purpose, life, set, twice, upload};
pub(crate) use whole::Whole;

/// The kind under which files are stored.
pub(crate) const KIND: &str = "file";
/// What an error calls it.
const WHAT: &str = "File object";

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
    let file = File::find(&call.service.store, call.permits.read()?, id).await?;
    Answer::json(&file.show())
}

/// `DELETE files/{id}`
pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let deleted = call.service.store.delete(call.permits.delete()?, KIND, id).await;
    deleted.map_err(|error| Problem::store(error, WHAT, id))?;
    Answer::json(&json!({ "id": id, "object": "file", "deleted": true }))
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
            let Some(file) = File::of(object)? else { continue };
            if purpose.is_some_and(|purpose| file.record.purpose != purpose) {
                continue;
            }
            if data.len() == limit {
                return Ok((data, true));
            }
            data.push(file.show());
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
