//! What every back end must do, as one suite. Each function panics at the first thing that is not so.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a suite stops at the first surprise"
)]

mod blobs;
mod branches;
pub(crate) mod fixture;
mod jobs;
mod records;

use std::{path::Path, sync::Arc};

use self::fixture::Fixture;
use crate::{
    blobs::{Blobs, Litter, folder::Folder, memory::MemoryBlobs},
    faults::Faults,
    records::{Records, memory::MemoryRecords, sqlite::Sqlite},
};

/// Runs the suite on the back ends in memory.
pub async fn in_memory() {
    let (bin, litter) = Litter::new();
    let records = MemoryRecords::new(Faults::default(), bin.clone());
    all(
        Arc::new(records),
        Arc::new(MemoryBlobs::default()),
        Fixture::new(bin, litter),
    )
    .await;
}

/// Runs the suite on the back ends on disk, in an empty folder.
pub async fn on_disk(folder: &Path) {
    let (bin, litter) = Litter::new();
    let records = Sqlite::open(&folder.join("records.db"), bin.clone()).unwrap();
    let blobs = Folder::open(folder.join("blobs")).unwrap();
    all(Arc::new(records), Arc::new(blobs), Fixture::new(bin, litter)).await;
}

async fn all(records: Arc<dyn Records>, blobs: Arc<dyn Blobs>, fixture: Fixture) {
    records::all(&*records, &fixture).await;
    branches::all(&*records).await;
    jobs::all(&*records, &fixture).await;
    blobs::all(blobs, fixture).await;
    records.close().await;
    records::closed(&*records).await;
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn the_back_ends_in_memory_conform() {
        super::in_memory().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_back_ends_on_disk_conform() {
        let folder = tempfile::tempdir().unwrap();
        super::on_disk(folder.path()).await;
    }
}
