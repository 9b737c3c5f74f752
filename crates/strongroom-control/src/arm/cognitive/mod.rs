//! Microsoft.CognitiveServices: accounts of the AI service and what belongs to them.
//!
//! - `body`: what clients write; `accounts`, `deleted`, `deployments`, `catalogue`: the routes.
//! - `mirror`: the rows of the inventory, which lists and Resource Graph read; what counts is the control plane's record.
//! - `making`: deployments of fine-tuned models, which must be opened first.
//! - `switching`: the long-running work: keys that take over from one another, and the destruction of deleted accounts.

mod accounts;
mod body;
mod catalogue;
mod deleted;
mod deployments;
pub(crate) mod making;
pub(crate) mod mirror;
pub(crate) mod switching;

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

use super::call::{Answer, Call};
use super::fault::{Fault, Outcome};
use super::place::Place as scoped;
use super::route::{Handler, Route};
use crate::accounts::Place;

/// The type of accounts.
pub(crate) const ACCOUNT: &str = "Microsoft.CognitiveServices/accounts";
/// The type of deployments.
pub(crate) const DEPLOYMENT: &str = "Microsoft.CognitiveServices/accounts/deployments";

/// The path of one account.
const ONE: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}";

pub(crate) fn routes() -> Vec<Route> {
    [
        accounts::routes(),
        deployments::routes(),
        deleted::routes(),
        catalogue::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The tags of what a path names were changed: if that is an account, its record takes them.
pub(crate) fn tagged(call: &Call, shown: Option<&Value>) -> Outcome<()> {
    let scope = call.scope()?;
    let typed = scoped::of(&scope).and_then(|place| place.typed);
    let Some(typed) = typed.filter(|typed| typed.full_type().eq_ignore_ascii_case(ACCOUNT)) else {
        return Ok(());
    };
    let tags = shown.and_then(|shown| shown.get("properties")?.get("tags")?.as_object());
    let tags = tags.map(body::read_tags).unwrap_or_default();
    let name = typed.names.first().map_or("", String::as_str);
    Ok(call.arm.control.set_account_tags(name, tags)?)
}

/// The account that the path names.
fn place(call: &Call) -> Place {
    Place {
        name: call.name("account").to_owned(),
        resource_group: call.name("group").to_owned(),
    }
}

/// A handler that waits: for a vault, say.
fn waiting<F>(work: fn(Arc<Call>) -> F) -> Handler
where
    F: Future<Output = Outcome<Answer>> + Send + 'static,
{
    Arc::new(move |call| Box::pin(work(call)))
}

/// Work that blocks, in the midst of one that waits.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(Fault::Interrupted))
}
