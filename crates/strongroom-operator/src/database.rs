//! `records.db` as its document describes it, read-only and in short reads: whoever holds a snapshot of it for long keeps what was deleted
//! from being erased. What must fit together is read in one transaction; no file is opened and nothing is asked of the vault within it.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};
use strongroom_seal::AccountId;
use uuid::Uuid;

use crate::error::VerifyError;
use crate::limits::{PAGE_BYTES, PAGE_OBJECTS};
use crate::report::Report;

const APPLICATION: i64 = 0x5352_726d;
const FORMAT: i64 = 3;

/// The part number of a record's own key.
pub(crate) const RECORD_PART: u32 = u32::MAX;

/// Places for the blobs of one record.
pub(crate) const PLACES: i64 = 1024;

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
    (
        "shredding",
        &[
            "number", "account", "kind", "id", "deleted", "expired", "branches", "keys", "digest",
        ],
    ),
    ("unwanted", &["file", "account"]),
    (
        "job",
        &[
            "id",
            "account",
            "kind",
            "object",
            "state",
            "wish",
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
    + (SELECT coalesce(sum(octet_length(account) + octet_length(kind) + octet_length(id) + octet_length(branches)
        + octet_length(keys) + octet_length(digest)), 0) FROM shredding)
    + (SELECT coalesce(sum(octet_length(account) + octet_length(kind) + coalesce(octet_length(object), 0)
        + octet_length(state) + coalesce(octet_length(wish), 0)), 0) FROM job)
    + (SELECT coalesce(sum(octet_length(file) + octet_length(account)), 0) FROM unwanted)";

/// The database of a store, which may be at work.
pub(crate) struct Database {
    pub(crate) connection: Connection,
}

/// Some objects as they were at one moment.
pub(crate) struct Page {
    pub(crate) objects: Vec<Object>,
    /// The branch versions that their keys are said to be under, as far as they are on record.
    pub(crate) branches: Branches,
}

pub(crate) type Branches = BTreeMap<(AccountId, u32), BranchRow>;

/// A record with all that belongs to it.
#[derive(PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) record: RecordRow,
    pub(crate) key: Option<SlotRow>,
    pub(crate) parts: Vec<(PartRow, Option<SlotRow>)>,
}

impl Object {
    /// What it takes in memory, but for small columns.
    fn bytes(&self) -> usize {
        let parts = self.parts.iter().filter_map(|(part, _)| part.body.as_ref());
        self.record.body.len() + parts.map(Vec::len).sum::<usize>()
    }
}

/// A record as it is stored, with the slot that holds its key.
#[derive(PartialEq, Eq)]
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
#[derive(PartialEq, Eq)]
pub(crate) struct PartRow {
    pub(crate) place: i64,
    pub(crate) part: u32,
    pub(crate) size: u64,
    pub(crate) slot: i64,
    pub(crate) file: Option<String>,
    pub(crate) body: Option<Vec<u8>>,
}

/// A wrapped object key as it is stored.
#[derive(PartialEq, Eq)]
pub(crate) struct SlotRow {
    pub(crate) account: [u8; 16],
    pub(crate) branch: [u8; 4],
    pub(crate) owner: [u8; 20],
    pub(crate) wrapped: Vec<u8>,
}

/// A branch version as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BranchRow {
    pub(crate) account: AccountId,
    pub(crate) version: u32,
    pub(crate) check: [u8; 32],
    pub(crate) endorsement: Option<[u8; 32]>,
    pub(crate) key: String,
    pub(crate) algorithm: String,
    pub(crate) seed: Vec<u8>,
}

/// Whose a blob file is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Record,
    /// It was a deleted object's.
    Deletion,
    Nobody,
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
    /// Opens the database. Nothing is held until something is read.
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
        Ok(database)
    }

    /// Reads things that must fit together.
    pub(crate) fn at_once<T>(&self, read: impl FnOnce() -> Result<T, VerifyError>) -> Result<T, VerifyError> {
        // Dropping it ends it.
        let _snapshot = self.connection.unchecked_transaction()?;
        read()
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

    /// One branch version.
    pub(crate) fn branch(&self, account: AccountId, version: u32) -> Result<Option<BranchRow>, VerifyError> {
        let sql = "SELECT account, version, check_value, endorsement, key, algorithm, seed FROM branch
            WHERE account = ?1 AND version = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let name = (account.as_bytes(), version);
        Ok(statement.query_row(name, branch_row).optional()?)
    }

    /// The `seq` of the youngest record.
    pub(crate) fn newest(&self) -> Result<Option<i64>, VerifyError> {
        let sql = "SELECT max(seq) FROM record";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Some objects from `first` to `last`; none at the end.
    pub(crate) fn page(&self, first: i64, last: i64) -> Result<Page, VerifyError> {
        self.at_once(|| {
            let sql = format!(
                "SELECT seq, account, kind, id, created, expires, revision, parts, slot, body FROM record
                 WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq LIMIT {PAGE_OBJECTS}"
            );
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query([first, last])?;
            let (mut objects, mut bytes) = (Vec::new(), 0);
            while bytes < PAGE_BYTES
                && let Some(row) = rows.next()?
            {
                let object = self.object_of(record_row(row)?)?;
                bytes += object.bytes();
                objects.push(object);
            }
            let branches = self.branches_of(&objects)?;
            Ok(Page { objects, branches })
        })
    }

    fn object_of(&self, record: RecordRow) -> Result<Object, VerifyError> {
        let mut parts = Vec::new();
        for part in self.parts(record.seq)? {
            let key = self.slot(part.slot)?;
            parts.push((part, key));
        }
        let key = self.slot(record.slot)?;
        Ok(Object { record, key, parts })
    }

    fn branches_of(&self, objects: &[Object]) -> Result<Branches, VerifyError> {
        let mut branches = Branches::new();
        for object in objects {
            let account = object.record.account;
            let keys = object.parts.iter().map(|(_, key)| key);
            for key in keys.chain([&object.key]).flatten() {
                let version = u32::from_be_bytes(key.branch);
                if branches.contains_key(&(account, version)) {
                    continue;
                }
                let found = self.branch(account, version)?;
                branches.extend(found.map(|row| ((account, version), row)));
            }
        }
        Ok(branches)
    }

    /// The blobs of one record, by part.
    fn parts(&self, record: i64) -> Result<Vec<PartRow>, VerifyError> {
        let sql = "SELECT place, part, size, slot, file, body FROM part
            WHERE place BETWEEN ?1 * 1024 AND ?1 * 1024 + 1023 ORDER BY part";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([record], |row| {
            Ok(PartRow {
                place: row.get(0)?,
                part: row.get(1)?,
                size: unsigned(row.get(2)?),
                slot: row.get(3)?,
                file: row.get(4)?,
                body: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One wrapped key.
    fn slot(&self, slot: i64) -> Result<Option<SlotRow>, VerifyError> {
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

    /// Whether a record refers to the blob file, or one did and the file is about to be removed.
    pub(crate) fn owner(&self, file: &str) -> Result<Owner, VerifyError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM part WHERE file = ?1), EXISTS (SELECT 1 FROM unwanted WHERE file = ?1)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row([file], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(match found {
            (true, _) => Owner::Record,
            (false, true) => Owner::Deletion,
            (false, false) => Owner::Nobody,
        })
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

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
