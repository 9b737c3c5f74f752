//! Reads the fields of a JSON request; a wrong type names the field.

use serde_json::{Map, Value};

use crate::limits;
use crate::problem::Problem;

/// The fields of a request, looked at by name. `null` counts as absent.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The value, whatever it is.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn string(&self, name: &'static str) -> Result<Option<&'a str>, Problem> {
        self.read(name, "a string", Value::as_str)
    }

    pub(crate) fn boolean(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        self.read(name, "a boolean", Value::as_bool)
    }

    pub(crate) fn array(&self, name: &'static str) -> Result<Option<&'a Vec<Value>>, Problem> {
        self.read(name, "an array", Value::as_array)
    }

    pub(crate) fn object(&self, name: &'static str) -> Result<Option<&'a Map<String, Value>>, Problem> {
        self.read(name, "an object", Value::as_object)
    }

    /// A number within these bounds.
    pub(crate) fn number(&self, name: &'static str, least: f64, most: f64) -> Result<Option<f64>, Problem> {
        let Some(number) = self.read(name, "a number", Value::as_f64)? else {
            return Ok(None);
        };
        if (least..=most).contains(&number) {
            return Ok(Some(number));
        }
        Err(Problem::invalid(
            name,
            format!("Invalid '{name}': it must be between {least} and {most}."),
        ))
    }

    /// A whole number that is at least `least`.
    pub(crate) fn integer(&self, name: &'static str, least: u64) -> Result<Option<u64>, Problem> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        if !value.is_i64() && !value.is_u64() {
            return Err(wrong_type(name, "an integer", value));
        }
        match value.as_u64().filter(|number| *number >= least) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::invalid(
                name,
                format!("Invalid '{name}': it must be at least {least}."),
            )),
        }
    }

    /// A string that must be there and must not be empty.
    pub(crate) fn required_string(&self, name: &'static str) -> Result<&'a str, Problem> {
        match self.string(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(missing(name)),
        }
    }

    /// Up to 16 pairs of short strings.
    pub(crate) fn metadata(&self) -> Result<Map<String, Value>, Problem> {
        const NAME: &str = "metadata";
        let Some(pairs) = self.object(NAME)? else {
            return Ok(Map::new());
        };
        if pairs.len() > limits::METADATA_PAIRS {
            let message = format!(
                "Invalid 'metadata': at most {} pairs are kept.",
                limits::METADATA_PAIRS
            );
            return Err(Problem::coded("object_above_max_properties", NAME, message));
        }
        for (key, value) in pairs {
            let Some(text) = value.as_str() else {
                return Err(wrong_type("metadata", "an object of strings", value));
            };
            let fits = key.chars().count() <= limits::METADATA_KEY_CHARS
                && text.chars().count() <= limits::METADATA_VALUE_CHARS;
            if !fits {
                let message = format!(
                    "Invalid 'metadata': keys have at most {} characters, values at most {}.",
                    limits::METADATA_KEY_CHARS,
                    limits::METADATA_VALUE_CHARS
                );
                return Err(Problem::coded("string_above_max_length", NAME, message));
            }
        }
        Ok(pairs.clone())
    }

    fn read<T>(
        &self,
        name: &'static str,
        wanted: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        read(value)
            .map(Some)
            .ok_or_else(|| wrong_type(name, wanted, value))
    }
}

/// A required field is not there.
pub(crate) fn missing(name: &'static str) -> Problem {
    Problem::coded(
        "missing_required_parameter",
        name,
        format!("Missing required parameter: '{name}'."),
    )
}

/// A field has a type that it cannot have.
pub(crate) fn wrong_type(name: impl Into<String>, wanted: &str, got: &Value) -> Problem {
    let name = name.into();
    let message = format!(
        "Invalid type for '{name}': expected {wanted}, but got {} instead.",
        type_of(got)
    );
    Problem::coded("invalid_type", name, message)
}

/// A field that is known, but not offered here.
pub(crate) fn unsupported(name: &'static str, message: impl Into<String>) -> Problem {
    Problem::coded("unsupported_parameter", name, message)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
