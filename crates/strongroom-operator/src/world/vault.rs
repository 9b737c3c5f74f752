//! A vault or managed HSM, and what stands around it.

use jiff::Timestamp;
use serde_json::Value;

use super::account::{Network, Rank, Tags, days};
use super::json::{field, list, moment, text, texts, truth};
use super::lookup::FactRef;
use super::names::{ArmId, VaultHost, guid, location};

/// A vault or managed HSM.
#[derive(Debug, Clone)]
pub struct Vault {
    /// Its id, as compared.
    pub id: ArmId,
    /// Its name, as spelled.
    pub name: String,
    /// Where its keys are asked for, where it says so.
    pub host: Option<VaultHost>,
    /// Whether it is a managed HSM.
    pub hsm: bool,
    /// The region, in one spelling.
    pub location: Option<String>,
    /// Its tenant.
    pub tenant: Option<String>,
    /// `enableSoftDelete`, where shown.
    pub soft_delete: Option<bool>,
    /// `enablePurgeProtection`: absent is off.
    pub purge_protection: bool,
    /// How long what is deleted can be had back.
    pub retention_days: Option<u32>,
    /// Whether roles decide, or access policies; none where that cannot be told.
    pub roles_decide: Option<bool>,
    /// The access policies.
    pub policies: Vec<Policy>,
    /// Who reaches it.
    pub network: Network,
    /// The tags.
    pub tags: Tags,
    /// Where that was read.
    pub fact: FactRef,
    pub(super) rank: Rank,
}

/// One access policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whom it is for.
    pub principal: String,
    /// Set where it is only for that principal through this application.
    pub application: Option<String>,
    /// Permissions on keys, in small letters.
    pub keys: Vec<String>,
}

impl Policy {
    /// Whether it allows an operation, by its name in policies.
    pub fn allows(&self, permission: &str) -> bool {
        self.keys
            .iter()
            .any(|held| held == "all" || held.eq_ignore_ascii_case(permission))
    }
}

impl Vault {
    pub(super) fn read(body: &Value, rank: Rank, fact: FactRef) -> Option<Self> {
        let id = ArmId::read(text(body, "id")?)?;
        let properties = field(body, "properties").filter(|value| value.is_object())?;
        let hsm = id.kind()? == "microsoft.keyvault/managedhsms";
        let uri = text(properties, "vaultUri").or_else(|| text(properties, "hsmUri"));
        let roles = truth(properties, "enableRbacAuthorization");
        // A vault that was made before roles could decide shows no choice, but its policies.
        let no_choice = field(properties, "accessPolicies").map(|_| false);
        Some(Self {
            name: text(body, "name").unwrap_or_else(|| id.name()).to_owned(),
            host: uri.and_then(VaultHost::read),
            location: text(body, "location").and_then(location),
            tenant: text(properties, "tenantId").and_then(guid),
            soft_delete: truth(properties, "enableSoftDelete"),
            purge_protection: truth(properties, "enablePurgeProtection").unwrap_or(false),
            retention_days: days(properties, "softDeleteRetentionInDays"),
            roles_decide: if hsm { Some(true) } else { roles.or(no_choice) },
            policies: list(properties, "accessPolicies")
                .iter()
                .filter_map(Policy::read)
                .collect(),
            network: Network::read(properties),
            tags: Tags::read(body),
            hsm,
            id,
            fact,
            rank,
        })
    }
}

impl Policy {
    fn read(entry: &Value) -> Option<Self> {
        let mut keys = texts(entry, "permissions.keys");
        for permission in &mut keys {
            permission.make_ascii_lowercase();
        }
        Some(Self {
            principal: text(entry, "objectId").and_then(guid)?,
            application: text(entry, "applicationId").and_then(guid),
            keys,
        })
    }
}

/// A vault that is deleted and can be had back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedVault {
    /// Its name, in small letters.
    pub name: String,
    /// The id that it had.
    pub id: Option<ArmId>,
    /// When it is destroyed for good.
    pub purged_at: Option<Timestamp>,
    /// Where that was read.
    pub fact: FactRef,
}

impl DeletedVault {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<Self> {
        Some(Self {
            name: text(body, "name")?.to_ascii_lowercase(),
            id: text(body, "properties.vaultId").and_then(ArmId::read),
            purged_at: moment(body, "properties.scheduledPurgeDate"),
            fact,
        })
    }
}

/// Where a resource's logs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiagnosticSetting {
    /// Its name.
    pub name: String,
    /// Categories that are on, in small letters.
    pub categories: Vec<String>,
    /// Groups of categories that are on, in small letters.
    pub groups: Vec<String>,
    /// Workspace, storage account and event hub.
    pub sinks: Vec<ArmId>,
    /// Whether there is any destination.
    pub delivers: bool,
    /// Where that was read.
    pub fact: FactRef,
}

impl DiagnosticSetting {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<(ArmId, Self)> {
        let id = ArmId::read(text(body, "id")?)?;
        let (on, _) = id
            .as_str()
            .rsplit_once("/providers/microsoft.insights/diagnosticsettings/")?;
        let on = ArmId::read(if on.is_empty() { "/" } else { on })?;
        let properties = field(body, "properties")?;
        let enabled = list(properties, "logs")
            .iter()
            .filter(|log| truth(log, "enabled") == Some(true));
        let named = |name: &'static str| {
            let found = enabled.clone().filter_map(move |log| text(log, name));
            found.map(str::to_ascii_lowercase).collect()
        };
        let destinations = ["workspaceId", "storageAccountId", "eventHubAuthorizationRuleId"];
        let sinks: Vec<ArmId> = destinations
            .iter()
            .filter_map(|name| ArmId::read(text(properties, name)?))
            .collect();
        let setting = Self {
            name: text(body, "name").unwrap_or_else(|| id.name()).to_owned(),
            categories: named("category"),
            groups: named("categoryGroup"),
            delivers: !sinks.is_empty() || text(properties, "marketplacePartnerId").is_some(),
            sinks,
            fact,
        };
        Some((on, setting))
    }

    /// Whether a category is delivered, by itself or through one of the groups that it is in. One of them is enough.
    pub fn delivers_category(&self, category: &str, groups: &[&str]) -> bool {
        let named = self.categories.iter().any(|on| on.eq_ignore_ascii_case(category));
        let grouped = self
            .groups
            .iter()
            .any(|on| groups.iter().any(|group| on.eq_ignore_ascii_case(group)));
        self.delivers && (named || grouped)
    }
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its id.
    pub id: ArmId,
    /// What it is on.
    pub scope: ArmId,
    /// Whether it keeps from deletion; both kinds do.
    pub keeps: bool,
    /// Where that was read.
    pub fact: FactRef,
}

impl Lock {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<Self> {
        let id = ArmId::read(text(body, "id")?)?;
        let (scope, _) = id
            .as_str()
            .rsplit_once("/providers/microsoft.authorization/locks/")?;
        let level = text(body, "properties.level")?;
        Some(Self {
            scope: ArmId::read(scope)?,
            keeps: ["cannotdelete", "readonly"]
                .iter()
                .any(|kept| level.eq_ignore_ascii_case(kept)),
            id,
            fact,
        })
    }
}
