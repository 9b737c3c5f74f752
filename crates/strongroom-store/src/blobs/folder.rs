//! Blobs as files: `blobs/incoming/<name>` while they are written, `blobs/xx/<name>.staged` once durable, and `blobs/xx/<name>` once
//! a committed record refers to them: what has that name was never an upload that a crash cut off.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use strongroom_seal::BoxFuture;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{AppendError, BlobName, BlobSink, BlobSource, Blobs, Found};
use crate::{
    error::StorageFault,
    sealing::{SealedSegment, SegmentBuffer},
};

const INCOMING: &str = "incoming";
const STAGED: &str = ".staged";

/// A folder of sealed blobs.
pub(crate) struct Folder {
    place: Arc<Place>,
}

struct Place {
    root: PathBuf,
    /// The shelves whose own entry in the root is known to be durable.
    shelves: Mutex<HashSet<PathBuf>>,
}

impl Folder {
    /// Opens the folder, making it if there is none.
    pub(crate) fn open(root: PathBuf) -> io::Result<Self> {
        make_folder(&root)?;
        make_folder(&root.join(INCOMING))?;
        let shelves = Mutex::default();
        Ok(Self {
            place: Arc::new(Place { root, shelves }),
        })
    }
}

impl Place {
    fn incoming(&self, name: BlobName) -> PathBuf {
        self.root.join(INCOMING).join(name.to_string())
    }

    fn home(&self, name: BlobName) -> PathBuf {
        let name = name.to_string();
        let shelf: String = name.chars().take(2).collect();
        self.root.join(shelf).join(name)
    }

    fn staged(&self, name: BlobName) -> PathBuf {
        let mut path = self.home(name).into_os_string();
        path.push(STAGED);
        path.into()
    }

    fn find(&self, name: BlobName) -> io::Result<Option<File>> {
        // It may be settled between two looks.
        for path in [self.home(name), self.staged(name), self.home(name)] {
            match File::open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    }

    fn remove(&self, name: BlobName) -> io::Result<()> {
        remove_if_there(&self.staged(name))?;
        remove_if_there(&self.home(name))
    }

    fn remove_for_good(&self, names: &[BlobName]) -> io::Result<()> {
        let mut shelves = HashSet::new();
        for name in names {
            self.remove(*name)?;
            shelves.extend(self.home(*name).parent().map(Path::to_owned));
        }
        shelves.iter().try_for_each(|shelf| {
            if shelf.is_dir() {
                sync_folder(shelf)
            } else {
                Ok(())
            }
        })
    }

    /// Makes a shelf that may or may not be there. Nobody uses it before its entry is durable, whoever made it.
    fn set_up(&self, shelf: &Path) -> io::Result<()> {
        let mut known = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(shelf) {
            make_folder(shelf)?;
            sync_folder(&self.root)?;
            known.insert(shelf.to_owned());
        }
        Ok(())
    }

    fn make_durable(&self, file: &File, from: &Path, to: &Path) -> io::Result<()> {
        file.sync_all()?;
        let shelf = to.parent().unwrap_or(&self.root);
        self.set_up(shelf)?;
        fs::rename(from, to)?;
        sync_folder(shelf)
    }
}

impl Blobs for Folder {
    fn create(&self) -> Box<dyn BlobSink> {
        Box::new(Incoming {
            place: Arc::clone(&self.place),
            name: BlobName::random(),
            file: None,
        })
    }

    fn open(&self, name: BlobName) -> BoxFuture<'_, Result<Option<Box<dyn BlobSource>>, StorageFault>> {
        let place = Arc::clone(&self.place);
        Box::pin(in_background(move || {
            let Some(file) = place.find(name)? else {
                return Ok(None);
            };
            let len = file.metadata()?.len();
            Ok(Some(Box::new(Durable {
                file: Arc::new(file),
                len,
            }) as Box<dyn BlobSource>))
        }))
    }

