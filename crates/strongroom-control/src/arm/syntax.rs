//! The languages that clients write in: whether a text is in one, and why not.

use super::filter::Filter;
use super::graph;

/// A filter of a list: `resourceType eq 'a/b' and name eq 'c'`.
pub fn check_filter(text: &str) -> Result<(), String> {
    Filter::parse(text).map(drop).map_err(|error| error.to_string())
}

/// A Resource Graph query.
pub fn check_query(text: &str) -> Result<(), String> {
    graph::check(text)
}
