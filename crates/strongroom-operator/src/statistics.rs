//! The statistics against what they count.

use std::collections::BTreeMap;

use strongroom_seal::blob_layout;

use crate::database::{Database, unsigned};
use crate::error::VerifyError;
use crate::report::Report;

/// An object at a time: whose it is, under which branch version, its sealed bytes or how many they were before sealing.
const RECORDS: &str = "SELECT r.account, r.kind, k.branch, length(r.body), 0
    FROM record r JOIN key_slot k ON k.slot = r.slot";
const PARTS: &str = "SELECT r.account, r.kind, k.branch, length(p.body), p.size
    FROM part p JOIN record r ON r.seq = p.place >> 10 JOIN key_slot k ON k.slot = p.slot";

/// Records and sealed bytes by account, kind and branch version.
type Usage = BTreeMap<([u8; 16], String, u32), (u64, u64)>;

/// The statistics are what the objects bear out, no more and no less. They change with every object, so both are read at once: the
/// longest read there is, though of small columns alone.
pub(crate) fn check(database: &Database, report: &mut Report) -> Result<(), VerifyError> {
    let (stated, counted) = database.at_once(|| Ok((stated(database)?, counted(database)?)))?;
    if stated != counted {
        report.fault("records.db", "the statistics are not what the objects bear out");
    }
    Ok(())
}

fn stated(database: &Database) -> Result<Usage, VerifyError> {
    let sql = "SELECT account, kind, branch, objects, bytes FROM usage WHERE objects <> 0 OR bytes <> 0";
    let mut statement = database.connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let counts = (unsigned(row.get(3)?), unsigned(row.get(4)?));
        Ok(((row.get(0)?, row.get(1)?, row.get(2)?), counts))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn counted(database: &Database) -> Result<Usage, VerifyError> {
    let mut counted = Usage::new();
    for (sql, records) in [(RECORDS, 1), (PARTS, 0)] {
        let mut statement = database.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let branch: [u8; 4] = row.get(2)?;
            let bytes = match row.get::<_, Option<i64>>(3)? {
                Some(stored) => unsigned(stored),
                // Whether its file has this length is looked at where the file is opened.
                None => blob_layout::stored_len(unsigned(row.get(4)?)).unwrap_or(0),
            };
            let name = (row.get(0)?, row.get(1)?, u32::from_be_bytes(branch));
            let counts = counted.entry(name).or_default();
            *counts = (counts.0 + records, counts.1 + bytes);
        }
    }
    Ok(counted)
}
