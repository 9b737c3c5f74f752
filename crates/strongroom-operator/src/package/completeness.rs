//! `completeness.json`: what was asked, what was answered, what was not and why. Integrity is not completeness, so it is signed apart.

use std::collections::BTreeMap;

use serde::Serialize;

use super::answers::time;
use super::error::PackageError;
use crate::fact::{Fact, FactId, Failure, Outcome, Source};
use crate::finding::{Answer, Judgement};
use crate::run::Run;

/// What a statement of completeness says that it is.
pub(super) const COMPLETENESS_TYPE: &str = "urn:strongroom:evidence:completeness:1";

/// The numbers, which are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) complete: bool,
    pub(super) interrupted: bool,
    pub(super) asked: u64,
    pub(super) answered: u64,
    #[serde(rename = "couldNotCheck")]
    pub(super) could_not_check: u64,
}

/// What the facts tell of answers and clocks, noted while they are written.
#[derive(Default)]
pub(super) struct Seen {
    unanswered: Vec<(FactId, Why)>,
    offset: Option<(i64, i64)>,
}

struct Why {
    source: Source,
    call: String,
    status: Option<u16>,
    failure: Option<Failure>,
    message: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    pub(super) verdict: Verdict,
    clock: Clock<'a>,
    /// What was asked, by kind of question.
    questions: BTreeMap<&'a str, Asked>,
    pub(super) unanswered: Vec<Unanswered<'a>>,
    could_not_check: Vec<NotChecked<'a>>,
}

#[derive(Default, Serialize)]
struct Asked {
    asked: u64,
    answered: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Clock<'a> {
    source: &'a str,
    started: String,
    ended: Option<String>,
    /// The servers' clocks less ours, the least and the most of what was told.
    offset_ms: Option<(i64, i64)>,
}

#[derive(Serialize)]
pub(super) struct Unanswered<'a> {
    pub(super) question: &'a str,
    pub(super) about: Option<&'a str>,
    source: Source,
    pub(super) call: &'a str,
    pub(super) status: Option<u16>,
    failure: Option<Failure>,
    pub(super) message: Option<&'a str>,
    fact: &'a FactId,
}

#[derive(Serialize)]
struct NotChecked<'a> {
    control: &'a str,
    resource: &'a str,
    status: Option<u16>,
    call: &'a str,
    reason: &'a str,
}

impl Seen {
    /// Notes what a fact tells.
    pub(super) fn note(&mut self, id: &FactId, fact: &Fact) {
        if let Some(offset) = fact.clock_offset_ms {
            let (least, most) = self.offset.unwrap_or((offset, offset));
            self.offset = Some((least.min(offset), most.max(offset)));
        }
        if is_answered(fact) {
            return;
        }
        let (failure, message) = match &fact.outcome {
            Outcome::Failed { failure, message } => (Some(*failure), Some(message.clone())),
            Outcome::Answered { .. } => (None, None),
        };
        let why = Why {
            source: fact.source,
            call: fact.call(),
            status: fact.status(),
            failure,
            message,
        };
        self.unanswered.push((id.clone(), why));
    }

    /// The document. Facts must have been noted in the order of their ids.
    pub(super) fn document<'a>(
        &'a self,
        run: &'a Run,
        judgement: &'a Judgement,
    ) -> Result<Document<'a>, PackageError> {
        let unanswered: Vec<Unanswered<'a>> = run
            .asked
            .iter()
            .filter_map(|asked| self.unanswered(asked))
            .collect();
        let could_not_check: Vec<NotChecked<'a>> =
            judgement.findings.iter().filter_map(not_checked).collect();
        let verdict = Verdict {
            complete: unanswered.is_empty() && could_not_check.is_empty() && run.ended_ms.is_some(),
            interrupted: run.ended_ms.is_none(),
            asked: run.asked.len() as u64,
            answered: (run.asked.len() - unanswered.len()) as u64,
            could_not_check: could_not_check.len() as u64,
        };
        let clock = Clock {
            source: &run.clock,
            started: time(run.started_ms)?,
            ended: run.ended_ms.map(time).transpose()?,
            offset_ms: self.offset,
        };
        Ok(Document {
            verdict,
            clock,
            questions: self.questions(run),
            unanswered,
            could_not_check,
        })
    }

    fn questions<'a>(&self, run: &'a Run) -> BTreeMap<&'a str, Asked> {
        let mut questions: BTreeMap<&'a str, Asked> = BTreeMap::new();
        for asked in &run.asked {
            let count = questions.entry(&asked.question).or_default();
            count.asked += 1;
            count.answered += u64::from(self.unanswered(asked).is_none());
        }
        questions
    }

    fn unanswered<'a>(&'a self, asked: &'a crate::run::Asked) -> Option<Unanswered<'a>> {
        let at = self
            .unanswered
            .binary_search_by(|(id, _)| id.cmp(&asked.fact))
            .ok()?;
        let (_, why) = self.unanswered.get(at)?;
        Some(Unanswered {
            question: &asked.question,
            about: asked.about.as_deref(),
            source: why.source,
            call: &why.call,
            status: why.status,
            failure: why.failure,
            message: why.message.as_deref(),
            fact: &asked.fact,
        })
    }
}

/// Whether the answer tells something: a success, or that the thing is not there.
fn is_answered(fact: &Fact) -> bool {
    fact.status()
        .is_some_and(|status| (200..300).contains(&status) || status == 404)
}

fn not_checked(finding: &crate::finding::Finding) -> Option<NotChecked<'_>> {
    let Answer::CouldNotCheck { status, call } = &finding.answer else {
        return None;
    };
    Some(NotChecked {
        control: &finding.control,
        resource: &finding.resource,
        status: *status,
        call,
        reason: &finding.reason,
    })
}
