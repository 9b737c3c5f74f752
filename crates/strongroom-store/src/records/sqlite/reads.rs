//! The queries.

use rusqlite::{Connection, OptionalExtension, Row};
use strongroom_seal::{AccountId, BranchVersion};

use super::columns::{Account, Owner, Version, Versions, branch_bytes, int, places, uint};
use crate::{
    blobs::BlobName,
    object::{Order, PartSize},
    records::{
        Destroyed, HeldKey, JobRow, Name, OwnedName, PageQuery, ShreddingRow, StoredBranch, StoredBytes,
        StoredPart, StoredRecord, UsageRow,
    },
};

/// Several queries over one state of the database.
fn snapshot<T>(connection: &Connection, read: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    connection.prepare_cached("BEGIN DEFERRED")?.execute([])?;
    let answer = read();
    connection.prepare_cached("COMMIT")?.execute([])?;
    answer
}

pub(super) fn record(connection: &Connection, name: Name<'_>) -> rusqlite::Result<Option<StoredRecord>> {
    snapshot(connection, || record_now(connection, name))
}

fn record_now(connection: &Connection, name: Name<'_>) -> rusqlite::Result<Option<StoredRecord>> {
    let found = connection
        .prepare_cached(
            "SELECT r.id, r.created, r.expires, r.revision, k.wrapped, r.body, r.parts, r.seq
             FROM record r JOIN key_slot k ON k.slot = r.slot
             WHERE r.account = ?1 AND r.kind = ?2 AND r.id = ?3",
        )?
        .query_row((Account(name.account), name.kind, name.id), stored_record)
        .optional()?;
    found.map(|found| with_parts(connection, found)).transpose()
}

/// A record without its parts, how many it has, and its `seq`.
type Bare = (StoredRecord, i64, i64);

fn stored_record(row: &Row<'_>) -> rusqlite::Result<Bare> {
    let record = StoredRecord {
        id: row.get(0)?,
        created_ms: uint(row.get(1)?),
        expires_ms: row.get::<_, Option<i64>>(2)?.map(uint),
        revision: uint(row.get(3)?),
        parts: Vec::new(),
        wrapped: row.get(4)?,
        body: row.get(5)?,
    };
    Ok((record, row.get(6)?, row.get(7)?))
}

fn with_parts(connection: &Connection, (mut record, parts, seq): Bare) -> rusqlite::Result<StoredRecord> {
    if parts > 0 {
        record.parts = connection
            .prepare_cached("SELECT part, size FROM part WHERE place BETWEEN ?1 AND ?2")?
            .query_map(places(seq), |row| {
                Ok(PartSize {
                    part: row.get(0)?,
                    size: uint(row.get(1)?),
                })
            })?
            .collect::<Result<_, _>>()?;
        // Places are given as parts come, not by number.
        record.parts.sort_unstable_by_key(|size| size.part);
    }
    Ok(record)
}

const PAGE_ASC: &str = "SELECT r.id, r.created, r.expires, r.revision, k.wrapped, r.body, r.parts, r.seq
    FROM record r INDEXED BY record_by_kind JOIN key_slot k ON k.slot = r.slot
    WHERE r.account = ?1 AND r.kind = ?2 AND r.seq > ?3 AND (r.expires IS NULL OR r.expires > ?4)
    ORDER BY r.seq ASC LIMIT ?5";
const PAGE_DESC: &str = "SELECT r.id, r.created, r.expires, r.revision, k.wrapped, r.body, r.parts, r.seq
    FROM record r INDEXED BY record_by_kind JOIN key_slot k ON k.slot = r.slot
    WHERE r.account = ?1 AND r.kind = ?2 AND r.seq < ?3 AND (r.expires IS NULL OR r.expires > ?4)
    ORDER BY r.seq DESC LIMIT ?5";

pub(super) fn page(
    connection: &Connection,
    query: PageQuery<'_>,
) -> rusqlite::Result<Option<Vec<StoredRecord>>> {
    snapshot(connection, || page_now(connection, query))
}

fn page_now(connection: &Connection, query: PageQuery<'_>) -> rusqlite::Result<Option<Vec<StoredRecord>>> {
    let (sql, open_end) = match query.order {
        Order::Asc => (PAGE_ASC, i64::MIN),
        Order::Desc => (PAGE_DESC, i64::MAX),
    };
    let from = match query.after {
        None => open_end,
        Some(id) => {
            let seq = connection
                .prepare_cached("SELECT seq FROM record WHERE account = ?1 AND kind = ?2 AND id = ?3")?
                .query_row((Account(query.account), query.kind, id), |row| row.get(0))
                .optional()?;
            let Some(seq) = seq else { return Ok(None) };
            seq
        }
    };
    let parameters = (
        Account(query.account),
        query.kind,
        from,
        int(query.now_ms),
        query.limit,
    );
    let bare: Vec<Bare> = connection
        .prepare_cached(sql)?
        .query_map(parameters, stored_record)?
        .collect::<Result<_, _>>()?;
    bare.into_iter()
        .map(|found| with_parts(connection, found))
        .collect::<Result<_, _>>()
        .map(Some)
}

