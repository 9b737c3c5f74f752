//! Vaults, for whoever manages them. The vaults' engine alone knows which there are and how they are set; here is who may change
//! that, and what goes with a vault: the roles that were assigned on it and its keys.

mod body;
mod fault;
mod shape;

use std::sync::Arc;

use strongroom_azure::ResourceId;
use strongroom_vault::{DeletedVault, VaultEngine, VaultFault, VaultSettings};
use uuid::Uuid;

pub use self::body::{PolicyChange, VaultBody};
pub(crate) use self::fault::{message, status_and_code};
pub(crate) use self::shape::{deleted_id, deleted_shape, policies_shape, vault_shape};
use crate::accounts::PROVIDER_VAULT;
use crate::actor::Actor;
use crate::control::Control;
use crate::error::ControlError;
use crate::names;
use crate::roles::ASSIGN;
use crate::scopes;
use crate::state::Change;

/// Below which name each vault is a host.
pub const VAULT_DOMAIN: &str = "vault.localhost";

/// The region of what the first start makes.
const HOME: &str = "local";

const READ: &str = "Microsoft.KeyVault/vaults/read";
const WRITE: &str = "Microsoft.KeyVault/vaults/write";
const DELETE: &str = "Microsoft.KeyVault/vaults/delete";
const WRITE_POLICIES: &str = "Microsoft.KeyVault/vaults/accessPolicies/write";
const READ_DELETED: &str = "Microsoft.KeyVault/locations/deletedVaults/read";
const LIST_DELETED: &str = "Microsoft.KeyVault/deletedVaults/read";
const PURGE: &str = "Microsoft.KeyVault/locations/deletedVaults/purge/action";

impl Control {
    /// The vaults.
    pub(crate) fn vaults(&self) -> &VaultEngine {
        &self.shared.vaults
    }

    /// The id of a vault of this name in this resource group, be it there or not.
    pub fn vault_id(&self, name: &str, resource_group: &str) -> Result<ResourceId, ControlError> {
        names::host_label("vault", name)?;
        names::label("resource group", resource_group)?;
        let subscription = self.subscription();
        scopes::parse(&format!(
            "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.KeyVault/vaults/{name}"
        ))
    }

    /// Makes a vault with purge protection, where roles decide, unless there is one of this id; a deleted one counts as there.
    pub fn ensure_vault(&self, name: &str, resource_group: &str) -> Result<ResourceId, ControlError> {
        let id = self.vault_id(name, resource_group)?;
        refuse_reserved(name)?;
        let _turn = self.change();
        let known = match (self.vaults().vault(name), self.vaults().deleted_vault(name)) {
            (Ok(vault), _) | (_, Ok(DeletedVault { vault, .. })) => vault,
            _ => self.vaults().create_vault(VaultSettings {
                purge_protection: true,
                ..VaultSettings::new(name, id.as_str(), self.tenant(), HOME)
            })?,
        };
        if is_at(&known, &id) {
            return Ok(id);
        }
        Err(ControlError::AlreadyExists {
            what: "vault",
            name: name.to_owned(),
        })
    }

    /// Deletes every vault of a resource group that goes.
    pub(crate) fn delete_vaults_in(&self, group: &ResourceId) -> Result<(), ControlError> {
        for vault in self.vaults().vaults() {
            let id = scopes::parse(&vault.resource_id)?;
            if group.contains(&id) {
                delete(self, self.change(), &id)?;
            }
        }
        Ok(())
    }

