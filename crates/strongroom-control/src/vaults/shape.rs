//! What vaults look like in Resource Manager.

use serde_json::{Map, Value, json};
use strongroom_vault::{
    AccessPolicy, DeletedVault, KeyPermission, NetworkRules, PermissionModel, VaultSettings,
};

use crate::shapes::time;

/// The type of a vault.
const TYPE: &str = "Microsoft.KeyVault/vaults";

/// A vault. `uri` is where its data plane is.
pub(crate) fn vault_shape(vault: &VaultSettings, uri: &str) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut set = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    set("sku", json!({"family": "A", "name": "standard"}));
    set("tenantId", json!(vault.tenant));
    set("accessPolicies", policies(&vault.policies));
    set("enabledForDeployment", json!(false));
    set("enableSoftDelete", json!(true));
    set("softDeleteRetentionInDays", json!(vault.soft_delete_days));
    set(
        "enableRbacAuthorization",
        json!(vault.permissions == PermissionModel::Rbac),
    );
    // Left out where it is off: clients send back what they were shown, and it cannot be set to false.
    if vault.purge_protection {
        set("enablePurgeProtection", json!(true));
    }
    set("networkAcls", network(&vault.network));
    let access = if vault.network.public_access {
        "Enabled"
    } else {
        "Disabled"
    };
    set("publicNetworkAccess", json!(access));
    set("vaultUri", json!(uri));
    set("provisioningState", json!("Succeeded"));
    for (name, value) in &vault.kept {
        set(name, value.clone());
    }
    let mut shape = Map::new();
    shape.insert("id".to_owned(), json!(vault.resource_id));
    shape.insert("name".to_owned(), json!(vault.name));
    shape.insert("type".to_owned(), json!(TYPE));
    shape.insert("location".to_owned(), json!(vault.location));
    shape.insert("tags".to_owned(), json!(vault.tags));
    shape.insert("properties".to_owned(), Value::Object(properties));
    shape
}

/// What a change of access policies is answered with.
pub(crate) fn policies_shape(vault: &VaultSettings) -> Value {
    json!({
        "id": format!("{}/accessPolicies/", vault.resource_id),
        "type": "Microsoft.KeyVault/vaults/accessPolicies",
        "properties": {"accessPolicies": policies(&vault.policies)},
    })
}

/// The id of a deleted vault.
pub(crate) fn deleted_id(subscription: &str, vault: &VaultSettings) -> String {
    let VaultSettings { location, name, .. } = vault;
    format!("{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{name}")
}

/// A deleted vault.
pub(crate) fn deleted_shape(subscription: &str, deleted: &DeletedVault) -> Value {
    let vault = &deleted.vault;
    let mut shape = json!({
        "id": deleted_id(subscription, vault),
        "name": vault.name,
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": vault.resource_id,
            "location": vault.location,
            "tags": vault.tags,
            "deletionDate": time(deleted.deleted),
            "scheduledPurgeDate": time(deleted.purge),
        },
    });
    if let Some(properties) = shape.get_mut("properties").and_then(Value::as_object_mut)
        && vault.purge_protection
    {
        properties.insert("purgeProtectionEnabled".to_owned(), json!(true));
    }
    shape
}

fn policies(policies: &[AccessPolicy]) -> Value {
    let shown = policies.iter().map(|policy| {
        let keys: Vec<&str> = policy.keys.iter().copied().map(KeyPermission::name).collect();
        let mut shown = json!({
            "tenantId": policy.tenant,
            "objectId": policy.object_id,
            "permissions": {
                "keys": keys,
                "secrets": policy.secrets,
                "certificates": policy.certificates,
                "storage": policy.storage,
            },
        });
        if let (Some(id), Some(shown)) = (&policy.application_id, shown.as_object_mut()) {
            shown.insert("applicationId".to_owned(), json!(id));
        }
        shown
    });
    shown.collect()
}

fn network(rules: &NetworkRules) -> Value {
    let networks = rules.virtual_networks.iter().map(|network| {
        let mut shown = json!({"id": network.id});
        if let (Some(ignore), Some(shown)) = (network.ignore_missing_endpoint, shown.as_object_mut()) {
            shown.insert("ignoreMissingVnetServiceEndpoint".to_owned(), json!(ignore));
        }
        shown
    });
    let ranges = rules
        .ranges
        .iter()
        .map(|range| json!({"value": range.to_string()}));
    json!({
        "bypass": if rules.trusted_services { "AzureServices" } else { "None" },
        "defaultAction": if rules.default_allow { "Allow" } else { "Deny" },
        "ipRules": ranges.collect::<Vec<_>>(),
        "virtualNetworkRules": networks.collect::<Vec<_>>(),
    })
}
