//! Accounts: what is on record of each.

mod changes;
mod desired;
mod encryption;
mod keys;
mod lifecycle;
mod provider;
mod retention;
mod service;
mod shape;
mod switch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use strongroom_azure::ResourceId;
use strongroom_seal::{AccountId, BranchVersion, CheckValue};
use strongroom_vault::NetworkRules;
use uuid::Uuid;

use crate::error::ControlError;
use crate::limits::ACCOUNTS;

pub use changes::{Crud, KeySlot, OpenAiRights};
pub(crate) use desired::{AccountChange, IdentityChange, Made, NewIdentities, Place};
pub(crate) use desired::{KINDS, SKU};
pub use encryption::{Encryption, KeySource};
pub(crate) use encryption::{EncryptionFault, Judged, plain_url};
pub(crate) use keys::AccountKeys;
pub use lifecycle::Deletion;
pub(crate) use lifecycle::live_at;
pub use provider::{PROVIDER_VAULT, ServiceKeyError, ensure_service_key};
pub use retention::{Retention, RetentionChange, RetentionClass};
pub use service::{AiService, LoadFault, ServedModel, ServiceFault};
pub(crate) use shape::{MODEL_FORMAT, MODEL_VERSION, POLICIES};
pub(crate) use switch::Outcome as SwitchOutcome;
pub use switch::{Direction, Switch, Switched};

/// Every account, the deleted ones that can be recovered included. Names and subdomains are hosts' labels, so no two accounts share
/// any.
#[derive(Clone, Default)]
pub(crate) struct Accounts {
    /// By name in lower case.
    named: HashMap<String, Arc<Account>>,
    /// Names by id.
    ids: HashMap<AccountId, String>,
    /// Names by subdomain in lower case, where that is another label than the name.
    hosts: HashMap<String, String>,
}

impl FromIterator<Account> for Accounts {
    fn from_iter<T: IntoIterator<Item = Account>>(accounts: T) -> Self {
        let mut all = Self::default();
        for account in accounts {
            all.put(Arc::new(account));
        }
        all
    }
}

impl Accounts {
    /// The account of this name, unless it is deleted.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Account>> {
        self.any(name).filter(|account| account.deleted.is_none())
    }

    /// The deleted account of this name, while it can be recovered.
    pub(crate) fn deleted(&self, name: &str) -> Option<&Arc<Account>> {
        self.any(name).filter(|account| account.deleted.is_some())
    }

    /// The account of this name, deleted or not.
    pub(crate) fn any(&self, name: &str) -> Option<&Arc<Account>> {
        self.named.get(&name.to_ascii_lowercase())
    }

    /// The account of this id, unless it is deleted.
    pub(crate) fn by_id(&self, id: AccountId) -> Option<&Arc<Account>> {
        self.get(self.ids.get(&id)?)
    }

    /// The account that answers under this label, unless it is deleted.
    pub(crate) fn at(&self, label: &str) -> Option<&Arc<Account>> {
        let label = label.to_ascii_lowercase();
        self.get(self.hosts.get(&label).unwrap_or(&label))
    }

    /// The account that the label belongs to, deleted or not.
    pub(crate) fn holder(&self, label: &str) -> Option<&Arc<Account>> {
        let label = label.to_ascii_lowercase();
        self.any(self.hosts.get(&label).unwrap_or(&label))
    }

    pub(crate) fn put(&mut self, account: Arc<Account>) {
        let name = account.name.to_ascii_lowercase();
        self.forget_host(&name);
        if let Some(subdomain) = &account.subdomain {
            let label = subdomain.to_ascii_lowercase();
            if label != name {
                self.hosts.insert(label, name.clone());
            }
        }
        self.ids.insert(account.id, name.clone());
        self.named.insert(name, account);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.forget_host(&name);
        if let Some(gone) = self.named.remove(&name) {
            self.ids.remove(&gone.id);
        }
    }

    fn forget_host(&mut self, name: &str) {
        let before = self.named.get(name).and_then(|known| known.subdomain.as_ref());
        if let Some(label) = before.map(|label| label.to_ascii_lowercase()) {
            self.hosts.remove(&label);
        }
    }

    /// Fails if there are as many as there may be; the deleted ones count while they can be recovered.
    pub(crate) fn room(&self) -> Result<(), ControlError> {
        if self.named.len() < ACCOUNTS {
            return Ok(());
        }
        Err(ControlError::TooMany { what: "accounts" })
    }

    /// All that are not deleted, by name.
    pub(crate) fn list(&self) -> Vec<Arc<Account>> {
        self.sorted(|account| account.deleted.is_none())
    }

    /// All that are deleted, by name.
    pub(crate) fn list_deleted(&self) -> Vec<Arc<Account>> {
        self.sorted(|account| account.deleted.is_some())
    }

    /// Whether there is one of this kind that is not deleted.
    pub(crate) fn any_live(&self, is: impl Fn(&Account) -> bool) -> bool {
        self.named
            .values()
            .any(|account| account.deleted.is_none() && is(account))
    }

    fn sorted(&self, wanted: impl Fn(&Account) -> bool) -> Vec<Arc<Account>> {
        let all = self.named.values().filter(|account| wanted(account));
        let mut all: Vec<_> = all.cloned().collect();
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
    /// `OpenAI` or `AIServices`.
    #[serde(default = "usual_kind")]
    pub kind: String,
    /// The price tier's name.
    #[serde(default = "usual_sku")]
    pub sku: String,
    /// Tags of the resource.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The label of its host, where that is not its name.
    #[serde(default)]
    pub subdomain: Option<String>,
    /// The object id of its system-assigned identity, if it has one.
    pub identity: Option<Uuid>,
    /// Its user-assigned identities: the object id of each by its resource id. One that was deleted stays until it is taken off; another
    /// one of its name is somebody else.
    #[serde(default, rename = "user_assigned_identities")]
    pub user_assigned: BTreeMap<String, Uuid>,
    /// The key in force.
    pub encryption: Encryption,
    /// The key that takes over, while it does.
    #[serde(default)]
    pub switch: Option<Switch>,
    /// How the last switch ended.
    #[serde(default)]
    pub switched: Option<Switched>,
    /// The pinned check value.
    pub anchor: Option<Anchor>,
    /// Whether account keys are refused and only tokens count.
    pub disable_local_auth: bool,
    /// For how many days its objects are kept, class by class.
    #[serde(default)]
    pub retention: Retention,
    /// From where its data plane may be asked.
    #[serde(default)]
    pub network: NetworkRules,
    /// How often each of the two keys was regenerated.
    pub key_generations: [u32; 2],
    /// Deployments by name.
    pub deployments: BTreeMap<String, Deployment>,
    /// The models that the system itself deployed, once. A deployment of theirs that was deleted does not come back.
    #[serde(default)]
    pub offered: BTreeSet<String>,
    /// Properties that mean nothing here, kept as they were given.
    #[serde(default)]
    pub more: Map<String, Value>,
    /// When it was made, and by whom.
    #[serde(default)]
    pub made: Mark,
    /// When it was changed last, and by whom.
    #[serde(default)]
    pub changed: Mark,
    /// Set while it is deleted and can be recovered.
    #[serde(default)]
    pub deleted: Option<Deletion>,
}

