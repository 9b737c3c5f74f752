//! Values, and how they compare. Every value is JSON; times are texts of one length.

use std::cmp::Ordering;

use serde_json::Value;

/// The value as text, as `tostring` gives it.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

/// The value as a number, if it is one or reads as one.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        _ => None,
    }
}

/// A number as JSON: whole where it is whole.
pub(crate) fn from_number(number: f64) -> Value {
    let whole = number.fract() == 0.0 && number.abs() < 9e15;
    if whole && let Ok(integer) = format!("{number:.0}").parse::<i64>() {
        return integer.into();
    }
    serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
}

pub(crate) fn truth(value: &Value) -> bool {
    match value {
        Value::Bool(value) => *value,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        Value::Number(number) => number.as_f64() != Some(0.0),
        _ => false,
    }
}

/// Orders two values; `None` where one is null, or they are of kinds that do not compare.
pub(crate) fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => None,
        _ => number(one)?.partial_cmp(&number(other)?),
    }
}

/// Orders any two values, for sorting: nulls, truths, numbers, texts, the rest.
pub(crate) fn rank(one: &Value, other: &Value) -> Ordering {
    let kind = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        _ => 4,
    };
    kind(one).cmp(&kind(other)).then_with(|| match (one, other) {
        (Value::Array(_) | Value::Object(_), _) => one.to_string().cmp(&other.to_string()),
        _ => order(one, other).unwrap_or(Ordering::Equal),
    })
}

/// Whether two values are equal, texts in any case if so asked.
pub(crate) fn equal(one: &Value, other: &Value, any_case: bool) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) if any_case => same(one, other),
        (Value::String(one), Value::String(other)) => one == other,
        // An absent text equals the empty one.
        (Value::Null, Value::String(text)) | (Value::String(text), Value::Null) => text.is_empty(),
        (Value::Number(_) | Value::Bool(_), Value::Number(_) | Value::Bool(_)) => {
            number(one) == number(other)
        }
        // What JSON keeps as a truth or number is compared with what the query writes as text, and the other way round.
        (Value::String(text), scalar @ (Value::Bool(_) | Value::Number(_)))
        | (scalar @ (Value::Bool(_) | Value::Number(_)), Value::String(text)) => {
            same(text, &self::text(scalar))
        }
        _ => one == other,
    }
}

fn same(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        one.eq_ignore_ascii_case(other)
    } else {
        one.to_lowercase() == other.to_lowercase()
    }
}

/// Whether the text has the term: bounded by what is neither a letter nor a digit.
pub(crate) fn has(text: &str, term: &str, before: bool, after: bool) -> bool {
    if term.is_empty() {
        return true;
    }
    let bounded = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(term).any(|(at, _)| {
        let left = text.get(..at).and_then(|left| left.chars().next_back());
        let right = text.get(at + term.len()..).and_then(|right| right.chars().next());
        (!before || bounded(left)) && (!after || bounded(right))
    })
}

/// About what a value takes by itself, in bytes.
const VALUE: usize = 64;

/// About how many bytes a value takes.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => VALUE + text.len(),
        Value::Array(all) => VALUE + all.iter().map(weight).sum::<usize>(),
        Value::Object(all) => {
            VALUE
                + all
                    .iter()
                    .map(|(name, value)| 16 + name.len() + weight(value))
                    .sum::<usize>()
        }
        _ => VALUE,
    }
}

/// What Resource Graph calls the type of a column that holds this.
pub(crate) fn type_name(sample: Option<&Value>) -> &'static str {
    match sample {
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => "integer",
        Some(Value::Number(_)) => "number",
        Some(Value::Array(_) | Value::Object(_)) => "object",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_bounded_by_what_is_no_letter() {
        assert!(has("microsoft.keyvault/vaults", "keyvault", true, true));
        assert!(!has("microsoft.keyvaults", "keyvault", true, true));
        assert!(has("microsoft.keyvaults", "keyvault", true, false));
        assert!(has("keyvaults keyvault", "keyvault", true, true));
    }
}
