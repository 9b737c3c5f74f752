//! The store: what the program and the service see.

mod admin;
mod blobs;
mod folder;
mod jobs;
mod keys;
mod objects;
mod pieces;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use strongroom_seal::{AccountId, Clock};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    blobs::{Blobs, Litter, LitterBin},
    config::StoreConfig,
    error::OpenStoreError,
    event::{Events, StoreEvent, Witness},
    jobs::{self as background, Handlers},
    keyring::{Binding, KeyDenied, KeyStatus, Keyring, KeyringParts, Lease, Vaults},
    permit::PermitAuthority,
    records::{BranchTable, Records},
    traces::Traces,
};

pub(crate) use folder::{remove_unwanted, sweep};
pub(crate) use keys::Misses;
pub(crate) use objects::{Rewrite, Sealing, sealed_changes};

/// Sealed records and blobs under leased keys. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Absent where the background works itself, which must not keep the store from ending.
    _last: Option<Arc<Last>>,
}

/// Dropped with the last clone of the store: ends what works in the background, which holds on to the inside.
struct Last {
    closing: CancellationToken,
}

impl Drop for Last {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// What every part of the store works with.
pub(crate) struct Inner {
    pub(crate) records: Arc<dyn Records>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) keyring: Keyring,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    pub(crate) bin: LitterBin,
    pub(crate) erase_within: Duration,
    /// Is told of each shredding before it is forgotten here.
    pub(crate) witness: Option<Arc<dyn Witness>>,
    /// What deleted objects and replaced keys leave in the log.
    pub(crate) traces: Arc<Traces>,
    /// The kinds of job that are worked on here.
    pub(crate) handlers: Mutex<Handlers>,
    /// A job was added, or may be worked on again.
    pub(crate) job_added: Notify,
    /// Counts what is asked of jobs, so that whoever works on one looks.
    pub(crate) job_asked: watch::Sender<u64>,
    /// The store is closing: nothing new is begun.
    pub(crate) closing: CancellationToken,
    /// Nothing commits any more.
    closed: CancellationToken,
    tasks: TaskTracker,
    /// Held for as long as anyone uses the store.
    lock: Option<folder::FolderLock>,
}

/// What a store is made of; differs between the disk and the tests.
pub(crate) struct Parts {
    pub(crate) records: Arc<dyn Records>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) bin: LitterBin,
    pub(crate) litter: Litter,
    pub(crate) lock: Option<folder::FolderLock>,
}

impl Store {
    /// Opens the folder and locks it; sweeps what a crash left behind. Must run inside a tokio runtime.
    pub async fn open(
        config: StoreConfig,
        vaults: impl Vaults,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, PermitAuthority), OpenStoreError> {
        let parts = folder::open(config.folder.clone()).await?;
        sweep(&*parts.records, &*parts.blobs, millis(clock.now().wall)).await?;
        Ok((Self::over(parts, &config, vaults, clock), PermitAuthority::new()))
    }

    /// A store over given back ends.
    pub(crate) fn over(
        parts: Parts,
        config: &StoreConfig,
        vaults: impl Vaults,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let events = Events::new();
        let traces = Arc::new(Traces::new());
        let branches = BranchTable::new(
            Arc::clone(&parts.records),
            Arc::clone(&clock),
            Arc::clone(&traces),
        );
        let keyring = Keyring::start(KeyringParts {
            vaults: Arc::new(vaults),
            clock: Arc::clone(&clock),
            branches: Arc::new(branches),
            anchors: config.anchors.clone(),
            events: events.clone(),
        });
        let (tasks, closing, closed) = (
            TaskTracker::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        tasks.spawn(parts.litter.collect(Arc::clone(&parts.blobs), closed.clone()));
        let inner = Arc::new(Inner {
            records: parts.records,
            blobs: parts.blobs,
            keyring,
            clock,
            events,
            bin: parts.bin,
            erase_within: config.erase_within,
            witness: config.witness.clone(),
            traces,
            handlers: Mutex::new(background::own_handlers()),
            job_added: Notify::new(),
            job_asked: watch::Sender::new(0),
            closing: closing.clone(),
            closed,
            tasks,
            lock: parts.lock,
        });
        background::start(&inner, &inner.tasks);
        Self {
            inner,
            _last: Some(Arc::new(Last { closing })),
        }
    }

    /// For what works in the background.
    pub(crate) fn within(inner: &Arc<Inner>) -> Self {
        Self {
            inner: Arc::clone(inner),
            _last: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Follows which account uses which key.
    pub fn bind(&self, bindings: watch::Receiver<Vec<Binding>>) {
        self.inner.keyring.bind(bindings);
    }

    /// Asks the vault early. A push decides nothing.
    pub fn nudge(&self, account: AccountId) {
        self.inner.keyring.nudge(account);
    }

    /// The state of an account's key, watched.
    #[must_use]
    pub fn key_state(&self, account: AccountId) -> watch::Receiver<KeyStatus> {
        self.inner.keyring.key_state(account)
    }

    /// The right to use an account's key, for gating what needs no storage.
    pub async fn lease(&self, account: AccountId) -> Result<Lease, KeyDenied> {
        self.inner.keyring.lease(account).await
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<StoreEvent> {
        self.inner.events.subscribe()
    }

    /// Finishes what is queued, ends every lease, wipes the keys, closes the database.
    pub async fn close(&self) {
        let inner = &self.inner;
        inner.closing.cancel();
        inner.records.close().await;
        inner.keyring.close().await;
        inner.closed.cancel();
        inner.tasks.close();
        inner.tasks.wait().await;
        // Handlers may hold the store.
        inner
            .handlers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl Inner {
    /// Whether no other process can work on what is stored here.
    pub(crate) fn is_sole(&self) -> bool {
        self.lock.is_some()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        millis(self.clock.now().wall)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
