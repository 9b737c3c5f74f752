//! What the control plane keeps: JSON documents by kind and name, in SQLite, each change durable before it counts.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ControlError;
use crate::files::sync_folder_of;

/// "SRct".
const APPLICATION: i64 = 0x5352_6374;
const FORMAT: i64 = 1;

const TABLES: &str = "CREATE TABLE document (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  json TEXT NOT NULL,
  PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;";

const PUT: &str = "INSERT INTO document (kind, name, json) VALUES (?1, ?2, ?3)
  ON CONFLICT (kind, name) DO UPDATE SET json = excluded.json";
const DELETE: &str = "DELETE FROM document WHERE kind = ?1 AND name = ?2";

/// Changes of documents that belong together.
#[derive(Default)]
pub(crate) struct Batch {
    edits: Vec<Edit>,
}

struct Edit {
    kind: &'static str,
    name: String,
    /// The new text, or none to remove the document.
    json: Option<String>,
}

impl Batch {
    /// Adds or replaces a document.
    pub(crate) fn put(
        &mut self,
        kind: &'static str,
        name: &str,
        document: &impl Serialize,
    ) -> Result<(), ControlError> {
        let json = Some(serde_json::to_string(document)?);
        let name = name.to_owned();
        self.edits.push(Edit { kind, name, json });
        Ok(())
    }

    /// Removes a document; one that is not there is no fault.
    pub(crate) fn delete(&mut self, kind: &'static str, name: &str) {
        let (name, json) = (name.to_owned(), None);
        self.edits.push(Edit { kind, name, json });
    }
}

/// The database.
pub(crate) struct Documents {
    connection: Mutex<Connection>,
}

impl Documents {
    pub(crate) fn open(path: &Path) -> Result<Self, ControlError> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        match (pragma("application_id")?, pragma("user_version")?) {
            (APPLICATION, FORMAT) => {}
            (APPLICATION, found) => return Err(ControlError::FutureFormat { found, known: FORMAT }),
            _ => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "application_id", APPLICATION)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
                sync_folder_of(path)?;
            }
        }
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// All documents of a kind, by name.
    pub(crate) fn all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, ControlError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT json FROM document WHERE kind = ?1 ORDER BY name")?;
        let texts = statement.query_map([kind], |row| row.get::<_, String>(0))?;
        texts.map(|text| Ok(serde_json::from_str(&text?)?)).collect()
    }

    /// Adds or replaces one document. It is on disk when this returns.
    pub(crate) fn put(
        &self,
        kind: &'static str,
        name: &str,
        document: &impl Serialize,
    ) -> Result<(), ControlError> {
        let mut batch = Batch::default();
        batch.put(kind, name, document)?;
        self.commit(&batch)
    }

    /// Does all that the batch asks for, or nothing. It is on disk when this returns.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for Edit { kind, name, json } in &batch.edits {
            match json {
                Some(json) => transaction.prepare_cached(PUT)?.execute((kind, name, json))?,
                None => transaction.prepare_cached(DELETE)?.execute((kind, name))?,
            };
        }
        Ok(transaction.commit()?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
