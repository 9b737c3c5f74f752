//! A store whose vault is instant, so that only the store is measured.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use strongroom_seal::{
    AccountId, BoxFuture, Clock, KeyDescription, KeyId, KeyName, KeyWrap, Moment, Secret, VaultError,
    WrappedSeed,
};
use strongroom_store::{Action, Binding, Permit, Store, StoreConfig};
use tokio::sync::watch;
use uuid::Uuid;

/// A store and permits to use it.
#[derive(Clone)]
pub(crate) struct BenchRig {
    pub(crate) store: Store,
    pub(crate) vault: Arc<InstantVault>,
    pub(crate) read: Arc<Permit>,
    pub(crate) write: Arc<Permit>,
    pub(crate) administer: Arc<Permit>,
    _bindings: Arc<watch::Sender<Vec<Binding>>>,
}

impl BenchRig {
    pub(crate) async fn open(folder: &Path) -> Self {
        let vault = Arc::new(InstantVault {
            version: AtomicU32::new(0),
        });
        let config = StoreConfig::new(folder);
        let (store, authority) = Store::open(config, vault.clone(), Arc::new(StillClock))
            .await
            .unwrap();
        let account = AccountId::from_uuid(Uuid::new_v4());
        let (bindings, watched) = watch::channel(vec![Binding {
            account,
            key: KeyId::parse("https://vault.example/keys/name/v0")
                .unwrap()
                .without_version(),
            version: None,
            retiring: None,
            anchor: None,
            revocation_bound: Duration::from_secs(10),
            outage_grace: Duration::ZERO,
        }]);
        store.bind(watched);
        let permit = |action| Arc::new(authority.permit(account, action, "bench"));
        Self {
            store,
            vault,
            read: permit(Action::Read),
            write: permit(Action::Write),
            administer: permit(Action::Administer),
            _bindings: Arc::new(bindings),
        }
    }
}

/// Masks seeds; has any number of versions.
pub(crate) struct InstantVault {
    version: AtomicU32,
}

impl InstantVault {
    pub(crate) fn rotate(&self, number: u32) {
        self.version.store(number + 1, Ordering::SeqCst);
    }
}

impl KeyWrap for InstantVault {
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>> {
        let latest = format!("v{}", self.version.load(Ordering::SeqCst));
        let id = key.with_version(version.unwrap_or(&latest)).unwrap();
        let key_type = "RSA".to_owned();
        let description = KeyDescription {
            id,
            enabled: true,
            key_type,
            bits: 2048,
            not_before: None,
            expires: None,
        };
        Box::pin(async move { Ok(description) })
    }

    fn wrap<'a>(
        &'a self,
        _: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>> {
        let masked = seed.expose_secret().iter().map(|byte| byte ^ 0x5a).collect();
        Box::pin(async move { Ok(WrappedSeed::new(masked).unwrap()) })
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
                .for_each(|(place, byte)| *place = byte ^ 0x5a);
        });
        Box::pin(async move { Ok(secret) })
    }
}

/// A clock that stands still: no lease ever ages.
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Moment {
        let now = Duration::from_secs(1_000_000);
        Moment { boot: now, wall: now }
    }
}
