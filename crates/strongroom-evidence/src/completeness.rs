//! What the package says of its own completeness: integrity is not completeness, so it is a statement of its own.

use serde::{Deserialize, Serialize};

/// The numbers of the signed statement of completeness.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Completeness {
    /// Whether every question that was asked got an answer that could be used.
    pub complete: bool,
    /// Whether the run was cut off.
    pub interrupted: bool,
    /// Questions that the run asked.
    pub asked: u64,
    /// Those among them that were answered.
    pub answered: u64,
    /// Findings that say `could-not-check`.
    #[serde(rename = "couldNotCheck")]
    pub could_not_check: u64,
}

/// The head of `completeness.json`; the lists in it are for people.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) verdict: Completeness,
    pub(crate) unanswered: Vec<serde::de::IgnoredAny>,
}
