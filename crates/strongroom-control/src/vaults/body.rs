//! What clients send to Resource Manager about vaults.

use serde::Deserialize;
use serde_json::{Map, Value};
use strongroom_vault::{
    AccessPolicy, KeyPermission, NetworkRules, PermissionModel, Tags, VaultSettings, VirtualNetwork,
};
use uuid::Uuid;

use super::plain_location;
use crate::error::ControlError;

/// The body of a request that makes a vault or changes one.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct VaultBody {
    location: Option<String>,
    tags: Option<Tags>,
    properties: Option<Properties>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    tenant_id: Option<String>,
    sku: Option<Sku>,
    access_policies: Option<Vec<Policy>>,
    create_mode: Option<String>,
    enable_soft_delete: Option<bool>,
    soft_delete_retention_in_days: Option<u32>,
    enable_purge_protection: Option<bool>,
    enable_rbac_authorization: Option<bool>,
    network_acls: Option<NetworkAcls>,
    public_network_access: Option<String>,
    #[serde(flatten)]
    kept: Map<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct Sku {
    family: Option<String>,
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    tenant_id: String,
    object_id: String,
    application_id: Option<String>,
    permissions: Permissions,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Permissions {
    keys: Option<Vec<String>>,
    secrets: Option<Vec<String>>,
    certificates: Option<Vec<String>>,
    storage: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkAcls {
    bypass: Option<String>,
    default_action: Option<String>,
    ip_rules: Option<Vec<IpRule>>,
    virtual_network_rules: Option<Vec<NetworkRule>>,
}

#[derive(Debug, Clone, Deserialize)]
struct IpRule {
    value: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkRule {
    id: String,
    ignore_missing_vnet_service_endpoint: Option<bool>,
}

/// Members that are shown and not the client's to write; clients send them back.
const OURS: [&str; 4] = [
    "vaultUri",
    "provisioningState",
    "hsmPoolResourceId",
    "privateEndpointConnections",
];

/// Members that mean something, in the spelling that they are read in.
const KNOWN: [&str; 10] = [
    "tenantId",
    "sku",
    "accessPolicies",
    "createMode",
    "enableSoftDelete",
    "softDeleteRetentionInDays",
    "enablePurgeProtection",
    "enableRbacAuthorization",
    "networkAcls",
    "publicNetworkAccess",
];

impl VaultBody {
    /// Reads a request's body. A member that means something does so in any case: what was meant to protect a vault must not be
    /// kept as if it meant nothing.
    pub fn read(body: &Value) -> Result<Self, ControlError> {
        let mut body = body.clone();
        if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
            let spelled = std::mem::take(properties).into_iter().map(|(name, value)| {
                let mut known = KNOWN.iter().chain(&OURS);
                let known = known.find(|known| known.eq_ignore_ascii_case(&name));
                (known.map_or(name, |known| (*known).to_owned()), value)
            });
            *properties = spelled.collect();
        }
        serde_json::from_value(body).map_err(|error| ControlError::InvalidRequest {
            reason: format!("The request content was invalid and could not be deserialized: '{error}'."),
        })
    }

    /// The region, in its one spelling.
    pub(super) fn location(&self) -> Option<String> {
        let location = self.location.as_deref().filter(|location| !location.is_empty());
        location.map(plain_location)
    }

    /// Whether a deleted vault is to be recovered.
    pub(super) fn recovers(&self) -> bool {
        let mode = self.given().and_then(|given| given.create_mode.as_deref());
        mode.is_some_and(|mode| mode.eq_ignore_ascii_case("recover"))
    }

    /// Fails on what no vault here can be, whatever there is already.
    pub(super) fn check(&self) -> Result<(), ControlError> {
        let Some(given) = self.given() else { return Ok(()) };
        if let Some(mode) = &given.create_mode
            && !["default", "recover"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(mode))
        {
            return Err(not_a_value("createMode", mode));
        }
        if let Some(sku) = &given.sku {
            if sku.name.eq_ignore_ascii_case("premium") {
                return invalid("The SKU 'premium' is not available: there is no HSM here. Use 'standard'.");
            }
            let family = sku.family.as_deref().unwrap_or("A");
            if !sku.name.eq_ignore_ascii_case("standard") || !family.eq_ignore_ascii_case("A") {
                return Err(not_a_value("sku", &format!("{family}/{}", sku.name)));
            }
        }
        if given.enable_soft_delete == Some(false) {
            return invalid(
                "The property \"enableSoftDelete\" cannot be set to false. Every vault here has soft delete.",
            );
        }
        if given.enable_purge_protection == Some(false) {
            return invalid(
                "The property \"enablePurgeProtection\" cannot be set to false. Enabling the purge protection for a vault \
                 is an irreversible action.",
            );
        }
        Ok(())
    }

    /// A new vault: what the body leaves out is as in `vault`.
    pub(super) fn create(
        &self,
        mut vault: VaultSettings,
        by_roles: bool,
    ) -> Result<VaultSettings, ControlError> {
        if vault.location.is_empty() {
            return invalid("The location property is required for this definition.");
        }
        let given = self.given().cloned().unwrap_or_default();
        let by_roles = given.enable_rbac_authorization.unwrap_or(by_roles);
        vault.permissions = model(by_roles);
        if given.access_policies.is_none() && !by_roles {
            return invalid("The parameter accessPolicies is not specified.");
        }
        if let Some(days) = given.soft_delete_retention_in_days {
            vault.soft_delete_days = days;
        }
        self.put(&mut vault)?;
        Ok(vault)
    }

    /// Makes of a vault what the body says. Tags, and what means nothing here, are replaced; of the rest, what the body leaves
    /// out stays: leaving something out must not open a firewall.
    pub(super) fn put(&self, vault: &mut VaultSettings) -> Result<(), ControlError> {
        self.check_required()?;
        vault.tags = self.tags.clone().unwrap_or_default();
        vault.kept.clear();
        self.patch(vault)
    }

    /// Changes what the body names.
    pub(super) fn patch(&self, vault: &mut VaultSettings) -> Result<(), ControlError> {
        if let Some(tags) = &self.tags {
            vault.tags.clone_from(tags);
        }
        if let Some(location) = self.location().filter(|location| *location != vault.location) {
            return Err(ControlError::InvalidVault {
                reason: format!(
                    "The vault is in '{}' and cannot move to '{location}'.",
                    vault.location
                ),
            });
        }
        let Some(given) = self.given() else { return Ok(()) };
        if let Some(tenant) = given
            .tenant_id
            .as_deref()
            .filter(|id| !id.eq_ignore_ascii_case(&vault.tenant))
        {
            return Err(not_a_value("tenantId", tenant));
        }
        if given
            .soft_delete_retention_in_days
            .is_some_and(|days| days != vault.soft_delete_days)
        {
            return invalid(
                "The property \"softDeleteRetentionInDays\" has been set already and it can't be modified.",
            );
        }
        vault.purge_protection |= given.enable_purge_protection == Some(true);
        if let Some(by_roles) = given.enable_rbac_authorization {
            vault.permissions = model(by_roles);
        }
        if let Some(policies) = &given.access_policies {
            vault.policies = policies
                .iter()
                .map(|policy| policy.read(&vault.tenant))
                .collect::<Result<_, _>>()?;
        }
        if let Some(access) = &given.public_network_access {
            vault.network.public_access = one_of("publicNetworkAccess", access, ("Enabled", "Disabled"))?;
        }
        if let Some(acls) = &given.network_acls {
            acls.apply(&mut vault.network)?;
        }
        for (name, value) in &given.kept {
            if OURS.contains(&name.as_str()) || value.is_null() {
                vault.kept.shift_remove(name);
            } else {
                vault.kept.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// The access policies that the body names.
    pub(super) fn policies(&self, tenant: &str) -> Result<Vec<AccessPolicy>, ControlError> {
        let given = self.given().and_then(|given| given.access_policies.as_ref());
        let Some(given) = given else {
            return invalid("The parameter accessPolicies is not specified.");
        };
        given.iter().map(|policy| policy.read(tenant)).collect()
    }

    fn given(&self) -> Option<&Properties> {
        self.properties.as_ref()
    }

    fn check_required(&self) -> Result<(), ControlError> {
        let given = self.given();
        if given.is_none_or(|given| given.tenant_id.is_none()) {
            return invalid("The parameter tenantId is not specified.");
        }
        if given.is_none_or(|given| given.sku.is_none()) {
            return invalid("The parameter sku is not specified.");
        }
        Ok(())
    }
}

impl Policy {
    fn read(&self, tenant: &str) -> Result<AccessPolicy, ControlError> {
        if !self.tenant_id.eq_ignore_ascii_case(tenant) {
            return Err(not_a_value("accessPolicies.tenantId", &self.tenant_id));
        }
        let id = |name: &str, text: &str| match text.parse::<Uuid>() {
            Ok(id) => Ok(id.to_string()),
            Err(_) => Err(not_a_value(name, text)),
        };
        let application = self.application_id.as_deref().filter(|id| !id.is_empty());
        let keys = self.permissions.keys.iter().flatten().map(|name| {
            KeyPermission::from_name(name).ok_or_else(|| not_a_value("accessPolicies.permissions.keys", name))
        });
        let names = |given: &Option<Vec<String>>| {
            let mut names = given.clone().unwrap_or_default();
            names.iter_mut().for_each(|name| name.make_ascii_lowercase());
            names
        };
        Ok(AccessPolicy {
            tenant: tenant.to_owned(),
            object_id: id("accessPolicies.objectId", &self.object_id)?,
            application_id: application
                .map(|application| id("accessPolicies.applicationId", application))
                .transpose()?,
            keys: without_doubles(keys.collect::<Result<_, _>>()?),
            secrets: names(&self.permissions.secrets),
            certificates: names(&self.permissions.certificates),
            storage: names(&self.permissions.storage),
        })
    }
}

impl NetworkAcls {
    fn apply(&self, rules: &mut NetworkRules) -> Result<(), ControlError> {
        if let Some(bypass) = &self.bypass {
            rules.trusted_services = one_of("networkAcls.bypass", bypass, ("AzureServices", "None"))?;
        }
        if let Some(action) = &self.default_action {
            rules.default_allow = one_of("networkAcls.defaultAction", action, ("Allow", "Deny"))?;
        }
        if let Some(given) = &self.ip_rules {
            let range = |rule: &IpRule| {
                let wrong = |_| not_a_value("networkAcls.ipRules", &rule.value);
                rule.value.parse().map_err(wrong)
            };
            rules.ranges = without_doubles(given.iter().map(range).collect::<Result<_, _>>()?);
        }
        if let Some(given) = &self.virtual_network_rules {
            let network = |rule: &NetworkRule| VirtualNetwork {
                id: rule.id.to_ascii_lowercase(),
                ignore_missing_endpoint: rule.ignore_missing_vnet_service_endpoint,
            };
            rules.virtual_networks = without_doubles(given.iter().map(network).collect());
        }
        Ok(())
    }
}

/// What happens to the access policies of a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyChange {
    /// Permissions are added to what the principals have.
    Add,
    /// The principals have these permissions and no others.
    Replace,
    /// Permissions are taken away; a policy without any goes.
    Remove,
}

impl PolicyChange {
    /// The change of this name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            ("add", Self::Add),
            ("replace", Self::Replace),
            ("remove", Self::Remove),
        ]
        .into_iter()
        .find_map(|(known, change)| known.eq_ignore_ascii_case(name).then_some(change))
    }

    pub(super) fn apply(self, policies: &mut Vec<AccessPolicy>, given: Vec<AccessPolicy>) {
        for new in given {
            let same = |known: &&mut AccessPolicy| {
                known.object_id.eq_ignore_ascii_case(&new.object_id)
                    && known.application_id == new.application_id
            };
            match (policies.iter_mut().find(same), self) {
                (Some(known), Self::Add) => merge(known, new),
                (Some(known), Self::Replace) => *known = new,
                (Some(known), Self::Remove) => take_away(known, &new),
                (None, Self::Remove) => {}
                (None, _) => policies.push(new),
            }
        }
        if self == Self::Remove {
            policies.retain(|policy| !is_empty(policy));
        }
    }
}

fn merge(known: &mut AccessPolicy, new: AccessPolicy) {
    known.keys.extend(new.keys);
    known.keys = without_doubles(std::mem::take(&mut known.keys));
    for (known, new) in lists(known)
        .into_iter()
        .zip([new.secrets, new.certificates, new.storage])
    {
        known.extend(new);
        *known = without_doubles(std::mem::take(known));
    }
}

fn take_away(known: &mut AccessPolicy, gone: &AccessPolicy) {
    known.keys.retain(|permission| !gone.keys.contains(permission));
    for (known, gone) in lists(known)
        .into_iter()
        .zip([&gone.secrets, &gone.certificates, &gone.storage])
    {
        known.retain(|permission| !gone.contains(permission));
    }
}

fn is_empty(policy: &AccessPolicy) -> bool {
    let others = [&policy.secrets, &policy.certificates, &policy.storage];
    policy.keys.is_empty() && others.iter().all(|list| list.is_empty())
}

fn lists(policy: &mut AccessPolicy) -> [&mut Vec<String>; 3] {
    [&mut policy.secrets, &mut policy.certificates, &mut policy.storage]
}

fn without_doubles<T: PartialEq>(given: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(given.len());
    for item in given {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

/// Whether it is the first of the two.
fn one_of(property: &str, value: &str, (yes, no): (&str, &str)) -> Result<bool, ControlError> {
    if value.eq_ignore_ascii_case(yes) {
        Ok(true)
    } else if value.eq_ignore_ascii_case(no) {
        Ok(false)
    } else {
        Err(not_a_value(property, value))
    }
}

/// Who decides.
const fn model(by_roles: bool) -> PermissionModel {
    if by_roles {
        PermissionModel::Rbac
    } else {
        PermissionModel::AccessPolicies
    }
}

fn not_a_value(property: &str, value: &str) -> ControlError {
    ControlError::InvalidVault {
        reason: format!("An invalid value was provided for '{property}': '{value}'."),
    }
}

fn invalid<T>(reason: &str) -> Result<T, ControlError> {
    Err(ControlError::InvalidVault {
        reason: reason.to_owned(),
    })
}
