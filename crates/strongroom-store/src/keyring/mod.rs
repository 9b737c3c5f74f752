//! The keyring: who may use which branch key, and for how long (DESIGN.md, "Leases").
//!
//! What the store needs to know:
//!
//! - [`Keyring::lease`] is at once, without any call, while the account's lease is held; otherwise it asks the vault, once however many
//!   callers wait. After a no, callers are answered with it for up to a second (longer if a throttling vault says so) before the vault
//!   is asked again; [`Keyring::nudge`] cuts that short.
//! - [`Lease`]: `check()` before each commit and each answer, `guard()` for each segment or record, `ended()` to stop what runs long. All judge
//!   by the clock at the moment of use. A lease that ended never comes back to life; ask for another. A `Lease` that lives keeps the key
//!   in use; without one, and without a wish for one, the key is wiped after `limits::IDLE`.
//! - [`Guard`]: the keys themselves, for at most one segment or record. Wiping waits for guards, and for nothing else. New object keys are
//!   wrapped under `guard.current()`; `guard.version(v)` opens older ones. If a commit or a stored key names a version that the guard
//!   does not know, [`Keyring::lease_with`] loads it, if it is stored.
//! - [`Keyring::next_branch`], [`Keyring::before_drop`] and [`Keyring::dropped`] are the steps of a rekey; [`Keyring::rewrap`] is the rotation of the
//!   customer key, which also runs by itself when the binding changes or, for a binding without a version, when the vault has a
//!   newer one.
//! - [`Keyring::bind`] must have been called, or nothing is leased.
//!
//! Inside: `state` judges (pure), `chain` decides which stored versions are the account's (pure), `question` asks the vault, `entry` holds one
//! account's keys and hears the answers, `keeper` renews and watches while they are held.

mod binding;
mod chain;
mod entry;
mod keeper;
mod lease;
mod question;
mod state;
mod status;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use strongroom_seal::{AccountId, BranchVersion, Clock};
use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    event::Events,
    rotation::{self, BranchRecord, Branches, BranchesError, RotationError},
};

pub use binding::{Anchor, AnchorError, AnchorKeeper, Binding, Vaults};
pub(crate) use chain::living;
pub(crate) use entry::Entry;
pub(crate) use lease::Guard;
pub use lease::Lease;
pub(crate) use state::Answer;
pub use status::{KeyDenied, KeyState, KeyStatus, LastAnswer};

/// What a keyring works with.
pub(crate) struct KeyringParts {
    pub(crate) vaults: Arc<dyn Vaults>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) branches: Arc<dyn Branches>,
    /// Without one, an account's first branch version is trusted as it is stored.
    pub(crate) anchors: Option<Arc<dyn AnchorKeeper>>,
    pub(crate) events: Events,
}

/// The branch keys of all accounts. Cheap to clone; the last one dropped ends every lease.
#[derive(Clone)]
pub(crate) struct Keyring {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    accounts: Mutex<HashMap<AccountId, Arc<Entry>>>,
    bindings: Mutex<Option<watch::Receiver<Vec<Binding>>>>,
    closing: CancellationToken,
}

/// What every entry needs.
pub(crate) struct Shared {
    pub(crate) vaults: Arc<dyn Vaults>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) branches: Arc<dyn Branches>,
    pub(crate) anchors: Option<Arc<dyn AnchorKeeper>>,
    pub(crate) events: Events,
    runtime: Handle,
}

impl Keyring {
    /// Begins, bound to nothing. Must be called inside a tokio runtime.
    pub(crate) fn start(parts: KeyringParts) -> Self {
        let shared = Shared {
            vaults: parts.vaults,
            clock: parts.clock,
            branches: parts.branches,
            anchors: parts.anchors,
            events: parts.events,
            runtime: Handle::current(),
        };
        Self {
            inner: Arc::new(Inner {
                shared: Arc::new(shared),
                accounts: Mutex::default(),
                bindings: Mutex::default(),
                closing: CancellationToken::new(),
            }),
        }
    }

    /// Follows these bindings, from now until others are given.
    pub(crate) fn bind(&self, bindings: watch::Receiver<Vec<Binding>>) {
        let mut follow = bindings.clone();
        *lock(&self.inner.bindings) = Some(bindings);
        self.inner.rebind();
        let inner = Arc::downgrade(&self.inner);
        let closing = self.inner.closing.clone();
        self.inner.shared.runtime.spawn(async move {
            // Ends with the keyring or with the last sender; then the last word holds.
            while let Some(Ok(())) = closing.run_until_cancelled(follow.changed()).await {
                let Some(inner) = inner.upgrade() else { return };
                follow.mark_unchanged();
                inner.rebind();
            }
        });
    }

    /// The vault's push: asks early. It decides nothing.
    pub(crate) fn nudge(&self, account: AccountId) {
        self.inner.entry(account).nudge();
    }

