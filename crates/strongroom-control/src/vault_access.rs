//! The vault's question "may this caller do that", and the vaults that it can be asked about.

use strongroom_azure::ResourceId;
use strongroom_vault::{Access, Caller, Decision, KeyAction};
use uuid::Uuid;

use crate::control::Control;
use crate::error::ControlError;
use crate::names;
use crate::roles::ActionKind;

impl Control {
    /// Registers a vault, so that roles can be assigned on it, and gives its id in Resource Manager.
    pub fn ensure_vault(&self, name: &str, resource_group: &str) -> Result<ResourceId, ControlError> {
        names::host_label("vault", name)?;
        let mut change = self.change();
        let subscription = change.state().tenant.subscription;
        let id = format!(
            "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.KeyVault/vaults/{name}"
        );
        let id: ResourceId = id.parse().map_err(|_| ControlError::BadName {
            what: "vault",
            name: name.to_owned(),
        })?;
        match change.state().vaults.get(&name.to_ascii_lowercase()) {
            Some(known) if *known == id => return Ok(id),
            Some(_) => {
                return Err(ControlError::AlreadyExists {
                    what: "vault",
                    name: name.to_owned(),
                });
            }
            None => {}
        }
        change.put_vault(id.clone())?;
        change.commit()?;
        Ok(id)
    }
}

impl Access for Control {
    fn may(&self, caller: &Caller, vault: &str, key: Option<&str>, action: KeyAction) -> Decision {
        let state = self.state();
        let vault = vault.parse::<ResourceId>().ok();
        let scope = match (vault, key) {
            (Some(vault), Some(key)) => vault.child(&format!("keys/{key}")).ok(),
            (vault, _) => vault,
        };
        let granted = scope
            .zip(
                state
                    .directory
                    .caller(&caller.object_id, &caller.tenant, state.tenant.id),
            )
            .is_some_and(|(scope, caller_id)| {
                let roles = state.roles.effective(&state.directory, caller_id, &scope);
                roles.allows(ActionKind::Data, action.data_action())
            });
        if granted {
            Decision::Allowed
        } else {
            Decision::DeniedByRbac
        }
    }

    fn is_member(&self, caller: &Caller, group: &str) -> bool {
        let state = self.state();
        let Ok(group) = group.parse::<Uuid>() else {
            return false;
        };
        let member = |id| state.directory.memberships(id).contains(&group);
        caller.tenant == state.tenant.id.to_string() && caller.object_id.parse().is_ok_and(member)
    }

    fn is_trusted_service(&self, caller: &Caller) -> bool {
        let is_account = |id: Uuid| {
            let accounts = self.accounts();
            accounts.borrow().iter().any(|account| account.identity == id)
        };
        caller.tenant == self.tenant() && caller.object_id.parse().is_ok_and(is_account)
    }
}
