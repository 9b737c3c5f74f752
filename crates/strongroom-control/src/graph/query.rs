//! Lists: `$filter`, `$select`, `$top`, `$count`, pages.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use strongroom_azure::{ErrorStatus, Problem};

use super::bad;
use super::objects::{Kind, list_of, value_of};
use super::request::{Answer, Ask};
use crate::arm::fault::Outcome;
use crate::arm::filter::Filter;
use crate::directory::Principal;
use crate::limits::{DIRECTORY_PAGE, DIRECTORY_PAGE_MOST};

/// Options that mean something here. Anything else that changes what a list shows is refused, not passed over.
const OPTIONS: [&str; 6] = ["filter", "select", "top", "count", "skiptoken", "orderby"];

/// One page of these objects, as the request asks for it. `shown` makes what the client sees of one.
pub(super) fn page(
    ask: &Ask,
    kind: Kind,
    context: &str,
    mut all: Vec<Arc<Principal>>,
    shown: impl Fn(&Principal) -> Value,
) -> Outcome<Answer> {
    check_options(ask)?;
    if let Some(filter) = filter(ask, kind)? {
        all.retain(|known| {
            filter.holds_with(&|name| value_of(kind, known, name), &|name| list_of(known, name))
        });
    }
    let after = ask.option("skiptoken").map(from_token).transpose()?;
    let top = ask.option("top").map(str::parse::<usize>).transpose();
    let top = top.map_err(|_| bad("The value of $top must be a number."))?;
    let most = match top {
        Some(top) if !(1..=DIRECTORY_PAGE_MOST).contains(&top) => {
            return Err(bad(format!(
                "Invalid page size specified: '{top}'. Must be between 1 and {DIRECTORY_PAGE_MOST} inclusive."
            )));
        }
        top => top.unwrap_or(DIRECTORY_PAGE),
    };
    let count = all.len();
    all.sort_by_cached_key(|known| key(known));
    all.retain(|known| after.as_ref().is_none_or(|after| key(known) > *after));
    let more = all.len() > most;
    all.truncate(most);
    let next = all.last().filter(|_| more).map(|last| token(&key(last)));
    let rows: Vec<Value> = all.iter().map(|known| select(ask, shown(known))).collect();
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), ask.context(context).into());
    if ask
        .option("count")
        .is_some_and(|asked| asked.eq_ignore_ascii_case("true"))
    {
        body.insert("@odata.count".to_owned(), json!(count));
    }
    if let Some(next) = next {
        body.insert("@odata.nextLink".to_owned(), next_link(ask, &next).into());
    }
    body.insert("value".to_owned(), rows.into());
    Ok(Answer::ok(Value::Object(body)))
}

/// What `$select` leaves of an object.
pub(super) fn select(ask: &Ask, object: Value) -> Value {
    let (Some(select), Value::Object(object)) = (ask.option("select"), &object) else {
        return object;
    };
    let names: Vec<&str> = select.split(',').map(str::trim).collect();
    let kept = object.iter().filter(|(name, _)| {
        name.starts_with('@')
            || names
                .iter()
                .any(|wanted| *wanted == "*" || wanted.eq_ignore_ascii_case(name))
    });
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn check_options(ask: &Ask) -> Outcome<()> {
    for (name, _) in &ask.query {
        let Some(option) = name.strip_prefix('$') else {
            continue;
        };
        if !OPTIONS.iter().any(|known| known.eq_ignore_ascii_case(option)) {
            return Err(unsupported(format!("Query option '{name}' is not supported.")));
        }
    }
    match ask.option("orderby") {
        None => Ok(()),
        Some(by)
            if by
                .trim()
                .trim_end_matches(" asc")
                .eq_ignore_ascii_case("displayName") =>
        {
            Ok(())
        }
        Some(by) => Err(unsupported(format!("Sorting by '{by}' is not supported."))),
    }
}

fn unsupported(message: String) -> crate::arm::fault::Fault {
    Problem::new(ErrorStatus::BAD_REQUEST, "Request_UnsupportedQuery", message).into()
}

fn filter(ask: &Ask, kind: Kind) -> Outcome<Option<Filter>> {
    let Some(text) = ask.option("filter") else {
        return Ok(None);
    };
    let invalid = |why: String| {
        let message = format!("Invalid filter clause: {why}");
        Problem::new(ErrorStatus::BAD_REQUEST, "BadRequest", message)
    };
    let filter = Filter::parse(text).map_err(|error| invalid(error.to_string()))?;
    let unknown = filter.names().into_iter().find(|name| !kind.has(name));
    match unknown {
        Some(name) => {
            let kind = kind.type_name();
            Err(invalid(format!(
                "Could not find a property named '{name}' on type '{kind}'."
            ))
            .into())
        }
        None => Ok(Some(filter)),
    }
}

/// The order of lists: by name, and by id among those of one name.
fn key(known: &Principal) -> String {
    format!("{}\n{}", known.display_name, known.object_id)
}

fn token(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

fn from_token(token: &str) -> Outcome<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| bad("The skip token is not one of this list."))
}

fn next_link(ask: &Ask, token: &str) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    let kept = ask
        .query
        .iter()
        .filter(|(name, _)| !name.trim_start_matches('$').eq_ignore_ascii_case("skiptoken"));
    for (name, value) in kept {
        pairs.append_pair(name, value);
    }
    pairs.append_pair("$skiptoken", token);
    let segments = ask.path.iter().map(|segment| {
        percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
    });
    let path: Vec<String> = segments.collect();
    format!("{}/{}?{}", ask.base, path.join("/"), pairs.finish())
}
