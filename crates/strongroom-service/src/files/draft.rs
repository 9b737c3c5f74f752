//! A file in the making: its pieces come one by one, in any order and at once, each sealed and durable when it has come. Closing it says
//! in which order they are the content, and rewrites none of them.

use std::time::Duration;

use strongroom_store::{
    BlobWriter, Change, Expiry, Meta, NewObject, Object, PartSize, Permit, StagedBlob, Store, StoreError,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::KIND;
use super::file::{Assembly, Content, File, FileRecord};
use crate::limits;
use crate::problem::Problem;

/// A file in the making, and the leave to work on it.
#[derive(Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) store: &'a Store,
    pub(crate) read: &'a Permit,
    pub(crate) write: &'a Permit,
    pub(crate) id: &'a str,
}

/// Why a draft did not take what it was given.
#[derive(Debug)]
pub(crate) enum DraftFault {
    /// There is none: it was discarded, it expired, or it never was.
    Gone,
    /// It is a file by now.
    Closed,
    /// Its pieces would have more bytes together than they may.
    TooLong {
        limit: u64,
    },
    /// It has as many pieces as it may have.
    TooMany,
    /// It has no such piece.
    NoPiece(u32),
    Other(Problem),
}

impl From<StoreError> for DraftFault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::Gone,
            StoreError::TooLarge { .. } => Self::TooMany,
            other => Self::Other(other.into()),
        }
    }
}

impl From<Problem> for DraftFault {
    fn from(problem: Problem) -> Self {
        Self::Other(problem)
    }
}

/// For those to whom a draft is a thing of the inside, which is there and open.
impl From<DraftFault> for Problem {
    fn from(fault: DraftFault) -> Self {
        match fault {
            DraftFault::Other(problem) => problem,
            other => Self::Internal(format!("a file in the making: {other:?}")),
        }
    }
}

impl Draft<'_> {
    /// The most pieces that one can have.
    pub(crate) const PIECES: usize = Meta::PARTS;

    /// Begins a file under this id. Unless it is closed within `life`, it is shredded with all its pieces.
    pub(crate) async fn begin(
        self,
        filename: String,
        purpose: String,
        life: Duration,
    ) -> Result<(), DraftFault> {
        let body = Self::opening(filename, purpose)?;
        let new = NewObject {
            expires: Some(life),
            ..NewObject::new(KIND, self.id, &body)
        };
        self.store.put(self.write, new).await?;
        Ok(())
    }

    /// The record of one that begins in a larger transaction.
    pub(crate) fn opening(filename: String, purpose: String) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let record = FileRecord {
            assembly: Some(Assembly::Open),
            ..FileRecord::new(filename, purpose)
        };
        record.write()
    }

    /// The record with which one becomes a file of these pieces, all that it has, in a larger transaction.
    pub(crate) fn closing(
        object: &Object,
        order: &[u32],
        now: u64,
    ) -> Result<Zeroizing<Vec<u8>>, DraftFault> {
        let mut record = open(object)?;
        sizes(&object.meta, order)?;
        record.assembly = Some(Assembly::Closed {
            at: now,
            order: order.to_vec(),
        });
        Ok(record.write()?)
    }

    /// Begins a piece. It has a number that no other has, which names it from now on: `StagedBlob::part`.
    pub(crate) async fn piece(self) -> Result<BlobWriter, DraftFault> {
        let found = self.look().await?;
        if found.parts.len() >= Self::PIECES {
            return Err(DraftFault::TooMany);
        }
        let number = loop {
            // The highest number stands for the record itself.
            let number = Uuid::new_v4().as_fields().0 >> 1;
            if found.size_of(number).is_none() {
                break number;
            }
        };
        Ok(self.store.stage(self.write, KIND, self.id, number).await?)
    }

    /// Takes a piece, durably, unless all of them would have more than `most` bytes then.
    pub(crate) async fn add(self, piece: StagedBlob, most: u64) -> Result<(), DraftFault> {
        let length = piece.len();
        let admit = |object: &Object| {
            open(object)?;
            let held: u64 = object.meta.parts.iter().map(|size| size.size).sum();
            if held.saturating_add(length) > most {
                return Err(DraftFault::TooLong { limit: most });
            }
            Ok(())
        };
        self.store.attach(self.write, piece, admit).await?;
        Ok(())
    }

    /// The pieces that it has, by number.
    pub(crate) async fn pieces(self) -> Result<Vec<PartSize>, DraftFault> {
        Ok(self.look().await?.parts)
    }

    /// Reads these of its pieces one after another.
    pub(crate) async fn read(self, order: &[u32]) -> Result<Content, DraftFault> {
        let sizes = sizes(&self.look().await?, order)?;
        let length = sizes.iter().map(|(_, size)| size).sum();
        Ok(Content::open(self.store, self.read, self.id, sizes.into_iter(), 0..length).await?)
    }

    /// Makes a file of these pieces in this order, as of `now` in seconds since the Unix epoch, to be kept for `life` from now. The
    /// pieces that are not named are destroyed in the same transaction.
    pub(crate) async fn close(
        self,
        order: &[u32],
        life: Option<Duration>,
        now: u64,
    ) -> Result<File, DraftFault> {
        for _ in 0..limits::CLOSE_TRIES {
            let object = self.store.get(self.read, KIND, self.id).await?;
            let mut record = open(&object)?;
            sizes(&object.meta, order)?;
            record.assembly = Some(Assembly::Closed {
                at: now,
                order: order.to_vec(),
            });
            let body = record.write()?;
            let change = Change {
                body: &body,
                expires: life.map_or(Expiry::Never, Expiry::In),
            };
            let changed = self.store.update_keeping(self.write, &object.meta, change, order);
            match changed.await {
                Ok(meta) => return Ok(File { meta, record }),
                // A piece came meanwhile.
                Err(StoreError::RevisionConflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::Busy.into())
    }

    /// Destroys its pieces' keys and has the rest of it expire at once. What is closed is a file, and stays.
    pub(crate) async fn discard(self) -> Result<(), DraftFault> {
        for _ in 0..limits::CLOSE_TRIES {
            let object = self.store.get(self.read, KIND, self.id).await?;
            open(&object)?;
            let change = Change {
                body: &object.body,
                expires: Expiry::In(Duration::ZERO),
            };
            let changed = self.store.update_keeping(self.write, &object.meta, change, &[]);
            match changed.await {
                Err(StoreError::RevisionConflict { .. }) => {}
                changed => return Ok(changed.map(drop)?),
            }
        }
        Err(Problem::Busy.into())
    }

    async fn look(self) -> Result<Meta, DraftFault> {
        let object = self.store.get(self.read, KIND, self.id).await?;
        open(&object)?;
        Ok(object.meta)
    }
}

/// The record of a draft that still is one.
fn open(object: &Object) -> Result<FileRecord, DraftFault> {
    let record = FileRecord::read(object)?;
    if record.assembly == Some(Assembly::Open) {
        Ok(record)
    } else {
        Err(DraftFault::Closed)
    }
}

fn sizes(found: &Meta, order: &[u32]) -> Result<Vec<(u32, u64)>, DraftFault> {
    let sizes = order.iter().map(|part| {
        let size = found.size_of(*part).ok_or(DraftFault::NoPiece(*part))?;
        Ok((*part, size))
    });
    sizes.collect()
}
