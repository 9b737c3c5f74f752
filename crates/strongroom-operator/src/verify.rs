//! One run, from the files to the verdict.

use std::collections::BTreeMap;
use std::path::Path;

use strongroom_seal::WrappedKey;

use crate::blind;
use crate::database::{BranchRow, Database, PartRow, RECORD_PART, RecordRow, UsageRow};
use crate::error::VerifyError;
use crate::folder;
use crate::keys::{self, BranchKeys, BranchState, Unwrap};
use crate::objects::{self, BlobFault};
use crate::report::{KindCount, Report};

/// What to verify, and with what.
pub struct Verification<'a> {
    /// The `service` folder.
    pub folder: &'a Path,
    /// The way to the vault; `None` to look at the storage alone.
    pub keys: Option<&'a mut dyn Unwrap>,
}

/// Walks every byte under the folder. It blocks, for as long as the folder is large.
pub fn verify(verification: Verification<'_>) -> Result<Report, VerifyError> {
    let Verification { folder, keys } = verification;
    let mut report = Report {
        blind: keys.is_none(),
        ..Report::default()
    };
    // Files first, the snapshot after: a blob that is durable before its record commits is then in the snapshot.
    // And whoever closes a file gives up every POSIX lock that this process holds on it, so the database is read as
    // a file before its snapshot is taken, or a checkpoint of the live service would pull the log from under it.
    let files = folder::walk(folder)?;
    let schema = Database::open(folder)?.schema_texts()?;
    blind::check_files(&files, &schema, &mut report)?;
    let database = Database::open(folder)?;
    database.check_schema(&mut report)?;
    database.check_links(&mut report)?;
    blind::tally_database(&database, &mut report)?;
    blind::check_owners(folder, &files, &mut report)?;
    let branches = database.branches()?;
    let keys = keys.map(|source| keys::load(&branches, source, &mut report));
    let mut run = Run {
        folder,
        database: &database,
        keys,
        report,
        counts: BTreeMap::new(),
    };
    database.each_record(|record| run.record(&record))?;
    run.check_usage(&database.usage()?);
    Ok(run.finish(&branches))
}

struct Run<'a> {
    folder: &'a Path,
    database: &'a Database,
    keys: Option<BranchKeys>,
    report: Report,
    counts: BTreeMap<(String, String, u32), Count>,
}

#[derive(Default)]
struct Count {
    records: u64,
    objects: u64,
    opened: u64,
    bytes: u64,
}

