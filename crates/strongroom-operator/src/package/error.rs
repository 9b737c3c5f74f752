use std::io;
use std::path::PathBuf;

use strongroom_journal::JournalError;

use super::key::SignError;
use crate::fact::{DecodeError, FactId};
use crate::facts::FactsError;

/// Why there is no package. Nothing is left where it was to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// There is something already. Take another name, or move it away: evidence is not overwritten.
    #[error("{}: there is something already; evidence is never overwritten", .0.display())]
    Exists(PathBuf),
    /// A fact could not be read.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// A fact is not in its form.
    #[error("fact {id}: {cause}")]
    Fact {
        /// Which.
        id: FactId,
        /// What is wrong with it.
        cause: DecodeError,
    },
    /// A finding stands on a fact that is not among those given. Judge the facts of this run.
    #[error("a finding stands on fact {0}, which is not among those of the run")]
    NoSuchFact(FactId),
    /// A finding is of a control that the catalogue does not have. Judge with the catalogue that is given.
    #[error("a finding is of control {0}, which the catalogue does not have")]
    NoSuchControl(String),
    /// There are more files than a package may have. Collect fewer subscriptions at once.
    #[error("a package holds at most {most} files")]
    TooManyFiles {
        /// How many it may have.
        most: usize,
    },
    /// The package is larger than a zip of its form may be. Write a folder.
    #[error("the package is too large for a zip; write a folder")]
    TooLargeForZip,
    /// The evidence log has as many entries as one may have. Move its folder aside; the next run begins a new one.
    #[error(
        "the evidence log is full; move its folder aside to begin a new one, and tell who pinned the old one"
    )]
    LogFull,
    /// Another run writes to the evidence log. Try again when it is done.
    #[error("another run writes to the evidence log")]
    LogInUse,
    /// The evidence log did not do it.
    #[error("the evidence log: {0}")]
    Log(#[from] JournalError),
    /// The signature was not made.
    #[error("the package could not be signed: {0}")]
    Sign(#[from] SignError),
    /// A time lies beyond any calendar.
    #[error("{0} ms is no time")]
    Time(u64),
    /// A file could not be written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl PackageError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { path, cause }
    }
}
