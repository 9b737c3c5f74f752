//! The state and what a transaction does to it.

use std::{collections::BTreeMap, sync::Arc};

use strongroom_seal::{AccountId, BranchVersion, WrappedKey};

use crate::blobs::BlobName;
use crate::error::Corruption;
use crate::records::{
    Change, Check, Destroyed, JobChange, JobRow, Name, NewPart, NewRecord, OwnedName, PartBytes, RECORD_PART,
    Receipt, Rejected, Replacement, Rewrap, ShreddingRow, StoredBranch, StoredBytes, Transaction,
};

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) seq: u64,
    pub(super) slot: u64,
    pub(super) job: u64,
    pub(super) shredding: u64,
    pub(super) names: BTreeMap<(AccountId, String, String), u64>,
    pub(super) records: BTreeMap<u64, Record>,
    pub(super) keys: BTreeMap<u64, Key>,
    pub(super) branches: BTreeMap<(AccountId, BranchVersion), StoredBranch>,
    pub(super) exports: BTreeMap<AccountId, u64>,
    pub(super) jobs: BTreeMap<u64, JobRow>,
    pub(super) shreddings: BTreeMap<u64, ShreddingRow>,
    pub(super) unwanted: BTreeMap<BlobName, AccountId>,
}

#[derive(Clone)]
pub(super) struct Record {
    pub(super) account: AccountId,
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) created_ms: u64,
    pub(super) expires_ms: Option<u64>,
    pub(super) revision: u64,
    pub(super) slot: u64,
    pub(super) body: Arc<Vec<u8>>,
    pub(super) parts: BTreeMap<u32, Part>,
}

#[derive(Clone)]
pub(super) struct Part {
    pub(super) size: u64,
    pub(super) slot: u64,
    pub(super) bytes: StoredBytes,
}

#[derive(Clone)]
pub(super) struct Key {
    pub(super) account: AccountId,
    pub(super) seq: u64,
    pub(super) part: u32,
    pub(super) bytes: u64,
    pub(super) wrapped: WrappedKey,
}

impl State {
    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<Receipt, Rejected> {
        let mut receipt = Receipt::default();
        let account = transaction.account;
        for check in &transaction.checks {
            self.check(account, *check)?;
        }
        for change in &transaction.changes {
            match change {
                Change::Insert(new) => self.insert(account, new)?,
                Change::Replace(new) => self.replace(account, new, &mut receipt)?,
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
                Change::ForgetBranches => self.forget_branches(account)?,
                Change::Job(change) => self.change_job(transaction, change, &mut receipt)?,
                Change::ForgetShreddings { up_to } => self.shreddings.retain(|number, _| number > up_to),
                Change::ForgetUnwanted(names) => self.unwanted.retain(|name, _| !names.contains(name)),
            }
        }
        transaction.gate_open().map_err(Rejected::Key)?;
        Ok(receipt)
    }

