//! Private endpoints and the connections that they make, as state: who asked to reach a resource privately, and whether its owner
//! approved. Nothing is routed: there is no network here.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use strongroom_azure::{ErrorStatus, Problem, ResourceId};
use uuid::Uuid;

use super::call::{Answer, Call};
use super::fault::{Fault, Outcome, bad, missing, no_resource};
use super::inventory::{Resource, Rows, Selection};
use super::listing::{self, List};
use super::place::Place;
use super::route::{Permission, Route, blocking};
use super::{groups, state};
use crate::limits::{ARM_BODY, PRIVATE_CONNECTIONS};

const ENDPOINT: &str = "Microsoft.Network/privateEndpoints";
const CHILD: &str = "privateEndpointConnections";

/// What can be reached privately: the type, the group of the sub-resource, and its zone in Azure's public cloud.
const REACHABLE: [(&str, &str, &str); 3] = [
    (
        "Microsoft.KeyVault/vaults",
        "vault",
        "privatelink.vaultcore.azure.net",
    ),
    (
        "Microsoft.CognitiveServices/accounts",
        "account",
        "privatelink.cognitiveservices.azure.com",
    ),
    (
        "Microsoft.Storage/storageAccounts",
        "blob",
        "privatelink.blob.core.windows.net",
    ),
];

pub(crate) fn routes() -> Vec<Route> {
    let endpoint = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/privateEndpoints/{endpoint}";
    let all = "{scope}/privateEndpointConnections";
    let one = "{scope}/privateEndpointConnections/{connection}";
    let links = "{scope}/privateLinkResources";
    let of = Permission::OfType;
    vec![
        Route::new(
            Method::PUT,
            endpoint,
            of("write"),
            ARM_BODY,
            blocking(put_endpoint),
        ),
        Route::new(
            Method::DELETE,
            endpoint,
            of("delete"),
            0,
            blocking(remove_endpoint),
        ),
        Route::new(Method::GET, all, of("read"), 0, blocking(list)),
        Route::new(Method::GET, one, of("read"), 0, blocking(get)),
        Route::new(Method::PUT, one, of("write"), ARM_BODY, blocking(put)),
        Route::new(Method::DELETE, one, of("delete"), 0, blocking(remove)),
        Route::new(Method::GET, links, of("read"), 0, blocking(list_links)),
    ]
}

/// Puts a resource's connections into what is shown of it.
pub(crate) fn show_on(rows: &Rows<'_>, id: &ResourceId, body: &mut Map<String, Value>) -> Outcome<()> {
    let shown: Vec<Value> = connections(rows, id)?
        .into_iter()
        .map(|connection| {
            let mut shown = connection.body;
            shown.shift_remove("name");
            shown.shift_remove("type");
            Value::Object(shown)
        })
        .collect();
    let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    if shown.is_empty() {
        properties.shift_remove(CHILD);
    } else {
        properties.insert(CHILD.to_owned(), Value::Array(shown));
    }
    Ok(())
}

fn connections(rows: &Rows<'_>, id: &ResourceId) -> Outcome<Vec<Resource>> {
    let Some(kind) = type_of(id) else {
        return Ok(Vec::new());
    };
    let kind = format!("{kind}/{CHILD}");
    let selection = Selection {
        below: Some(id),
        kind: Some(&kind),
        ..Selection::default()
    };
    rows.list(&selection, PRIVATE_CONNECTIONS)
}

fn type_of(id: &ResourceId) -> Option<String> {
    Some(Place::of(id)?.typed?.full_type())
}

/// Shows the resource anew with the connections that it has now.
fn show_anew(call: &Call, rows: &Rows<'_>, target: &ResourceId) -> Outcome<()> {
    let Some(mut row) = rows.get(target)? else {
        return Ok(());
    };
    show_on(rows, target, &mut row.body)?;
    rows.put(target, &row.kind, row.body, call.now_ms).map(drop)
}

