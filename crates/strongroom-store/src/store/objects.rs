//! Records: put, get, update, delete, list.

use std::time::Duration;

use strongroom_seal::{AccountId, BranchKey, BranchVersion, ObjectKey};

use super::{Inner, Misses, Store, keys::KeyMiss, millis};
use crate::{
    error::StoreError,
    keyring::Lease,
    limits,
    object::{Change as ObjectChange, Expiry, Listing, Meta, NewObject, Object, Page, PartSize},
    permit::{Action, Permit},
    records::{
        Change, Check, Name, NewPart, NewRecord, PageQuery, Receipt, Replacement, Returned, StoredRecord,
        Transaction,
    },
    sealing::{Clear, open_record, part_context, record_context, seal_record},
    staging::{StagedBlob, Target},
};

impl Store {
    /// Stores a new object with its staged blobs, all or nothing, durably.
    pub async fn put(&self, permit: &Permit, new: NewObject<'_>) -> Result<Meta, StoreError> {
        let account = permit.demand(Action::Write)?;
        let mut lease = self.inner.keyring.lease(account).await?;
        let now_ms = self.inner.now_ms();
        let meta = meta_of_new(account, now_ms, &new)?;
        let sealing = sealed_changes(&lease, account, now_ms, vec![new], Vec::new())?;
        self.inner.commit_sealed(&mut lease, account, sealing).await?;
        Ok(meta)
    }

    /// Opens a record.
    pub async fn get(&self, permit: &Permit, kind: &str, id: &str) -> Result<Object, StoreError> {
        let account = permit.demand(Action::Read)?;
        let mut lease = self.inner.keyring.lease(account).await?;
        self.inner.get(&mut lease, Name { account, kind, id }).await
    }

    /// Replaces a record's body, if it still is at the expected revision.
    pub async fn update(
        &self,
        permit: &Permit,
        kind: &str,
        id: &str,
        expected_revision: Option<u64>,
        change: ObjectChange<'_>,
    ) -> Result<Meta, StoreError> {
        let account = permit.demand(Action::Write)?;
        let mut lease = self.inner.keyring.lease(account).await?;
        check_body(change.body)?;
        for _ in 0..limits::COMMIT_TRIES {
            // What is there is opened first: columns that were tampered with must not be sealed anew.
            let found = self.inner.get(&mut lease, Name { account, kind, id }).await?.meta;
            if let Some(expected) = expected_revision
                && expected != found.revision
            {
                return Err(StoreError::RevisionConflict {
                    current: found.revision,
                });
            }
            let rewrite = Rewrite::of(&change);
            match self.inner.replace(&mut lease, account, &found, rewrite).await {
                Err(Unchanged {
                    error: StoreError::RevisionConflict { .. },
                    ..
                }) if expected_revision.is_none() => {}
                answer => return Ok(answer?),
            }
        }
        Err(StoreError::Busy)
    }

    /// Deletes an object: its wrapped keys go in the same transaction. Needs no customer key.
    pub async fn delete(&self, permit: &Permit, kind: &str, id: &str) -> Result<(), StoreError> {
        let account = permit.demand(Action::Delete)?;
        let change = Change::Delete {
            kind: kind.to_owned(),
            id: id.to_owned(),
            expired_by_ms: None,
        };
        let transaction = Transaction::new(account, self.inner.now_ms()).change(change);
        // The receipt holds the files that are unwanted now; dropping it has them removed.
        self.inner
            .records
            .commit(transaction)
            .await
            .map_err(|returned| StoreError::from(returned.reason))?;
        self.inner.traces.leave();
        Ok(())
    }