impl Run<'_> {
    fn record(&mut self, record: &RecordRow) -> Result<(), VerifyError> {
        let place = format!("{} {}", record.kind, record.id);
        let parts = self.database.parts(record.seq)?;
        if parts.len() as u64 != u64::from(record.parts) {
            self.report
                .fault(&place, "the number of its blobs is not the one on record");
        }
        let stored = record.body.len() as u64;
        if let Some(wrapped) = self.wrapped(record, &place, (record.slot, RECORD_PART, stored))? {
            let opened = self.with_branch(record, &wrapped, |branch| {
                objects::open_record(branch, &wrapped, record, &parts).map_err(BlobFault::Bad)
            });
            self.note(record, &place, &wrapped, stored, opened).records += 1;
        }
        for part in &parts {
            self.part(record, part)?;
        }
        Ok(())
    }

    fn part(&mut self, record: &RecordRow, part: &PartRow) -> Result<(), VerifyError> {
        let place = format!("{} {} part {}", record.kind, record.id, part.part);
        let stored = match objects::stored_len(part, self.folder) {
            Ok(stored) => stored,
            Err(BlobFault::Missing) if self.was_deleted(record, part)? => objects::expected_len(part),
            Err(fault) => {
                self.report.fault(&place, fault.what());
                return Ok(());
            }
        };
        let Some(wrapped) = self.wrapped(record, &place, (part.slot, part.part, stored))? else {
            return Ok(());
        };
        let folder = self.folder;
        let opened = self.with_branch(record, &wrapped, |branch| {
            objects::open_blob(branch, &wrapped, record, part, folder)
        });
        let opened = match opened {
            Some(Err(BlobFault::Missing)) if self.was_deleted(record, part)? => None,
            opened => opened,
        };
        let _ = self.note(record, &place, &wrapped, stored, opened);
        Ok(())
    }

    /// A missing file is no fault if its object was deleted since the snapshot, to whose statistics it belongs all the same.
    fn was_deleted(&self, record: &RecordRow, part: &PartRow) -> Result<bool, VerifyError> {
        Ok(!Database::open(self.folder)?.holds_part(record.seq, part.part)?)
    }

    /// The wrapped key of an object, if its slot says that it is this object's.
    fn wrapped(
        &mut self,
        record: &RecordRow,
        place: &str,
        (slot, part, stored): (i64, u32, u64),
    ) -> Result<Option<WrappedKey>, VerifyError> {
        let Some(row) = self.database.slot(slot)? else {
            self.report.fault(place, "its key slot is not there");
            return Ok(None);
        };
        match objects::check_slot(&row, record, part, stored) {
            Ok(wrapped) => Ok(Some(wrapped)),
            Err(what) => {
                self.report.fault(place, what);
                Ok(None)
            }
        }
    }

    /// Runs `open` with the branch key. `None` when blind, or when that key itself was a fault already.
    fn with_branch(
        &self,
        record: &RecordRow,
        wrapped: &WrappedKey,
        open: impl FnOnce(&strongroom_seal::BranchKey) -> Result<(), BlobFault>,
    ) -> Option<Result<(), BlobFault>> {
        let version = wrapped.branch_version().get();
        match self.keys.as_ref()?.get(record.account, version) {
            BranchState::Known(branch) => Some(open(branch)),
            BranchState::Retired => {
                let what = format!("sealed under branch version {version}, which is before the pinned one");
                Some(Err(BlobFault::Bad(what)))
            }
            BranchState::Faulty => None,
        }
    }

    fn note(
        &mut self,
        record: &RecordRow,
        place: &str,
        wrapped: &WrappedKey,
        stored: u64,
        opened: Option<Result<(), BlobFault>>,
    ) -> &mut Count {
        let key = (
            record.account.to_string(),
            record.kind.clone(),
            wrapped.branch_version().get(),
        );
        let count = self.counts.entry(key).or_default();
        count.objects += 1;
        count.bytes += stored;
        match opened {
            Some(Ok(())) => count.opened += 1,
            Some(Err(fault)) => self.report.fault(place, fault.what()),
            None => {}
        }
        count
    }

    /// The statistics are what the objects bear out, no more and no less.
    fn check_usage(&mut self, usage: &[UsageRow]) {
        let counted: BTreeMap<_, _> = self
            .counts
            .iter()
            .map(|(key, count)| (key.clone(), (count.records, count.bytes)))
            .collect();
        let stated: BTreeMap<_, _> = usage
            .iter()
            .filter(|row| row.records + row.bytes > 0)
            .map(|row| {
                (
                    (row.account.to_string(), row.kind.clone(), row.branch),
                    (row.records, row.bytes),
                )
            })
            .collect();
        if counted != stated {
            self.report
                .fault("records.db", "the statistics are not what the objects bear out");
        }
    }

    fn finish(mut self, branches: &[BranchRow]) -> Report {
        for ((account, kind, branch), count) in self.counts {
            let row = branches
                .iter()
                .find(|row| row.version == branch && row.account.to_string() == account);
            if row.is_none() {
                self.report.fault(
                    format!("{kind} objects"),
                    format!("branch version {branch} is not on record"),
                );
            }
            self.report.sealed.push(KindCount {
                account,
                kind,
                branch,
                key: row.map(|row| row.key.clone()).unwrap_or_default(),
                objects: count.objects,
                opened: count.opened,
                bytes: count.bytes,
            });
        }
        self.report
    }
}
