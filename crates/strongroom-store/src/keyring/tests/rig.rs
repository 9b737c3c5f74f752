//! A keyring with everything around it in the test's hand: vault, clock, rows, anchors.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use strongroom_seal::{
    AccountId, BoxFuture, BranchVersion, Clock, KeyId, KeyName, Moment, NoAnswer, WrapAlgorithm, WrappedSeed,
};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};
use uuid::Uuid;

use super::vault::ScriptedVault;
use crate::{
    error::StorageFault,
    event::{Events, StoreEvent},
    keyring::{Anchor, AnchorError, AnchorKeeper, Binding, KeyState, Keyring, KeyringParts, Lease},
    rotation::{BranchRecord, Branches, BranchesError, SeedWrap},
};

pub(super) const BOUND: Duration = Duration::from_secs(10);
/// By now a lease has been renewed, whatever the jitter.
pub(super) const RENEWED: Duration = Duration::from_millis(3_500);
pub(super) const GRACE: Duration = Duration::from_secs(60);
pub(super) const UNREACHABLE: NoAnswer = NoAnswer::Unreachable;

pub(super) fn key_name() -> KeyName {
    KeyName::parse("https://acme.vault.localhost:8443/keys/main").unwrap()
}

pub(super) fn key(version: &str) -> KeyId {
    key_name().with_version(version).unwrap()
}

pub(super) struct Rig {
    pub(super) account: AccountId,
    pub(super) keyring: Keyring,
    pub(super) vault: Arc<ScriptedVault>,
    pub(super) clock: Arc<TestClock>,
    pub(super) branches: Arc<MemoryBranches>,
    pub(super) anchors: Arc<Anchors>,
    pub(super) bindings: watch::Sender<Vec<Binding>>,
    pub(super) events: broadcast::Receiver<StoreEvent>,
}

impl Rig {
    pub(super) fn new() -> Self {
        let account = AccountId::from_uuid(Uuid::new_v4());
        let bindings = watch::Sender::new(vec![Binding {
            account,
            key: key_name(),
            version: Some("1".to_owned()),
            retiring: None,
            anchor: None,
            revocation_bound: BOUND,
            outage_grace: GRACE,
        }]);
        let anchors = Arc::new(Anchors {
            bindings: bindings.clone(),
            fails: AtomicBool::new(false),
        });
        let (vault, clock) = (Arc::new(ScriptedVault::new()), Arc::new(TestClock::new()));
        let branches = Arc::new(MemoryBranches::default());
        let events = Events::new();
        let parts = KeyringParts {
            vaults: Arc::new(Arc::clone(&vault)),
            clock: Arc::clone(&clock) as _,
            branches: Arc::clone(&branches) as _,
            anchors: Some(Arc::clone(&anchors) as _),
            events: events.clone(),
        };
        let keyring = Keyring::start(parts);
        keyring.bind(bindings.subscribe());
        Self {
            account,
            keyring,
            vault,
            clock,
            branches,
            anchors,
            bindings,
            events: events.subscribe(),
        }
    }

    /// An account that was used before and is idle now.
    pub(super) async fn used_before() -> Self {
        let rig = Self::new();
        rig.lease().await;
        let rig = rig.restart();
        rig.vault.asked.lock().unwrap().clear();
        rig
    }

    /// The same storage, vault and control plane under a new process.
    pub(super) fn restart(self) -> Self {
        let events = Events::new();
        let parts = KeyringParts {
            vaults: Arc::new(Arc::clone(&self.vault)),
            clock: Arc::clone(&self.clock) as _,
            branches: Arc::clone(&self.branches) as _,
            anchors: Some(Arc::clone(&self.anchors) as _),
            events: events.clone(),
        };
        let keyring = Keyring::start(parts);
        keyring.bind(self.bindings.subscribe());
        Self {
            keyring,
            events: events.subscribe(),
            ..self
        }
    }

    /// Another process over the same storage and vault, which hears nothing more from the control plane.
    pub(super) fn second_process(&self) -> Self {
        let bindings = watch::Sender::new(self.bindings.borrow().clone());
        let anchors = Arc::new(Anchors {
            bindings: bindings.clone(),
            fails: AtomicBool::new(false),
        });
        let second = Self {
            keyring: self.keyring.clone(),
            vault: Arc::clone(&self.vault),
            clock: Arc::clone(&self.clock),
            branches: Arc::clone(&self.branches),
            events: self.events.resubscribe(),
            account: self.account,
            anchors,
            bindings,
        };
        second.restart()
    }

    pub(super) async fn lease(&self) -> Lease {
        self.keyring.lease(self.account).await.unwrap()
    }

    pub(super) fn change_binding(&self, change: impl FnOnce(&mut Binding)) {
        self.bindings.send_modify(|bindings| change(&mut bindings[0]));
    }

    pub(super) fn grace(&self, grace: Duration) {
        self.change_binding(|binding| binding.outage_grace = grace);
    }

