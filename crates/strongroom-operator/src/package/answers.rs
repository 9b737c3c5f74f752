//! The six answers and the other words of the judgement, as every file of the package writes them.

use jiff::Timestamp;

use super::error::PackageError;
use crate::finding::{Answer, Finding, Framework, Severity};

/// The answers in the order in which they are counted and shown: what asks for attention first.
pub(super) const ANSWERS: [&str; 6] = [
    "fail",
    "could-not-check",
    "conflict",
    "excepted",
    "pass",
    "not-applicable",
];

/// The answer's word.
#[must_use]
pub fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Fail => "fail",
        Answer::CouldNotCheck { .. } => "could-not-check",
        Answer::Conflict { .. } => "conflict",
        Answer::Excepted { .. } => "excepted",
        Answer::Pass => "pass",
        Answer::NotApplicable => "not-applicable",
    }
}

/// Its place among [`ANSWERS`].
#[must_use]
pub fn rank(answer: &Answer) -> usize {
    ANSWERS
        .iter()
        .position(|known| *known == word(answer))
        .unwrap_or(0)
}

/// What the answer carries beside its word, in one line.
pub(super) fn detail(answer: &Answer) -> String {
    match answer {
        Answer::CouldNotCheck {
            status: Some(status),
            call,
        } => format!("status {status}: {call}"),
        Answer::CouldNotCheck { status: None, call } => format!("no answer: {call}"),
        Answer::Excepted {
            approver,
            until,
            reason,
        } => format!("approved by {approver} until {until}: {reason}"),
        Answer::Conflict { rules } => rules.join("; "),
        Answer::Pass | Answer::Fail | Answer::NotApplicable => String::new(),
    }
}

/// The severity's word.
#[must_use]
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// The framework's name.
pub(super) fn framework(framework: Framework) -> &'static str {
    match framework {
        Framework::Nist80053 => "NIST SP 800-53",
        Framework::Iso27001 => "ISO/IEC 27001",
        Framework::Mcsb => "MCSB",
    }
}

/// How often each of [`ANSWERS`] was given.
pub(super) fn count<'a>(findings: impl Iterator<Item = &'a Finding>) -> [u64; 6] {
    let mut counts = [0; 6];
    for finding in findings {
        if let Some(count) = counts.get_mut(rank(&finding.answer)) {
            *count += 1;
        }
    }
    counts
}

/// A time in RFC 3339, in UTC.
pub(super) fn time(at_ms: u64) -> Result<String, PackageError> {
    let at = i64::try_from(at_ms)
        .ok()
        .and_then(|at| Timestamp::from_millisecond(at).ok());
    at.map(|at| at.to_string()).ok_or(PackageError::Time(at_ms))
}
