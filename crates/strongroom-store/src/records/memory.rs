//! Records in memory, for tests: the same rules as the database, told a second time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use strongroom_seal::{AccountId, BoxFuture, BranchVersion, WrappedKey};

use super::{
    Change, Check, HeldKey, JobChange, JobPhase, JobRow, Name, NewRecord, OwnedName, PageQuery, PartBytes,
    RECORD_PART, Receipt, Records, Rejected, Replacement, Returned, Rewrap, ShreddingRow, StoredBranch,
    StoredBytes, StoredPart, StoredRecord, Transaction, UsageRow,
};
use crate::{
    blobs::{BlobName, LitterBin},
    error::StorageFault,
    faults::Faults,
    object::{Order, PartSize},
};

/// Records that outlive the store that wrote them, as a disk would. Several stores may share them.
#[derive(Clone)]
pub(crate) struct MemoryRecords {
    state: Arc<Mutex<State>>,
    faults: Faults,
    bin: LitterBin,
}

#[derive(Clone, Default)]
struct State {
    seq: u64,
    slot: u64,
    job: u64,
    shredding: u64,
    names: BTreeMap<(AccountId, String, String), u64>,
    records: BTreeMap<u64, Record>,
    keys: BTreeMap<u64, Key>,
    branches: BTreeMap<(AccountId, BranchVersion), StoredBranch>,
    exports: BTreeMap<AccountId, u64>,
    jobs: BTreeMap<u64, JobRow>,
    shreddings: BTreeMap<u64, ShreddingRow>,
}

#[derive(Clone)]
struct Record {
    account: AccountId,
    kind: String,
    id: String,
    created_ms: u64,
    expires_ms: Option<u64>,
    revision: u64,
    slot: u64,
    body: Arc<Vec<u8>>,
    parts: BTreeMap<u32, Part>,
}

#[derive(Clone)]
struct Part {
    size: u64,
    slot: u64,
    bytes: StoredBytes,
}

#[derive(Clone)]
struct Key {
    account: AccountId,
    seq: u64,
    part: u32,
    bytes: u64,
    wrapped: WrappedKey,
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
            transaction.keep_files();
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

impl State {
    fn apply(&mut self, transaction: &Transaction) -> Result<Receipt, Rejected> {
        let mut receipt = Receipt::default();
        let account = transaction.account;
        for check in &transaction.checks {
            self.check(account, *check)?;
        }
        for change in &transaction.changes {
            match change {
                Change::Insert(new) => self.insert(account, new)?,
                Change::Replace(new) => self.replace(account, new)?,
                Change::Delete {
                    kind,
                    id,
                    expired_by_ms,
                } => {
                    self.delete(transaction, kind, id, *expired_by_ms, &mut receipt)?;
                }
                Change::Rewrap(rewraps) => self.rewrap(account, rewraps, &mut receipt),
                Change::CountExport => *self.exports.entry(account).or_default() += 1,
                Change::AppendBranch { expected, branch } => {
                    self.append_branch(account, *expected, branch)?;
                }
                Change::ReplaceSeed {
                    version,
                    expected,
                    key,
                    algorithm,
                    seed,
                } => {
                    let stored = self
                        .branches
                        .get_mut(&(account, *version))
                        .ok_or(Rejected::Conflict)?;
                    if stored.seed != *expected {
                        return Err(Rejected::Conflict);
                    }
                    stored.key.clone_from(key);
                    stored.algorithm = (*algorithm).to_owned();
                    stored.seed.clone_from(seed);
                }
                Change::DropBranch(version) => self.drop_branch(account, *version)?,
                Change::Job(change) => self.job(transaction, *change, &mut receipt)?,
                Change::ForgetShreddings { up_to } => self.shreddings.retain(|number, _| number > up_to),
            }
        }
        transaction.gate_open().map_err(Rejected::Key)?;
        Ok(receipt)
    }

    fn check(&self, account: AccountId, check: Check) -> Result<(), Rejected> {
        match check {
            Check::CurrentBranch(version) => {
                let current = self.current_branch(account);
                if current == Some(version) {
                    Ok(())
                } else {
                    Err(Rejected::Retiring { current })
                }
            }
            Check::Claimed { job, token } => match self.jobs.get(&job) {
                Some(row) if row.account == account && row.token == token && row.state != JobPhase::Done => {
                    Ok(())
                }
                _ => Err(Rejected::ClaimLost),
            },
        }
    }

    fn current_branch(&self, account: AccountId) -> Option<BranchVersion> {
        self.branches_of(account).last().map(|branch| branch.version)
    }

    fn branches_of(&self, account: AccountId) -> impl Iterator<Item = &StoredBranch> {
        self.branches
            .iter()
            .filter(move |((owner, _), _)| *owner == account)
            .map(|(_, branch)| branch)
    }

    fn put_key(&mut self, key: Key) -> u64 {
        self.slot += 1;
        self.keys.insert(self.slot, key);
        self.slot
    }