    /// The watched state of an account's key.
    pub(crate) fn key_state(&self, account: AccountId) -> watch::Receiver<KeyStatus> {
        self.inner.entry(account).watch()
    }

    /// The right to use an account's keys.
    pub(crate) async fn lease(&self, account: AccountId) -> Result<Lease, KeyDenied> {
        self.inner.bound_entry(account).lease().await
    }

    /// As [`Keyring::lease`]; if the account has this branch version, the lease's guards know it.
    pub(crate) async fn lease_with(
        &self,
        account: AccountId,
        version: BranchVersion,
    ) -> Result<Lease, KeyDenied> {
        self.inner.bound_entry(account).lease_with(version).await
    }

    /// Wraps the account's seeds under the key version that is bound, or the latest; says how many it was.
    pub(crate) async fn rewrap(&self, account: AccountId) -> Result<u32, RotationError> {
        rotation::rewrap(&self.inner.fresh_entry(account)).await
    }

    /// Shows that the key version that is bound, or the latest, wraps and unwraps.
    pub(crate) async fn prove_key(&self, account: AccountId) -> Result<(), RotationError> {
        rotation::prove_key(&self.inner.fresh_entry(account)).await
    }

    /// Whether every living seed is under the key that is bound, and none can come under another.
    pub(crate) async fn is_settled(&self, account: AccountId) -> Result<bool, RotationError> {
        rotation::is_settled(&self.inner.fresh_entry(account)).await
    }

    /// Makes a new branch version, which becomes current.
    pub(crate) async fn next_branch(&self, account: AccountId) -> Result<BranchVersion, RotationError> {
        rotation::next_branch(&self.inner.fresh_entry(account)).await
    }

    /// To be called before the oldest version is dropped, once no object key is under it: moves the anchor past it.
    pub(crate) async fn before_drop(
        &self,
        account: AccountId,
        version: BranchVersion,
    ) -> Result<(), RotationError> {
        rotation::before_drop(&self.inner.fresh_entry(account), version).await
    }

    /// To be called once it is dropped: wipes it.
    pub(crate) fn dropped(&self, account: AccountId, version: BranchVersion) {
        self.inner.entry(account).dropped(version);
    }

    /// Ends every lease; keys are wiped as the guards that are out come back.
    pub(crate) async fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn entry(&self, account: AccountId) -> Arc<Entry> {
        let mut accounts = lock(&self.accounts);
        let entry = accounts.entry(account).or_insert_with(|| {
            let bindings = lock(&self.bindings);
            let bound = bindings
                .as_ref()
                .and_then(|bindings| find(&bindings.borrow(), account));
            let entry = Entry::new(&self.shared, account, bound);
            if self.closing.is_cancelled() {
                entry.close();
            }
            entry
        });
        Arc::clone(entry)
    }

    /// The entry; if nothing is bound to it, after a look at the bindings' latest, which may not have been followed yet.
    fn bound_entry(&self, account: AccountId) -> Arc<Entry> {
        let entry = self.entry(account);
        if entry.binding() == Err(KeyDenied::NotBound) {
            self.rebind();
        }
        entry
    }

    /// The entry, after a look at the bindings' latest.
    fn fresh_entry(&self, account: AccountId) -> Arc<Entry> {
        self.rebind();
        self.entry(account)
    }

    fn rebind(&self) {
        let bindings = lock(&self.bindings).clone();
        let Some(bindings) = bindings else { return };
        // There may be many of both.
        let bindings: HashMap<_, _> = {
            let bindings = bindings.borrow();
            let named = bindings.iter().map(|binding| (binding.account, binding.clone()));
            named.collect()
        };
        let entries: Vec<_> = lock(&self.accounts).values().cloned().collect();
        for entry in entries {
            entry.rebind(bindings.get(&entry.account()).cloned());
        }
    }

    fn close(&self) {
        self.closing.cancel();
        for entry in lock(&self.accounts).values() {
            entry.close();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// The stored branch versions.
    pub(crate) async fn load(&self, account: AccountId) -> Result<Vec<BranchRecord>, KeyDenied> {
        self.branches.load(account).await.map_err(|error| match error {
            BranchesError::Closed => KeyDenied::Closed,
            BranchesError::Conflict
            | BranchesError::Damaged
            | BranchesError::Busy
            | BranchesError::Storage(_) => {
                tracing::error!(%account, %error, "the branch versions could not be loaded");
                KeyDenied::Storage
            }
        })
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        millis(self.clock.now().wall)
    }
}

fn find(bindings: &[Binding], account: AccountId) -> Option<Binding> {
    bindings
        .iter()
        .find(|binding| binding.account == account)
        .cloned()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is consistent after every statement, so a panic elsewhere does not matter here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
