//! Requests read as the routes read them, up to where the engine would be asked: for those who try what no client sends.

use http::Method;

use crate::engine::fault::VaultFault;
use crate::routes::page::Query;
use crate::routes::path::{Operation, Target};
use crate::routes::{body, import};

/// What was read of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// The key's name; empty where no one key is meant.
    pub name: String,
    /// The version, if one is named.
    pub version: Option<String>,
    /// The mark after which a page begins, if the request has a good one.
    pub after: Option<String>,
    /// The query of the page that would follow that mark.
    pub next: Option<String>,
    /// Whether the body is one that the operation takes.
    pub has_its_body: bool,
}

/// Reads a request; nothing if its path leads nowhere. No bytes harm it.
pub fn read_request(method: &str, path: &str, query: Option<&str>, bytes: &[u8]) -> Option<ReadRequest> {
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let query = Query::parse(query);
    let target = Target::parse(&method, path).ok()?;
    let after = query.page().ok().and_then(|page| page.after);
    Some(ReadRequest {
        next: after.as_deref().map(|after| query.next(after)),
        after,
        has_its_body: read_body(target.operation, bytes).is_ok(),
        name: target.name,
        version: target.version,
    })
}

fn read_body(operation: Operation, bytes: &[u8]) -> Result<(), VaultFault> {
    match operation {
        Operation::CreateKey => body::create(bytes).map(drop),
        Operation::ImportKey => import::import(bytes).map(drop),
        Operation::UpdateKey => body::update(bytes).map(drop),
        Operation::RestoreKey => body::backup(bytes).map(drop),
        Operation::SetRotationPolicy => body::policy(bytes)?.check(),
        Operation::Random => body::random(bytes).map(drop),
        Operation::Sign => body::sign(bytes).map(drop),
        Operation::Verify => body::verify(bytes).map(drop),
        Operation::Encrypt | Operation::Decrypt | Operation::WrapKey | Operation::UnwrapKey => {
            body::operation(bytes).map(drop)
        }
        _ => Ok(()),
    }
}
