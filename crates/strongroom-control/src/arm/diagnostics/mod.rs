//! Diagnostic settings: which logs of a resource go where. What they ask for is delivered.
//!
//! - `records`: what entries of the journals are to whom, in the shape that Azure delivers;
//! - `sinks`: folders and HTTP endpoints that stand for workspaces, storage accounts and event hubs;
//! - `delivery`: one worker for each setting and destination, with a position on disk.

mod delivery;
mod records;
mod setting;
mod sinks;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use strongroom_azure::{ErrorStatus, Problem, ResourceId};

pub(crate) use self::delivery::Deliveries;
use self::setting::{Destination, Setting, categories};
pub use self::sinks::{LogSink, LogSinks, NoLogSink};
use super::call::{Answer, Call};
use super::fault::{Outcome, bad, conflict, missing};
use super::inventory::{Resource, Rows, Selection};
use super::place::Place;
use super::route::{Permission, Route, blocking};
use crate::limits::{ARM_BODY, DIAGNOSTIC_SETTINGS};
use crate::scopes;

const TYPE: &str = "Microsoft.Insights/diagnosticSettings";
const ALL: &str = "{scope}/providers/Microsoft.Insights/diagnosticSettings";
const ONE: &str = "{scope}/providers/Microsoft.Insights/diagnosticSettings/{name}";
const CATEGORIES: &str = "{scope}/providers/Microsoft.Insights/diagnosticSettingsCategories";
const CATEGORY: &str = "{scope}/providers/Microsoft.Insights/diagnosticSettingsCategories/{name}";

pub(crate) fn routes() -> Vec<Route> {
    let read = Permission::Action("Microsoft.Insights/diagnosticSettings/read");
    let write = Permission::Action("Microsoft.Insights/diagnosticSettings/write");
    let delete = Permission::Action("Microsoft.Insights/diagnosticSettings/delete");
    let look = Permission::Action("Microsoft.Insights/diagnosticSettingsCategories/read");
    vec![
        Route::new(Method::GET, ALL, read, 0, blocking(list)),
        Route::new(Method::GET, ONE, read, 0, blocking(get)),
        Route::new(Method::PUT, ONE, write, ARM_BODY, blocking(put)),
        Route::new(Method::DELETE, ONE, delete, 0, blocking(remove)),
        // It would be plain state otherwise.
        Route::new(Method::PATCH, ONE, write, 0, blocking(no_patch)),
        Route::new(Method::GET, CATEGORIES, look, 0, blocking(list_categories)),
        Route::new(Method::GET, CATEGORY, look, 0, blocking(get_category)),
    ]
}

/// The type of a scope, in small letters; empty for one that is no resource.
fn type_of(scope: &ResourceId) -> String {
    let typed = Place::of(scope).and_then(|place| place.typed);
    typed.map_or(String::new(), |typed| typed.full_type().to_ascii_lowercase())
}

/// The settings of a resource itself, not of what is below it.
fn settings_of(rows: &Rows<'_>, scope: &ResourceId) -> Outcome<Vec<Resource>> {
    let selection = Selection {
        below: Some(scope),
        kind: Some(TYPE),
        ..Selection::default()
    };
    let mut all = rows.list(&selection, usize::MAX)?;
    all.retain(|row| setting::scope_of(&row.id).is_some_and(|on| on == *scope));
    Ok(all)
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let scope = call.scope()?;
    let found = call.arm.inventory.read(|rows| settings_of(rows, &scope))?;
    let rows = found.into_iter().map(|row| Value::Object(row.body));
    Ok(Answer::page(rows.collect(), None))
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    let found = call.arm.inventory.read(|rows| rows.get(&call.path))?;
    let found = found.ok_or_else(|| {
        let message = format!(
            "The Resource '{TYPE}/{}' under '{}' was not found.",
            call.name("name"),
            call.name("scope")
        );
        missing("ResourceNotFound", message)
    })?;
    Ok(call.show(StatusCode::OK, found))
}

