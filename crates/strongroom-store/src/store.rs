//! The store: what the program and the service see.

use std::{ops::Range, sync::Arc};

use strongroom_seal::{AccountId, Clock, KeyWrap};
use tokio::sync::{broadcast, watch};

use crate::{
    config::StoreConfig,
    error::{OpenStoreError, StoreError},
    event::StoreEvent,
    jobs::{JobId, JobStatus},
    keyring::{Binding, KeyDenied, KeyStatus, Lease},
    object::{Change, KeyVersionNeed, Listing, Meta, NewObject, Object, Page, Statistics},
    permit::{Permit, PermitAuthority},
    reading::{BlobReader, TinkExport},
    staging::BlobWriter,
};

/// Sealed records and blobs under leased keys. Cheap to clone.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the folder and locks it; sweeps what a crash left behind. Must run inside a tokio runtime.
    pub async fn open(
        config: StoreConfig,
        vault: Arc<dyn KeyWrap>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, PermitAuthority), OpenStoreError> {
        let _ = (config, vault, clock);
        Ok((Self {}, PermitAuthority::new()))
    }

    /// Follows which account uses which key.
    pub fn bind(&self, bindings: watch::Receiver<Vec<Binding>>) {
        let _ = bindings;
    }

    /// Asks the vault early. A push decides nothing.
    pub fn nudge(&self, account: AccountId) {
        let _ = account;
    }

    /// The state of an account's key, watched.
    #[must_use]
    pub fn key_state(&self, account: AccountId) -> watch::Receiver<KeyStatus> {
        let _ = account;
        loop {}
    }

    /// The right to use an account's key, for gating what needs no storage.
    pub async fn lease(&self, account: AccountId) -> Result<Lease, KeyDenied> {
        let _ = account;
        Err(KeyDenied::Refused)
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<StoreEvent> {
        loop {}
    }

    /// Stores a new object with its staged blobs, all or nothing, durably.
    pub async fn put(&self, permit: &Permit, new: NewObject<'_>) -> Result<Meta, StoreError> {
        let _ = (permit, new);
        Err(StoreError::Closed)
    }

    /// Begins a blob for an object that is still to be put.
    pub async fn stage(&self, permit: &Permit, kind: &str, id: &str, part: u32) -> Result<BlobWriter, StoreError> {
        let _ = (permit, kind, id, part);
        Err(StoreError::Closed)
    }

    /// Opens a record.
    pub async fn get(&self, permit: &Permit, kind: &str, id: &str) -> Result<Object, StoreError> {
        let _ = (permit, kind, id);
        Err(StoreError::Closed)
    }

    /// Replaces a record's body, if it still is at the expected revision.
    pub async fn update(
        &self,
        permit: &Permit,
        kind: &str,
        id: &str,
        expected_revision: Option<u64>,
        change: Change<'_>,
    ) -> Result<Meta, StoreError> {
        let _ = (permit, kind, id, expected_revision, change);
        Err(StoreError::Closed)
    }

    /// Deletes an object: its wrapped keys go in the same transaction. Needs no customer key.
    pub async fn delete(&self, permit: &Permit, kind: &str, id: &str) -> Result<(), StoreError> {
        let _ = (permit, kind, id);
        Err(StoreError::Closed)
    }

    /// Opens one page of an account's objects of a kind, in the order they were stored.
    pub async fn list(&self, permit: &Permit, kind: &str, page: Page) -> Result<Listing, StoreError> {
        let _ = (permit, kind, page);
        Err(StoreError::Closed)
    }

    /// Begins to read a blob, or the given range of it (cut at its end).
    pub async fn open_blob(
        &self,
        permit: &Permit,
        kind: &str,
        id: &str,
        part: u32,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader, StoreError> {
        let _ = (permit, kind, id, part, range);
        Err(StoreError::Closed)
    }

    /// Hands out one blob with its key. Counted durably before anything leaves.
    pub async fn export(&self, permit: &Permit, kind: &str, id: &str, part: u32) -> Result<TinkExport, StoreError> {
        let _ = (permit, kind, id, part);
        Err(StoreError::Closed)
    }

    /// Wraps the account's seeds under the key version that is bound now.
    pub async fn rewrap(&self, permit: &Permit) -> Result<(), StoreError> {
        let _ = permit;
        Err(StoreError::Closed)
    }

    /// Begins a rekey in the background; answers the running one if there is one.
    pub async fn rekey(&self, permit: &Permit) -> Result<JobId, StoreError> {
        let _ = permit;
        Err(StoreError::Closed)
    }

    /// Every job, newest first.
    pub async fn jobs(&self) -> Result<Vec<JobStatus>, StoreError> {
        Err(StoreError::Closed)
    }

    /// Which customer-key versions must stay enabled, and for what.
    pub async fn still_needed(&self, account: AccountId) -> Result<Vec<KeyVersionNeed>, StoreError> {
        let _ = account;
        Err(StoreError::Closed)
    }

    /// What is sealed, by kind and key.
    pub async fn statistics(&self) -> Result<Statistics, StoreError> {
        Err(StoreError::Closed)
    }

    /// Finishes what is queued, ends every lease, wipes the keys, closes the database.
    pub async fn close(&self) {}
}
