//! Locks: what may not be deleted, or not be changed at all, whoever asks.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use strongroom_azure::ResourceId;

use super::call::{Answer, Call};
use super::fault::{Outcome, bad, conflict, missing};
use super::filter::Filter;
use super::inventory::{LOCK, Resource, Rows, Selection};
use super::route::{Permission, Route, blocking};
use crate::limits::{ARM_BODY, ARM_PAGE, LOCKS};

const TYPE: &str = "Microsoft.Authorization/locks";

pub(crate) fn routes() -> Vec<Route> {
    let one = "{scope}/providers/Microsoft.Authorization/locks/{lock}";
    let all = "{scope}/providers/Microsoft.Authorization/locks";
    let (read, write) = (
        Permission::Action("Microsoft.Authorization/locks/read"),
        Permission::Action("Microsoft.Authorization/locks/write"),
    );
    let delete = Permission::Action("Microsoft.Authorization/locks/delete");
    vec![
        Route::new(Method::GET, all, read, 0, blocking(list)),
        Route::new(Method::GET, one, read, 0, blocking(get)),
        Route::new(Method::PUT, one, write, ARM_BODY, blocking(put)),
        Route::new(Method::DELETE, one, delete, 0, blocking(remove)),
    ]
}

/// Refuses what a lock forbids. Locks themselves can always be taken away by whoever may.
pub(crate) fn check(rows: &Rows<'_>, method: &Method, action: &str, target: &ResourceId) -> Outcome<()> {
    if action
        .to_ascii_lowercase()
        .starts_with("microsoft.authorization/locks/")
    {
        return Ok(());
    }
    let deletes = *method == Method::DELETE;
    let mut standing = Vec::new();
    for lock in all(rows)? {
        let Some(scope) = scope_of(&lock.id) else { continue };
        let read_only = level(&lock).eq_ignore_ascii_case("ReadOnly");
        let stands = scope.contains(target) || (deletes && target.contains(&scope));
        if stands && (deletes || read_only) {
            standing.push(format!("'{scope}'"));
        }
    }
    if standing.is_empty() {
        return Ok(());
    }
    let what = if deletes { "delete" } else { "write" };
    let message = format!(
        "The scope '{target}' cannot perform {what} operation because following scope(s) are locked: {}. Please remove the lock and try again.",
        standing.join(",")
    );
    Err(conflict("ScopeLocked", message))
}

fn all(rows: &Rows<'_>) -> Outcome<Vec<Resource>> {
    let selection = Selection {
        kind: Some(LOCK),
        ..Selection::default()
    };
    rows.list(&selection, LOCKS)
}

fn level(lock: &Resource) -> &str {
    let properties = lock.body.get("properties");
    let level = properties.and_then(|properties| properties.get("level"));
    level.and_then(Value::as_str).unwrap_or_default()
}

/// What a lock is on.
fn scope_of(lock: &ResourceId) -> Option<ResourceId> {
    let lower = lock.as_str().to_ascii_lowercase();
    let at = lower.rfind("/providers/microsoft.authorization/locks/")?;
    lock.as_str().get(..at)?.parse().ok()
}

/// Locks at the scope and above, and those below it unless only `atScope()` is asked for.
fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let scope = call.scope()?;
    let filter = call.parameter("$filter").map(Filter::parse).transpose();
    let filter = filter.map_err(|error| bad("InvalidFilterInQueryString", error.to_string()))?;
    let only_here = filter.is_some_and(|filter| filter.at_scope());
    let found = call.arm.inventory.read(all)?;
    let shown = found.into_iter().filter(|lock| {
        scope_of(&lock.id).is_some_and(|on| on.contains(&scope) || (!only_here && scope.contains(&on)))
    });
    let shown = shown.take(ARM_PAGE).map(|lock| Value::Object(lock.body));
    Ok(Answer::page(shown.collect(), None))
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    let found = call.arm.inventory.read(|rows| rows.get(&call.path))?;
    let found = found.ok_or_else(|| no_lock(call.name("lock")))?;
    Ok(call.show(StatusCode::OK, found))
}

fn put(call: &Arc<Call>) -> Outcome<Answer> {
    let mut body = call.object()?;
    let properties = body.get("properties").and_then(Value::as_object);
    let level = properties
        .and_then(|properties| properties.get("level"))
        .and_then(Value::as_str);
    let levels = ["CanNotDelete", "ReadOnly", "NotSpecified"];
    if !level.is_some_and(|level| levels.iter().any(|known| known.eq_ignore_ascii_case(level))) {
        let message = "The lock level must be one of 'NotSpecified, CanNotDelete, ReadOnly'.";
        return Err(bad("InvalidLockLevel", message));
    }
    let scope = call.scope()?;
    let name = call.name("lock");
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(call.path.as_str()));
    shown.insert("type".to_owned(), json!(TYPE));
    shown.insert("name".to_owned(), json!(name));
    body.retain(|name, _| !shown.contains_key(name));
    shown.append(&mut body);
    call.arm.inventory.write(|rows| {
        if !rows.has(&scope)? {
            return Err(missing(
                "ResourceNotFound",
                format!("The scope '{scope}' was not found."),
            ));
        }
        let before = rows.get(&call.path)?;
        call.check_conditions(before.as_ref())?;
        if before.is_none() && all(rows)?.len() >= LOCKS {
            return Err(conflict(
                "TooManyLocks",
                format!("There can be at most {LOCKS} locks."),
            ));
        }
        let status = if before.is_some() {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        let lock = rows.put(&call.path, TYPE, shown, call.now_ms)?;
        Ok(call.show(status, lock))
    })
}

fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    call.arm.inventory.write(|rows| {
        let found = rows.get(&call.path)?;
        call.check_conditions(found.as_ref())?;
        let gone = rows.delete(&call.path)?;
        let status = if gone > 0 {
            StatusCode::OK
        } else {
            StatusCode::NO_CONTENT
        };
        Ok(Answer::empty(status))
    })
}

fn no_lock(name: &str) -> super::fault::Fault {
    missing("LockNotFound", format!("The lock '{name}' could not be found."))
}
