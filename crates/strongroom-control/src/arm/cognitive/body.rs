//! What clients write about an account.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use strongroom_vault::{NetworkRules, VirtualNetwork};
use uuid::Uuid;

use crate::accounts::{AccountChange, Encryption, IdentityChange, NewIdentities, RetentionChange, plain_url};
use crate::arm::call::Call;
use crate::arm::fault::{Fault, Outcome, bad};
use crate::arm::tags;
use crate::limits::NETWORK_RULES;

/// What is ours to say, or has its own place.
const OURS: [&str; 25] = [
    "abusePenalty",
    "callRateLimit",
    "capabilities",
    "commitmentPlanAssociations",
    "customSubDomainName",
    "dateCreated",
    "deletionDate",
    "disableLocalAuth",
    "encryption",
    "endpoint",
    "endpoints",
    "etag",
    "internalId",
    "isMigrated",
    "migrationToken",
    "networkAcls",
    "privateEndpointConnections",
    "provisioningState",
    "publicNetworkAccess",
    "quotaLimit",
    "restore",
    "retentionDays",
    "scheduledPurgeDate",
    "skuChangeInfo",
    "systemData",
];

/// What a request wants of an account.
pub(super) struct Wanted {
    pub(super) change: AccountChange,
    /// Whether a deleted account is to be brought back.
    pub(super) restore: bool,
}

/// Reads the body. `replaces`: a whole account is given, and not only what is to be different.
pub(super) fn read(call: &Call, replaces: bool) -> Outcome<Wanted> {
    let body = call.object()?;
    tags::check(body.get("tags"))?;
    let properties = match body.get("properties") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties.clone(),
        Some(_) => return Err(invalid("'properties' is no object")),
    };
    let member = |name: &str| find(&properties, name);
    let change = AccountChange {
        location: text(find(&body, "location"), "location")?,
        kind: text(find(&body, "kind"), "kind")?,
        sku: text(find(&body, "sku").and_then(|sku| sku.get("name")), "sku.name")?,
        tags: find(&body, "tags").and_then(Value::as_object).map(read_tags),
        identity: find(&body, "identity")
            .map(|identity| read_identity(identity, replaces))
            .transpose()?,
        encryption: member("encryption").map(read_encryption).transpose()?,
        subdomain: text(member("customSubDomainName"), "customSubDomainName")?
            .filter(|label| !label.is_empty()),
        public_access: member("publicNetworkAccess")
            .map(|access| choice(access, "publicNetworkAccess", ["Enabled", "Disabled"]))
            .transpose()?
            .map(|chosen| chosen == 0),
        network: member("networkAcls").map(read_network).transpose()?,
        disable_local_auth: flag(member("disableLocalAuth"), "disableLocalAuth")?,
        retention: member("retentionDays").map(read_retention).transpose()?,
        more: properties
            .iter()
            .filter(|(name, _)| !OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        replaces,
    };
    Ok(Wanted {
        change,
        restore: flag(member("restore"), "restore")?.unwrap_or(false),
    })
}

fn read_retention(days: &Value) -> Outcome<RetentionChange> {
    let days = days
        .as_object()
        .ok_or_else(|| invalid("'retentionDays' is no object"))?;
    RetentionChange::read(days).map_err(|why| invalid(&why))
}

/// Tags that were checked.
pub(super) fn read_tags(tags: &Map<String, Value>) -> BTreeMap<String, String> {
    let pairs = tags.iter().map(|(name, value)| {
        let value = value.as_str().unwrap_or_default();
        (name.clone(), value.to_owned())
    });
    pairs.collect()
}

/// A member in any case; one that is `null` is not said.
fn find<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = object.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).filter(|value| !value.is_null())
}

fn read_identity(identity: &Value, replaces: bool) -> Outcome<IdentityChange> {
    let identity = identity
        .as_object()
        .ok_or_else(|| invalid("'identity' is no object"))?;
    let kind = text(find(identity, "type"), "identity.type")?
        .ok_or_else(|| invalid("'identity.type' is missing"))?;
    let mut change = IdentityChange {
        system_assigned: false,
        user_assigned: None,
    };
    for word in kind.split(',').map(str::trim) {
        match word.to_ascii_lowercase().as_str() {
            "none" => {}
            "systemassigned" => change.system_assigned = true,
            "userassigned" => change.user_assigned = Some(NewIdentities::default()),
            _ => return Err(invalid(&format!("the identity type '{kind}' is not known"))),
        }
    }
    let Some(users) = &mut change.user_assigned else {
        return Ok(change);
    };
    users.replaces = replaces;
    match find(identity, "userAssignedIdentities") {
        None => {}
        Some(Value::Object(given)) => {
            for (id, value) in given {
                let list = if value.is_null() {
                    &mut users.taken
                } else {
                    &mut users.given
                };
                list.push(id.clone());
            }
        }
        Some(_) => return Err(invalid("'identity.userAssignedIdentities' is no object")),
    }
    if users.given.is_empty() && users.replaces {
        return Err(invalid(
            "the identity type UserAssigned needs 'userAssignedIdentities'",
        ));
    }
    Ok(change)
}

