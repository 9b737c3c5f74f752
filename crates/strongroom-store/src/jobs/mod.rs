//! Durable work in the background: rekey, expiry, erasing.

mod erase;
mod expire;
mod rekey;

use std::{fmt, sync::Arc};

use strongroom_seal::AccountId;
use tokio_util::task::TaskTracker;

use crate::{
    records::{JobPhase, JobRow},
    store::Inner,
};

/// Names a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub(crate) u64);

impl fmt::Display for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "job-{}", self.0)
    }
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Wraps every object key of an account under a new branch version.
    Rekey,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Nobody works on it yet.
    Waiting,
    /// Someone works on it.
    Running,
    /// It waits: for the customer key to be available again, or for a damaged object to be deleted.
    Paused,
    /// It is done.
    Done,
}

/// A job, as seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// Its id.
    pub id: JobId,
    /// The account it works for.
    pub account: AccountId,
    /// What it does.
    pub kind: JobKind,
    /// How far it is.
    pub state: JobState,
    /// Object keys done.
    pub done: u64,
    /// Object keys there were when it was asked for.
    pub total: u64,
    /// When it was asked for, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it ended.
    pub finished_ms: Option<u64>,
}

impl From<JobRow> for JobStatus {
    fn from(row: JobRow) -> Self {
        Self {
            id: JobId(row.id),
            account: row.account,
            kind: JobKind::Rekey,
            state: match row.state {
                JobPhase::Waiting => JobState::Waiting,
                JobPhase::Running => JobState::Running,
                JobPhase::Paused => JobState::Paused,
                JobPhase::Done => JobState::Done,
            },
            done: row.done,
            total: row.total,
            created_ms: row.created_ms,
            finished_ms: row.finished_ms,
        }
    }
}

/// Starts everything that works in the background. It can be stopped at any await and taken up again.
pub(crate) fn start(inner: &Arc<Inner>, tasks: &TaskTracker) {
    let closing = &inner.closing;
    tasks.spawn(
        closing
            .clone()
            .run_until_cancelled_owned(rekey::run(Arc::clone(inner))),
    );
    tasks.spawn(
        closing
            .clone()
            .run_until_cancelled_owned(expire::run(Arc::clone(inner))),
    );
    tasks.spawn(
        closing
            .clone()
            .run_until_cancelled_owned(erase::run(Arc::clone(inner))),
    );
}
