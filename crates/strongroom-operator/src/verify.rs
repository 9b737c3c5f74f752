//! One run, from the files to the verdict.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use strongroom_seal::WrappedKey;

use crate::blind;
use crate::database::{
    BranchRow, Branches, Database, Object, PLACES, Page, PartRow, RECORD_PART, RecordRow, SlotRow,
};
use crate::error::VerifyError;
use crate::folder;
use crate::keys::{BranchKeys, BranchState, Unwrap};
use crate::limits::LOOKS;
use crate::links;
use crate::objects::{self, BlobFault};
use crate::report::{KindCount, Report};
use crate::statistics;

/// What to verify, and with what.
pub struct Verification<'a> {
    /// The `service` folder.
    pub folder: &'a Path,
    /// The way to the vault; `None` to look at the storage alone.
    pub keys: Option<&'a mut dyn Unwrap>,
}

/// Walks every byte under the folder. It blocks, for as long as the folder is large; a service that is at work on it goes on, and what
/// it deletes meanwhile is erased meanwhile. What came after the beginning is not looked at.
pub fn verify(verification: Verification<'_>) -> Result<Report, VerifyError> {
    let Verification { folder, keys } = verification;
    let mut report = Report {
        blind: keys.is_none(),
        ..Report::default()
    };
    // Files first, rows after: what a file's name says was committed is then in the database.
    // And whoever closes a file gives up every POSIX lock that this process holds on it, so the database is read as
    // a file before it is opened, or a checkpoint of the live service would pull the log from under a read.
    let files = folder::walk(folder)?;
    let schema = Database::open(folder)?.schema_texts()?;
    blind::check_files(&files, &schema, &mut report)?;
    let database = Database::open(folder)?;
    database.check_schema(&mut report)?;
    links::check(&database, &mut report)?;
    blind::tally_database(&database, &mut report)?;
    blind::check_owners(&database, &files, &mut report)?;
    statistics::check(&database, &mut report)?;
    let mut run = Run {
        folder,
        database: &database,
        source: keys,
        keys: BranchKeys::default(),
        report,
        counts: BTreeMap::new(),
    };
    for branch in database.branches()? {
        run.learn(&branch)?;
    }
    run.objects()?;
    Ok(run.finish())
}

struct Run<'a, 'k> {
    folder: &'a Path,
    database: &'a Database,
    /// `None` when blind.
    source: Option<&'k mut dyn Unwrap>,
    keys: BranchKeys,
    report: Report,
    counts: BTreeMap<(String, String, u32), Count>,
}

#[derive(Default)]
struct Count {
    key: String,
    objects: u64,
    opened: u64,
    bytes: u64,
}

/// What one look at an object showed.
#[derive(Default)]
struct Looked {
    sealed: Vec<Seen>,
    /// Where, and what.
    faults: Vec<(String, String)>,
}

/// A record or blob whose key is its own.
struct Seen {
    branch: u32,
    bytes: u64,
    is_opened: bool,
}

impl Run<'_, '_> {
    fn objects(&mut self) -> Result<(), VerifyError> {
        let last = self.database.newest()?;
        let mut from = last.map(|_| i64::MIN);
        while let (Some(first), Some(last)) = (from, last) {
            let Page { objects, branches } = self.database.page(first, last)?;
            from = objects.last().and_then(|object| object.record.seq.checked_add(1));
            for object in objects {
                self.object(object, &branches)?;
            }
        }
        Ok(())
    }

