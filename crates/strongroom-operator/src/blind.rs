//! What can be said of the files without any key.

use crate::database::{Database, Owner};
use crate::error::VerifyError;
use crate::folder::{self, Found, Role};
use crate::report::{Class, Report};
use crate::text::Scanner;

/// Looks through every file: known by name, and free of readable text that nothing explains.
pub(crate) fn check_files(
    files: &[Found],
    schema: &[String],
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut documented: Vec<&str> = schema.iter().map(String::as_str).collect();
    // The file's own header, and names of the library's own.
    documented.extend([
        "SQLite format 3",
        "sqlite_autoindex",
        "sqlite_sequence",
        "CREATE TABLE sqlite_sequence(name,seq)",
    ]);
    for found in files {
        report.files += 1;
        let documented = match found.role {
            Role::Database | Role::DatabaseLog => documented.as_slice(),
            _ => &[],
        };
        check_text(found, documented, report)?;
        match found.role {
            Role::Database => {}
            Role::DatabaseLog => report.bytes.add(Class::Index, found.bytes),
            Role::Lock if found.bytes == 0 => {}
            Role::Blob | Role::Staged | Role::Incoming => check_blob(found, report)?,
            Role::Lock | Role::Unknown if found.is_there() => {
                report.unaccounted(&found.name, found.bytes, "the format names no such file");
            }
            Role::Lock | Role::Unknown => {}
        }
    }
    Ok(())
}

/// Adds the database's bytes by what they are.
pub(crate) fn tally_database(database: &Database, report: &mut Report) -> Result<(), VerifyError> {
    let sizes = database.sizes()?;
    let known = sizes.sealed + sizes.wrapped + sizes.clear + sizes.free;
    report.bytes.add(Class::Sealed, sizes.sealed);
    report.bytes.add(Class::WrappedKey, sizes.wrapped);
    report.bytes.add(Class::Clear, sizes.clear);
    report.bytes.add(Class::Erased, sizes.free);
    report.bytes.add(Class::Index, sizes.whole.saturating_sub(known));
    Ok(())
}

/// Blobs that no record refers to. A live service commits and deletes meanwhile: a settled blob's record was committed before the blob was
/// found, and a deleted object's blob is forgotten only after it is removed.
pub(crate) fn check_owners(
    database: &Database,
    files: &[Found],
    report: &mut Report,
) -> Result<(), VerifyError> {
    for found in files {
        if !matches!(found.role, Role::Blob | Role::Staged) {
            continue;
        }
        match database.owner(found.blob())? {
            Owner::Record => report.bytes.add(Class::Sealed, found.bytes),
            // Removed or settled since it was found.
            Owner::Deletion | Owner::Nobody if !found.is_there() => {}
            Owner::Deletion => report.bytes.add(Class::Incoming, found.bytes),
            Owner::Nobody if found.role == Role::Staged => report.bytes.add(Class::Incoming, found.bytes),
            Owner::Nobody => {
                let what = "no record refers to this blob, though one did: the database is older than it, or it was put there";
                report.unaccounted(&found.name, found.bytes, what);
            }
        }
    }
    Ok(())
}

fn check_blob(found: &Found, report: &mut Report) -> Result<(), VerifyError> {
    if found.role == Role::Incoming {
        report.bytes.add(Class::Incoming, found.bytes);
    }
    // One length byte opens the header: 40. What does not begin so is read again before it is a fault.
    for _ in 0..2 {
        let mut first = None;
        folder::read(&found.path, |chunk| first = first.or(chunk.first().copied()))?;
        if first.is_none_or(|byte| byte == 40) {
            return Ok(());
        }
    }
    report.fault(&found.name, "it does not begin as a sealed blob does");
    Ok(())
}

/// What is found is read again before it is a fault: a live service may have written at that very moment.
fn check_text(found: &Found, documented: &[&str], report: &mut Report) -> Result<(), VerifyError> {
    let mut texts = scan(found, documented)?;
    if !texts.is_empty() {
        let again = scan(found, documented)?;
        texts.retain(|text| again.contains(text));
    }
    for (offset, length) in texts {
        report.fault(
            &found.name,
            format!("{length} bytes of readable text at offset {offset}"),
        );
    }
    Ok(())
}

fn scan(found: &Found, documented: &[&str]) -> Result<Vec<(u64, usize)>, VerifyError> {
    let mut scanner = Scanner::new(documented);
    folder::read(&found.path, |chunk| scanner.feed(chunk))?;
    Ok(scanner.finish())
}
