//! Gives turns to the jobs that may be worked on.
//!
//! A job can be killed anywhere and is taken up again, by this instance or another. A claim with a rising token fences off an instance that was stalled.

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use strongroom_seal::AccountId;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::{JobEnd, JobStop, Registered, pause::Pause, turn::JobTurn};
use crate::{
    error::{StorageFault, StoreError},
    keyring::{KeyDenied, KeyState},
    limits,
    records::{Change, Check, JobChange, JobPhase, JobRow, Transaction},
    store::Inner,
};

pub(super) async fn run(inner: Arc<Inner>) {
    let closing = inner.closing.clone();
    let mut engine = Engine {
        inner,
        turns: JoinSet::new(),
        at_work: HashMap::new(),
        pauses: HashMap::new(),
    };
    closing.run_until_cancelled(engine.go()).await;
    // What the turns own ends before the store does.
    engine.turns.shutdown().await;
}

struct Engine {
    inner: Arc<Inner>,
    turns: JoinSet<(u64, Next)>,
    /// Account and kind of each job that has a turn.
    at_work: HashMap<u64, (AccountId, String)>,
    pauses: HashMap<u64, Pause>,
}

/// What becomes of a job after a turn.
enum Next {
    /// It is over, held, or somebody else's now.
    Nothing,
    /// The key was denied, or something else must be put right.
    Pause,
    /// It stopped, but got further.
    PauseAnew,
    After(Duration),
}

