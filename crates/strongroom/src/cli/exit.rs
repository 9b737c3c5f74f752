//! How a command ends: one list of exit codes, and errors that say what happened and what to do.

use std::path::PathBuf;
use std::process::ExitCode;

/// What every `--help` says about exit codes.
pub const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed for a reason that the message gives
  2   the command line is wrong
  3   check: a control fails, or a criterion of the design is not met; evidence verify: it was changed
  4   check: no control fails, but some could not be checked; evidence verify: intact, but not proven
  5   design diff: what is live differs from what was approved
  64  the configuration is wrong
  65  verify found something that is not as it must be
  69  no instance runs on the data folder
  75  another instance uses the data folder
  77  refused: the permission is missing, or the customer key does not allow it";

/// A command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line asks for something that cannot be asked for.
    #[error("{0}")]
    Usage(String),
    /// Controls fail.
    #[error("{failed} findings fail and {unchecked} could not be checked; see the lines above")]
    ControlsFail {
        /// Findings that fail.
        failed: usize,
        /// Findings that could not be checked.
        unchecked: usize,
    },
    /// The design's criteria are not met.
    #[error("{0} of the design's criteria are not met; see the lines above")]
    NotAccepted(usize),
    /// No control fails, but what could not be seen might.
    #[error(
        "nothing fails, but {0} findings could not be checked; `strongroom whoami` shows what may be read"
    )]
    Unchecked(usize),
    /// What is live is not what was approved.
    #[error("{0} differences between what was approved and what is live")]
    Drift(usize),
    /// A package of evidence is not what was signed.
    #[error("the package is not what was signed: {0} defects; see the lines above")]
    Changed(u64),
    /// A package of evidence is intact, and what would prove whose it is was not given.
    #[error("the package is intact, but nothing proves whose it is; see the lines above")]
    NotProven,
    /// A setting cannot be used: all of them in one report.
    #[error("{}", .0.join("\n"))]
    Configuration(Vec<String>),
    /// The data folder is taken.
    #[error("another instance runs on {}; use it (`strongroom status`), or stop it first", .0.display())]
    InUse(PathBuf),
    /// Nothing runs there.
    #[error("no instance runs on {}; start one with `strongroom up --data {}`", .0.display(), .0.display())]
    NotRunning(PathBuf),
    /// The vault or the service said no.
    #[error("refused: {code}: {message}")]
    Refused {
        /// The error code of the answer.
        code: String,
        /// Its message.
        message: String,
    },
    /// The vault or the service could not do it.
    #[error("failed: {code}: {message}")]
    Answered {
        /// The error code of the answer.
        code: String,
        /// Its message.
        message: String,
    },
    /// Something is stored that must not be there, or is not what it must be.
    #[error("{0} of the things found are not as they must be; see the lines above")]
    NotClean(u64),
    /// The instance did not start, or a file could not be used.
    #[error("{0}")]
    Failed(#[from] Failure),
}

/// What stopped a command, beside an answer of the instance.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The instance could not start.
    #[error(transparent)]
    Start(#[from] crate::StartError),
    /// The data folder could not be used.
    #[error(transparent)]
    Folder(#[from] crate::folder::FolderError),
    /// The shell file could not be read.
    #[error(transparent)]
    Environment(#[from] crate::env::EnvironmentError),
    /// Logging could not start.
    #[error(transparent)]
    Log(#[from] crate::logs::LogError),
    /// The instance answered with something else than its protocol.
    #[error("the instance gave an answer that this command does not understand: {0}")]
    Protocol(&'static str),
    /// The connection to the instance broke.
    #[error("the connection to the instance broke: {0}")]
    Connection(String),
    /// A file or the terminal.
    #[error("{what}: {cause}")]
    Io {
        /// What was touched.
        what: String,
        /// What the system answered.
        cause: std::io::Error,
    },
    /// The cloud could not be asked.
    #[error("{0}")]
    Cloud(String),
    /// There is no package of evidence.
    #[error("{0}")]
    Evidence(String),
    /// The second reader could not read at all.
    #[error("cannot verify: {0}")]
    Verify(String),
}

impl CliError {
    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Answered { .. } | Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::ControlsFail { .. } | Self::NotAccepted(_) | Self::Changed(_) => 3,
            Self::Unchecked(_) | Self::NotProven => 4,
            Self::Drift(_) => 5,
            Self::Configuration(_) => 64,
            Self::NotClean(_) => 65,
            Self::NotRunning(_) => 69,
            Self::InUse(_) => 75,
            Self::Refused { .. } => 77,
        })
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |cause| Failure::Io { what, cause }.into()
    }
}
