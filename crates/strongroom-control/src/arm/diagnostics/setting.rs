//! One diagnostic setting: what it asks for, and what is kept of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use strongroom_azure::ResourceId;

use crate::arm::fault::{Outcome, bad};
use crate::arm::inventory::Resource;

/// Categories of logs and the groups that they are in.
type Categories = &'static [(&'static str, &'static [&'static str])];

const AUDIT: &[&str] = &["audit", "allLogs"];
const OTHER: &[&str] = &["allLogs"];

const OF_VAULTS: Categories = &[("AuditEvent", AUDIT), ("AzurePolicyEvaluationDetails", OTHER)];
const OF_ACCOUNTS: Categories = &[
    ("Audit", AUDIT),
    ("RequestResponse", OTHER),
    ("AzureOpenAIRequestUsage", OTHER),
    ("Trace", OTHER),
];
const OF_SUBSCRIPTIONS: Categories = &[
    ("Administrative", OTHER),
    ("Security", OTHER),
    ("ServiceHealth", OTHER),
    ("Alert", OTHER),
    ("Recommendation", OTHER),
    ("Policy", OTHER),
    ("Autoscale", OTHER),
    ("ResourceHealth", OTHER),
];

/// The categories of a type, which is in small letters and empty for subscriptions; `None` for a type that has no logs here.
pub(super) fn categories(kind: &str) -> Option<Categories> {
    match kind {
        "microsoft.keyvault/vaults" => Some(OF_VAULTS),
        "microsoft.cognitiveservices/accounts" => Some(OF_ACCOUNTS),
        "" => Some(OF_SUBSCRIPTIONS),
        _ => None,
    }
}

/// Properties that name a destination.
const DESTINATIONS: [&str; 4] = [
    "workspaceId",
    "storageAccountId",
    "eventHubAuthorizationRuleId",
    "marketplacePartnerId",
];

/// Where logs are to go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Destination {
    /// The property that names it.
    pub(super) property: String,
    /// The resource.
    pub(super) id: String,
}

impl Destination {
    /// What whoever names it must be allowed to do there: on Azure, to read the keys that logs are sent with.
    pub(super) fn needs(&self) -> String {
        let keys = match self.property.as_str() {
            "workspaceId" => "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
            "storageAccountId" => "Microsoft.Storage/storageAccounts/listKeys/action",
            "eventHubAuthorizationRuleId" => {
                "Microsoft.EventHub/namespaces/authorizationRules/listKeys/action"
            }
            _ => {
                let kind = self.id.parse().map(|id| super::type_of(&id));
                return format!("{}/write", kind.unwrap_or_default());
            }
        };
        keys.to_owned()
    }
}

/// What a setting asks for.
pub(super) struct Setting {
    given: Map<String, Value>,
    pub(super) destinations: Vec<Destination>,
    /// The categories of logs that are on; groups are resolved.
    pub(super) categories: BTreeSet<String>,
}

/// What a setting is on.
pub(super) fn scope_of(setting: &ResourceId) -> Option<ResourceId> {
    let lower = setting.as_str().to_ascii_lowercase();
    let at = lower.rfind("/providers/microsoft.insights/diagnosticsettings/")?;
    setting.as_str().get(..at)?.parse().ok()
}

impl Setting {
    /// Reads what a client sent for a resource of this type.
    pub(super) fn read(body: &Map<String, Value>, kind: &str) -> Outcome<Self> {
        let wrong = |message: String| bad("BadRequest", message);
        let given = body.get("properties").and_then(Value::as_object);
        let given = given.ok_or_else(|| wrong("The properties of the setting are missing.".to_owned()))?;
        for log in entries(given, "logs").chain(entries(given, "metrics")) {
            check_entry(log, kind)?;
        }
        let setting = Self::from(given.clone(), kind);
        if setting.destinations.is_empty() {
            return Err(wrong(
                "At least one data sink needs to be specified: a workspace, a storage account or an event hub."
                    .to_owned(),
            ));
        }
        for destination in &setting.destinations {
            if destination.id.parse::<ResourceId>().is_err() {
                return Err(wrong(format!(
                    "'{}' is no resource id: {}.",
                    destination.id, destination.property
                )));
            }
        }
        Ok(setting)
    }

