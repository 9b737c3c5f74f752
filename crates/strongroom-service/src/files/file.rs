//! A file as it is stored: a record, and a content of one sealed blob or of several, one after another.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strongroom_store::{BlobReader, Meta, Object, Permit, Store, StoreError};

use super::KIND;
use crate::problem::Problem;

/// The part that holds a content that came whole.
pub(super) const WHOLE: u32 = 0;

/// A file's record: what is sealed beside its content.
#[derive(Serialize, Deserialize)]
pub(crate) struct FileRecord {
    pub(crate) filename: String,
    pub(crate) purpose: String,
    /// How the content came in pieces; missing where it came whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) assembly: Option<Assembly>,
}

/// A content that comes piece by piece.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Assembly {
    /// Pieces still come: this is not yet a file, and nobody but its [`Draft`](super::Draft) sees it.
    Open,
    /// The content is these parts in this order.
    Closed {
        /// Since when, in seconds since the Unix epoch.
        at: u64,
        order: Vec<u32>,
    },
}

/// A file that was found.
pub(crate) struct File {
    pub(crate) meta: Meta,
    pub(crate) record: FileRecord,
}

impl FileRecord {
    /// The record of a file whose content comes whole.
    pub(crate) fn new(filename: String, purpose: String) -> Self {
        Self {
            filename,
            purpose,
            assembly: None,
        }
    }

    pub(super) fn read(object: &Object) -> Result<Self, Problem> {
        serde_json::from_slice(&object.body)
            .map_err(|_| Problem::Internal("a file's record is not what it was".to_owned()))
    }

    pub(super) fn write(&self) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
        serde_json::to_vec(self)
            .map(zeroize::Zeroizing::new)
            .map_err(|error| Problem::Internal(error.to_string()))
    }
}

impl File {
    /// The file in this object; none if its pieces still come.
    pub(super) fn of(object: &Object) -> Result<Option<Self>, Problem> {
        let record = FileRecord::read(object)?;
        Ok((record.assembly != Some(Assembly::Open)).then(|| Self {
            meta: object.meta.clone(),
            record,
        }))
    }

    /// Finds a file.
    pub(crate) async fn find(store: &Store, read: &Permit, id: &str) -> Result<Self, Problem> {
        let missing = |error| Problem::store(error, super::WHAT, id);
        let object = store.get(read, KIND, id).await.map_err(missing)?;
        Self::of(&object)?.ok_or_else(|| missing(StoreError::NotFound))
    }

    /// How long its content is.
    pub(crate) fn len(&self) -> u64 {
        self.pieces().map(|(_, size)| size).sum()
    }

    /// Begins to read its content, or this range of it.
    pub(crate) async fn read(
        &self,
        store: &Store,
        read: &Permit,
        range: Option<Range<u64>>,
    ) -> Result<Content, StoreError> {
        let range = range.unwrap_or(0..self.len());
        Content::open(store, read, &self.meta.id, self.pieces(), range).await
    }

    /// Its parts in order, each with its length.
    fn pieces(&self) -> impl Iterator<Item = (u32, u64)> {
        let order: &[u32] = match &self.record.assembly {
            Some(Assembly::Closed { order, .. }) => order,
            Some(Assembly::Open) => &[],
            None => &[WHOLE],
        };
        let size = |part| self.meta.size_of(part).unwrap_or(0);
        order.iter().map(move |part| (*part, size(*part)))
    }

    /// The official file object.
    pub(crate) fn show(&self) -> Value {
        let created = match &self.record.assembly {
            Some(Assembly::Closed { at, .. }) => *at,
            _ => self.meta.created(),
        };
        json!({
            "id": self.meta.id,
            "object": "file",
            "bytes": self.len(),
            "created_at": created,
            "expires_at": self.meta.expires(),
            "filename": self.record.filename,
            "purpose": self.record.purpose,
            "status": "processed",
            "status_details": null,
        })
    }
}

/// Reads sealed pieces one after another, a segment at a time.
pub(crate) struct Content {
    store: Store,
    read: Permit,
    id: String,
    /// The pieces still to be opened, each with the range that is wanted of it.
    next: VecDeque<(u32, Range<u64>)>,
    reader: Option<BlobReader>,
    length: u64,
}

impl Content {
    /// Opens the first piece at once, so that what is not there is found before anything is read.
    pub(super) async fn open(
        store: &Store,
        read: &Permit,
        id: &str,
        pieces: impl Iterator<Item = (u32, u64)>,
        range: Range<u64>,
    ) -> Result<Self, StoreError> {
        let mut content = Self {
            store: store.clone(),
            read: read.clone(),
            id: id.to_owned(),
            next: within(pieces, &range),
            reader: None,
            length: range.end.saturating_sub(range.start),
        };
        content.reader = content.next_reader().await?;
        Ok(content)
    }

    /// How many bytes it yields in all.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// The next bytes; `None` at the end. After an error there is nothing more.
    pub(crate) async fn next_chunk(&mut self) -> Option<Result<Bytes, StoreError>> {
        while let Some(reader) = &mut self.reader {
            match reader.next_chunk().await {
                Some(Ok(bytes)) => return Some(Ok(bytes)),
                Some(Err(error)) => return Some(Err(self.over(error))),
                None => {}
            }
            self.reader = match self.next_reader().await {
                Ok(next) => next,
                Err(error) => return Some(Err(self.over(error))),
            };
        }
        None
    }

    async fn next_reader(&mut self) -> Result<Option<BlobReader>, StoreError> {
        let Some((part, range)) = self.next.pop_front() else {
            return Ok(None);
        };
        let reader = self
            .store
            .open_blob(&self.read, KIND, &self.id, part, Some(range));
        reader.await.map(Some)
    }

    fn over(&mut self, error: StoreError) -> StoreError {
        self.next.clear();
        self.reader = None;
        error
    }
}

/// What a range of the whole is of each piece. Pieces that it does not touch, and empty ones, are left out.
fn within(pieces: impl Iterator<Item = (u32, u64)>, range: &Range<u64>) -> VecDeque<(u32, Range<u64>)> {
    let mut begin = 0_u64;
    let mut wanted = VecDeque::new();
    for (part, size) in pieces {
        let end = begin.saturating_add(size);
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from < to {
            wanted.push_back((part, from - begin..to - begin));
        }
        begin = end;
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn a_range_is_found_in_the_pieces_that_it_touches() {
        let of = |range| within([(7, 10), (3, 0), (5, 4), (1, 6)].into_iter(), &range);
        assert_eq!(of(0..20), [(7, 0..10), (5, 0..4), (1, 0..6)]);
        assert_eq!(of(0..10), [(7, 0..10)]);
        assert_eq!(of(9..15), [(7, 9..10), (5, 0..4), (1, 0..1)]);
        assert_eq!(of(11..12), [(5, 1..2)]);
        assert_eq!(of(14..99), [(1, 0..6)]);
        assert!(of(20..30).is_empty());
    }
}
