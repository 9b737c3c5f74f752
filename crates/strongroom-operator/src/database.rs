//! `records.db` as its document describes it, read-only and in one snapshot.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};
use strongroom_seal::AccountId;
use uuid::Uuid;

use crate::error::VerifyError;
use crate::report::Report;

const APPLICATION: i64 = 0x5352_726d;
const FORMAT: i64 = 2;

/// The part number of a record's own key.
pub(crate) const RECORD_PART: u32 = u32::MAX;

/// Tables and their columns, in order. Anything else in the schema is unaccounted for.
const TABLES: &[(&str, &[&str])] = &[
    (
        "record",
        &[
            "seq", "account", "kind", "id", "created", "expires", "revision", "slot", "parts", "body",
        ],
    ),
    ("part", &["place", "part", "size", "slot", "file", "body"]),
    ("key_slot", &["slot", "account", "branch", "owner", "wrapped"]),
    (
        "branch",
        &[
            "account",
            "version",
            "created",
            "check_value",
            "endorsement",
            "key",
            "algorithm",
            "seed",
        ],
    ),
    ("usage", &["account", "kind", "branch", "objects", "bytes"]),
    ("export", &["account", "count"]),
    ("shredding", &["number", "account", "kind", "id", "deleted"]),
    ("unwanted", &["file", "account"]),
    (
        "job",
        &[
            "id",
            "account",
            "kind",
            "state",
            "from_branch",
            "token",
            "claimed_until",
            "done",
            "total",
            "created",
            "finished",
        ],
    ),
    ("sqlite_sequence", &["name", "seq"]),
];

/// Bytes of sealed content, of wrapped keys, and of the documented clear columns, as sums over the tables.
const SEALED_BYTES: &str = "SELECT (SELECT coalesce(sum(length(body)), 0) FROM record)
    + (SELECT coalesce(sum(length(body)), 0) FROM part)";
const WRAPPED_BYTES: &str = "SELECT (SELECT coalesce(sum(length(wrapped)), 0) FROM key_slot)
    + (SELECT coalesce(sum(length(seed)), 0) FROM branch)";
const CLEAR_BYTES: &str = "SELECT
      (SELECT coalesce(sum(octet_length(account) + octet_length(kind) + octet_length(id)), 0) FROM record)
    + (SELECT coalesce(sum(coalesce(octet_length(file), 0)), 0) FROM part)
    + (SELECT coalesce(sum(octet_length(account) + octet_length(branch) + octet_length(owner)), 0) FROM key_slot)
    + (SELECT coalesce(sum(octet_length(account) + octet_length(key) + octet_length(algorithm)
        + octet_length(check_value) + coalesce(octet_length(endorsement), 0)), 0) FROM branch)
    + (SELECT coalesce(sum(octet_length(account) + octet_length(kind)), 0) FROM usage)
    + (SELECT coalesce(sum(octet_length(account) + octet_length(kind) + octet_length(id)), 0) FROM shredding)
    + (SELECT coalesce(sum(octet_length(file) + octet_length(account)), 0) FROM unwanted)";

/// Slots that are neither free nor owned by exactly the record or part that names them. As a set: nothing is indexed by slot.
const STRAY_SLOTS: &str = "SELECT count(*) FROM key_slot
    WHERE account <> zeroblob(16)
      AND (slot, account) NOT IN (SELECT slot, account FROM record
                                  UNION ALL
                                  SELECT p.slot, r.account FROM part p JOIN record r ON r.seq = p.place / 1024)";
const DIRTY_FREE_SLOTS: &str = "SELECT count(*) FROM key_slot WHERE account = zeroblob(16)
    AND (branch <> zeroblob(4) OR owner <> zeroblob(20) OR wrapped <> zeroblob(81))";
const SHARED_SLOTS: &str = "SELECT count(*) FROM
    (SELECT slot FROM (SELECT slot FROM record UNION ALL SELECT slot FROM part) GROUP BY slot HAVING count(*) > 1)";
const STRAY_PARTS: &str =
    "SELECT count(*) FROM part p WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.seq = p.place / 1024)";
const MISPLACED_PARTS: &str = "SELECT count(*) FROM part p
    WHERE p.place % 1024 <> (SELECT count(*) FROM part q
                             WHERE q.place BETWEEN p.place - p.place % 1024 AND p.place - p.place % 1024 + 1023
                               AND q.part < p.part)";

/// A snapshot of the database.
pub(crate) struct Database {
    connection: Connection,
}

/// A record as it is stored, with the slot that holds its key.
pub(crate) struct RecordRow {
    pub(crate) seq: i64,
    pub(crate) account: AccountId,
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) expires: Option<u64>,
    pub(crate) revision: u64,
    pub(crate) parts: u32,
    pub(crate) slot: i64,
    pub(crate) body: Vec<u8>,
}