impl Engine {
    async fn go(&mut self) {
        if self.inner.is_sole() {
            self.release_claims().await.unwrap_or_else(report);
        }
        loop {
            let wait = self.look().await.unwrap_or_else(|fault| {
                report(fault);
                limits::JOB_POLL
            });
            let inner = Arc::clone(&self.inner);
            tokio::select! {
                () = inner.job_added.notified() => {}
                Some(ended) = self.turns.join_next() => {
                    // A turn that was cut off or panicked is dealt with where it ran; nothing else can be lost here.
                    if let Ok((job, next)) = ended {
                        self.after_turn(job, next);
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// No other process can be at work in this folder: what is claimed was claimed by one that is gone.
    async fn release_claims(&self) -> Result<(), StorageFault> {
        for row in self.inner.records.open_jobs().await? {
            if row.claimed_until_ms == 0 {
                continue;
            }
            let progress = JobChange::Progress {
                job: row.id,
                done: row.done,
                total: row.total,
                phase: JobPhase::Waiting,
                until_ms: 0,
            };
            let release = Transaction::new(row.account, self.inner.now_ms())
                .check(Check::Claimed {
                    job: row.id,
                    token: row.token,
                })
                .change(Change::Job(progress));
            if let Err(returned) = self.inner.records.commit(release).await {
                warn!(job = row.id, reason = ?returned.reason, "a claim was not released; it runs out by itself");
            }
        }
        Ok(())
    }

    /// Gives a turn to every job that may have one now, and says when to look again.
    async fn look(&mut self) -> Result<Duration, StorageFault> {
        let rows = self.inner.records.open_jobs().await?;
        self.pauses.retain(|job, _| rows.iter().any(|row| row.id == *job));
        let handlers = self
            .inner
            .handlers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let now_ms = self.inner.now_ms();
        let free =
            |row: &JobRow| row.is_free(now_ms) && !self.at_work.contains_key(&row.id) && self.is_rested(row);
        let mut waiting: Vec<JobRow> = rows.into_iter().filter(free).collect();
        for (kind, registered) in &handlers {
            while let Some(at) = self.next_of(kind, registered, &waiting) {
                let row = waiting.remove(at);
                self.begin(row, registered);
            }
        }
        let rests = self.pauses.values().map(Pause::left);
        let soonest = rests.min().unwrap_or(limits::JOB_POLL);
        Ok(soonest.clamp(limits::ERASE_WAIT, limits::JOB_POLL))
    }

    fn is_rested(&self, row: &JobRow) -> bool {
        let pause = self.pauses.get(&row.id);
        pause.is_none_or(|pause| pause.is_over(self.is_denied(row.account)))
    }

    fn is_denied(&self, account: AccountId) -> bool {
        let state = self.inner.keyring.key_state(account).borrow().state;
        matches!(state, KeyState::Denied(_))
    }

    /// The oldest job of the account that has the fewest turns, if there is room for one more of this kind.
    fn next_of(&self, kind: &str, registered: &Registered, waiting: &[JobRow]) -> Option<usize> {
        let at_work = self.at_work.values().filter(|(_, of)| of == kind);
        let mut turns: BTreeMap<AccountId, usize> = BTreeMap::new();
        for (account, _) in at_work {
            *turns.entry(*account).or_default() += 1;
        }
        if turns.values().sum::<usize>() >= registered.at_once {
            return None;
        }
        let candidates = waiting.iter().enumerate().filter(|(_, row)| row.kind == kind);
        candidates
            .min_by_key(|(_, row)| (turns.get(&row.account).copied().unwrap_or(0), row.id))
            .map(|(at, _)| at)
    }

    fn begin(&mut self, row: JobRow, registered: &Registered) {
        self.at_work.insert(row.id, (row.account, row.kind.clone()));
        let (inner, registered) = (Arc::clone(&self.inner), registered.clone());
        self.turns.spawn(async move {
            let job = row.id;
            (job, turn(inner, row, registered).await)
        });
    }

    fn after_turn(&mut self, job: u64, next: Next) {
        let Some((account, _)) = self.at_work.remove(&job) else {
            return;
        };
        let last = self.pauses.remove(&job);
        let pause = match next {
            Next::Nothing => return,
            Next::Pause => Pause::after(last.as_ref(), self.is_denied(account)),
            Next::PauseAnew => Pause::after(None, self.is_denied(account)),
            Next::After(length) => Pause::of(length),
        };
        self.pauses.insert(job, pause);
    }
}

fn report(fault: StorageFault) {
    warn!(%fault, "jobs were not looked for");
}

/// One turn at a job: not before the key is held, and no longer than it is and the claim lasts.
async fn turn(inner: Arc<Inner>, row: JobRow, registered: Registered) -> Next {
    let lease = match inner.keyring.lease(row.account).await {
        Ok(lease) => lease,
        Err(denied) => return not_begun(inner, row, denied).await,
    };
    let Some(turn) = JobTurn::claim(inner, &row).await else {
        return Next::Nothing;
    };
    let shared = turn.share();
    let outcome = tokio::select! {
        // A handler that has ended the job is heard first.
        biased;
        outcome = AssertUnwindSafe(registered.handler.run(turn)).catch_unwind() => match outcome {
            Ok(outcome) => outcome,
            Err(_) => {
                error!(job = row.id, kind = row.kind, "a turn panicked");
                Err(JobStop::Blocked)
            }
        },
        denied = lease.ended() => Err(JobStop::Store(StoreError::Key(denied))),
        () = shared.keep_claim() => {
            info!(job = row.id, kind = row.kind, "the job was taken away");
            return Next::Nothing;
        }
    };
    let next = next_of(&row, &shared, &outcome);
    shared.settle(phase_of(&outcome)).await;
    next
}

/// The key is not to be had: shown as paused, without another commit if it is so already.
async fn not_begun(inner: Arc<Inner>, row: JobRow, denied: KeyDenied) -> Next {
    if row.state != JobPhase::Paused {
        info!(job = row.id, kind = row.kind, account = %row.account, %denied, "a job waits for the customer key");
        if let Some(turn) = JobTurn::claim(inner, &row).await {
            turn.settle(JobPhase::Paused).await;
        }
    }
    Next::Pause
}

fn phase_of(outcome: &Result<JobEnd, JobStop>) -> JobPhase {
    match outcome {
        Ok(end) => JobPhase::from(*end),
        Err(JobStop::Held) => JobPhase::Held,
        Err(JobStop::Blocked | JobStop::Store(StoreError::Key(_))) => JobPhase::Paused,
        Err(JobStop::Again(_) | JobStop::Store(_)) => JobPhase::Waiting,
    }
}

fn next_of(row: &JobRow, turn: &JobTurn, outcome: &Result<JobEnd, JobStop>) -> Next {
    let (job, kind, account) = (row.id, row.kind.as_str(), row.account);
    match outcome {
        Ok(_) | Err(JobStop::Held) => return Next::Nothing,
        Err(JobStop::Again(after)) => return Next::After(*after),
        Err(JobStop::Store(StoreError::Key(denied))) => {
            info!(job, kind, %account, %denied, "a job waits for the customer key");
        }
        Err(stop) => warn!(job, kind, %account, %stop, "a job stopped for now"),
    }
    if turn.done() > row.done {
        Next::PauseAnew
    } else {
        Next::Pause
    }
}

impl From<JobEnd> for JobPhase {
    fn from(end: JobEnd) -> Self {
        match end {
            JobEnd::Done => Self::Done,
            JobEnd::Failed => Self::Failed,
            JobEnd::Cancelled => Self::Cancelled,
        }
    }
}
