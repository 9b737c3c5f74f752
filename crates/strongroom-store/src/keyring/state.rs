//! The lease of one account, as a pure state machine: no I/O, no task, time as values.
//!
//! The key may be used at a moment only if a question was *sent* to the vault less than the bound before, after the last refusal was
//! heard, and the vault either said yes to it, or (within the grace, counted from the last yes) was silent on it. So whatever is lost or
//! late, and however long the process was asleep, no use is later than the bound after the vault's first refusal, unless the vault was silent.

use std::time::Duration;

use strongroom_seal::{Age, Moment, NoAnswer};

use super::status::KeyDenied;
use crate::limits;

/// How long leases last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    bound: Duration,
    grace: Duration,
}

impl Terms {
    pub(crate) fn new(bound: Duration, grace: Duration) -> Self {
        let (shortest, longest) = limits::REVOCATION_BOUND;
        Self {
            bound: bound.clamp(shortest, longest),
            grace,
        }
    }

    pub(crate) fn bound(self) -> Duration {
        self.bound
    }

    pub(crate) fn grace(self) -> Duration {
        self.grace
    }

    /// How long after a question was sent the next is due.
    pub(crate) fn pace(self) -> Duration {
        self.bound / 3
    }

    /// How long the vault may take to answer. With the pace it is well below the bound, so that an answer, or its absence, is
    /// known before the lease ends, and twice it is, so that each silence is known before the one before it is stale.
    pub(crate) fn deadline(self) -> Duration {
        limits::UNWRAP_DEADLINE.min(self.bound * 2 / 5)
    }

    /// How long it may take while there is no lease that hangs on it: nearly as long as an answer would be worth anything.
    pub(crate) fn first_deadline(self) -> Duration {
        limits::UNWRAP_DEADLINE.min(self.bound * 9 / 10)
    }

    /// The longest pause between questions while a silent vault's grace runs.
    pub(crate) fn longest_pause(self) -> Duration {
        self.bound / 2
    }
}

/// A question that was sent to the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    number: u64,
    sent: Moment,
}

impl Ticket {
    pub(crate) fn sent(self) -> Moment {
        self.sent
    }
}

/// What the vault said to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The seed, and it yields the expected check value.
    Granted,
    /// No, or nothing.
    No(NoAnswer),
    /// A seed, but not the account's.
    Mismatch,
}

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nobody asked yet, or nobody used it for long.
    Idle,
    /// The vault refused.
    Refused,
    /// The vault said that there is no such key.
    Gone,
    /// The vault yielded something else than the account's seed.
    Mismatch,
    /// The vault was silent for longer than is allowed.
    Silent(Silence),
    /// The bound passed without any news, as when the process was asleep.
    Lapsed,
    /// The clock went back, so the lease's age is unknown.
    ClockWentBack,
}

impl Ending {
    /// What a caller is told.
    pub(crate) fn denied(self) -> KeyDenied {
        match self {
            Self::Refused => KeyDenied::Refused,
            Self::Gone => KeyDenied::Gone,
            Self::Mismatch => KeyDenied::Mismatch,
            Self::Silent(Silence::Throttled { retry_after }) => KeyDenied::Throttled { retry_after },
            Self::Silent(Silence::Unreachable) | Self::Idle | Self::Lapsed | Self::ClockWentBack => {
                KeyDenied::Unreachable { retry_after: None }
            }
        }
    }
}

/// How a vault is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It did not answer.
    Unreachable,
    /// It asked for patience.
    Throttled { retry_after: Option<Duration> },
}

#[derive(Debug)]
pub(crate) struct LeaseState {
    terms: Terms,
    /// The latest moment seen; an earlier one shows that the clock went back.
    latest: Option<Moment>,
    next: u64,
    /// Yes counts only for questions from this number on: those sent after the last refusal was heard.
    floor: u64,
    /// Sent and not answered yet.
    unanswered: Vec<Ticket>,
    /// The last question met with silence.
    silent: Option<(Ticket, Silence)>,
    /// The question that won the lease, or why there is none.
    lease: Result<Ticket, Ending>,
}

