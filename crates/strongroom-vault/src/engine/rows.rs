//! What stands in the tables, as functions of a connection. No policy here.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use crate::engine::fault::VaultFault;
use crate::engine::kinds::{KeySpec, PublicHalf};
use crate::engine::policy::{RotationPolicy, StoredPolicy, Told};
use crate::engine::settings::{DeletedKey, KeyOperation, KeyVersion, Page, PageStart, Tags};

/// A key, deleted or not.
pub(crate) struct KeyRow {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// When it was deleted and when it will be purged.
    pub(crate) deleted: Option<(u64, u64)>,
}

/// Unix seconds as SQLite keeps them.
#[derive(Clone, Copy)]
pub(super) struct Seconds(pub(super) u64);

impl ToSql for Seconds {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let seconds =
            i64::try_from(self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(ToSqlOutput::from(seconds))
    }
}

impl FromSql for Seconds {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let seconds = i64::column_result(value)?;
        u64::try_from(seconds)
            .map(Self)
            .map_err(|_| FromSqlError::OutOfRange(seconds))
    }
}

/// Reads a time that may be missing.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<Seconds>>(column)?.map(|seconds| seconds.0))
}

/// A private key as it is kept.
pub(crate) struct Kept {
    pub(crate) wrapped: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
}

const VERSION_COLUMNS: &str = "k.name, v.version, v.spec, v.modulus_or_x, v.exponent_or_y, v.enabled, v.not_before, v.expires, \
     v.created, v.updated, v.operations, v.tags, v.id";

/// The key of this name, unless its time to be purged has come.
pub(crate) fn key(
    connection: &Connection,
    vault: &str,
    name: &str,
    now: u64,
) -> Result<Option<KeyRow>, VaultFault> {
    let sql = "SELECT id, name, deleted, purge FROM keys WHERE vault = ?1 AND name = ?2 AND (purge IS NULL OR purge > ?3)";
    let found = connection
        .prepare_cached(sql)?
        .query_row((vault, name, Seconds(now)), |row| {
            let deleted = time(row, 2)?.zip(time(row, 3)?);
            Ok(KeyRow {
                id: row.get(0)?,
                name: row.get(1)?,
                deleted,
            })
        })
        .optional()?;
    Ok(found)
}

pub(crate) fn count_keys(connection: &Connection, vault: &str) -> Result<u32, VaultFault> {
    Ok(
        connection.query_row("SELECT count(*) FROM keys WHERE vault = ?1", [vault], |row| {
            row.get(0)
        })?,
    )
}

pub(crate) fn count_versions(connection: &Connection, key: i64) -> Result<u32, VaultFault> {
    Ok(
        connection.query_row("SELECT count(*) FROM versions WHERE key = ?1", [key], |row| {
            row.get(0)
        })?,
    )
}

pub(crate) fn insert_key(transaction: &Transaction<'_>, vault: &str, name: &str) -> Result<i64, VaultFault> {
    transaction.execute("INSERT INTO keys (vault, name) VALUES (?1, ?2)", (vault, name))?;
    Ok(transaction.last_insert_rowid())
}

/// A version of a key, the latest if none is named, with its row id.
pub(crate) fn version(
    connection: &Connection,
    key: i64,
    version: Option<&str>,
) -> Result<Option<(KeyVersion, i64)>, VaultFault> {
    let with_id = |row: &Row<'_>| Ok((version_row(row)?, row.get(12)?));
    let found = match version {
        Some(version) => connection
            .prepare_cached(&format!(
                "SELECT {VERSION_COLUMNS} FROM versions v JOIN keys k ON k.id = v.key WHERE v.key = ?1 AND v.version = ?2"
            ))?
            .query_row((key, version), with_id)
            .optional()?,
        None => connection
            .prepare_cached(&format!(
                "SELECT {VERSION_COLUMNS} FROM versions v JOIN keys k ON k.id = v.key WHERE v.key = ?1 \
                 ORDER BY v.id DESC LIMIT 1"
            ))?
            .query_row([key], with_id)
            .optional()?,
    };
    Ok(found)
}

