//! The activity log as clients ask for it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Map, Value};
use strongroom_azure::ResourceId;

use super::activity::{Found, Window};
use super::call::{Answer, Call};
use super::fault::{Outcome, bad};
use super::filter::{Comparison, Filter};
use super::route::{Permission, Route, blocking};
use super::time;
use super::visible::Visible;
use crate::limits::{ACTIVITY_KEPT, ACTIVITY_PAGE};

const READ: &str = "Microsoft.Insights/eventtypes/values/read";

pub(crate) fn routes() -> Vec<Route> {
    let values = "/subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values";
    vec![Route::new(
        Method::GET,
        values,
        Permission::Signed,
        0,
        blocking(list),
    )]
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let filter = call.parameter("$filter").map(Filter::parse).transpose();
    let filter = filter.map_err(|error| bad("BadRequest", format!("The filter is not valid: {error}.")))?;
    let filter = filter.map(|filter| filter.map_values(&normal)).transpose()?;
    let mut window = window(call, filter.as_ref())?;
    let select = call.parameter("$select");
    let mut visible = Visible::to(&call.arm, call.caller());
    let mut shown = Vec::new();
    loop {
        let batch = call.arm.activity.list(&window, ACTIVITY_PAGE)?;
        let last = batch.len() < ACTIVITY_PAGE;
        for Found { at, seq, row } in batch {
            if shown.len() == ACTIVITY_PAGE {
                let token = window.after.as_ref().map_or_else(String::new, token);
                return Ok(Answer::page(shown, Some(call.next_link(&token))));
            }
            window.after = Some((at, seq));
            let holds = filter
                .as_ref()
                .is_none_or(|filter| filter.holds(&|name| value(&row, name)));
            if holds && is_readable(&mut visible, &row) {
                shown.push(selected(row, select));
            }
        }
        if last {
            return Ok(Answer::page(shown, None));
        }
    }
}

fn window(call: &Call, filter: Option<&Filter>) -> Outcome<Window> {
    let required = |name: &str, comparison| filter.and_then(|filter| filter.required(name, comparison));
    let kept = i64::try_from(ACTIVITY_KEPT.as_millis()).unwrap_or(i64::MAX);
    let bound = |one, other| {
        let found = required("eventTimestamp", one).or_else(|| required("eventTimestamp", other));
        found.map(str::to_owned)
    };
    let after = call.parameter("$skiptoken").map(|text| {
        from_token(text).ok_or_else(|| bad("BadRequest", "The skip token is not one of this list."))
    });
    Ok(Window {
        from: bound(Comparison::Ge, Comparison::Gt)
            .unwrap_or_else(|| time::text(call.now_ms.saturating_sub(kept))),
        // Later than every row; also than those of this very moment.
        to: bound(Comparison::Le, Comparison::Lt).unwrap_or_else(|| "9999".to_owned()),
        group: required("resourceGroupName", Comparison::Eq).map(str::to_owned),
        correlation: required("correlationId", Comparison::Eq).map(str::to_owned),
        after: after.transpose()?,
    })
}

/// Times in the one form that rows have.
fn normal(name: &str, value: &str) -> Outcome<String> {
    if !name.eq_ignore_ascii_case("eventTimestamp") {
        return Ok(value.to_owned());
    }
    time::normal(value).ok_or_else(|| bad("BadRequest", format!("'{value}' is no time.")))
}

/// What a name in a filter stands for.
fn value(row: &Value, name: &str) -> Option<String> {
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let nested = |name: &str| row.get(name)?.get("value")?.as_str().map(str::to_owned);
    match name.to_ascii_lowercase().as_str() {
        "eventtimestamp" => text("eventTimestamp"),
        "resourcegroupname" => text("resourceGroupName"),
        "resourceid" | "resourceuri" => text("resourceId"),
        "resourceprovider" => nested("resourceProviderName"),
        "resourcetype" => nested("resourceType"),
        "caller" => text("caller"),
        "status" => nested("status"),
        "substatus" => nested("subStatus"),
        "operations" | "operationname" => nested("operationName"),
        "correlationid" => text("correlationId"),
        "levels" | "level" => text("level"),
        "category" => nested("category"),
        // Old clients say which channels they want; there is one kind of rows.
        "eventchannels" => Some("Admin, Operation".to_owned()),
        _ => None,
    }
}

fn is_readable(visible: &mut Visible<'_>, row: &Value) -> bool {
    let id = row.get("resourceId").and_then(Value::as_str);
    let id = id.and_then(|id| id.parse::<ResourceId>().ok());
    id.is_some_and(|id| visible.may(&id, READ))
}

fn selected(row: Value, select: Option<&str>) -> Value {
    let (Some(select), Value::Object(row)) = (select, &row) else {
        return row;
    };
    let names: Vec<&str> = select.split(',').map(str::trim).collect();
    let kept: Map<String, Value> = row
        .iter()
        .filter(|(name, _)| names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Value::Object(kept)
}

fn token((at, seq): &(String, i64)) -> String {
    URL_SAFE_NO_PAD.encode(format!("{at} {seq}"))
}

fn from_token(token: &str) -> Option<(String, i64)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (at, seq) = text.split_once(' ')?;
    Some((at.to_owned(), seq.parse().ok()?))
}
