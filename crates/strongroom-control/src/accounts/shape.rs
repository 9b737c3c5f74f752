//! Accounts and deployments as Resource Manager shows them.

use serde_json::{Map, Value, json};
use strongroom_vault::NetworkRules;
use uuid::Uuid;

use super::{Account, Deployment, KeySource, Mark, Provisioning, RevocationPolicy, retention};
use crate::arm::time;
use crate::control::Control;
use crate::state::State;

/// Where data planes are. Without a port, so that what is kept stays the same when ports change: our proxy leads there.
const HOSTS: [(&str, &str); 2] = [
    ("OpenAI", "openai.localhost"),
    ("AIServices", "cognitiveservices.localhost"),
];

/// What the service lets one do with an account, as clients look it up.
const CAPABILITIES: [&str; 3] = ["VirtualNetworks", "CustomerManagedKey", "TrustedServices"];

/// How Resource Manager calls a policy of revocation. The property is ours; Azure has none.
pub(crate) const POLICIES: [(&str, RevocationPolicy); 3] = [
    ("Shutdown", RevocationPolicy::Shutdown),
    ("Drain", RevocationPolicy::Drain),
    ("PreventNew", RevocationPolicy::PreventNew),
];

impl Control {
    /// An account as Resource Manager shows it.
    pub fn account_shape(&self, account: &Account) -> Value {
        let state = self.state();
        let mut properties = account.more.clone();
        for (name, value) in properties_of(account) {
            properties.insert(name.to_owned(), value);
        }
        if let Some(encryption) = encryption_shape(account) {
            properties.insert("encryption".to_owned(), encryption);
        }
        let mut shape = json!({
            "id": account.resource_id(),
            "name": account.name,
            "type": "Microsoft.CognitiveServices/accounts",
            "location": account.location,
            "kind": account.kind,
            "sku": {"name": account.sku},
        });
        if let Some(shape) = shape.as_object_mut() {
            if !account.tags.is_empty() {
                shape.insert("tags".to_owned(), json!(account.tags));
            }
            if let Some(identity) = identity_shape(&state, account) {
                shape.insert("identity".to_owned(), identity);
            }
            shape.insert("properties".to_owned(), Value::Object(properties));
            shape.insert(
                "systemData".to_owned(),
                system_data(&account.made, &account.changed),
            );
        }
        shape
    }

    /// A deleted account as Resource Manager shows it.
    pub(crate) fn deleted_account_shape(&self, account: &Account) -> Value {
        let mut shape = self.account_shape(account);
        let (subscription, group, name) = (account.subscription, &account.resource_group, &account.name);
        let id = format!(
            "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/locations/{}/resourceGroups/{group}/deletedAccounts/{name}",
            account.location
        );
        if let Some(shape) = shape.as_object_mut() {
            shape.insert("id".to_owned(), json!(id));
            shape.insert(
                "type".to_owned(),
                json!("Microsoft.CognitiveServices/deletedAccounts"),
            );
        }
        let properties = shape.get_mut("properties").and_then(Value::as_object_mut);
        if let (Some(properties), Some(deletion)) = (properties, &account.deleted) {
            properties.insert("deletionDate".to_owned(), json!(seconds(deletion.at)));
            properties.insert("scheduledPurgeDate".to_owned(), json!(seconds(deletion.purge)));
        }
        shape
    }
}

impl Account {
    /// Where its data plane is.
    pub fn endpoint(&self) -> String {
        let host = HOSTS.iter().find(|(kind, _)| *kind == self.kind);
        let domain = host.map_or("openai.localhost", |(_, domain)| domain);
        format!("https://{}.{domain}/", self.label().to_ascii_lowercase())
    }

    /// A deployment as Resource Manager shows it.
    pub(crate) fn deployment_shape(&self, name: &str, deployment: &Deployment) -> Value {
        let mut properties = deployment.more.clone();
        let policy = POLICIES
            .iter()
            .find(|(_, policy)| *policy == deployment.revocation);
        let model = properties.remove("model");
        let version = model
            .as_ref()
            .and_then(|model| model.get("version"))
            .and_then(Value::as_str)
            .unwrap_or(MODEL_VERSION);
        for (name, value) in [
            (
                "model",
                json!({"format": MODEL_FORMAT, "name": deployment.model, "version": version}),
            ),
            (
                "provisioningState",
                json!(provisioning_state(deployment.provisioning.as_ref())),
            ),
            (
                "revocationPolicy",
                json!(policy.map_or("Shutdown", |(name, _)| name)),
            ),
        ] {
            properties.insert(name.to_owned(), value);
        }
        if let Some(Provisioning::Failed { code, message }) = &deployment.provisioning {
            // Ours: Azure tells it in the operation alone, which is forgotten after a while.
            let reason = json!({"code": code, "message": message});
            properties.insert("provisioningError".to_owned(), reason);
        }
        properties
            .entry("versionUpgradeOption")
            .or_insert_with(|| json!("NoAutoUpgrade"));
        let mut shape = json!({
            "id": format!("{}/deployments/{name}", self.resource_id()),
            "name": name,
            "type": "Microsoft.CognitiveServices/accounts/deployments",
            "sku": deployment.sku.clone().unwrap_or_else(|| json!({"name": "Standard", "capacity": 1})),
            "properties": properties,
            "systemData": {"createdAt": seconds(deployment.created)},
        });
        if let Some(shape) = shape.as_object_mut()
            && !deployment.tags.is_empty()
        {
            shape.insert("tags".to_owned(), json!(deployment.tags));
        }
        shape
    }
}

