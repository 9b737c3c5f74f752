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
            row.objects = row.objects.saturating_add(objects);
            row.bytes = row.bytes.saturating_add(bytes);
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
            // A sum that overflows becomes a real; the cast brings it back to the nearest integer.
            let name = (Account(row.account), &row.kind, Version(row.branch));
            connection
                .prepare_cached(
                    "INSERT INTO usage (account, kind, branch, objects, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (account, kind, branch)
                     DO UPDATE SET objects = CAST(objects + excluded.objects AS INTEGER),
                                   bytes = CAST(bytes + excluded.bytes AS INTEGER)",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_overflow_stop_at_the_end() {
        let database = Connection::open_in_memory().unwrap();
        database
            .execute_batch(
                "CREATE TABLE usage (account BLOB, kind TEXT, branch INTEGER, objects INTEGER, bytes INTEGER,
                                     PRIMARY KEY (account, kind, branch)) STRICT",
            )
            .unwrap();
        let account = AccountId::from_uuid(uuid::Uuid::nil());
        for _ in 0..2 {
            let mut usage = Usage::default();
            usage.add(account, "file", BranchVersion::FIRST, 1, i64::MAX);
            usage.add(account, "file", BranchVersion::FIRST, 1, i64::MAX);
            usage.write(&database).unwrap();
        }
        let sums = database.query_row("SELECT objects, bytes FROM usage", [], |row| {
            <(i64, i64)>::try_from(row)
        });
        assert_eq!(sums.unwrap(), (4, i64::MAX));
    }
}
