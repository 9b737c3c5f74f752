//! The store's folder: made, locked, opened and swept.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::Parts;
use crate::{
    blobs::{
        BlobName, Blobs, Found, Litter,
        folder::{Folder, holds_any, make_folder, sync_folder},
    },
    error::{OpenStoreError, StorageFault},
    limits,
    records::{Change, Records, Transaction, sqlite::Sqlite},
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

/// Puts right what a crash left: removes the files of deleted objects and of uploads that were never committed, and settles what
/// was. A settled blob that no record refers to tells that the database is older than the blobs: then nothing is removed.
pub(crate) async fn sweep(records: &dyn Records, blobs: &dyn Blobs, now_ms: u64) -> Result<(), StorageFault> {
    remove_unwanted(records, blobs, now_ms).await?;
    let Found { staged, settled } = blobs.sweep().await?;
    let strangers = unreferenced(records, &settled).await?;
    let uncommitted = unreferenced(records, &staged).await?;
    if let Some(first) = strangers.iter().next() {
        warn!(
            blobs = strangers.len() + uncommitted.len(), %first,
            "this record database does not know blobs that were committed: it is older than they are. Nothing is removed; put the newer records.db back"
        );
    }
    for name in staged {
        if !uncommitted.contains(&name) {
            blobs.settle(name).await?;
        } else if strangers.is_empty() {
            info!(blob = %name, "removing a blob that was never committed");
            blobs.remove(name).await?;
        }
    }
    Ok(())
}

async fn unreferenced(records: &dyn Records, names: &[BlobName]) -> Result<HashSet<BlobName>, StorageFault> {
    let mut found = HashSet::new();
    for names in names.chunks(limits::SWEEP_BATCH) {
        found.extend(records.unreferenced(names).await?);
    }
    Ok(found)
}

/// Removes the files of deleted objects for good, and forgets them.
pub(crate) async fn remove_unwanted(
    records: &dyn Records,
    blobs: &dyn Blobs,
    now_ms: u64,
) -> Result<(), StorageFault> {
    loop {
        let unwanted = records.unwanted(limits::UNWANTED_BATCH).await?;
        let Some((account, _)) = unwanted.first() else {
            return Ok(());
        };
        let names: Vec<_> = unwanted.iter().map(|(_, name)| *name).collect();
        blobs.remove_for_good(names.clone()).await?;
        let forget = Transaction::new(*account, now_ms).change(Change::ForgetUnwanted(names));
        records
            .commit(forget)
            .await
            .map_err(|returned| StorageFault::new(format!("{:?}", returned.reason)))?;
    }
}