pub(super) fn part(
    connection: &Connection,
    name: Name<'_>,
    part: u32,
) -> rusqlite::Result<Option<StoredPart>> {
    connection
        .prepare_cached(
            "SELECT p.size, r.expires, k.wrapped, p.file, p.body
             FROM record r JOIN part p ON p.place BETWEEN r.seq * 1024 AND r.seq * 1024 + 1023
             JOIN key_slot k ON k.slot = p.slot
             WHERE r.account = ?1 AND r.kind = ?2 AND r.id = ?3 AND p.part = ?4",
        )?
        .query_row((Account(name.account), name.kind, name.id, part), |row| {
            let bytes = match row.get::<_, Option<String>>(3)? {
                Some(file) => StoredBytes::File(blob_name(3, &file)?),
                None => StoredBytes::Inline(row.get(4)?),
            };
            Ok(StoredPart {
                size: uint(row.get(0)?),
                expires_ms: row.get::<_, Option<i64>>(1)?.map(uint),
                wrapped: row.get(2)?,
                bytes,
            })
        })
        .optional()
}

fn blob_name(column: usize, text: &str) -> rusqlite::Result<BlobName> {
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

pub(super) fn branches(connection: &Connection, account: AccountId) -> rusqlite::Result<Vec<StoredBranch>> {
    connection
        .prepare_cached(
            "SELECT version, created, check_value, endorsement, key, algorithm, seed
             FROM branch WHERE account = ?1 ORDER BY version",
        )?
        .query_map([Account(account)], |row| {
            Ok(StoredBranch {
                version: row.get::<_, Version>(0)?.0,
                created_ms: uint(row.get(1)?),
                check: row.get(2)?,
                endorsement: row.get(3)?,
                key: row.get(4)?,
                algorithm: row.get(5)?,
                seed: row.get(6)?,
            })
        })?
        .collect()
}

pub(super) fn is_in_use(
    connection: &Connection,
    account: AccountId,
    version: BranchVersion,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM key_slot WHERE account = ?1 AND branch = ?2)")?
        .query_row((Account(account), branch_bytes(version)), |row| row.get(0))
}

pub(super) fn keys_under(
    connection: &Connection,
    account: AccountId,
    version: BranchVersion,
    after: u64,
    limit: u32,
) -> rusqlite::Result<Vec<HeldKey>> {
    snapshot(connection, || {
        let rows: Vec<(i64, Owner, Vec<u8>)> = connection
            .prepare_cached(
                "SELECT slot, owner, wrapped FROM key_slot
                 WHERE slot > ?3 AND account = ?1 AND branch = ?2 ORDER BY slot LIMIT ?4",
            )?
            .query_map(
                (Account(account), branch_bytes(version), int(after), limit),
                |row| row.try_into(),
            )?
            .collect::<Result<_, _>>()?;
        rows.into_iter().map(|row| held_key(connection, row)).collect()
    })
}

pub(super) fn key_count(connection: &Connection, account: AccountId) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM key_slot WHERE account = ?1")?
        .query_row([Account(account)], |row| row.get(0).map(uint))
}

/// Names a wrapped key's owner. A key without one is told of too: nothing under its version may be dropped unseen.
fn held_key(
    connection: &Connection,
    (slot, owner, wrapped): (i64, Owner, Vec<u8>),
) -> rusqlite::Result<HeldKey> {
    let record = connection
        .prepare_cached("SELECT kind, id FROM record WHERE seq = ?1")?
        .query_row([owner.seq], |row| row.try_into())
        .optional()?;
    Ok(HeldKey {
        slot: uint(slot),
        record,
        part: owner.part,
        bytes: owner.bytes,
        wrapped,
    })
}

pub(super) fn usage(connection: &Connection) -> rusqlite::Result<Vec<UsageRow>> {
    connection
        .prepare_cached(
            "SELECT account, kind, branch, objects, bytes FROM usage ORDER BY account, kind, branch",
        )?
        .query_map([], |row| {
            Ok(UsageRow {
                account: row.get::<_, Account>(0)?.0,
                kind: row.get(1)?,
                branch: row.get::<_, Version>(2)?.0,
                objects: uint(row.get(3)?),
                bytes: uint(row.get(4)?),
            })
        })?
        .collect()
}

