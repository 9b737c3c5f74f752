//! YAML, as far as it is needed: written from JSON values; read with the place of everything that stands in it.

use std::fmt::Write as _;

use serde_json::Value;

/// A value as YAML, in block style. Texts that could be read as anything else are quoted.
#[must_use]
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => object(members, 0, &mut out),
        Value::Array(items) if !items.is_empty() => array(items, 0, &mut out),
        other => {
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
    out
}

fn object(members: &serde_json::Map<String, Value>, depth: usize, out: &mut String) {
    for (name, value) in members {
        indent(depth, out);
        entry(name, value, depth, out);
    }
}

fn entry(name: &str, value: &Value, depth: usize, out: &mut String) {
    out.push_str(&text(name));
    out.push(':');
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            object(members, depth + 1, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            array(items, depth + 1, out);
        }
        Value::String(lines) if is_block(lines) => {
            out.push_str(" |\n");
            for line in lines.lines() {
                indent(depth + 1, out);
                out.push_str(line);
                out.push('\n');
            }
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

fn array(items: &[Value], depth: usize, out: &mut String) {
    for item in items {
        indent(depth, out);
        out.push_str("- ");
        match item {
            Value::Object(members) if !members.is_empty() => {
                for (number, (name, value)) in members.iter().enumerate() {
                    if number > 0 {
                        indent(depth + 1, out);
                    }
                    entry(name, value, depth + 1, out);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                array(items, depth + 1, out);
            }
            other => {
                out.push_str(&scalar(other));
                out.push('\n');
            }
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// Whether a text can stand as it is, line below line.
fn is_block(text: &str) -> bool {
    let has_lines = text.ends_with('\n') && !text.ends_with("\n\n") && text.lines().count() > 1;
    let is_plain =
        |line: &str| !line.starts_with([' ', '\t']) && !line.is_empty() && line.chars().all(is_printable);
    has_lines && text.lines().all(is_plain)
}

fn is_printable(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(value) => text(value),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

fn text(value: &str) -> String {
    if is_plain(value) {
        return value.to_owned();
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for letter in value.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            letter if is_printable(letter) => quoted.push(letter),
            letter => {
                // A String takes everything.
                let _ = write!(quoted, "\\U{:08X}", u32::from(letter));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a text reads as itself without quotes: it begins with a letter or slash, holds nothing that means something, and is none
/// of the words that mean something.
fn is_plain(value: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let first = value
        .chars()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '/');
    let inside = |letter: char| letter.is_ascii_alphanumeric() || " -_./@()+".contains(letter);
    first
        && value.chars().all(inside)
        && !value.ends_with(' ')
        && !WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
        && !["nan", "inf"].iter().any(|word| value.eq_ignore_ascii_case(word))
}
