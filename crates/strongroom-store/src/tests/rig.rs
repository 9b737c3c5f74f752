//! A store with everything around it that a test needs.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use strongroom_seal::{
    AccountId, BoxFuture, Clock, KeyDescription, KeyId, KeyName, KeyWrap, Moment, NoAnswer, Secret,
    VaultError, WrappedSeed,
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    Action, Anchor, AnchorError, AnchorKeeper, Binding, Permit, PermitAuthority, Store, StoreConfig, Witness,
    blobs::{Litter, memory::MemoryBlobs},
    faults::Faults,
    records::memory::MemoryRecords,
    store::{Parts, sweep},
};

/// A vault that does as it is told. What it "wraps" is only masked.
pub(super) struct CueVault {
    no: Mutex<Option<NoAnswer>>,
    /// Answers wraps alone.
    pub(super) no_wrap: Mutex<Option<NoAnswer>>,
    pub(super) wraps: AtomicU64,
    pub(super) latest: Mutex<String>,
}

impl CueVault {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            no: Mutex::new(None),
            no_wrap: Mutex::new(None),
            wraps: AtomicU64::new(0),
            latest: Mutex::new("v1".to_owned()),
        })
    }

    pub(super) fn says(&self, no: Option<NoAnswer>) {
        *self.no.lock().unwrap() = no;
    }

    fn answer<T>(&self, yes: T) -> Result<T, VaultError> {
        match *self.no.lock().unwrap() {
            None => Ok(yes),
            Some(answer) => Err(VaultError::new(answer, "on cue")),
        }
    }
}

const MASK: u8 = 0x5a;

impl KeyWrap for CueVault {
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>> {
        Box::pin(async move {
            let latest = self.latest.lock().unwrap().clone();
            let id = format!("{key}/{}", version.unwrap_or(&latest));
            let id = KeyId::parse(&id).unwrap();
            let key_type = "RSA".to_owned();
            self.answer(KeyDescription {
                id,
                enabled: true,
                key_type,
                bits: 2048,
                not_before: None,
                expires: None,
            })
        })
    }

    fn wrap<'a>(
        &'a self,
        _: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>> {
        let masked = seed.expose_secret().iter().map(|byte| byte ^ MASK).collect();
        self.wraps.fetch_add(1, Ordering::SeqCst);
        let no = *self.no_wrap.lock().unwrap();
        Box::pin(async move {
            match no {
                None => self.answer(WrappedSeed::new(masked).unwrap()),
                Some(answer) => Err(VaultError::new(answer, "on cue")),
            }
        })
    }

    fn unwrap<'a>(
        &'a self,
        _: &'a KeyId,
        seed: &'a WrappedSeed,
    ) -> BoxFuture<'a, Result<Secret<32>, VaultError>> {
        let secret = Secret::build(|place| {
            place
                .iter_mut()
                .zip(seed.as_bytes())
                .for_each(|(place, byte)| *place = byte ^ MASK);
        });
        Box::pin(async move { self.answer(secret) })
    }
}

/// A clock that moves when it is told to.
pub(super) struct HandClock(AtomicU64);

impl HandClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_000_000)))
    }

    pub(super) fn turn(&self, by: Duration) {
        self.0
            .fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        let now = Duration::from_millis(self.0.load(Ordering::SeqCst));
        Moment { boot: now, wall: now }
    }
}

/// What outlives a store in memory, and what the control plane keeps beside it.
pub(super) struct Machine {
    records: MemoryRecords,
    pub(super) blobs: MemoryBlobs,
    bindings: watch::Sender<Vec<Binding>>,
}

impl Machine {
    pub(super) fn new() -> Self {
        let (bin, _) = Litter::new();
        Self {
            records: MemoryRecords::new(Faults::default(), bin),
            blobs: MemoryBlobs::new(Faults::default()),
            bindings: watch::channel(Vec::new()).0,
        }
    }
}

/// Keeps anchors in the bindings that every instance watches.
struct Pins(watch::Sender<Vec<Binding>>);

impl AnchorKeeper for Pins {
    fn advance(
        &self,
        account: AccountId,
        from: Option<Anchor>,
        to: Anchor,
    ) -> BoxFuture<'_, Result<(), AnchorError>> {
        Box::pin(async move {
            let mut answer = Err(AnchorError::NoAccount);
            self.0.send_modify(|bindings| {
                for binding in bindings.iter_mut().filter(|binding| binding.account == account) {
                    answer = if binding.anchor == from || binding.anchor == Some(to) {
                        binding.anchor = Some(to);
                        Ok(())
                    } else {
                        Err(AnchorError::Moved)
                    };
                }
            });
            answer
        })
    }
}

impl Machine {
    pub(super) fn records(&self) -> &MemoryRecords {
        &self.records
    }
}

/// A store and who uses it.
pub(super) struct Rig {
    pub(super) store: Store,
    pub(super) vault: Arc<CueVault>,
    pub(super) clock: Arc<HandClock>,
    pub(super) account: AccountId,
    pub(super) authority: PermitAuthority,
    bindings: watch::Sender<Vec<Binding>>,
}

impl Rig {
    pub(super) async fn on_disk(folder: &Path) -> Self {
        Self::on_disk_as(folder, AccountId::from_uuid(Uuid::new_v4())).await
    }

    pub(super) async fn on_disk_as(folder: &Path, account: AccountId) -> Self {
        Self::opened(quick(folder), account).await
    }