/// Who did something, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The object id of the caller; none for the system itself.
    pub by: Option<Uuid>,
    /// In milliseconds since the Unix epoch.
    pub at_ms: i64,
}

impl Account {
    /// The id in Resource Manager.
    pub fn resource_id(&self) -> String {
        let (subscription, group, name) = (self.subscription, &self.resource_group, &self.name);
        format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{name}"
        )
    }

    /// The label of its host.
    pub fn label(&self) -> &str {
        self.subdomain.as_deref().unwrap_or(&self.name)
    }

    /// A deployment's name in ids of Resource Manager: models' names may have characters that those may not.
    pub(crate) fn shown_deployment(name: &str) -> String {
        let shown = |c: char| {
            let fits = c.is_ascii_alphanumeric() || "-_.()~".contains(c);
            if fits { c } else { '~' }
        };
        name.chars().map(shown).collect()
    }

    /// The deployment that goes by this name in ids, in any case, under its own name.
    pub(crate) fn deployment_shown_as(&self, shown: &str) -> Option<(&str, &Deployment)> {
        let mut all = self.deployments.iter();
        let found = all.find(|(name, _)| Self::shown_deployment(name).eq_ignore_ascii_case(shown))?;
        Some((found.0, found.1))
    }

    /// The key that new seeds are wrapped under, and the one that seeds may still be wrapped under.
    pub fn keys(&self) -> (&Encryption, Option<&Encryption>) {
        match &self.switch {
            None => (&self.encryption, None),
            Some(switch) if switch.is_back() => (&self.encryption, Some(&switch.to)),
            Some(switch) => (&switch.to, Some(&self.encryption)),
        }
    }

    pub(crate) fn scope(&self) -> Option<ResourceId> {
        self.resource_id().parse().ok()
    }
}

/// What is asked for when an account is made by the system itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// The name.
    pub name: String,
    /// The resource group.
    pub resource_group: String,
    /// The region.
    pub location: String,
    /// The key.
    pub encryption: Encryption,
}

fn usual_kind() -> String {
    "OpenAI".to_owned()
}

fn usual_sku() -> String {
    "S0".to_owned()
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
    /// Its price tier and capacity, as they were given.
    #[serde(default)]
    pub sku: Option<Value>,
    /// Tags of the resource.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// How far its making got, if it does not serve yet.
    #[serde(default)]
    pub provisioning: Option<Provisioning>,
    /// Properties that mean nothing here, kept as they were given.
    #[serde(default)]
    pub more: Map<String, Value>,
}

/// A deployment that is not made yet, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provisioning {
    /// Its model is being opened.
    Creating {
        /// The operation that does so.
        operation: String,
    },
    /// Its model could not be opened. It serves nothing until it is put again.
    Failed {
        /// Why, for a program.
        code: String,
        /// Why, in words.
        message: String,
    },
}

impl Deployment {
    /// Whether its model could not be opened.
    pub fn is_failed(&self) -> bool {
        matches!(self.provisioning, Some(Provisioning::Failed { .. }))
    }

    /// Whether it is being made, and by this operation.
    pub(crate) fn is_made_by(&self, operation: &str) -> bool {
        matches!(&self.provisioning, Some(Provisioning::Creating { operation: known }) if known == operation)
    }

    /// A model under a name, with nothing else said.
    pub fn of(model: &str, created: u64, revocation: RevocationPolicy) -> Self {
        Self {
            model: model.to_owned(),
            created,
            revocation,
            sku: None,
            tags: BTreeMap::new(),
            provisioning: None,
            more: Map::new(),
        }
    }
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
