//! Resource groups.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use strongroom_azure::ResourceId;

use super::call::{Answer, Call};
use super::fault::{Fault, Outcome, bad, conflict, no_group};
use super::inventory::{GROUP, Resource, Rows};
use super::listing::{self, List};
use super::operations;
use super::route::{Permission, Route, blocking};
use super::tags;
use crate::limits::ARM_BODY;
use crate::names;

const TYPE: &str = "Microsoft.Resources/resourceGroups";

pub(crate) fn routes() -> Vec<Route> {
    let (all, one) = (
        "/subscriptions/{subscription}/resourceGroups",
        "/subscriptions/{subscription}/resourceGroups/{group}",
    );
    let read = Permission::Action("Microsoft.Resources/subscriptions/resourceGroups/read");
    let write = Permission::Action("Microsoft.Resources/subscriptions/resourceGroups/write");
    let delete = Permission::Action("Microsoft.Resources/subscriptions/resourceGroups/delete");
    vec![
        Route::new(Method::GET, all, Permission::Signed, 0, blocking(list)),
        Route::new(Method::GET, one, read, 0, blocking(get)),
        Route::new(Method::HEAD, one, read, 0, blocking(head)),
        Route::new(Method::PUT, one, write, ARM_BODY, blocking(put)),
        Route::new(Method::PATCH, one, write, ARM_BODY, blocking(patch)),
        Route::new(Method::DELETE, one, delete, 0, blocking(remove)),
    ]
}

/// The id of a group.
pub(crate) fn id(subscription: &ResourceId, name: &str) -> Outcome<ResourceId> {
    let child = subscription.child(&format!("resourceGroups/{name}"));
    child.map_err(|_| bad("InvalidResourceGroup", "The resource group name is not valid."))
}

/// What clients see of a group. `given` is what the client sent.
pub(crate) fn body(
    id: &ResourceId,
    name: &str,
    location: &str,
    given: Map<String, Value>,
) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("id".to_owned(), json!(id.as_str()));
    body.insert("name".to_owned(), json!(name));
    body.insert("type".to_owned(), json!(TYPE));
    body.insert(
        "location".to_owned(),
        json!(location.to_ascii_lowercase().replace(' ', "")),
    );
    for (name, value) in given {
        body.entry(name).or_insert(value);
    }
    body.insert(
        "properties".to_owned(),
        json!({ "provisioningState": "Succeeded" }),
    );
    body
}

/// The group of this name, which must be there.
pub(crate) fn must_be(rows: &Rows<'_>, subscription: &ResourceId, name: &str) -> Outcome<Resource> {
    rows.get(&id(subscription, name)?)?.ok_or_else(|| no_group(name))
}

/// The group of this name, which must be there to stay: what is put into one that is being deleted would outlive it.
pub(crate) fn must_stay(rows: &Rows<'_>, subscription: &ResourceId, name: &str) -> Outcome<Resource> {
    let group = must_be(rows, subscription, name)?;
    let state = group
        .body
        .get("properties")
        .and_then(|properties| properties.get("provisioningState"));
    if state.and_then(Value::as_str) == Some("Deleting") {
        let message = format!(
            "The resource group '{name}' is in deprovisioning state and cannot perform this operation."
        );
        return Err(conflict("ResourceGroupBeingDeleted", message));
    }
    Ok(group)
}

fn found(call: &Call) -> Outcome<Resource> {
    let found = call.arm.inventory.read(|rows| rows.get(&call.path))?;
    found.ok_or_else(|| no_group(call.name("group")))
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    Ok(call.show(StatusCode::OK, found(call)?))
}

fn head(call: &Arc<Call>) -> Outcome<Answer> {
    let there = call.arm.inventory.read(|rows| rows.has(&call.path))?;
    let status = if there {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    };
    Ok(Answer::empty(status))
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let of = List {
        below: None,
        kind: Some(GROUP),
        tracked: false,
        shown: |_, resource| Value::Object(resource.body),
    };
    listing::page(call, &of)
}