fn version_row(row: &Row<'_>) -> rusqlite::Result<KeyVersion> {
    let spec: String = row.get(2)?;
    let operations: String = row.get(10)?;
    let tags: String = row.get(11)?;
    let unreadable = |column| rusqlite::Error::InvalidColumnType(column, String::new(), Type::Text);
    let spec = KeySpec::from_name(&spec).ok_or_else(|| unreadable(2))?;
    Ok(KeyVersion {
        name: row.get(0)?,
        version: row.get(1)?,
        spec,
        public: PublicHalf::of(spec, row.get(3)?, row.get(4)?),
        enabled: row.get(5)?,
        not_before: time(row, 6)?,
        expires: time(row, 7)?,
        created: row.get::<_, Seconds>(8)?.0,
        updated: row.get::<_, Seconds>(9)?.0,
        operations: operations
            .split(' ')
            .filter_map(KeyOperation::from_name)
            .collect(),
        tags: serde_json::from_str(&tags).map_err(|_| unreadable(11))?,
    })
}

/// The private key of a version.
pub(crate) fn kept(connection: &Connection, version_id: i64) -> Result<Kept, VaultFault> {
    let kept = connection
        .prepare_cached("SELECT wrapped, sealed FROM versions WHERE id = ?1")?
        .query_row([version_id], |row| {
            Ok(Kept {
                wrapped: row.get(0)?,
                sealed: row.get(1)?,
            })
        })?;
    Ok(kept)
}

pub(crate) fn insert_version(
    transaction: &Transaction<'_>,
    key: i64,
    made: &KeyVersion,
    kept: &Kept,
    told_rotation: bool,
) -> Result<(), VaultFault> {
    let (first, second) = made.public.numbers();
    transaction.execute(
        "INSERT INTO versions (key, version, spec, modulus_or_x, exponent_or_y, enabled, not_before, expires, created, \
         updated, operations, tags, wrapped, sealed, told_rotation) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        (
            key,
            &made.version,
            made.spec.name(),
            first,
            second,
            made.enabled,
            made.not_before.map(Seconds),
            made.expires.map(Seconds),
            Seconds(made.created),
            Seconds(made.updated),
            operations_text(&made.operations),
            tags_text(&made.tags)?,
            &kept.wrapped,
            &kept.sealed,
            told_rotation,
        ),
    )?;
    Ok(())
}

/// Writes the changeable part of a version back.
pub(crate) fn update_version(
    transaction: &Transaction<'_>,
    id: i64,
    version: &KeyVersion,
) -> Result<(), VaultFault> {
    transaction.execute(
        "UPDATE versions SET enabled = ?2, not_before = ?3, expires = ?4, updated = ?5, operations = ?6, tags = ?7 \
         WHERE id = ?1",
        (
            id,
            version.enabled,
            version.not_before.map(Seconds),
            version.expires.map(Seconds),
            Seconds(version.updated),
            operations_text(&version.operations),
            tags_text(&version.tags)?,
        ),
    )?;
    Ok(())
}

fn operations_text(operations: &[KeyOperation]) -> String {
    operations
        .iter()
        .map(|operation| operation.name())
        .collect::<Vec<_>>()
        .join(" ")
}

fn tags_text(tags: &Tags) -> Result<String, VaultFault> {
    serde_json::to_string(tags).map_err(|_| VaultFault::BadParameter("the tags cannot be stored"))
}

/// A version as backups hold it.
pub(crate) struct WholeVersion {
    pub(crate) version: KeyVersion,
    pub(crate) kept: Kept,
    pub(crate) told: Told,
}

/// Up to `limit` versions of a key with all that is kept of them, oldest first.
pub(crate) fn whole_versions(
    connection: &Connection,
    key: i64,
    limit: u32,
) -> Result<Vec<WholeVersion>, VaultFault> {
    let sql = format!(
        "SELECT {VERSION_COLUMNS}, v.wrapped, v.sealed, v.told_near, v.told_expired \
         FROM versions v JOIN keys k ON k.id = v.key WHERE v.key = ?1 ORDER BY v.id LIMIT ?2"
    );
    let whole = |row: &Row<'_>| {
        Ok(WholeVersion {
            version: version_row(row)?,
            kept: Kept {
                wrapped: row.get(13)?,
                sealed: row.get(14)?,
            },
            told: Told {
                near: time(row, 15)?,
                expired: time(row, 16)?,
            },
        })
    };
    let rows = connection
        .prepare_cached(&sql)?
        .query_map((key, limit), whole)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// A key's rotation policy.
