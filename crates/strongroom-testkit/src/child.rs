//! The real program in a process of its own: for what only a process can suffer.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use strongroom::DataFolder;

use crate::error::TestkitError;
use crate::instance::Instance;

/// How long the program may take to be ready on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// How to start a child.
pub struct ChildOptions {
    folder: PathBuf,
    program: Option<PathBuf>,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    stderr: Option<PathBuf>,
}

impl ChildOptions {
    /// `strongroom up` on free ports, over this data folder.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            program: None,
            arguments: Vec::new(),
            variables: Vec::new(),
            stderr: None,
        }
    }

    /// One more argument of `strongroom up`.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Keeps what it says on stderr in this file.
    #[must_use]
    pub fn stderr(mut self, file: impl Into<PathBuf>) -> Self {
        self.stderr = Some(file.into());
        self
    }

    /// Another build of the program.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// The command line, ready to be run.
    pub fn command(&self) -> Result<Command, TestkitError> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => strongroom_program()?,
        };
        let mut command = Command::new(program);
        command
            .args(["up", "--https-port", "0", "--http-port", "0", "--data"])
            .arg(&self.folder)
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stderr(match &self.stderr {
                Some(file) => Stdio::from(std::fs::File::create(file)?),
                None => Stdio::null(),
            });
        Ok(command)
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> Result<Child, TestkitError> {
        let mut command = self.command()?;
        let folder = self.folder;
        tokio::task::spawn_blocking(move || Child::start(&mut command, &folder))
            .await
            .map_err(|error| TestkitError::NotReady(error.to_string()))?
    }
}

/// A running `strongroom up`; it is killed when this value goes.
pub struct Child {
    process: std::process::Child,
    instance: Instance,
}

impl Child {
    fn start(command: &mut Command, folder: &Path) -> Result<Self, TestkitError> {
        let folder = DataFolder::at(folder).map_err(|error| TestkitError::NotReady(error.to_string()))?;
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let output = process
            .stdout
            .take()
            .ok_or_else(|| TestkitError::NotReady("no stdout".to_owned()))?;
        let (ready, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output);
            let mut first = String::new();
            let read = lines.read_line(&mut first);
            // Nobody waits any more when the time is over.
            let _ = ready.send(read.is_ok_and(|length| length > 0));
            let _ = lines.read_to_end(&mut Vec::new());
        });
        let started = told.recv_timeout(READY) == Ok(true);
        let instance = if started {
            Instance::at(&folder)
        } else {
            Err(not_ready(&mut process, &folder))
        };
        match instance {
            Ok(instance) => Ok(Self { process, instance }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`, while others still talk to it.
    pub fn strike(&self) -> Result<(), TestkitError> {
        self.signal(Signal::KILL)
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(mut self) -> Result<ExitStatus, TestkitError> {
        self.process.kill()?;
        Ok(self.process.wait()?)
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(mut self) -> Result<ExitStatus, TestkitError> {
        self.signal(Signal::TERM)?;
        tokio::task::spawn_blocking(move || Ok(self.process.wait()?))
            .await
            .map_err(|error| TestkitError::NotReady(error.to_string()))?
    }

    /// The process stands still, as in a suspended machine.
    pub fn suspend(&self) -> Result<(), TestkitError> {
        self.signal(Signal::STOP)
    }

    /// It goes on.
    pub fn resume(&self) -> Result<(), TestkitError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), TestkitError> {
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| TestkitError::NotReady("no process id".to_owned()))?;
        kill_process(id, signal).map_err(|error| TestkitError::Io(error.into()))
    }
}

impl Deref for Child {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn not_ready(process: &mut std::process::Child, folder: &DataFolder) -> TestkitError {
    let state = match process.try_wait() {
        Ok(Some(status)) => format!("it ended with {status}"),
        _ => format!("not within {} s", READY.as_secs()),
    };
    let log = std::fs::read_to_string(folder.logs().join("strongroom.log")).unwrap_or_default();
    let last: Vec<&str> = log.lines().rev().take(5).collect();
    TestkitError::NotReady(format!(
        "{state}; last log lines, newest first:\n{}",
        last.join("\n")
    ))
}

/// One of the program's commands, such as `verify`, on a data folder, and what it said.
pub async fn strongroom_command(folder: &Path, arguments: &[&str]) -> Result<Output, TestkitError> {
    let mut command = tokio::process::Command::new(strongroom_program()?);
    command
        .args(arguments)
        .arg("--data")
        .arg(folder)
        .stdin(Stdio::null());
    Ok(command.output().await?)
}

/// The built program: where the test runner says, or beside the test's own binary.
pub fn strongroom_program() -> Result<PathBuf, TestkitError> {
    for name in [
        "NEXTEST_BIN_EXE_strongroom",
        "CARGO_BIN_EXE_strongroom",
        "STRONGROOM_BINARY",
    ] {
        if let Some(path) = std::env::var_os(name) {
            return Ok(path.into());
        }
    }
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join("strongroom"))
        .find(|path| path.is_file());
    found.ok_or_else(|| TestkitError::NoProgram(format!("no `strongroom` near {}", own.display())))
}