    /// Opens one page of an account's objects of a kind, in the order in which they were stored.
    pub async fn list(&self, permit: &Permit, kind: &str, page: Page) -> Result<Listing, StoreError> {
        let account = permit.demand(Action::Read)?;
        let mut lease = self.inner.keyring.lease(account).await?;
        let limit = page.limit.clamp(1, Page::MAX);
        let query = PageQuery {
            account,
            kind,
            after: page.after.as_deref(),
            limit: limit + 1,
            order: page.order,
            now_ms: self.inner.now_ms(),
        };
        let mut misses = Misses::default();
        for _ in 0..limits::COMMIT_TRIES {
            let mut found = self
                .inner
                .records
                .page(query)
                .await?
                .ok_or(StoreError::NotFound)?;
            let has_more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
            if has_more {
                found.pop();
            }
            match self.inner.open_all(&mut lease, account, kind, found).await {
                Ok(objects) => return Ok(Listing { objects, has_more }),
                Err(miss) => misses.judge(miss)?,
            }
        }
        Err(StoreError::Busy)
    }
}

impl Inner {
    pub(super) async fn get(&self, lease: &mut Lease, name: Name<'_>) -> Result<Object, StoreError> {
        record_context(name.account, name.kind, name.id).map_err(|_| StoreError::NotFound)?;
        let mut misses = Misses::default();
        for _ in 0..limits::COMMIT_TRIES {
            let stored = self.records.record(name).await?.ok_or(StoreError::NotFound)?;
            if stored.expires_ms.is_some_and(|expires| expires <= self.now_ms()) {
                return Err(StoreError::NotFound);
            }
            match self.open(lease, name.account, name.kind, stored).await {
                Ok(object) => return Ok(object),
                Err(miss) => misses.judge(miss)?,
            }
        }
        Err(StoreError::Busy)
    }

    async fn open(
        &self,
        lease: &mut Lease,
        account: AccountId,
        kind: &str,
        stored: StoredRecord,
    ) -> Result<Object, KeyMiss> {
        let context = record_context(account, kind, &stored.id)?;
        let (guard, key) = self.open_key(lease, &context, &stored.wrapped).await?;
        let clear = Clear::of(&stored);
        let body = open_record(&key, &context, &clear, &stored.body)?;
        drop(guard);
        Ok(Object {
            meta: meta_of(kind, stored.id, &clear),
            body,
        })
    }

    async fn open_all(
        &self,
        lease: &mut Lease,
        account: AccountId,
        kind: &str,
        found: Vec<StoredRecord>,
    ) -> Result<Vec<Object>, KeyMiss> {
        let mut objects = Vec::with_capacity(found.len());
        for stored in found {
            objects.push(self.open(lease, account, kind, stored).await?);
        }
        Ok(objects)
    }

    /// Seals a new body under a new key and commits it over the revision that was found, with what becomes of the blobs.
    pub(super) async fn replace(
        &self,
        lease: &mut Lease,
        account: AccountId,
        found: &Meta,
        rewrite: Rewrite<'_>,
    ) -> Result<Meta, Unchanged> {
        let now_ms = self.now_ms();
        let clear = clear_after(found, now_ms, &rewrite);
        let sealing = sealed_changes(lease, account, now_ms, Vec::new(), vec![(found, rewrite)])?;
        self.commit_sealed(lease, account, sealing).await?;
        self.traces.leave();
        Ok(meta_of(&found.kind, found.id.clone(), &clear))
    }

    /// Commits what was sealed just now.
    pub(super) async fn commit_sealed(
        &self,
        lease: &mut Lease,
        account: AccountId,
        sealing: Sealing,
    ) -> Result<Receipt, Unchanged> {
        let Sealing {
            changes,
            keys,
            branch,
        } = sealing;
        let mut transaction = Transaction::new(account, self.now_ms())
            .check(Check::CurrentBranch(branch))
            .gated(lease.clone());
        transaction.changes = changes;
        self.commit_wrapped(lease, transaction, &keys, limits::COMMIT_TRIES)
            .await
            .map_err(|returned| Unchanged::of(*returned, keys))
    }
}

/// What becomes of an object.
pub(crate) struct Rewrite<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) expires: Expiry,
    /// Blobs that it has and shall have no longer.
    pub(crate) dropped: Vec<u32>,
    /// A blob that it has not.
    pub(crate) added: Option<StagedBlob>,
}

impl<'a> Rewrite<'a> {
    pub(crate) fn of(change: &ObjectChange<'a>) -> Self {
        Self {
            body: change.body,
            expires: change.expires,
            dropped: Vec::new(),
            added: None,
        }
    }

