//! A folder of facts: `raw/<id>.json`, one file a fact, and `run.json`, which says what was asked. A run that was interrupted has
//! `index.jsonl` in the place of the list in `run.json`: one line an answer, appended as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::fact::{DecodeError, Fact, FactId, decode};
use crate::limits;
use crate::run::{Asked, Run};

/// What was collected, as a reader sees it: one fact in memory at a time.
#[derive(Debug)]
pub struct Facts {
    folder: PathBuf,
    run: Run,
}

/// Why facts could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The folder holds no run: collect into it first.
    #[error("{} holds no facts; `strongroom check --facts {}` collects them there", .0.display(), .0.display())]
    NoRun(PathBuf),
    /// `run.json` or `index.jsonl` does not say what it must; collect anew, into another folder.
    #[error("{}: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: serde_json::Error,
    },
    /// A fact that the run names is not as it was; what was made of it cannot be trusted.
    #[error("the fact {id} is not what was collected: {cause}")]
    Changed {
        /// The fact.
        id: FactId,
        /// What is wrong.
        cause: Change,
    },
    /// A file could not be used.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// In what way a fact is not what was collected.
#[derive(Debug, thiserror::Error)]
pub enum Change {
    /// Other bytes.
    #[error("its bytes have another digest")]
    Digest,
    /// More bytes than any fact has.
    #[error("it is larger than any fact")]
    Size,
    /// The bytes are no fact.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl FactsError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { path, cause }
    }
}

impl Facts {
    /// The facts in a folder, of a run that has ended or was interrupted.
    pub fn open(folder: &Path) -> Result<Self, FactsError> {
        let path = run_file(folder);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                return Err(FactsError::NoRun(folder.to_owned()));
            }
            Err(cause) => return Err(FactsError::Io { path, cause }),
        };
        let mut run: Run =
            serde_json::from_slice(&text).map_err(|cause| FactsError::Damaged { path, cause })?;
        if run.ended_ms.is_none() {
            run.asked = read_index(folder)?.into_values().collect();
            run.asked.sort();
        }
        Ok(Self {
            folder: folder.to_owned(),
            run,
        })
    }

    /// What was asked, of whom, by whom.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// One fact, which is checked to be the one of that id.
    pub fn get(&self, id: &FactId) -> Result<Fact, FactsError> {
        decode_checked(id, &self.bytes(id)?)
    }

    /// One fact's bytes, checked.
    pub fn bytes(&self, id: &FactId) -> Result<Vec<u8>, FactsError> {
        read_fact(&self.folder, id)
    }

    /// The ids of all facts, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<FactId> {
        let ids: BTreeSet<&FactId> = self.run.asked.iter().map(|asked| &asked.fact).collect();
        ids.into_iter().cloned().collect()
    }

    /// All facts, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = Result<Fact, FactsError>> + '_ {
        self.ids().into_iter().map(|id| self.get(&id))
    }
}

fn decode_checked(id: &FactId, bytes: &[u8]) -> Result<Fact, FactsError> {
    decode(bytes).map_err(|cause| FactsError::Changed {
        id: id.clone(),
        cause: cause.into(),
    })
}

pub(crate) fn run_file(folder: &Path) -> PathBuf {
    folder.join("run.json")
}

pub(crate) fn index_file(folder: &Path) -> PathBuf {
    folder.join("index.jsonl")
}

pub(crate) fn fact_file(folder: &Path, id: &FactId) -> PathBuf {
    folder.join("raw").join(format!("{id}.json"))
}

pub(crate) fn read_fact(folder: &Path, id: &FactId) -> Result<Vec<u8>, FactsError> {
    let path = fact_file(folder, id);
    let changed = |cause| FactsError::Changed {
        id: id.clone(),
        cause,
    };
    let file = fs::File::open(&path).map_err(FactsError::io(&path))?;
    let mut bytes = Vec::new();
    let most = limits::FACT_BYTES as u64;
    let length = file
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(FactsError::io(&path))?;
    if length as u64 > most {
        return Err(changed(Change::Size));
    }
    if FactId::of(&bytes) != *id {
        return Err(changed(Change::Digest));
    }
    Ok(bytes)
}

/// The answers of an interrupted run by the digest of what was sent. A last line that was cut off counts for nothing.
pub(crate) fn read_index(folder: &Path) -> Result<BTreeMap<String, Asked>, FactsError> {
    let path = index_file(folder);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(cause) => return Err(FactsError::Io { path, cause }),
    };
    let mut answers: BTreeMap<String, Asked> = BTreeMap::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: IndexLine = serde_json::from_str(line).map_err(|cause| FactsError::Damaged {
            path: path.clone(),
            cause,
        })?;
        // What was asked again counts as it was answered last.
        answers.insert(line.sent, line.asked);
    }
    Ok(answers)
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct IndexLine {
    /// The digest of the request.
    pub(crate) sent: String,
    #[serde(flatten)]
    pub(crate) asked: Asked,
}
