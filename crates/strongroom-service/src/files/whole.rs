//! A file that is made inside, in one stream.

use std::time::Duration;

use strongroom_store::{BlobWriter, NewObject, Permit, Store, StoreError};

use super::KIND;
use super::file::{File, FileRecord, WHOLE};
use crate::problem::Problem;

/// A file whose content is being written. Dropped before it is put, it leaves nothing.
pub(crate) struct Whole<'a> {
    store: &'a Store,
    write: &'a Permit,
    id: &'a str,
    content: BlobWriter,
}

impl<'a> Whole<'a> {
    pub(crate) async fn begin(store: &'a Store, write: &'a Permit, id: &'a str) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            write,
            id,
            content: store.stage(write, KIND, id, WHOLE).await?,
        })
    }

    /// Where the content goes.
    pub(crate) fn writer(&mut self) -> &mut BlobWriter {
        &mut self.content
    }

    /// Makes the file, durably.
    pub(crate) async fn put(
        self,
        filename: String,
        purpose: String,
        life: Option<Duration>,
    ) -> Result<File, Problem> {
        let record = FileRecord::new(filename, purpose);
        let body = record.write()?;
        let new = NewObject {
            expires: life,
            blobs: vec![self.content.finish().await?],
            ..NewObject::new(KIND, self.id, &body)
        };
        let meta = self.store.put(self.write, new).await?;
        Ok(File { meta, record })
    }
}