impl LeaseState {
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            latest: None,
            next: 0,
            floor: 0,
            unanswered: Vec::new(),
            silent: None,
            lease: Err(Ending::Idle),
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        self.terms
    }

    pub(crate) fn set_terms(&mut self, terms: Terms, now: Moment) {
        self.terms = terms;
        let _ = self.may_use(now);
    }

    /// A question is about to be sent. The moment must be taken before it is.
    pub(crate) fn send(&mut self, now: Moment) -> Ticket {
        self.observe(now);
        let ticket = Ticket {
            number: self.next,
            sent: now,
        };
        self.next += 1;
        if self.unanswered.len() == limits::UNANSWERED {
            self.unanswered.remove(0);
        }
        self.unanswered.push(ticket);
        ticket
    }

    /// The vault answered, or its time to do so is over.
    pub(crate) fn hear(&mut self, ticket: Ticket, answer: Answer, now: Moment) {
        // First what was already over before this news: it cannot be brought back by silence.
        let _ = self.may_use(now);
        self.forget(ticket);
        match answer {
            Answer::Granted => self.granted(ticket),
            Answer::Mismatch => self.refused(Ending::Mismatch),
            Answer::No(NoAnswer::Refused) => self.refused(Ending::Refused),
            Answer::No(NoAnswer::Gone) => self.refused(Ending::Gone),
            Answer::No(NoAnswer::Unreachable) => self.silent(ticket, Silence::Unreachable),
            Answer::No(NoAnswer::Throttled { retry_after }) => {
                self.silent(ticket, Silence::Throttled { retry_after });
            }
        }
        let _ = self.may_use(now);
    }

    /// The question was never sent, or its answer is not about the lease.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.unanswered.retain(|other| other.number != ticket.number);
    }

    /// Whether the key may be used at this moment. Once no, always no, until a new yes.
    pub(crate) fn may_use(&mut self, now: Moment) -> Result<(), Ending> {
        self.observe(now);
        let won = self.lease?;
        let ending = match now.age_since(won.sent) {
            Age::Elapsed(age) if age < self.terms.bound => return Ok(()),
            Age::Elapsed(age) if age < self.terms.grace && self.is_silent(won, now) => return Ok(()),
            Age::Elapsed(_) => self
                .silence_after(won)
                .map_or(Ending::Lapsed, |(_, silence)| Ending::Silent(silence)),
            Age::WallClockWentBack => Ending::ClockWentBack,
        };
        self.lease = Err(ending);
        Err(ending)
    }

    /// Gives the lease up because nobody uses it.
    pub(crate) fn release(&mut self) {
        if self.lease.is_ok() {
            self.lease = Err(Ending::Idle);
        }
    }

    /// The question that won the lease, or why there is none, as of the last event.
    pub(crate) fn lease(&self) -> Result<Ticket, Ending> {
        self.lease
    }

    /// How long until the lease ends if nothing more is heard; at most, as the clocks may run apart.
    pub(crate) fn remaining(&self, now: Moment) -> Option<Duration> {
        let won = self.lease.ok()?;
        let left = |since: Moment, limit: Duration| match now.age_since(since) {
            Age::Elapsed(age) => limit.saturating_sub(age),
            Age::WallClockWentBack => Duration::ZERO,
        };
        let plain = left(won.sent, self.terms.bound);
        let graced = self.silence_after(won).map_or(Duration::ZERO, |(ticket, _)| {
            left(ticket.sent, self.terms.bound).min(left(won.sent, self.terms.grace))
        });
        Some(plain.max(graced))
    }

    fn granted(&mut self, ticket: Ticket) {
        let is_newer = self.lease.map_or(true, |won| won.number < ticket.number);
        if ticket.number >= self.floor && is_newer {
            self.lease = Ok(ticket);
        }
    }

    fn refused(&mut self, ending: Ending) {
        self.void_questions();
        self.lease = Err(ending);
    }

    fn silent(&mut self, ticket: Ticket, silence: Silence) {
        if ticket.number < self.floor {
            return;
        }
        if self.silent.is_none_or(|(last, _)| last.number <= ticket.number) {
            self.silent = Some((ticket, silence));
        }
        if self.lease.is_err() {
            self.lease = Err(Ending::Silent(silence));
        }
    }

    /// Whether the vault's silence, since it last said yes, is known and fresh.
    fn is_silent(&self, won: Ticket, now: Moment) -> bool {
        let is_fresh = |ticket: &Ticket| now.age_since(ticket.sent).is_below(self.terms.bound);
        let is_overdue = |ticket: &Ticket| !now.age_since(ticket.sent).is_below(self.terms.deadline());
        let is_later = |ticket: &&Ticket| ticket.number > won.number && ticket.number >= self.floor;
        self.silence_after(won)
            .is_some_and(|(ticket, _)| is_fresh(&ticket))
            || self
                .unanswered
                .iter()
                .filter(is_later)
                .any(|ticket| is_fresh(ticket) && is_overdue(ticket))
    }

    fn silence_after(&self, won: Ticket) -> Option<(Ticket, Silence)> {
        self.silent.filter(|(ticket, _)| ticket.number > won.number)
    }

    /// Notes the moment; a clock that went back ends the lease and voids every question asked before.
    fn observe(&mut self, now: Moment) {
        let went_back = self
            .latest
            .is_some_and(|latest| now.age_since(latest) == Age::WallClockWentBack);
        self.latest = Some(now);
        if went_back {
            self.void_questions();
            if self.lease.is_ok() {
                self.lease = Err(Ending::ClockWentBack);
            }
        }
    }

    fn void_questions(&mut self) {
        self.floor = self.next;
        self.unanswered.clear();
        self.silent = None;
    }
}

#[cfg(test)]
mod tests;