    fn insert(&mut self, account: AccountId, new: &NewRecord) -> Result<(), Rejected> {
        let name = (account, new.kind.to_owned(), new.id.clone());
        if self.names.contains_key(&name) {
            return Err(Rejected::AlreadyExists);
        }
        self.seq += 1;
        let seq = self.seq;
        let body = new.body.as_bytes().to_vec();
        let key = Key {
            account,
            seq,
            part: RECORD_PART,
            bytes: body.len() as u64,
            wrapped: new.key.clone(),
        };
        let slot = self.put_key(key);
        let mut parts = BTreeMap::new();
        for part in &new.parts {
            let key = Key {
                account,
                seq,
                part: part.part,
                bytes: part.stored,
                wrapped: part.key.clone(),
            };
            let slot = self.put_key(key);
            let bytes = match &part.bytes {
                PartBytes::Inline(sealed) => StoredBytes::Inline(sealed.as_bytes().to_vec()),
                PartBytes::File(file) => StoredBytes::File(file.name()),
            };
            if parts
                .insert(
                    part.part,
                    Part {
                        size: part.size,
                        slot,
                        bytes,
                    },
                )
                .is_some()
            {
                return Err(Rejected::AlreadyExists);
            }
        }
        self.names.insert(name, seq);
        let record = Record {
            account,
            kind: new.kind.to_owned(),
            id: new.id.clone(),
            created_ms: new.created_ms,
            expires_ms: new.expires_ms,
            revision: 1,
            slot,
            body: Arc::new(body),
            parts,
        };
        self.records.insert(seq, record);
        Ok(())
    }

    fn find(&self, name: Name<'_>) -> Option<(u64, &Record)> {
        let seq = *self
            .names
            .get(&(name.account, name.kind.to_owned(), name.id.to_owned()))?;
        self.records.get(&seq).map(|record| (seq, record))
    }

    fn replace(&mut self, account: AccountId, new: &Replacement) -> Result<(), Rejected> {
        let name = Name {
            account,
            kind: &new.kind,
            id: &new.id,
        };
        let (seq, _) = self.find(name).ok_or(Rejected::NotFound)?;
        let record = self.records.get_mut(&seq).ok_or(Rejected::NotFound)?;
        if record.revision != new.expected_revision {
            return Err(Rejected::Revision {
                current: record.revision,
            });
        }
        record.revision += 1;
        record.expires_ms = new.expires_ms;
        record.body = Arc::new(new.body.as_bytes().to_vec());
        if let Some(key) = self.keys.get_mut(&record.slot) {
            key.wrapped = new.key.clone();
            key.bytes = record.body.len() as u64;
        }
        Ok(())
    }

    fn delete(
        &mut self,
        transaction: &Transaction,
        kind: &str,
        id: &str,
        expired_by_ms: Option<u64>,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let account = transaction.account;
        let found = self
            .find(Name { account, kind, id })
            .map(|(seq, record)| (seq, record.expires_ms));
        let seq = match (found, expired_by_ms) {
            (Some((seq, _)), None) => seq,
            (Some((seq, Some(expires))), Some(bound)) if expires <= bound => seq,
            (_, Some(_)) => return Ok(()),
            (None, None) => return Err(Rejected::NotFound),
        };
        let Some(record) = self.records.remove(&seq) else {
            return Err(Rejected::NotFound);
        };
        self.names
            .remove(&(account, record.kind.clone(), record.id.clone()));
        self.keys.retain(|_, key| key.seq != seq);
        receipt
            .freed
            .extend(record.parts.values().filter_map(|part| match part.bytes {
                StoredBytes::File(name) => Some(name),
                StoredBytes::Inline(_) => None,
            }));
        receipt.count += 1;
        self.shredding += 1;
        let number = self.shredding;
        let name = OwnedName {
            account,
            kind: record.kind,
            id: record.id,
        };
        self.shreddings.insert(
            number,
            ShreddingRow {
                number,
                name,
                deleted_ms: transaction.now_ms,
            },
        );
        Ok(())
    }

    fn rewrap(&mut self, account: AccountId, rewraps: &[Rewrap], receipt: &mut Receipt) {
        for rewrap in rewraps {
            let held = self.keys.get_mut(&rewrap.slot);
            if let Some(key) = held.filter(|key| key.account == account && key.wrapped == rewrap.expected) {
                key.wrapped = rewrap.new.clone();
                receipt.count += 1;
            }
        }
    }

    fn append_branch(
        &mut self,
        account: AccountId,
        expected: Option<BranchVersion>,
        branch: &StoredBranch,
    ) -> Result<(), Rejected> {
        if self.current_branch(account) != expected
            || expected.is_some_and(|current| branch.version <= current)
        {
            return Err(Rejected::Conflict);
        }
        self.branches.insert((account, branch.version), branch.clone());
        Ok(())
    }

    fn drop_branch(&mut self, account: AccountId, version: BranchVersion) -> Result<(), Rejected> {
        let used = |key: &Key| key.account == account && key.wrapped.branch_version() == version;
        if self.current_branch(account) == Some(version) || self.keys.values().any(used) {
            return Err(Rejected::InUse);
        }
        self.branches.remove(&(account, version));
        Ok(())
    }

