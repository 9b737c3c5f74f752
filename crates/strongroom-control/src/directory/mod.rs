//! The directory: one tenant, one subscription, and the principals in it.

mod changes;
mod credentials;
mod identities;
mod principal;
mod proofs;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use changes::{NewIdentity, PrincipalFilter};
pub(crate) use changes::{PrincipalChange, room};
pub use credentials::{ClientSecret, Credentials, NewSecret};
pub(crate) use credentials::{SecretMatch, random_text};
pub use principal::{NoPrincipalType, Principal, PrincipalDetail, PrincipalKind, PrincipalType};
pub use proofs::{ClientCertificate, ExternalKeys, Federation, NewCertificate, NewFederation};

/// The tenant and its one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) subscription: Uuid,
    /// The principal that may change the directory: made at the first start.
    #[serde(default)]
    pub(crate) administrator: Option<Uuid>,
    /// The principal as which the service asks for its own key, once there is one.
    #[serde(default)]
    pub(crate) provider: Option<Uuid>,
}

impl Tenant {
    pub(crate) fn new() -> Self {
        Self {
            id: Uuid::new_v4(),
            subscription: Uuid::new_v4(),
            administrator: None,
            provider: None,
        }
    }
}

/// Everybody, by the names that are looked up on every request.
#[derive(Clone, Default)]
pub(crate) struct Directory {
    principals: HashMap<Uuid, Arc<Principal>>,
    clients: HashMap<Uuid, Uuid>,
    /// The groups that name a member themselves.
    groups: HashMap<Uuid, BTreeSet<Uuid>>,
}

impl FromIterator<Principal> for Directory {
    fn from_iter<T: IntoIterator<Item = Principal>>(principals: T) -> Self {
        let mut directory = Self::default();
        for principal in principals {
            directory.put(Arc::new(principal));
        }
        directory
    }
}

impl Directory {
    pub(crate) fn get(&self, object_id: Uuid) -> Option<&Arc<Principal>> {
        self.principals.get(&object_id)
    }

    /// The principal whom a token of `tenant` names, if that is the tenant that the principal belongs to. Whoever rules another
    /// tenant can name any object id there, and becomes nobody here by it.
    pub(crate) fn caller(&self, object_id: &str, tenant: &str, own: Uuid) -> Option<Uuid> {
        let known = self.get(object_id.parse().ok()?)?;
        (tenant.parse().ok() == Some(known.home().unwrap_or(own))).then_some(known.object_id)
    }

    pub(crate) fn by_client(&self, client_id: Uuid) -> Option<&Arc<Principal>> {
        self.get(*self.clients.get(&client_id)?)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Principal>> {
        self.principals.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.principals.len()
    }

    pub(crate) fn put(&mut self, principal: Arc<Principal>) {
        let id = principal.object_id;
        self.remove(id);
        if let Some(client) = principal.client_id() {
            self.clients.insert(client, id);
        }
        for member in principal.members() {
            self.groups.entry(member).or_default().insert(id);
        }
        self.principals.insert(id, principal);
    }

    /// Forgets a principal. Groups that name it go on doing so until they are changed too.
    pub(crate) fn remove(&mut self, object_id: Uuid) {
        let Some(old) = self.principals.remove(&object_id) else {
            return;
        };
        if let Some(client) = old.client_id() {
            self.clients.remove(&client);
        }
        for member in old.members() {
            if let Some(groups) = self.groups.get_mut(&member) {
                groups.remove(&object_id);
            }
        }
    }

    /// The groups that have this member themselves.
    pub(crate) fn direct_groups(&self, member: Uuid) -> impl Iterator<Item = Uuid> {
        self.groups.get(&member).into_iter().flatten().copied()
    }

    /// The principal and all groups that it is in, through other groups too. Nobody, if there is no such principal.
    pub(crate) fn memberships(&self, principal: Uuid) -> Vec<Uuid> {
        if !self.principals.contains_key(&principal) {
            return Vec::new();
        }
        let mut all = vec![principal];
        if self.direct_groups(principal).next().is_none() {
            return all;
        }
        let mut seen = HashSet::from([principal]);
        let mut next = 0;
        while let Some(&member) = all.get(next) {
            next += 1;
            all.extend(self.direct_groups(member).filter(|group| seen.insert(*group)));
        }
        all
    }

    /// Whether the group would be in itself if it had this member.
    pub(crate) fn closes_a_circle(&self, group: Uuid, member: Uuid) -> bool {
        self.memberships(group).contains(&member)
    }
}
