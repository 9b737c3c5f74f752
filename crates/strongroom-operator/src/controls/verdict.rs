//! What a control says of one resource.

use crate::finding::Answer;
use crate::world::{FactRef, Lookup, NotRead};

/// What a control says, why, and on which facts.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) answer: Answer,
    pub(super) reason: String,
    pub(super) facts: Vec<FactRef>,
}

/// A judgement, or the reason why it ends early: with an answer already, or because something could not be read.
pub(super) type Judged = Result<Verdict, Stop>;

/// Why a judgement ends early.
#[derive(Debug, Clone)]
pub(super) enum Stop {
    /// The answer is known already.
    Known(Box<Verdict>),
    /// Something could not be read.
    NotRead(Box<NotRead>),
}

impl From<NotRead> for Stop {
    fn from(not: NotRead) -> Self {
        Self::NotRead(Box::new(not))
    }
}

impl From<Verdict> for Stop {
    fn from(verdict: Verdict) -> Self {
        Self::Known(Box::new(verdict))
    }
}

impl Verdict {
    fn new(answer: Answer, reason: impl Into<String>, facts: impl IntoIterator<Item = FactRef>) -> Self {
        let mut facts: Vec<FactRef> = facts.into_iter().collect();
        facts.sort();
        facts.dedup();
        Self {
            answer,
            reason: reason.into(),
            facts,
        }
    }

    pub(super) fn pass(reason: impl Into<String>, facts: impl IntoIterator<Item = FactRef>) -> Self {
        Self::new(Answer::Pass, reason, facts)
    }

    pub(super) fn fail(reason: impl Into<String>, facts: impl IntoIterator<Item = FactRef>) -> Self {
        Self::new(Answer::Fail, reason, facts)
    }

    pub(super) fn not_applicable(
        reason: impl Into<String>,
        facts: impl IntoIterator<Item = FactRef>,
    ) -> Self {
        Self::new(Answer::NotApplicable, reason, facts)
    }

    pub(super) fn conflict(
        rules: &[&str],
        reason: impl Into<String>,
        facts: impl IntoIterator<Item = FactRef>,
    ) -> Self {
        let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
        Self::new(Answer::Conflict { rules }, reason, facts)
    }

    /// Passes or fails by what was found wrong; what is wrong is the reason.
    pub(super) fn by(
        wrong: &[String],
        right: impl Into<String>,
        facts: impl IntoIterator<Item = FactRef>,
    ) -> Self {
        if wrong.is_empty() {
            Self::pass(right, facts)
        } else {
            Self::fail(wrong.join("; "), facts)
        }
    }

    /// Ends the judgement with this answer.
    pub(super) fn stop<T>(self) -> Result<T, Stop> {
        Err(Stop::Known(Box::new(self)))
    }

    /// The whole of a judgement.
    pub(super) fn of(judged: Judged) -> Self {
        match judged {
            Ok(verdict) => verdict,
            Err(Stop::Known(verdict)) => *verdict,
            Err(Stop::NotRead(not)) => {
                let status = not
                    .status
                    .map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
                let reason = format!("not read: {} ({status})", not.hides);
                let answer = Answer::CouldNotCheck {
                    status: not.status,
                    call: not.call,
                };
                Self::new(answer, reason, not.fact)
            }
        }
    }
}

/// What a look-up leads to, with its fact; what is not there ends the judgement with a failure.
pub(super) fn need<T>(lookup: Lookup<T>, missing: impl FnOnce() -> String) -> Result<(T, FactRef), Stop> {
    match lookup {
        Lookup::Known(value, fact) => Ok((value, fact)),
        Lookup::Absent(fact) => Verdict::fail(missing(), [fact]).stop(),
        Lookup::NotRead(not) => Err(not.into()),
    }
}

/// What an answer may leave out, and then cannot be judged.
pub(super) fn shown<T>(value: Option<T>, fact: FactRef, what: &str) -> Result<T, Stop> {
    value.ok_or_else(|| {
        Stop::from(NotRead {
            fact: Some(fact),
            ..NotRead::unasked(format!("the answer does not show {what}"), what)
        })
    })
}