    pub(super) fn state(&self) -> KeyState {
        self.keyring.key_state(self.account).borrow().state
    }

    pub(super) fn anchor(&self) -> Option<Anchor> {
        self.bindings.borrow()[0].anchor
    }

    /// The events so far.
    pub(super) fn heard(&mut self) -> Vec<StoreEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    pub(super) fn was_wiped(&mut self) -> bool {
        self.heard()
            .iter()
            .any(|event| matches!(event, StoreEvent::Wiped { .. }))
    }
}

/// Goes with tokio's paused time, and can be moved apart from it.
pub(super) struct TestClock {
    start: Instant,
    asleep_ms: AtomicU64,
    wall_ms: AtomicI64,
}

impl TestClock {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            asleep_ms: AtomicU64::new(0),
            wall_ms: AtomicI64::new(1_000_000_000),
        }
    }

    /// Time passes by both clocks while no timer runs.
    pub(super) fn suspend(&self, time: Duration) {
        self.asleep_ms
            .fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(super) fn step_wall_clock(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        let asleep = Duration::from_millis(self.asleep_ms.load(Ordering::SeqCst));
        let boot = Duration::from_secs(1000) + self.start.elapsed() + asleep;
        let wall = u64::try_from(self.wall_ms.load(Ordering::SeqCst)).unwrap();
        Moment {
            boot,
            wall: boot + Duration::from_millis(wall),
        }
    }
}

/// Moves the anchor in the bindings, as the control plane does.
pub(super) struct Anchors {
    bindings: watch::Sender<Vec<Binding>>,
    pub(super) fails: AtomicBool,
}

impl AnchorKeeper for Anchors {
    fn advance(
        &self,
        _account: AccountId,
        from: Option<Anchor>,
        to: Anchor,
    ) -> BoxFuture<'_, Result<(), AnchorError>> {
        Box::pin(async move {
            if self.fails.load(Ordering::SeqCst) {
                return Err(AnchorError::Unavailable("scripted".to_owned()));
            }
            let mut result = Ok(());
            self.bindings.send_modify(|bindings| {
                if bindings[0].anchor == from {
                    bindings[0].anchor = Some(to);
                } else {
                    result = Err(AnchorError::Moved);
                }
            });
            result
        })
    }
}

#[derive(Default)]
pub(super) struct MemoryBranches {
    pub(super) rows: Mutex<Vec<BranchRecord>>,
    pub(super) used: Mutex<Vec<BranchVersion>>,
    pub(super) fails: AtomicBool,
}

impl MemoryBranches {
    pub(super) fn tamper(&self, change: impl FnOnce(&mut Vec<BranchRecord>)) {
        change(&mut self.rows.lock().unwrap());
    }

    pub(super) fn wrap_of(&self, index: usize) -> SeedWrap {
        self.rows.lock().unwrap()[index].wrap.clone()
    }

    /// As the transaction that counts zero references does.
    pub(super) fn drop_version(&self, version: BranchVersion) {
        self.rows.lock().unwrap().retain(|row| row.version != version);
    }

    fn available(&self) -> Result<(), BranchesError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StorageFault::new("scripted").into());
        }
        Ok(())
    }
}

impl Branches for MemoryBranches {
    fn load(&self, _account: AccountId) -> BoxFuture<'_, Result<Vec<BranchRecord>, BranchesError>> {
        Box::pin(async move {
            self.available()?;
            Ok(self.rows.lock().unwrap().clone())
        })
    }

    fn append(
        &self,
        _account: AccountId,
        expected: Option<BranchVersion>,
        record: BranchRecord,
    ) -> BoxFuture<'_, Result<(), BranchesError>> {
        Box::pin(async move {
            self.available()?;
            let mut rows = self.rows.lock().unwrap();
            if rows.last().map(|row| row.version) != expected {
                return Err(BranchesError::Conflict);
            }
            rows.push(record);
            Ok(())
        })
    }

    fn replace_wrap(
        &self,
        _account: AccountId,
        version: BranchVersion,
        expected: SeedWrap,
        new: SeedWrap,
    ) -> BoxFuture<'_, Result<(), BranchesError>> {
        Box::pin(async move {
            self.available()?;
            let mut rows = self.rows.lock().unwrap();
            let row = rows
                .iter_mut()
                .find(|row| row.version == version && row.wrap == expected);
            row.ok_or(BranchesError::Conflict)?.wrap = new;
            Ok(())
        })
    }

    fn in_use(
        &self,
        _account: AccountId,
        version: BranchVersion,
    ) -> BoxFuture<'_, Result<bool, BranchesError>> {
        Box::pin(async move { Ok(self.used.lock().unwrap().contains(&version)) })
    }
}

/// A wrap row's parts, for planting.
pub(super) fn seed_wrap(key: KeyId, seed: WrappedSeed) -> SeedWrap {
    SeedWrap {
        key,
        algorithm: WrapAlgorithm::RsaOaep256,
        seed,
    }
}
