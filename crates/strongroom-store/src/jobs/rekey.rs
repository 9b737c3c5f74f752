//! Rekey: a new branch version, every object key wrapped under it, the old versions dropped.
//!
//! The job can be killed anywhere and is taken up again, by this instance or another. A claim with a rising token fences off
//! an instance that was stalled; each wrapped key is exchanged only if its bytes are still the ones that were unwrapped.

use std::{collections::HashMap, sync::Arc, time::Duration};

use strongroom_seal::{AccountId, BranchVersion, WrappedKey};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    error::{StorageFault, StoreError},
    event::StoreEvent,
    keyring::{Guard, KeyDenied, KeyState},
    limits,
    records::{
        Change, Check, HeldKey, JobChange, JobPhase, JobRow, RECORD_PART, Receipt, Rejected, Rewrap,
        Transaction,
    },
    rotation::{BranchesError, RotationError},
    sealing::{part_context, record_context},
    store::{Inner, millis},
};

pub(super) async fn run(inner: Arc<Inner>) {
    let mut pauses = HashMap::new();
    loop {
        match inner.records.jobs().await {
            Ok(jobs) => {
                let now_ms = inner.now_ms();
                let free = |job: &JobRow| job.state != JobPhase::Done && job.claimed_until_ms <= now_ms;
                for job in jobs.into_iter().filter(free) {
                    take_up(&inner, &mut pauses, &job).await;
                }
            }
            Err(fault) => warn!(%fault, "jobs were not looked for"),
        }
        tokio::select! {
            () = inner.job_added.notified() => {}
            () = tokio::time::sleep(limits::JOB_POLL) => {}
        }
    }
}

/// Works on the job, unless it was denied the key lately.
async fn take_up(inner: &Inner, pauses: &mut HashMap<AccountId, Pause>, job: &JobRow) {
    let is_denied = || {
        let state = inner.keyring.key_state(job.account).borrow().state;
        matches!(state, KeyState::Denied(_))
    };
    let last = pauses.get(&job.account);
    if last.is_some_and(|pause| !pause.is_over(is_denied())) {
        return;
    }
    let length = last.map_or(limits::JOB_POLL, |last| last.length * 2);
    match work(inner, job).await {
        Err(Stop::Denied(_)) => {
            let pause = Pause {
                begun: Instant::now(),
                length: length.min(limits::JOB_PAUSE),
                key_was_denied: is_denied(),
            };
            pauses.insert(job.account, pause);
        }
        _ => {
            pauses.remove(&job.account);
        }
    }
}

/// Every turn at a job costs calls to the vault and commits, so after a denial the next one waits, longer each time. A key
/// that was denied and is so no more ends the pause early; a job can also be denied something while the key is held.
struct Pause {
    begun: Instant,
    length: Duration,
    key_was_denied: bool,
}

impl Pause {
    fn is_over(&self, key_is_denied: bool) -> bool {
        let passed = self.begun.elapsed();
        let key_is_back = self.key_was_denied && !key_is_denied;
        passed >= self.length || (key_is_back && passed >= limits::JOB_POLL)
    }
}

/// Why work on a job stopped before its end.
enum Stop {
    /// The customer key is not to be had; goes on when it is.
    Denied(KeyDenied),
    /// Another instance has it now, or things changed under it; looked at anew later.
    Overtaken,
    /// Some objects' keys do not open; the old version stays until they are deleted.
    Damaged(u64),
    /// The storage failed; tried again later.
    Fault(StorageFault),
}

async fn work(inner: &Inner, job: &JobRow) -> Result<(), Stop> {
    let mut run = Run::claim(inner, job).await?;
    match run.through().await {
        Ok(version) => {
            info!(account = %job.account, %version, keys = run.done, "rekeyed");
            inner.events.emit(StoreEvent::Rekeyed {
                account: job.account,
                version,
                keys: run.done,
                at_ms: inner.now_ms(),
            });
            Ok(())
        }
        Err(stop) => {
            match &stop {
                Stop::Denied(denied) => {
                    info!(account = %job.account, %denied, "rekey waits for the customer key");
                }
                Stop::Overtaken => info!(account = %job.account, "rekey was overtaken and is looked at anew"),
                Stop::Damaged(keys) => {
                    warn!(account = %job.account, keys, "rekey cannot end: object keys do not open");
                }
                Stop::Fault(fault) => warn!(account = %job.account, %fault, "rekey failed for now"),
            }
            // Lets go of the claim. If even that fails, the claim runs out by itself.
            drop(run.commit(Vec::new(), JobPhase::Paused).await);
            Err(stop)
        }
    }
}

