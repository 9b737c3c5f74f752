//! Opens and authenticates one object: its record, its blobs, and what stands in the clear beside them.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use strongroom_seal::{BranchKey, Context, ObjectKey, WrappedKey, blob_layout, open_stream};

use crate::database::{PartRow, RECORD_PART, RecordRow, SlotRow};
use crate::folder;

/// The first byte inside a record's seal.
const ENVELOPE: u8 = 1;

/// What an object's key slot must say of its owner.
pub(crate) fn check_slot(
    slot: &SlotRow,
    record: &RecordRow,
    part: u32,
    stored: u64,
) -> Result<WrappedKey, String> {
    let mut owner = [0; 20];
    let fields = record
        .seq
        .to_be_bytes()
        .into_iter()
        .chain(part.to_be_bytes())
        .chain(stored.to_be_bytes());
    owner
        .iter_mut()
        .zip(fields)
        .for_each(|(byte, field)| *byte = field);
    if slot.account != *record.account.as_bytes() || slot.owner != owner {
        return Err("its key slot belongs to something else".to_owned());
    }
    let wrapped = WrappedKey::parse(&slot.wrapped).map_err(|error| format!("its wrapped key: {error}"))?;
    if wrapped.branch_version().get().to_be_bytes() != slot.branch {
        return Err("its key slot and its wrapped key name different branch versions".to_owned());
    }
    Ok(wrapped)
}

/// Opens a record and compares the clear columns with what is inside.
pub(crate) fn open_record<'p>(
    branch: &BranchKey,
    wrapped: &WrappedKey,
    record: &RecordRow,
    parts: impl Iterator<Item = &'p PartRow>,
) -> Result<(), String> {
    let (context, key) = unwrap(branch, wrapped, record, RECORD_PART)?;
    let plain = key
        .open_record(&context, &record.body)
        .map_err(|error| error.to_string())?;
    if plain.starts_with(&envelope(record, parts)) {
        Ok(())
    } else {
        Err("what stands in the clear is not what the seal holds".to_owned())
    }
}

/// Opens every segment of a blob and lets the content go.
pub(crate) fn open_blob(
    branch: &BranchKey,
    wrapped: &WrappedKey,
    record: &RecordRow,
    part: &PartRow,
    folder: &Path,
) -> Result<(), BlobFault> {
    let (context, key) = unwrap(branch, wrapped, record, part.part).map_err(BlobFault::Bad)?;
    let bad = |error: &dyn std::fmt::Display| BlobFault::Bad(error.to_string());
    let open = |stored: u64, reader: &mut dyn Read| {
        open_stream(&key, &context, stored, reader, io::sink()).map_err(|error| bad(&error))
    };
    let plain = match (&part.file, &part.body) {
        (Some(name), None) => {
            let file = open_file(folder, name)?;
            let stored = file.metadata().map_err(|error| bad(&error))?.len();
            open(stored, &mut BufReader::new(file))?
        }
        (None, Some(body)) => open(body.len() as u64, &mut body.as_slice())?,
        _ => return Err(BlobFault::Bad("it is neither inline nor in a file".to_owned())),
    };
    if plain == part.size {
        Ok(())
    } else {
        Err(BlobFault::Bad("its length is not the one on record".to_owned()))
    }
}

/// The length of a blob as it is stored, without opening it.
pub(crate) fn stored_len(part: &PartRow, folder: &Path) -> Result<u64, BlobFault> {
    let stored = match (&part.file, &part.body) {
        (Some(name), None) => open_file(folder, name)?.metadata().map(|metadata| metadata.len()),
        (None, Some(body)) => Ok(body.len() as u64),
        _ => return Err(BlobFault::Bad("it is neither inline nor in a file".to_owned())),
    };
    let stored = stored.map_err(|error| BlobFault::Bad(error.to_string()))?;
    if blob_layout::plain_len(stored) == Ok(part.size) {
        Ok(stored)
    } else {
        Err(BlobFault::Bad("its length is not the one on record".to_owned()))
    }
}

/// Why a blob did not prove to be what it should.
pub(crate) enum BlobFault {
    /// Its file is not there. The object may have been deleted meanwhile.
    Missing,
    /// It is there and wrong.
    Bad(String),
}

impl BlobFault {
    /// In words.
    pub(crate) fn what(self) -> String {
        match self {
            Self::Missing => "its file is not there".to_owned(),
            Self::Bad(what) => what,
        }
    }
}

fn open_file(folder: &Path, name: &str) -> Result<File, BlobFault> {
    folder::open_blob(folder, name).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BlobFault::Missing,
        _ => BlobFault::Bad(error.to_string()),
    })
}

fn unwrap<'a>(
    branch: &BranchKey,
    wrapped: &WrappedKey,
    record: &'a RecordRow,
    part: u32,
) -> Result<(Context<'a>, ObjectKey), String> {
    let context =
        Context::new(record.account, &record.kind, &record.id, part).map_err(|error| error.to_string())?;
    let key = branch
        .unwrap(&context, wrapped)
        .map_err(|error| format!("its wrapped key: {error}"))?;
    Ok((context, key))
}

/// The clear columns as they are repeated at the head of a record's plaintext.
fn envelope<'p>(record: &RecordRow, parts: impl Iterator<Item = &'p PartRow>) -> Vec<u8> {
    let mut bytes = vec![ENVELOPE];
    bytes.extend_from_slice(&record.created.to_be_bytes());
    bytes.extend_from_slice(&record.expires.unwrap_or(0).to_be_bytes());
    bytes.extend_from_slice(&record.revision.to_be_bytes());
    bytes.extend_from_slice(&record.parts.to_be_bytes());
    for part in parts {
        bytes.extend_from_slice(&part.part.to_be_bytes());
        bytes.extend_from_slice(&part.size.to_be_bytes());
    }
    bytes
}
