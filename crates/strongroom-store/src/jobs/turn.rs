//! One turn at a job: what a handler works with.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use strongroom_seal::AccountId;
use tokio::sync::watch;
use tracing::warn;

use super::{JobId, Unit, Wish};
use crate::{
    error::StoreError,
    limits,
    permit::{Action, Permit},
    records::{Change, Check, JobChange, JobPhase, JobRow, Receipt, Rejected, Transaction},
    store::{Inner, Store, millis},
};

/// A turn at one job, for as long as it is claimed. See [`JobHandler`](super::JobHandler).
pub struct JobTurn {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<Inner>,
    store: Store,
    row: JobRow,
    token: u64,
    done: AtomicU64,
    total: AtomicU64,
    wish: watch::Sender<Option<Wish>>,
    asked: watch::Receiver<u64>,
    read: Permit,
    write: Permit,
    delete: Permit,
}

impl JobTurn {
    /// Takes the job, unless somebody else has.
    pub(super) async fn claim(inner: Arc<Inner>, row: &JobRow) -> Option<Self> {
        // From before the claim: what is asked after it is heard of.
        let asked = inner.job_asked.subscribe();
        let now_ms = inner.now_ms();
        let claim = JobChange::Claim {
            job: row.id,
            until_ms: now_ms + millis(limits::CLAIM),
        };
        let transaction = Transaction::new(row.account, now_ms).change(Change::Job(claim));
        let receipt = match inner.records.commit(transaction).await {
            Ok(receipt) => receipt,
            Err(returned) => {
                if !matches!(returned.reason, Rejected::ClaimLost | Rejected::Closed) {
                    warn!(job = row.id, reason = ?returned.reason, "a job was not claimed");
                }
                return None;
            }
        };
        let permit = |action| Permit::for_job(row.account, action, JobId(row.id));
        let shared = Shared {
            store: Store::within(&inner),
            token: receipt.token,
            done: AtomicU64::new(row.done),
            total: AtomicU64::new(row.total),
            wish: watch::Sender::new(receipt.wish),
            asked,
            read: permit(Action::Read),
            write: permit(Action::Write),
            delete: permit(Action::Delete),
            row: row.clone(),
            inner,
        };
        Some(Self {
            shared: Arc::new(shared),
        })
    }

    pub(super) fn share(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        JobId(self.shared.row.id)
    }