pub(crate) fn policy(connection: &Connection, key: i64) -> Result<RotationPolicy, VaultFault> {
    let stored: Option<String> = connection
        .prepare_cached("SELECT policy FROM keys WHERE id = ?1")?
        .query_row([key], |row| row.get(0))?;
    match stored {
        None => Ok(RotationPolicy::unset()),
        Some(stored) => serde_json::from_str::<StoredPolicy>(&stored)
            .ok()
            .and_then(|stored| stored.policy())
            .ok_or_else(|| VaultFault::Database("a rotation policy cannot be read".to_owned())),
    }
}

pub(crate) fn set_policy(
    transaction: &Transaction<'_>,
    key: i64,
    policy: &RotationPolicy,
) -> Result<(), VaultFault> {
    let stored = StoredPolicy::of(policy)
        .map(|stored| serde_json::to_string(&stored))
        .transpose()
        .map_err(|_| VaultFault::BadParameter("the policy cannot be stored"))?;
    transaction.execute("UPDATE keys SET policy = ?2 WHERE id = ?1", (key, stored))?;
    Ok(())
}

/// For which expiry notices of this version were given.
pub(crate) fn told(connection: &Connection, version: i64) -> Result<Told, VaultFault> {
    let told = connection
        .prepare_cached("SELECT told_near, told_expired FROM versions WHERE id = ?1")?
        .query_row([version], |row| {
            Ok(Told {
                near: time(row, 0)?,
                expired: time(row, 1)?,
            })
        })?;
    Ok(told)
}

pub(crate) fn set_told(transaction: &Transaction<'_>, version: i64, told: Told) -> Result<(), VaultFault> {
    transaction.execute(
        "UPDATE versions SET told_near = ?2, told_expired = ?3 WHERE id = ?1",
        (version, told.near.map(Seconds), told.expired.map(Seconds)),
    )?;
    Ok(())
}

/// When maintenance is to look at a key again.
pub(crate) fn set_due(transaction: &Transaction<'_>, key: i64, due: Option<u64>) -> Result<(), VaultFault> {
    transaction.execute("UPDATE keys SET due = ?2 WHERE id = ?1", (key, due.map(Seconds)))?;
    Ok(())
}

