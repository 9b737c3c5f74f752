//! Why a test's scaffolding did not stand.

use std::io;

/// The scaffolding failed; the thing under test may be fine.
#[derive(Debug, thiserror::Error)]
pub enum TestkitError {
    /// A file, a socket or a process.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The C compiler did not make the library.
    #[error("the C compiler did not make the library")]
    Compiler,
    /// The system in this process did not start.
    #[error("the system did not start: {0}")]
    Start(#[from] strongroom::StartError),
    /// The twin's listeners did not start.
    #[error("the twin did not start: {0}")]
    Server(#[from] strongroom::ServerError),
    /// The child process did not become ready in time, or ended before it was.
    #[error("the child is not ready: {0}")]
    NotReady(String),
    /// The `strongroom` program is not where tests find it; build it first.
    #[error("the program is not built: {0}")]
    NoProgram(String),
    /// The twin's database.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// The twin's account.
    #[error(transparent)]
    Control(#[from] strongroom_control::ControlError),
    /// The twin's vaults.
    #[error(transparent)]
    Vault(#[from] strongroom_vault::OpenVaultError),
    /// A request of the testkit's own.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// The instance's `env` file could not be used.
    #[error("{0}")]
    Environment(String),
}