    fn job(
        &mut self,
        transaction: &Transaction,
        change: JobChange,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let (account, now) = (transaction.account, transaction.now_ms);
        match change {
            JobChange::Add { from, total } => {
                let open = |row: &&JobRow| row.account == account && row.state != JobPhase::Done;
                if let Some(known) = self.jobs.values().find(open) {
                    receipt.job = known.id;
                    return Ok(());
                }
                self.job += 1;
                receipt.job = self.job;
                let row = JobRow {
                    id: self.job,
                    account,
                    state: JobPhase::Waiting,
                    from,
                    token: 0,
                    claimed_until_ms: 0,
                    done: 0,
                    total,
                    created_ms: now,
                    finished_ms: None,
                };
                self.jobs.insert(row.id, row);
            }
            JobChange::Claim { job, until_ms } => {
                let row = self.jobs.get_mut(&job).ok_or(Rejected::ClaimLost)?;
                if row.account != account || row.state == JobPhase::Done || row.claimed_until_ms > now {
                    return Err(Rejected::ClaimLost);
                }
                row.token += 1;
                row.claimed_until_ms = until_ms;
                row.state = JobPhase::Running;
                receipt.token = row.token;
            }
            JobChange::Progress {
                job,
                done,
                phase,
                until_ms,
            } => {
                if let Some(row) = self.jobs.get_mut(&job).filter(|row| row.account == account) {
                    row.done = done;
                    row.state = phase;
                    row.claimed_until_ms = until_ms;
                    row.finished_ms = (phase == JobPhase::Done).then_some(now);
                }
            }
        }
        Ok(())
    }

    fn wrapped(&self, slot: u64) -> Vec<u8> {
        self.keys
            .get(&slot)
            .map(|key| key.wrapped.as_bytes().to_vec())
            .unwrap_or_default()
    }

    fn stored(&self, record: &Record) -> StoredRecord {
        StoredRecord {
            id: record.id.clone(),
            created_ms: record.created_ms,
            expires_ms: record.expires_ms,
            revision: record.revision,
            parts: record
                .parts
                .iter()
                .map(|(part, stored)| PartSize {
                    part: *part,
                    size: stored.size,
                })
                .collect(),
            wrapped: self.wrapped(record.slot),
            body: record.body.to_vec(),
        }
    }

    fn page(&self, query: PageQuery<'_>) -> Option<Vec<StoredRecord>> {
        let from = match query.after {
            None => None,
            Some(id) => Some(
                self.find(Name {
                    account: query.account,
                    kind: query.kind,
                    id,
                })?
                .0,
            ),
        };
        let wanted = |(seq, record): &(&u64, &Record)| {
            record.account == query.account
                && record.kind == query.kind
                && record.expires_ms.is_none_or(|expires| expires > query.now_ms)
                && from.is_none_or(|from| match query.order {
                    Order::Asc => **seq > from,
                    Order::Desc => **seq < from,
                })
        };
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let found = self
            .records
            .iter()
            .filter(wanted)
            .map(|(_, record)| self.stored(record));
        Some(match query.order {
            Order::Asc => found.take(limit).collect(),
            Order::Desc => {
                let mut all: Vec<_> = found.collect();
                all.reverse();
                all.truncate(limit);
                all
            }
        })
    }

    fn keys_under(&self, account: AccountId, version: BranchVersion, after: u64, limit: u32) -> Vec<HeldKey> {
        let under = |key: &Key| key.account == account && key.wrapped.branch_version() == version;
        let held = self
            .keys
            .range(after.saturating_add(1)..)
            .filter(|(_, key)| under(key));
        let named = held.filter_map(|(slot, key)| {
            let record = self.records.get(&key.seq)?;
            Some(HeldKey {
                slot: *slot,
                kind: record.kind.clone(),
                id: record.id.clone(),
                part: key.part,
                bytes: key.bytes,
                wrapped: key.wrapped.as_bytes().to_vec(),
            })
        });
        named.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
    }

    fn usage(&self) -> Vec<UsageRow> {
        let mut rows: BTreeMap<(AccountId, String, BranchVersion), (u64, u64)> = BTreeMap::new();
        for key in self.keys.values() {
            let Some(record) = self.records.get(&key.seq) else {
                continue;
            };
            let row = rows
                .entry((key.account, record.kind.clone(), key.wrapped.branch_version()))
                .or_default();
            row.0 += u64::from(key.part == RECORD_PART);
            row.1 += key.bytes;
        }
        let row = |((account, kind, branch), (objects, bytes))| UsageRow {
            account,
            kind,
            branch,
            objects,
            bytes,
        };
        rows.into_iter().map(row).collect()
    }

    fn refers_to(&self, name: BlobName) -> bool {
        let mut parts = self.records.values().flat_map(|record| record.parts.values());
        parts.any(|part| part.bytes == StoredBytes::File(name))
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

    fn jobs(&self) -> BoxFuture<'_, Result<Vec<JobRow>, StorageFault>> {
        Box::pin(async move { self.read(|state| state.jobs.values().cloned().collect()) })
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
