//! The store's folder: made, locked, opened and swept.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::spawn_blocking;
use tracing::info;

use super::Parts;
use crate::{
    blobs::{
        Blobs, Litter,
        folder::{Folder, holds_any, make_folder, sync_folder},
    },
    error::{OpenStoreError, StorageFault},
    limits,
    records::{Records, sqlite::Sqlite},
};

const DATABASE: &str = "records.db";
const BLOBS: &str = "blobs";
const LOCK: &str = "lock";

/// Keeps other processes out of the folder for as long as it lives.
pub(crate) struct FolderLock {
    _file: File,
}

pub(super) async fn open(folder: PathBuf) -> Result<Parts, OpenStoreError> {
    spawn_blocking(move || open_now(&folder))
        .await
        .map_err(|error| StorageFault::new(error.to_string()))?
}

fn open_now(folder: &Path) -> Result<Parts, OpenStoreError> {
    if make_folder(folder)?
        && let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty())
    {
        sync_folder(parent)?;
    }
    let lock = lock(folder)?;
    let database = folder.join(DATABASE);
    // An empty file is one that a start made and did not get further with.
    let is_new = !fs::metadata(&database).is_ok_and(|found| found.len() > 0);
    if is_new {
        // A new database would refer to none of them, and the sweep would remove them all.
        if holds_any(&folder.join(BLOBS))? {
            return Err(OpenStoreError::BlobsWithoutDatabase {
                folder: folder.display().to_string(),
            });
        }
        // Made here, so that its mode is ours and not SQLite's; the log and its index inherit it.
        open_private(&database)?;
    }
    let (bin, litter) = Litter::new();
    let records = Sqlite::open(&database, bin.clone())?;
    let blobs = Folder::open(folder.join(BLOBS))?;
    sync_folder(folder)?;
    Ok(Parts {
        records: Arc::new(records),
        blobs: Arc::new(blobs),
        bin,
        litter,
        lock: Some(lock),
    })
}

fn lock(folder: &Path) -> Result<FolderLock, OpenStoreError> {
    let file = open_private(&folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(OpenStoreError::InUse {
            folder: folder.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn open_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Removes blobs that no record refers to: a crash came between their becoming durable and the commit, or between a
/// deletion's commit and their removal.
pub(crate) async fn sweep(records: &dyn Records, blobs: &dyn Blobs) -> Result<(), StorageFault> {
    let names = blobs.sweep().await?;
    for names in names.chunks(limits::SWEEP_BATCH) {
        for orphan in records.unreferenced(names).await? {
            info!(blob = %orphan, "removing a blob that no record refers to");
            blobs.remove(orphan).await?;
        }
    }
    Ok(())
}
