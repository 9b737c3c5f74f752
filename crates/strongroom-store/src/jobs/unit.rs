//! What a turn commits in one go.

use strongroom_seal::AccountId;

use super::JobEnd;
use crate::{
    error::StoreError,
    keyring::Lease,
    object::{Change as ObjectChange, Meta, NewObject, Object},
    records::Change,
    staging::StagedBlob,
    store::{Rewrite, Sealing, sealed_changes},
};

/// What happens together or not at all, with [`JobTurn::commit`](super::JobTurn::commit): objects put, changed and deleted, and how far the job is.
#[derive(Default)]
pub struct Unit<'a> {
    puts: Vec<NewObject<'a>>,
    updates: Vec<(&'a Meta, Rewrite<'a>)>,
    deletes: Vec<(&'static str, String)>,
    pub(super) done: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) end: Option<JobEnd>,
}

impl<'a> Unit<'a> {
    /// Nothing so far; committing it extends the claim.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a new object with its staged blobs.
    #[must_use]
    pub fn put(mut self, new: NewObject<'a>) -> Self {
        self.puts.push(new);
        self
    }

    /// Replaces the body of the object that was found, if it still is at that revision; else the commit fails with
    /// [`StoreError::RevisionConflict`].
    #[must_use]
    pub fn update(mut self, found: &'a Meta, change: ObjectChange<'a>) -> Self {
        self.updates.push((found, Rewrite::of(&change)));
        self
    }

    /// Adds a blob that was staged for this very object to the object that was found, and leaves its body as it is; else as [`Self::update`].
    #[must_use]
    pub fn attach(mut self, found: &'a Object, blob: StagedBlob) -> Self {
        let keeping = ObjectChange::keeping(&found.body);
        let rewrite = Rewrite {
            added: Some(blob),
            ..Rewrite::of(&keeping)
        };
        self.updates.push((&found.meta, rewrite));
        self
    }

    /// Deletes an object; the commit fails with [`StoreError::NotFound`] if there is none.
    #[must_use]
    pub fn delete(mut self, kind: &'static str, id: impl Into<String>) -> Self {
        self.deletes.push((kind, id.into()));
        self
    }

    /// Says how many units of work are done.
    #[must_use]
    pub fn done(mut self, done: u64) -> Self {
        self.done = Some(done);
        self
    }

    /// Says how many units of work there are in all.
    #[must_use]
    pub fn total(mut self, total: u64) -> Self {
        self.total = Some(total);
        self
    }

    /// Ends the job, together with all the rest.
    #[must_use]
    pub fn end(mut self, end: JobEnd) -> Self {
        self.end = Some(end);
        self
    }

    /// Whether it can be committed without the customer key.
    pub(super) fn seals_nothing(&self) -> bool {
        self.puts.is_empty() && self.updates.is_empty()
    }

    /// Whether it destroys keys.
    pub(super) fn frees(&self) -> bool {
        !self.updates.is_empty() || !self.deletes.is_empty()
    }

    pub(super) fn deletions(self) -> impl Iterator<Item = Change> {
        self.deletes.into_iter().map(|(kind, id)| Change::Delete {
            kind: kind.to_owned(),
            id,
            expired_by_ms: None,
        })
    }

    /// Seals what is to be sealed, under the lease's current branch version.
    pub(super) fn seal(
        mut self,
        lease: &Lease,
        account: AccountId,
        now_ms: u64,
    ) -> Result<Sealing, StoreError> {
        let puts = std::mem::take(&mut self.puts);
        let updates = std::mem::take(&mut self.updates);
        let mut sealing = sealed_changes(lease, account, now_ms, puts, updates)?;
        sealing.changes.extend(self.deletions());
        Ok(sealing)
    }
}