/// A blob as it is stored.
pub(crate) struct PartRow {
    pub(crate) part: u32,
    pub(crate) size: u64,
    pub(crate) slot: i64,
    pub(crate) file: Option<String>,
    pub(crate) body: Option<Vec<u8>>,
}

/// A wrapped object key as it is stored.
pub(crate) struct SlotRow {
    pub(crate) account: [u8; 16],
    pub(crate) branch: [u8; 4],
    pub(crate) owner: [u8; 20],
    pub(crate) wrapped: Vec<u8>,
}

/// A branch version as it is stored.
pub(crate) struct BranchRow {
    pub(crate) account: AccountId,
    pub(crate) version: u32,
    pub(crate) check: [u8; 32],
    pub(crate) endorsement: Option<[u8; 32]>,
    pub(crate) key: String,
    pub(crate) algorithm: String,
    pub(crate) seed: Vec<u8>,
}

/// A row of the statistics.
pub(crate) struct UsageRow {
    pub(crate) account: AccountId,
    pub(crate) kind: String,
    pub(crate) branch: u32,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Sizes in bytes.
pub(crate) struct Sizes {
    pub(crate) whole: u64,
    pub(crate) free: u64,
    pub(crate) sealed: u64,
    pub(crate) wrapped: u64,
    pub(crate) clear: u64,
}

impl Database {
    /// Opens the database and holds a snapshot of it.
    pub(crate) fn open(folder: &Path) -> Result<Self, VerifyError> {
        let path = folder.join("records.db");
        if !path.is_file() {
            return Err(VerifyError::NoStore {
                folder: folder.to_owned(),
            });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Self {
            connection: Connection::open_with_flags(path, flags)?,
        };
        let (application, format) = (
            database.pragma("application_id")?,
            database.pragma("user_version")?,
        );
        match (application, format) {
            (APPLICATION, FORMAT) => {}
            (APPLICATION, found) => return Err(VerifyError::OtherFormat { found, known: FORMAT }),
            _ => return Err(VerifyError::NotOurs),
        }
        // A read within a transaction pins the snapshot.
        database
            .connection
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")?;
        Ok(database)
    }

    /// Compares the schema with the documented one.
    pub(crate) fn check_schema(&self, report: &mut Report) -> Result<(), VerifyError> {
        let mut tables = self
            .connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
        for name in tables.query_map([], |row| row.get::<_, String>(0))? {
            let name = name?;
            let Some((_, columns)) = TABLES.iter().find(|(table, _)| *table == name) else {
                report.fault("records.db", format!("the table {name} is not in the format"));
                continue;
            };
            let mut statement = self
                .connection
                .prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
            let found: Vec<String> = statement
                .query_map([&name], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            if found != *columns {
                report.fault(
                    "records.db",
                    format!("the columns of {name} are not those of the format"),
                );
            }
        }
        let strange = "SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')
            OR sql LIKE '%--%' OR sql LIKE '%/*%'";
        if self.count(strange)? > 0 {
            report.fault("records.db", "the schema holds a view, a trigger or a comment");
        }
        Ok(())
    }

    /// The texts of the schema: the only prose that the file may hold.
    pub(crate) fn schema_texts(&self) -> Result<Vec<String>, VerifyError> {
        let mut statement = self
            .connection
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
        let texts = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(texts)
    }

    /// Every slot has one owner, every part a record, every free slot only zeros.
    pub(crate) fn check_links(&self, report: &mut Report) -> Result<(), VerifyError> {
        for (sql, what) in [
            (STRAY_SLOTS, "wrapped keys belong to no object"),
            (DIRTY_FREE_SLOTS, "free key slots are not overwritten"),
            (SHARED_SLOTS, "key slots are named by several objects"),
            (STRAY_PARTS, "blobs belong to no record"),
            (MISPLACED_PARTS, "blobs do not stand in the place of their number"),
        ] {
            let count = self.count(sql)?;
            if count > 0 {
                report.fault("records.db", format!("{count} {what}"));
            }
        }
        Ok(())
    }

    pub(crate) fn sizes(&self) -> Result<Sizes, VerifyError> {
        let page = unsigned(self.pragma("page_size")?);
        Ok(Sizes {
            whole: unsigned(self.pragma("page_count")?) * page,
            free: unsigned(self.pragma("freelist_count")?) * page,
            sealed: self.count(SEALED_BYTES)?,
            wrapped: self.count(WRAPPED_BYTES)?,
            clear: self.count(CLEAR_BYTES)?,
        })
    }

    /// Every branch version, by account, oldest first.
    pub(crate) fn branches(&self) -> Result<Vec<BranchRow>, VerifyError> {
        let sql = "SELECT account, version, check_value, endorsement, key, algorithm, seed FROM branch
            ORDER BY account, version";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], branch_row)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// What the statistics say: account, kind, branch version, records, bytes.
    pub(crate) fn usage(&self) -> Result<Vec<UsageRow>, VerifyError> {
        let mut statement = self
            .connection
            .prepare("SELECT account, kind, branch, objects, bytes FROM usage")?;
        let rows = statement.query_map([], |row| {
            Ok(UsageRow {
                account: account(row.get(0)?),
                kind: row.get(1)?,
                branch: row.get(2)?,
                records: unsigned(row.get(3)?),
                bytes: unsigned(row.get(4)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Hands every record to `visit`, one at a time.
    pub(crate) fn each_record(
        &self,
        mut visit: impl FnMut(RecordRow) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let sql = "SELECT seq, account, kind, id, created, expires, revision, parts, slot, body FROM record ORDER BY seq";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            visit(record_row(row)?)?;
        }
        Ok(())
    }

    /// The blobs of one record, by part.
    pub(crate) fn parts(&self, record: i64) -> Result<Vec<PartRow>, VerifyError> {
        let sql = "SELECT part, size, slot, file, body FROM part WHERE place BETWEEN ?1 * 1024 AND ?1 * 1024 + 1023 ORDER BY place";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([record], |row| {
            Ok(PartRow {
                part: row.get(0)?,
                size: unsigned(row.get(1)?),
                slot: row.get(2)?,
                file: row.get(3)?,
                body: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One wrapped key.
    pub(crate) fn slot(&self, slot: i64) -> Result<Option<SlotRow>, VerifyError> {
        let sql = "SELECT account, branch, owner, wrapped FROM key_slot WHERE slot = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query_map([slot], |row| {
            Ok(SlotRow {
                account: row.get(0)?,
                branch: row.get(1)?,
                owner: row.get(2)?,
                wrapped: row.get(3)?,
            })
        })?;
        Ok(rows.next().transpose()?)
    }

    /// Whether a record refers to the blob file.
    pub(crate) fn refers_to(&self, file: &str) -> Result<bool, VerifyError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM part WHERE file = ?1)";
        Ok(self
            .connection
            .prepare_cached(sql)?
            .query_row([file], |row| row.get(0))?)
    }

    /// Whether the blob file was a deleted object's and is about to be removed.
    pub(crate) fn gives_up(&self, file: &str) -> Result<bool, VerifyError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM unwanted WHERE file = ?1)";
        Ok(self
            .connection
            .prepare_cached(sql)?
            .query_row([file], |row| row.get(0))?)
    }

    /// Whether the record and its part are there.
    pub(crate) fn holds_part(&self, record: i64, part: u32) -> Result<bool, VerifyError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM part
            WHERE place BETWEEN ?1 * 1024 AND ?1 * 1024 + 1023 AND part = ?2)";
        Ok(self
            .connection
            .prepare_cached(sql)?
            .query_row((record, part), |row| row.get(0))?)
    }

    fn pragma(&self, name: &str) -> Result<i64, VerifyError> {
        let not_ours = |error| match error {
            rusqlite::Error::SqliteFailure(failure, _)
                if failure.code == rusqlite::ErrorCode::NotADatabase =>
            {
                VerifyError::NotOurs
            }
            other => VerifyError::Database(other),
        };
        self.connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(not_ours)
    }

    fn count(&self, sql: &str) -> Result<u64, VerifyError> {
        Ok(unsigned(self.connection.query_row(sql, [], |row| row.get(0))?))
    }
}

fn record_row(row: &Row<'_>) -> rusqlite::Result<RecordRow> {
    Ok(RecordRow {
        seq: row.get(0)?,
        account: account(row.get(1)?),
        kind: row.get(2)?,
        id: row.get(3)?,
        created: unsigned(row.get(4)?),
        expires: row.get::<_, Option<i64>>(5)?.map(unsigned),
        revision: unsigned(row.get(6)?),
        parts: row.get(7)?,
        slot: row.get(8)?,
        body: row.get(9)?,
    })
}

fn branch_row(row: &Row<'_>) -> rusqlite::Result<BranchRow> {
    Ok(BranchRow {
        account: account(row.get(0)?),
        version: row.get(1)?,
        check: row.get(2)?,
        endorsement: row.get(3)?,
        key: row.get(4)?,
        algorithm: row.get(5)?,
        seed: row.get(6)?,
    })
}

fn account(bytes: [u8; 16]) -> AccountId {
    AccountId::from_uuid(Uuid::from_bytes(bytes))
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
