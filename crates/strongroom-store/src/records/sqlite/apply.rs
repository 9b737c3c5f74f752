//! One unit of work, applied inside the group's transaction.

use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, Params, ffi};
use strongroom_seal::{AccountId, BranchVersion, WrappedKey};

use super::{
    columns::{
        Account, Branch, FREE_ACCOUNT, FREE_BRANCH, FREE_KEY, FREE_OWNER, Owner, Version, Versions,
        branch_bytes, int, len, places, uint,
    },
    schema::fault,
    slots::{Slot, Slots},
    usage::Usage,
};
use crate::{
    blobs::BlobName,
    error::Corruption,
    records::{
        Change, Check, Destroyed, NewPart, NewRecord, PartBytes, RECORD_PART, Receipt, Rejected, Replacement,
        Rewrap, Transaction,
    },
};

/// What a unit is applied to.
pub(super) struct Unit<'w> {
    pub(super) connection: &'w Connection,
    pub(super) slots: &'w mut Slots,
    pub(super) next_seq: &'w mut i64,
    pub(super) usage: &'w mut Usage,
    /// What the unit before found; set back to `None` when a unit is undone.
    pub(super) current: &'w mut Option<Current>,
}

/// Where a part of a record stands.
struct PartPlace {
    place: i64,
    number: u32,
    slot: i64,
    file: Option<String>,
}

/// An account's current branch version. Only this thread changes it.
#[derive(Clone, Copy)]
pub(super) struct Current {
    account: AccountId,
    version: Option<BranchVersion>,
}

impl From<rusqlite::Error> for Rejected {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error() {
            Some(ffi::Error {
                code: ErrorCode::ConstraintViolation,
                extended_code,
            }) if *extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE => Self::AlreadyExists,
            _ => Self::Fault(fault(error)),
        }
    }
}

