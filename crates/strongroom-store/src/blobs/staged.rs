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
        if let Some(bin) = self.bin.take() {
            bin.settle(self.name);
        }
    }

    /// Whether a committed record refers to it is unknown: it stays as it is until the next start tells.
    pub(crate) fn leave(&mut self) {
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

/// Takes the names of unwanted blobs, and of those that are wanted for certain now.
#[derive(Clone)]
pub(crate) struct LitterBin {
    fates: mpsc::Sender<Fate>,
}

/// What becomes of a durable blob.
enum Fate {
    Settled(BlobName),
    Unwanted(BlobName),
}

impl LitterBin {
    fn throw(&self, name: BlobName) {
        if self.fates.try_send(Fate::Unwanted(name)).is_err() {
            warn!(blob = %name, "an unwanted blob stays until the sweep at the next start");
        }
    }

    fn settle(&self, name: BlobName) {
        // What does not fit is settled at the next start.
        let _ = self.fates.try_send(Fate::Settled(name));
    }
}

/// The other end: removes what is thrown away, and settles what is kept.
pub(crate) struct Litter {
    fates: mpsc::Receiver<Fate>,
}

impl Litter {
    pub(crate) fn new() -> (LitterBin, Self) {
        let (sender, fates) = mpsc::channel(limits::LITTER);
        (LitterBin { fates: sender }, Self { fates })
    }

    /// Runs until every bin is gone, or until the store is closed and nothing is left to remove.
    pub(crate) async fn collect(mut self, blobs: Arc<dyn Blobs>, closed: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                next = self.fates.recv() => next,
                () = closed.cancelled(), if !self.fates.is_closed() => {
                    self.fates.close();
                    continue;
                }
            };
            let (name, done) = match next {
                Some(Fate::Settled(name)) => (name, blobs.settle(name).await),
                Some(Fate::Unwanted(name)) => (name, blobs.remove(name).await),
                None => return,
            };
            if let Err(fault) = done {
                warn!(blob = %name, %fault, "a blob was neither removed nor settled: the sweep at the next start will");
            }
        }
    }
}