pub(super) fn exports(connection: &Connection) -> rusqlite::Result<Vec<(AccountId, u64)>> {
    connection
        .prepare_cached("SELECT account, count FROM export ORDER BY account")?
        .query_map([], |row| Ok((row.get::<_, Account>(0)?.0, uint(row.get(1)?))))?
        .collect()
}

const JOB: &str = "SELECT id, account, kind, object, state, wish, from_branch, token, claimed_until, done, total, created, finished
    FROM job";

pub(super) fn open_jobs(connection: &Connection) -> rusqlite::Result<Vec<JobRow>> {
    connection
        .prepare_cached(&format!("{JOB} WHERE finished IS NULL ORDER BY id"))?
        .query_map([], job_row)?
        .collect()
}

pub(super) fn jobs(connection: &Connection, account: AccountId, limit: u32) -> rusqlite::Result<Vec<JobRow>> {
    connection
        .prepare_cached(&format!("{JOB} WHERE account = ?1 ORDER BY id DESC LIMIT ?2"))?
        .query_map((Account(account), limit), job_row)?
        .collect()
}

pub(super) fn job_of(connection: &Connection, name: Name<'_>) -> rusqlite::Result<Option<JobRow>> {
    connection
        .prepare_cached(&format!("{JOB} WHERE account = ?1 AND kind = ?2 AND object = ?3"))?
        .query_row((Account(name.account), name.kind, name.id), job_row)
        .optional()
}

pub(super) fn job(connection: &Connection, account: AccountId, id: u64) -> rusqlite::Result<Option<JobRow>> {
    connection
        .prepare_cached(&format!("{JOB} WHERE id = ?1 AND account = ?2"))?
        .query_row((int(id), Account(account)), job_row)
        .optional()
}

fn job_row(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    Ok(JobRow {
        id: uint(row.get(0)?),
        account: row.get::<_, Account>(1)?.0,
        kind: row.get(2)?,
        object: row.get(3)?,
        state: row.get(4)?,
        wish: row.get(5)?,
        from: row.get::<_, Option<Version>>(6)?.map(|version| version.0),
        token: uint(row.get(7)?),
        claimed_until_ms: uint(row.get(8)?),
        done: uint(row.get(9)?),
        total: uint(row.get(10)?),
        created_ms: uint(row.get(11)?),
        finished_ms: row.get::<_, Option<i64>>(12)?.map(uint),
    })
}

pub(super) fn expired(connection: &Connection, now_ms: u64, limit: u32) -> rusqlite::Result<Vec<OwnedName>> {
    connection
        .prepare_cached(
            "SELECT account, kind, id FROM record
             WHERE expires IS NOT NULL AND expires <= ?1 ORDER BY expires LIMIT ?2",
        )?
        .query_map((int(now_ms), limit), |row| owned_name(row, 0))?
        .collect()
}

pub(super) fn shreddings(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<ShreddingRow>> {
    connection
        .prepare_cached(
            "SELECT account, kind, id, number, deleted, expired, branches, keys, digest
             FROM shredding ORDER BY number LIMIT ?1",
        )?
        .query_map([limit], |row| {
            let keys: String = row.get(7)?;
            Ok(ShreddingRow {
                name: owned_name(row, 0)?,
                number: uint(row.get(3)?),
                deleted_ms: uint(row.get(4)?),
                expired: row.get(5)?,
                destroyed: Destroyed {
                    branches: row.get::<_, Versions>(6)?.0,
                    keys: keys.split_whitespace().map(str::to_owned).collect(),
                    digest: row.get(8)?,
                },
            })
        })?
        .collect()
}

fn owned_name(row: &Row<'_>, first: usize) -> rusqlite::Result<OwnedName> {
    Ok(OwnedName {
        account: row.get::<_, Account>(first)?.0,
        kind: row.get(first + 1)?,
        id: row.get(first + 2)?,
    })
}

pub(super) fn unwanted(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<(AccountId, BlobName)>> {
    connection
        .prepare_cached("SELECT account, file FROM unwanted LIMIT ?1")?
        .query_map([limit], |row| {
            Ok((
                row.get::<_, Account>(0)?.0,
                blob_name(1, &row.get::<_, String>(1)?)?,
            ))
        })?
        .collect()
}

pub(super) fn unreferenced(connection: &Connection, names: &[BlobName]) -> rusqlite::Result<Vec<BlobName>> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM part WHERE file = ?1)")?;
    let mut orphans = Vec::new();
    for name in names {
        if !statement.query_row([name.to_string()], |row| row.get::<_, bool>(0))? {
            orphans.push(*name);
        }
    }
    Ok(orphans)
}
