//! Accounts: what is on record of each.

mod changes;
mod keys;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strongroom_azure::ResourceId;
use strongroom_seal::{AccountId, BranchVersion, CheckValue, KeyName};
use uuid::Uuid;

pub use changes::{Crud, KeySlot, OpenAiRights};
pub(crate) use keys::AccountKeys;

use crate::error::ControlError;

/// Every account, by its name in lower case.
#[derive(Clone, Default)]
pub(crate) struct Accounts(HashMap<String, Arc<Account>>);

impl FromIterator<Account> for Accounts {
    fn from_iter<T: IntoIterator<Item = Account>>(accounts: T) -> Self {
        let named = accounts
            .into_iter()
            .map(|account| (account.name.to_ascii_lowercase(), Arc::new(account)));
        Self(named.collect())
    }
}

impl Accounts {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Account>> {
        self.0.get(&name.to_ascii_lowercase())
    }

    pub(crate) fn by_id(&self, id: AccountId) -> Option<&Arc<Account>> {
        self.0.values().find(|account| account.id == id)
    }

    pub(crate) fn put(&mut self, account: Arc<Account>) {
        self.0.insert(account.name.to_ascii_lowercase(), account);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.remove(&name.to_ascii_lowercase());
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Vec<Arc<Account>> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// An account of the AI service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The GUID that never changes: keys are derived with it.
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    pub id: AccountId,
    /// The name, in lower case.
    pub name: String,
    /// The subscription.
    pub subscription: Uuid,
    /// The resource group.
    pub resource_group: String,
    /// The region.
    pub location: String,
    /// The object id of its system-assigned identity.
    pub identity: Uuid,
    /// The resource ids of its user-assigned identities. One that was deleted stays until it is taken off.
    #[serde(default)]
    pub user_assigned: BTreeSet<String>,
    /// The customer key.
    pub encryption: Encryption,
    /// The pinned check value.
    pub anchor: Option<Anchor>,
    /// Whether account keys are refused and only tokens count.
    pub disable_local_auth: bool,
    /// How often each of the two keys was regenerated.
    pub key_generations: [u32; 2],
    /// Deployments by name.
    pub deployments: BTreeMap<String, Deployment>,
}

impl Account {
    /// The id in Resource Manager.
    pub fn resource_id(&self) -> String {
        let (subscription, group, name) = (self.subscription, &self.resource_group, &self.name);
        format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{name}"
        )
    }

    pub(crate) fn scope(&self) -> Option<ResourceId> {
        self.resource_id().parse().ok()
    }
}

/// What is asked for when an account is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// The name.
    pub name: String,
    /// The resource group.
    pub resource_group: String,
    /// The region.
    pub location: String,
    /// The customer key.
    pub encryption: Encryption,
}

/// Which customer key an account uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// `https://<vault>...`, without a slash at the end.
    pub vault_url: String,
    /// The key's name.
    pub key_name: String,
    /// The version, or none to follow the latest.
    pub key_version: Option<String>,
}

impl Encryption {
    /// Whether it names a key as a vault could have it.
    pub(crate) fn check(&self) -> Result<(), ControlError> {
        let named = KeyName::new(&self.vault_url, &self.key_name);
        let versioned = named.and_then(|key| {
            self.key_version
                .as_deref()
                .map(|v| key.with_version(v))
                .transpose()
        });
        versioned.map(drop).map_err(ControlError::KeyName)
    }
}

/// The check value of the account's oldest live branch version, pinned where the store cannot write by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The branch version.
    #[serde(serialize_with = "write_version", deserialize_with = "read_version")]
    pub version: BranchVersion,
    /// Its check value.
    #[serde(serialize_with = "write_check", deserialize_with = "read_check")]
    pub check: CheckValue,
}

/// A model under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The model that it serves.
    pub model: String,
    /// When it was made, in seconds since the Unix epoch.
    pub created: u64,
    /// What a revoked key means for it.
    pub revocation: RevocationPolicy,
}

/// What happens to a deployment when the customer key is refused or gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationPolicy {
    /// Nothing is served, and opened weights are gone.
    #[default]
    Shutdown,
    /// Requests in flight finish.
    Drain,
    /// A running deployment goes on.
    PreventNew,
}

fn write_id<S: Serializer>(id: &AccountId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AccountId, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

fn write_version<S: Serializer>(version: &BranchVersion, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(version.get())
}

fn read_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BranchVersion, D::Error> {
    u32::deserialize(deserializer).map(BranchVersion::new)
}

fn write_check<S: Serializer>(check: &CheckValue, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(check)
}

fn read_check<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CheckValue, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}
