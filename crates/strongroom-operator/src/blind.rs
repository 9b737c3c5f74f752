//! What can be said of the files without any key.

use std::path::Path;

use crate::database::Database;
use crate::error::VerifyError;
use crate::folder::{self, Found, Role};
use crate::limits::COMMIT_WAIT;
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
            Role::Lock | Role::Unknown => {
                report.unaccounted(&found.name, found.bytes, "the format names no such file");
            }
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

/// Blobs that no record refers to. A live service commits meanwhile, so a fresh look at the database decides, and a second one
/// after the time that a commit may take.
pub(crate) fn check_owners(folder: &Path, files: &[Found], report: &mut Report) -> Result<(), VerifyError> {
    let is_durable = |found: &&Found| matches!(found.role, Role::Blob | Role::Staged);
    let blobs = files.iter().filter(is_durable).collect();
    let mut strays = without_owner(folder, blobs, report)?;
    if !strays.is_empty() {
        std::thread::sleep(COMMIT_WAIT);
        strays = without_owner(folder, strays, report)?;
    }
    let database = Database::open(folder)?;
    for found in strays {
        if found.role == Role::Staged || database.gives_up(found.blob())? {
            report.bytes.add(Class::Incoming, found.bytes);
            continue;
        }
        let what = "no record refers to this blob, though one did: the database is older than it, or it was put there";
        report.unaccounted(&found.name, found.bytes, what);
    }
    Ok(())
}

/// Those that are there and that no record refers to now; the others are counted.
fn without_owner<'a>(
    folder: &Path,
    blobs: Vec<&'a Found>,
    report: &mut Report,
) -> Result<Vec<&'a Found>, VerifyError> {
    let database = Database::open(folder)?;
    let mut strays = Vec::new();
    for found in blobs {
        if database.refers_to(found.blob())? {
            report.bytes.add(Class::Sealed, found.bytes);
        } else if found.path.exists() {
            strays.push(found);
        }
    }
    Ok(strays)
}

fn check_blob(found: &Found, report: &mut Report) -> Result<(), VerifyError> {
    if found.role == Role::Incoming {
        report.bytes.add(Class::Incoming, found.bytes);
    }
    let mut first = None;
    folder::read(&found.path, |chunk| first = first.or(chunk.first().copied()))?;
    // One length byte opens the header: 40.
    if first.is_some_and(|byte| byte != 40) {
        report.fault(&found.name, "it does not begin as a sealed blob does");
    }
    Ok(())
}

fn check_text(found: &Found, documented: &[&str], report: &mut Report) -> Result<(), VerifyError> {
    let mut scanner = Scanner::new(documented);
    folder::read(&found.path, |chunk| scanner.feed(chunk))?;
    for (offset, length) in scanner.finish() {
        report.fault(
            &found.name,
            format!("{length} bytes of readable text at offset {offset}"),
        );
    }
    Ok(())
}