    fn parts(&self, found: &Meta) -> Vec<PartSize> {
        let kept = found
            .parts
            .iter()
            .filter(|size| !self.dropped.contains(&size.part));
        let added = self.added.iter().map(|blob| PartSize {
            part: blob.target.part,
            size: blob.size,
        });
        let mut parts: Vec<_> = kept.copied().chain(added).collect();
        parts.sort_unstable_by_key(|size| size.part);
        parts
    }
}

/// Why an object is as it was, and the blob that was to be added, if that can be tried again.
pub(super) struct Unchanged {
    pub(super) error: StoreError,
    pub(super) blob: Option<StagedBlob>,
}

impl Unchanged {
    fn of(returned: Returned, mut keys: Vec<ObjectKey>) -> Self {
        let blob = returned.transaction.and_then(|mut back| {
            let Some(Change::Replace(new)) = back.changes.pop() else {
                return None;
            };
            let Replacement {
                kind, id, mut added, ..
            } = *new;
            let added = added.pop()?;
            let target = Target {
                account: back.account,
                kind,
                id,
                part: added.part,
            };
            Some(StagedBlob {
                target,
                size: added.size,
                stored: added.stored,
                key: keys.pop()?,
                bytes: added.bytes,
            })
        });
        Self {
            error: returned.reason.into(),
            blob,
        }
    }
}

impl From<StoreError> for Unchanged {
    fn from(error: StoreError) -> Self {
        Self { error, blob: None }
    }
}

impl From<Unchanged> for StoreError {
    fn from(unchanged: Unchanged) -> Self {
        unchanged.error
    }
}

/// Changes to be committed under one branch version, with the keys that are wrapped in them, in the same order.
pub(crate) struct Sealing {
    pub(crate) changes: Vec<Change>,
    pub(crate) keys: Vec<ObjectKey>,
    pub(crate) branch: BranchVersion,
}

/// Seals new objects and new bodies of found ones, all under the lease's current branch version.
pub(crate) fn sealed_changes(
    lease: &Lease,
    account: AccountId,
    now_ms: u64,
    puts: Vec<NewObject<'_>>,
    rewrites: Vec<(&Meta, Rewrite<'_>)>,
) -> Result<Sealing, StoreError> {
    let guard = lease.guard()?;
    let branch = guard.current();
    let mut sealing = Sealing {
        changes: Vec::with_capacity(puts.len() + rewrites.len()),
        keys: Vec::new(),
        branch: branch.version(),
    };
    for new in puts {
        let clear = clear_of_new(account, now_ms, &new)?;
        insertion(branch, account, new, &clear, &mut sealing)?;
    }
    for (found, rewrite) in rewrites {
        let clear = clear_after(found, now_ms, &rewrite);
        replacement(branch, account, (found, &clear), rewrite, &mut sealing)?;
    }
    Ok(sealing)
}

/// What stands beside a new object in the clear.
fn clear_of_new(account: AccountId, now_ms: u64, new: &NewObject<'_>) -> Result<Clear, StoreError> {
    Ok(Clear {
        created_ms: now_ms,
        expires_ms: after(now_ms, new.expires),
        revision: 1,
        parts: check_parts(account, new)?,
    })
}

pub(super) fn meta_of_new(account: AccountId, now_ms: u64, new: &NewObject<'_>) -> Result<Meta, StoreError> {
    Ok(meta_of(
        new.kind,
        new.id.clone(),
        &clear_of_new(account, now_ms, new)?,
    ))
}

fn clear_after(found: &Meta, now_ms: u64, rewrite: &Rewrite<'_>) -> Clear {
    Clear {
        created_ms: found.created_ms,
        expires_ms: match rewrite.expires {
            Expiry::Keep => found.expires_ms,
            Expiry::Never => None,
            Expiry::In(time) => after(now_ms, Some(time)),
        },
        revision: found.revision + 1,
        parts: rewrite.parts(found),
    }
}

/// Seals a new object and wraps its keys: the record's first, then each part's.
fn insertion(
    branch: &BranchKey,
    account: AccountId,
    new: NewObject<'_>,
    clear: &Clear,
    sealing: &mut Sealing,
) -> Result<(), StoreError> {
    check_body(new.body)?;
    let NewObject {
        kind,
        id,
        body,
        mut blobs,
        ..
    } = new;
    blobs.sort_unstable_by_key(|blob| blob.target.part);
    let context = record_context(account, kind, &id)?;
    let key = ObjectKey::generate()?;
    let sealed = seal_record(&key, &context, clear, body)?;
    let wrapped = branch.wrap(&context, &key)?;
    sealing.keys.push(key);
    let mut parts = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let part = blob.target.part;
        let key = branch.wrap(&part_context(account, kind, &id, part)?, &blob.key)?;
        parts.push(NewPart {
            part,
            size: blob.size,
            stored: blob.stored,
            key,
            bytes: blob.bytes,
        });
        sealing.keys.push(blob.key);
    }
    let record = NewRecord {
        kind,
        id,
        created_ms: clear.created_ms,
        expires_ms: clear.expires_ms,
        key: wrapped,
        body: sealed,
        parts,
    };
    sealing.changes.push(Change::Insert(Box::new(record)));
    Ok(())
}

