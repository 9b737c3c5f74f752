//! The vault's SQLite database: one writer, several readers. What was committed survives a kill; what was not is not there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use crate::engine::fault::VaultFault;
use crate::engine::root_key::Stretch;
use crate::limits::{DATABASE_WAIT, IDLE_READERS};

/// The layout this program writes. A database with another number is refused.
pub(crate) const FORMAT: u32 = 3;

const SCHEMA: &str = "
CREATE TABLE root (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  store BLOB NOT NULL, check_value BLOB NOT NULL,
  salt BLOB, memory INTEGER, passes INTEGER, lanes INTEGER
) STRICT;
CREATE TABLE vaults (
  name TEXT PRIMARY KEY COLLATE NOCASE,
  settings TEXT NOT NULL,
  deleted INTEGER, purge INTEGER
) STRICT;
CREATE TABLE keys (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  vault TEXT NOT NULL COLLATE NOCASE REFERENCES vaults (name),
  name TEXT NOT NULL COLLATE NOCASE,
  deleted INTEGER, purge INTEGER,
  policy TEXT, due INTEGER,
  UNIQUE (vault, name)
) STRICT;
CREATE INDEX keys_by_due ON keys (due) WHERE due IS NOT NULL;
CREATE INDEX keys_by_purge ON keys (purge) WHERE purge IS NOT NULL;
CREATE TABLE versions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  key INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
  version TEXT NOT NULL,
  spec TEXT NOT NULL, modulus_or_x BLOB NOT NULL, exponent_or_y BLOB NOT NULL,
  enabled INTEGER NOT NULL, not_before INTEGER, expires INTEGER,
  created INTEGER NOT NULL, updated INTEGER NOT NULL,
  operations TEXT NOT NULL, tags TEXT NOT NULL,
  wrapped BLOB NOT NULL, sealed BLOB NOT NULL,
  told_near INTEGER, told_expired INTEGER, told_rotation INTEGER NOT NULL,
  UNIQUE (key, version)
) STRICT;
CREATE INDEX versions_untold ON versions (id) WHERE told_rotation = 0;
";

/// What the root key must satisfy.
pub(crate) struct RootRow {
    pub(crate) store: [u8; 16],
    pub(crate) check_value: [u8; 32],
    pub(crate) stretch: Option<Stretch>,
}

pub(crate) struct Database {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// Whether the log may hold something destroyed.
    log_is_due: AtomicBool,
    /// How many changes there were, failed ones too. What was read before the last one may be outdated.
    changes: AtomicU64,
}

impl Database {
    /// Opens the file, making it if it is not there. A new one has no root row until [`Database::begin`].
    pub(crate) fn open(path: &Path) -> Result<Self, VaultFault> {
        let writer = Connection::open(path)?;
        writer.busy_timeout(DATABASE_WAIT)?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.pragma_update(None, "secure_delete", "ON")?;
        writer.pragma_update(None, "foreign_keys", "ON")?;
        Ok(Self {
            path: path.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            log_is_due: AtomicBool::new(false),
            changes: AtomicU64::new(0),
        })
    }

    /// The layout number; 0 for a file that was never begun.
    pub(crate) fn format(&self) -> Result<u32, VaultFault> {
        self.read(|connection| Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?))
    }

    /// Makes the tables and the root row at once.
    pub(crate) fn begin(&self, root: &RootRow) -> Result<(), VaultFault> {
        self.write(|transaction| {
            transaction.execute_batch(SCHEMA)?;
            let stretch = root.stretch.as_ref();
            transaction.execute(
                "INSERT INTO root VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    root.store,
                    root.check_value,
                    stretch.map(|s| &s.salt),
                    stretch.map(|s| s.memory),
                    stretch.map(|s| s.passes),
                    stretch.map(|s| s.lanes),
                ),
            )?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
            Ok(())
        })
    }

    /// What the root key must satisfy.
    pub(crate) fn root(&self) -> Result<RootRow, VaultFault> {
        self.read(|connection| {
            let sql = "SELECT store, check_value, salt, memory, passes, lanes FROM root";
            Ok(connection.query_row(sql, (), |row| {
                let salt: Option<Vec<u8>> = row.get(2)?;
                let stretch = match salt {
                    Some(salt) => Some(Stretch {
                        salt,
                        memory: row.get(3)?,
                        passes: row.get(4)?,
                        lanes: row.get(5)?,
                    }),
                    None => None,
                };
                Ok(RootRow {
                    store: row.get(0)?,
                    check_value: row.get(1)?,
                    stretch,
                })
            })?)
        })
    }

    /// Runs `work` on a consistent view.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, VaultFault>,
    ) -> Result<T, VaultFault> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => self.reader()?,
        };
        let view = reader.transaction()?;
        let result = work(&view);
        drop(view);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < IDLE_READERS {
            readers.push(reader);
        }
        drop(readers);
        self.forget_log_if_due();
        result
    }

    /// Runs `work` in a transaction of its own. Once this returns `Ok`, the change is on disk.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, VaultFault>,
    ) -> Result<T, VaultFault> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction).and_then(|result| {
            transaction.commit()?;
            Ok(result)
        });
        // Before anyone hears of the change, so that nobody who has heard of it meets what was remembered from before.
        self.changes.fetch_add(1, Ordering::SeqCst);
        let result = result?;
        drop(writer);
        self.forget_log_if_due();
        Ok(result)
    }

    /// A number that is another after every change. What was read after this was asked, and before it is another, is current.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Empties the write-ahead log into the database, so that nothing destroyed lingers in it. Where a reader stays in the
    /// way, it is tried again whenever a view or a change ends.
    pub(crate) fn forget_log(&self) -> Result<(), VaultFault> {
        self.log_is_due();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.empty_log(&writer)? {
            tracing::info!("the vault's write-ahead log is in use; it is emptied at the next chance");
        }
        Ok(())
    }

    /// Something was destroyed, or may have been, and the log not emptied since.
    pub(crate) fn log_is_due(&self) {
        self.log_is_due.store(true, Ordering::SeqCst);
    }

    /// Tries again, without waiting for anybody.
    fn forget_log_if_due(&self) {
        if !self.log_is_due.load(Ordering::SeqCst) {
            return;
        }
        let Ok(writer) = self.writer.try_lock() else {
            return;
        };
        let tried = writer
            .busy_timeout(Duration::ZERO)
            .map_err(VaultFault::from)
            .and_then(|()| self.empty_log(&writer));
        let restored = writer.busy_timeout(DATABASE_WAIT).map_err(VaultFault::from);
        if let Err(fault) = tried.and(restored) {
            tracing::warn!(%fault, "the vault's write-ahead log could not be emptied");
        }
    }

    fn empty_log(&self, writer: &Connection) -> Result<bool, VaultFault> {
        let busy: Option<i64> = writer
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))
            .optional()?;
        let emptied = busy != Some(1);
        self.log_is_due.store(!emptied, Ordering::SeqCst);
        Ok(emptied)
    }

    fn reader(&self) -> Result<Connection, VaultFault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&self.path, flags)?;
        reader.busy_timeout(DATABASE_WAIT)?;
        Ok(reader)
    }
}
