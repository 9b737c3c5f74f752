//! Resource Graph: questions about everything that there is, in a bounded part of the Kusto language.
//!
//! `lex` and `parse` make a [`Query`](ast::Query) of the text, `tables` gives the rows that it begins with (only what the
//! query looks at, as `wanted` says), `operators` run it, `expression` and `function` compute values. What a question may cost
//! is bounded by `fuel`.

mod aggregate;
mod ast;
mod error;
mod expression;
mod fuel;
mod function;
mod join;
mod lex;
mod operators;
mod parse;
mod tables;
mod value;
mod wanted;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Map, Value, json};
use strongroom_azure::{ErrorDetail, ErrorStatus, Problem};

use self::error::QueryError;
use self::fuel::Fuel;
use self::operators::Rowset;
use super::call::{Answer, Call};
use super::fault::{Fault, Outcome, bad};
use super::route::{Permission, Route, blocking};
use crate::limits::{GRAPH_BODY, GRAPH_PAGE};

pub(crate) fn routes() -> Vec<Route> {
    let path = "/providers/Microsoft.ResourceGraph/resources";
    vec![Route::new(
        Method::POST,
        path,
        Permission::Signed,
        GRAPH_BODY,
        blocking(ask),
    )]
}

/// Whether a text is a query.
pub(crate) fn check(text: &str) -> Result<(), String> {
    parse::parse(text).map(drop).map_err(|error| error.to_string())
}

/// What a request asks for beside the query.
struct Options {
    top: usize,
    skip: usize,
    table: bool,
}

fn ask(call: &Arc<Call>) -> Outcome<Answer> {
    let body = call.object()?;
    let text = body.get("query").and_then(Value::as_str);
    let text = text.ok_or_else(|| bad("BadRequest", "The request has no query."))?;
    let options = options(&body)?;
    let result = if concerns(&body, &call.arm.control.subscription()) {
        let query = parse::parse(text).map_err(invalid)?;
        let fuel = Fuel::full();
        operators::run(&query, &tables::Tables::of(call, &fuel)).map_err(refused)?
    } else {
        Rowset::default()
    };
    Ok(Answer::ok(shown(result, &options)))
}

fn options(body: &Map<String, Value>) -> Outcome<Options> {
    let given = body.get("options").and_then(Value::as_object);
    let option = |name: &str| {
        given
            .and_then(|given| given.get(name))
            .filter(|value| !value.is_null())
    };
    let number = |name: &str| match option(name) {
        None => Ok(None),
        Some(value) => match value.as_u64().and_then(|value| usize::try_from(value).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(bad("BadRequest", format!("The option {name} is no number."))),
        },
    };
    let top = number("$top")?.unwrap_or(GRAPH_PAGE);
    if !(1..=GRAPH_PAGE).contains(&top) {
        return Err(bad(
            "BadRequest",
            format!("The option $top is a number from 1 to {GRAPH_PAGE}."),
        ));
    }
    let skip = match option("$skipToken").and_then(Value::as_str) {
        Some(token) => {
            from_token(token).ok_or_else(|| bad("BadRequest", "The skip token is not one of ours."))?
        }
        None => number("$skip")?.unwrap_or(0),
    };
    let format = option("resultFormat")
        .and_then(Value::as_str)
        .unwrap_or("objectArray");
    let table = match format.to_ascii_lowercase().as_str() {
        "table" => true,
        "objectarray" => false,
        _ => {
            return Err(bad(
                "BadRequest",
                "The option resultFormat is objectArray or table.",
            ));
        }
    };
    Ok(Options { top, skip, table })
}

/// Whether the request is about our subscription: it names it, or names none.
fn concerns(body: &Map<String, Value>, subscription: &str) -> bool {
    let named = body.get("subscriptions").and_then(Value::as_array);
    named.is_none_or(|named| {
        named.is_empty()
            || named
                .iter()
                .filter_map(Value::as_str)
                .any(|named| named.eq_ignore_ascii_case(subscription))
    })
}

fn shown(result: Rowset, options: &Options) -> Value {
    let total = result.rows.len();
    let Rowset { columns, rows } = result;
    let page: Vec<_> = rows.into_iter().skip(options.skip).take(options.top).collect();
    let count = page.len();
    let data = if options.table {
        let types = columns.iter().enumerate().map(|(at, name)| {
            let sample = page
                .iter()
                .find_map(|row| row.get(at).filter(|value| !value.is_null()));
            json!({ "name": name, "type": value::type_name(sample) })
        });
        json!({ "columns": types.collect::<Vec<_>>(), "rows": page })
    } else {
        let objects = page
            .into_iter()
            .map(|row| columns.iter().cloned().zip(row).collect::<Map<_, _>>());
        objects.map(Value::Object).collect()
    };
    let mut body = json!({
        "totalRecords": total,
        "count": count,
        "data": data,
        "facets": [],
        "resultTruncated": "false",
    });
    let next = options.skip.saturating_add(count);
    if next < total
        && count > 0
        && let Some(body) = body.as_object_mut()
    {
        body.insert("$skipToken".to_owned(), token(next).into());
    }
    body
}

fn token(skip: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("skip {skip}"))
}

fn from_token(token: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    text.strip_prefix("skip ")?.parse().ok()
}

/// Why a query has no answer: it is wrong, or we are.
enum Refusal {
    Query(QueryError),
    Ours(Fault),
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Ours(fault)
    }
}

fn refused(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Query(error) => invalid(error),
        Refusal::Ours(fault) => fault,
    }
}

fn invalid(error: QueryError) -> Fault {
    let details = vec![ErrorDetail::new(error.code(), error.to_string())];
    let message = format!("The query is not valid: {error}.");
    Problem::new(ErrorStatus::BAD_REQUEST, "BadRequest", message)
        .with_details(details)
        .into()
}
