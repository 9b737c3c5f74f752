//! Principals: applications, managed identities, users and groups.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::credentials::{Credentials, SecretMatch};

/// Somebody whom role assignments can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// What role assignments name. Never given out twice.
    pub object_id: Uuid,
    /// For people. Two principals may have the same one.
    pub display_name: String,
    /// When it was made, in seconds since the Unix epoch.
    #[serde(default)]
    pub created: u64,
    /// What it is, and what only its kind has.
    #[serde(flatten)]
    pub detail: PrincipalDetail,
}

/// What a principal is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum PrincipalDetail {
    /// An application together with its service principal.
    Application {
        /// The application (client) id.
        client_id: Uuid,
        /// What it proves itself with.
        #[serde(default)]
        credentials: Credentials,
        /// The tenant that it belongs to, where that is another one: then it proves itself there, and its object id is that of
        /// its service principal there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        home: Option<Uuid>,
    },
    /// The identity of one resource, made and deleted with it.
    #[serde(rename = "ManagedIdentity")]
    SystemAssigned {
        /// The application (client) id.
        client_id: Uuid,
        /// The id of the resource whose identity it is.
        resource: String,
    },
    /// An identity that is a resource of its own and can be assigned to others.
    UserAssigned {
        /// The application (client) id.
        client_id: Uuid,
        /// Its own id as a resource.
        resource: String,
        /// The region.
        location: String,
        /// What others may prove themselves with as this identity: never a secret.
        #[serde(default)]
        credentials: Credentials,
    },
    /// A person.
    User {
        /// The name to sign in with, unique in the directory.
        user_principal_name: String,
    },
    /// A set of principals: what is granted to it is granted to them.
    Group {
        /// Object ids. Groups may be members.
        #[serde(default)]
        members: BTreeSet<Uuid>,
    },
}

/// The kinds of principals, as commands call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKind {
    /// An application.
    Application,
    /// A managed identity, system-assigned or user-assigned.
    ManagedIdentity,
    /// A person.
    User,
    /// A group.
    Group,
}

/// The kinds of principals, as role assignments tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrincipalType {
    /// A person.
    User,
    /// A group.
    Group,
    /// An application or a managed identity.
    ServicePrincipal,
}

impl Principal {
    pub(crate) fn new(display_name: &str, created: u64, detail: PrincipalDetail) -> Self {
        Self {
            object_id: Uuid::new_v4(),
            display_name: display_name.to_owned(),
            created,
            detail,
        }
    }

    /// What it is.
    pub fn kind(&self) -> PrincipalKind {
        match self.detail {
            PrincipalDetail::Application { .. } => PrincipalKind::Application,
            PrincipalDetail::SystemAssigned { .. } | PrincipalDetail::UserAssigned { .. } => {
                PrincipalKind::ManagedIdentity
            }
            PrincipalDetail::User { .. } => PrincipalKind::User,
            PrincipalDetail::Group { .. } => PrincipalKind::Group,
        }
    }

    /// What it is to a role assignment.
    pub fn principal_type(&self) -> PrincipalType {
        match self.kind() {
            PrincipalKind::Application | PrincipalKind::ManagedIdentity => PrincipalType::ServicePrincipal,
            PrincipalKind::User => PrincipalType::User,
            PrincipalKind::Group => PrincipalType::Group,
        }
    }

    /// The other tenant that it belongs to, if it does.
    pub fn home(&self) -> Option<Uuid> {
        match self.detail {
            PrincipalDetail::Application { home, .. } => home,
            _ => None,
        }
    }

    /// The application (client) id: applications and managed identities have one.
    pub fn client_id(&self) -> Option<Uuid> {
        match &self.detail {
            PrincipalDetail::Application { client_id, .. }
            | PrincipalDetail::SystemAssigned { client_id, .. }
            | PrincipalDetail::UserAssigned { client_id, .. } => Some(*client_id),
            PrincipalDetail::User { .. } | PrincipalDetail::Group { .. } => None,
        }
    }

    /// The resource of a managed identity.
    pub fn resource(&self) -> Option<&str> {
        match &self.detail {
            PrincipalDetail::SystemAssigned { resource, .. }
            | PrincipalDetail::UserAssigned { resource, .. } => Some(resource),
            _ => None,
        }
    }

    /// The name that a person signs in with.
    pub fn user_principal_name(&self) -> Option<&str> {
        match &self.detail {
            PrincipalDetail::User { user_principal_name } => Some(user_principal_name),
            _ => None,
        }
    }

    /// The members of a group; nobody's, for anything else.
    pub fn members(&self) -> impl Iterator<Item = Uuid> {
        let members = match &self.detail {
            PrincipalDetail::Group { members } => Some(members),
            _ => None,
        };
        members.into_iter().flatten().copied()
    }

    /// Takes a member out of a group, if it is in it.
    pub(crate) fn remove_member(&mut self, member: Uuid) -> bool {
        match &mut self.detail {
            PrincipalDetail::Group { members } => members.remove(&member),
            _ => false,
        }
    }

    /// The names under which tokens are asked for it: its client id, and for an identity its resource's.
    pub fn service_principal_names(&self) -> Vec<String> {
        let client_id = self.client_id().map(|id| id.to_string());
        client_id
            .into_iter()
            .chain(self.resource().map(str::to_owned))
            .collect()
    }

    /// What it proves itself with, if its kind has that.
    pub fn credentials(&self) -> Option<&Credentials> {
        match &self.detail {
            PrincipalDetail::Application {
                credentials,
                home: None,
                ..
            }
            | PrincipalDetail::UserAssigned { credentials, .. } => Some(credentials),
            _ => None,
        }
    }

    /// As [`Self::credentials`], to be changed.
    pub(crate) fn credentials_mut(&mut self) -> Option<&mut Credentials> {
        match &mut self.detail {
            PrincipalDetail::Application {
                credentials,
                home: None,
                ..
            }
            | PrincipalDetail::UserAssigned { credentials, .. } => Some(credentials),
            _ => None,
        }
    }

    /// Whether this is one of its secrets, and the secret's time is not over.
    pub(crate) fn has_secret(&self, presented: &str, now: u64) -> bool {
        self.credentials()
            .is_some_and(|credentials| credentials.match_secret(presented, now) == SecretMatch::Valid)
    }
}

impl fmt::Display for PrincipalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::ServicePrincipal => "ServicePrincipal",
        })
    }
}

/// No such type of principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a principal type is User, Group or ServicePrincipal")]
pub struct NoPrincipalType;

impl FromStr for PrincipalType {
    type Err = NoPrincipalType;

    fn from_str(text: &str) -> Result<Self, NoPrincipalType> {
        let all = [Self::User, Self::Group, Self::ServicePrincipal];
        let named = all
            .into_iter()
            .find(|kind| kind.to_string().eq_ignore_ascii_case(text));
        named.ok_or(NoPrincipalType)
    }
}
