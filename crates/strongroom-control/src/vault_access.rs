//! The vault's question "may this caller do that".

use strongroom_azure::ResourceId;
use strongroom_vault::{Access, Caller, Decision, KeyAction};
use uuid::Uuid;

use crate::control::Control;
use crate::roles::ActionKind;

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
        let is_account = |id: Uuid| self.is_service_alone(id);
        caller.tenant == self.tenant() && caller.object_id.parse().is_ok_and(is_account)
    }
}
