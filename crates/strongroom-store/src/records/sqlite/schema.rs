//! The database's layout. `docs/format.md` describes it for other readers; both change together.

use std::{
    cmp::Ordering,
    fs::File,
    io::{self, Write},
    path::Path,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use rustix::fs::{Mode, OFlags};

use crate::{
    error::{OpenStoreError, StorageFault},
    limits,
};

/// "SRrm", so that `file` and other tools know whose database it is.
const APPLICATION: i64 = 0x5352_726d;
/// The format version this program reads and writes.
const FORMAT: i64 = 3;

/// Rows of `key_slot` never change their length and are never deleted: a wrapped key is overwritten where it stands, so no
/// stale copy of it stays behind when the tree is rebalanced. A free slot has an account of zeros; those alone are in an index. What
/// asks for the keys under a branch version walks the table, which is compact: that happens in a rekey, and writing happens always.
/// Rows of `part` carry content, so they lie in the order in which they are added: in any other tree each new one would have its
/// neighbours copied.
const TABLES: &str = "
CREATE TABLE record (
  seq      INTEGER PRIMARY KEY,
  account  BLOB NOT NULL,
  kind     TEXT NOT NULL,
  id       TEXT NOT NULL,
  created  INTEGER NOT NULL,
  expires  INTEGER,
  revision INTEGER NOT NULL,
  slot     INTEGER NOT NULL,
  parts    INTEGER NOT NULL,
  body     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX record_by_id ON record (account, kind, id);
CREATE INDEX record_by_kind ON record (account, kind);
CREATE INDEX record_by_expiry ON record (expires) WHERE expires IS NOT NULL;

CREATE TABLE part (
  place INTEGER PRIMARY KEY,
  part  INTEGER NOT NULL,
  size  INTEGER NOT NULL,
  slot  INTEGER NOT NULL,
  file  TEXT,
  body  BLOB,
  CHECK ((file IS NULL) <> (body IS NULL))
) STRICT;
CREATE UNIQUE INDEX part_by_file ON part (file) WHERE file IS NOT NULL;

CREATE TABLE key_slot (
  slot    INTEGER PRIMARY KEY,
  account BLOB NOT NULL,
  branch  BLOB NOT NULL,
  owner   BLOB NOT NULL,
  wrapped BLOB NOT NULL
) STRICT;
CREATE INDEX key_slot_free ON key_slot (slot) WHERE account = x'00000000000000000000000000000000';

CREATE TABLE branch (
  account     BLOB NOT NULL,
  version     INTEGER NOT NULL,
  created     INTEGER NOT NULL,
  check_value BLOB NOT NULL,
  endorsement BLOB,
  key         TEXT NOT NULL,
  algorithm   TEXT NOT NULL,
  seed        BLOB NOT NULL,
  PRIMARY KEY (account, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage (
  account BLOB NOT NULL,
  kind    TEXT NOT NULL,
  branch  INTEGER NOT NULL,
  objects INTEGER NOT NULL,
  bytes   INTEGER NOT NULL,
  PRIMARY KEY (account, kind, branch)
) STRICT, WITHOUT ROWID;

CREATE TABLE export (
  account BLOB PRIMARY KEY,
  count   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE shredding (
  number  INTEGER PRIMARY KEY AUTOINCREMENT,
  account BLOB NOT NULL,
  kind    TEXT NOT NULL,
  id      TEXT NOT NULL,
  deleted INTEGER NOT NULL,
  expired INTEGER NOT NULL,
  branches TEXT NOT NULL,
  keys    TEXT NOT NULL,
  digest  BLOB NOT NULL
) STRICT;

CREATE TABLE job (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  account  BLOB NOT NULL,
  kind     TEXT NOT NULL,
  object   TEXT,
  state    TEXT NOT NULL,
  wish     TEXT,
  from_branch INTEGER,
  token    INTEGER NOT NULL,
  claimed_until INTEGER NOT NULL,
  done     INTEGER NOT NULL,
  total    INTEGER NOT NULL,
  created  INTEGER NOT NULL,
  finished INTEGER
) STRICT;
CREATE INDEX job_by_account ON job (account);
CREATE UNIQUE INDEX job_by_object ON job (account, kind, object) WHERE object IS NOT NULL;
CREATE INDEX job_open ON job (id) WHERE finished IS NULL;

CREATE TABLE unwanted (
  file    TEXT PRIMARY KEY,
  account BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Opens the connection that writes, making the tables if the database is new.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenStoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    // Before anything else is read: journal mode and page size belong to a database of ours alone.
    let known = format_of(&connection)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(fault)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(fault)?;
    connection
        .pragma_update(None, "secure_delete", "ON")
        .map_err(fault)?;
    connection
        .pragma_update(None, "wal_autocheckpoint", limits::CHECKPOINT_PAGES)
        .map_err(fault)?;
    tune(&connection, limits::WRITER_CACHE_KIB)?;
    if !known {
        let transaction = connection.transaction().map_err(fault)?;
        transaction.execute_batch(TABLES).map_err(fault)?;
        transaction
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(fault)?;
        transaction
            .pragma_update(None, "user_version", FORMAT)
            .map_err(fault)?;
        transaction.commit().map_err(fault)?;
    }
    Ok(connection)
}

/// Opens a connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenStoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    tune(&connection, limits::READER_CACHE_KIB)?;
    Ok(connection)
}

/// Whether the database is ours already; false if it is empty.
fn format_of(connection: &Connection) -> Result<bool, OpenStoreError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let not_a_store = |_| OpenStoreError::NotAStore;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(not_a_store)?;
    let (application, format) = (
        pragma("application_id").map_err(not_a_store)?,
        pragma("user_version").map_err(not_a_store)?,
    );
    match (application, tables) {
        (0, 0) => Ok(false),
        (APPLICATION, _) => match format.cmp(&FORMAT) {
            Ordering::Equal => Ok(true),
            Ordering::Greater => Err(OpenStoreError::FutureFormat {
                found: format,
                known: FORMAT,
            }),
            Ordering::Less => Err(OpenStoreError::PastFormat {
                found: format,
                known: FORMAT,
            }),
        },
        _ => Err(OpenStoreError::NotAStore),
    }
}

fn tune(connection: &Connection, cache_kib: u32) -> Result<(), OpenStoreError> {
    connection
        .pragma_update(None, "cache_size", -i64::from(cache_kib))
        .map_err(fault)?;
    connection
        .pragma_update(None, "mmap_size", limits::MMAP_BYTES)
        .map_err(fault)?;
    connection
        .pragma_update(None, "temp_store", "MEMORY")
        .map_err(fault)?;
    connection.busy_timeout(limits::ERASE_WAIT).map_err(fault)?;
    // Plans do not depend on the values asked for; otherwise statements are compiled anew for each of them.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(fault)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// SQLite's messages name files, tables and columns, never content. It calls a disk full when a write found no room; a quota that
/// is used up it does not tell from other failures, see [`told`].
pub(super) fn fault(error: rusqlite::Error) -> StorageFault {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StorageFault::full(error.to_string()),
        _ => StorageFault::new(error.to_string()),
    }
}

/// A failure as it is to be told, with what came of writing something else to the same folder.
pub(super) fn told(fault: StorageFault, written: io::Result<()>) -> StorageFault {
    match written.map_err(StorageFault::from) {
        Err(other) if other.is_full() => fault.for_want_of_room(),
        _ => fault,
    }
}

/// Whether a folder takes anything: what is written has no name, holds nothing, and is gone when this returns.
pub(super) fn write_to(folder: &Path) -> io::Result<()> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)?;
    let mut file = File::from(file);
    file.write_all(&[0; limits::PROBE])?;
    file.sync_data()
}