    /// The account that it works for.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.shared.row.account
    }

    /// The id of the object that it works on, whose kind is the job's. Empty for a job that has none.
    #[must_use]
    pub fn object(&self) -> &str {
        self.shared.row.object.as_deref().unwrap_or_default()
    }

    /// When the job was asked for, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        self.shared.row.created_ms
    }

    /// The present time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.shared.inner.now_ms()
    }

    /// Units of work done, as last committed.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// Units of work in all, as last committed.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.shared.total.load(Ordering::Relaxed)
    }

    /// The store. A handler needs no handle of its own.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Leave to read the account's objects.
    #[must_use]
    pub fn read(&self) -> &Permit {
        &self.shared.read
    }

    /// Leave to write objects of the account.
    #[must_use]
    pub fn write(&self) -> &Permit {
        &self.shared.write
    }

    /// Leave to delete objects of the account.
    #[must_use]
    pub fn delete(&self) -> &Permit {
        &self.shared.delete
    }

    /// What is asked of the job now: [`Wish::Cancel`], [`Wish::Hold`] or nothing.
    #[must_use]
    pub fn wish(&self) -> Option<Wish> {
        *self.shared.wish.borrow()
    }

    /// Resolves, to what it is, when something is asked of the job; at once if it was already. A wish to hold that was taken back is forgotten.
    pub async fn wished(&self) -> Wish {
        let mut wish = self.shared.wish.subscribe();
        loop {
            if let Some(wish) = *wish.borrow_and_update() {
                return wish;
            }
            if wish.changed().await.is_err() {
                // Not while `self` lives.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Commits all of the unit or nothing, durably, and only while this turn still has the job: an instance that stood still
    /// cannot commit over the one that took over. [`StoreError::Busy`] if it has not; the future is about to be dropped then.
    pub async fn commit(&self, unit: Unit<'_>) -> Result<(), StoreError> {
        let Shared { inner, row, .. } = &*self.shared;
        let done = unit.done.unwrap_or_else(|| self.done());
        let total = unit.total.unwrap_or_else(|| self.total());
        let phase = unit.end.map_or(JobPhase::Running, JobPhase::from);
        let frees = unit.frees();
        let progress = self.progress(done, total, phase);
        if unit.seals_nothing() {
            let mut transaction = progress;
            transaction.changes.extend(unit.deletions());
            self.send(transaction).await?;
        } else {
            let mut lease = inner.keyring.lease(row.account).await?;
            let sealing = unit.seal(&lease, row.account, inner.now_ms())?;
            let mut transaction = progress
                .check(Check::CurrentBranch(sealing.branch))
                .gated(lease.clone());
            transaction.changes.extend(sealing.changes);
            let tries = limits::COMMIT_TRIES;
            let receipt = inner
                .commit_wrapped(&mut lease, transaction, &sealing.keys, tries)
                .await?;
            self.heard(&receipt);
        }
        self.shared.done.store(done, Ordering::Relaxed);
        self.shared.total.store(total, Ordering::Relaxed);
        if frees {
            inner.traces.leave();
        }
        Ok(())
    }

    /// The inside of the store, for what works on more than objects.
    pub(super) fn inner(&self) -> &Inner {
        &self.shared.inner
    }

    /// The job as it was when this turn began.
    pub(super) fn row(&self) -> &JobRow {
        &self.shared.row
    }

    /// A transaction of this turn: it notes how far the job is, and fails if the job is somebody else's.
    pub(super) fn progress(&self, done: u64, total: u64, phase: JobPhase) -> Transaction {
        let now_ms = self.now_ms();
        let job = self.shared.row.id;
        let progress = JobChange::Progress {
            job,
            done,
            total,
            phase,
            until_ms: now_ms + millis(limits::CLAIM),
        };
        self.fenced().change(Change::Job(progress))
    }

    fn fenced(&self) -> Transaction {
        let Shared { row, token, .. } = &*self.shared;
        Transaction::new(row.account, self.now_ms()).check(Check::Claimed {
            job: row.id,
            token: *token,
        })
    }

    /// Sends it until the writer has room.
    pub(super) async fn send(&self, mut transaction: Transaction) -> Result<Receipt, Rejected> {
        loop {
            let returned = match self.shared.inner.records.commit(transaction).await {
                Ok(receipt) => {
                    self.heard(&receipt);
                    return Ok(receipt);
                }
                Err(returned) => *returned,
            };
            match (returned.reason, returned.transaction) {
                (Rejected::Busy, Some(back)) => transaction = back,
                (reason, _) => return Err(reason),
            }
            tokio::time::sleep(limits::ERASE_WAIT).await;
        }
    }

    /// What a rekey did so far; its own transactions say it, too.
    pub(super) fn note_done(&self, done: u64) {
        self.shared.done.store(done, Ordering::Relaxed);
    }

    /// Lets go of the job. If even that fails, the claim runs out by itself.
    pub(super) async fn settle(&self, phase: JobPhase) {
        drop(self.send(self.progress(self.done(), self.total(), phase)).await);
    }

    /// Renews the claim, and hears at once what is asked of the job. Resolves when the claim is lost.
    pub(super) async fn keep_claim(&self) {
        let mut asked = self.shared.asked.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep(limits::CLAIM / 3) => {}
                _ = asked.changed() => {}
            }
            let renew = JobChange::Renew {
                job: self.shared.row.id,
                until_ms: self.now_ms() + millis(limits::CLAIM),
            };
            match self.send(self.fenced().change(Change::Job(renew))).await {
                Ok(_) => {}
                Err(Rejected::ClaimLost | Rejected::Closed) => return,
                // The next commit says whether somebody took over meanwhile.
                Err(reason) => warn!(job = self.shared.row.id, ?reason, "a claim was not renewed"),
            }
        }
    }

    fn heard(&self, receipt: &Receipt) {
        self.shared.wish.send_if_modified(|wish| {
            let is_new = *wish != receipt.wish;
            *wish = receipt.wish;
            is_new
        });
    }
}
