//! What became of a look-up. That something is not there and that nobody could look are different answers, and stay so.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::fact::{Fact, FactId, Outcome};

/// A fact, by its place in the world's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactRef(pub(super) u32);

/// What is kept of every fact.
#[derive(Debug, Clone)]
pub struct FactMark {
    /// Its id.
    pub id: FactId,
    /// When it was read.
    pub at_ms: u64,
}

/// What became of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It is there.
    Known(T, FactRef),
    /// Somebody who knows said that it is not there.
    Absent(FactRef),
    /// Nobody could tell.
    NotRead(NotRead),
}

impl<T> Lookup<T> {
    /// What it leads to, where it is known.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value, _) => Some(value),
            Self::Absent(_) | Self::NotRead(_) => None,
        }
    }

    /// The same look-up of something derived.
    pub fn map<U>(self, derive: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Known(value, fact) => Lookup::Known(derive(value), fact),
            Self::Absent(fact) => Lookup::Absent(fact),
            Self::NotRead(not) => Lookup::NotRead(not),
        }
    }
}

/// A read that was not made, or told nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRead {
    /// The status, where there was an answer.
    pub status: Option<u16>,
    /// The call that failed, or the one that was missing.
    pub call: String,
    /// What it would have told.
    pub hides: String,
    /// The fact that says so; none for a call that nobody made.
    pub fact: Option<FactRef>,
}

impl NotRead {
    /// Nobody asked.
    pub fn unasked(call: impl Into<String>, hides: impl Into<String>) -> Self {
        Self {
            status: None,
            call: call.into(),
            hides: hides.into(),
            fact: None,
        }
    }
}

/// How the answers to one question about one thing went.
#[derive(Debug, Clone, Default)]
struct Reads {
    answered: Option<FactRef>,
    absent: Option<FactRef>,
    failed: Option<Box<NotRead>>,
    /// Pages that were promised, and what was asked; empty once all is read.
    promised: Vec<String>,
    seen: Vec<String>,
}

impl Reads {
    fn missing_page(&self) -> Option<&String> {
        self.promised
            .iter()
            .find(|page| !self.seen.iter().any(|seen| seen.contains(page.as_str())))
    }
}

/// How every question was answered, by the question and what it is about.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<String, Reads>);

impl Ledger {
    /// Notes one exchange. `asked` is what was sent, `promised` names the next page of the list.
    pub(super) fn note(
        &mut self,
        key: &str,
        mark: FactRef,
        fact: &Fact,
        asked: String,
        promised: Option<String>,
    ) {
        let reads = self.0.entry(key.to_owned()).or_default();
        match fact.status() {
            Some(status) if (200..300).contains(&status) => {
                reads.answered = Some(mark);
                reads.seen.push(asked);
                reads.promised.extend(promised);
            }
            Some(404 | 410) => reads.absent = Some(mark),
            status => reads.failed = Some(Box::new(failed(fact, status, mark))),
        }
    }

    /// Notes that an answer does not answer the question.
    pub(super) fn unusable(&mut self, key: &str, mark: FactRef, fact: &Fact) {
        let not = failed(fact, fact.status(), mark);
        self.0.entry(key.to_owned()).or_default().failed = Some(Box::new(NotRead {
            hides: format!("{} (the answer is not what was asked for)", not.hides),
            ..not
        }));
    }

    /// When everything is noted: what is whole needs no more to be kept.
    pub(super) fn close(&mut self) {
        for reads in self.0.values_mut() {
            reads.promised = reads.missing_page().cloned().into_iter().collect();
            reads.seen = Vec::new();
        }
    }

    /// The fact that completes the answer, if it was answered whole.
    pub(super) fn whole(&self, key: &str) -> Option<FactRef> {
        let reads = self.0.get(key)?;
        (reads.failed.is_none() && reads.promised.is_empty()).then_some(reads.answered)?
    }

    /// Who said that it is not there.
    pub(super) fn absent(&self, key: &str) -> Option<FactRef> {
        self.0.get(key)?.absent
    }

    /// Why it was not answered, or not wholly.
    pub(super) fn why_not(&self, key: &str, hides: &str) -> NotRead {
        let Some(reads) = self.0.get(key) else {
            return NotRead::unasked(format!("not asked: {key}"), hides);
        };
        if let Some(failed) = &reads.failed {
            return NotRead {
                hides: hides.to_owned(),
                ..(**failed).clone()
            };
        }
        NotRead {
            status: reads.absent.filter(|_| reads.answered.is_none()).map(|_| 404),
            call: match reads.promised.first() {
                Some(page) => format!("the next page of {key}: {page}"),
                None => key.to_owned(),
            },
            hides: hides.to_owned(),
            fact: reads.absent,
        }
    }

    /// The fact, if everything was answered, else why not.
    pub(super) fn listing(&self, key: &str, hides: &str) -> Result<FactRef, NotRead> {
        self.whole(key).ok_or_else(|| self.why_not(key, hides))
    }

    /// The same for a question whatever it was asked about: all of its answers must be whole.
    pub(super) fn listing_all(&self, question: &str, hides: &str) -> Result<FactRef, NotRead> {
        let of = |key: &str| {
            key.strip_prefix(question)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let from = (Bound::Included(question), Bound::Unbounded);
        let mut last = Err(NotRead::unasked(format!("not asked: {question}"), hides));
        // Between a bare question and those with an object, words that only begin alike may stand.
        for (key, _) in self
            .0
            .range::<str, _>(from)
            .take_while(|(key, _)| key.starts_with(question))
        {
            if of(key) {
                last = Ok(self.listing(key, hides)?);
            }
        }
        last
    }

    /// Whether anybody asked.
    pub(super) fn asked(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Every question that was asked and not answered wholly, in order.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (&str, NotRead)> {
        let open = |reads: &Reads| reads.failed.is_some() || !reads.promised.is_empty();
        self.0
            .iter()
            .filter(move |(_, reads)| open(reads))
            .map(|(key, reads)| {
                let hides = reads
                    .failed
                    .as_ref()
                    .map_or(key.as_str(), |failed| failed.hides.as_str());
                (key.as_str(), self.why_not(key, hides))
            })
    }

    /// How many questions were asked.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn failed(fact: &Fact, status: Option<u16>, mark: FactRef) -> NotRead {
    let hides = match &fact.outcome {
        Outcome::Failed { message, .. } if !message.is_empty() => format!("{} ({message})", fact.question),
        _ => fact.question.clone(),
    };
    NotRead {
        status,
        call: fact.call(),
        hides,
        fact: Some(mark),
    }
}
