//! What the engine is told and what it tells: vaults, keys, attributes, changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::kinds::{KeySpec, PublicHalf};
use crate::limits::DEFAULT_SOFT_DELETE_DAYS;
use crate::network::NetworkRules;
use crate::policy::AccessPolicy;
use crate::throttle::Throttling;

/// A vault: what is fixed at its creation, and what its owner may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultSettings {
    /// The name: 3 to 24 letters, digits and hyphens, beginning with a letter. No two vaults share one, deleted ones included.
    pub name: String,
    /// The ARM resource id. Fixed.
    pub resource_id: String,
    /// The tenant whose tokens it accepts. Fixed.
    pub tenant: String,
    /// The region. Fixed.
    pub location: String,
    /// When it was made, in Unix seconds; the engine sets it.
    pub created: u64,
    /// How long the vault and its keys stay recoverable once deleted: 7 to 90 days. Fixed.
    pub soft_delete_days: u32,
    /// Whether nothing deleted can be purged before that time. Cannot be taken back.
    pub purge_protection: bool,
    /// Tags of the resource.
    pub tags: Tags,
    /// Who decides about data actions.
    pub permissions: PermissionModel,
    /// The access policies. They are kept, and mean nothing, while roles decide.
    pub policies: Vec<AccessPolicy>,
    /// From where it may be asked.
    pub network: NetworkRules,
    /// How much may be asked of it, where that differs from the instance's own setting.
    pub throttling: Option<Throttling>,
    /// Further properties, which mean nothing here and are kept as given.
    #[serde(default)]
    pub kept: Map<String, Value>,
}

/// Who decides about data actions in a vault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PermissionModel {
    /// Role assignments; access policies mean nothing.
    #[default]
    Rbac,
    /// The vault's own access policies; role assignments mean nothing.
    AccessPolicies,
}

/// A deleted vault that can still be recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedVault {
    /// The vault as it was.
    pub vault: Arc<VaultSettings>,
    /// When it was deleted, in Unix seconds.
    pub deleted: u64,
    /// When it will be destroyed with all its keys, in Unix seconds.
    pub purge: u64,
}

impl VaultSettings {
    /// A vault as Azure makes it when nothing else is asked for: roles decide, 90 days, no purge protection, open to every
    /// network.
    pub fn new(
        name: impl Into<String>,
        resource_id: impl Into<String>,
        tenant: impl Into<String>,
        location: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            resource_id: resource_id.into(),
            tenant: tenant.into(),
            location: location.into(),
            created: 0,
            soft_delete_days: DEFAULT_SOFT_DELETE_DAYS,
            purge_protection: false,
            tags: Tags::new(),
            permissions: PermissionModel::default(),
            policies: Vec::new(),
            network: NetworkRules::default(),
            throttling: None,
            kept: Map::new(),
        }
    }

    /// Whether a vault can be called so.
    pub fn is_name(name: &str) -> bool {
        let bytes = name.as_bytes();
        (3..=24).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_alphabetic)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && !name.contains("--")
    }

    /// The recovery level that keys of this vault carry.
    pub const fn recovery_level(&self) -> &'static str {
        match (self.soft_delete_days < 90, self.purge_protection) {
            (true, true) => "CustomizedRecoverable",
            (false, true) => "Recoverable",
            (true, false) => "CustomizedRecoverable+Purgeable",
            (false, false) => "Recoverable+Purgeable",
        }
    }
}

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyOperation {
    /// Encrypt with the public half.
    Encrypt,
    /// Decrypt.
    Decrypt,
    /// Sign.
    Sign,
    /// Verify with the public half.
    Verify,
    /// Wrap another key with the public half.
    WrapKey,
    /// Unwrap another key.
    UnwrapKey,
}

impl KeyOperation {
    /// Every use there is.
    pub const ALL: [Self; 6] = [
        Self::Encrypt,
        Self::Decrypt,
        Self::Sign,
        Self::Verify,
        Self::WrapKey,
        Self::UnwrapKey,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::WrapKey => "wrapKey",
            Self::UnwrapKey => "unwrapKey",
        }
    }

    /// The operation of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.name().eq_ignore_ascii_case(name))
    }
}

/// Tags: readable by whoever may read the key.
pub type Tags = BTreeMap<String, String>;

/// A key to be made or brought in.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its kind.
    pub spec: KeySpec,
    /// Whether it can be used.
    pub enabled: bool,
    /// From when it wraps, encrypts and signs, in Unix seconds.
    pub not_before: Option<u64>,
    /// Until when it wraps, encrypts and signs, in Unix seconds.
    pub expires: Option<u64>,
    /// What it may be used for.
    pub operations: Vec<KeyOperation>,
    /// Its tags.
    pub tags: Tags,
}

impl NewKey {
    /// An enabled key for all that its kind can do, without times and tags.
    pub fn of(spec: KeySpec) -> Self {
        Self {
            spec,
            enabled: true,
            not_before: None,
            expires: None,
            operations: spec.operations().to_vec(),
            tags: Tags::new(),
        }
    }
}

/// What to change on a key version; `None` leaves as it is.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// Whether it can be used.
    pub enabled: Option<bool>,
    /// From when it wraps, encrypts and signs.
    pub not_before: Option<u64>,
    /// Until when it wraps, encrypts and signs.
    pub expires: Option<u64>,
    /// What it may be used for.
    pub operations: Option<Vec<KeyOperation>>,
    /// Its tags, all of them.
    pub tags: Option<Tags>,
}

/// One version of a key: its public half and attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVersion {
    /// The key's name, spelled as at its creation.
    pub name: String,
    /// The version: 32 hexadecimal digits.
    pub version: String,
    /// Its kind.
    pub spec: KeySpec,
    /// What is public of it.
    pub public: PublicHalf,
    /// Whether it can be used.
    pub enabled: bool,
    /// From when it wraps, encrypts and signs, in Unix seconds.
    pub not_before: Option<u64>,
    /// Until when it wraps, encrypts and signs, in Unix seconds.
    pub expires: Option<u64>,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// When it was last changed, in Unix seconds.
    pub updated: u64,
    /// What it may be used for.
    pub operations: Vec<KeyOperation>,
    /// Its tags.
    pub tags: Tags,
}

/// A deleted key that can still be recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedKey {
    /// Its latest version.
    pub latest: KeyVersion,
    /// When it was deleted, in Unix seconds.
    pub deleted: u64,
    /// When it will be destroyed, in Unix seconds.
    pub purge: u64,
}

/// Where a page begins: what comes after this key name or version was given before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageStart {
    /// The last row of the page before.
    pub after: Option<String>,
    /// Rows wanted.
    pub limit: u32,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether more follow.
    pub more: bool,
}

/// Something about a key or a vault changed. A subscriber should ask the vault, and decide by its answer alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChanged {
    /// The vault.
    pub vault: String,
    /// The key; none if the vault itself was changed, and with it what any of its keys may be used for.
    pub key: Option<String>,
    /// The version, where one version is meant.
    pub version: Option<String>,
}
