//! Blobs that come to an object, or go from it, after it was put.

use super::{
    Store,
    objects::{Rewrite, Unchanged, check_body},
};
use crate::{
    error::StoreError,
    limits,
    object::{Change, Meta, Object},
    permit::{Action, Permit},
    records::Name,
    staging::StagedBlob,
};

impl Store {
    /// Adds a blob that was staged for an object which is there by now. `admit` sees the object as it is then and may refuse; it is
    /// asked again whenever somebody else was faster, so that any number of blobs can come at once.
    pub async fn attach<E: From<StoreError>>(
        &self,
        permit: &Permit,
        blob: StagedBlob,
        admit: impl Fn(&Object) -> Result<(), E>,
    ) -> Result<Meta, E> {
        let account = permit.demand(Action::Write)?;
        let target = blob.target.clone();
        if target.account != account {
            return Err(StoreError::BadName.into());
        }
        let mut lease = self
            .inner
            .keyring
            .lease(account)
            .await
            .map_err(StoreError::from)?;
        let name = Name {
            account,
            kind: &target.kind,
            id: &target.id,
        };
        let mut unused = Some(blob);
        // Whoever is overtaken is overtaken by a blob, mostly, and an object has no more of them than this.
        for _ in 0..limits::PARTS {
            let found = self.inner.get(&mut lease, name).await?;
            admit(&found)?;
            check_room(&found.meta, target.part)?;
            let rewrite = Rewrite {
                added: unused.take(),
                ..Rewrite::of(&Change::keeping(&found.body))
            };
            match self
                .inner
                .replace(&mut lease, account, &found.meta, rewrite)
                .await
            {
                Ok(meta) => return Ok(meta),
                Err(Unchanged {
                    error: StoreError::RevisionConflict { .. },
                    blob: Some(back),
                }) => unused = Some(back),
                Err(unchanged) => return Err(unchanged.error.into()),
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Replaces a record's body, if it still is at the revision at which it was found, and keeps only these of its blobs: the others'
    /// keys are destroyed in the same transaction.
    pub async fn update_keeping(
        &self,
        permit: &Permit,
        seen: &Meta,
        change: Change<'_>,
        keep: &[u32],
    ) -> Result<Meta, StoreError> {
        let account = permit.demand(Action::Write)?;
        let mut lease = self.inner.keyring.lease(account).await?;
        check_body(change.body)?;
        let name = Name {
            account,
            kind: &seen.kind,
            id: &seen.id,
        };
        // What is there is opened first: columns that were tampered with must not be sealed anew.
        let found = self.inner.get(&mut lease, name).await?.meta;
        if found.revision != seen.revision {
            return Err(StoreError::RevisionConflict {
                current: found.revision,
            });
        }
        if keep.iter().any(|part| found.size_of(*part).is_none()) {
            return Err(StoreError::NotFound);
        }
        let parts = found.parts.iter().map(|size| size.part);
        let rewrite = Rewrite {
            dropped: parts.filter(|part| !keep.contains(part)).collect(),
            ..Rewrite::of(&change)
        };
        Ok(self.inner.replace(&mut lease, account, &found, rewrite).await?)
    }
}

fn check_room(found: &Meta, part: u32) -> Result<(), StoreError> {
    if found.size_of(part).is_some() {
        return Err(StoreError::AlreadyExists);
    }
    if found.parts.len() >= limits::PARTS {
        return Err(StoreError::TooLarge {
            limit: limits::PARTS as u64,
        });
    }
    Ok(())
}
