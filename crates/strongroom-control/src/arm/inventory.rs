//! What there is: every subscription, group, resource, lock, as one row each, in SQLite.
//!
//! Providers that keep their things elsewhere put a row here for each, so that lists and Resource Graph know them.
//! The key is the id in small letters: what lies below a scope is a range of keys.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params_from_iter};
use serde_json::{Map, Value};
use strongroom_azure::ResourceId;

use super::fault::Outcome;
use super::place::Place;
use crate::error::ControlError;
use crate::files::sync_folder_of;

/// "SRar".
const APPLICATION: i64 = 0x5352_6172;
const FORMAT: i64 = 1;

/// The type of a subscription's row, as Resource Graph calls it.
pub(crate) const SUBSCRIPTION: &str = "microsoft.resources/subscriptions";
/// The type of a resource group's row, as Resource Graph calls it.
pub(crate) const GROUP: &str = "microsoft.resources/subscriptions/resourcegroups";
/// The type of a lock's row.
pub(crate) const LOCK: &str = "microsoft.authorization/locks";

const TABLES: &str = "CREATE TABLE resource (
  id TEXT PRIMARY KEY,
  shown TEXT NOT NULL,
  type TEXT NOT NULL,
  name TEXT NOT NULL,
  location TEXT NOT NULL,
  grp TEXT NOT NULL,
  tracked INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  etag INTEGER NOT NULL,
  json TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX resource_by_type ON resource (type, id);
CREATE INDEX resource_by_name ON resource (name, id);
CREATE TABLE tag (
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  id TEXT NOT NULL REFERENCES resource (id) ON DELETE CASCADE,
  PRIMARY KEY (name, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_by_id ON tag (id);
CREATE TABLE operation (
  id TEXT PRIMARY KEY,
  target TEXT NOT NULL,
  starter TEXT NOT NULL,
  kind TEXT NOT NULL,
  status TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  error TEXT,
  event TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX operation_by_status ON operation (status);";

/// All that Resource Graph needs of a row when it does not look into its document: made wherever it is missing.
const BRIEF_INDEX: &str = "CREATE INDEX IF NOT EXISTS resource_brief
  ON resource (tracked, type, id, shown, grp, location)";

const COLUMNS: &str = "shown, type, name, created_ms, changed_ms, etag, json";

/// One thing that there is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    /// As it was first spelled.
    pub(crate) id: ResourceId,
    /// In small letters.
    pub(crate) kind: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub(crate) created_ms: i64,
    /// When it was changed last.
    pub(crate) changed_ms: i64,
    /// Differs after each change.
    pub(crate) etag: i64,
    /// What clients see.
    pub(crate) body: Map<String, Value>,
}

impl Resource {
    /// A member of the body, if it is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}

/// Which rows a list holds. Rows are in the order of their ids.
#[derive(Debug, Default, Clone)]
pub(crate) struct Selection<'a> {
    /// Only what lies below this scope.
    pub(crate) below: Option<&'a ResourceId>,
    /// Only this type.
    pub(crate) kind: Option<&'a str>,
    /// Only what is called so.
    pub(crate) name: Option<&'a str>,
    /// Only what has this tag, with this value if one is given.
    pub(crate) tag: Option<(&'a str, Option<&'a str>)>,
    /// Only what lists of resources show.
    pub(crate) tracked: bool,
    /// Only what comes after this id.
    pub(crate) after: Option<&'a str>,
}

/// A row as it is stored.
pub(crate) struct Brief<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) group: &'a str,
    pub(crate) location: &'a str,
    /// What clients see, if it was asked for.
    pub(crate) json: Option<&'a str>,
}

/// The database: one connection that writes, one that reads.
pub(crate) struct Inventory {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

/// The rows as one transaction sees them.
pub(crate) struct Rows<'a>(&'a Connection);

impl Inventory {
    pub(crate) fn open(path: &Path) -> Result<Self, ControlError> {
        let mut writer = connect(path)?;
        let pragma = |name: &str| writer.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        match (pragma("application_id")?, pragma("user_version")?) {
            (APPLICATION, FORMAT) => {}
            (APPLICATION, found) => return Err(ControlError::FutureFormat { found, known: FORMAT }),
            _ => {
                let transaction = writer.transaction()?;
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "application_id", APPLICATION)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
                sync_folder_of(path)?;
            }
        }
        writer.execute_batch(BRIEF_INDEX)?;
        let reader = connect(path)?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(Self {
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
        })
    }

    /// Reads in one snapshot.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Rows<'_>) -> Outcome<T>) -> Outcome<T> {
        let mut connection = lock(&self.reader);
        let transaction = connection.transaction()?;
        work(&Rows(&transaction))
    }

    /// Reads and writes; nothing is changed if `work` fails, and everything is on disk when this returns.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Rows<'_>) -> Outcome<T>) -> Outcome<T> {
        let mut connection = lock(&self.writer);
        let transaction = Transaction::new(&mut connection, TransactionBehavior::Immediate)?;
        let done = work(&Rows(&transaction))?;
        transaction.commit()?;
        Ok(done)
    }
}