    /// Looks at an object. A fault counts if the object stands there as before once it was seen: otherwise it was changed or deleted
    /// under the look.
    fn object(&mut self, mut object: Object, branches: &Branches) -> Result<(), VerifyError> {
        let mut branches = Cow::Borrowed(branches);
        for look in 1..=LOOKS {
            self.learn_all(&branches)?;
            let looked = self.look(&object, &branches);
            if looked.faults.is_empty() {
                self.note(&object.record, looked, &branches);
                return Ok(());
            }
            let seq = object.record.seq;
            let Page {
                mut objects,
                branches: now,
            } = self.database.page(seq, seq)?;
            match objects.pop() {
                None => return Ok(()),
                Some(found) if found != object && look < LOOKS => {
                    object = found;
                    branches = Cow::Owned(now);
                }
                Some(_) => {
                    self.note(&object.record, looked, &branches);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn look(&self, object: &Object, branches: &Branches) -> Looked {
        let Object { record, key, parts } = object;
        let mut looked = Looked::default();
        let place = format!("{} {}", record.kind, record.id);
        if parts.len() as u64 != u64::from(record.parts) {
            looked.fault(&place, "the number of its blobs is not the one on record");
        }
        if !are_in_place(record, parts) {
            looked.fault(
                &place,
                "its blobs have no numbers of their own, or stand in places that are not its own",
            );
        }
        let stored = record.body.len() as u64;
        if let Some(wrapped) = looked.wrapped(key.as_ref(), record, &place, (RECORD_PART, stored)) {
            let sizes = parts.iter().map(|(part, _)| part);
            let opened = self.with_branch(record, &wrapped, |branch| {
                objects::open_record(branch, &wrapped, record, sizes).map_err(BlobFault::Bad)
            });
            looked.see(&place, &wrapped, stored, opened);
        }
        for (part, key) in parts {
            self.look_at_part(record, part, key.as_ref(), &mut looked);
        }
        for seen in &looked.sealed {
            if !branches.contains_key(&(record.account, seen.branch)) {
                let what = format!("branch version {} is not on record", seen.branch);
                looked.faults.push((place.clone(), what));
            }
        }
        looked
    }

    fn look_at_part(&self, record: &RecordRow, part: &PartRow, key: Option<&SlotRow>, looked: &mut Looked) {
        let place = format!("{} {} part {}", record.kind, record.id, part.part);
        let stored = match objects::stored_len(part, self.folder) {
            Ok(stored) => stored,
            Err(fault) => return looked.fault(&place, fault.what()),
        };
        let Some(wrapped) = looked.wrapped(key, record, &place, (part.part, stored)) else {
            return;
        };
        let opened = self.with_branch(record, &wrapped, |branch| {
            objects::open_blob(branch, &wrapped, record, part, self.folder)
        });
        looked.see(&place, &wrapped, stored, opened);
    }

    /// Unwraps branch versions that a rekey has made since the beginning.
    fn learn_all(&mut self, branches: &Branches) -> Result<(), VerifyError> {
        branches.values().try_for_each(|row| self.learn(row))
    }

    fn learn(&mut self, row: &BranchRow) -> Result<(), VerifyError> {
        match &mut self.source {
            Some(source) if !self.keys.has(&(row.account, row.version)) => {
                self.keys
                    .learn(row, &mut **source, self.database, &mut self.report)
            }
            _ => Ok(()),
        }
    }

    /// Runs `open` with the branch key. `None` when blind, or when that key itself was a fault already.
    fn with_branch(
        &self,
        record: &RecordRow,
        wrapped: &WrappedKey,
        open: impl FnOnce(&strongroom_seal::BranchKey) -> Result<(), BlobFault>,
    ) -> Option<Result<(), BlobFault>> {
        self.source.as_ref()?;
        let version = wrapped.branch_version().get();
        match self.keys.get(record.account, version) {
            BranchState::Known(branch) => Some(open(branch)),
            BranchState::Retired => {
                let what = format!("sealed under branch version {version}, which is before the pinned one");
                Some(Err(BlobFault::Bad(what)))
            }
            BranchState::Faulty => None,
        }
    }

    fn note(&mut self, record: &RecordRow, looked: Looked, branches: &Branches) {
        for (place, what) in looked.faults {
            self.report.fault(place, what);
        }
        for seen in looked.sealed {
            let name = (record.account.to_string(), record.kind.clone(), seen.branch);
            let count = self.counts.entry(name).or_default();
            count.objects += 1;
            count.opened += u64::from(seen.is_opened);
            count.bytes += seen.bytes;
            if let Some(row) = branches.get(&(record.account, seen.branch)) {
                count.key.clone_from(&row.key);
            }
        }
    }

    fn finish(mut self) -> Report {
        for ((account, kind, branch), count) in self.counts {
            self.report.sealed.push(KindCount {
                account,
                kind,
                branch,
                key: count.key,
                objects: count.objects,
                opened: count.opened,
                bytes: count.bytes,
            });
        }
        self.report
    }
}

/// Whether each blob has a number of its own and stands in a place of its record.
fn are_in_place(record: &RecordRow, parts: &[(PartRow, Option<SlotRow>)]) -> bool {
    let first = record.seq.checked_mul(PLACES);
    let is_in_place = |part: &PartRow| first.is_some_and(|first| (0..PLACES).contains(&(part.place - first)));
    parts.is_sorted_by(|(one, _), (next, _)| one.part < next.part)
        && parts.iter().all(|(part, _)| is_in_place(part))
}

impl Looked {
    fn fault(&mut self, place: &str, what: impl Into<String>) {
        self.faults.push((place.to_owned(), what.into()));
    }

    /// The wrapped key of a record or blob, if its slot says that it is its own.
    fn wrapped(
        &mut self,
        key: Option<&SlotRow>,
        record: &RecordRow,
        place: &str,
        (part, stored): (u32, u64),
    ) -> Option<WrappedKey> {
        let Some(row) = key else {
            self.fault(place, "its key slot is not there");
            return None;
        };
        objects::check_slot(row, record, part, stored)
            .map_err(|what| self.fault(place, what))
            .ok()
    }

    fn see(&mut self, place: &str, wrapped: &WrappedKey, bytes: u64, opened: Option<Result<(), BlobFault>>) {
        self.sealed.push(Seen {
            branch: wrapped.branch_version().get(),
            bytes,
            is_opened: matches!(opened, Some(Ok(()))),
        });
        if let Some(Err(fault)) = opened {
            self.fault(place, fault.what());
        }
    }
}
