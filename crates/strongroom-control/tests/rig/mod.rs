//! A real control plane on a real disk, with an administrator who owns everything.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test file uses its own part"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom_azure::ResourceId;
use strongroom_control::{
    Account, Actor, Assignment, BuiltInRole, Control, ControlError, Encryption, NewAccount, NewAssignment,
    Principal,
};
use strongroom_seal::{Clock, Moment};
use strongroom_vault::{Access, Caller, Decision, KeyAction, RootKey, VaultEngine};
use tempfile::TempDir;
use uuid::Uuid;

pub const NOW: u64 = 1_800_000_000;

pub struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Moment {
        Moment {
            boot: Duration::from_secs(5),
            wall: Duration::from_secs(NOW),
        }
    }
}

pub fn open(folder: &Path) -> Control {
    let control = open_over(folder, vaults(folder));
    // Whoever makes the first key for tokens holds all of it until then.
    control.token_keys_ready().unwrap();
    control
}

pub fn open_over(folder: &Path, vaults: VaultEngine) -> Control {
    Control::open(&folder.join("control"), vaults, Arc::new(StillClock)).unwrap()
}

pub fn vaults(folder: &Path) -> VaultEngine {
    let root = RootKey::File(folder.join("root-key"));
    VaultEngine::open(&folder.join("vault"), root, Arc::new(StillClock)).unwrap()
}

pub struct Rig {
    pub folder: TempDir,
    pub control: Control,
    pub vaults: VaultEngine,
    /// Administers the directory and owns the subscription.
    pub owner: Actor,
    pub subscription: ResourceId,
    pub group: ResourceId,
    pub vault: ResourceId,
}

impl Rig {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let vaults = vaults(folder.path());
        let control = open_over(folder.path(), vaults.clone());
        let (administrator, _) = control.ensure_administrator(None).unwrap();
        let subscription: ResourceId = format!("/subscriptions/{}", control.subscription())
            .parse()
            .unwrap();
        let owner = BuiltInRole::by_name("Owner").unwrap();
        control
            .ensure_assignment(administrator.object_id, owner, &subscription)
            .unwrap();
        let vault = control.ensure_vault("kv1", "rg").unwrap();
        Self {
            owner: control.actor(administrator.object_id),
            group: subscription.child("resourceGroups/rg").unwrap(),
            subscription,
            vault,
            control,
            vaults,
            folder,
        }
    }

    pub fn reopen(self) -> Self {
        let caller = self.owner.caller();
        drop((self.owner, self.control));
        let control = open_over(self.folder.path(), self.vaults.clone());
        Self {
            owner: control.actor(caller),
            control,
            ..self
        }
    }

    pub fn account(&self, name: &str) -> Arc<Account> {
        ensure(&self.control, name)
    }

    pub fn app(&self, name: &str) -> Arc<Principal> {
        self.owner.create_application(name).unwrap()
    }

    /// An application and the control plane on its behalf.
    pub fn caller(&self) -> Actor {
        self.control.actor(self.app("caller").object_id)
    }

    pub fn assign(&self, principal: Uuid, role: &str, scope: &ResourceId) -> Arc<Assignment> {
        assign(&self.owner, principal, role, scope).unwrap()
    }

    /// What the vault hears when it asks about a key.
    pub fn decides(&self, principal: Uuid, key: Option<&str>, action: KeyAction) -> bool {
        let caller = Caller {
            object_id: principal.to_string(),
            app_id: None,
            upn: None,
            tenant: self.control.tenant(),
            issuer: String::new(),
        };
        Access::may(&self.control, &caller, self.vault.as_str(), key, action) == Decision::Allowed
    }
}

pub fn ensure(control: &Control, name: &str) -> Arc<Account> {
    let encryption = Encryption::customer("https://kv1.vault.localhost", "customer", None);
    let new = NewAccount {
        name: name.to_owned(),
        resource_group: "rg".to_owned(),
        location: "local".to_owned(),
        encryption,
    };
    control.ensure_account(&new).unwrap()
}

pub fn role(name: &str) -> Uuid {
    BuiltInRole::by_name(name).unwrap().id
}

pub fn new_assignment(principal: Uuid, role_name: &str, scope: &ResourceId) -> NewAssignment {
    NewAssignment {
        id: Uuid::new_v4(),
        principal,
        principal_type: None,
        role: role(role_name),
        scope: scope.clone(),
        description: None,
    }
}

pub fn assign(
    by: &Actor,
    principal: Uuid,
    role_name: &str,
    scope: &ResourceId,
) -> Result<Arc<Assignment>, ControlError> {
    by.assign(new_assignment(principal, role_name, scope))
}

/// The code that a client sees.
pub fn code<T>(result: Result<T, ControlError>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(error) => error.problem().body().error.code.clone(),
    }
}
