//! User-assigned identities as the resources that they are: roles on them decide, not the directory's administrator.

use std::sync::Arc;

use strongroom_azure::ResourceId;

use super::changes::identity_at;
use super::proofs::federation;
use super::{Credentials, Federation, NewFederation, Principal, PrincipalDetail};
use crate::actor::Actor;
use crate::control::Control;
use crate::error::ControlError;
use crate::names;

const WRITE: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write";
const DELETE: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/delete";

impl Control {
    /// The identity of this resource: its own, or the one that it is.
    pub(crate) fn identity_of(&self, resource: &ResourceId) -> Option<Arc<Principal>> {
        identity_at(&self.state(), resource)
    }

    /// Removes the user-assigned identities below a scope that is gone. What is assigned to them stays visible and grants nothing.
    pub(crate) fn remove_identities_below(&self, scope: &ResourceId) -> Result<(), ControlError> {
        let mut change = self.change();
        let below = |known: &&Arc<Principal>| match &known.detail {
            PrincipalDetail::UserAssigned { resource, .. } => {
                resource.parse().is_ok_and(|resource| scope.contains(&resource))
            }
            _ => false,
        };
        let gone: Vec<_> = change.state().directory.all().filter(below).cloned().collect();
        for identity in gone {
            change.remove_principal(identity.object_id)?;
        }
        change.commit()
    }
}

impl Federation {
    /// What it is called among those of its identity.
    pub(crate) fn name(&self) -> String {
        self.display_name.clone().unwrap_or_else(|| self.id.to_string())
    }
}

impl Actor {
    /// Lets an external issuer vouch for an identity under a name, in place of the one of that name if there is one. Whether it
    /// is new. The issuer's keys may be out of reach for now: then nobody is vouched for.
    pub(crate) fn put_identity_federation(
        &self,
        identity: &ResourceId,
        name: &str,
        new: NewFederation,
    ) -> Result<(Federation, bool), ControlError> {
        names::identity(name)?;
        let mut made = federation(new, self.control.now())?;
        made.display_name = Some(name.to_owned());
        self.update_identity(WRITE, identity, |credentials| {
            let known = named(credentials, name);
            let is_new = known.is_none();
            if let Some(known) = known {
                (made.id, made.created) = (known.id, known.created);
            }
            credentials.put_federation(made.clone())?;
            Ok((made, is_new))
        })
    }

    /// Takes the issuer of this name away. Whether it was there.
    pub(crate) fn remove_identity_federation(
        &self,
        identity: &ResourceId,
        name: &str,
    ) -> Result<bool, ControlError> {
        self.update_identity(DELETE, identity, |credentials| {
            let known = named(credentials, name).map(|known| known.id);
            Ok(known.is_some_and(|id| credentials.remove(id)))
        })
    }

    fn update_identity<T>(
        &self,
        action: &str,
        identity: &ResourceId,
        update: impl FnOnce(&mut Credentials) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let missing = || ControlError::NotFound {
            what: "identity",
            name: identity.to_string(),
        };
        let mut change = self.control.change();
        self.authorize_in(change.state(), action, identity)?;
        let known = identity_at(change.state(), identity).ok_or_else(missing)?;
        let mut changed = Principal::clone(&known);
        let PrincipalDetail::UserAssigned { credentials, .. } = &mut changed.detail else {
            return Err(missing());
        };
        let result = update(credentials)?;
        if changed != *known {
            change.put_principal(changed)?;
            change.commit()?;
        }
        Ok(result)
    }
}

fn named<'a>(credentials: &'a Credentials, name: &str) -> Option<&'a Federation> {
    let mut all = credentials.federations.iter();
    all.find(|known| known.name().eq_ignore_ascii_case(name))
}
