//! Every resource type that nobody provides, as plain state: so that what depends on an account can stand beside it.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::call::{Answer, Call};
use super::fault::{Outcome, bad, conflict, missing, no_resource};
use super::groups;
use super::inventory::{Resource, Rows};
use super::listing::{self, List};
use super::place::{Place, Typed};
use super::route::{Permission, Route, blocking};
use super::{tags, time};
use crate::limits::{ARM_BODY, RESOURCE_NAME};
use crate::vaults::plain_location;

/// Namespaces whose types mean something here. What none of their routes serves is not kept as if it did.
const PROVIDED: [&str; 4] = [
    "Microsoft.KeyVault",
    "Microsoft.CognitiveServices",
    "Microsoft.Authorization",
    "Microsoft.ManagedIdentity",
];

/// Members of a resource that are not the client's to write.
const OURS: [&str; 4] = ["id", "name", "type", "systemData"];

pub(crate) fn routes() -> Vec<Route> {
    let any = "{scope}";
    vec![
        Route::new(Method::GET, any, Permission::OfType("read"), 0, blocking(get)),
        Route::new(Method::HEAD, any, Permission::OfType("read"), 0, blocking(head)),
        Route::new(
            Method::PUT,
            any,
            Permission::OfType("write"),
            ARM_BODY,
            blocking(put),
        ),
        Route::new(
            Method::PATCH,
            any,
            Permission::OfType("write"),
            ARM_BODY,
            blocking(patch),
        ),
        Route::new(
            Method::DELETE,
            any,
            Permission::OfType("delete"),
            0,
            blocking(remove),
        ),
    ]
}

/// The place of a resource that is plain state.
fn plain(call: &Call) -> Outcome<(Place, Typed)> {
    let place = call.place()?;
    let typed = place
        .typed
        .clone()
        .ok_or_else(|| bad("InvalidRequestUri", "No resource can have this path."))?;
    if PROVIDED
        .iter()
        .any(|provided| provided.eq_ignore_ascii_case(&typed.namespace))
    {
        let message = format!(
            "The resource type '{}' could not be found in the namespace '{}'.",
            typed.types.join("/"),
            typed.namespace
        );
        return Err(missing("InvalidResourceType", message));
    }
    Ok((place, typed))
}

/// The place of one plain resource, not of a collection.
fn plain_one(call: &Call) -> Outcome<(Place, Typed)> {
    let (place, typed) = plain(call)?;
    if typed.is_collection() {
        let message = "The request addresses a collection; a resource's name is missing.";
        return Err(bad("InvalidRequestUri", message));
    }
    Ok((place, typed))
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    let (place, typed) = plain(call)?;
    if !typed.is_collection() {
        return Ok(call.show(StatusCode::OK, found(call, &place, &typed)?));
    }
    let parent = place.parent_of_collection();
    if let Some(group) = &place.group {
        let subscription = call.arm.subscription();
        call.arm
            .inventory
            .read(|rows| groups::must_be(rows, &subscription, group))?;
    }
    listing::page(
        call,
        &List {
            below: parent.as_ref(),
            kind: Some(&typed.full_type()),
            tracked: false,
            shown: |_, resource| Value::Object(resource.body),
        },
    )
}

fn head(call: &Arc<Call>) -> Outcome<Answer> {
    plain_one(call)?;
    let there = call.arm.inventory.read(|rows| rows.has(&call.path))?;
    let status = if there {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    };
    Ok(Answer::empty(status))
}

fn put(call: &Arc<Call>) -> Outcome<Answer> {
    let given = call.object()?;
    call.arm.inventory.write(|rows| put_row(call, rows, &given))
}

/// Makes the resource that the path names, or replaces it, by what is given.
pub(crate) fn put_row(call: &Call, rows: &Rows<'_>, given: &Map<String, Value>) -> Outcome<Answer> {
    let (place, typed) = plain_one(call)?;
    tags::check(given.get("tags"))?;
    check_name(&typed)?;
    check_parent(rows, call, &place, &typed)?;
    let before = rows.get(&call.path)?;
    call.check_conditions(before.as_ref())?;
    if let Some(before) = &before {
        check_location(
            before,
            given,
            &typed.names.join("/"),
            place.group.as_deref().unwrap_or_default(),
        )?;
    }
    let status = if before.is_some() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let body = compose(call, before.as_ref(), &typed, given.clone());
    Ok(call.show(
        status,
        rows.put(&call.path, &typed.full_type(), body, call.now_ms)?,
    ))
}

fn patch(call: &Arc<Call>) -> Outcome<Answer> {
    let (place, typed) = plain_one(call)?;
    let changes = call.object()?;
    tags::check(changes.get("tags"))?;
    call.arm.inventory.write(|rows| {
        let before = rows
            .get(&call.path)?
            .ok_or_else(|| not_there(call, &place, &typed))?;
        call.check_conditions(Some(&before))?;
        let group = place.group.as_deref().unwrap_or_default();
        check_location(&before, &changes, &typed.names.join("/"), group)?;
        let mut merged = before.body.clone();
        merge(&mut merged, changes.clone());
        let body = compose(call, Some(&before), &typed, merged);
        Ok(call.show(
            StatusCode::OK,
            rows.put(&call.path, &typed.full_type(), body, call.now_ms)?,
        ))
    })
}

/// Takes what is below the resource with it, and the roles that were assigned there.
fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    plain_one(call)?;
    let gone = call.arm.inventory.write(|rows| {
        let found = rows.get(&call.path)?;
        call.check_conditions(found.as_ref())?;
        rows.delete(&call.path)
    })?;
    if gone == 0 {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    }
    call.arm.control.remove_assignments_below(&call.path)?;
    Ok(Answer::empty(StatusCode::OK))
}