fn provisioning_state(provisioning: Option<&Provisioning>) -> &'static str {
    match provisioning {
        None => "Succeeded",
        Some(Provisioning::Creating { .. }) => "Creating",
        Some(Provisioning::Failed { .. }) => "Failed",
    }
}

/// The one format of models, and the version of those that have none of their own.
pub(crate) const MODEL_FORMAT: &str = "OpenAI";
/// See [`MODEL_FORMAT`].
pub(crate) const MODEL_VERSION: &str = "1";

fn properties_of(account: &Account) -> Vec<(&'static str, Value)> {
    let endpoint = account.endpoint();
    let state = match (&account.deleted, &account.switch) {
        (Some(_), _) => "Deleting",
        (None, Some(_)) => "Accepted",
        (None, None) => "Succeeded",
    };
    let access = if account.network.public_access {
        "Enabled"
    } else {
        "Disabled"
    };
    vec![
        ("endpoint", json!(endpoint)),
        (
            "endpoints",
            json!({
                "OpenAI Language Model Instance API": endpoint,
                "OpenAI Model Scaleset API": endpoint,
            }),
        ),
        ("provisioningState", json!(state)),
        ("internalId", json!(account.id.to_string().replace('-', ""))),
        ("dateCreated", json!(milliseconds(account.made.at_ms))),
        ("customSubDomainName", json!(account.label())),
        ("publicNetworkAccess", json!(access)),
        ("networkAcls", network_shape(&account.network)),
        ("disableLocalAuth", json!(account.disable_local_auth)),
        ("retentionDays", retention::shape(&account.retention)),
        (
            "capabilities",
            CAPABILITIES.iter().map(|name| json!({"name": name})).collect(),
        ),
        ("callRateLimit", json!({"rules": []})),
        ("isMigrated", json!(false)),
    ]
}

/// None where no key was ever chosen, as on Azure.
fn encryption_shape(account: &Account) -> Option<Value> {
    let encryption = &account.encryption;
    Some(match encryption.source {
        KeySource::Service if account.switched.is_none() => return None,
        KeySource::Service => json!({"keySource": "Microsoft.CognitiveServices"}),
        KeySource::Customer => {
            let mut key = Map::new();
            key.insert("keyName".to_owned(), json!(encryption.key_name));
            // Empty means the latest, as clients write it.
            let version = encryption.key_version.as_deref().unwrap_or_default();
            key.insert("keyVersion".to_owned(), json!(version));
            key.insert(
                "keyVaultUri".to_owned(),
                json!(format!("{}/", encryption.vault_url)),
            );
            if let Some(client) = encryption.identity {
                key.insert("identityClientId".to_owned(), json!(client));
            }
            json!({"keySource": "Microsoft.KeyVault", "keyVaultProperties": key})
        }
    })
}

fn network_shape(network: &NetworkRules) -> Value {
    let ranges = network.ranges.iter().map(|range| {
        let text = range.to_string();
        // One address is shown as it was given.
        json!({"value": text.strip_suffix("/32").unwrap_or(&text)})
    });
    let networks = network.virtual_networks.iter().map(|network| {
        json!({
            "id": network.id,
            "ignoreMissingVnetServiceEndpoint": network.ignore_missing_endpoint,
        })
    });
    json!({
        "defaultAction": if network.default_allow { "Allow" } else { "Deny" },
        "bypass": if network.trusted_services { "AzureServices" } else { "None" },
        "ipRules": ranges.collect::<Vec<_>>(),
        "virtualNetworkRules": networks.collect::<Vec<_>>(),
    })
}

/// None, if it has no identity.
fn identity_shape(state: &State, account: &Account) -> Option<Value> {
    let users: Map<String, Value> = account
        .user_assigned
        .iter()
        .map(|(resource, id)| (resource.clone(), user_assigned(state, *id)))
        .collect();
    let kind = match (account.identity.is_some(), users.is_empty()) {
        (false, true) => return None,
        (true, true) => "SystemAssigned",
        (false, false) => "UserAssigned",
        (true, false) => "SystemAssigned, UserAssigned",
    };
    let mut shape = Map::new();
    shape.insert("type".to_owned(), json!(kind));
    if let Some(identity) = account.identity {
        shape.insert("principalId".to_owned(), json!(identity));
        shape.insert("tenantId".to_owned(), json!(state.tenant.id));
    }
    if !users.is_empty() {
        shape.insert("userAssignedIdentities".to_owned(), Value::Object(users));
    }
    Some(Value::Object(shape))
}

/// Who an account's user-assigned identity is; nothing, once it was deleted.
fn user_assigned(state: &State, id: Uuid) -> Value {
    match state.directory.get(id) {
        Some(known) => json!({"principalId": known.object_id, "clientId": known.client_id()}),
        None => json!({}),
    }
}

fn system_data(made: &Mark, changed: &Mark) -> Value {
    let mut shape = Map::new();
    for (name, mark) in [("created", made), ("lastModified", changed)] {
        if let Some(by) = mark.by {
            shape.insert(format!("{name}By"), json!(by));
            shape.insert(format!("{name}ByType"), json!("Application"));
        }
        if let Some(at) = milliseconds(mark.at_ms) {
            shape.insert(format!("{name}At"), json!(at));
        }
    }
    Value::Object(shape)
}

fn seconds(seconds: u64) -> Option<String> {
    milliseconds(i64::try_from(seconds).ok()?.checked_mul(1000)?)
}

/// None for a time that was not kept.
fn milliseconds(ms: i64) -> Option<String> {
    (ms > 0).then(|| time::text(ms))
}
