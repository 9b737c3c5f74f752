//! A job as it is stored, and all that can become of it: one state machine, which every back end applies to its rows.

#[cfg(test)]
mod tests;

use strongroom_seal::{AccountId, BranchVersion};

#[cfg(any(test, feature = "conformance"))]
use crate::records::NewJob;
use crate::{
    jobs::Wish,
    records::{JobChange, Receipt, Rejected},
};

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobRow {
    pub(crate) id: u64,
    pub(crate) account: AccountId,
    pub(crate) kind: String,
    /// The id of the object that it works on, whose kind is the job's; none if it works on the account.
    pub(crate) object: Option<String>,
    pub(crate) state: JobPhase,
    /// What was asked of it and is not done yet: to be cancelled, or held.
    pub(crate) wish: Option<Wish>,
    /// The branch version that was current when a rekey was asked for.
    pub(crate) from: Option<BranchVersion>,
    /// Rises with each claim; whoever holds an older one has lost the job.
    pub(crate) token: u64,
    /// Until when the claim holds without a sign of life.
    pub(crate) claimed_until_ms: u64,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) created_ms: u64,
    pub(crate) finished_ms: Option<u64>,
}

/// Where a stored job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobPhase {
    Waiting,
    Running,
    Paused,
    Held,
    Done,
    Failed,
    Cancelled,
}

impl JobPhase {
    pub(crate) const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Running,
        Self::Paused,
        Self::Held,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether nothing becomes of the job any more.
    pub(crate) fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

impl JobRow {
    /// A job that was just asked for.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn new(id: u64, account: AccountId, now_ms: u64, new: &NewJob) -> Self {
        Self {
            id,
            account,
            kind: new.kind.to_owned(),
            object: new.object.clone(),
            state: JobPhase::Waiting,
            wish: None,
            from: new.from,
            token: 0,
            claimed_until_ms: 0,
            done: 0,
            total: new.total,
            created_ms: now_ms,
            finished_ms: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.state.is_end()
    }

    /// Whether somebody may take it at this time.
    pub(crate) fn is_free(&self, now_ms: u64) -> bool {
        self.is_open() && self.state != JobPhase::Held && self.claimed_until_ms <= now_ms
    }

    /// Whether whoever was given this token still has it: nobody claimed it since, and they did not let go of it.
    pub(crate) fn is_claimed_with(&self, token: u64) -> bool {
        self.state == JobPhase::Running && self.token == token
    }

    /// Applies what is asked of a job that exists, and notes in the receipt what whoever asked must know.
    pub(crate) fn change(
        &mut self,
        now_ms: u64,
        change: &JobChange,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        match *change {
            // Concerns the table, not a row of it.
            JobChange::Add(_) => {}
            JobChange::Claim { until_ms, .. } => {
                if !self.is_free(now_ms) {
                    return Err(Rejected::ClaimLost);
                }
                self.token += 1;
                self.claimed_until_ms = until_ms;
                self.state = JobPhase::Running;
                receipt.token = self.token;
            }
            JobChange::Renew { until_ms, .. } => self.claimed_until_ms = until_ms,
            JobChange::Progress {
                done,
                total,
                phase,
                until_ms,
                ..
            } => {
                self.done = done;
                self.total = total;
                self.turn_to(now_ms, phase, until_ms);
            }
            JobChange::Ask { wish, .. } => self.ask(wish),
        }
        receipt.job = self.id;
        receipt.wish = self.wish;
        Ok(())
    }

    fn turn_to(&mut self, now_ms: u64, phase: JobPhase, until_ms: u64) {
        // Whoever worked on it stopped because it was to be held; that may be taken back, or overtaken, by now.
        let phase = match (phase, self.wish) {
            (JobPhase::Held, Some(Wish::Hold)) => {
                self.wish = None;
                JobPhase::Held
            }
            (JobPhase::Held, _) => JobPhase::Waiting,
            // Nobody works on it: there is nobody to be asked to stop.
            (JobPhase::Waiting | JobPhase::Paused, Some(Wish::Hold)) => {
                self.wish = None;
                JobPhase::Held
            }
            (phase, _) => phase,
        };
        self.state = phase;
        self.claimed_until_ms = if phase == JobPhase::Running { until_ms } else { 0 };
        if phase.is_end() {
            self.wish = None;
            self.finished_ms = Some(now_ms);
        }
    }

    /// Cancelling is final and goes before holding. It is carried out by whoever works on the job, in a turn.
    fn ask(&mut self, wish: Wish) {
        match (wish, self.state) {
            (_, JobPhase::Done | JobPhase::Failed | JobPhase::Cancelled) => {}
            (Wish::Cancel, state) => {
                self.wish = Some(Wish::Cancel);
                if state == JobPhase::Held {
                    self.state = JobPhase::Waiting;
                }
            }
            (Wish::Hold | Wish::Resume, _) if self.wish == Some(Wish::Cancel) => {}
            (Wish::Hold, JobPhase::Running) => self.wish = Some(Wish::Hold),
            (Wish::Hold, _) => self.state = JobPhase::Held,
            (Wish::Resume, JobPhase::Held) => self.state = JobPhase::Waiting,
            (Wish::Resume, _) => self.wish = None,
        }
    }
}
