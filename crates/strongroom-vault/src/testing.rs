//! What the tests of this crate share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use strongroom_seal::{Clock, Moment};

use crate::VaultSettings;

pub(crate) const VAULT: &str = "kv1";
pub(crate) const TENANT: &str = "6f1b6b0e-7a55-4a5e-9d0f-2f5f3a9f1c11";
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A clock that moves when told to.
pub(crate) struct HandClock(Mutex<Duration>);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Duration::from_secs(1_795_000_000))))
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.0.lock().unwrap().as_secs()
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        let now = *self.0.lock().unwrap();
        Moment { boot: now, wall: now }
    }
}

pub(crate) fn vault_settings() -> VaultSettings {
    VaultSettings {
        name: VAULT.to_owned(),
        resource_id: "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv1".to_owned(),
        tenant: TENANT.to_owned(),
        soft_delete_days: 90,
        purge_protection: true,
    }
}
