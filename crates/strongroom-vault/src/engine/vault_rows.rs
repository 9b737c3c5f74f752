//! What stands in the table of vaults. No policy here.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use crate::engine::fault::VaultFault;
use crate::engine::rows::{Seconds, time};
use crate::engine::settings::VaultSettings;

/// A vault, and when it was deleted and will be purged, if it is deleted.
pub(crate) struct VaultRow {
    pub(crate) settings: VaultSettings,
    pub(crate) deleted: Option<(u64, u64)>,
}

/// The vault of this name, unless it is deleted.
pub(crate) fn live(connection: &Connection, name: &str) -> Result<VaultSettings, VaultFault> {
    connection
        .prepare_cached("SELECT settings, deleted, purge FROM vaults WHERE name = ?1 AND deleted IS NULL")?
        .query_row([name], vault_row)
        .optional()?
        .map(|row| row.settings)
        .ok_or_else(|| VaultFault::NoSuchVault(name.to_owned()))
}

/// As [`live`], without reading the settings: every operation on a key asks.
pub(crate) fn check_live(connection: &Connection, name: &str) -> Result<(), VaultFault> {
    connection
        .prepare_cached("SELECT 1 FROM vaults WHERE name = ?1 AND deleted IS NULL")?
        .query_row([name], |_| Ok(()))
        .optional()?
        .ok_or_else(|| VaultFault::NoSuchVault(name.to_owned()))
}

/// All vaults, deleted ones too.
pub(crate) fn all(connection: &Connection) -> Result<Vec<VaultRow>, VaultFault> {
    let rows = connection
        .prepare_cached("SELECT settings, deleted, purge FROM vaults ORDER BY name")?
        .query_map((), vault_row)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

fn vault_row(row: &Row<'_>) -> rusqlite::Result<VaultRow> {
    let settings: String = row.get(0)?;
    let settings = serde_json::from_str(&settings)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))?;
    Ok(VaultRow {
        settings,
        deleted: time(row, 1)?.zip(time(row, 2)?),
    })
}

/// Adds a vault or replaces its settings.
pub(crate) fn put(transaction: &Transaction<'_>, vault: &VaultSettings) -> Result<(), VaultFault> {
    let settings = serde_json::to_string(vault)
        .map_err(|_| VaultFault::BadParameter("the vault's settings cannot be stored"))?;
    transaction.execute(
        "INSERT INTO vaults (name, settings) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET settings = excluded.settings",
        (&vault.name, settings),
    )?;
    Ok(())
}

pub(crate) fn set_deleted(
    transaction: &Transaction<'_>,
    name: &str,
    times: Option<(u64, u64)>,
) -> Result<(), VaultFault> {
    let (deleted, purge) = times
        .map(|(deleted, purge)| (Seconds(deleted), Seconds(purge)))
        .unzip();
    transaction.execute(
        "UPDATE vaults SET deleted = ?2, purge = ?3 WHERE name = ?1",
        (name, deleted, purge),
    )?;
    Ok(())
}

/// Destroys a vault with all its keys.
pub(crate) fn destroy(transaction: &Transaction<'_>, name: &str) -> Result<(), VaultFault> {
    transaction.execute("DELETE FROM keys WHERE vault = ?1", [name])?;
    transaction.execute("DELETE FROM vaults WHERE name = ?1", [name])?;
    Ok(())
}

/// Destroys the deleted vaults whose time has come, with their keys; says how many rows that were.
pub(crate) fn sweep(transaction: &Transaction<'_>, now: u64) -> Result<usize, VaultFault> {
    let keys = transaction.execute(
        "DELETE FROM keys WHERE vault IN (SELECT name FROM vaults WHERE purge <= ?1)",
        [Seconds(now)],
    )?;
    let vaults = transaction.execute("DELETE FROM vaults WHERE purge <= ?1", [Seconds(now)])?;
    Ok(keys + vaults)
}
