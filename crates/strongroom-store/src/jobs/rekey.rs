//! Rekey: a new branch version, every object key wrapped under it, the old versions dropped.
//!
//! Each wrapped key is exchanged only if its bytes are still the ones that were unwrapped.

use strongroom_seal::{AccountId, BoxFuture, BranchVersion, WrappedKey};
use tracing::{info, warn};

use super::{JobEnd, JobHandler, JobStop, JobTurn, Wish};
use crate::{
    error::{StorageFault, StoreError},
    event::StoreEvent,
    keyring::{Guard, KeyDenied},
    limits,
    records::{Change, Check, HeldKey, JobPhase, RECORD_PART, Receipt, Rejected, Rewrap, Transaction},
    rotation::{BranchesError, RotationError},
    sealing::{part_context, record_context},
    store::Inner,
};

/// The kind of job.
pub(crate) const REKEY: &str = "rekey";

/// Rekeys.
pub(super) struct Rekey;

impl JobHandler for Rekey {
    fn run(&self, turn: JobTurn) -> BoxFuture<'_, Result<JobEnd, JobStop>> {
        Box::pin(async move { work(&turn).await })
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
    /// It was asked to.
    Asked(Wish),
}

async fn work(turn: &JobTurn) -> Result<JobEnd, JobStop> {
    let account = turn.account();
    let mut run = Run {
        inner: turn.inner(),
        turn,
        account,
        from: turn.row().from.unwrap_or(BranchVersion::FIRST),
        done: turn.done(),
    };
    match run.through().await {
        Ok(version) => {
            info!(%account, %version, keys = run.done, "rekeyed");
            run.inner.events.emit(StoreEvent::Rekeyed {
                account,
                version,
                keys: run.done,
                at_ms: run.inner.now_ms(),
            });
            Ok(JobEnd::Done)
        }
        // What is under the new version stays there; the next rekey moves the rest.
        Err(Stop::Asked(Wish::Cancel)) => Ok(JobEnd::Cancelled),
        Err(Stop::Asked(_)) => Err(JobStop::Held),
        Err(Stop::Denied(denied)) => Err(StoreError::Key(denied).into()),
        Err(Stop::Overtaken) => Err(StoreError::Busy.into()),
        Err(Stop::Fault(fault)) => Err(StoreError::Io(fault).into()),
        Err(Stop::Damaged(keys)) => {
            warn!(%account, keys, "rekey cannot end: object keys do not open");
            Err(JobStop::Blocked)
        }
    }
}

/// One turn at a rekey.
struct Run<'t> {
    inner: &'t Inner,
    turn: &'t JobTurn,
    account: AccountId,
    from: BranchVersion,
    done: u64,
}

impl Run<'_> {
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
            self.send(self.transaction(vec![Change::DropBranch(version)], JobPhase::Running))
                .await?;
            self.inner.traces.leave();
            self.inner.keyring.dropped(self.account, version);
        }
        self.send(self.transaction(Vec::new(), JobPhase::Done)).await?;
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
            if let Some(wish) = self.turn.wish() {
                return Err(Stop::Asked(wish));
            }
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
            self.turn.note_done(self.done);
        }
    }

    fn transaction(&self, mut changes: Vec<Change>, phase: JobPhase) -> Transaction {
        let mut transaction = self.turn.progress(self.done, self.turn.total(), phase);
        changes.append(&mut transaction.changes);
        transaction.changes = changes;
        transaction
    }

    async fn send(&self, transaction: Transaction) -> Result<Receipt, Stop> {
        let receipt = self.turn.send(transaction).await?;
        self.turn.note_done(self.done);
        Ok(receipt)
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
