//! Lists of rows: filtered, cut to what the caller may read, in pages.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Map, Value, json};
use strongroom_azure::ResourceId;

use super::call::{Answer, Call};
use super::fault::{Outcome, bad};
use super::filter::{Comparison, Filter};
use super::groups;
use super::inventory::{Resource, Selection, key};
use super::place::Place;
use super::route::{Permission, Route, blocking};
use super::time;
use super::visible::Visible;
use crate::limits::{ARM_BATCH, ARM_PAGE};

/// What a list is of.
pub(crate) struct List<'a> {
    pub(crate) below: Option<&'a ResourceId>,
    pub(crate) kind: Option<&'a str>,
    pub(crate) tracked: bool,
    /// What is shown of a row.
    pub(crate) shown: fn(&Call, Resource) -> Value,
}

pub(crate) fn routes() -> Vec<Route> {
    let all = "/subscriptions/{subscription}/resources";
    let group = "/subscriptions/{subscription}/resourceGroups/{group}/resources";
    vec![
        Route::new(Method::GET, all, Permission::Signed, 0, blocking(resources)),
        Route::new(
            Method::GET,
            group,
            Permission::Signed,
            0,
            blocking(resources_of_group),
        ),
    ]
}

fn resources(call: &Arc<Call>) -> Outcome<Answer> {
    page(
        call,
        &List {
            below: None,
            kind: None,
            tracked: true,
            shown: summary,
        },
    )
}

fn resources_of_group(call: &Arc<Call>) -> Outcome<Answer> {
    let subscription = call.arm.subscription();
    let group = call.name("group");
    call.arm
        .inventory
        .read(|rows| groups::must_be(rows, &subscription, group))?;
    let below = groups::id(&subscription, group)?;
    page(
        call,
        &List {
            below: Some(&below),
            kind: None,
            tracked: true,
            shown: summary,
        },
    )
}

/// One page of a list, as the request's `$filter`, `$top` and `$skiptoken` say.
pub(crate) fn page(call: &Call, list: &List<'_>) -> Outcome<Answer> {
    let filter = call.parameter("$filter").map(Filter::parse).transpose();
    let filter = filter.map_err(|error| bad("InvalidFilterInQueryString", error.to_string()))?;
    let top = call.parameter("$top").map(str::parse::<usize>).transpose();
    let top = top.map_err(|_| bad("InvalidParameterValue", "The value of $top is no number."))?;
    let most = top.unwrap_or(ARM_PAGE).clamp(1, ARM_PAGE);
    let mut after = call.parameter("$skiptoken").unwrap_or_default().to_owned();

    let required = |name: &str| {
        filter
            .as_ref()
            .and_then(|filter| filter.required(name, Comparison::Eq))
    };
    let group = required("resourceGroup")
        .map(|name| groups::id(&call.arm.subscription(), name))
        .transpose()?;
    let mut visible = Visible::to(&call.arm, call.caller());
    let mut found = Vec::new();
    loop {
        let selection = Selection {
            below: list.below.or(group.as_ref()),
            kind: list.kind.or_else(|| required("resourceType")),
            name: required("name"),
            tag: required("tagName").map(|name| (name, required("tagValue"))),
            tracked: list.tracked,
            after: Some(&after),
        };
        let batch = call.arm.inventory.read(|rows| rows.list(&selection, ARM_BATCH))?;
        let last = batch.len() < ARM_BATCH;
        for resource in batch {
            if found.len() == most {
                return Ok(Answer::page(found, Some(call.next_link(&after))));
            }
            after = key(&resource.id);
            let holds = filter.as_ref().is_none_or(|filter| holds(filter, &resource));
            if holds && visible.may_read(&resource.id, &resource.kind) {
                found.push((list.shown)(call, resource));
            }
        }
        if last {
            return Ok(Answer::page(found, None));
        }
    }
}

/// One page of rows that are all at hand, in the order of their keys, which `key` gives.
pub(crate) fn slice<T>(
    call: &Call,
    mut rows: Vec<T>,
    key: impl Fn(&T) -> String,
    shown: impl Fn(&T) -> Value,
) -> Outcome<Answer> {
    let invalid = || bad("InvalidSkipToken", "The skip token is not one of this list.");
    let after = call.parameter("$skiptoken").map(|token| {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(invalid)
    });
    let after = after.transpose()?;
    rows.sort_by_cached_key(&key);
    let left = rows
        .iter()
        .filter(|row| after.as_ref().is_none_or(|after| key(row) > *after));
    let mut left: Vec<&T> = left.take(ARM_PAGE + 1).collect();
    let more = left.len() > ARM_PAGE;
    left.truncate(ARM_PAGE);
    let last = left.last().filter(|_| more);
    let next = last.map(|last| call.next_link(&URL_SAFE_NO_PAD.encode(key(last))));
    Ok(Answer::page(left.into_iter().map(shown).collect(), next))
}

fn holds(filter: &Filter, resource: &Resource) -> bool {
    let tags = resource.body.get("tags").and_then(Value::as_object);
    // With a tag's name the filter was already held against the table of tags.
    let wanted = filter.required("tagName", Comparison::Eq);
    filter.holds(&|name| match name.to_ascii_lowercase().as_str() {
        "resourcetype" => Some(resource.kind.clone()),
        "resourcegroup" => Place::of(&resource.id).and_then(|place| place.group),
        "tagname" => tags
            .and_then(|tags| wanted_tag(tags, wanted))
            .map(|(name, _)| name.clone()),
        "tagvalue" => tags
            .and_then(|tags| wanted_tag(tags, wanted))
            .and_then(|(_, value)| value.as_str().map(str::to_owned)),
        "createdtime" => Some(time::text(resource.created_ms)),
        "changedtime" => Some(time::text(resource.changed_ms)),
        name => text_at(&resource.body, name),
    })
}

fn wanted_tag<'a>(tags: &'a Map<String, Value>, wanted: Option<&str>) -> Option<(&'a String, &'a Value)> {
    tags.iter()
        .find(|(name, _)| wanted.is_none_or(|wanted| name.eq_ignore_ascii_case(wanted)))
}

/// A member, or with slashes or dots a member of a member.
fn text_at(body: &Map<String, Value>, path: &str) -> Option<String> {
    let mut names = path.split(['/', '.']);
    let member = |object: &Map<String, Value>, name: &str| {
        let found = object.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    let mut value = member(body, names.next()?)?;
    for name in names {
        value = member(value.as_object()?, name)?;
    }
    match value {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// What lists of resources show: everything but the properties, and what `$expand` asks for.
fn summary(call: &Call, resource: Resource) -> Value {
    let Resource {
        mut body,
        created_ms,
        changed_ms,
        ..
    } = resource;
    let properties = body.shift_remove("properties");
    let expand = call.parameter("$expand").unwrap_or_default().to_ascii_lowercase();
    if expand.contains("createdtime") {
        body.insert("createdTime".to_owned(), json!(time::text(created_ms)));
    }
    if expand.contains("changedtime") {
        body.insert("changedTime".to_owned(), json!(time::text(changed_ms)));
    }
    if expand.contains("provisioningstate") {
        let state = properties
            .as_ref()
            .and_then(|properties| properties.get("provisioningState"));
        body.insert(
            "provisioningState".to_owned(),
            state.cloned().unwrap_or_else(|| json!("Succeeded")),
        );
    }
    Value::Object(body)
}