/// Seals an object's new body and wraps its key, then that of a blob that is added.
fn replacement(
    branch: &BranchKey,
    account: AccountId,
    (found, clear): (&Meta, &Clear),
    rewrite: Rewrite<'_>,
    sealing: &mut Sealing,
) -> Result<(), StoreError> {
    check_body(rewrite.body)?;
    let (kind, id) = (found.kind.clone(), found.id.clone());
    let context = record_context(account, &kind, &id)?;
    let key = ObjectKey::generate()?;
    let wrapped = branch.wrap(&context, &key)?;
    let body = seal_record(&key, &context, clear, rewrite.body)?;
    sealing.keys.push(key);
    let mut added = Vec::new();
    if let Some(blob) = rewrite.added {
        added.push(NewPart {
            part: blob.target.part,
            size: blob.size,
            stored: blob.stored,
            key: branch.wrap(&part_context(account, &kind, &id, blob.target.part)?, &blob.key)?,
            bytes: blob.bytes,
        });
        sealing.keys.push(blob.key);
    }
    let replacement = Replacement {
        kind,
        id,
        expected_revision: found.revision,
        expires_ms: clear.expires_ms,
        key: wrapped,
        body,
        dropped: rewrite.dropped,
        added,
    };
    sealing.changes.push(Change::Replace(Box::new(replacement)));
    Ok(())
}

pub(super) fn check_body(body: &[u8]) -> Result<(), StoreError> {
    if body.len() > limits::RECORD_BODY {
        return Err(StoreError::TooLarge {
            limit: limits::RECORD_BODY as u64,
        });
    }
    Ok(())
}

/// Each blob must have been staged for this very object, and each part number be used once.
fn check_parts(account: AccountId, new: &NewObject<'_>) -> Result<Vec<PartSize>, StoreError> {
    if new.blobs.len() > limits::PARTS {
        return Err(StoreError::TooLarge {
            limit: limits::PARTS as u64,
        });
    }
    let mut parts = Vec::with_capacity(new.blobs.len());
    for blob in &new.blobs {
        let Target {
            account: for_account,
            kind,
            id,
            part,
        } = &blob.target;
        if *for_account != account || kind != new.kind || *id != new.id {
            return Err(StoreError::BadName);
        }
        parts.push(PartSize {
            part: *part,
            size: blob.size,
        });
    }
    parts.sort_unstable_by_key(|size| size.part);
    if parts.is_sorted_by(|one, next| one.part < next.part) {
        Ok(parts)
    } else {
        Err(StoreError::BadName)
    }
}

fn after(now_ms: u64, time: Option<Duration>) -> Option<u64> {
    time.map(|time| now_ms.saturating_add(millis(time)))
}

fn meta_of(kind: &str, id: String, clear: &Clear) -> Meta {
    Meta {
        kind: kind.to_owned(),
        id,
        created_ms: clear.created_ms,
        expires_ms: clear.expires_ms,
        revision: clear.revision,
        parts: clear.parts.clone(),
    }
}
