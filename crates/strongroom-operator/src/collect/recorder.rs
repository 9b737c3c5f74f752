//! Keeps facts in a folder as they come, so that a collection which is interrupted goes on where it was.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Scope;
use crate::ask::Count;
use crate::fact::{Fact, Failure, Outcome, decode, encode};
use crate::facts::{Facts, FactsError, IndexLine, fact_file, index_file, read_fact, read_index, run_file};
use crate::run::{Asked, Run};

/// Why facts could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The folder holds facts of a run that has ended. They are not overwritten: judge them as they are, or name another folder.
    #[error("{} holds the facts of a run that has ended; name another folder for a new one", .0.display())]
    Ended(PathBuf),
    /// The folder holds facts of a run that asks about something else, or in another's name.
    #[error("{} holds the facts of another run ({what} is another one); name another folder", folder.display())]
    Other {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// What is in the folder cannot be read.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// A file could not be written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl RecorderError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { path, cause }
    }
}

/// Writes one run's facts. Each is whole before the index names it.
pub struct Recorder {
    folder: PathBuf,
    state: Mutex<State>,
}

struct State {
    run: Run,
    index: File,
    /// What is answered, by the digest of what was sent.
    known: BTreeMap<String, Asked>,
}

impl Recorder {
    /// Begins a run in a folder, or goes on with the same run if it was interrupted there.
    pub fn begin(folder: &Path, run: Run, scope: &Scope) -> Result<Self, RecorderError> {
        let mut run = run;
        run.scope = scope.accounts.clone();
        match Facts::open(folder) {
            Ok(before) => go_on(folder, before.run(), &mut run)?,
            Err(FactsError::NoRun(_)) => make(folder)?,
            Err(error) => return Err(error.into()),
        }
        write_whole(&run_file(folder), &json(&run))?;
        let path = index_file(folder);
        let known = read_index(folder)?;
        // A line that was cut off would spoil the next one.
        let whole: Vec<u8> = known
            .iter()
            .flat_map(|(sent, asked)| index_line(sent, asked))
            .collect();
        write_whole(&path, &whole)?;
        let index = OpenOptions::new().append(true).open(&path);
        Ok(Self {
            folder: folder.to_owned(),
            state: Mutex::new(State {
                run,
                index: index.map_err(RecorderError::io(&path))?,
                known,
            }),
        })
    }

    /// When the run began, in milliseconds since the Unix epoch.
    pub(crate) fn started_ms(&self) -> u64 {
        self.state().run.started_ms
    }

    /// The subscriptions that the run is about.
    pub(crate) fn concerns(&self, subscriptions: &[String]) -> Result<(), RecorderError> {
        let mut state = self.state();
        state.run.subscriptions = subscriptions.to_vec();
        write_whole(&run_file(&self.folder), &json(&state.run))
    }

    /// The answer to what was sent before, if it will not be another one now: silence and refusals for lack of time are asked again.
    pub(crate) fn known(&self, sent: &str) -> Result<Option<Fact>, RecorderError> {
        let asked = self.state().known.get(sent).cloned();
        let Some(asked) = asked else {
            return Ok(None);
        };
        // What a crash cut off is not there, or is not what its name says.
        let Ok(bytes) = read_fact(&self.folder, &asked.fact) else {
            return Ok(None);
        };
        Ok(decode(&bytes).ok().filter(is_settled))
    }

    /// Keeps a fact. If it replaces an earlier answer to the same request, that one goes.
    pub(crate) fn keep(&self, sent: &str, fact: &Fact) -> Result<(), RecorderError> {
        let (id, bytes) = encode(fact);
        write_whole(&fact_file(&self.folder, &id), &bytes)?;
        let asked = Asked {
            question: fact.question.clone(),
            about: fact.about.clone(),
            fact: id,
        };
        let line = index_line(sent, &asked);
        let mut state = self.state();
        state
            .index
            .write_all(&line)
            .map_err(RecorderError::io(index_file(&self.folder)))?;
        let before = state.known.insert(sent.to_owned(), asked.clone());
        drop(state);
        if let Some(before) = before.filter(|before| before.fact != asked.fact) {
            // It may be gone already.
            let _ = fs::remove_file(fact_file(&self.folder, &before.fact));
        }
        Ok(())
    }

    /// Ends the run: from now on `run.json` says everything. `count` is what this part of it took.
    pub fn finish(self, ended_ms: u64, count: Count) -> Result<Facts, RecorderError> {
        let folder = self.folder.clone();
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut run = state.run;
        run.asked = state.known.into_values().collect();
        run.asked.sort();
        run.sent += count.sent;
        run.repeated += count.repeated;
        run.ended_ms = Some(ended_ms.max(run.started_ms));
        write_whole(&run_file(&folder), &json(&run))?;
        // Nobody reads it once the run has ended.
        let _ = fs::remove_file(index_file(&folder));
        Ok(Facts::open(&folder)?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_settled(fact: &Fact) -> bool {
    match &fact.outcome {
        Outcome::Answered { status, .. } => !matches!(status, 408 | 429 | 500..),
        Outcome::Failed { failure, .. } => !matches!(
            failure,
            Failure::Unreachable | Failure::TimedOut | Failure::NoToken
        ),
    }
}

/// An interrupted run goes on if it is the same one.
fn go_on(folder: &Path, before: &Run, run: &mut Run) -> Result<(), RecorderError> {
    if before.ended_ms.is_some() {
        return Err(RecorderError::Ended(folder.to_owned()));
    }
    let other = [
        ("the cloud", before.cloud != run.cloud),
        ("the tenant", before.tenant != run.tenant),
        ("the caller", before.caller != run.caller),
        ("the list of accounts", before.scope != run.scope),
        ("the program's version", before.tool != run.tool),
    ];
    if let Some((what, _)) = other.into_iter().find(|(_, differs)| *differs) {
        return Err(RecorderError::Other {
            folder: folder.to_owned(),
            what,
        });
    }
    run.started_ms = before.started_ms;
    run.subscriptions.clone_from(&before.subscriptions);
    Ok(())
}

/// Facts name people and networks: they are the owner's alone.
fn make(folder: &Path) -> Result<(), RecorderError> {
    let raw = folder.join("raw");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&raw)
        .map_err(RecorderError::io(raw))
}

fn index_line(sent: &str, asked: &Asked) -> Vec<u8> {
    let line = IndexLine {
        sent: sent.to_owned(),
        asked: asked.clone(),
    };
    let mut line = json(&line);
    line.push(b'\n');
    line
}

/// Text and numbers under text keys, which always can be written.
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Under another name first, so that nobody ever sees half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RecorderError> {
    let partial = path.with_extension("partial");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|cause| {
        let _ = fs::remove_file(&partial);
        RecorderError::Io {
            path: path.to_owned(),
            cause,
        }
    })
}
