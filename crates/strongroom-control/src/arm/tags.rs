//! Tags, on anything that there is.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::call::{Answer, Call};
use super::cognitive;
use super::fault::{Outcome, bad, missing};
use super::inventory::{Resource, Rows};
use super::route::{Permission, Route, blocking};
use crate::limits::{ARM_BODY, TAG_NAME, TAG_VALUE, TAGS};

pub(crate) fn routes() -> Vec<Route> {
    let on = "{scope}/providers/Microsoft.Resources/tags/default";
    let read = Permission::Action("Microsoft.Resources/tags/read");
    let write = Permission::Action("Microsoft.Resources/tags/write");
    let delete = Permission::Action("Microsoft.Resources/tags/delete");
    let names = "/subscriptions/{subscription}/tagNames";
    let names_read = Permission::Action("Microsoft.Resources/subscriptions/tagNames/read");
    vec![
        Route::new(Method::GET, on, read, 0, blocking(get)),
        Route::new(Method::PUT, on, write, ARM_BODY, blocking(put)),
        Route::new(Method::PATCH, on, write, ARM_BODY, blocking(patch)),
        Route::new(Method::DELETE, on, delete, 0, blocking(remove)),
        Route::new(Method::GET, names, names_read, 0, blocking(list)),
    ]
}

/// Refuses tags that Azure would not take.
pub(crate) fn check(tags: Option<&Value>) -> Outcome<()> {
    let tags = match tags {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(tags)) => tags,
        Some(_) => return Err(bad("InvalidTags", "Tags are an object of names and values.")),
    };
    if tags.len() > TAGS {
        let message = format!("The number of tags exceeds the limit of {TAGS}.");
        return Err(bad("TooManyTags", message));
    }
    for (name, value) in tags {
        let named = (1..=TAG_NAME).contains(&name.chars().count())
            && !name.contains(['<', '>', '%', '&', '\\', '?', '/']);
        if !named {
            return Err(bad(
                "InvalidTagName",
                format!("The tag name '{name}' is not valid."),
            ));
        }
        let length = value.as_str().map(|value| value.chars().count());
        if length.is_none_or(|length| length > TAG_VALUE) {
            let message =
                format!("The value of the tag '{name}' is no text of at most {TAG_VALUE} characters.");
            return Err(bad("InvalidTagValue", message));
        }
    }
    Ok(())
}

fn tagged(rows: &Rows<'_>, call: &Call) -> Outcome<Resource> {
    let scope = call.scope()?;
    rows.get(&scope)?.ok_or_else(|| {
        missing(
            "ResourceNotFound",
            format!("The Resource '{scope}' was not found."),
        )
    })
}

fn shown(resource: &Resource) -> Value {
    let tags = resource.body.get("tags").cloned().unwrap_or_else(|| json!({}));
    json!({
        "id": format!("{}/providers/Microsoft.Resources/tags/default", resource.id),
        "name": "default",
        "type": "Microsoft.Resources/tags",
        "properties": { "tags": tags },
    })
}

fn given(call: &Call) -> Outcome<Map<String, Value>> {
    let tags = call
        .body
        .get("properties")
        .and_then(|properties| properties.get("tags"));
    check(tags)?;
    Ok(tags.and_then(Value::as_object).cloned().unwrap_or_default())
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    let resource = call.arm.inventory.read(|rows| tagged(rows, call))?;
    Ok(Answer::ok(shown(&resource)))
}

fn put(call: &Arc<Call>) -> Outcome<Answer> {
    let tags = given(call)?;
    change(call, |_| tags.clone())
}

fn patch(call: &Arc<Call>) -> Outcome<Answer> {
    let given = given(call)?;
    let operation = call
        .body
        .get("operation")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    match operation.to_ascii_lowercase().as_str() {
        "replace" => change(call, |_| given.clone()),
        "merge" => change(call, |mut tags| {
            for (name, value) in given.clone() {
                tags.retain(|known, _| !same(known, &name));
                tags.insert(name, value);
            }
            tags
        }),
        "delete" => change(call, |mut tags| {
            tags.retain(|known, value| {
                !given
                    .iter()
                    .any(|(name, gone)| same(known, name) && value == gone)
            });
            tags
        }),
        _ => {
            let message = "The operation must be one of 'Merge', 'Replace' and 'Delete'.";
            Err(bad("InvalidTagsPatchOperation", message))
        }
    }
}

fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    change(call, |_| Map::new())?;
    Ok(Answer::empty(StatusCode::OK))
}

fn change(call: &Call, change: impl Fn(Map<String, Value>) -> Map<String, Value>) -> Outcome<Answer> {
    let answer = in_rows(call, change)?;
    // What has its record elsewhere has its tags there, too.
    cognitive::tagged(call, answer.body.as_ref())?;
    Ok(answer)
}

fn in_rows(call: &Call, change: impl Fn(Map<String, Value>) -> Map<String, Value>) -> Outcome<Answer> {
    call.arm.inventory.write(|rows| {
        let mut resource = tagged(rows, call)?;
        let before = resource.body.get("tags").and_then(Value::as_object).cloned();
        let after = Value::Object(change(before.unwrap_or_default()));
        check(Some(&after))?;
        resource.body.insert("tags".to_owned(), after);
        let kind = resource.kind.clone();
        let resource = rows.put(&resource.id, &kind, resource.body, call.now_ms)?;
        Ok(Answer::ok(shown(&resource)))
    })
}

/// Every tag that anything has.
fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let subscription = call.arm.subscription();
    let mut names: Vec<(String, i64, Vec<Value>)> = Vec::new();
    for (name, value, count) in call.arm.inventory.read(|rows| rows.tags())? {
        let id = format!("{subscription}/tagNames/{name}/tagValues/{value}");
        let shown = json!({ "id": id, "tagValue": value, "count": { "type": "Total", "value": count } });
        match names.last_mut().filter(|(known, ..)| *known == name) {
            Some((_, total, values)) => {
                *total += count;
                values.push(shown);
            }
            None => names.push((name, count, vec![shown])),
        }
    }
    let rows = names.into_iter().map(|(name, count, values)| {
        json!({
            "id": format!("{subscription}/tagNames/{name}"),
            "tagName": name,
            "count": { "type": "Total", "value": count },
            "values": values,
        })
    });
    Ok(Answer::page(rows.collect(), None))
}