/// One instance's turn at a job.
struct Run<'i> {
    inner: &'i Inner,
    account: AccountId,
    job: u64,
    from: BranchVersion,
    token: u64,
    done: u64,
}

impl<'i> Run<'i> {
    async fn claim(inner: &'i Inner, job: &JobRow) -> Result<Self, Rejected> {
        let now_ms = inner.now_ms();
        let claim = Change::Job(JobChange::Claim {
            job: job.id,
            until_ms: now_ms + millis(limits::CLAIM),
        });
        let transaction = Transaction::new(job.account, now_ms).change(claim);
        let receipt = inner
            .records
            .commit(transaction)
            .await
            .map_err(|returned| returned.reason)?;
        let JobRow {
            id,
            account,
            from,
            done,
            ..
        } = *job;
        Ok(Self {
            inner,
            account,
            job: id,
            from,
            token: receipt.token,
            done,
        })
    }

    /// From the new version to the end.
    async fn through(&mut self) -> Result<BranchVersion, Stop> {
        let target = self.target().await?;
        let old = self.older_than(target).await?;
        let mut damaged = 0;
        for version in &old {
            damaged += self.rewrap_all(*version, target).await?;
        }
        if damaged > 0 {
            return Err(Stop::Damaged(damaged));
        }
        for version in old {
            self.inner.keyring.before_drop(self.account, version).await?;
            self.commit(vec![Change::DropBranch(version)], JobPhase::Running)
                .await?;
            self.inner.traces.leave();
            self.inner.keyring.dropped(self.account, version);
        }
        self.commit(Vec::new(), JobPhase::Done).await?;
        Ok(target)
    }

    /// The version to wrap under: made now, unless an earlier turn at this job made it.
    async fn target(&self) -> Result<BranchVersion, Stop> {
        let branches = self.inner.records.branches(self.account).await?;
        match branches.last() {
            Some(newest) if newest.version > self.from => Ok(newest.version),
            _ => Ok(self.inner.keyring.next_branch(self.account).await?),
        }
    }

    async fn older_than(&self, target: BranchVersion) -> Result<Vec<BranchVersion>, Stop> {
        let branches = self.inner.records.branches(self.account).await?;
        Ok(branches
            .into_iter()
            .map(|branch| branch.version)
            .filter(|version| *version < target)
            .collect())
    }

    /// Wraps every key under `version` anew; says how many did not open.
    async fn rewrap_all(&mut self, version: BranchVersion, target: BranchVersion) -> Result<u64, Stop> {
        let mut after = 0;
        let mut damaged = 0;
        loop {
            let held = self
                .inner
                .records
                .keys_under(self.account, version, after, limits::REWRAP_BATCH)
                .await?;
            let Some(last) = held.last() else {
                return Ok(damaged);
            };
            after = last.slot;
            let lease = self.inner.keyring.lease_with(self.account, target).await?;
            let (rewraps, failed) = {
                let guard = lease.guard()?;
                wrap_all_anew(&guard, self.account, held, version, target)?
            };
            damaged += failed;
            let planned = rewraps.len() as u64;
            self.done += planned;
            let transaction = self
                .transaction(vec![Change::Rewrap(rewraps)], JobPhase::Running)
                .check(Check::CurrentBranch(target))
                .gated(lease);
            let receipt = self.send(transaction).await?;
            self.inner.traces.leave();
            // Some may have been deleted or changed meanwhile; those need nothing any more.
            self.done -= planned - receipt.count.min(planned);
        }
    }

