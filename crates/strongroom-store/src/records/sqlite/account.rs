//! Changes to what belongs to an account rather than to an object: exports, branch versions, jobs.

use rusqlite::OptionalExtension;
use strongroom_seal::{AccountId, BranchVersion};

use super::{
    apply::Unit,
    columns::{Account, Version, branch_bytes, int, uint},
    reads,
};
use crate::{
    jobs::Wish,
    records::{JobChange, JobRow, NewJob, Receipt, Rejected, StoredBranch, Transaction},
};

impl Unit<'_> {
    pub(super) fn count_export(&self, account: AccountId) -> Result<(), Rejected> {
        self.run(
            "INSERT INTO export (account, count) VALUES (?1, 1) ON CONFLICT (account) DO UPDATE SET count = count + 1",
            [Account(account)],
        )
        .map(drop)
    }

    pub(super) fn append_branch(
        &mut self,
        account: AccountId,
        expected: Option<BranchVersion>,
        branch: &StoredBranch,
    ) -> Result<(), Rejected> {
        if self.current_branch(account)? != expected
            || expected.is_some_and(|current| branch.version <= current)
        {
            return Err(Rejected::Conflict);
        }
        *self.current = None;
        self.run(
            "INSERT INTO branch (account, version, created, check_value, endorsement, key, algorithm, seed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                Account(account),
                Version(branch.version),
                int(branch.created_ms),
                branch.check,
                branch.endorsement,
                &branch.key,
                &branch.algorithm,
                &branch.seed,
            ),
        )
        .map(drop)
    }

    pub(super) fn replace_seed(
        &self,
        account: AccountId,
        version: BranchVersion,
        expected: &[u8],
        (key, algorithm, seed): (&str, &str, &[u8]),
    ) -> Result<(), Rejected> {
        let changed = self.run(
            "UPDATE branch SET key = ?4, algorithm = ?5, seed = ?6 WHERE account = ?1 AND version = ?2 AND seed = ?3",
            (Account(account), Version(version), expected, key, algorithm, seed),
        )?;
        if changed == 1 {
            Ok(())
        } else {
            Err(Rejected::Conflict)
        }
    }

    pub(super) fn drop_branch(&mut self, account: AccountId, version: BranchVersion) -> Result<(), Rejected> {
        let in_use: bool = self
            .sql("SELECT EXISTS (SELECT 1 FROM key_slot WHERE account = ?1 AND branch = ?2)")?
            .query_row((Account(account), branch_bytes(version)), |row| row.get(0))?;
        if in_use || self.current_branch(account)? == Some(version) {
            return Err(Rejected::InUse);
        }
        *self.current = None;
        self.run(
            "DELETE FROM branch WHERE account = ?1 AND version = ?2",
            (Account(account), Version(version)),
        )
        .map(drop)
    }

    pub(super) fn forget_branches(&mut self, account: AccountId) -> Result<(), Rejected> {
        let in_use: bool = self
            .sql("SELECT EXISTS (SELECT 1 FROM key_slot WHERE account = ?1)")?
            .query_row([Account(account)], |row| row.get(0))?;
        if in_use {
            return Err(Rejected::InUse);
        }
        *self.current = None;
        self.run("DELETE FROM branch WHERE account = ?1", [Account(account)])
            .map(drop)
    }

    /// A job as it is now.
    pub(super) fn job(&self, account: AccountId, job: u64) -> Result<Option<JobRow>, Rejected> {
        Ok(reads::job(self.connection, account, job)?)
    }

    pub(super) fn change_job(
        &self,
        transaction: &Transaction,
        change: &JobChange,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let account = transaction.account;
        let id = match change {
            JobChange::Add(new) => return self.add_job(transaction, new, receipt),
            other => other.job().ok_or(Rejected::ClaimLost)?,
        };
        let mut row = self.job(account, id)?.ok_or(Rejected::ClaimLost)?;
        row.change(transaction.now_ms, change, receipt)?;
        self.run(
            "UPDATE job SET state = ?2, wish = ?3, token = ?4, claimed_until = ?5, done = ?6, total = ?7, finished = ?8
             WHERE id = ?1",
            (
                int(id),
                row.state.as_text(),
                row.wish.map(Wish::as_str),
                int(row.token),
                int(row.claimed_until_ms),
                int(row.done),
                int(row.total),
                row.finished_ms.map(int),
            ),
        )
        .map(drop)
    }

    fn add_job(
        &self,
        transaction: &Transaction,
        new: &NewJob,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let account = transaction.account;
        let known: Option<i64> = self
            .sql("SELECT id FROM job WHERE account = ?1 AND kind = ?2 AND object IS ?3 AND finished IS NULL")?
            .query_row((Account(account), new.kind, &new.object), |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            receipt.job = uint(id);
            return Ok(());
        }
        self.run(
            "INSERT INTO job (account, kind, object, state, from_branch, token, claimed_until, done, total, created)
             VALUES (?1, ?2, ?3, 'waiting', ?4, 0, 0, 0, ?5, ?6)",
            (
                Account(account),
                new.kind,
                &new.object,
                new.from.map(Version),
                int(new.total),
                int(transaction.now_ms),
            ),
        )?;
        receipt.job = uint(self.connection.last_insert_rowid());
        Ok(())
    }
}
