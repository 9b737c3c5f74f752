//! What the service stored, behind its back: to keep bytes that must be gone later, and to plant defects.

use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags};

use crate::error::TestkitError;
use crate::instance::Instance;

/// The `service` folder of an instance, running or not.
pub struct Storage {
    folder: PathBuf,
}

impl Storage {
    /// That of this instance.
    pub fn of(instance: &Instance) -> Self {
        Self {
            folder: instance.folder().service(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// The wrapped keys of one object: its record's and its blobs'.
    pub fn wrapped_keys(&self, id: &str) -> Result<Vec<Vec<u8>>, TestkitError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.folder.join("records.db"), flags)?;
        let mut statement = connection.prepare(
            "SELECT wrapped FROM key_slot WHERE slot IN (
                SELECT slot FROM record WHERE id = ?1
                UNION SELECT part.slot FROM part JOIN record ON record.seq = part.place / 1024 WHERE id = ?1)",
        )?;
        let keys = statement
            .query_map([id], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(keys)
    }

    /// The files of one object's blobs, once they have the names that they keep.
    pub fn blob_files(&self, id: &str) -> Result<Vec<PathBuf>, TestkitError> {
        let connection = self.connection()?;
        let mut statement = connection.prepare(
            "SELECT file FROM part JOIN record ON record.seq = part.place / 1024
             WHERE id = ?1 AND file IS NOT NULL",
        )?;
        let names = statement.query_map([id], |row| row.get::<_, String>(0))?;
        let names: Vec<String> = names.collect::<Result<_, _>>()?;
        let path = |name: &String| {
            let shelf = self.folder.join("blobs").join(name.get(..2).unwrap_or_default());
            // The service renames it in a moment.
            while shelf.join(format!("{name}.staged")).exists() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            shelf.join(name)
        };
        Ok(names.iter().map(path).collect())
    }

    /// One value of the database.
    pub fn read(&self, sql: &str) -> Result<Vec<u8>, TestkitError> {
        Ok(self.connection()?.query_row(sql, [], |row| row.get(0))?)
    }

    /// Puts one value into the database: `?1` in the statement.
    pub fn write(&self, sql: &str, value: &[u8]) -> Result<(), TestkitError> {
        self.connection()?.execute(sql, [value])?;
        Ok(())
    }

    /// Runs statements.
    pub fn execute(&self, sql: &str) -> Result<(), TestkitError> {
        Ok(self.connection()?.execute_batch(sql)?)
    }

    /// Takes a change of the schema back, and every trace of it.
    pub fn mend(&self, sql: &str) -> Result<(), TestkitError> {
        self.execute(&format!(
            "PRAGMA secure_delete = ON; {sql}; PRAGMA wal_checkpoint(TRUNCATE)"
        ))
    }

    fn connection(&self) -> Result<Connection, TestkitError> {
        let connection = Connection::open(self.folder.join("records.db"))?;
        // The service writes meanwhile.
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        Ok(connection)
    }
}
