//! Records in memory, for tests: the same rules as the database, told a second time.

mod look;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strongroom_seal::{AccountId, BoxFuture, BranchVersion};

use self::state::{Record, State};
use super::{
    HeldKey, JobRow, Name, OwnedName, PageQuery, Receipt, Records, Rejected, Returned, ShreddingRow,
    StoredBranch, StoredPart, StoredRecord, Transaction, UsageRow,
};
use crate::{
    blobs::{BlobName, LitterBin},
    error::StorageFault,
    faults::Faults,
};

/// Records that outlive the store that wrote them, as a disk would. Several stores may share them.
#[derive(Clone)]
pub(crate) struct MemoryRecords {
    state: Arc<Mutex<State>>,
    faults: Faults,
    bin: LitterBin,
}

impl MemoryRecords {
    pub(crate) fn new(faults: Faults, bin: LitterBin) -> Self {
        Self {
            state: Arc::default(),
            faults,
            bin,
        }
    }

    /// The same records, seen by another store or after the machine came back.
    #[cfg(test)]
    pub(crate) fn revived(&self, faults: Faults, bin: LitterBin) -> Self {
        Self {
            state: Arc::clone(&self.state),
            faults,
            bin,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, mut transaction: Transaction) -> Result<Receipt, Box<Returned>> {
        let refuse = |reason, transaction| Err(Returned::new(reason, Some(transaction)));
        if let Err(fault) = self.faults.step() {
            // A machine that stopped cleans nothing up.
            transaction.leave_files();
            return refuse(Rejected::Fault(fault), transaction);
        }
        let mut state = self.lock();
        let mut next = state.clone();
        let mut receipt = match next.apply(&transaction) {
            Ok(receipt) => receipt,
            Err(reason) => return refuse(reason, transaction),
        };
        if let Err(denied) = transaction.gate_open() {
            return refuse(Rejected::Key(denied), transaction);
        }
        *state = next;
        transaction.keep_files();
        if let Err(fault) = self.faults.step() {
            // Committed, but the answer is lost and so is the cleaning up.
            return refuse(Rejected::Fault(fault), transaction);
        }
        receipt.committed(&self.bin);
        Ok(receipt)
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, StorageFault> {
        self.faults.step()?;
        Ok(read(&self.lock()))
    }
}

impl Records for MemoryRecords {
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Receipt, Box<Returned>>> {
        Box::pin(async move { self.commit_now(transaction) })
    }

    fn record<'a>(&'a self, name: Name<'a>) -> BoxFuture<'a, Result<Option<StoredRecord>, StorageFault>> {
        Box::pin(async move { self.read(|state| state.find(name).map(|(_, record)| state.stored(record))) })
    }

    fn page<'a>(
        &'a self,
        query: PageQuery<'a>,
    ) -> BoxFuture<'a, Result<Option<Vec<StoredRecord>>, StorageFault>> {
        Box::pin(async move { self.read(|state| state.page(query)) })
    }

    fn part<'a>(
        &'a self,
        name: Name<'a>,
        part: u32,
    ) -> BoxFuture<'a, Result<Option<StoredPart>, StorageFault>> {
        Box::pin(async move {
            self.read(|state| {
                let (_, record) = state.find(name)?;
                let stored = record.parts.get(&part)?;
                Some(StoredPart {
                    size: stored.size,
                    expires_ms: record.expires_ms,
                    wrapped: state.wrapped(stored.slot),
                    bytes: stored.bytes.clone(),
                })
            })
        })
    }

    fn branches(&self, account: AccountId) -> BoxFuture<'_, Result<Vec<StoredBranch>, StorageFault>> {
        Box::pin(async move { self.read(|state| state.branches_of(account).cloned().collect()) })
    }

    fn is_in_use(
        &self,
        account: AccountId,
        version: BranchVersion,
    ) -> BoxFuture<'_, Result<bool, StorageFault>> {
        Box::pin(async move { self.read(|state| !state.keys_under(account, version, 0, 1).is_empty()) })
    }

    fn keys_under(
        &self,
        account: AccountId,
        version: BranchVersion,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<HeldKey>, StorageFault>> {
        Box::pin(async move { self.read(|state| state.keys_under(account, version, after, limit)) })
    }

    fn key_count(&self, account: AccountId) -> BoxFuture<'_, Result<u64, StorageFault>> {
        Box::pin(async move {
            self.read(|state| state.keys.values().filter(|key| key.account == account).count() as u64)
        })
    }

    fn usage(&self) -> BoxFuture<'_, Result<Vec<UsageRow>, StorageFault>> {
        Box::pin(async move { self.read(State::usage) })
    }

    fn exports(&self) -> BoxFuture<'_, Result<Vec<(AccountId, u64)>, StorageFault>> {
        Box::pin(async move { self.read(|state| state.exports.iter().map(|(a, n)| (*a, *n)).collect()) })
    }

    fn open_jobs(&self) -> BoxFuture<'_, Result<Vec<JobRow>, StorageFault>> {
        Box::pin(async move {
            self.read(|state| {
                let open = state.jobs.values().filter(|row| row.is_open());
                open.cloned().collect()
            })
        })
    }

    fn jobs(&self, account: AccountId, limit: u32) -> BoxFuture<'_, Result<Vec<JobRow>, StorageFault>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Box::pin(async move {
            self.read(|state| {
                let own = state.jobs.values().rev().filter(|row| row.account == account);
                own.take(limit).cloned().collect()
            })
        })
    }

    fn job_of<'a>(&'a self, name: Name<'a>) -> BoxFuture<'a, Result<Option<JobRow>, StorageFault>> {
        Box::pin(async move { self.read(|state| state.job_of(name).cloned()) })
    }

    fn expired(&self, now_ms: u64, limit: u32) -> BoxFuture<'_, Result<Vec<OwnedName>, StorageFault>> {
        Box::pin(async move {
            self.read(|state| {
                let due = |record: &&Record| record.expires_ms.is_some_and(|expires| expires <= now_ms);
                let name = |record: &Record| OwnedName {
                    account: record.account,
                    kind: record.kind.clone(),
                    id: record.id.clone(),
                };
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                state.records.values().filter(due).map(name).take(limit).collect()
            })
        })
    }

    fn shreddings(&self, limit: u32) -> BoxFuture<'_, Result<Vec<ShreddingRow>, StorageFault>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Box::pin(async move { self.read(|state| state.shreddings.values().take(limit).cloned().collect()) })
    }

    fn unwanted(&self, limit: u32) -> BoxFuture<'_, Result<Vec<(AccountId, BlobName)>, StorageFault>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Box::pin(async move {
            self.read(|state| {
                let rows = state.unwanted.iter().take(limit);
                rows.map(|(name, account)| (*account, *name)).collect()
            })
        })
    }

    fn unreferenced<'a>(
        &'a self,
        names: &'a [BlobName],
    ) -> BoxFuture<'a, Result<Vec<BlobName>, StorageFault>> {
        Box::pin(async move {
            self.read(|state| {
                names
                    .iter()
                    .copied()
                    .filter(|name| !state.refers_to(*name))
                    .collect()
            })
        })
    }

    fn erase(&self) -> BoxFuture<'_, Result<bool, StorageFault>> {
        Box::pin(async move { self.read(|_| true) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