/// Up to `limit` keys that are due, by vault and name, those first that waited longest.
pub(crate) fn due_keys(
    connection: &Connection,
    now: u64,
    limit: u32,
) -> Result<Vec<(String, String)>, VaultFault> {
    let sql = "SELECT vault, name FROM keys WHERE due <= ?1 AND deleted IS NULL \
         AND vault IN (SELECT name FROM vaults WHERE deleted IS NULL) ORDER BY due LIMIT ?2";
    let rows = connection
        .prepare_cached(sql)?
        .query_map((Seconds(now), limit), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// When the first key is due, and when the first deleted key or vault is to be destroyed. In a deleted vault nothing falls due.
pub(crate) fn next_due(connection: &Connection) -> Result<(Option<u64>, Option<u64>), VaultFault> {
    let first = |sql| -> Result<Option<u64>, VaultFault> {
        Ok(connection
            .prepare_cached(sql)?
            .query_row((), |row| time(row, 0))?)
    };
    Ok((
        first(
            "SELECT min(due) FROM keys WHERE due IS NOT NULL AND deleted IS NULL \
             AND vault IN (SELECT name FROM vaults WHERE deleted IS NULL)",
        )?,
        first(
            "SELECT min(purge) FROM (SELECT purge FROM keys WHERE purge IS NOT NULL \
             UNION ALL SELECT purge FROM vaults WHERE purge IS NOT NULL)",
        )?,
    ))
}

/// Versions that a policy made and of which there is no record yet: vault, version and row.
pub(crate) fn untold_rotations(
    connection: &Connection,
    limit: u32,
) -> Result<Vec<(String, KeyVersion, i64)>, VaultFault> {
    let sql = format!(
        "SELECT {VERSION_COLUMNS}, k.vault FROM versions v JOIN keys k ON k.id = v.key \
         WHERE v.told_rotation = 0 ORDER BY v.id LIMIT ?1"
    );
    let rows = connection
        .prepare_cached(&sql)?
        .query_map([limit], |row| Ok((row.get(13)?, version_row(row)?, row.get(12)?)))?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

pub(crate) fn set_rotation_told(transaction: &Transaction<'_>, version: i64) -> Result<(), VaultFault> {
    transaction.execute("UPDATE versions SET told_rotation = 1 WHERE id = ?1", [version])?;
    Ok(())
}

/// The latest version of each key that is not deleted, by name.
pub(crate) fn list_keys(
    connection: &Connection,
    vault: &str,
    start: &PageStart,
) -> Result<Page<KeyVersion>, VaultFault> {
    let sql = format!(
        "SELECT {VERSION_COLUMNS} FROM keys k JOIN versions v ON v.id = (SELECT max(id) FROM versions WHERE key = k.id) \
         WHERE k.vault = ?1 AND k.deleted IS NULL AND k.name > ?2 ORDER BY k.name LIMIT ?3"
    );
    let after = start.after.as_deref().unwrap_or_default();
    let rows = connection
        .prepare_cached(&sql)?
        .query_map((vault, after, start.limit + 1), version_row)?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page(rows, start.limit))
}

/// All versions of a key, oldest first.
pub(crate) fn list_versions(
    connection: &Connection,
    key: i64,
    start: &PageStart,
) -> Result<Page<KeyVersion>, VaultFault> {
    let sql = format!(
        "SELECT {VERSION_COLUMNS} FROM versions v JOIN keys k ON k.id = v.key WHERE v.key = ?1 AND v.id > \
         coalesce((SELECT id FROM versions WHERE key = ?1 AND version = ?2), 0) ORDER BY v.id LIMIT ?3"
    );
    let after = start.after.as_deref().unwrap_or_default();
    let rows = connection
        .prepare_cached(&sql)?
        .query_map((key, after, start.limit + 1), version_row)?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page(rows, start.limit))
}

/// Deleted keys that can still be recovered, by name.
pub(crate) fn list_deleted(
    connection: &Connection,
    vault: &str,
    now: u64,
    start: &PageStart,
) -> Result<Page<DeletedKey>, VaultFault> {
    let sql = format!(
        "SELECT {VERSION_COLUMNS}, k.deleted, k.purge FROM keys k \
         JOIN versions v ON v.id = (SELECT max(id) FROM versions WHERE key = k.id) \
         WHERE k.vault = ?1 AND k.deleted IS NOT NULL AND k.purge > ?4 AND k.name > ?2 ORDER BY k.name LIMIT ?3"
    );
    let after = start.after.as_deref().unwrap_or_default();
    let rows = connection
        .prepare_cached(&sql)?
        .query_map((vault, after, start.limit + 1, Seconds(now)), |row| {
            Ok(DeletedKey {
                latest: version_row(row)?,
                deleted: row.get::<_, Seconds>(13)?.0,
                purge: row.get::<_, Seconds>(14)?.0,
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(page(rows, start.limit))
}

fn page<T>(mut rows: Vec<T>, limit: u32) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    Page { rows, more }
}

pub(crate) fn set_deleted(
    transaction: &Transaction<'_>,
    key: i64,
    times: Option<(u64, u64)>,
) -> Result<(), VaultFault> {
    let (deleted, purge) = times
        .map(|(deleted, purge)| (Seconds(deleted), Seconds(purge)))
        .unzip();
    transaction.execute(
        "UPDATE keys SET deleted = ?2, purge = ?3 WHERE id = ?1",
        (key, deleted, purge),
    )?;
    Ok(())
}

/// Destroys a key with all its versions.
pub(crate) fn destroy(transaction: &Transaction<'_>, key: i64) -> Result<(), VaultFault> {
    transaction.execute("DELETE FROM keys WHERE id = ?1", [key])?;
    Ok(())
}

/// Destroys the deleted keys whose time has come.
pub(crate) fn sweep(transaction: &Transaction<'_>, now: u64) -> Result<usize, VaultFault> {
    Ok(transaction.execute("DELETE FROM keys WHERE purge <= ?1", [Seconds(now)])?)
}
