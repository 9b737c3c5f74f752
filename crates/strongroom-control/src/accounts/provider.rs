//! The service's own key: one RSA key in a vault that belongs to the provider and that no role of the customer reaches.

use std::sync::Arc;

use strongroom_vault::{
    AccessPolicy, KeyPermission, KeySpec, NewKey, PermissionModel, VaultFault, VaultSettings,
};
use uuid::Uuid;

use crate::control::Control;
use crate::directory::{Principal, PrincipalDetail};
use crate::error::ControlError;

/// The vault of the provider's own.
pub const PROVIDER_VAULT: &str = "strongroom-service";

/// The key in it.
pub(super) const KEY: &str = "service-key";

/// What the provider's identity belongs to.
const RESOURCE: &str = "/providers/Microsoft.CognitiveServices";

/// In a subscription of the provider's own, so that no role that a customer can assign covers it.
const RESOURCE_ID: &str = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/strongroom-service/providers/Microsoft.KeyVault/vaults/strongroom-service";

impl Control {
    /// The identity by which the service asks for its own key, made if there is none.
    pub fn ensure_provider(&self) -> Result<Arc<Principal>, ControlError> {
        let mut change = self.change();
        let state = change.state();
        if let Some(found) = state.tenant.provider.and_then(|id| state.directory.get(id)) {
            return Ok(Arc::clone(found));
        }
        let detail = PrincipalDetail::SystemAssigned {
            client_id: Uuid::new_v4(),
            resource: RESOURCE.to_owned(),
        };
        let made = change.put_principal(Principal::new("Strongroom service", self.now(), detail))?;
        let mut tenant = change.state().tenant.clone();
        tenant.provider = Some(made.object_id);
        change.put_tenant(tenant)?;
        change.commit()?;
        Ok(made)
    }
}

impl Control {
    fn ensure_provider_vault(&self) -> Result<(), ServiceKeyError> {
        let provider = self.ensure_provider()?;
        let tenant = self.tenant();
        let policy = |who: Uuid, keys: &[KeyPermission]| AccessPolicy {
            tenant: tenant.clone(),
            object_id: who.to_string(),
            application_id: None,
            keys: keys.to_vec(),
            secrets: Vec::new(),
            certificates: Vec::new(),
            storage: Vec::new(),
        };
        let service = [
            KeyPermission::Get,
            KeyPermission::WrapKey,
            KeyPermission::UnwrapKey,
        ];
        let mut policies = vec![policy(provider.object_id, &service)];
        // Whoever runs the instance opens what is sealed to verify it, whosever key it is under.
        if let Some(administrator) = self.state().tenant.administrator {
            policies.push(policy(
                administrator,
                &[KeyPermission::Get, KeyPermission::UnwrapKey],
            ));
        }
        let settings = VaultSettings {
            purge_protection: true,
            permissions: PermissionModel::AccessPolicies,
            policies,
            ..VaultSettings::new(PROVIDER_VAULT, RESOURCE_ID, tenant.clone(), "global")
        };
        match self.vaults().create_vault(settings) {
            // Two that come at once find each other's.
            Ok(_) | Err(VaultFault::VaultExists(_)) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// Makes the provider's vault and key, if they are not there. Access policies decide in it: they name the provider's
/// identity, and the instance's administrator, who may unwrap.
pub async fn ensure_service_key(control: &Control) -> Result<(), ServiceKeyError> {
    let vaults = control.vaults();
    if let Ok(vault) = vaults.vault(PROVIDER_VAULT)
        && vault.resource_id != RESOURCE_ID
    {
        return Err(VaultFault::VaultExists(PROVIDER_VAULT.to_owned()).into());
    }
    match vaults.key(PROVIDER_VAULT, KEY, None).await {
        Ok(_) => return Ok(()),
        Err(VaultFault::NoSuchVault(_) | VaultFault::KeyNotFound(_)) => {}
        Err(fault) => return Err(fault.into()),
    }
    let maker = control.clone();
    tokio::task::spawn_blocking(move || maker.ensure_provider_vault())
        .await
        .map_err(|_| ControlError::Interrupted)??;
    match vaults.key(PROVIDER_VAULT, KEY, None).await {
        Err(VaultFault::KeyNotFound(_)) => {}
        other => return other.map(drop).map_err(Into::into),
    }
    vaults
        .create_key(PROVIDER_VAULT, KEY, NewKey::of(KeySpec::Rsa2048))
        .await?;
    Ok(())
}

/// Why the service has no key of its own.
#[derive(Debug, thiserror::Error)]
pub enum ServiceKeyError {
    /// The vault did not make it.
    #[error("the service's own key: {0}")]
    Vault(#[from] VaultFault),
    /// The provider's identity was not made.
    #[error("the service's own key: {0}")]
    Control(#[from] ControlError),
}
