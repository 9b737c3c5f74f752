//! From text to tokens.

use super::error::QueryError;
use crate::limits::GRAPH_QUERY;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Where it begins and ends in the text.
    pub(crate) at: usize,
    pub(crate) end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Word(String),
    Text(String),
    Number(f64),
    Integer(i64),
    /// A span of time, in milliseconds.
    Span(i64),
    Sign(&'static str),
}

/// Longer ones before those that they begin with.
const SIGNS: [&str; 26] = [
    "==", "!=", "=~", "!~", "<=", ">=", "<>", "..", "|", "(", ")", "[", "]", "{", "}", ",", ".", ":", ";",
    "=", "<", ">", "+", "-", "*", "/",
];

/// Cuts the text into tokens.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    if text.len() > GRAPH_QUERY {
        return Err(QueryError::TooLong(GRAPH_QUERY));
    }
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let skipped = blank(rest);
        if skipped > 0 {
            at += skipped;
            continue;
        }
        let (kind, length) = token(rest, at)?;
        tokens.push(Token {
            kind,
            at,
            end: at + length,
        });
        at += length;
    }
    Ok(tokens)
}

/// Bytes of white space, or of a comment.
fn blank(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    rest.len() - rest.trim_start().len()
}

fn token(rest: &str, at: usize) -> Result<(Kind, usize), QueryError> {
    let first = rest.chars().next().unwrap_or_default();
    if first == '\'' || first == '"' {
        return quoted(rest, first, at);
    }
    if let Some(verbatim) = rest.strip_prefix('@')
        && let Some(quote) = verbatim.chars().next().filter(|c| *c == '\'' || *c == '"')
    {
        let inner = verbatim.get(1..).unwrap_or_default();
        let end = inner.find(quote).ok_or(QueryError::Open(at))?;
        return Ok((
            Kind::Text(inner.get(..end).unwrap_or_default().to_owned()),
            end + 3,
        ));
    }
    if first.is_ascii_digit() {
        return number(rest, at);
    }
    if first.is_alphabetic() || first == '_' || first == '$' {
        let length = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
            .unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        return Ok((Kind::Word(word.to_owned()), length));
    }
    let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
    let other = ["!", "~", "%"].into_iter().find(|sign| rest.starts_with(sign));
    match sign.or(other) {
        Some(sign) => Ok((Kind::Sign(sign), sign.len())),
        None => Err(QueryError::Expected {
            at,
            wanted: "a character of the language",
        }),
    }
}

fn quoted(rest: &str, quote: char, at: usize) -> Result<(Kind, usize), QueryError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((Kind::Text(text), index + 1)),
            '\n' => break,
            '\\' => match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, c)) => text.push(c),
                None => break,
            },
            c => text.push(c),
        }
    }
    Err(QueryError::Open(at))
}

fn number(rest: &str, at: usize) -> Result<(Kind, usize), QueryError> {
    let digits = |from: usize| {
        let tail = rest.get(from..).unwrap_or_default();
        from + tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len())
    };
    let mut end = digits(0);
    let mut whole = true;
    // Two dots are a range, not a fraction.
    if rest
        .get(end..)
        .is_some_and(|tail| tail.starts_with('.') && tail[1..].starts_with(|c: char| c.is_ascii_digit()))
    {
        end = digits(end + 1);
        whole = false;
    }
    let text = rest.get(..end).unwrap_or_default();
    let tail = rest.get(end..).unwrap_or_default();
    let unit = tail
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(tail.len());
    let unit = tail.get(..unit).unwrap_or_default();
    let wrong = QueryError::Expected {
        at,
        wanted: "a number or a span of time",
    };
    if unit.is_empty() {
        let kind = if whole {
            text.parse().map(Kind::Integer).map_err(|_| wrong)?
        } else {
            text.parse().map(Kind::Number).map_err(|_| wrong)?
        };
        return Ok((kind, end));
    }
    let milliseconds = match unit {
        "d" => 86_400_000,
        "h" => 3_600_000,
        "m" => 60_000,
        "s" => 1_000,
        "ms" => 1,
        _ => return Err(wrong),
    };
    let count: i64 = text.parse().map_err(|_| wrong.clone())?;
    let span = count.checked_mul(milliseconds).ok_or(wrong)?;
    Ok((Kind::Span(span), end + unit.len()))
}
