use std::io;
use std::path::PathBuf;

/// Why the control plane did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such account, principal, vault or deployment.
    #[error("there is no {what} called {name}")]
    NotFound {
        /// Its kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The name is taken by something else.
    #[error("the {what} {name} exists already, with other properties")]
    AlreadyExists {
        /// Its kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The name has a character that it may not have, or is too long.
    #[error("{name} is no name for a {what}")]
    BadName {
        /// Its kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The customer key is not named as a vault could name it.
    #[error("the customer key: {0}")]
    KeyName(#[source] strongroom_seal::KeyIdError),
    /// There are as many role assignments as there may be.
    #[error("there are too many role assignments")]
    TooManyAssignments,
    /// The database could not be read or written.
    #[error("control.db: {0}")]
    Database(#[from] rusqlite::Error),
    /// A document in the database does not have the form that it must have.
    #[error("control.db holds a malformed document: {0}")]
    Document(#[from] serde_json::Error),
    /// The database was written by a later version of the program.
    #[error("control.db has format version {found}, this program knows {known}")]
    FutureFormat {
        /// The version found.
        found: i64,
        /// The version known.
        known: i64,
    },
    /// A key or secret of the control plane could not be made or read.
    #[error("{}: missing, not readable by its owner alone, or not a key of the control plane", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no randomness.
    #[error("the system's randomness is not available")]
    NoRandomness,
    /// The work broke off; try again.
    #[error("the work was interrupted")]
    Interrupted,
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why an anchor was not moved.
#[derive(Debug, thiserror::Error)]
pub enum AnchorFault {
    /// It is not where the caller thought.
    #[error("the anchor is not where it was expected")]
    Moved,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// It could not be kept.
    #[error(transparent)]
    Control(#[from] ControlError),
}