    fn settle(&self, name: BlobName) -> BoxFuture<'_, Result<(), StorageFault>> {
        let (from, to) = (self.place.staged(name), self.place.home(name));
        Box::pin(in_background(move || match fs::rename(from, to) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            // Not there: settled or removed already.
            _ => Ok(()),
        }))
    }

    fn remove(&self, name: BlobName) -> BoxFuture<'_, Result<(), StorageFault>> {
        let place = Arc::clone(&self.place);
        Box::pin(in_background(move || place.remove(name).map_err(Into::into)))
    }

    fn remove_for_good(&self, names: Vec<BlobName>) -> BoxFuture<'_, Result<(), StorageFault>> {
        let place = Arc::clone(&self.place);
        Box::pin(in_background(move || {
            place.remove_for_good(&names).map_err(Into::into)
        }))
    }

    fn sweep(&self) -> BoxFuture<'_, Result<Found, StorageFault>> {
        let place = Arc::clone(&self.place);
        Box::pin(in_background(move || sweep(&place.root).map_err(Into::into)))
    }
}

/// A blob that is not durable yet.
struct Incoming {
    place: Arc<Place>,
    name: BlobName,
    file: Option<Unwanted>,
}

/// A file that is removed when it is dropped, wherever that is: also in the background, if nobody waits for the work any more.
struct Unwanted {
    path: PathBuf,
    file: Option<File>,
}

impl Unwanted {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            path,
            file: Some(file),
        })
    }

    fn file(&mut self) -> Result<&mut File, StorageFault> {
        self.file
            .as_mut()
            .ok_or_else(|| StorageFault::new("a blob is written to after its end"))
    }

    /// It has an owner now.
    fn keep(mut self) {
        self.file = None;
    }
}

impl Drop for Unwanted {
    fn drop(&mut self) {
        if self.file.take().is_none() {
            return;
        }
        if let Err(error) = remove_if_there(&self.path) {
            warn!(%error, "an aborted blob stays until the sweep at the next start");
        }
    }
}

impl BlobSink for Incoming {
    fn append(&mut self, mut segment: SealedSegment) -> BoxFuture<'_, Result<SealedSegment, AppendError>> {
        Box::pin(async move {
            let (file, path) = (self.file.take(), self.place.incoming(self.name));
            let (file, segment) = in_background(move || -> Result<_, AppendError> {
                let mut unwanted = match file {
                    Some(file) => file,
                    None => Unwanted::create(path).map_err(StorageFault::from)?,
                };
                let file = unwanted.file()?;
                segment
                    .with_bytes(|bytes| file.write_all(bytes))?
                    .map_err(StorageFault::from)?;
                Ok((unwanted, segment))
            })
            .await?;
            self.file = Some(file);
            Ok(segment)
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<BlobName, StorageFault>> {
        Box::pin(async move {
            let file = self.file.take();
            let (place, name) = (Arc::clone(&self.place), self.name);
            let durable = in_background(move || -> Result<_, StorageFault> {
                let mut unwanted = file.ok_or_else(|| StorageFault::new("a blob without bytes"))?;
                let (from, to) = (unwanted.path.clone(), place.staged(name));
                place.make_durable(unwanted.file()?, &from, &to)?;
                unwanted.path = to;
                Ok(unwanted)
            });
            durable.await?.keep();
            Ok(name)
        })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        // Removing a large file takes its time.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(file)));
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

    fn read_at(
        &self,
        offset: u64,
        mut buffer: SegmentBuffer,
    ) -> BoxFuture<'_, Result<SegmentBuffer, StorageFault>> {
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

/// Whether durable blobs are in this folder; it need not exist.
pub(crate) fn holds_any(root: &Path) -> io::Result<bool> {
    match durable(root) {
        Ok(found) => Ok(!found.settled.is_empty() || !found.staged.is_empty()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn sweep(root: &Path) -> io::Result<Found> {
    for entry in fs::read_dir(root.join(INCOMING))? {
        remove_if_there(&entry?.path())?;
    }
    durable(root)
}

fn durable(root: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    for shelf in fs::read_dir(root)? {
        let shelf = shelf?;
        if shelf.file_name() == INCOMING || !shelf.file_type()?.is_dir() {
            continue;
        }
        for entry in fs::read_dir(shelf.path())? {
            let file = entry?.file_name();
            let file = file.to_str().unwrap_or_default();
            let (name, kept) = match file.strip_suffix(STAGED) {
                Some(name) => (name, &mut found.staged),
                None => (file, &mut found.settled),
            };
            kept.extend(name.parse::<BlobName>().ok());
        }
    }
    Ok(found)
}