fn put(call: &Arc<Call>) -> Outcome<Answer> {
    let name = call.name("group");
    if names::label("resource group", name).is_err() {
        let message = format!(
            "The provided resource group name '{name}' has these invalid characters or length. The name can only be a letter, digit, '-', '.', '(', ')' or '_', of at most 90 characters, and cannot end with '.'."
        );
        return Err(bad("InvalidResourceGroup", message));
    }
    let given = call.object()?;
    tags::check(given.get("tags"))?;
    let location = given
        .get("location")
        .and_then(Value::as_str)
        .filter(|location| !location.is_empty());
    let location = location.ok_or_else(|| {
        bad(
            "LocationRequired",
            "The location property is required for this definition.",
        )
    })?;
    call.arm.inventory.write(|rows| {
        let before = rows.get(&call.path)?;
        call.check_conditions(before.as_ref())?;
        if let Some(before) = &before {
            check_location(before, location, name)?;
        }
        let id = before.as_ref().map_or(&call.path, |before| &before.id).clone();
        let shown = before
            .as_ref()
            .and_then(|before| before.text("name"))
            .unwrap_or(name)
            .to_owned();
        let body = body(&id, &shown, location, given.clone());
        let status = if before.is_some() {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        let group = rows.put(&id, GROUP, body, call.now_ms)?;
        Ok(call.show(status, group))
    })
}

fn check_location(before: &Resource, location: &str, name: &str) -> Outcome<()> {
    let known = before.text("location").unwrap_or_default();
    if known == location.to_ascii_lowercase().replace(' ', "") {
        return Ok(());
    }
    let message = format!(
        "Invalid resource group location '{location}'. The Resource group '{name}' already exists in location '{known}'."
    );
    Err(conflict("InvalidResourceGroupLocation", message))
}

fn patch(call: &Arc<Call>) -> Outcome<Answer> {
    let changes = call.object()?;
    tags::check(changes.get("tags"))?;
    call.arm.inventory.write(|rows| {
        let mut group = rows
            .get(&call.path)?
            .ok_or_else(|| no_group(call.name("group")))?;
        call.check_conditions(Some(&group))?;
        for (name, value) in changes.clone() {
            if !["id", "name", "type", "location", "properties"].contains(&name.as_str()) {
                group.body.insert(name, value);
            }
        }
        let group = rows.put(&group.id, GROUP, group.body, call.now_ms)?;
        Ok(call.show(StatusCode::OK, group))
    })
}

/// Takes what is in the group with it. That goes on after the answer.
fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    let accepted = call.arm.inventory.write(|rows| {
        let mut group = rows
            .get(&call.path)?
            .ok_or_else(|| no_group(call.name("group")))?;
        call.check_conditions(Some(&group))?;
        let deleting = json!({ "provisioningState": "Deleting" });
        group.body.insert("properties".to_owned(), deleting);
        rows.put(&group.id, GROUP, group.body, call.now_ms)?;
        operations::begin(rows, call, operations::DELETE_GROUP, &group.id)
    })?;
    operations::run(&call.arm, &accepted)?;
    Ok(operations::accepted(call, &accepted))
}

/// What the deletion of a group does.
pub(crate) fn delete(arm: &super::Shared, id: &ResourceId) -> Result<(), Fault> {
    // As on Azure, they can be recovered once there is a group of this name again.
    arm.control
        .delete_accounts_of(id.segment_after("resourceGroups").unwrap_or_default())?;
    arm.control.remove_identities_below(id)?;
    arm.control.delete_vaults_in(id)?;
    arm.inventory.write(|rows| rows.delete(id).map(drop))?;
    // What was on its way into the group when its deletion began.
    arm.control
        .delete_accounts_of(id.segment_after("resourceGroups").unwrap_or_default())?;
    // A group made later under this name is another one.
    arm.control.remove_assignments_below(id)?;
    Ok(())
}
