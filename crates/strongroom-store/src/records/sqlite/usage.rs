//! The statistics of a group of units, summed in memory and written once before the commit.

use rusqlite::Connection;
use strongroom_seal::{AccountId, BranchVersion};

use super::columns::{Account, Version};

/// How the numbers of objects and bytes change.
#[derive(Default)]
pub(super) struct Usage {
    rows: Vec<Delta>,
}

struct Delta {
    account: AccountId,
    kind: String,
    branch: BranchVersion,
    objects: i64,
    bytes: i64,
}

impl Usage {
    pub(super) fn add(
        &mut self,
        account: AccountId,
        kind: &str,
        branch: BranchVersion,
        objects: i64,
        bytes: i64,
    ) {
        let same = |row: &&mut Delta| row.account == account && row.kind == kind && row.branch == branch;
        if let Some(row) = self.rows.iter_mut().find(same) {
            row.objects += objects;
            row.bytes += bytes;
        } else {
            self.rows.push(Delta {
                account,
                kind: kind.to_owned(),
                branch,
                objects,
                bytes,
            });
        }
    }

    /// Takes over what a unit changed.
    pub(super) fn absorb(&mut self, unit: Self) {
        for row in unit.rows {
            self.add(row.account, &row.kind, row.branch, row.objects, row.bytes);
        }
    }

    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for row in self
            .rows
            .drain(..)
            .filter(|row| row.objects != 0 || row.bytes != 0)
        {
            let name = (Account(row.account), &row.kind, Version(row.branch));
            connection
                .prepare_cached(
                    "INSERT INTO usage (account, kind, branch, objects, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (account, kind, branch)
                     DO UPDATE SET objects = objects + excluded.objects, bytes = bytes + excluded.bytes",
                )?
                .execute((&name.0, name.1, &name.2, row.objects, row.bytes))?;
            if row.objects < 0 || row.bytes < 0 {
                connection
                    .prepare_cached(
                        "DELETE FROM usage
                         WHERE account = ?1 AND kind = ?2 AND branch = ?3 AND objects = 0 AND bytes = 0",
                    )?
                    .execute((&name.0, name.1, &name.2))?;
            }
        }
        Ok(())
    }
}
