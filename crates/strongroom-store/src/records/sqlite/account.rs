//! Changes to what belongs to an account rather than to an object: exports, branch versions, jobs.

use rusqlite::OptionalExtension;
use strongroom_seal::{AccountId, BranchVersion};

use super::{
    apply::Unit,
    columns::{Account, Version, branch_bytes, int, uint},
};
use crate::records::{JobChange, JobPhase, Receipt, Rejected, StoredBranch, Transaction};

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

    pub(super) fn job(
        &self,
        transaction: &Transaction,
        change: JobChange,
        receipt: &mut Receipt,
    ) -> Result<(), Rejected> {
        let (account, now) = (transaction.account, int(transaction.now_ms));
        match change {
            JobChange::Add { from, total } => {
                let known: Option<i64> = self
                    .sql("SELECT id FROM job WHERE account = ?1 AND state <> 'done'")?
                    .query_row([Account(account)], |row| row.get(0))
                    .optional()?;
                if let Some(id) = known {
                    receipt.job = uint(id);
                    return Ok(());
                }
                self.run(
                    "INSERT INTO job (account, kind, state, from_branch, token, claimed_until, done, total, created)
                     VALUES (?1, 'rekey', 'waiting', ?2, 0, 0, 0, ?3, ?4)",
                    (Account(account), Version(from), int(total), now),
                )?;
                receipt.job = uint(self.connection.last_insert_rowid());
            }
            JobChange::Claim { job, until_ms } => {
                let token: Option<i64> = self
                    .sql(
                        "UPDATE job SET token = token + 1, claimed_until = ?3, state = 'running'
                         WHERE id = ?1 AND account = ?2 AND state <> 'done' AND claimed_until <= ?4 RETURNING token",
                    )?
                    .query_row((int(job), Account(account), int(until_ms), now), |row| row.get(0))
                    .optional()?;
                receipt.token = uint(token.ok_or(Rejected::ClaimLost)?);
            }
            JobChange::Progress {
                job,
                done,
                phase,
                until_ms,
            } => {
                let finished = (phase == JobPhase::Done).then_some(now);
                self.run(
                    "UPDATE job SET done = ?3, state = ?4, claimed_until = ?5, finished = ?6
                     WHERE id = ?1 AND account = ?2",
                    (
                        int(job),
                        Account(account),
                        int(done),
                        phase.as_text(),
                        int(until_ms),
                        finished,
                    ),
                )?;
            }
        }
        Ok(())
    }
}
