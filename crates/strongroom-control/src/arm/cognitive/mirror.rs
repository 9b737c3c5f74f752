//! The rows of accounts and deployments in the inventory. They follow the control plane's record, whichever door changed it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use strongroom_azure::ResourceId;

use super::{ACCOUNT, DEPLOYMENT};
use crate::accounts::Account;
use crate::arm::fault::{Fault, Outcome};
use crate::arm::inventory::{Resource, Rows, Selection, key};
use crate::arm::{Shared, private_links, time};

/// The account's row as the account is now, and its deployments' with it.
pub(crate) fn account(arm: &Shared, account: &Account) -> Outcome<Resource> {
    arm.inventory.write(|rows| in_rows(arm, rows, account))
}

/// The row of one deployment, as it is now.
pub(super) fn deployment(rows: &Rows<'_>, id: &ResourceId) -> Outcome<Option<Resource>> {
    rows.get(id)
}

/// Takes the rows of an account away that is no more.
pub(crate) fn remove(arm: &Shared, id: &ResourceId) -> Outcome<()> {
    arm.inventory.write(|rows| rows.delete(id).map(drop))
}

fn in_rows(arm: &Shared, rows: &Rows<'_>, account: &Account) -> Outcome<Resource> {
    let id: ResourceId = account.resource_id().parse().map_err(|_| Fault::Interrupted)?;
    let now_ms = time::now_ms(&*arm.clock);
    let Value::Object(mut body) = arm.control.account_shape(account) else {
        return Err(Fault::Interrupted);
    };
    private_links::show_on(rows, &id, &mut body)?;
    let resource = put(rows, &id, ACCOUNT, body, now_ms)?;
    let selection = Selection {
        below: Some(&id),
        kind: Some(DEPLOYMENT),
        ..Selection::default()
    };
    let mut gone: HashMap<String, ResourceId> = rows
        .list(&selection, usize::MAX)?
        .into_iter()
        .map(|known| (key(&known.id), known.id))
        .collect();
    for (name, deployment) in &account.deployments {
        let name = Account::shown_deployment(name);
        let Ok(id) = id.child(&format!("deployments/{name}")) else {
            continue;
        };
        gone.remove(&key(&id));
        let Value::Object(body) = account.deployment_shape(&name, deployment) else {
            continue;
        };
        put(rows, &id, DEPLOYMENT, body, now_ms)?;
    }
    for id in gone.values() {
        rows.delete(id)?;
    }
    Ok(resource)
}

/// Writes a row only if it is not as it is to be: its entity tag says so.
fn put(
    rows: &Rows<'_>,
    id: &ResourceId,
    kind: &str,
    body: Map<String, Value>,
    now_ms: i64,
) -> Outcome<Resource> {
    match rows.get(id)? {
        Some(known) if is_same(&known.body, &body) => Ok(known),
        _ => rows.put(id, kind, body, now_ms),
    }
}

/// The order of members does not count.
fn is_same(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    one == other
}

/// Brings all rows to what there is: after a start, and where others changed something.
pub(crate) fn all(arm: &Shared, accounts: &[Arc<Account>], seen: &[Arc<Account>]) -> Outcome<()> {
    let seen: HashMap<&str, &Arc<Account>> = seen
        .iter()
        .map(|account| (account.name.as_str(), account))
        .collect();
    let is_new = |account: &&Arc<Account>| {
        let known = seen.get(account.name.as_str());
        known.is_none_or(|known| !Arc::ptr_eq(known, account))
    };
    let changed: Vec<_> = accounts.iter().filter(is_new).collect();
    let there: HashMap<&str, ()> = accounts
        .iter()
        .map(|account| (account.name.as_str(), ()))
        .collect();
    let gone: Vec<ResourceId> = seen
        .values()
        .filter(|account| !there.contains_key(account.name.as_str()))
        .filter_map(|account| account.resource_id().parse().ok())
        .collect();
    if changed.is_empty() && gone.is_empty() {
        return Ok(());
    }
    arm.inventory.write(|rows| {
        for account in &changed {
            in_rows(arm, rows, account)?;
        }
        for id in &gone {
            rows.delete(id)?;
        }
        Ok(())
    })
}

/// Takes rows away whose accounts are no more: what a crash between the two databases left.
pub(crate) fn sweep(arm: &Shared, accounts: &[Arc<Account>]) -> Outcome<()> {
    let there: HashMap<String, ()> = accounts
        .iter()
        .map(|account| (account.resource_id().to_ascii_lowercase(), ()))
        .collect();
    arm.inventory.write(|rows| {
        let selection = Selection {
            kind: Some(ACCOUNT),
            ..Selection::default()
        };
        let mut gone = Vec::new();
        rows.brief(&selection, false, |brief| {
            if !there.contains_key(&brief.id.to_ascii_lowercase()) {
                gone.push(brief.id.to_owned());
            }
            true
        })?;
        for id in gone.iter().filter_map(|id| id.parse().ok()) {
            rows.delete(&id)?;
        }
        Ok(())
    })
}
