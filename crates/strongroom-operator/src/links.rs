//! What must point to one another in the database. Each row is held against the others of the same moment.

use rusqlite::{OptionalExtension as _, Row};

use crate::database::{Database, RECORD_PART};
use crate::error::VerifyError;
use crate::limits::PAGE_ROWS;
use crate::report::Report;

/// Every slot is free and overwritten or belongs to the object that it names, and every blob to a record. That each object's slot names
/// it, and so none serves two, is looked at where the object is.
pub(crate) fn check(database: &Database, report: &mut Report) -> Result<(), VerifyError> {
    let mut slots = Slots::default();
    let last = largest(database, "SELECT max(slot) FROM key_slot")?;
    let mut from = last.map(|_| i64::MIN);
    while let (Some(first), Some(last)) = (from, last) {
        from = database.at_once(|| slots.page(database, first, last))?;
    }
    let mut strays = 0;
    let last = largest(database, "SELECT max(place) FROM part")?;
    let mut from = last.map(|_| i64::MIN);
    while let (Some(first), Some(last)) = (from, last) {
        from = database.at_once(|| parts(database, first, last, &mut strays))?;
    }
    for (count, what) in [
        (slots.strays, "wrapped keys belong to no object"),
        (slots.dirty, "free key slots are not overwritten"),
        (strays, "blobs belong to no record"),
    ] {
        if count > 0 {
            report.fault("records.db", format!("{count} {what}"));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Slots {
    strays: u64,
    dirty: u64,
}

/// A slot without its key.
struct SlotRow {
    slot: i64,
    account: [u8; 16],
    owner: [u8; 20],
    /// Branch, owner and key are zeros.
    is_zero: bool,
}

impl Slots {
    /// Looks at some slots from `first` to `last`; says where to go on, `None` at the end.
    fn page(&mut self, database: &Database, first: i64, last: i64) -> Result<Option<i64>, VerifyError> {
        let sql = format!(
            "SELECT slot, account, owner, branch = zeroblob(4) AND owner = zeroblob(20) AND wrapped = zeroblob(81)
             FROM key_slot WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot LIMIT {PAGE_ROWS}"
        );
        let mut statement = database.connection.prepare_cached(&sql)?;
        let mut seen = None;
        for row in statement.query_map([first, last], slot_row)? {
            let row = row?;
            seen = Some(row.slot);
            if row.account == [0; 16] {
                self.dirty += u64::from(!row.is_zero);
            } else if !is_owned(database, &row)? {
                self.strays += 1;
            }
        }
        Ok(seen.and_then(|seen| seen.checked_add(1)))
    }
}

fn slot_row(row: &Row<'_>) -> rusqlite::Result<SlotRow> {
    Ok(SlotRow {
        slot: row.get(0)?,
        account: row.get(1)?,
        owner: row.get(2)?,
        is_zero: row.get(3)?,
    })
}

/// Whether the object that the slot names is there and has its key in this slot.
fn is_owned(database: &Database, slot: &SlotRow) -> Result<bool, VerifyError> {
    let [s0, s1, s2, s3, s4, s5, s6, s7, p0, p1, p2, p3, ..] = slot.owner;
    let record = i64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    let part = u32::from_be_bytes([p0, p1, p2, p3]);
    let sql = if part == RECORD_PART {
        "SELECT slot, account FROM record WHERE seq = ?1 AND ?2 = ?2"
    } else {
        "SELECT p.slot, r.account FROM part p JOIN record r ON r.seq = ?1
         WHERE p.place BETWEEN ?1 * 1024 AND ?1 * 1024 + 1023 AND p.part = ?2"
    };
    let mut statement = database.connection.prepare_cached(sql)?;
    let found: Option<(i64, [u8; 16])> = statement
        .query_row((record, part), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found == Some((slot.slot, slot.account)))
}

/// Looks at some blobs from `first` to `last` for such without a record; says where to go on, `None` at the end.
fn parts(database: &Database, first: i64, last: i64, strays: &mut u64) -> Result<Option<i64>, VerifyError> {
    let sql = format!(
        "SELECT place, EXISTS (SELECT 1 FROM record r WHERE r.seq = p.place >> 10) FROM part p
         WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT {PAGE_ROWS}"
    );
    let mut statement = database.connection.prepare_cached(&sql)?;
    let mut seen: Option<i64> = None;
    let rows = statement.query_map([first, last], |row| Ok((row.get(0)?, row.get::<_, bool>(1)?)))?;
    for row in rows {
        let (place, has_record) = row?;
        seen = Some(place);
        *strays += u64::from(!has_record);
    }
    Ok(seen.and_then(|seen| seen.checked_add(1)))
}

fn largest(database: &Database, sql: &str) -> Result<Option<i64>, VerifyError> {
    Ok(database.connection.query_row(sql, [], |row| row.get(0))?)
}
