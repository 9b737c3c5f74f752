//! The functions that values can be given to.

use serde_json::{Map, Value};

use super::error::QueryError;
use super::value::{equal, from_number, number, text, truth};
use crate::arm::time;
use crate::limits::GRAPH_VALUE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Ago,
    ArrayLength,
    BagKeys,
    BagPack,
    Case,
    Coalesce,
    Iff,
    IndexOf,
    IsEmpty,
    IsNotEmpty,
    IsNotNull,
    IsNull,
    Now,
    PackArray,
    ParseJson,
    ReplaceString,
    SetHasElement,
    Split,
    StrCat,
    StrLen,
    Substring,
    ToBool,
    ToDateTime,
    ToDouble,
    ToLong,
    ToLower,
    ToString,
    ToUpper,
    Trim,
}

/// Name, function, fewest and most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 42] = [
    ("ago", Function::Ago, 1, 1),
    ("array_length", Function::ArrayLength, 1, 1),
    ("arraylength", Function::ArrayLength, 1, 1),
    ("bag_keys", Function::BagKeys, 1, 1),
    ("bag_pack", Function::BagPack, 2, 64),
    ("pack", Function::BagPack, 2, 64),
    ("pack_dictionary", Function::BagPack, 2, 64),
    ("case", Function::Case, 3, 64),
    ("coalesce", Function::Coalesce, 2, 64),
    ("iff", Function::Iff, 3, 3),
    ("iif", Function::Iff, 3, 3),
    ("indexof", Function::IndexOf, 2, 2),
    ("isempty", Function::IsEmpty, 1, 1),
    ("isnotempty", Function::IsNotEmpty, 1, 1),
    ("notempty", Function::IsNotEmpty, 1, 1),
    ("isnotnull", Function::IsNotNull, 1, 1),
    ("notnull", Function::IsNotNull, 1, 1),
    ("isnull", Function::IsNull, 1, 1),
    ("now", Function::Now, 0, 1),
    ("pack_array", Function::PackArray, 1, 64),
    ("parse_json", Function::ParseJson, 1, 1),
    ("parsejson", Function::ParseJson, 1, 1),
    ("todynamic", Function::ParseJson, 1, 1),
    ("toobject", Function::ParseJson, 1, 1),
    ("replace_string", Function::ReplaceString, 3, 3),
    ("replace", Function::ReplaceString, 3, 3),
    ("set_has_element", Function::SetHasElement, 2, 2),
    ("split", Function::Split, 2, 3),
    ("strcat", Function::StrCat, 1, 64),
    ("strlen", Function::StrLen, 1, 1),
    ("substring", Function::Substring, 2, 3),
    ("tobool", Function::ToBool, 1, 1),
    ("toboolean", Function::ToBool, 1, 1),
    ("todatetime", Function::ToDateTime, 1, 1),
    ("todouble", Function::ToDouble, 1, 1),
    ("toreal", Function::ToDouble, 1, 1),
    ("toint", Function::ToLong, 1, 1),
    ("tolong", Function::ToLong, 1, 1),
    ("tolower", Function::ToLower, 1, 1),
    ("tostring", Function::ToString, 1, 1),
    ("toupper", Function::ToUpper, 1, 1),
    ("trim_space", Function::Trim, 1, 1),
];

impl Function {
    pub(crate) fn named(name: &str) -> Option<Self> {
        FUNCTIONS
            .iter()
            .find(|(known, ..)| *known == name)
            .map(|(_, function, ..)| *function)
    }

    /// Whether it takes so many arguments.
    pub(crate) fn takes(self, count: usize) -> bool {
        let own = FUNCTIONS.iter().filter(|(_, function, ..)| *function == self);
        own.into_iter()
            .any(|(_, _, fewest, most)| (*fewest..=*most).contains(&count))
    }