impl Unit<'_> {
    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<Receipt, Rejected> {
        let mut receipt = Receipt::default();
        let account = transaction.account;
        transaction.gate_open().map_err(Rejected::Key)?;
        for check in &transaction.checks {
            self.check(account, *check)?;
        }
        for change in &transaction.changes {
            self.change(transaction, change, &mut receipt)?;
        }
        Ok(receipt)
    }

    fn check(&mut self, account: AccountId, check: Check) -> Result<(), Rejected> {
        match check {
            Check::CurrentBranch(version) => {
                let current = self.current_branch(account)?;
                if current == Some(version) {
                    Ok(())
                } else {
                    Err(Rejected::Retiring { current })
                }
            }
            Check::Claimed { job, token } => {
                let held = self.job(account, job)?;
                if held.is_some_and(|row| row.is_claimed_with(token)) {
                    Ok(())
                } else {
                    Err(Rejected::ClaimLost)
                }
            }
        }
    }

    fn change(
        &mut self,
        transaction: &Transaction,
        change: &Change,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let account = transaction.account;
        match change {
            Change::Insert(new) => self.insert(account, new),
            Change::Replace(new) => self.replace(account, new, receipt),
            Change::Delete {
                kind,
                id,
                expired_by_ms,
            } => self.delete(transaction, (kind, id), *expired_by_ms, receipt),
            Change::Rewrap(rewraps) => self.rewrap(account, rewraps, receipt),
            Change::CountExport => self.count_export(account),
            Change::AppendBranch { expected, branch } => self.append_branch(account, *expected, branch),
            Change::ReplaceSeed {
                version,
                expected,
                key,
                algorithm,
                seed,
            } => {
                let new = (key.as_str(), *algorithm, seed.as_slice());
                self.replace_seed(account, *version, expected, new)
            }
            Change::DropBranch(version) => self.drop_branch(account, *version),
            Change::ForgetBranches => self.forget_branches(account),
            Change::Job(change) => self.change_job(transaction, change, receipt),
            Change::ForgetShreddings { up_to } => self
                .run("DELETE FROM shredding WHERE number <= ?1", [int(*up_to)])
                .map(drop),
            Change::ForgetUnwanted(names) => names.iter().try_for_each(|name| {
                self.run("DELETE FROM unwanted WHERE file = ?1", [name.to_string()])
                    .map(drop)
            }),
        }
    }

    fn insert(&mut self, account: AccountId, new: &NewRecord) -> Result<(), Rejected> {
        let seq = *self.next_seq;
        *self.next_seq += 1;
        let body = new.body.as_bytes();
        let owner = Owner {
            seq,
            part: RECORD_PART,
            bytes: body.len() as u64,
        };
        let slot = self.slots.take();
        // First, so that a name that is taken is found before anything has changed.
        self.run(
            "INSERT INTO record (seq, account, kind, id, created, expires, revision, slot, parts, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9)",
            (
                seq,
                Account(account),
                new.kind,
                &new.id,
                int(new.created_ms),
                new.expires_ms.map(int),
                slot.number(),
                len(new.parts.len()),
                body,
            ),
        )?;
        self.put_key(slot, account, owner, &new.key)?;
        self.usage
            .add(account, new.kind, new.key.branch_version(), 1, int(owner.bytes));
        (places(seq).0..)
            .zip(&new.parts)
            .try_for_each(|(place, part)| self.insert_part(account, (seq, place), new.kind, part))
    }

    fn insert_part(
        &mut self,
        account: AccountId,
        (seq, place): (i64, i64),
        kind: &str,
        new: &NewPart,
    ) -> Result<(), Rejected> {
        let slot = self.slots.take();
        let owner = Owner {
            seq,
            part: new.part,
            bytes: new.stored,
        };
        self.put_key(slot, account, owner, &new.key)?;
        let (file, body) = match &new.bytes {
            PartBytes::Inline(sealed) => (None, Some(sealed.as_bytes())),
            PartBytes::File(file) => (Some(file.name().to_string()), None),
        };
        self.run(
            "INSERT INTO part (place, part, size, slot, file, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (place, new.part, int(new.size), slot.number(), file, body),
        )?;
        self.usage
            .add(account, kind, new.key.branch_version(), 0, int(new.stored));
        Ok(())
    }

    fn replace(
        &mut self,
        account: AccountId,
        new: &Replacement,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let found: Option<(i64, i64, i64)> = self
            .sql("SELECT seq, revision, slot FROM record WHERE account = ?1 AND kind = ?2 AND id = ?3")?
            .query_row((Account(account), &new.kind, &new.id), |row| row.try_into())
            .optional()?;
        let (seq, revision, slot) = found.ok_or(Rejected::NotFound)?;
        if uint(revision) != new.expected_revision {
            return Err(Rejected::Revision {
                current: uint(revision),
            });
        }
        let body = new.body.as_bytes();
        let (old_branch, old) = self.key_of(account, slot, (seq, RECORD_PART))?;
        let owner = Owner {
            seq,
            part: RECORD_PART,
            bytes: body.len() as u64,
        };
        self.run(
            "UPDATE key_slot SET branch = ?2, owner = ?3, wrapped = ?4 WHERE slot = ?1",
            (
                slot,
                branch_bytes(new.key.branch_version()),
                owner.encode(),
                new.key.as_bytes(),
            ),
        )?;
        self.run(
            "UPDATE record SET revision = revision + 1, expires = ?2, body = ?3 WHERE seq = ?1",
            (seq, new.expires_ms.map(int), body),
        )?;
        if !(new.dropped.is_empty() && new.added.is_empty()) {
            self.replace_parts(account, seq, new, receipt)?;
        }
        self.usage
            .add(account, &new.kind, old_branch, -1, -int(old.bytes));
        self.usage
            .add(account, &new.kind, new.key.branch_version(), 1, int(owner.bytes));
        Ok(())
    }

    fn replace_parts(
        &mut self,
        account: AccountId,
        seq: i64,
        new: &Replacement,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let (dropped, kept): (Vec<_>, Vec<_>) = self
            .parts_of(seq)?
            .into_iter()
            .partition(|part| new.dropped.contains(&part.number));
        if dropped.len() != new.dropped.len() {
            return Err(Rejected::Corrupt(Corruption::Place));
        }
        for part in dropped {
            self.run("DELETE FROM part WHERE place = ?1", [part.place])?;
            self.free_part(account, &new.kind, seq, part, receipt)?;
        }
        let is_there = |number: u32| kept.iter().any(|part| part.number == number);
        let (first, last) = places(seq);
        let mut free = (first..=last).filter(|place| kept.iter().all(|part| part.place != *place));
        for part in &new.added {
            if is_there(part.part) {
                return Err(Rejected::AlreadyExists);
            }
            let place = free.next().ok_or(Rejected::Corrupt(Corruption::Place))?;
            self.insert_part(account, (seq, place), &new.kind, part)?;
        }
        self.run(
            "UPDATE record SET parts = ?2 WHERE seq = ?1",
            (seq, len(kept.len() + new.added.len())),
        )
        .map(drop)
    }

    fn delete(
        &mut self,
        transaction: &Transaction,
        (kind, id): (&str, &str),
        expired_by_ms: Option<u64>,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let account = transaction.account;
        let found: Option<(i64, i64, i64, Option<i64>)> = self
            .sql("SELECT seq, slot, parts, expires FROM record WHERE account = ?1 AND kind = ?2 AND id = ?3")?
            .query_row((Account(account), kind, id), |row| row.try_into())
            .optional()?;
        let (seq, slot, parts, _) = match (found, expired_by_ms) {
            (Some(found), None) => found,
            (Some(found), Some(bound)) if found.3.is_some_and(|expires| uint(expires) <= bound) => found,
            (_, Some(_)) => return Ok(()),
            (None, None) => return Err(Rejected::NotFound),
        };
        let mut wrapped = vec![self.free_key(account, kind, slot, (seq, RECORD_PART))?];
        if parts > 0 {
            self.delete_parts(account, kind, seq, &mut wrapped, receipt)?;
        }
        self.run("DELETE FROM record WHERE seq = ?1", [seq])?;
        self.run(
            "DELETE FROM job WHERE account = ?1 AND kind = ?2 AND object = ?3",
            (Account(account), kind, id),
        )?;
        self.note_shredding(transaction, (kind, id), expired_by_ms.is_some(), &wrapped)?;
        receipt.count += 1;
        Ok(())
    }

    fn note_shredding(
        &self,
        transaction: &Transaction,
        (kind, id): (&str, &str),
        expired: bool,
        wrapped: &[Vec<u8>],
    ) -> Result<(), Rejected> {
        let account = Account(transaction.account);
        let key_of = |branch| -> Result<Option<String>, Rejected> {
            Ok(self
                .sql("SELECT key FROM branch WHERE account = ?1 AND version = ?2")?
                .query_row((&account, Version(branch)), |row| row.get(0))
                .optional()?)
        };
        let destroyed = Destroyed::of(wrapped.iter().map(Vec::as_slice), key_of)?;
        self.run(
            "INSERT INTO shredding (account, kind, id, deleted, expired, branches, keys, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                &account,
                kind,
                id,
                int(transaction.now_ms),
                expired,
                Versions(destroyed.branches),
                destroyed.keys.join(" "),
                destroyed.digest,
            ),
        )
        .map(drop)
    }

    fn delete_parts(
        &mut self,
        account: AccountId,
        kind: &str,
        seq: i64,
        wrapped: &mut Vec<Vec<u8>>,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        // The receipt counts them by number, and they stand as they came.
        let mut parts = self.parts_of(seq)?;
        parts.sort_unstable_by_key(|part| part.number);
        for part in parts {
            wrapped.push(self.free_part(account, kind, seq, part, receipt)?);
        }
        self.run("DELETE FROM part WHERE place BETWEEN ?1 AND ?2", places(seq))
            .map(drop)
    }

    fn parts_of(&self, seq: i64) -> Result<Vec<PartPlace>, Rejected> {
        let parts = self
            .sql("SELECT place, part, slot, file FROM part WHERE place BETWEEN ?1 AND ?2")?
            .query_map(places(seq), |row| {
                Ok(PartPlace {
                    place: row.get(0)?,
                    number: row.get(1)?,
                    slot: row.get(2)?,
                    file: row.get(3)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(parts)
    }

    /// Destroys a part's key, says what it was, and notes its file.
    fn free_part(
        &mut self,
        account: AccountId,
        kind: &str,
        seq: i64,
        part: PartPlace,
        receipt: &mut Receipt,
    ) -> Result<Vec<u8>, Rejected> {
        let wrapped = self.free_key(account, kind, part.slot, (seq, part.number))?;
        if let Some(name) = part.file.and_then(|name| name.parse::<BlobName>().ok()) {
            self.run(
                "INSERT INTO unwanted (file, account) VALUES (?1, ?2)",
                (name.to_string(), Account(account)),
            )?;
            receipt.freed.push(name);
        }
        Ok(wrapped)
    }

    fn rewrap(
        &mut self,
        account: AccountId,
        rewraps: &[Rewrap],
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        for rewrap in rewraps {
            let (from, to) = (rewrap.expected.branch_version(), rewrap.new.branch_version());
            let changed = self.run(
                "UPDATE key_slot SET branch = ?1, wrapped = ?2 WHERE slot = ?3 AND account = ?4 AND wrapped = ?5",
                (
                    branch_bytes(to),
                    rewrap.new.as_bytes(),
                    int(rewrap.slot),
                    Account(account),
                    rewrap.expected.as_bytes(),
                ),
            )?;
            if changed == 1 {
                let objects = i64::from(rewrap.is_record);
                self.usage
                    .add(account, &rewrap.kind, from, -objects, -int(rewrap.bytes));
                self.usage
                    .add(account, &rewrap.kind, to, objects, int(rewrap.bytes));
                receipt.count += 1;
            }
        }
        Ok(())
    }

    pub(super) fn current_branch(&mut self, account: AccountId) -> Result<Option<BranchVersion>, Rejected> {
        if let Some(known) = self.current.filter(|known| known.account == account) {
            return Ok(known.version);
        }
        let found = self
            .sql("SELECT version FROM branch WHERE account = ?1 ORDER BY version DESC LIMIT 1")?
            .query_row([Account(account)], |row| row.get::<_, Version>(0))
            .optional()?;
        let version = found.map(|version| version.0);
        *self.current = Some(Current { account, version });
        Ok(version)
    }

    fn put_key(
        &self,
        slot: Slot,
        account: AccountId,
        owner: Owner,
        key: &WrappedKey,
    ) -> Result<(), Rejected> {
        let branch = branch_bytes(key.branch_version());
        let row = (
            slot.number(),
            Account(account),
            branch,
            owner.encode(),
            key.as_bytes(),
        );
        let changed = match slot {
            Slot::New(_) => self.run(
                "INSERT INTO key_slot (slot, account, branch, owner, wrapped) VALUES (?1, ?2, ?3, ?4, ?5)",
                row,
            ),
            // Only a place that is free and overwritten: whatever else stands there may be another object's key.
            Slot::Reused(_) => self.run(
                "UPDATE key_slot SET account = ?2, branch = ?3, owner = ?4, wrapped = ?5
                 WHERE slot = ?1 AND account = zeroblob(16) AND owner = zeroblob(20) AND wrapped = zeroblob(81)",
                row,
            ),
        }?;
        if changed == 1 {
            Ok(())
        } else {
            Err(Rejected::Corrupt(Corruption::Place))
        }
    }

    /// The branch version and the owner of a key, which must be the one that this record or part names.
    fn key_of(
        &self,
        account: AccountId,
        slot: i64,
        owner: (i64, u32),
    ) -> Result<(BranchVersion, Owner), Rejected> {
        let found: Option<(Branch, Owner)> = self
            .sql("SELECT branch, owner FROM key_slot WHERE slot = ?1 AND account = ?2")?
            .query_row((slot, Account(account)), |row| row.try_into())
            .optional()?;
        match found {
            Some((branch, found)) if (found.seq, found.part) == owner => Ok((branch.0, found)),
            _ => Err(Rejected::Corrupt(Corruption::Place)),
        }
    }

    /// Overwrites the wrapped key of this record or part with zeros, where it stands, and says what it was.
    fn free_key(
        &mut self,
        account: AccountId,
        kind: &str,
        slot: i64,
        owner: (i64, u32),
    ) -> Result<Vec<u8>, Rejected> {
        let (branch, owner) = self.key_of(account, slot, owner)?;
        let wrapped = self
            .sql("SELECT wrapped FROM key_slot WHERE slot = ?1")?
            .query_row([slot], |row| row.get(0))?;
        self.run(
            "UPDATE key_slot SET account = ?2, branch = ?3, owner = ?4, wrapped = ?5 WHERE slot = ?1",
            (slot, FREE_ACCOUNT, FREE_BRANCH, FREE_OWNER, FREE_KEY),
        )?;
        self.slots.give(slot);
        let objects = i64::from(owner.part == RECORD_PART);
        self.usage.add(account, kind, branch, -objects, -int(owner.bytes));
        Ok(wrapped)
    }

    pub(super) fn sql(&self, sql: &str) -> Result<CachedStatement<'_>, Rejected> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    pub(super) fn run(&self, sql: &str, parameters: impl Params) -> Result<usize, Rejected> {
        Ok(self.sql(sql)?.execute(parameters)?)
    }
}