impl<'a> Rows<'a> {
    /// The connection, for the tables of others in this database.
    pub(crate) fn connection(&self) -> &'a Connection {
        self.0
    }

    /// The row of this id.
    pub(crate) fn get(&self, id: &ResourceId) -> Outcome<Option<Resource>> {
        let sql = format!("SELECT {COLUMNS} FROM resource WHERE id = ?1");
        let mut statement = self.0.prepare_cached(&sql)?;
        let found = statement.query_row([key(id)], text_row).optional()?;
        found.map(TextRow::resource).transpose()
    }

    /// Whether there is a row of this id.
    pub(crate) fn has(&self, id: &ResourceId) -> Outcome<bool> {
        let mut statement = self.0.prepare_cached("SELECT 1 FROM resource WHERE id = ?1")?;
        Ok(statement.exists([key(id)])?)
    }

    /// Adds or replaces a row and gives it as it is now. `kind` is the type as it is to be shown.
    pub(crate) fn put(
        &self,
        id: &ResourceId,
        kind: &str,
        body: Map<String, Value>,
        now_ms: i64,
    ) -> Outcome<Resource> {
        let before = self.get(id)?;
        let shown = before.as_ref().map_or(id, |before| &before.id).clone();
        let resource = Resource {
            kind: kind.to_ascii_lowercase(),
            created_ms: before.as_ref().map_or(now_ms, |before| before.created_ms),
            changed_ms: now_ms,
            // Also differs from that of a row of this id that was deleted.
            etag: before.map_or(now_ms, |before| before.etag.max(now_ms) + 1),
            id: shown,
            body,
        };
        self.insert(&resource)?;
        self.keep_tags(&resource)?;
        Ok(resource)
    }

    fn insert(&self, resource: &Resource) -> Outcome<()> {
        let place = Place::of(&resource.id);
        let group = place
            .as_ref()
            .and_then(|place| place.group.as_deref())
            .unwrap_or_default();
        let location = resource.text("location").unwrap_or_default().to_ascii_lowercase();
        let name = resource.text("name").unwrap_or_default().to_ascii_lowercase();
        let json = serde_json::to_string(&resource.body)?;
        let sql = "INSERT INTO resource (id, shown, type, name, location, grp, tracked, created_ms, changed_ms, etag, json)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            ON CONFLICT (id) DO UPDATE SET type = excluded.type, name = excluded.name, location = excluded.location,
            tracked = excluded.tracked, changed_ms = excluded.changed_ms, etag = excluded.etag, json = excluded.json";
        self.0.prepare_cached(sql)?.execute(rusqlite::params![
            key(&resource.id),
            resource.id.as_str(),
            resource.kind,
            name,
            location,
            group.to_ascii_lowercase(),
            is_tracked(place.as_ref(), &location),
            resource.created_ms,
            resource.changed_ms,
            resource.etag,
            json,
        ])?;
        Ok(())
    }

    fn keep_tags(&self, resource: &Resource) -> Outcome<()> {
        let id = key(&resource.id);
        self.0
            .prepare_cached("DELETE FROM tag WHERE id = ?1")?
            .execute([&id])?;
        let tags = resource.body.get("tags").and_then(Value::as_object);
        let sql = "INSERT OR REPLACE INTO tag (name, value, id) VALUES (?1, ?2, ?3)";
        let mut statement = self.0.prepare_cached(sql)?;
        for (name, value) in tags.into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            statement.execute([name.to_ascii_lowercase().as_str(), value, &id])?;
        }
        Ok(())
    }

    /// Takes the row and every row below it away; says how many there were.
    pub(crate) fn delete(&self, id: &ResourceId) -> Outcome<usize> {
        let (first, last) = range(id);
        let sql = "DELETE FROM resource WHERE id = ?1 OR (id > ?2 AND id < ?3)";
        Ok(self.0.prepare_cached(sql)?.execute([key(id), first, last])?)
    }

    /// At most `most` of the selected rows.
    pub(crate) fn list(&self, selection: &Selection<'_>, most: usize) -> Outcome<Vec<Resource>> {
        let mut found = Vec::new();
        self.scan(selection, most, |row| {
            found.push(text_row(row)?);
            Ok(())
        })?;
        found.into_iter().map(TextRow::resource).collect()
    }

    /// Shows `see` every selected row without taking its document apart, and without reading it unless asked to, until it says
    /// no.
    pub(crate) fn brief(
        &self,
        selection: &Selection<'_>,
        with_json: bool,
        mut see: impl FnMut(&Brief<'_>) -> bool,
    ) -> Outcome<()> {
        let (condition, values) = condition(selection);
        let json = if with_json { "json" } else { "NULL" };
        let sql =
            format!("SELECT shown, type, grp, location, {json} FROM resource WHERE {condition} ORDER BY id");
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let text = |at: usize| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
            let brief = Brief {
                id: text(0)?,
                kind: text(1)?,
                group: text(2)?,
                location: text(3)?,
                json: row.get_ref(4)?.as_str_or_null().map_err(rusqlite::Error::from)?,
            };
            if !see(&brief) {
                break;
            }
        }
        Ok(())
    }

    /// Shows `see` at most `most` of the selected rows.
    fn scan(
        &self,
        selection: &Selection<'_>,
        most: usize,
        mut see: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Outcome<()> {
        let (condition, mut values) = condition(selection);
        values.push(Sql::Integer(i64::try_from(most).unwrap_or(i64::MAX)));
        let sql = format!("SELECT {COLUMNS} FROM resource WHERE {condition} ORDER BY id LIMIT ?");
        let mut statement = self.0.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            see(row)?;
        }
        Ok(())
    }

    /// Names and values of tags that anything has, with how often.
    pub(crate) fn tags(&self) -> Outcome<Vec<(String, String, i64)>> {
        let sql = "SELECT name, value, count(*) FROM tag GROUP BY name, value ORDER BY name, value";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The types that anything has.
    pub(crate) fn types(&self) -> Outcome<Vec<String>> {
        let mut statement = self
            .0
            .prepare_cached("SELECT DISTINCT type FROM resource ORDER BY type")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The id in small letters.
pub(crate) fn key(id: &ResourceId) -> String {
    id.as_str().to_ascii_lowercase()
}

/// Keys strictly between these two lie below the scope.
fn range(scope: &ResourceId) -> (String, String) {
    let key = key(scope);
    let key = key.trim_end_matches('/');
    // '0' is what follows '/' in ASCII.
    (format!("{key}/"), format!("{key}0"))
}

/// Whether lists of resources show it: what stands in a group by itself, and parts of it that have a place of their own.
fn is_tracked(place: Option<&Place>, location: &str) -> bool {
    let typed = place
        .filter(|place| place.group.is_some())
        .and_then(|place| place.typed.as_ref());
    typed.is_some_and(|typed| !typed.extends && (typed.names.len() == 1 || !location.is_empty()))
}

fn condition(selection: &Selection<'_>) -> (String, Vec<Sql>) {
    let mut parts = vec!["id > ?".to_owned()];
    let mut values = vec![Sql::Text(selection.after.unwrap_or_default().to_owned())];
    let mut and = |part: &str, bound: Vec<String>| {
        parts.push(part.to_owned());
        values.extend(bound.into_iter().map(Sql::Text));
    };
    if let Some(scope) = selection.below {
        let (first, last) = range(scope);
        and("id > ? AND id < ?", vec![first, last]);
    }
    if let Some(kind) = selection.kind {
        and("type = ?", vec![kind.to_ascii_lowercase()]);
    }
    if let Some(name) = selection.name {
        and("name = ?", vec![name.to_ascii_lowercase()]);
    }
    match selection.tag {
        Some((name, Some(value))) => and(
            "id IN (SELECT id FROM tag WHERE name = ? AND value = ?)",
            vec![name.to_ascii_lowercase(), value.to_owned()],
        ),
        Some((name, None)) => and(
            "id IN (SELECT id FROM tag WHERE name = ?)",
            vec![name.to_ascii_lowercase()],
        ),
        None => {}
    }
    if selection.tracked {
        and("tracked = 1", vec![]);
    }
    (parts.join(" AND "), values)
}

struct TextRow {
    id: String,
    kind: String,
    created_ms: i64,
    changed_ms: i64,
    etag: i64,
    json: String,
}

fn text_row(row: &Row<'_>) -> rusqlite::Result<TextRow> {
    Ok(TextRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        created_ms: row.get(3)?,
        changed_ms: row.get(4)?,
        etag: row.get(5)?,
        json: row.get(6)?,
    })
}

impl TextRow {
    fn resource(self) -> Outcome<Resource> {
        let id = self.id.parse().map_err(|_| super::fault::Fault::Interrupted)?;
        Ok(Resource {
            id,
            kind: self.kind,
            created_ms: self.created_ms,
            changed_ms: self.changed_ms,
            etag: self.etag,
            body: serde_json::from_str(&self.json)?,
        })
    }
}

fn connect(path: &Path) -> Result<Connection, ControlError> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}
