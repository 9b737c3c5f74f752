//! The activity log: a journal that an outsider can check, and an index of its latest 90 days that can always be made anew.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use serde_json::Value;
use strongroom_journal::Journal;

use super::ArmError;
use super::event::{Event, Progress};
use super::fault::Outcome;
use super::time;
use crate::error::ControlError;
use crate::limits::{ACTIVITY_KEPT, ACTIVITY_REPLAY};

const TABLES: &str = "CREATE TABLE IF NOT EXISTS event (
  seq INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  grp TEXT NOT NULL,
  correlation TEXT NOT NULL,
  json TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS event_by_time ON event (at, seq);
CREATE INDEX IF NOT EXISTS event_by_group ON event (grp, at, seq);
CREATE INDEX IF NOT EXISTS event_by_correlation ON event (correlation, at, seq);
CREATE TABLE IF NOT EXISTS covered (one INTEGER PRIMARY KEY CHECK (one = 1), entries INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO covered (one, entries) VALUES (1, 0);";

/// The log.
pub(crate) struct Activity {
    journal: Journal,
    index: Mutex<Connection>,
}

/// Which rows are looked at; newest first.
#[derive(Debug, Default, Clone)]
pub(crate) struct Window {
    /// Not before.
    pub(crate) from: String,
    /// Not after.
    pub(crate) to: String,
    /// Of this group alone.
    pub(crate) group: Option<String>,
    /// Of this correlation alone.
    pub(crate) correlation: Option<String>,
    /// Only what comes after this one, in the order of the list.
    pub(crate) after: Option<(String, i64)>,
}

/// A row and where it stands.
pub(crate) struct Found {
    pub(crate) at: String,
    pub(crate) seq: i64,
    pub(crate) row: Value,
}

impl Activity {
    pub(crate) fn open(path: &Path, journal: Journal, now_ms: i64) -> Result<Self, ArmError> {
        let index = Connection::open(path).map_err(ControlError::from)?;
        // What the index loses in a crash is read from the journal again.
        let prepared = index
            .pragma_update(None, "journal_mode", "WAL")
            .and_then(|()| index.pragma_update(None, "synchronous", "NORMAL"))
            .and_then(|()| index.execute_batch(TABLES));
        prepared.map_err(ControlError::from)?;
        let activity = Self {
            journal,
            index: Mutex::new(index),
        };
        activity.catch_up()?;
        activity.prune(now_ms).map_err(ControlError::from)?;
        Ok(activity)
    }

    /// What the log is kept in.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Writes a row. It is on disk when this returns.
    pub(crate) async fn record(&self, event: &Event, progress: &Progress, now_ms: i64) -> Outcome<()> {
        let row = event.row(progress, now_ms);
        let entry = serde_json::to_string(&row)?;
        let seq = self.journal.append(entry.into_bytes())?.durable().await?;
        // The row counts already. An index that fails is behind until the next start.
        if let Err(error) = self.add(&[(seq, row)], None) {
            tracing::error!(%error, "the index of the activity log did not take a row");
        }
        if seq % ACTIVITY_REPLAY == 0
            && let Err(error) = self.prune(now_ms)
        {
            tracing::error!(%error, "old rows were not taken out of the index of the activity log");
        }
        Ok(())
    }

    /// At most `most` rows of the window.
    pub(crate) fn list(&self, window: &Window, most: usize) -> Outcome<Vec<Found>> {
        let (at, seq) = window
            .after
            .clone()
            .unwrap_or_else(|| (window.to.clone(), i64::MAX));
        let mut sql = "SELECT at, seq, json FROM event WHERE at >= ?1 AND (at, seq) < (?2, ?3)".to_owned();
        let mut values = vec![window.from.clone().into(), at.into(), seq.into()];
        for (column, wanted) in [("grp", &window.group), ("correlation", &window.correlation)] {
            if let Some(wanted) = wanted {
                values.push(rusqlite::types::Value::from(wanted.to_ascii_lowercase()));
                sql.push_str(&format!(" AND {column} = ?{}", values.len()));
            }
        }
        sql.push_str(&format!(" ORDER BY at DESC, seq DESC LIMIT {most}"));
        let index = self.lock();
        let mut statement = index.prepare_cached(&sql)?;
        let rows = statement.query_map(rusqlite::params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
        })?;
        rows.map(|row| {
            let (at, seq, json) = row?;
            let row = serde_json::from_str(&json)?;
            Ok(Found { at, seq, row })
        })
        .collect()
    }

    /// Takes into the index what the journal has and it has not.
    fn catch_up(&self) -> Result<(), ArmError> {
        let size = self.journal.size();
        let covered = self.covered().map_err(ControlError::from)?;
        // An index that knows more belongs to another journal, or the journal was cut: only the journal counts.
        let mut from = if covered > size { 0 } else { covered };
        if covered > size {
            let wiped = self
                .lock()
                .execute_batch("DELETE FROM event; UPDATE covered SET entries = 0;");
            wiped.map_err(ControlError::from)?;
        }
        while from < size {
            let to = size.min(from + ACTIVITY_REPLAY);
            let entries = self.journal.read(from, to)?;
            // What is no row was not written by this program; it stays in the journal and is not listed.
            let rows = (from..)
                .zip(entries)
                .filter_map(|(seq, entry)| Some((seq, serde_json::from_slice(&entry).ok()?)));
            let rows: Vec<(u64, Value)> = rows.collect();
            self.add(&rows, Some(to)).map_err(ControlError::from)?;
            from = to;
        }
        Ok(())
    }

    fn add(&self, rows: &[(u64, Value)], covered: Option<u64>) -> rusqlite::Result<()> {
        let text = |row: &Value, name: &str| {
            row.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut index = self.lock();
        let transaction = index.transaction()?;
        {
            let sql =
                "INSERT OR REPLACE INTO event (seq, at, grp, correlation, json) VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut statement = transaction.prepare_cached(sql)?;
            for (seq, row) in rows {
                statement.execute(rusqlite::params![
                    i64::try_from(*seq).unwrap_or(i64::MAX),
                    text(row, "eventTimestamp"),
                    text(row, "resourceGroupName").to_ascii_lowercase(),
                    text(row, "correlationId").to_ascii_lowercase(),
                    row.to_string(),
                ])?;
            }
            // Rows become durable in the order of the journal but may come here in another: what is covered without
            // a gap is one row further only if it is the next.
            let (sql, seq) = match covered {
                Some(covered) => ("UPDATE covered SET entries = max(entries, ?1)", covered),
                None => (
                    "UPDATE covered SET entries = entries + 1 WHERE entries = ?1",
                    rows.first().map_or(0, |(seq, _)| *seq),
                ),
            };
            transaction.execute(sql, [i64::try_from(seq).unwrap_or(i64::MAX)])?;
        }
        transaction.commit()
    }

    fn covered(&self) -> rusqlite::Result<u64> {
        let entries: i64 = self
            .lock()
            .query_row("SELECT entries FROM covered", [], |row| row.get(0))?;
        Ok(u64::try_from(entries).unwrap_or(0))
    }

    fn prune(&self, now_ms: i64) -> rusqlite::Result<()> {
        let kept = i64::try_from(ACTIVITY_KEPT.as_millis()).unwrap_or(i64::MAX);
        let oldest = time::text(now_ms.saturating_sub(kept));
        self.lock()
            .execute("DELETE FROM event WHERE at < ?1", [oldest])
            .map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
