//! The files that a batch's results go into: made by its first result, grown piece by piece, seen by nobody before the batch has ended.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use strongroom_store::{
    BlobWriter, Change, Expiry, JobTurn, NewObject, Object, StagedBlob, StoreError, Unit,
};
use zeroize::Zeroizing;

use super::record::{Status, When};
use crate::files::{self, Draft};
use crate::problem::Problem;

/// Where the results of one kind go.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Results {
    id: String,
    /// The pieces that are there, in order.
    pieces: Vec<u32>,
}

impl Results {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            pieces: Vec::new(),
        }
    }

    /// The file's id, once there is one that can be read.
    pub(super) fn shown(&self, status: Status) -> Option<&str> {
        (status.is_end() && !self.pieces.is_empty()).then_some(self.id.as_str())
    }

    /// How many pieces there are.
    pub(super) fn len(&self) -> u64 {
        self.pieces.len() as u64
    }

    /// The next piece's number.
    fn next(&self) -> u32 {
        u32::try_from(self.pieces.len()).unwrap_or(u32::MAX)
    }
}

/// The next piece of some results, sealed as it is written.
#[derive(Default)]
pub(super) struct Piece {
    writer: Option<BlobWriter>,
}

impl Piece {
    /// Writes a line.
    pub(super) async fn write(
        &mut self,
        turn: &JobTurn,
        results: &Results,
        line: Vec<u8>,
    ) -> Result<(), StoreError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let id = &results.id;
                let begun = turn
                    .store()
                    .stage(turn.write(), files::KIND, id, results.next())
                    .await?;
                self.writer.insert(begun)
            }
        };
        writer.write(Bytes::from(line)).await
    }

    /// Ends the piece: it is durable, and belongs to the results with the unit that it is added to.
    pub(super) async fn end(self, turn: &JobTurn, results: &mut Results) -> Result<Ready, Problem> {
        let Some(writer) = self.writer else {
            return Ok(Ready::Nothing);
        };
        let blob = writer.finish().await?;
        let is_first = results.pieces.is_empty();
        results.pieces.push(blob.part());
        if is_first {
            let body = Draft::opening(format!("{}.jsonl", results.id), PURPOSE.to_owned())?;
            return Ok(Ready::First {
                id: results.id.clone(),
                body,
                blob,
            });
        }
        let object = turn.store().get(turn.read(), files::KIND, &results.id).await?;
        Ok(Ready::Further {
            object: Box::new(object),
            blob,
        })
    }
}

/// What the files with results are for.
const PURPOSE: &str = "batch_output";

/// A piece that is durable and belongs to nobody yet.
pub(super) enum Ready {
    Nothing,
    First {
        id: String,
        body: Zeroizing<Vec<u8>>,
        blob: StagedBlob,
    },
    Further {
        object: Box<Object>,
        blob: StagedBlob,
    },
}

/// The same, apart from what a unit borrows.
pub(super) enum Kept {
    Nothing,
    First(String, Zeroizing<Vec<u8>>),
    Further(Box<Object>),
}

impl Ready {
    /// Parts the blob from the rest.
    pub(super) fn part(self) -> (Kept, Option<StagedBlob>) {
        match self {
            Self::Nothing => (Kept::Nothing, None),
            Self::First { id, body, blob } => (Kept::First(id, body), Some(blob)),
            Self::Further { object, blob } => (Kept::Further(object), Some(blob)),
        }
    }
}

impl Kept {
    /// Adds the piece to a unit.
    pub(super) fn add<'a>(&'a self, unit: Unit<'a>, blob: Option<StagedBlob>) -> Unit<'a> {
        let Some(blob) = blob else { return unit };
        match self {
            Self::Nothing => unit,
            Self::First(id, body) => unit.put(NewObject {
                blobs: vec![blob],
                ..NewObject::new(files::KIND, id.clone(), body)
            }),
            Self::Further(object) => unit.attach(object, blob),
        }
    }
}

/// Results that are about to become a file.
pub(super) struct Closing {
    object: Object,
    body: Zeroizing<Vec<u8>>,
    life: Duration,
}

impl Closing {
    /// Prepares the file of these results, if there are any.
    pub(super) async fn of(
        turn: &JobTurn,
        results: &Results,
        life: Duration,
        now: When,
    ) -> Result<Option<Self>, Problem> {
        if results.pieces.is_empty() {
            return Ok(None);
        }
        let object = turn.store().get(turn.read(), files::KIND, &results.id).await?;
        let body = Draft::closing(&object, &results.pieces, now)?;
        Ok(Some(Self { object, body, life }))
    }

    pub(super) fn add<'a>(&'a self, unit: Unit<'a>) -> Unit<'a> {
        let change = Change {
            body: &self.body,
            expires: Expiry::In(self.life),
        };
        unit.update(&self.object.meta, change)
    }
}
