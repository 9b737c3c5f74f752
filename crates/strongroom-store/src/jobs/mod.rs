//! Durable work in the background: one engine for every kind of job; beside it expiry and erasing, which need no key and never wait for one.

mod engine;
mod erase;
mod expire;
mod pause;
mod rekey;
mod turn;
mod unit;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use strongroom_seal::{AccountId, BoxFuture};
use thiserror::Error;
use tokio_util::task::TaskTracker;

use crate::{
    error::StoreError,
    records::{JobPhase, JobRow},
    store::Inner,
};

pub(crate) use rekey::REKEY;
pub use turn::JobTurn;
pub use unit::Unit;

/// Names a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub(crate) u64);

impl JobId {
    /// Of its text, `job-7`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_prefix("job-")?;
        let id = Self(number.parse().ok()?);
        // One spelling alone.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "job-{}", self.0)
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Nobody works on it yet, or it waits for its next try.
    Waiting,
    /// Someone works on it.
    Running,
    /// It waits for the customer key to be available again, or for something that must be put right first. It goes on by itself.
    Paused,
    /// It was asked to wait, and does so until it is asked to go on.
    Held,
    /// It is done.
    Done,
    /// It ended without success.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// The word for it, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing becomes of the job any more.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What can be asked of a job. None of it needs the customer key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// End before the work is done. Final; whoever works on the job carries it out in a turn, and so needs the key for what it has to leave behind.
    Cancel,
    /// Wait until asked to go on.
    Hold,
    /// Go on.
    Resume,
}

impl Wish {
    const ALL: [Self; 3] = [Self::Cancel, Self::Hold, Self::Resume];

    /// The word for it, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Hold => "hold",
            Self::Resume => "resume",
        }
    }

    /// Of its word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wish| wish.as_str() == text)
    }
}

/// A job, as seen from outside. All of it is readable without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// Its id.
    pub id: JobId,
    /// The account it works for.
    pub account: AccountId,
    /// What it does: `rekey`, or the kind of the object that it works on.
    pub kind: String,
    /// The id of the object that it works on.
    pub object: Option<String>,
    /// How far it is.
    pub state: JobState,
    /// What was asked of it and is still to be done: to be cancelled, or held.
    pub wish: Option<Wish>,
    /// Units of work done: object keys, lines, steps.
    pub done: u64,
    /// Units of work in all, as far as is known; 0 if it is not.
    pub total: u64,
    /// Until when somebody's claim holds without a sign of life, in milliseconds since the Unix epoch; 0 if nobody has one.
    pub claimed_until_ms: u64,
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
            kind: row.kind,
            object: row.object,
            state: match row.state {
                JobPhase::Waiting => JobState::Waiting,
                JobPhase::Running => JobState::Running,
                JobPhase::Paused => JobState::Paused,
                JobPhase::Held => JobState::Held,
                JobPhase::Done => JobState::Done,
                JobPhase::Failed => JobState::Failed,
                JobPhase::Cancelled => JobState::Cancelled,
            },
            wish: row.wish,
            done: row.done,
            total: row.total,
            claimed_until_ms: row.claimed_until_ms,
            created_ms: row.created_ms,
            finished_ms: row.finished_ms,
        }
    }
}

/// Works on the jobs of one kind; see [`Store::register`](crate::Store::register).
///
/// The engine calls [`run`](Self::run) for each *turn* at a job. A turn begins only when the account's key is held and the job claimed. While it lasts the
/// engine renews the claim. The future is **dropped at any await**, without another word, as soon as the key is denied, the claim is lost (the job's object was
/// deleted, or another instance took over after this one had stood still) or the store closes. So whatever is to outlast a turn is committed with
/// [`JobTurn::commit`] as the work goes, and whatever must end with it (a worker process, a request) is owned by the future. The next turn finds what was
/// committed, and nothing else: it may come in another process, on another machine.
pub trait JobHandler: Send + Sync + 'static {
    /// One turn: works until the job has ended or cannot go on now. May take hours.
    fn run(&self, turn: JobTurn) -> BoxFuture<'_, Result<JobEnd, JobStop>>;
}

/// How a job ended. If a turn has committed the end already ([`Unit::end`]), what [`JobHandler::run`] answers says nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// All is done.
    Done,
    /// It will not succeed; the object says why.
    Failed,
    /// It was cancelled, as was asked.
    Cancelled,
}

/// Why a turn stopped before the job's end. `?` on a store's error is the usual way: a denied key pauses the job until the key is back, any other failure
/// is tried again, later each time.
#[derive(Debug, Error)]
pub enum JobStop {
    /// It was asked to wait ([`Wish::Hold`]), and what is needed to go on is committed.
    #[error("it was asked to wait")]
    Held,
    /// To be taken up again after this time; something outside is not ready.
    #[error("it is tried again in {0:?}")]
    Again(Duration),
    /// Something must be put right before it can go on. Tried again, later each time, and shown as paused.
    #[error("something must be put right first")]
    Blocked,
    /// The store did not do something.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A kind of job that this instance works on.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) handler: Arc<dyn JobHandler>,
    /// How many of them at once.
    pub(crate) at_once: usize,
}

/// The kinds of job that this instance works on.
pub(crate) type Handlers = BTreeMap<&'static str, Registered>;

/// What the store knows itself.
pub(crate) fn own_handlers() -> Handlers {
    let rekey = Registered {
        handler: Arc::new(rekey::Rekey),
        at_once: crate::limits::REKEYS_AT_ONCE,
    };
    BTreeMap::from([(REKEY, rekey)])
}

/// Starts everything that works in the background. It can be stopped at any await and taken up again.
pub(crate) fn start(inner: &Arc<Inner>, tasks: &TaskTracker) {
    let closing = &inner.closing;
    tasks.spawn(engine::run(Arc::clone(inner)));
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