/// The resource that the path's connections are to, which must be there and be one that can be reached privately.
fn target(call: &Call, rows: &Rows<'_>) -> Outcome<Resource> {
    let scope = call.scope()?;
    let place = Place::of(&scope);
    let typed = place.as_ref().and_then(|place| place.typed.as_ref());
    let Some(typed) = typed.filter(|typed| !typed.is_collection() && !typed.extends) else {
        return Err(bad("InvalidRequestUri", "No resource can have this path."));
    };
    let group = place.as_ref().and_then(|place| place.group.as_deref());
    if let Some(group) = group {
        groups::must_be(rows, &call.arm.subscription(), group)?;
    }
    let not_there = || no_resource(&scope, &typed.full_type(), &typed.names.join("/"), group);
    rows.get(&scope)?.ok_or_else(not_there)
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let target = call.arm.inventory.read(|rows| target(call, rows))?;
    let kind = format!("{}/{CHILD}", target.kind);
    listing::page(
        call,
        &List {
            below: Some(&target.id),
            kind: Some(&kind),
            tracked: false,
            shown: |_, resource| Value::Object(resource.body),
        },
    )
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    let found = call.arm.inventory.read(|rows| {
        target(call, rows)?;
        rows.get(&call.path)
    })?;
    Ok(call.show(StatusCode::OK, found.ok_or_else(|| no_connection(call))?))
}

/// The owner approves or rejects.
fn put(call: &Arc<Call>) -> Outcome<Answer> {
    let given = call.object()?;
    let wanted = given
        .get("properties")
        .and_then(|properties| properties.get("privateLinkServiceConnectionState"))
        .and_then(Value::as_object)
        .cloned();
    let status = wanted
        .as_ref()
        .and_then(|state| state.get("status"))
        .and_then(Value::as_str);
    let known = ["Pending", "Approved", "Rejected", "Disconnected"];
    let status = known
        .into_iter()
        .find(|known| status.is_some_and(|status| status.eq_ignore_ascii_case(known)));
    let (Some(wanted), Some(status)) = (wanted, status) else {
        let message =
            "privateLinkServiceConnectionState.status is Pending, Approved, Rejected or Disconnected.";
        return Err(bad("BadRequest", message));
    };
    let description = wanted
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    call.arm.inventory.write(|rows| {
        let target = target(call, rows)?;
        let mut row = rows.get(&call.path)?.ok_or_else(|| no_connection(call))?;
        call.check_conditions(Some(&row))?;
        let state = connection_state(status, description);
        if let Some(properties) = row.body.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("privateLinkServiceConnectionState".to_owned(), state.clone());
        }
        tell_endpoint(call, rows, &row, &state)?;
        let row = rows.put(&row.id, &row.kind, row.body, call.now_ms)?;
        show_anew(call, rows, &target.id)?;
        Ok(call.show(StatusCode::OK, row))
    })
}

fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    call.arm.inventory.write(|rows| {
        let target = target(call, rows)?;
        let Some(row) = rows.get(&call.path)? else {
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        };
        call.check_conditions(Some(&row))?;
        tell_endpoint(call, rows, &row, &connection_state("Disconnected", ""))?;
        rows.delete(&row.id)?;
        show_anew(call, rows, &target.id)?;
        Ok(Answer::empty(StatusCode::OK))
    })
}

fn list_links(call: &Arc<Call>) -> Outcome<Answer> {
    let target = call.arm.inventory.read(|rows| target(call, rows))?;
    let known = REACHABLE
        .iter()
        .filter(|(kind, ..)| kind.eq_ignore_ascii_case(&target.kind));
    let rows = known.map(|(kind, group, zone)| {
        json!({
            "id": format!("{}/privateLinkResources/{group}", target.id),
            "name": group,
            "type": format!("{kind}/privateLinkResources"),
            "properties": {"groupId": group, "requiredMembers": ["default"], "requiredZoneNames": [zone]},
        })
    });
    Ok(Answer::page(rows.collect(), None))
}

/// Where an endpoint asks to be let in: by itself, if whoever makes it may approve, or by hand.
const ASKS: [(&str, bool); 2] = [
    ("privateLinkServiceConnections", false),
    ("manualPrivateLinkServiceConnections", true),
];

