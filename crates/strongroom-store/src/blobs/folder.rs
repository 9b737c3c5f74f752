//! Blobs as files: `blobs/xx/<name>` when durable, `blobs/incoming/<name>` before.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use strongroom_seal::BoxFuture;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{AppendError, BlobName, BlobSink, BlobSource, Blobs};
use crate::{error::StorageFault, sealing::SealedSegment};

const INCOMING: &str = "incoming";

/// A folder of sealed blobs.
pub(crate) struct Folder {
    root: Arc<PathBuf>,
}

impl Folder {
    /// Opens the folder, making it if there is none.
    pub(crate) fn open(root: PathBuf) -> io::Result<Self> {
        make_folder(&root)?;
        make_folder(&root.join(INCOMING))?;
        Ok(Self { root: Arc::new(root) })
    }
}

impl Blobs for Folder {
    fn create(&self) -> Box<dyn BlobSink> {
        Box::new(Incoming {
            root: Arc::clone(&self.root),
            name: BlobName::random(),
            file: None,
        })
    }

    fn open(&self, name: BlobName) -> BoxFuture<'_, Result<Option<Box<dyn BlobSource>>, StorageFault>> {
        let path = home(&self.root, name);
        Box::pin(async move {
            in_background(move || match File::open(path) {
                Ok(file) => {
                    let len = file.metadata()?.len();
                    Ok(Some(Box::new(Durable {
                        file: Arc::new(file),
                        len,
                    }) as Box<dyn BlobSource>))
                }
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            })
            .await
        })
    }

    fn remove(&self, name: BlobName) -> BoxFuture<'_, Result<(), StorageFault>> {
        let path = home(&self.root, name);
        Box::pin(in_background(move || remove_if_there(&path).map_err(Into::into)))
    }

    fn sweep(&self) -> BoxFuture<'_, Result<Vec<BlobName>, StorageFault>> {
        let root = Arc::clone(&self.root);
        Box::pin(in_background(move || sweep(&root).map_err(Into::into)))
    }
}

/// A file that is not durable yet.
struct Incoming {
    root: Arc<PathBuf>,
    name: BlobName,
    file: Option<File>,
}

impl Incoming {
    fn path(&self) -> PathBuf {
        self.root.join(INCOMING).join(self.name.to_string())
    }
}

impl BlobSink for Incoming {
    fn append(&mut self, mut segment: SealedSegment) -> BoxFuture<'_, Result<SealedSegment, AppendError>> {
        Box::pin(async move {
            let (file, path) = (self.file.take(), self.path());
            let (file, segment) = in_background(move || -> Result<_, AppendError> {
                let mut file = match file {
                    Some(file) => file,
                    None => create_new(&path).map_err(StorageFault::from)?,
                };
                segment
                    .with_bytes(|bytes| file.write_all(bytes))?
                    .map_err(StorageFault::from)?;
                Ok((file, segment))
            })
            .await?;
            self.file = Some(file);
            Ok(segment)
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<BlobName, StorageFault>> {
        Box::pin(in_background(move || {
            let file = self
                .file
                .take()
                .ok_or_else(|| StorageFault::new("a blob without bytes"))?;
            let (from, to) = (self.path(), home(&self.root, self.name));
            let made = make_durable(&file, &from, &to, &self.root);
            // On failure the drop of `self` removes the incoming file.
            self.file = made.is_err().then_some(file);
            made?;
            Ok(self.name)
        }))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        drop(file);
        let path = self.path();
        let remove = move || {
            if let Err(error) = remove_if_there(&path) {
                warn!(%error, "an aborted blob stays until the sweep at the next start");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// A durable file.
struct Durable {
    file: Arc<File>,
    len: u64,
}

impl BlobSource for Durable {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, mut buffer: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, StorageFault>> {
        let file = Arc::clone(&self.file);
        Box::pin(in_background(move || {
            file.read_exact_at(&mut buffer, offset)?;
            Ok(buffer)
        }))
    }
}

/// Runs file work where blocking is allowed. A panic there is reported as a fault.
async fn in_background<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StorageFault> + Send + 'static,
{
    spawn_blocking(work)
        .await
        .map_err(|error| StorageFault::new(error.to_string()))?
}

fn home(root: &Path, name: BlobName) -> PathBuf {
    let name = name.to_string();
    let shelf: String = name.chars().take(2).collect();
    root.join(shelf).join(name)
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn make_durable(file: &File, from: &Path, to: &Path, root: &Path) -> io::Result<()> {
    file.sync_all()?;
    let shelf = to.parent().unwrap_or(root);
    if make_folder(shelf)? {
        sync_folder(root)?;
    }
    fs::rename(from, to)?;
    sync_folder(shelf)
}

/// Whether it had to be made.
pub(crate) fn make_folder(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sweep(root: &Path) -> io::Result<Vec<BlobName>> {
    for entry in fs::read_dir(root.join(INCOMING))? {
        remove_if_there(&entry?.path())?;
    }
    let mut names = Vec::new();
    for shelf in fs::read_dir(root)? {
        let shelf = shelf?;
        if shelf.file_name() == INCOMING || !shelf.file_type()?.is_dir() {
            continue;
        }
        for entry in fs::read_dir(shelf.path())? {
            names.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<BlobName>().ok()),
            );
        }
    }
    Ok(names)
}