    fn transaction(&self, changes: Vec<Change>, phase: JobPhase) -> Transaction {
        let now_ms = self.inner.now_ms();
        let until_ms = match phase {
            JobPhase::Running => now_ms + millis(limits::CLAIM),
            JobPhase::Waiting | JobPhase::Paused | JobPhase::Done => 0,
        };
        let progress = JobChange::Progress {
            job: self.job,
            done: self.done,
            phase,
            until_ms,
        };
        let mut transaction = Transaction::new(self.account, now_ms).check(Check::Claimed {
            job: self.job,
            token: self.token,
        });
        transaction.changes = changes;
        transaction.change(Change::Job(progress))
    }

    async fn commit(&self, changes: Vec<Change>, phase: JobPhase) -> Result<Receipt, Stop> {
        self.send(self.transaction(changes, phase)).await
    }

    /// Sends it until the writer has room.
    async fn send(&self, mut transaction: Transaction) -> Result<Receipt, Stop> {
        loop {
            let returned = match self.inner.records.commit(transaction).await {
                Ok(receipt) => return Ok(receipt),
                Err(returned) => *returned,
            };
            match (returned.reason, returned.transaction) {
                (Rejected::Busy, Some(back)) => transaction = back,
                (reason, _) => return Err(reason.into()),
            }
            tokio::time::sleep(limits::ERASE_WAIT).await;
        }
    }
}

/// Wraps a batch, held under `version`, under the target; says how many did not open.
fn wrap_all_anew(
    guard: &Guard,
    account: AccountId,
    held: Vec<HeldKey>,
    version: BranchVersion,
    target: BranchVersion,
) -> Result<(Vec<Rewrap>, u64), Stop> {
    let new_branch = guard.version(target).ok_or(Stop::Overtaken)?;
    guard.version(version).ok_or(Stop::Overtaken)?;
    let mut rewraps = Vec::with_capacity(held.len());
    let mut failed = 0;
    for held in held {
        let Some((kind, id)) = held.record else {
            failed += 1;
            continue;
        };
        let context = if held.part == RECORD_PART {
            record_context(account, &kind, &id)
        } else {
            part_context(account, &kind, &id, held.part)
        };
        let (Ok(context), Ok(expected)) = (context, WrappedKey::parse(&held.wrapped)) else {
            failed += 1;
            continue;
        };
        // A version that is not known cannot be opened, now or later.
        let old_branch = guard.version(expected.branch_version());
        let Some(Ok(key)) = old_branch.map(|branch| branch.unwrap(&context, &expected)) else {
            failed += 1;
            continue;
        };
        let new = new_branch
            .wrap(&context, &key)
            .map_err(|error| Stop::Fault(StorageFault::new(error.to_string())))?;
        let is_record = held.part == RECORD_PART;
        rewraps.push(Rewrap {
            slot: held.slot,
            kind,
            bytes: held.bytes,
            is_record,
            expected,
            new,
        });
    }
    Ok((rewraps, failed))
}

impl From<KeyDenied> for Stop {
    fn from(denied: KeyDenied) -> Self {
        Self::Denied(denied)
    }
}

impl From<StorageFault> for Stop {
    fn from(fault: StorageFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Rejected> for Stop {
    fn from(reason: Rejected) -> Self {
        match reason {
            Rejected::Key(denied) => Self::Denied(denied),
            Rejected::Fault(fault) => Self::Fault(fault),
            Rejected::NotFound
            | Rejected::AlreadyExists
            | Rejected::Revision { .. }
            | Rejected::Retiring { .. }
            | Rejected::ClaimLost
            | Rejected::Conflict
            | Rejected::InUse
            | Rejected::Corrupt(_)
            | Rejected::Busy
            | Rejected::Closed => Self::Overtaken,
        }
    }
}

impl From<RotationError> for Stop {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Key(denied) => Self::Denied(denied),
            RotationError::Branches(
                BranchesError::Conflict | BranchesError::Busy | BranchesError::Closed,
            )
            | RotationError::StillNeeded => Self::Overtaken,
            other => Self::Fault(StorageFault::new(StoreError::from(other).to_string())),
        }
    }
}