fn put_endpoint(call: &Arc<Call>) -> Outcome<Answer> {
    let mut given = call.object()?;
    call.arm.inventory.write(|rows| {
        groups::must_stay(rows, &call.arm.subscription(), call.name("group"))?;
        let before = rows.get(&call.path)?;
        let mut wanted = Vec::new();
        for (asks, by_hand) in ASKS {
            let asked = given
                .get_mut("properties")
                .and_then(|properties| properties.get_mut(asks));
            for asked in asked.and_then(Value::as_array_mut).into_iter().flatten() {
                wanted.push(connect(call, rows, asked, by_hand)?);
            }
        }
        let answer = state::put_row(call, rows, &given)?;
        let known = before.iter().flat_map(targets);
        for target in known.filter(|known| !wanted.contains(known)) {
            disconnect(call, rows, &target)?;
        }
        for target in wanted {
            show_anew(call, rows, &target)?;
        }
        Ok(answer)
    })
}

/// Makes the connection that one entry of an endpoint asks for, and tells the entry its state.
fn connect(call: &Call, rows: &Rows<'_>, asked: &mut Value, by_hand: bool) -> Outcome<ResourceId> {
    let wrong = |message: &str| bad("InvalidPrivateLinkServiceConnection", message);
    let properties = asked.get_mut("properties").and_then(Value::as_object_mut);
    let properties = properties.ok_or_else(|| wrong("A connection has no properties."))?;
    let named = properties
        .get("privateLinkServiceId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let target: ResourceId = named
        .parse()
        .map_err(|_| wrong("privateLinkServiceId is no resource id."))?;
    let row = rows.get(&target)?.filter(|row| is_resource(&row.id));
    let row = row.ok_or_else(|| {
        missing(
            "ResourceNotFound",
            format!("The Resource '{target}' was not found."),
        )
    })?;
    let groups = properties.get("groupIds").cloned().unwrap_or_else(|| json!([]));
    let known = connections(rows, &row.id)?
        .into_iter()
        .find(|known| is_of(known, &call.path));
    let status = match &known {
        Some(known) => status_of(known),
        None if by_hand => "Pending".to_owned(),
        None => {
            let approve = format!("{}/privateEndpointConnectionsApproval/action", row.kind);
            if !call.may(&row.id, &approve) {
                return Err(not_approved(&approve, &row.id));
            }
            "Approved".to_owned()
        }
    };
    let state = connection_state(&status, "");
    properties.insert("privateLinkServiceConnectionState".to_owned(), state.clone());
    properties.insert("provisioningState".to_owned(), json!("Succeeded"));
    if known.is_none() {
        add(call, rows, &row, &state, groups)?;
    }
    Ok(row.id)
}

fn add(call: &Call, rows: &Rows<'_>, target: &Resource, state: &Value, groups: Value) -> Outcome<()> {
    if connections(rows, &target.id)?.len() >= PRIVATE_CONNECTIONS {
        let message = format!("A resource has at most {PRIVATE_CONNECTIONS} private endpoint connections.");
        return Err(bad("TooManyPrivateEndpointConnections", message));
    }
    let name = format!("{}.{}", call.name("endpoint"), Uuid::new_v4());
    let id = target
        .id
        .child(&format!("{CHILD}/{name}"))
        .map_err(|_| Fault::Interrupted)?;
    let kind = format!("{}/{CHILD}", type_of(&target.id).unwrap_or_default());
    let body = json!({
        "id": id.as_str(),
        "name": name,
        "type": kind,
        "properties": {
            "provisioningState": "Succeeded",
            "privateEndpoint": {"id": call.path.as_str()},
            "privateLinkServiceConnectionState": state,
            "groupIds": groups,
        },
    });
    let body = body.as_object().cloned().unwrap_or_default();
    rows.put(&id, &kind, body, call.now_ms).map(drop)
}

/// Takes away the endpoint's connections to a resource.
fn disconnect(call: &Call, rows: &Rows<'_>, target: &ResourceId) -> Outcome<()> {
    let known = connections(rows, target)?;
    for known in known.iter().filter(|known| is_of(known, &call.path)) {
        rows.delete(&known.id)?;
    }
    show_anew(call, rows, target)
}

/// An endpoint that goes takes its connections with it.
fn remove_endpoint(call: &Arc<Call>) -> Outcome<Answer> {
    let gone = call.arm.inventory.write(|rows| {
        let Some(endpoint) = rows.get(&call.path)? else {
            return Ok(0);
        };
        call.check_conditions(Some(&endpoint))?;
        for target in targets(&endpoint) {
            disconnect(call, rows, &target)?;
        }
        rows.delete(&call.path)
    })?;
    if gone == 0 {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    }
    call.arm.control.remove_assignments_below(&call.path)?;
    Ok(Answer::empty(StatusCode::OK))
}

/// What an endpoint asks to reach.
fn targets(endpoint: &Resource) -> Vec<ResourceId> {
    let properties = endpoint.body.get("properties");
    let asks = ASKS
        .iter()
        .filter_map(|(asks, _)| properties?.get(*asks)?.as_array());
    let named = asks
        .flatten()
        .filter_map(|asked| asked.get("properties")?.get("privateLinkServiceId")?.as_str());
    named.filter_map(|id| id.parse().ok()).collect()
}

/// Tells the endpoint what became of its connection.
fn tell_endpoint(call: &Call, rows: &Rows<'_>, connection: &Resource, state: &Value) -> Outcome<()> {
    let target = Place::of(&connection.id).and_then(|place| place.parent());
    let endpoint = endpoint_of(connection).and_then(|id| id.parse::<ResourceId>().ok());
    let (Some(target), Some(endpoint)) = (target, endpoint) else {
        return Ok(());
    };
    let Some(mut row) = rows.get(&endpoint)? else {
        return Ok(());
    };
    for (asks, _) in ASKS {
        let asked = row
            .body
            .get_mut("properties")
            .and_then(|properties| properties.get_mut(asks));
        for asked in asked.and_then(Value::as_array_mut).into_iter().flatten() {
            let properties = asked.get_mut("properties").and_then(Value::as_object_mut);
            let meant = |properties: &Map<String, Value>| {
                let id = properties.get("privateLinkServiceId").and_then(Value::as_str);
                id.is_some_and(|id| id.eq_ignore_ascii_case(target.as_str()))
            };
            if let Some(properties) = properties.filter(|properties| meant(properties)) {
                properties.insert("privateLinkServiceConnectionState".to_owned(), state.clone());
            }
        }
    }
    rows.put(&row.id, ENDPOINT, row.body, call.now_ms).map(drop)
}

fn endpoint_of(connection: &Resource) -> Option<&str> {
    connection
        .body
        .get("properties")?
        .get("privateEndpoint")?
        .get("id")?
        .as_str()
}

fn is_of(connection: &Resource, endpoint: &ResourceId) -> bool {
    endpoint_of(connection).is_some_and(|id| id.eq_ignore_ascii_case(endpoint.as_str()))
}

fn status_of(connection: &Resource) -> String {
    let state = connection
        .body
        .get("properties")
        .and_then(|properties| properties.get("privateLinkServiceConnectionState"));
    let status = state
        .and_then(|state| state.get("status"))
        .and_then(Value::as_str);
    status.unwrap_or("Pending").to_owned()
}

fn connection_state(status: &str, description: &str) -> Value {
    json!({"status": status, "description": description, "actionsRequired": "None"})
}

/// Whether it stands in a group by itself, as what can be reached does.
fn is_resource(id: &ResourceId) -> bool {
    let place = Place::of(id).filter(|place| place.group.is_some());
    let typed = place.and_then(|place| place.typed);
    typed.is_some_and(|typed| typed.names.len() == 1 && !typed.is_collection() && !typed.extends)
}

fn not_approved(action: &str, target: &ResourceId) -> Fault {
    let message = format!(
        "The client does not have permission to perform action '{action}' on the linked scope '{target}'. It may ask for a manual \
         approval."
    );
    Problem::new(ErrorStatus::FORBIDDEN, "LinkedAuthorizationFailed", message).into()
}

fn no_connection(call: &Call) -> Fault {
    let message = format!(
        "The private endpoint connection '{}' was not found.",
        call.name("connection")
    );
    missing("PrivateEndpointConnectionNotFound", message)
}
