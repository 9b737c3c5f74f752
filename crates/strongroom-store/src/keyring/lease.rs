//! What a keyring hands out: leases, and guards that show the keys for one segment or one record.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use strongroom_seal::{AccountId, BranchKey, BranchVersion, CheckValue, KeyId};
use tokio::sync::watch;

use super::{entry::Entry, status::KeyDenied};
use crate::event::StoreEvent;

/// The right to use an account's branch keys, for as long as the vault lets it. Once it has ended it stays ended, even if the key comes back:
/// ask for another. While one lives, it is renewed in the background.
pub struct Lease {
    tenure: Arc<Tenure>,
}

impl Lease {
    pub(super) fn new(tenure: &Arc<Tenure>) -> Self {
        tenure.handles.fetch_add(1, Ordering::Relaxed);
        Self {
            tenure: Arc::clone(tenure),
        }
    }

    /// Whether the key may be used at this moment.
    pub fn check(&self) -> Result<(), KeyDenied> {
        self.tenure.entry.check(&self.tenure)
    }

    /// Resolves when the lease ends, to the reason. It does not keep the key in use; hold the lease beside it for that.
    pub fn ended(&self) -> impl Future<Output = KeyDenied> + Send + 'static {
        let mut ended = self.tenure.ended.subscribe();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(denied) => denied.unwrap_or(KeyDenied::Closed),
                Err(_) => KeyDenied::Closed,
            }
        }
    }

    /// Shows the keys, for one segment or one record: wiping waits for guards, and for nothing else.
    pub(crate) fn guard(&self) -> Result<Guard, KeyDenied> {
        self.tenure.entry.guard(&self.tenure)
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self::new(&self.tenure)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.tenure.handles.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.tenure.entry.touch();
        }
    }
}

/// One unbroken time of holding the keys, from a lease's beginning through its renewals to its end.
pub(super) struct Tenure {
    entry: Arc<Entry>,
    /// Living [`Lease`]s.
    handles: AtomicUsize,
    ended: watch::Sender<Option<KeyDenied>>,
}

impl Tenure {
    pub(super) fn new(entry: &Arc<Entry>) -> Arc<Self> {
        Arc::new(Self {
            entry: Arc::clone(entry),
            handles: AtomicUsize::new(0),
            ended: watch::Sender::new(None),
        })
    }

    pub(super) fn is_held_by_someone(&self) -> bool {
        self.handles.load(Ordering::Relaxed) > 0
    }

    pub(super) fn end(&self, denied: KeyDenied) {
        self.ended.send_replace(Some(denied));
    }

    /// Why it ended; asked only once it has.
    pub(super) fn denied(&self) -> KeyDenied {
        self.ended.borrow().unwrap_or(KeyDenied::Closed)
    }

    pub(super) async fn wait_for_end(&self) {
        // The sender lives as long as `self`.
        let _ = self.ended.subscribe().wait_for(Option::is_some).await;
    }
}

/// Keys in use. Held for at most one segment or one record.
pub(crate) struct Guard {
    keys: Arc<KeySet>,
}

impl Guard {
    pub(super) fn new(keys: &Arc<KeySet>) -> Self {
        Self {
            keys: Arc::clone(keys),
        }
    }

    /// The key for new object keys.
    pub(crate) fn current(&self) -> &BranchKey {
        &self.keys.current
    }

    /// The key of one living version.
    pub(crate) fn version(&self, version: BranchVersion) -> Option<&BranchKey> {
        self.keys.version(version).map(|key| &**key)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.keys.presence.used();
    }
}

/// The branch keys of an account in memory. Dropping the last set of a tenure wipes them.
pub(super) struct KeySet {
    current: Arc<BranchKey>,
    /// Oldest first.
    older: Vec<Arc<BranchKey>>,
    /// The customer-key versions whose wraps are active, one for each version, in the same order.
    wrapped_by: Vec<KeyId>,
    /// Stands last: it is dropped after the keys, and tells that they are wiped.
    presence: Arc<Presence>,
}

impl KeySet {
    /// Of keys given oldest first, each with the customer key that its seed is wrapped under; `None` if there are none.
    pub(super) fn new(keys: Vec<(Arc<BranchKey>, KeyId)>, presence: Arc<Presence>) -> Option<Self> {
        let (mut older, wrapped_by): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        Some(Self {
            current: older.pop()?,
            older,
            wrapped_by,
            presence,
        })
    }

    pub(super) fn version(&self, version: BranchVersion) -> Option<&Arc<BranchKey>> {
        self.all().find(|key| key.version() == version)
    }

    /// The customer-key version whose wrap of the current version is active.
    pub(super) fn key(&self) -> Option<&KeyId> {
        self.wrapped_by.last()
    }

    pub(super) fn wrapped_by(&self) -> &[KeyId] {
        &self.wrapped_by
    }

    pub(super) fn current_version(&self) -> BranchVersion {
        self.current.version()
    }

    /// What is held, in public terms.
    pub(super) fn inventory(&self) -> Vec<(BranchVersion, CheckValue)> {
        self.all().map(|key| (key.version(), key.check_value())).collect()
    }

    pub(super) fn is_locked_in_memory(&self) -> bool {
        self.all().all(|key| key.is_locked_in_memory())
    }

    pub(super) fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }

    /// The same keys but for one.
    pub(super) fn without(&self, version: BranchVersion) -> Option<Self> {
        let keys = self.all().cloned().zip(self.wrapped_by.iter().cloned());
        let others = keys.filter(|(key, _)| key.version() != version);
        Self::new(others.collect(), Arc::clone(&self.presence))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<BranchKey>> {
        self.older.iter().chain([&self.current])
    }
}

/// Tells, by being dropped, when the last key of a tenure left memory.
pub(super) struct Presence {
    shared: Arc<super::Shared>,
    account: AccountId,
    /// Whether keys were ever lent out under it.
    was_held: AtomicBool,
    last_use_ms: AtomicU64,
    /// Why the tenure ended, if a vault's answer or silence was the reason.
    denied: OnceLock<KeyDenied>,
}

impl Presence {
    pub(super) fn new(shared: &Arc<super::Shared>, account: AccountId) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            account,
            was_held: AtomicBool::new(false),
            last_use_ms: AtomicU64::new(0),
            denied: OnceLock::new(),
        })
    }

    pub(super) fn is_held(&self) {
        self.was_held.store(true, Ordering::Relaxed);
    }

    pub(super) fn denied(&self, denied: KeyDenied) {
        // The first reason stands.
        let _ = self.denied.set(denied);
    }

    fn used(&self) {
        self.last_use_ms
            .fetch_max(self.shared.now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.was_held.load(Ordering::Relaxed) {
            return;
        }
        let account = self.account;
        let last_use = self.last_use_ms.load(Ordering::Relaxed);
        if last_use > 0 {
            self.shared.events.emit(StoreEvent::LastUse {
                account,
                at_ms: last_use,
            });
        }
        self.shared.events.emit(StoreEvent::Wiped {
            account,
            denied: self.denied.get().copied(),
            at_ms: self.shared.now_ms(),
        });
    }
}