fn put(call: &Arc<Call>) -> Outcome<Answer> {
    let scope = call.scope()?;
    let setting = Setting::read(&call.object()?, &type_of(&scope))?;
    for destination in &setting.destinations {
        check_right(call, &scope, destination)?;
    }
    let there = call.arm.inventory.read(|rows| rows.has(&scope))?;
    scopes::check(&call.arm.control.state(), &scope, Some(there))?;
    let mut body = setting.body();
    body.insert("id".to_owned(), json!(call.path.as_str()));
    body.insert("name".to_owned(), json!(call.name("name")));
    body.insert("type".to_owned(), json!(TYPE));
    let row = call.arm.inventory.write(|rows| {
        let before = rows.get(&call.path)?;
        call.check_conditions(before.as_ref())?;
        let mut others = settings_of(rows, &scope)?;
        others.retain(|known| known.id != call.path);
        if others.len() >= DIAGNOSTIC_SETTINGS {
            let message =
                format!("The limit of {DIAGNOSTIC_SETTINGS} diagnostic settings was reached. To create a new setting, delete an existing one.");
            return Err(conflict("Conflict", message));
        }
        for other in &others {
            check_apart(&setting, other)?;
        }
        if before.is_none() {
            // Whatever an earlier one of this name left.
            Deliveries::end(rows, &call.path)?;
        }
        let row = rows.put(&call.path, TYPE, body.clone(), call.now_ms)?;
        call.arm.deliveries.begin(&call.arm, rows, &row)?;
        Ok(row)
    })?;
    call.arm.deliveries.changed();
    // Azure answers so to what is new, too.
    Ok(call.show(StatusCode::OK, row))
}

/// Whoever has logs sent somewhere needs a right there as well, or else could write into what belongs to others.
fn check_right(call: &Call, scope: &ResourceId, destination: &Destination) -> Outcome<()> {
    let action = destination.needs();
    let there: Option<ResourceId> = destination.id.parse().ok();
    if there.is_some_and(|there| call.may(&there, &action)) {
        return Ok(());
    }
    let caller = call.caller();
    let message = format!(
        "The client '{caller}' with object id '{caller}' has permission to perform action 'Microsoft.Insights/diagnosticSettings/write' on scope '{scope}'; however, it does not have permission to perform action(s) '{action}' on the linked scope(s) '{}' (respectively) or the linked scope(s) are invalid.",
        destination.id
    );
    Err(Problem::new(ErrorStatus::FORBIDDEN, "LinkedAuthorizationFailed", message).into())
}

/// One destination takes one category of a resource once.
fn check_apart(new: &Setting, other: &Resource) -> Outcome<()> {
    let known = Setting::of(other);
    let shared = new
        .destinations
        .iter()
        .find(|one| known.destinations.iter().any(|other| other.id == one.id));
    let category = new.categories.iter().find(|one| known.categories.contains(*one));
    let (Some(destination), Some(category)) = (shared, category) else {
        return Ok(());
    };
    let message = format!(
        "Data sink '{}' is already used in diagnostic setting '{}' for category '{category}'. Data sinks can't be reused in different settings on the same category for the same resource.",
        destination.id,
        other.text("name").unwrap_or_default()
    );
    Err(conflict("Conflict", message))
}

fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    let gone = call.arm.inventory.write(|rows| {
        let found = rows.get(&call.path)?;
        call.check_conditions(found.as_ref())?;
        Deliveries::end(rows, &call.path)?;
        rows.delete(&call.path)
    })?;
    call.arm.deliveries.changed();
    let status = if gone > 0 {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    Ok(Answer::empty(status))
}

fn no_patch(_: &Arc<Call>) -> Outcome<Answer> {
    let message = "The requested resource does not support http method 'PATCH'.";
    Err(Problem::new(ErrorStatus::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).into())
}

fn category(scope: &ResourceId, name: &str, kind: &str, groups: &[&str]) -> Value {
    json!({
        "id": format!("{scope}/providers/Microsoft.Insights/diagnosticSettingsCategories/{name}"),
        "name": name,
        "type": "Microsoft.Insights/diagnosticSettingsCategories",
        "properties": { "categoryType": kind, "categoryGroups": groups },
    })
}

fn all_categories(scope: &ResourceId) -> Outcome<Vec<Value>> {
    let known = categories(&type_of(scope)).ok_or_else(|| {
        bad(
            "ResourceTypeNotSupported",
            format!("The resource type of '{scope}' does not support diagnostic settings."),
        )
    })?;
    let logs = known
        .iter()
        .map(|(name, groups)| category(scope, name, "Logs", groups));
    let metrics = category(scope, "AllMetrics", "Metrics", &[]);
    Ok(logs.chain([metrics]).collect())
}

fn list_categories(call: &Arc<Call>) -> Outcome<Answer> {
    Ok(Answer::page(all_categories(&call.scope()?)?, None))
}

fn get_category(call: &Arc<Call>) -> Outcome<Answer> {
    let wanted = call.name("name");
    let mut all = all_categories(&call.scope()?)?.into_iter();
    let found = all.find(|known| {
        let name = known.get("name").and_then(Value::as_str);
        name.is_some_and(|name| name.eq_ignore_ascii_case(wanted))
    });
    let message = || format!("The diagnostic settings category '{wanted}' was not found.");
    found
        .map(Answer::ok)
        .ok_or_else(|| missing("ResourceNotFound", message()))
}
