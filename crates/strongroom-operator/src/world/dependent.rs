//! The other resources that hold a customer's data or take logs: whose key they use, and who reaches them.

use serde_json::Value;

use super::account::{Network, Tags, days};
use super::json::{at, field, list, text, truth};
use super::lookup::FactRef;
use super::names::{ArmId, KeyName};
use crate::limits::DEPTH;

/// A resource that can have a customer's key or take logs.
#[derive(Debug, Clone)]
pub struct Dependent {
    /// Its id, as compared.
    pub id: ArmId,
    /// Its name, as spelled.
    pub name: String,
    /// Its type, in small letters.
    pub kind: String,
    /// Whether a customer's key is used; none where the answer does not say.
    pub customer_key: Option<bool>,
    /// The keys that it names.
    pub keys: Vec<KeyName>,
    /// The cluster whose key a workspace uses.
    pub cluster: Option<ArmId>,
    /// Whether keys of its own are turned off.
    pub local_auth_disabled: Option<bool>,
    /// Who reaches it.
    pub network: Network,
    /// Whether queues and tables are under the account's key; none for other types.
    pub queues_and_tables: Option<bool>,
    /// Whether it is encrypted twice; none for other types.
    pub twice: Option<bool>,
    /// Whether what is deleted can be had back; none where that is not shown.
    pub recoverable: Option<bool>,
    /// How long logs are kept.
    pub retention_days: Option<u32>,
    /// Whether saved queries are under the customer's key too.
    pub queries_covered: Option<bool>,
    /// The tags.
    pub tags: Tags,
    /// Where that was read.
    pub fact: FactRef,
}

