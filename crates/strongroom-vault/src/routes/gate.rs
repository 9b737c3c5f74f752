//! What a request must pass once its caller is known: the vault's firewall, its permission model, its limits. All is decided
//! from the state of this moment, without waiting for a disk.

use std::net::IpAddr;

use strongroom_azure::Problem;

use crate::access::{self, Caller, Decision, KeyAction, Needed};
use crate::engine::settings::VaultSettings;
use crate::network::Barrier;
use crate::policy::KeyPermission;
use crate::routes::path::{Operation, Target};
use crate::routes::{VaultRoutes, problem};
use crate::throttle::{Load, Throttling};

impl VaultRoutes {
    pub(super) fn pass_firewall(
        &self,
        address: Option<IpAddr>,
        caller: &Caller,
        vault: &VaultSettings,
    ) -> Result<(), Problem> {
        let passed = vault
            .network
            .admit(address, || self.access.is_trusted_service(caller));
        passed.map_err(|barrier| match barrier {
            Barrier::Firewall => problem::forbidden_by_firewall(caller, vault, address),
            Barrier::Connection => problem::forbidden_by_connection(caller, vault),
        })
    }

    pub(super) fn permit(
        &self,
        caller: &Caller,
        vault: &VaultSettings,
        target: &Target,
    ) -> Result<(), Problem> {
        let needed = Needed {
            key: Some(target.name.as_str()).filter(|name| !name.is_empty()),
            action: target.operation.action(),
            permission: permission(target.operation),
        };
        match access::decide(self.access.as_ref(), caller, vault, needed) {
            Decision::Allowed => Ok(()),
            Decision::DeniedByRbac => Err(problem::forbidden_by_rbac(
                caller,
                vault,
                &target.name,
                needed.action,
            )),
            Decision::DeniedByPolicy => Err(problem::forbidden_by_policy(caller, vault, needed.permission)),
        }
    }

    /// Counts a permitted operation. What nobody may do takes no room from those who may.
    pub(super) async fn count(&self, vault: &VaultSettings, target: &Target) -> Result<(), Problem> {
        let throttling = self.throttle.of(vault.throttling);
        if throttling == Throttling::Off {
            return Ok(());
        }
        let load = self.load(vault, target).await;
        self.throttle
            .admit(&vault.name, throttling, load, self.clock.now().boot)
            .map_err(|throttled| problem::throttled(throttled.retry_after))
    }

    async fn load(&self, vault: &VaultSettings, target: &Target) -> Load {
        let makes = matches!(
            target.operation.action(),
            KeyAction::Create | KeyAction::Import | KeyAction::Restore | KeyAction::Rotate
        );
        if makes {
            return Load::Create;
        }
        let version = target.version.as_deref();
        match self.engine.key(&vault.name, &target.name, version).await {
            Ok(key) => Load::on(key.spec),
            Err(_) => Load::Other,
        }
    }
}

/// Roles know reading; access policies tell getting from listing.
fn permission(operation: Operation) -> KeyPermission {
    match operation {
        Operation::ListKeys | Operation::ListVersions | Operation::ListDeletedKeys => KeyPermission::List,
        other => KeyPermission::of(other.action()),
    }
}