fn read_encryption(encryption: &Value) -> Outcome<Encryption> {
    let encryption = encryption
        .as_object()
        .ok_or_else(|| invalid("'encryption' is no object"))?;
    let key = find(encryption, "keyVaultProperties");
    let source = find(encryption, "keySource")
        .map(|source| {
            choice(
                source,
                "encryption.keySource",
                ["Microsoft.CognitiveServices", "Microsoft.KeyVault"],
            )
        })
        .transpose()?
        .unwrap_or(usize::from(key.is_some()));
    if source == 0 {
        return Ok(Encryption::service());
    }
    let key = key
        .and_then(Value::as_object)
        .ok_or_else(|| invalid("'encryption.keyVaultProperties' is missing"))?;
    let of =
        |name: &'static str| Ok::<_, Fault>(text(find(key, name), name)?.filter(|text| !text.is_empty()));
    let required = |name: &'static str| {
        of(name)?.ok_or_else(|| invalid(&format!("'encryption.keyVaultProperties.{name}' is missing")))
    };
    let client = of("identityClientId")?
        .map(|client| client.parse::<Uuid>())
        .transpose();
    Ok(Encryption {
        identity: client.map_err(|_| invalid("'identityClientId' is no GUID"))?,
        ..Encryption::customer(
            plain_url(&required("keyVaultUri")?),
            &required("keyName")?,
            of("keyVersion")?.as_deref(),
        )
    })
}

fn read_network(network: &Value) -> Outcome<NetworkRules> {
    let network = network
        .as_object()
        .ok_or_else(|| invalid("'networkAcls' is no object"))?;
    let list = |name: &'static str| match find(network, name) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= NETWORK_RULES => Ok(list.clone()),
        Some(_) => Err(invalid(&format!(
            "'{name}' is no list of at most {NETWORK_RULES} rules"
        ))),
    };
    let default_allow = find(network, "defaultAction")
        .map(|action| choice(action, "networkAcls.defaultAction", ["Allow", "Deny"]))
        .transpose()?;
    let bypass = text(find(network, "bypass"), "networkAcls.bypass")?;
    let ranges = list("ipRules")?.into_iter().map(|rule| {
        let value = rule.get("value").and_then(Value::as_str).unwrap_or_default();
        value.parse().map_err(|_| {
            let message = format!("The IP rule '{value}' is no IP address and no range in CIDR notation.");
            bad("InvalidIpRule", message)
        })
    });
    let networks = list("virtualNetworkRules")?.into_iter().map(|rule| {
        let id = rule.get("id").and_then(Value::as_str);
        let ignore = rule
            .get("ignoreMissingVnetServiceEndpoint")
            .and_then(Value::as_bool);
        Ok(VirtualNetwork {
            id: id
                .ok_or_else(|| invalid("a virtual network rule has no 'id'"))?
                .to_owned(),
            ignore_missing_endpoint: ignore,
        })
    });
    Ok(NetworkRules {
        public_access: true,
        default_allow: default_allow.is_none_or(|chosen| chosen == 0),
        trusted_services: bypass.is_none_or(|bypass| !bypass.eq_ignore_ascii_case("None")),
        ranges: ranges.collect::<Outcome<_>>()?,
        virtual_networks: networks.collect::<Outcome<_>>()?,
    })
}

fn text(value: Option<&Value>, name: &str) -> Outcome<Option<String>> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(&format!("'{name}' is no text"))),
    }
}

fn flag(value: Option<&Value>, name: &str) -> Outcome<Option<bool>> {
    match value {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(invalid(&format!("'{name}' is neither true nor false"))),
    }
}

/// Which of two words it is.
fn choice(value: &Value, name: &str, words: [&str; 2]) -> Outcome<usize> {
    let given = value.as_str().unwrap_or_default();
    let chosen = words.iter().position(|word| word.eq_ignore_ascii_case(given));
    chosen.ok_or_else(|| invalid(&format!("'{name}' must be one of '{}'", words.join(", "))))
}

pub(super) fn invalid(why: &str) -> Fault {
    bad(
        "InvalidRequestContent",
        format!("The request content was invalid and could not be deserialized: {why}."),
    )
}
