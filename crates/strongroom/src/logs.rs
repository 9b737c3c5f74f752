//! Logs: to stderr for whoever watches, and as JSON lines under `logs/`. Only our own events below `warn`:
//! libraries at finer levels would print headers and bodies.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::folder::FolderError;
use crate::limits;

/// How stderr looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging for this process.
pub(crate) fn start(folder: &Path, format: LogFormat) -> Result<(), LogError> {
    let file = LogFile::open(&folder.join("strongroom.log"))?;
    let to_file = tracing_subscriber::fmt::layer()
        .json()
        .with_writer(file)
        .with_filter(filter());
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let to_stderr = match format {
        LogFormat::Human => stderr.with_target(false).with_filter(filter()).boxed(),
        LogFormat::Json => stderr.json().with_filter(filter()).boxed(),
    };
    tracing_subscriber::registry()
        .with(to_file)
        .with(to_stderr)
        .try_init()?;
    Ok(())
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be written: mend the folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Somebody in this process logs already.
    #[error("logging has started already: {0}")]
    Started(#[from] TryInitError),
}

fn filter() -> EnvFilter {
    const OURS: [&str; 9] = [
        "strongroom",
        "strongroom_azure",
        "strongroom_control",
        "strongroom_journal",
        "strongroom_models",
        "strongroom_operator",
        "strongroom_service",
        "strongroom_store",
        "strongroom_vault",
    ];
    OURS.iter()
        .filter_map(|name| format!("{name}=info").parse().ok())
        .fold(EnvFilter::new("warn"), EnvFilter::add_directive)
}

/// A log file of bounded size: when it is full it is moved aside, and the oldest goes.
#[derive(Clone)]
struct LogFile(Arc<Mutex<Open>>);

struct Open {
    path: PathBuf,
    file: File,
    written: u64,
}

impl LogFile {
    fn open(path: &Path) -> Result<Self, FolderError> {
        let at = |cause| FolderError::at(path, cause);
        let file = append_to(path).map_err(at)?;
        let written = file.metadata().map_err(at)?.len();
        Ok(Self(Arc::new(Mutex::new(Open {
            path: path.to_owned(),
            file,
            written,
        }))))
    }
}

impl Open {
    fn make_room(&mut self, length: usize) -> io::Result<()> {
        self.written = self.written.saturating_add(length as u64);
        if self.written <= limits::LOG_FILE {
            return Ok(());
        }
        for number in (1..limits::LOG_FILES_KEPT).rev() {
            // A number that is not there yet is no fault.
            let _ = std::fs::rename(aside(&self.path, number), aside(&self.path, number + 1));
        }
        std::fs::rename(&self.path, aside(&self.path, 1))?;
        self.file = append_to(&self.path)?;
        self.written = length as u64;
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.make_room(line.len())?;
        open.file.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_moved_aside_and_the_oldest_goes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("strongroom.log");
        let mut log = LogFile::open(&path).unwrap();
        let line = vec![b'x'; usize::try_from(limits::LOG_FILE).unwrap() / 2 + 1];
        for _ in 0..6 {
            log.write_all(&line).unwrap();
        }
        let files = std::fs::read_dir(place.path()).unwrap().count();
        assert_eq!(files, 1 + usize::try_from(limits::LOG_FILES_KEPT).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), line.len() as u64);
    }
}