    /// The result for these arguments, whose number fits.
    pub(crate) fn apply(self, arguments: &[Value], now_ms: i64) -> Result<Value, QueryError> {
        let null = &Value::Null;
        let [first, second, third] = [0, 1, 2].map(|at| arguments.get(at).unwrap_or(null));
        Ok(match self {
            Self::Ago => number(first).map_or(Value::Null, |span| at(now_ms, -span)),
            Self::Now => at(now_ms, number(first).unwrap_or(0.0)),
            Self::ToDateTime => time::normal(&text(first)).map_or(Value::Null, Value::String),
            Self::ArrayLength => first.as_array().map_or(Value::Null, |all| all.len().into()),
            Self::BagKeys => first
                .as_object()
                .map_or(Value::Null, |all| all.keys().cloned().collect()),
            Self::BagPack => bag(arguments)?,
            Self::PackArray => Value::Array(arguments.to_vec()),
            Self::Coalesce => arguments
                .iter()
                .find(|value| !is_empty(value))
                .cloned()
                .unwrap_or_default(),
            Self::Iff | Self::Case => chosen(arguments),
            Self::IndexOf => position(&text(first), &text(second)),
            Self::IsEmpty => is_empty(first).into(),
            Self::IsNotEmpty => (!is_empty(first)).into(),
            Self::IsNull => first.is_null().into(),
            Self::IsNotNull => (!first.is_null()).into(),
            Self::ParseJson => match first {
                Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| first.clone()),
                other => other.clone(),
            },
            Self::ReplaceString => replaced(&text(first), &text(second), &text(third))?,
            Self::SetHasElement => {
                let all = first.as_array().map(Vec::as_slice).unwrap_or_default();
                all.iter().any(|one| equal(one, second, false)).into()
            }
            Self::Split => split(&text(first), &text(second), arguments.get(2)),
            Self::StrCat => arguments.iter().map(text).collect::<String>().into(),
            Self::StrLen => text(first).chars().count().into(),
            Self::Substring => substring(&text(first), second, arguments.get(2)),
            Self::ToBool => bool_of(first),
            Self::ToDouble => number(first)
                .and_then(serde_json::Number::from_f64)
                .map_or(Value::Null, Value::Number),
            Self::ToLong => number(first).map_or(Value::Null, |number| from_number(number.trunc())),
            Self::ToLower => text(first).to_lowercase().into(),
            Self::ToUpper => text(first).to_uppercase().into(),
            Self::ToString => text(first).into(),
            Self::Trim => text(first).trim().into(),
        })
    }
}

fn at(now_ms: i64, span: f64) -> Value {
    let span = format!("{span:.0}").parse::<i64>().unwrap_or(0);
    time::text(now_ms.saturating_add(span)).into()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// `condition, then, condition, then, ..., else`.
fn chosen(arguments: &[Value]) -> Value {
    for pair in arguments.chunks(2) {
        match pair {
            [condition, then] if truth(condition) => return then.clone(),
            [otherwise] => return otherwise.clone(),
            _ => {}
        }
    }
    Value::Null
}

fn bag(arguments: &[Value]) -> Result<Value, QueryError> {
    let mut bag = Map::new();
    for pair in arguments.chunks(2) {
        let [name, value] = pair else {
            return Err(QueryError::Arguments("bag_pack".to_owned()));
        };
        bag.insert(text(name), value.clone());
    }
    Ok(Value::Object(bag))
}

fn position(text: &str, part: &str) -> Value {
    let found = text.find(part).and_then(|at| text.get(..at));
    found.map_or_else(|| (-1).into(), |before| before.chars().count().into())
}

fn replaced(text: &str, from: &str, to: &str) -> Result<Value, QueryError> {
    // An empty text is everywhere.
    if from.is_empty() {
        return Ok(text.into());
    }
    let grown = text.matches(from).count().saturating_mul(to.len());
    if grown > GRAPH_VALUE {
        return Err(QueryError::TooCostly);
    }
    Ok(text.replace(from, to).into())
}

fn split(text: &str, by: &str, wanted: Option<&Value>) -> Value {
    let parts: Vec<Value> = if by.is_empty() {
        vec![text.into()]
    } else {
        text.split(by).map(Value::from).collect()
    };
    match wanted
        .and_then(Value::as_u64)
        .and_then(|at| usize::try_from(at).ok())
    {
        Some(at) => Value::Array(parts.into_iter().skip(at).take(1).collect()),
        None => Value::Array(parts),
    }
}

fn substring(text: &str, from: &Value, length: Option<&Value>) -> Value {
    let count = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok());
    let from = count(from).unwrap_or(0);
    let length = length.and_then(count).unwrap_or(usize::MAX);
    text.chars().skip(from).take(length).collect::<String>().into()
}

fn bool_of(value: &Value) -> Value {
    match value {
        Value::Bool(_) => value.clone(),
        Value::Number(number) => (number.as_f64() != Some(0.0)).into(),
        Value::String(text) if text.eq_ignore_ascii_case("true") || text == "1" => true.into(),
        Value::String(text) if text.eq_ignore_ascii_case("false") || text == "0" => false.into(),
        _ => Value::Null,
    }
}
