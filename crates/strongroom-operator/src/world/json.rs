//! Reading of JSON as Azure writes it: names in another case, numbers and truth values as texts, `null` for what is absent.

use jiff::Timestamp;
use serde_json::Value;

/// The member of that name, in any case; what is `null` is absent. An exact name goes before one in another case.
pub fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    let exact = object.get(name);
    let found = exact.or_else(|| {
        let mut others = object.iter();
        others.find_map(|(key, value)| key.trim().eq_ignore_ascii_case(name).then_some(value))
    });
    found.filter(|value| !value.is_null())
}

/// The member at a path of names with dots between them.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, name| field(value, name))
}

/// A text that is not empty.
pub fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    at(value, path)?
        .as_str()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

/// A truth value, also as text or number.
pub fn truth(value: &Value, path: &str) -> Option<bool> {
    match at(value, path)? {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") || text == "1" => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") || text == "0" => Some(false),
        Value::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number, also as text.
pub fn number(value: &Value, path: &str) -> Option<i64> {
    match at(value, path)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A moment: seconds since 1970 as number or text, or RFC 3339.
pub fn moment(value: &Value, path: &str) -> Option<Timestamp> {
    if let Some(seconds) = number(value, path) {
        return Timestamp::from_second(seconds).ok();
    }
    at(value, path)?.as_str()?.trim().parse().ok()
}

/// The elements of a list; of a single value, that value; of nothing, none.
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    match at(value, path) {
        None => &[],
        Some(Value::Array(items)) => items,
        Some(single) => std::slice::from_ref(single),
    }
}

/// The texts of a list; texts with commas between them also count as a list.
pub fn texts(value: &Value, path: &str) -> Vec<String> {
    let items = list(value, path).iter().filter_map(Value::as_str);
    let parts = items.flat_map(|text| text.split(',')).map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