    /// What a row keeps.
    pub(super) fn of(row: &Resource) -> Self {
        let kind = scope_of(&row.id)
            .map(|scope| super::type_of(&scope))
            .unwrap_or_default();
        let given = row.body.get("properties").and_then(Value::as_object);
        Self::from(given.cloned().unwrap_or_default(), &kind)
    }

    fn from(given: Map<String, Value>, kind: &str) -> Self {
        let named = |property: &&str| {
            let id = given.get(*property)?.as_str().filter(|id| !id.is_empty())?;
            Some(Destination {
                property: (*property).to_owned(),
                id: id.to_owned(),
            })
        };
        let destinations = DESTINATIONS.iter().filter_map(named).collect();
        let on = entries(&given, "logs").filter(|log| log.get("enabled") == Some(&Value::Bool(true)));
        let categories = on.flat_map(|log| resolved(log, kind)).collect();
        Self {
            destinations,
            categories,
            given,
        }
    }

    /// What is kept, and shown: every member that clients look for.
    pub(super) fn body(&self) -> Map<String, Value> {
        let mut properties = self.given.clone();
        for list in ["logs", "metrics"] {
            let filled: Vec<Value> = entries(&self.given, list)
                .map(|entry| filled(entry, list))
                .collect();
            properties.insert(list.to_owned(), filled.into());
        }
        for name in
            DESTINATIONS
                .iter()
                .chain(&["serviceBusRuleId", "eventHubName", "logAnalyticsDestinationType"])
        {
            properties.entry(*name).or_insert(Value::Null);
        }
        let mut body = Map::new();
        body.insert("properties".to_owned(), Value::Object(properties));
        body
    }
}

fn entries<'a>(given: &'a Map<String, Value>, list: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    let list = given.get(list).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_object)
}

fn filled(entry: &Map<String, Value>, list: &str) -> Value {
    let mut entry = entry.clone();
    let also = if list == "logs" {
        "categoryGroup"
    } else {
        "timeGrain"
    };
    for name in ["category", also] {
        entry.entry(name).or_insert(Value::Null);
    }
    entry.entry("enabled").or_insert(json!(false));
    entry
        .entry("retentionPolicy")
        .or_insert(json!({ "days": 0, "enabled": false }));
    Value::Object(entry)
}

fn text<'a>(entry: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    entry
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn check_entry(entry: &Map<String, Value>, kind: &str) -> Outcome<()> {
    let wrong = |message: String| Err(bad("BadRequest", message));
    let keeps = entry
        .get("retentionPolicy")
        .and_then(|policy| policy.get("enabled"));
    if keeps == Some(&Value::Bool(true)) {
        return wrong(
            "Diagnostic settings does not support retention for new diagnostic settings.".to_owned(),
        );
    }
    let metric = text(entry, "category").is_some_and(|name| name.eq_ignore_ascii_case("AllMetrics"));
    // What has no logs here keeps what it is given.
    let Some(known) = categories(kind).filter(|_| !metric) else {
        return Ok(());
    };
    match (text(entry, "category"), text(entry, "categoryGroup")) {
        (Some(name), None) => match known.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            true => Ok(()),
            false => wrong(format!("Category '{name}' is not supported.")),
        },
        (None, Some(group)) => match known.iter().any(|(_, groups)| in_group(groups, group)) {
            true => Ok(()),
            false => wrong(format!("Category group '{group}' is not supported.")),
        },
        _ => wrong("An entry of logs names either a category or a category group.".to_owned()),
    }
}

fn in_group(groups: &[&str], group: &str) -> bool {
    groups.iter().any(|known| known.eq_ignore_ascii_case(group))
}

/// The categories that an entry stands for, as they are spelled.
fn resolved(entry: &Map<String, Value>, kind: &str) -> Vec<String> {
    let known = categories(kind).unwrap_or_default().iter();
    let is_meant =
        |(name, groups): &&(&str, &[&str])| match (text(entry, "category"), text(entry, "categoryGroup")) {
            (Some(category), _) => category.eq_ignore_ascii_case(name),
            (None, Some(group)) => in_group(groups, group),
            (None, None) => false,
        };
    known
        .filter(is_meant)
        .map(|(name, _)| (*name).to_owned())
        .collect()
}
