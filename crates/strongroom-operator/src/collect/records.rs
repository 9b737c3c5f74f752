//! Audit events of vaults, as diagnostic settings write them to storage: one file an hour, one record a line.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{Recorder, RecorderError};
use crate::ask::Asker;
use crate::fact::{Bytes, Fact, Failure, Outcome, Request, Source};
use crate::{limits, question as word};

/// The folder of vaults' audit events, as storage accounts have it too.
const CATEGORY: &str = "insights-logs-auditevent";

/// A fact for each of the newest files, and one for what was left out or could not be read.
pub(super) fn read(asker: &Asker, recorder: &Recorder, folder: &Path) -> Result<(), RecorderError> {
    let mut files = Vec::new();
    let mut faults = Vec::new();
    walk(folder, 0, &mut files, &mut faults);
    // Their names are hours: the newest are the last. By vault, so that a busy one does not hide the others.
    files.sort();
    let mut newest: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files.into_iter().rev() {
        let of = newest.entry(about(&file).unwrap_or_default()).or_default();
        if of.len() < limits::AUDIT_FILES {
            of.push(file);
        }
    }
    let chosen: Vec<PathBuf> = newest.into_values().flatten().collect();
    asker.tally().plans(chosen.len() + faults.len());
    if chosen.is_empty() && faults.is_empty() {
        asker.tally().plans(1);
        faults.push((
            folder.to_owned(),
            "no audit events of vaults are there".to_owned(),
        ));
    }
    for file in chosen {
        keep(asker, recorder, &file, take(&file))?;
    }
    for (path, message) in faults {
        let failure = Failure::NotAsked;
        keep(asker, recorder, &path, Outcome::Failed { failure, message })?;
    }
    Ok(())
}

fn keep(asker: &Asker, recorder: &Recorder, path: &Path, outcome: Outcome) -> Result<(), RecorderError> {
    asker.tally().knew();
    let url = path.display().to_string();
    let fact = Fact {
        about: about(path),
        ..read_here(asker, Source::AuditLog, word::KEY_USE, url, outcome)
    };
    recorder.keep(&format!("READ {}", fact.request.url), &fact)
}

/// Keeps what `strongroom verify` said of the stored bytes: its report as JSON, or why there is none.
pub fn stored_bytes(
    asker: &Asker,
    recorder: &Recorder,
    report: Result<Vec<u8>, String>,
) -> Result<(), RecorderError> {
    let outcome = match report {
        Ok(bytes) => answered(bytes),
        Err(message) => Outcome::Failed {
            failure: Failure::Unreachable,
            message: message.chars().take(limits::MESSAGE).collect(),
        },
    };
    let what = "strongroom verify".to_owned();
    let fact = read_here(asker, Source::Verify, word::STORED_BYTES, what, outcome);
    recorder.keep("READ strongroom verify", &fact)
}

/// A fact of what was read on this machine.
fn read_here(asker: &Asker, source: Source, question: &str, url: String, outcome: Outcome) -> Fact {
    Fact {
        source,
        question: question.to_owned(),
        about: None,
        caller: asker.caller().to_owned(),
        request: Request {
            method: "READ".to_owned(),
            url,
            api_version: None,
            body: None,
        },
        outcome,
        received_ms: asker.now_ms(),
        clock_offset_ms: None,
    }
}

fn answered(bytes: Vec<u8>) -> Outcome {
    Outcome::Answered {
        status: 200,
        headers: BTreeMap::new(),
        body: Bytes(bytes),
    }
}

fn take(path: &Path) -> Outcome {
    let mut bytes = Vec::new();
    let most = limits::AUDIT_FILE_BYTES as u64;
    let read = fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > most => Outcome::Failed {
            failure: Failure::TooLarge,
            message: format!("the file has more than {most} bytes"),
        },
        Ok(_) => answered(bytes),
        Err(error) => unreadable(&error),
    }
}

fn unreadable(error: &io::Error) -> Outcome {
    Outcome::Failed {
        failure: Failure::Unreachable,
        message: error.to_string(),
    }
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, faults: &mut Vec<(PathBuf, String)>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return faults.push((folder.to_owned(), error.to_string())),
    };
    for entry in entries {
        let entry = match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
            Ok(entry) => entry,
            Err(error) => {
                faults.push((folder.to_owned(), error.to_string()));
                continue;
            }
        };
        let (kind, path) = entry;
        // Links are not followed: they could lead in a circle, or out.
        if kind.is_dir() && depth < limits::AUDIT_FOLDER_DEPTH {
            walk(&path, depth + 1, files, faults);
        } else if kind.is_file() && is_audit(&path) {
            files.push(path);
        }
    }
}

fn is_audit(path: &Path) -> bool {
    let in_category = path
        .components()
        .any(|part| part.as_os_str().eq_ignore_ascii_case(CATEGORY));
    in_category && path.extension().is_some_and(|ending| ending == "json")
}

/// The vault that a file is about: what stands in its path between `resourceId=` and the year.
fn about(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let (_, rest) = text.split_once("resourceId=")?;
    let (id, _) = rest.split_once("/y=")?;
    Some(format!("/{}", id.trim_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vault_stands_in_the_path_of_its_records() {
        let path =
            "d/insights-logs-auditevent/resourceId=/SUBSCRIPTIONS/S/X/V/y=2026/m=11/d=25/h=18/m=00/PT1H.json";
        assert_eq!(about(Path::new(path)).as_deref(), Some("/SUBSCRIPTIONS/S/X/V"));
        assert!(is_audit(Path::new(path)));
        assert!(!is_audit(Path::new(
            "d/insights-logs-requestresponse/resourceId=/S/y=2026/PT1H.json"
        )));
        assert_eq!(about(Path::new("PT1H.json")), None);
    }
}
