//! Files that nobody owns yet, or any more: dropping one has it removed.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{BlobName, Blobs};
use crate::limits;

/// A durable blob that no record refers to. Dropped, it is removed, unless a commit took it over.
pub(crate) struct StagedFile {
    name: BlobName,
    bin: Option<LitterBin>,
}

impl StagedFile {
    pub(crate) fn new(name: BlobName, bin: LitterBin) -> Self {
        Self { name, bin: Some(bin) }
    }

    pub(crate) fn name(&self) -> BlobName {
        self.name
    }

    /// A committed record refers to it now.
    pub(crate) fn keep(&mut self) {
        self.bin = None;
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Some(bin) = self.bin.take() {
            bin.throw(self.name);
        }
    }
}

/// Takes the names of unwanted blobs.
#[derive(Clone)]
pub(crate) struct LitterBin {
    names: mpsc::Sender<BlobName>,
}

impl LitterBin {
    fn throw(&self, name: BlobName) {
        if self.names.try_send(name).is_err() {
            warn!(blob = %name, "an unwanted blob stays until the sweep at the next start");
        }
    }
}

/// The other end: removes what is thrown away.
pub(crate) struct Litter {
    names: mpsc::Receiver<BlobName>,
}

impl Litter {
    pub(crate) fn new() -> (LitterBin, Self) {
        let (sender, names) = mpsc::channel(limits::LITTER);
        (LitterBin { names: sender }, Self { names })
    }

    /// Runs until every bin is gone, or until the store is closed and nothing is left to remove.
    pub(crate) async fn collect(mut self, blobs: Arc<dyn Blobs>, closed: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                next = self.names.recv() => next,
                () = closed.cancelled(), if !self.names.is_closed() => {
                    self.names.close();
                    continue;
                }
            };
            let Some(name) = next else { return };
            if let Err(fault) = blobs.remove(name).await {
                warn!(blob = %name, %fault, "an unwanted blob stays until the sweep at the next start");
            }
        }
    }
}