    pub(super) fn check(&self, account: AccountId, check: Check) -> Result<(), Rejected> {
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
                Some(row) if row.account == account && row.is_claimed_with(token) => Ok(()),
                _ => Err(Rejected::ClaimLost),
            },
        }
    }

    pub(super) fn current_branch(&self, account: AccountId) -> Option<BranchVersion> {
        self.branches_of(account).last().map(|branch| branch.version)
    }

    pub(super) fn branches_of(&self, account: AccountId) -> impl Iterator<Item = &StoredBranch> {
        self.branches
            .iter()
            .filter(move |((owner, _), _)| *owner == account)
            .map(|(_, branch)| branch)
    }

    pub(super) fn put_key(&mut self, key: Key) -> u64 {
        self.slot += 1;
        self.keys.insert(self.slot, key);
        self.slot
    }

    pub(super) fn insert(&mut self, account: AccountId, new: &NewRecord) -> Result<(), Rejected> {
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
        self.add_parts(account, seq, &mut parts, &new.parts)?;
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

    fn add_parts(
        &mut self,
        account: AccountId,
        seq: u64,
        parts: &mut BTreeMap<u32, Part>,
        new: &[NewPart],
    ) -> Result<(), Rejected> {
        for part in new {
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
            let added = Part {
                size: part.size,
                slot,
                bytes,
            };
            if parts.insert(part.part, added).is_some() {
                return Err(Rejected::AlreadyExists);
            }
        }
        Ok(())
    }

    pub(super) fn find(&self, name: Name<'_>) -> Option<(u64, &Record)> {
        let seq = *self
            .names
            .get(&(name.account, name.kind.to_owned(), name.id.to_owned()))?;
        self.records.get(&seq).map(|record| (seq, record))
    }

    pub(super) fn replace(
        &mut self,
        account: AccountId,
        new: &Replacement,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
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
        let mut parts = std::mem::take(&mut record.parts);
        for number in &new.dropped {
            let part = parts.remove(number).ok_or(Rejected::Corrupt(Corruption::Place))?;
            self.keys.remove(&part.slot);
            self.unwant(account, &part, receipt);
        }
        self.add_parts(account, seq, &mut parts, &new.added)?;
        if let Some(record) = self.records.get_mut(&seq) {
            record.parts = parts;
        }
        Ok(())
    }

    fn unwant(&mut self, account: AccountId, part: &Part, receipt: &mut Receipt) {
        if let StoredBytes::File(file) = part.bytes {
            self.unwanted.insert(file, account);
            receipt.freed.push(file);
        }
    }

    pub(super) fn delete(
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
        let slots = [record.slot]
            .into_iter()
            .chain(record.parts.values().map(|part| part.slot));
        let wrapped: Vec<_> = slots.map(|slot| self.wrapped(slot)).collect();
        let destroyed = Destroyed::of(wrapped.iter().map(Vec::as_slice), |branch| {
            let stored = self.branches.get(&(account, branch));
            Ok::<_, Rejected>(stored.map(|stored| stored.key.clone()))
        })?;
        self.keys.retain(|_, key| key.seq != seq);
        let of_it = |row: &JobRow| {
            row.account == account && row.kind == record.kind && row.object.as_ref() == Some(&record.id)
        };
        self.jobs.retain(|_, row| !of_it(row));
        for part in record.parts.values() {
            self.unwant(account, part, receipt);
        }
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
                expired: expired_by_ms.is_some(),
                destroyed,
            },
        );
        Ok(())
    }

    pub(super) fn rewrap(&mut self, account: AccountId, rewraps: &[Rewrap], receipt: &mut Receipt) {
        for rewrap in rewraps {
            let held = self.keys.get_mut(&rewrap.slot);
            if let Some(key) = held.filter(|key| key.account == account && key.wrapped == rewrap.expected) {
                key.wrapped = rewrap.new.clone();
                receipt.count += 1;
            }
        }
    }

    pub(super) fn append_branch(
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

    pub(super) fn drop_branch(&mut self, account: AccountId, version: BranchVersion) -> Result<(), Rejected> {
        let used = |key: &Key| key.account == account && key.wrapped.branch_version() == version;
        if self.current_branch(account) == Some(version) || self.keys.values().any(used) {
            return Err(Rejected::InUse);
        }
        self.branches.remove(&(account, version));
        Ok(())
    }

    pub(super) fn forget_branches(&mut self, account: AccountId) -> Result<(), Rejected> {
        if self.keys.values().any(|key| key.account == account) {
            return Err(Rejected::InUse);
        }
        self.branches.retain(|(of, _), _| *of != account);
        Ok(())
    }

    pub(super) fn job_of(&self, name: Name<'_>) -> Option<&JobRow> {
        self.jobs.values().find(|row| {
            row.account == name.account && row.kind == name.kind && row.object.as_deref() == Some(name.id)
        })
    }

    pub(super) fn change_job(
        &mut self,
        transaction: &Transaction,
        change: &JobChange,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let (account, now_ms) = (transaction.account, transaction.now_ms);
        let id = match change {
            JobChange::Add(new) => {
                let same = |row: &&JobRow| {
                    row.account == account
                        && row.kind == new.kind
                        && row.object == new.object
                        && row.is_open()
                };
                receipt.job = if let Some(known) = self.jobs.values().find(same) {
                    known.id
                } else {
                    self.job += 1;
                    let row = JobRow::new(self.job, account, now_ms, new);
                    self.jobs.insert(row.id, row);
                    self.job
                };
                return Ok(());
            }
            other => other.job().ok_or(Rejected::ClaimLost)?,
        };
        let row = self.jobs.get_mut(&id).filter(|row| row.account == account);
        row.ok_or(Rejected::ClaimLost)?.change(now_ms, change, receipt)
    }
}