/// Where a type says whose key it uses.
enum Rule {
    /// The path of `keySource`, and that of an object or list with `keyVaultUri`, `keyName` and `keyVersion`.
    Source(&'static str, &'static str),
    /// The path of a key's identifier; without it there is none.
    Identifier(&'static str),
    /// The path of a switch with the value that means on, and that of the identifier.
    Switch(&'static str, &'static str, &'static str),
    /// The path of an object with `keyVaultUri` and `keyName`; without it there is none.
    Parts(&'static str),
    /// No property of its own.
    None,
}

/// By type: operator facts as of 2026-11, from Azure Policy's aliases and Resource Manager's documents.
const RULES: [(&str, Rule); 17] = [
    (
        "microsoft.storage/storageaccounts",
        Rule::Source("encryption.keySource", "encryption.keyvaultproperties"),
    ),
    (
        "microsoft.documentdb/databaseaccounts",
        Rule::Identifier("keyVaultKeyUri"),
    ),
    (
        "microsoft.search/searchservices",
        Rule::Switch(
            "encryptionWithCmk.enforcement",
            "enabled",
            "encryptionWithCmk.keyVaultProperties.keyIdentifier",
        ),
    ),
    (
        "microsoft.operationalinsights/clusters",
        Rule::Parts("keyVaultProperties"),
    ),
    ("microsoft.operationalinsights/workspaces", Rule::None),
    (
        "microsoft.appconfiguration/configurationstores",
        Rule::Identifier("encryption.keyVaultProperties.keyIdentifier"),
    ),
    (
        "microsoft.machinelearningservices/workspaces",
        Rule::Switch(
            "encryption.status",
            "enabled",
            "encryption.keyVaultProperties.keyIdentifier",
        ),
    ),
    (
        "microsoft.eventhub/namespaces",
        Rule::Source("encryption.keySource", "encryption.keyVaultProperties"),
    ),
    (
        "microsoft.servicebus/namespaces",
        Rule::Source("encryption.keySource", "encryption.keyVaultProperties"),
    ),
    (
        "microsoft.containerregistry/registries",
        Rule::Switch(
            "encryption.status",
            "enabled",
            "encryption.keyVaultProperties.keyIdentifier",
        ),
    ),
    (
        "microsoft.dbforpostgresql/flexibleservers",
        Rule::Switch(
            "dataEncryption.type",
            "azurekeyvault",
            "dataEncryption.primaryKeyURI",
        ),
    ),
    (
        "microsoft.dbformysql/flexibleservers",
        Rule::Switch(
            "dataEncryption.type",
            "azurekeyvault",
            "dataEncryption.primaryKeyURI",
        ),
    ),
    ("microsoft.sql/servers", Rule::Identifier("keyId")),
    ("microsoft.sql/managedinstances", Rule::Identifier("keyId")),
    (
        "microsoft.compute/diskencryptionsets",
        Rule::Identifier("activeKey.keyUrl"),
    ),
    ("microsoft.kusto/clusters", Rule::Parts("keyVaultProperties")),
    ("microsoft.insights/components", Rule::None),
];

impl Dependent {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<Self> {
        let id = ArmId::read(text(body, "id")?)?;
        let kind = id.kind()?;
        let properties = field(body, "properties").filter(|value| value.is_object())?;
        let (customer_key, keys) = whose_key(&kind, properties);
        let storage = kind == "microsoft.storage/storageaccounts";
        let only = |is: bool, value: Option<bool>| value.filter(|_| is);
        Some(Self {
            name: text(body, "name").unwrap_or_else(|| id.name()).to_owned(),
            customer_key,
            keys,
            cluster: text(properties, "features.clusterResourceId").and_then(ArmId::read),
            local_auth_disabled: if storage {
                Some(truth(properties, "allowSharedKeyAccess") == Some(false))
            } else {
                truth(properties, "disableLocalAuth")
            },
            network: Network::read(properties),
            queues_and_tables: only(
                storage,
                Some(["queue", "table"].iter().all(|service| {
                    let kind = text(properties, &format!("encryption.services.{service}.keyType"));
                    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("account"))
                })),
            ),
            twice: only(
                storage,
                Some(truth(properties, "encryption.requireInfrastructureEncryption") == Some(true)),
            ),
            recoverable: text(properties, "backupPolicy.type")
                .map(|kind| kind.eq_ignore_ascii_case("continuous")),
            retention_days: days(properties, "retentionInDays"),
            queries_covered: truth(properties, "forceCmkForQuery"),
            tags: Tags::read(body),
            kind,
            id,
            fact,
        })
    }

    /// Its type without the provider, for people.
    pub fn short_kind(&self) -> &str {
        self.kind.rsplit('/').next().unwrap_or_default()
    }
}

fn whose_key(kind: &str, properties: &Value) -> (Option<bool>, Vec<KeyName>) {
    let identifier = |path: &str| text(properties, path).and_then(KeyName::read);
    match RULES.iter().find(|(name, _)| *name == kind).map(|(_, rule)| rule) {
        Some(Rule::Source(source, parts)) => {
            let on = text(properties, source)
                .is_some_and(|source| source.eq_ignore_ascii_case("microsoft.keyvault"));
            let keys = list(properties, parts)
                .iter()
                .filter_map(named_in_parts)
                .filter(|_| on);
            (Some(on), keys.collect())
        }
        Some(Rule::Identifier(path)) => (
            Some(text(properties, path).is_some()),
            identifier(path).into_iter().collect(),
        ),
        Some(Rule::Switch(path, value, key)) => {
            let on = text(properties, path).is_some_and(|is| is.eq_ignore_ascii_case(value));
            (Some(on), identifier(key).into_iter().collect())
        }
        Some(Rule::Parts(path)) => {
            let key = at(properties, path).and_then(named_in_parts);
            (Some(key.is_some()), key.into_iter().collect())
        }
        Some(Rule::None) => (None, Vec::new()),
        None => {
            let mut keys = Vec::new();
            find(properties, DEPTH, &mut keys);
            keys.sort();
            keys.dedup();
            ((!keys.is_empty()).then_some(true), keys)
        }
    }
}

/// A key that is named by parts.
fn named_in_parts(value: &Value) -> Option<KeyName> {
    KeyName::new(
        text(value, "keyVaultUri")?,
        text(value, "keyName")?,
        text(value, "keyVersion"),
    )
}

/// Keys that are named anywhere inside, for types that no rule knows.
fn find(value: &Value, depth: usize, into: &mut Vec<KeyName>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::String(text) => into.extend(KeyName::read(text)),
        Value::Array(items) => items.iter().for_each(|item| find(item, depth, into)),
        Value::Object(members) => {
            into.extend(named_in_parts(value));
            members.values().for_each(|member| find(member, depth, into));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// An alert rule.
#[derive(Debug, Clone)]
pub struct AlertRule {
    /// Its id, as compared.
    pub id: ArmId,
    /// Whether it is on.
    pub enabled: bool,
    /// What it watches for, in small letters: operations of the activity log, or the text of a query.
    pub watches: Vec<String>,
    /// Whether it watches logs rather than the activity log.
    pub of_logs: bool,
    /// What it watches.
    pub scopes: Vec<ArmId>,
    /// Whom it calls.
    pub groups: Vec<ArmId>,
    /// Where that was read.
    pub fact: FactRef,
}

impl AlertRule {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<Self> {
        let id = ArmId::read(text(body, "id")?)?;
        let properties = field(body, "properties")?;
        let of_logs = match id.kind()?.as_str() {
            "microsoft.insights/activitylogalerts" => false,
            "microsoft.insights/scheduledqueryrules" => true,
            _ => return None,
        };
        let ids = |path: &str| {
            list(properties, path)
                .iter()
                .filter_map(Value::as_str)
                .filter_map(ArmId::read)
                .collect::<Vec<_>>()
        };
        let mut groups = ids("actions.actionGroups");
        let nested = list(properties, "actions.actionGroups").iter();
        groups.extend(nested.filter_map(|group| ArmId::read(text(group, "actionGroupId")?)));
        Some(Self {
            enabled: truth(properties, "enabled").unwrap_or(true),
            watches: if of_logs {
                queries(properties)
            } else {
                operations(properties)
            },
            of_logs,
            scopes: ids("scopes"),
            groups,
            id,
            fact,
        })
    }
}

fn operations(properties: &Value) -> Vec<String> {
    let conditions = list(properties, "condition.allOf").iter();
    let alternatives = conditions.clone().flat_map(|condition| list(condition, "anyOf"));
    let named = |condition: &Value| {
        let about = text(condition, "field")?;
        let value = text(condition, "equals")?.to_ascii_lowercase();
        about.eq_ignore_ascii_case("operationName").then_some(value)
    };
    conditions.chain(alternatives).filter_map(named).collect()
}

fn queries(properties: &Value) -> Vec<String> {
    let criteria = list(properties, "criteria.allOf").iter();
    criteria
        .filter_map(|one| Some(text(one, "query")?.to_ascii_lowercase()))
        .collect()
}

/// How many receivers an action group has that are not turned off; none if it is off itself. Of receivers whose addresses are
/// secrets only the number was asked.
pub(super) fn receivers(body: &Value) -> Option<(ArmId, usize)> {
    let id = ArmId::read(text(body, "id")?)?;
    let properties = field(body, "properties").unwrap_or(body);
    if truth(properties, "enabled") == Some(false) {
        return Some((id, 0));
    }
    let all = properties
        .as_object()?
        .iter()
        .filter(|(name, _)| name.ends_with("Receivers"));
    let on = |receiver: &&Value| {
        !text(receiver, "status").is_some_and(|status| status.eq_ignore_ascii_case("disabled"))
    };
    let count = all
        .map(|(_, receivers)| match receivers.as_array() {
            Some(items) => items.iter().filter(on).count(),
            None => receivers
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(0),
        })
        .sum();
    Some((id, count))
}
