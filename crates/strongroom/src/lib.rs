//! The program: configuration, composition, listeners and commands. Logic that is not one of these four is
//! in the wrong place here.

mod admin;
mod ai;
mod cli;
mod clock;
mod compose;
mod config;
mod deployments;
mod env;
mod first_start;
mod folder;
mod harden;
mod health;
mod journals;
mod limits;
mod listen;
mod local;
mod logs;
mod request_log;
mod server;
mod shutdown;
mod start;
mod status;
mod tls;
mod vaults;

// The public interface is:
pub use cli::{Cli, CliError, EXIT_CODES, Failure};
pub use clock::SystemClock;
pub use config::{EntraTenant, KeyFetching, Model, Settings};
pub use deployments::ModelError;
pub use env::{Environment, EnvironmentError};
pub use folder::{DataFolder, FolderError};
pub use harden::{Weakness, harden};
pub use listen::{DoorError, Routes};
pub use logs::{LogError, LogFormat};
pub use server::{LocalServer, ServerError};
pub use start::{BeforeVault, Outside, Running, StartError};
pub use tls::TlsError;
