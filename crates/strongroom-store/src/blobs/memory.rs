//! Blobs in memory, for tests: a crash forgets what was not durable, and steps can be made to fail.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use strongroom_seal::BoxFuture;

use super::{AppendError, BlobName, BlobSink, BlobSource, Blobs, Found};
use crate::{
    error::StorageFault,
    faults::Faults,
    sealing::{SealedSegment, SegmentBuffer},
};

/// Blobs that outlive the store that wrote them, as a disk would.
#[derive(Clone, Default)]
pub(crate) struct MemoryBlobs {
    durable: Arc<Mutex<BTreeMap<BlobName, Kept>>>,
    faults: Faults,
}

struct Kept {
    bytes: Arc<Vec<u8>>,
    is_settled: bool,
}

impl MemoryBlobs {
    #[cfg(test)]
    pub(crate) fn new(faults: Faults) -> Self {
        Self {
            durable: Arc::default(),
            faults,
        }
    }

    /// The same blobs after the machine came back.
    #[cfg(test)]
    pub(crate) fn revived(&self, faults: Faults) -> Self {
        Self {
            durable: Arc::clone(&self.durable),
            faults,
        }
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<BlobName> {
        lock(&self.durable).keys().copied().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Blobs for MemoryBlobs {
    fn create(&self) -> Box<dyn BlobSink> {
        Box::new(Growing {
            blobs: self.clone(),
            bytes: Vec::new(),
        })
    }

    fn open(&self, name: BlobName) -> BoxFuture<'_, Result<Option<Box<dyn BlobSource>>, StorageFault>> {
        Box::pin(async move {
            self.faults.step()?;
            let bytes = lock(&self.durable).get(&name).map(|kept| Arc::clone(&kept.bytes));
            Ok(bytes.map(|bytes| Box::new(Still { bytes }) as Box<dyn BlobSource>))
        })
    }

    fn remove(&self, name: BlobName) -> BoxFuture<'_, Result<(), StorageFault>> {
        Box::pin(async move {
            self.faults.step()?;
            lock(&self.durable).remove(&name);
            Ok(())
        })
    }

    fn settle(&self, name: BlobName) -> BoxFuture<'_, Result<(), StorageFault>> {
        Box::pin(async move {
            self.faults.step()?;
            if let Some(kept) = lock(&self.durable).get_mut(&name) {
                kept.is_settled = true;
            }
            Ok(())
        })
    }

    fn remove_for_good(&self, names: Vec<BlobName>) -> BoxFuture<'_, Result<(), StorageFault>> {
        Box::pin(async move {
            self.faults.step()?;
            lock(&self.durable).retain(|name, _| !names.contains(name));
            Ok(())
        })
    }

    fn sweep(&self) -> BoxFuture<'_, Result<Found, StorageFault>> {
        Box::pin(async move {
            self.faults.step()?;
            let mut found = Found::default();
            for (name, kept) in lock(&self.durable).iter() {
                if kept.is_settled {
                    found.settled.push(*name);
                } else {
                    found.staged.push(*name);
                }
            }
            Ok(found)
        })
    }
}

struct Growing {
    blobs: MemoryBlobs,
    bytes: Vec<u8>,
}

impl BlobSink for Growing {
    fn append(&mut self, mut segment: SealedSegment) -> BoxFuture<'_, Result<SealedSegment, AppendError>> {
        Box::pin(async move {
            self.blobs.faults.step()?;
            match segment.with_bytes(|bytes| {
                self.bytes.extend_from_slice(bytes);
                Ok::<_, Infallible>(())
            })? {
                Ok(()) => Ok(segment),
            }
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<BlobName, StorageFault>> {
        Box::pin(async move {
            self.blobs.faults.step()?;
            let name = BlobName::random();
            let kept = Kept {
                bytes: Arc::new(self.bytes),
                is_settled: false,
            };
            lock(&self.blobs.durable).insert(name, kept);
            self.blobs.faults.step()?;
            Ok(name)
        })
    }
}

struct Still {
    bytes: Arc<Vec<u8>>,
}

impl BlobSource for Still {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(
        &self,
        offset: u64,
        mut buffer: SegmentBuffer,
    ) -> BoxFuture<'_, Result<SegmentBuffer, StorageFault>> {
        Box::pin(async move {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let stored = start
                .checked_add(buffer.len())
                .and_then(|end| self.bytes.get(start..end));
            buffer.copy_from_slice(stored.ok_or_else(|| StorageFault::new("a blob ends too early"))?);
            Ok(buffer)
        })
    }
}