    /// A store whose shreddings go on record.
    pub(super) async fn witnessed(folder: &Path, witness: Arc<dyn Witness>) -> Self {
        let config = StoreConfig {
            witness: Some(witness),
            ..quick(folder)
        };
        Self::opened(config, AccountId::from_uuid(Uuid::new_v4())).await
    }

    async fn opened(config: StoreConfig, account: AccountId) -> Self {
        let (vault, clock) = (CueVault::new(), HandClock::new());
        let opened = Store::open(config, vault.clone(), clock.clone()).await;
        let bindings = watch::channel(vec![binding(account)]).0;
        Self::over(opened.unwrap(), vault, clock, account, bindings)
    }

    /// A store in memory that stops at the given step.
    pub(super) async fn in_memory(machine: &Machine, account: AccountId, faults: Faults) -> Self {
        let (bin, litter) = Litter::new();
        let records = Arc::new(machine.records.revived(faults.clone(), bin.clone()));
        let blobs = Arc::new(machine.blobs.revived(faults));
        // A machine that stops while it sweeps is swept next time.
        let _ = sweep(&*records, &*blobs, 0).await;
        let (vault, clock) = (CueVault::new(), HandClock::new());
        let bindings = machine.bindings.clone();
        bindings.send_modify(|bindings| {
            if bindings.iter().all(|binding| binding.account != account) {
                bindings.push(binding(account));
            }
        });
        let anchors: Option<Arc<dyn AnchorKeeper>> = Some(Arc::new(Pins(bindings.clone())));
        let config = StoreConfig {
            anchors,
            ..quick(Path::new("nowhere"))
        };
        let parts = Parts {
            records,
            blobs,
            bin,
            litter,
            lock: None,
        };
        let store = Store::over(parts, &config, vault.clone(), clock.clone());
        Self::over((store, PermitAuthority::new()), vault, clock, account, bindings)
    }

    fn over(
        (store, authority): (Store, PermitAuthority),
        vault: Arc<CueVault>,
        clock: Arc<HandClock>,
        account: AccountId,
        bindings: watch::Sender<Vec<Binding>>,
    ) -> Self {
        store.bind(bindings.subscribe());
        Self {
            store,
            vault,
            clock,
            account,
            authority,
            bindings,
        }
    }

    pub(super) fn permit(&self, action: Action) -> Permit {
        self.authority.permit(self.account, action, "tester")
    }

    /// A permit for another account, bound to the same key.
    pub(super) fn neighbour(&self, action: Action) -> Permit {
        let account = AccountId::from_uuid(Uuid::new_v4());
        self.bindings
            .send_modify(|bindings| bindings.push(binding(account)));
        self.authority.permit(account, action, "neighbour")
    }

    pub(super) async fn put(&self, id: &str, body: &[u8]) -> Result<crate::Meta, crate::StoreError> {
        self.store
            .put(
                &self.permit(Action::Write),
                crate::NewObject::new("file", id, body),
            )
            .await
    }

    pub(super) async fn get(&self, id: &str) -> Result<crate::Object, crate::StoreError> {
        self.store.get(&self.permit(Action::Read), "file", id).await
    }

    pub(super) async fn delete(&self, id: &str) -> Result<(), crate::StoreError> {
        self.store.delete(&self.permit(Action::Delete), "file", id).await
    }

    pub(super) async fn jobs(&self) -> Result<Vec<crate::JobStatus>, crate::StoreError> {
        self.store.jobs(&self.permit(Action::Administer)).await
    }

    pub(super) async fn statistics(&self) -> Result<crate::Statistics, crate::StoreError> {
        self.store.statistics(&self.permit(Action::Administer)).await
    }

    /// Stages a blob of these bytes.
    pub(super) async fn stage(
        &self,
        id: &str,
        part: u32,
        plain: &[u8],
    ) -> Result<crate::StagedBlob, crate::StoreError> {
        let mut writer = self
            .store
            .stage(&self.permit(Action::Write), "file", id, part)
            .await?;
        for piece in plain.chunks(300_000) {
            writer.write(bytes::Bytes::copy_from_slice(piece)).await?;
        }
        writer.finish().await
    }

    /// Puts an object with one blob.
    pub(super) async fn put_blob(&self, id: &str, plain: &[u8]) -> Result<crate::Meta, crate::StoreError> {
        let blobs = vec![self.stage(id, 0, plain).await?];
        let new = crate::NewObject {
            blobs,
            ..crate::NewObject::new("file", id, b"body")
        };
        self.store.put(&self.permit(Action::Write), new).await
    }

    pub(super) async fn read_blob(
        &self,
        id: &str,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Vec<u8>, crate::StoreError> {
        let mut reader = self
            .store
            .open_blob(&self.permit(Action::Read), "file", id, 0, range)
            .await?;
        let mut all = Vec::new();
        while let Some(piece) = reader.next_chunk().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }
}

fn binding(account: AccountId) -> Binding {
    Binding {
        account,
        key: KeyId::parse("https://vault.example/keys/name/v1")
            .unwrap()
            .without_version(),
        version: None,
        retiring: None,
        anchor: None,
        revocation_bound: Duration::from_secs(3600),
        outage_grace: Duration::ZERO,
    }
}

fn quick(folder: &Path) -> StoreConfig {
    StoreConfig {
        erase_within: Duration::from_millis(200),
        ..StoreConfig::new(folder)
    }
}

/// Bytes that are nowhere the same.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = length as u64 | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
