//! Tenants, the subscription, its locations, and what a client needs to know of this cloud.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::fault::Outcome;
use super::route::{Permission, Route, blocking};
use crate::vaults::VAULT_DOMAIN;

/// Names and what people call them. Azure's are there so that templates with them work unchanged.
pub(crate) const LOCATIONS: [(&str, &str); 12] = [
    ("local", "Local"),
    ("eastus", "East US"),
    ("eastus2", "East US 2"),
    ("westus", "West US"),
    ("westus3", "West US 3"),
    ("northeurope", "North Europe"),
    ("westeurope", "West Europe"),
    ("swedencentral", "Sweden Central"),
    ("germanywestcentral", "Germany West Central"),
    ("francecentral", "France Central"),
    ("switzerlandnorth", "Switzerland North"),
    ("uksouth", "UK South"),
];

pub(crate) fn routes() -> Vec<Route> {
    let get = |pattern, permission, work: fn(&Arc<Call>) -> Outcome<Answer>| {
        Route::new(Method::GET, pattern, permission, 0, blocking(work))
    };
    vec![
        get("/metadata/endpoints", Permission::Open, endpoints),
        get("/tenants", Permission::Signed, tenants),
        get("/subscriptions", Permission::Signed, list),
        get("/subscriptions/{subscription}", Permission::Signed, one),
        get(
            "/subscriptions/{subscription}/locations",
            Permission::Signed,
            locations,
        ),
    ]
}

fn subscription(call: &Call) -> Value {
    let control = &call.arm.control;
    let id = control.subscription();
    json!({
        "id": format!("/subscriptions/{id}"),
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": id,
        "tenantId": control.tenant(),
        "displayName": "Strongroom",
        "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    })
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let mut page = Answer::page(vec![subscription(call)], None);
    if let Some(body) = page.body.as_mut().and_then(Value::as_object_mut) {
        body.insert("count".to_owned(), json!({ "type": "Total", "value": 1 }));
    }
    Ok(page)
}

fn one(call: &Arc<Call>) -> Outcome<Answer> {
    Ok(Answer::ok(subscription(call)))
}

fn tenants(call: &Arc<Call>) -> Outcome<Answer> {
    let tenant = call.arm.control.tenant();
    let row = json!({
        "id": format!("/tenants/{tenant}"),
        "tenantId": tenant,
        "countryCode": "",
        "displayName": "Strongroom",
        "domains": [],
        "tenantCategory": "Home",
    });
    Ok(Answer::page(vec![row], None))
}

fn locations(call: &Arc<Call>) -> Outcome<Answer> {
    let subscription = call.arm.subscription();
    let rows = LOCATIONS.iter().map(|(name, shown)| {
        json!({
            "id": format!("{subscription}/locations/{name}"),
            "name": name,
            "type": "Region",
            "displayName": shown,
            "regionalDisplayName": shown,
            "metadata": { "regionType": "Physical", "regionCategory": "Recommended" },
        })
    });
    Ok(Answer::page(rows.collect(), None))
}

/// Makes `az cloud register` one line. Newer versions ask for one object, the oldest for another.
fn endpoints(call: &Arc<Call>) -> Outcome<Answer> {
    let base = &call.base;
    let authority = base.trim_start_matches("https://");
    let port = authority
        .rsplit_once(':')
        .map_or(String::new(), |(_, port)| format!(":{port}"));
    let login = &call.arm.login;
    // An origin of its own, where the client has shown that it reaches such names: `az rest` chooses the token by it.
    let graph = match authority.starts_with("management.") {
        true => format!("https://graph.localhost{port}/"),
        false => format!("{base}/"),
    };
    let audiences = [
        "https://management.core.windows.net/",
        "https://management.azure.com/",
    ];
    if call.parameter("api-version") == Some("2015-01-01") {
        return Ok(Answer::ok(json!({
            "galleryEndpoint": "",
            "graphEndpoint": graph,
            "portalEndpoint": "",
            "authentication": { "loginEndpoint": login, "audiences": audiences },
        })));
    }
    Ok(Answer::ok(json!({
        "name": "Strongroom",
        "resourceManager": format!("{base}/"),
        "authentication": {
            "loginEndpoint": login,
            "audiences": audiences,
            "tenant": call.arm.control.tenant(),
            "identityProvider": "AAD",
        },
        "graphAudience": graph,
        "graph": graph,
        "microsoftGraphResourceId": graph,
        "suffixes": {
            "keyVaultDns": format!("{VAULT_DOMAIN}{port}"),
            "mhsmDns": format!("managedhsm.localhost{port}"),
        },
    })))
}
