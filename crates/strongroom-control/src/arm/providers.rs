//! Which types there are: lists of providers, their types and their operations, and registration (which nothing needs).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::fault::{Outcome, missing};
use super::route::{Permission, Route, blocking};

/// Types that clients look up before they make the first of them. Any other is known once there is one.
const KNOWN: [(&str, &[&str]); 12] = [
    (
        "Microsoft.Authorization",
        &[
            "denyAssignments",
            "locks",
            "permissions",
            "roleAssignments",
            "roleDefinitions",
        ],
    ),
    (
        "Microsoft.CognitiveServices",
        &["accounts", "accounts/deployments", "deletedAccounts"],
    ),
    ("Microsoft.Compute", &["virtualMachines", "disks"]),
    ("Microsoft.DocumentDB", &["databaseAccounts"]),
    (
        "Microsoft.Insights",
        &["components", "diagnosticSettings", "eventtypes"],
    ),
    (
        "Microsoft.KeyVault",
        &[
            "vaults",
            "vaults/accessPolicies",
            "vaults/keys",
            "vaults/privateEndpointConnections",
            "deletedVaults",
            "locations/deletedVaults",
        ],
    ),
    ("Microsoft.ManagedIdentity", &["userAssignedIdentities"]),
    (
        "Microsoft.Network",
        &[
            "networkInterfaces",
            "privateEndpoints",
            "publicIPAddresses",
            "virtualNetworks",
        ],
    ),
    ("Microsoft.OperationalInsights", &["workspaces"]),
    (
        "Microsoft.Resources",
        &["resourceGroups", "subscriptions", "tags"],
    ),
    ("Microsoft.Search", &["searchServices"]),
    (
        "Microsoft.Storage",
        &["storageAccounts", "storageAccounts/blobServices"],
    ),
];

/// Any well-formed version is served alike; clients want to choose one.
const API_VERSIONS: [&str; 2] = ["2025-06-01", "2024-10-01"];

pub(crate) fn routes() -> Vec<Route> {
    let read = Permission::Signed;
    let write = Permission::Action("Microsoft.Resources/subscriptions/providers/register/action");
    let get = |pattern, work: fn(&Arc<Call>) -> Outcome<Answer>| {
        Route::new(Method::GET, pattern, read, 0, blocking(work))
    };
    let post = |pattern| Route::new(Method::POST, pattern, write, 0, blocking(one));
    vec![
        get("/providers", list),
        get("/providers/{namespace}", one),
        get("/providers/{namespace}/operations", operations),
        get("/subscriptions/{subscription}/providers", list),
        get("/subscriptions/{subscription}/providers/{namespace}", one),
        post("/subscriptions/{subscription}/providers/{namespace}/register"),
        post("/subscriptions/{subscription}/providers/{namespace}/unregister"),
    ]
}

/// Namespaces and types: what is known, and what there is.
fn all(call: &Call) -> Outcome<BTreeMap<String, BTreeSet<String>>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (namespace, types) in KNOWN {
        let types = types.iter().map(|kind| (*kind).to_owned());
        all.entry(namespace.to_owned()).or_default().extend(types);
    }
    for kind in call.arm.inventory.read(|rows| rows.types())? {
        let Some((namespace, kind)) = kind.split_once('/') else {
            continue;
        };
        let known = all
            .keys()
            .find(|known| known.eq_ignore_ascii_case(namespace))
            .cloned();
        let types = all
            .entry(known.unwrap_or_else(|| namespace.to_owned()))
            .or_default();
        if !types.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
            types.insert(kind.to_owned());
        }
    }
    Ok(all)
}

fn shown(call: &Call, namespace: &str, types: &BTreeSet<String>) -> Value {
    let types = types.iter().map(|kind| {
        json!({
            "resourceType": kind,
            "locations": [],
            "apiVersions": API_VERSIONS,
            "capabilities": "SupportsTags, SupportsLocation",
        })
    });
    json!({
        "id": format!("{}/providers/{namespace}", call.arm.subscription()),
        "namespace": namespace,
        "registrationPolicy": "RegistrationFree",
        "registrationState": "Registered",
        "resourceTypes": types.collect::<Vec<_>>(),
    })
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let all = all(call)?;
    let rows = all.iter().map(|(namespace, types)| shown(call, namespace, types));
    Ok(Answer::page(rows.collect(), None))
}

fn one(call: &Arc<Call>) -> Outcome<Answer> {
    let wanted = call.name("namespace");
    let all = all(call)?;
    let found = all
        .iter()
        .find(|(namespace, _)| namespace.eq_ignore_ascii_case(wanted));
    let (namespace, types) = found.ok_or_else(|| {
        missing(
            "InvalidResourceNamespace",
            format!("The resource namespace '{wanted}' is invalid."),
        )
    })?;
    Ok(Answer::ok(shown(call, namespace, types)))
}

/// What the routes of a namespace let one do.
fn operations(call: &Arc<Call>) -> Outcome<Answer> {
    let namespace = call.name("namespace").to_ascii_lowercase();
    let actions: BTreeSet<&str> = call
        .arm
        .routes
        .iter()
        .filter_map(|route| match route.permission {
            Permission::Action(action) | Permission::InPart(action) => Some(action),
            _ => None,
        })
        .filter(|action| action.to_ascii_lowercase().starts_with(&format!("{namespace}/")))
        .collect();
    let rows = actions.into_iter().map(|action| {
        let mut parts = action.splitn(2, '/');
        let (provider, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (resource, verb) = rest.rsplit_once('/').unwrap_or((rest, ""));
        json!({
            "name": action,
            "isDataAction": false,
            "display": { "provider": provider, "resource": resource, "operation": verb, "description": action },
        })
    });
    Ok(Answer::page(rows.collect(), None))
}
