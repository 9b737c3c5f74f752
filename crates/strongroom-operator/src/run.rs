//! A run: who asked whom, when, and which fact answers each question.

use serde::{Deserialize, Serialize};

use crate::fact::FactId;

/// One collection of facts, as `run.json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The program and its version.
    pub tool: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When it ended; none while it has not, or was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// The cloud's name.
    pub cloud: String,
    /// The tenant.
    pub tenant: String,
    /// The subscriptions that were asked about.
    pub subscriptions: Vec<String>,
    /// The accounts that were asked about, as they were named; all of them, if none is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// Who asked.
    pub caller: Caller,
    /// Where the times in the facts come from.
    pub clock: String,
    /// Requests that were sent, repeated ones included, and those of them that were repeated.
    #[serde(default)]
    pub sent: u64,
    /// See `sent`.
    #[serde(default)]
    pub repeated: u64,
    /// Every question, whatever became of it, in the order of question, about, fact.
    #[serde(default)]
    pub asked: Vec<Asked>,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The principal's object id, where a token told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// The application's id, where a token told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<String>,
    /// The kind of credential, such as `client-secret`.
    pub credential: String,
}

/// A question, and what answers it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asked {
    /// One of [`question`](crate::question)'s words.
    pub question: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The fact.
    pub fact: FactId,
}
