//! Jobs: begun, asked after, asked to stop.

use std::sync::{Arc, PoisonError};

use super::{
    Store,
    objects::{meta_of_new, sealed_changes},
};
use crate::{
    error::StoreError,
    jobs::{JobHandler, JobId, JobStatus, REKEY, Registered, Wish},
    limits,
    object::{Meta, NewObject},
    permit::{Action, Permit, PermitAuthority},
    records::{Change, JobChange, JobRow, Name, NewJob, Rejected, Transaction},
};

impl Store {
    /// Has this instance work on jobs of this kind, `at_once` of them at a time, those of accounts that have fewest first. Jobs of a kind that nobody is
    /// registered for wait. A handler is let go of when the store closes. The authority is asked for because a turn hands out permits.
    pub fn register(
        &self,
        _: &PermitAuthority,
        kind: &'static str,
        at_once: usize,
        handler: Arc<dyn JobHandler>,
    ) {
        let mut handlers = self.inner.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        handlers.insert(kind, Registered { handler, at_once });
        drop(handlers);
        self.inner.job_added.notify_one();
    }

    /// Stores a new object and, in the same transaction, begins the job that works on it: its kind is the object's, its object this one. The
    /// job goes when the object is deleted, at any time. `total` is how much there is to do, 0 if that is not known yet.
    pub async fn begin_job(
        &self,
        permit: &Permit,
        new: NewObject<'_>,
        total: u64,
    ) -> Result<(Meta, JobId), StoreError> {
        let account = permit.demand(Action::Write)?;
        let mut lease = self.inner.keyring.lease(account).await?;
        let now_ms = self.inner.now_ms();
        let add = JobChange::Add(NewJob {
            kind: new.kind,
            object: Some(new.id.clone()),
            from: None,
            total,
        });
        let meta = meta_of_new(account, now_ms, &new)?;
        let mut sealing = sealed_changes(&lease, account, now_ms, vec![new], Vec::new())?;
        sealing.changes.push(Change::Job(add));
        let receipt = self.inner.commit_sealed(&mut lease, account, sealing).await?;
        self.inner.job_added.notify_one();
        Ok((meta, JobId(receipt.job)))
    }

    /// Begins a rekey in the background; answers the one under way if there is one.
    pub async fn rekey(&self, permit: &Permit) -> Result<JobId, StoreError> {
        let account = permit.demand(Action::Administer)?;
        // An account that was never used gets its first branch version now.
        self.inner.keyring.lease(account).await?;
        let branches = self.inner.records.branches(account).await?;
        let from = Some(branches.last().ok_or(StoreError::Busy)?.version);
        let total = self.inner.records.key_count(account).await?;
        let add = Change::Job(JobChange::Add(NewJob {
            kind: REKEY,
            object: None,
            from,
            total,
        }));
        let transaction = Transaction::new(account, self.inner.now_ms()).change(add);
        let added = self.inner.records.commit(transaction).await;
        let receipt = added.map_err(|returned| StoreError::from(returned.reason))?;
        self.inner.job_added.notify_one();
        Ok(JobId(receipt.job))
    }

    /// The account's jobs of all kinds, newest first, a thousand at most. Needs no customer key.
    pub async fn jobs(&self, permit: &Permit) -> Result<Vec<JobStatus>, StoreError> {
        let account = permit.demand(Action::Administer)?;
        let rows = self.inner.records.jobs(account, limits::JOBS_LISTED).await?;
        Ok(rows.into_iter().map(JobStatus::from).collect())
    }

    /// The job that works on an object. Needs no customer key.
    pub async fn job_of(&self, permit: &Permit, kind: &str, id: &str) -> Result<JobStatus, StoreError> {
        let account = permit.demand(Action::Read)?;
        let found = self.inner.records.job_of(Name { account, kind, id }).await?;
        found.map(JobStatus::from).ok_or(StoreError::NotFound)
    }

    /// Asks something of the job that works on an object, and says how it stands then; a job that has ended stays as it is. Needs no customer key.
    pub async fn ask_job_of(
        &self,
        permit: &Permit,
        kind: &str,
        id: &str,
        wish: Wish,
    ) -> Result<JobStatus, StoreError> {
        let account = permit.demand(Action::Write)?;
        let name = Name { account, kind, id };
        let found = self.inner.records.job_of(name).await?;
        self.ask(found.ok_or(StoreError::NotFound)?, wish).await?;
        let found = self.inner.records.job_of(name).await?;
        found.map(JobStatus::from).ok_or(StoreError::NotFound)
    }

    /// Asks something of any job of the account. Needs no customer key.
    pub async fn ask_job(&self, permit: &Permit, job: JobId, wish: Wish) -> Result<JobStatus, StoreError> {
        let account = permit.demand(Action::Administer)?;
        let find = async || {
            let rows = self.inner.records.jobs(account, limits::JOBS_LISTED).await?;
            let found = rows.into_iter().find(|row| row.id == job.0);
            found.ok_or(StoreError::NotFound)
        };
        self.ask(find().await?, wish).await?;
        find().await.map(JobStatus::from)
    }

    async fn ask(&self, row: JobRow, wish: Wish) -> Result<(), StoreError> {
        let ask = Change::Job(JobChange::Ask { job: row.id, wish });
        let transaction = Transaction::new(row.account, self.inner.now_ms()).change(ask);
        match self.inner.records.commit(transaction).await {
            Ok(_) => {}
            Err(returned) if returned.reason == Rejected::ClaimLost => return Err(StoreError::NotFound),
            Err(returned) => return Err(returned.reason.into()),
        }
        self.inner.job_asked.send_modify(|count| *count += 1);
        self.inner.job_added.notify_one();
        Ok(())
    }
}