    /// Destroys a deleted vault. One that is gone already is no fault: a stop may have come between.
    pub(crate) fn purge_vault(&self, name: &str) -> Result<(), ControlError> {
        match self.vaults().purge_vault(name) {
            Ok(()) | Err(VaultFault::NoSuchVault(_)) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Takes away what is assigned on vaults that are not there. A stop between the deletion of a vault and that of its roles
    /// leaves such behind; they must not come back with the vault.
    pub(crate) fn forget_roles_on_gone_vaults(&self) -> Result<(), ControlError> {
        let mut change = self.change();
        let gone: Vec<Uuid> = change
            .state()
            .roles
            .assignments()
            .filter(|assignment| assignment.at().is_some_and(|at| self.is_on_gone_vault(&at)))
            .map(|assignment| assignment.id)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        for id in gone {
            change.remove_assignment(id);
        }
        change.commit()
    }

    fn is_on_gone_vault(&self, scope: &ResourceId) -> bool {
        vault_name(scope).is_some_and(|name| {
            let known = self.vaults().vault(name).ok();
            let known = known.and_then(|vault| vault.resource_id.parse::<ResourceId>().ok());
            !known.is_some_and(|id| id.contains(scope))
        })
    }
}

/// These wait for disks.
impl Actor {
    /// The vault of this id.
    pub fn vault(&self, id: &ResourceId) -> Result<Arc<VaultSettings>, ControlError> {
        self.authorize(READ, id)?;
        live(&self.control, id)
    }

    /// Makes a vault, changes one, or recovers one, as the body says; and whether it is new. `by_roles`: whether roles decide in
    /// a new vault of which the body does not say so.
    pub fn put_vault(
        &self,
        id: &ResourceId,
        body: &VaultBody,
        by_roles: bool,
    ) -> Result<(Arc<VaultSettings>, bool), ControlError> {
        let change = self.control.change();
        self.authorize_in(change.state(), WRITE, id)?;
        let vaults = self.control.vaults();
        let name = name_in(id)?;
        refuse_reserved(name)?;
        body.check()?;
        match (vaults.vault(name), vaults.deleted_vault(name)) {
            (Ok(known), _) if !is_at(&known, id) => Err(VaultFault::VaultExists(known.name.clone()).into()),
            (Ok(known), _) if body.recovers() => Ok((known, false)),
            (Ok(_), _) => {
                let done = self.update_vault(&change, id, |vault| body.put(vault));
                done.map(|vault| (vault, false))
            }
            (_, Ok(deleted)) if body.recovers() => {
                let done = recover(&self.control, change, id, &deleted);
                done.map(|vault| (vault, false))
            }
            (_, Ok(deleted)) => Err(VaultFault::VaultHeld(deleted.vault.name.clone()).into()),
            _ if body.recovers() => Err(no_deleted(name)),
            _ => {
                let new = body.create(
                    VaultSettings::new(
                        name,
                        id.as_str(),
                        self.control.tenant(),
                        body.location().unwrap_or_default(),
                    ),
                    by_roles,
                )?;
                let change = forget_roles(&self.control, change, id)?;
                let made = vaults.create_vault(new)?;
                drop(change);
                Ok((made, true))
            }
        }
    }

    /// Changes what the body names, and leaves the rest.
    pub fn patch_vault(&self, id: &ResourceId, body: &VaultBody) -> Result<Arc<VaultSettings>, ControlError> {
        let change = self.control.change();
        self.authorize_in(change.state(), WRITE, id)?;
        body.check()?;
        live(&self.control, id)?;
        self.update_vault(&change, id, |vault| body.patch(vault))
    }

    /// Adds access policies, or permissions to those that there are; replaces those of the same principals; takes permissions
    /// away.
    pub fn change_policies(
        &self,
        id: &ResourceId,
        what: PolicyChange,
        body: &VaultBody,
    ) -> Result<Arc<VaultSettings>, ControlError> {
        let change = self.control.change();
        self.authorize_in(change.state(), WRITE_POLICIES, id)?;
        let given = body.policies(&self.control.tenant())?;
        live(&self.control, id)?;
        self.update_vault(&change, id, |vault| {
            what.apply(&mut vault.policies, given);
            Ok(())
        })
    }

    /// Deletes a vault, and with it the roles that are assigned on it and its keys: recovering it does not bring them back.
    /// None if there was no such vault.
    pub fn delete_vault(&self, id: &ResourceId) -> Result<Option<DeletedVault>, ControlError> {
        let change = self.control.change();
        self.authorize_in(change.state(), DELETE, id)?;
        match live(&self.control, id) {
            Ok(_) => delete(&self.control, change, id).map(Some),
            Err(ControlError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every deleted vault that can be recovered, by name.
    pub fn deleted_vaults(&self) -> Result<Vec<DeletedVault>, ControlError> {
        self.authorize(LIST_DELETED, &self.subscription()?)?;
        Ok(self.control.vaults().deleted_vaults())
    }

    /// One deleted vault, in the region that it was in.
    pub fn deleted_vault(&self, location: &str, name: &str) -> Result<DeletedVault, ControlError> {
        self.authorize(READ_DELETED, &self.subscription()?)?;
        let known = self.control.vaults().deleted_vault(name).ok();
        let known = known.filter(|known| known.vault.location == plain_location(location));
        known.ok_or_else(|| no_deleted(name))
    }

    /// The deleted vault, if the caller may destroy it and it can be destroyed.
    pub fn check_purge(&self, location: &str, name: &str) -> Result<DeletedVault, ControlError> {
        self.authorize(PURGE, &self.subscription()?)?;
        let known = self.control.vaults().deleted_vault(name).ok();
        let known = known.filter(|known| known.vault.location == plain_location(location));
        let known = known.ok_or_else(|| no_deleted(name))?;
        if known.vault.purge_protection {
            return Err(VaultFault::PurgeProtected.into());
        }
        Ok(known)
    }

    fn subscription(&self) -> Result<ResourceId, ControlError> {
        scopes::parse(&format!("/subscriptions/{}", self.control.subscription()))
    }

    /// Whoever changes who decides in a vault gives or takes what roles grant there, so that takes the right to assign them.
    fn update_vault(
        &self,
        change: &Change<'_>,
        id: &ResourceId,
        make: impl FnOnce(&mut VaultSettings) -> Result<(), ControlError>,
    ) -> Result<Arc<VaultSettings>, ControlError> {
        self.control.vaults().update_vault(name_in(id)?, |before| {
            let mut after = before.clone();
            make(&mut after)?;
            if after.permissions != before.permissions {
                self.authorize_in(change.state(), ASSIGN, id)?;
            }
            Ok(after)
        })
    }
}

/// Deletes the vault first: a stop in between leaves roles without a vault, which the next start takes away, and no vault
/// without its roles. Nobody can assign roles on it meanwhile: that waits for the change.
fn delete(control: &Control, mut change: Change<'_>, id: &ResourceId) -> Result<DeletedVault, ControlError> {
    let deleted = control.vaults().delete_vault(name_in(id)?)?;
    change.remove_assignments_below(id);
    change.commit()?;
    Ok(deleted)
}

fn recover(
    control: &Control,
    change: Change<'_>,
    id: &ResourceId,
    deleted: &DeletedVault,
) -> Result<Arc<VaultSettings>, ControlError> {
    if !is_at(&deleted.vault, id) {
        return Err(ControlError::InvalidVault {
            reason: format!(
                "The deleted vault can be recovered as '{}' only.",
                deleted.vault.resource_id
            ),
        });
    }
    let change = forget_roles(control, change, id)?;
    let vault = control.vaults().recover_vault(&deleted.vault.name)?;
    drop(change);
    Ok(vault)
}

/// What a vault begins with: no roles of one that was there before it. Gives the turn back, or the next one.
fn forget_roles<'a>(
    control: &'a Control,
    mut change: Change<'a>,
    id: &ResourceId,
) -> Result<Change<'a>, ControlError> {
    if change.remove_assignments_below(id) == 0 {
        return Ok(change);
    }
    change.commit()?;
    // Nothing can be assigned on a vault that is not there.
    Ok(control.change())
}

/// The provider's own vault may be made late. Whoever had made one of its name before would hold the service's key.
fn refuse_reserved(name: &str) -> Result<(), ControlError> {
    if is_reserved(name) {
        return Err(VaultFault::VaultExists(name.to_owned()).into());
    }
    Ok(())
}

/// Whether no customer's vault may have this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.eq_ignore_ascii_case(PROVIDER_VAULT)
}

fn live(control: &Control, id: &ResourceId) -> Result<Arc<VaultSettings>, ControlError> {
    let name = name_in(id)?;
    let known = control.vaults().vault(name).ok();
    known
        .filter(|known| is_at(known, id))
        .ok_or_else(|| ControlError::NotFound {
            what: "vault",
            name: name.to_owned(),
        })
}

fn is_at(vault: &VaultSettings, id: &ResourceId) -> bool {
    vault.resource_id.eq_ignore_ascii_case(id.as_str())
}

fn no_deleted(name: &str) -> ControlError {
    ControlError::NotFound {
        what: "deleted vault",
        name: name.to_owned(),
    }
}

/// The vault that a scope is, or lies in.
fn vault_name(scope: &ResourceId) -> Option<&str> {
    const BEFORE: &str = "/providers/microsoft.keyvault/vaults/";
    let at = scope.as_str().to_ascii_lowercase().find(BEFORE)?;
    let rest = scope.as_str().get(at + BEFORE.len()..)?;
    rest.split('/').next()
}

fn name_in(id: &ResourceId) -> Result<&str, ControlError> {
    vault_name(id).ok_or_else(|| ControlError::BadName {
        what: "vault",
        name: id.to_string(),
    })
}

/// Region names in their one spelling: `East US` is `eastus`.
pub(crate) fn plain_location(location: &str) -> String {
    location.to_ascii_lowercase().replace(' ', "")
}