fn found(call: &Call, place: &Place, typed: &Typed) -> Outcome<Resource> {
    let found = call.arm.inventory.read(|rows| {
        if let Some(group) = &place.group {
            groups::must_be(rows, &call.arm.subscription(), group)?;
        }
        rows.get(&call.path)
    })?;
    found.ok_or_else(|| not_there(call, place, typed))
}

fn not_there(call: &Call, place: &Place, typed: &Typed) -> super::fault::Fault {
    no_resource(
        &call.path,
        &typed.full_type(),
        &typed.names.join("/"),
        place.group.as_deref(),
    )
}

fn check_name(typed: &Typed) -> Outcome<()> {
    let name = typed.names.last().map_or("", String::as_str);
    if name.len() > RESOURCE_NAME || name.ends_with(['.', ' ']) {
        let message = format!("The resource name '{name}' is too long, or ends with a period or a space.");
        return Err(bad("InvalidResourceName", message));
    }
    Ok(())
}

fn check_parent(rows: &Rows<'_>, call: &Call, place: &Place, typed: &Typed) -> Outcome<()> {
    if let Some(group) = &place.group {
        groups::must_stay(rows, &call.arm.subscription(), group)?;
    }
    let Some(parent) = place.parent() else {
        return Ok(());
    };
    if rows.has(&parent)? || (typed.names.len() == 1 && !typed.extends) {
        return Ok(());
    }
    let message = format!(
        "Failed to perform 'write' on resource(s) of type '{}', because the parent resource '{parent}' could not be found.",
        typed.full_type()
    );
    Err(missing("ParentResourceNotFound", message))
}

/// A resource does not move to another region.
pub(crate) fn check_location(
    before: &Resource,
    given: &Map<String, Value>,
    name: &str,
    group: &str,
) -> Outcome<()> {
    let wanted = given.get("location").and_then(Value::as_str);
    let (Some(wanted), Some(known)) = (wanted, before.text("location")) else {
        return Ok(());
    };
    if plain_location(wanted) == plain_location(known) {
        return Ok(());
    }
    let message = format!(
        "The resource '{name}' already exists in location '{known}' in resource group '{group}'. A resource with the same name cannot be created in location '{wanted}'. Please select a new resource name."
    );
    Err(conflict("InvalidResourceLocation", message))
}

/// What is kept: what the client sent, unknown members included, under what is ours.
fn compose(
    call: &Call,
    before: Option<&Resource>,
    typed: &Typed,
    given: Map<String, Value>,
) -> Map<String, Value> {
    let id = before.map_or(&call.path, |before| &before.id);
    let own = |name: &str| before.and_then(|before| before.text(name)).map(str::to_owned);
    let mut body = Map::new();
    body.insert("id".to_owned(), json!(id.as_str()));
    let name = typed.names.last().cloned().unwrap_or_default();
    body.insert("name".to_owned(), json!(own("name").unwrap_or(name)));
    body.insert(
        "type".to_owned(),
        json!(own("type").unwrap_or_else(|| typed.full_type())),
    );
    for (name, value) in given {
        let ours = OURS.iter().any(|ours| ours.eq_ignore_ascii_case(&name));
        if !ours {
            body.insert(name, value);
        }
    }
    // Azure gives back region names in one spelling.
    if let Some(Value::String(location)) = body.get_mut("location") {
        *location = plain_location(location);
    }
    let properties = body.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("provisioningState".to_owned(), json!("Succeeded"));
    }
    body.insert("systemData".to_owned(), system_data(call, before));
    body
}

/// Who made it and who changed it last.
pub(crate) fn system_data(call: &Call, before: Option<&Resource>) -> Value {
    let now = time::text(call.now_ms);
    let made = before.and_then(|before| before.body.get("systemData"));
    let kept = |name: &str, new: &str| {
        let known = made.and_then(|made| made.get(name)).cloned();
        known.unwrap_or_else(|| json!(new))
    };
    json!({
        "createdBy": kept("createdBy", call.caller()),
        "createdByType": kept("createdByType", "Application"),
        "createdAt": kept("createdAt", &now),
        "lastModifiedBy": call.caller(),
        "lastModifiedByType": "Application",
        "lastModifiedAt": now,
    })
}

/// Merges as RFC 7396 says; tags are replaced as a whole, as Azure's providers do.
pub(crate) fn merge(into: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (name, value) in changes {
        match (into.get_mut(&name), value) {
            (_, Value::Null) => {
                into.shift_remove(&name);
            }
            (Some(Value::Object(known)), Value::Object(changes)) if name != "tags" => merge(known, changes),
            (_, Value::Object(changes)) if name != "tags" => {
                let mut new = Map::new();
                merge(&mut new, changes);
                into.insert(name, Value::Object(new));
            }
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_merges_deeply_removes_nulls_and_replaces_tags() {
        let object = |value: Value| value.as_object().unwrap().clone();
        let mut body =
            object(json!({"tags": {"a": "1"}, "properties": {"x": {"y": 1, "z": 2}, "list": [1, 2]}}));
        let changes = json!({"tags": {"b": "2"}, "properties": {"x": {"y": null, "w": 3}, "list": [3], "new": {"n": null}}});
        merge(&mut body, object(changes));
        let expected =
            json!({"tags": {"b": "2"}, "properties": {"x": {"z": 2, "w": 3}, "list": [3], "new": {}}});
        assert_eq!(Value::Object(body), expected);
    }
}
