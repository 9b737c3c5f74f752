//! Managed identities: user-assigned ones as resources, with the issuers that vouch for them; those of other resources to look at.
//! The directory keeps them; a row of the inventory shows each, with the tags that only the row has.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strongroom_azure::ResourceId;

use super::call::{Answer, Call};
use super::fault::{Fault, Outcome, bad, conflict, missing, no_resource};
use super::inventory::{Resource, Rows, Selection, key};
use super::listing::{self, List};
use super::route::{Permission, Route, blocking};
use super::{Shared, groups, tags};
use crate::control::Index;
use crate::directory::{ExternalKeys, Federation, NewFederation, NewIdentity, Principal};
use crate::limits::ARM_BODY;

const TYPE: &str = "Microsoft.ManagedIdentity/userAssignedIdentities";
const CREDENTIAL: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials";

const ALL: &str = "/subscriptions/{subscription}/providers/Microsoft.ManagedIdentity/userAssignedIdentities";
const OF_GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities";
const ONE: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity}";
const USERS: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity}/listAssociatedResources";
const CREDENTIALS: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity}/federatedIdentityCredentials";
const ONE_CREDENTIAL: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity}/federatedIdentityCredentials/{credential}";
const OWN: &str = "{scope}/providers/Microsoft.ManagedIdentity/identities/default";

pub(crate) fn routes() -> Vec<Route> {
    let read = Permission::Action("Microsoft.ManagedIdentity/userAssignedIdentities/read");
    let write = Permission::Action("Microsoft.ManagedIdentity/userAssignedIdentities/write");
    let delete = Permission::Action("Microsoft.ManagedIdentity/userAssignedIdentities/delete");
    let users =
        Permission::Action("Microsoft.ManagedIdentity/userAssignedIdentities/listAssociatedResources/action");
    let own = Permission::Action("Microsoft.ManagedIdentity/identities/read");
    let of_type = Permission::OfType;
    vec![
        Route::new(Method::GET, ALL, Permission::Signed, 0, blocking(list)),
        Route::new(Method::GET, OF_GROUP, Permission::Signed, 0, blocking(list)),
        Route::new(Method::GET, ONE, read, 0, blocking(get)),
        Route::new(Method::PUT, ONE, write, ARM_BODY, blocking(put)),
        Route::new(Method::PATCH, ONE, write, ARM_BODY, blocking(patch)),
        Route::new(Method::DELETE, ONE, delete, 0, blocking(remove)),
        Route::new(Method::POST, USERS, users, 0, blocking(associated)),
        Route::new(
            Method::GET,
            CREDENTIALS,
            of_type("read"),
            0,
            blocking(credentials),
        ),
        Route::new(
            Method::GET,
            ONE_CREDENTIAL,
            of_type("read"),
            0,
            blocking(credential),
        ),
        Route::new(
            Method::PUT,
            ONE_CREDENTIAL,
            of_type("write"),
            ARM_BODY,
            blocking(put_credential),
        ),
        Route::new(
            Method::DELETE,
            ONE_CREDENTIAL,
            of_type("delete"),
            0,
            blocking(remove_credential),
        ),
        Route::new(Method::GET, OWN, own, 0, blocking(own_identity)),
    ]
}

/// The inventory as the control plane sees it.
struct Mirror(Weak<Shared>);

impl Index for Mirror {
    fn has(&self, id: &ResourceId) -> bool {
        let has = |arm: Arc<Shared>| arm.inventory.read(|rows| rows.has(id));
        self.0.upgrade().map(has).is_some_and(|has| has.unwrap_or(false))
    }

    fn show(&self, identity: Value) {
        self.write(|rows, now_ms| show(rows, identity, None, now_ms).map(drop));
    }

    fn hide(&self, id: &ResourceId) {
        self.write(|rows, _| rows.delete(id).map(drop));
    }
}

impl Mirror {
    /// What fails here is made good at the next start.
    fn write(&self, work: impl FnOnce(&Rows<'_>, i64) -> Outcome<()>) {
        let Some(arm) = self.0.upgrade() else { return };
        let now_ms = super::time::now_ms(&*arm.clock);
        if let Err(error) = arm.inventory.write(|rows| work(rows, now_ms)) {
            tracing::error!(%error, "the inventory did not take in a change of an identity");
        }
    }
}

/// Makes the rows what the directory says, and keeps them so.
pub(crate) fn mirror(arm: &Arc<Shared>) -> Outcome<()> {
    arm.control.keep_index(Box::new(Mirror(Arc::downgrade(arm))));
    let state = arm.control.state();
    let shapes = state
        .directory
        .all()
        .filter_map(|known| arm.control.identity_shape(known));
    let shapes: Vec<Value> = shapes.collect();
    let now_ms = super::time::now_ms(&*arm.clock);
    arm.inventory.write(|rows| {
        let selection = Selection {
            kind: Some(TYPE),
            ..Selection::default()
        };
        let known = rows.list(&selection, crate::limits::PRINCIPALS)?;
        let mut gone: HashSet<String> = known.iter().map(|row| key(&row.id)).collect();
        for shape in shapes {
            let id = shape.get("id").and_then(Value::as_str).unwrap_or_default();
            if !gone.remove(&id.to_ascii_lowercase()) {
                show(rows, shape, None, now_ms)?;
            }
        }
        for row in known.iter().filter(|row| gone.contains(&key(&row.id))) {
            rows.delete(&row.id)?;
        }
        Ok(())
    })
}

/// The row of an identity. Tags that are not given stay.
fn show(rows: &Rows<'_>, shape: Value, tags: Option<Value>, now_ms: i64) -> Outcome<Resource> {
    let mut body: Map<String, Value> = serde_json::from_value(shape)?;
    let id = body
        .get("id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok());
    let id: ResourceId = id.ok_or(Fault::Interrupted)?;
    let before = rows.get(&id)?;
    let tags = tags.or_else(|| before?.body.get("tags").cloned());
    body.insert("tags".to_owned(), tags.unwrap_or_else(|| json!({})));
    rows.put(&id, TYPE, body, now_ms)
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let group = call.name("group");
    let below = match group {
        "" => None,
        group => {
            let subscription = call.arm.subscription();
            let known = call
                .arm
                .inventory
                .read(|rows| groups::must_be(rows, &subscription, group))?;
            Some(known.id)
        }
    };
    listing::page(
        call,
        &List {
            below: below.as_ref(),
            kind: Some(TYPE),
            tracked: false,
            shown: |_, resource| Value::Object(resource.body),
        },
    )
}

fn found(call: &Call) -> Outcome<Resource> {
    let (group, name) = (call.name("group"), call.name("identity"));
    let id = identity_id(call)?;
    let found = call.arm.inventory.read(|rows| {
        groups::must_be(rows, &call.arm.subscription(), group)?;
        rows.get(&id)
    })?;
    found.ok_or_else(|| no_resource(&id, TYPE, name, Some(group)))
}

/// The identity that a path is of, or below.
fn identity_id(call: &Call) -> Outcome<ResourceId> {
    let (group, name) = (call.name("group"), call.name("identity"));
    let child = format!("providers/{TYPE}/{name}");
    let id = groups::id(&call.arm.subscription(), group)?.child(&child);
    id.map_err(|_| {
        bad(
            "InvalidResourceName",
            format!("'{name}' is no name of a resource."),
        )
    })
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    Ok(call.show(StatusCode::OK, found(call)?))
}

fn put(call: &Arc<Call>) -> Outcome<Answer> {
    let given = call.object()?;
    tags::check(given.get("tags"))?;
    let location = given.get("location").and_then(Value::as_str).unwrap_or_default();
    let location = location.to_ascii_lowercase().replace(' ', "");
    let (group, name) = (call.name("group"), call.name("identity"));
    let before = call.arm.inventory.read(|rows| {
        let known = groups::must_stay(rows, &call.arm.subscription(), group)?;
        Ok((known, rows.get(&call.path)?))
    });
    let (known, before) = before?;
    call.check_conditions(before.as_ref())?;
    if let Some(before) = &before {
        check_location(before, &location, name, group)?;
    } else if location.is_empty() {
        let message = "The location property is required for this definition.";
        return Err(bad("LocationRequired", message));
    }
    let made = call.actor().create_identity(&NewIdentity {
        name: name.to_owned(),
        resource_group: known.text("name").unwrap_or(group).to_owned(),
        location,
    })?;
    let shape = call.arm.control.identity_shape(&made).ok_or(Fault::Interrupted)?;
    let tags = given.get("tags").cloned().unwrap_or_else(|| json!({}));
    let row = call
        .arm
        .inventory
        .write(|rows| show(rows, shape.clone(), Some(tags.clone()), call.now_ms))?;
    let status = if before.is_some() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok(call.show(status, row))
}

fn check_location(before: &Resource, location: &str, name: &str, group: &str) -> Outcome<()> {
    let known = before.text("location").unwrap_or_default();
    if location.is_empty() || known.eq_ignore_ascii_case(location) {
        return Ok(());
    }
    let message = format!(
        "The resource '{name}' already exists in location '{known}' in resource group '{group}'. A resource with the same name cannot be created in location '{location}'. Please select a new resource name."
    );
    Err(conflict("InvalidResourceLocation", message))
}

/// Tags are all that can be changed.
fn patch(call: &Arc<Call>) -> Outcome<Answer> {
    let changes = call.object()?;
    tags::check(changes.get("tags"))?;
    found(call)?;
    call.arm.inventory.write(|rows| {
        let mut row = rows
            .get(&call.path)?
            .ok_or_else(|| no_resource(&call.path, TYPE, call.name("identity"), Some(call.name("group"))))?;
        call.check_conditions(Some(&row))?;
        if let Some(tags) = changes.get("tags") {
            row.body.insert("tags".to_owned(), tags.clone());
        }
        Ok(call.show(StatusCode::OK, rows.put(&row.id, TYPE, row.body, call.now_ms)?))
    })
}

/// The principal goes with it. What is assigned to the principal stays and grants nothing, as on Azure.
fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    let known = call.arm.control.identity_of(&call.path);
    let row = call.arm.inventory.read(|rows| rows.get(&call.path))?;
    call.check_conditions(row.as_ref())?;
    let Some(known) = known else {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    };
    call.actor().delete_principal(known.object_id)?;
    Ok(Answer::empty(StatusCode::OK))
}

/// The accounts that the identity is assigned to.
fn associated(call: &Arc<Call>) -> Outcome<Answer> {
    let id = principal(call)?.object_id;
    let accounts = call.arm.control.accounts();
    let accounts = accounts.borrow();
    let with = accounts
        .iter()
        .filter(|account| account.user_assigned.values().any(|known| *known == id));
    let rows = with.map(|account| {
        json!({
            "id": account.resource_id(),
            "name": account.name,
            "type": "Microsoft.CognitiveServices/accounts",
            "resourceGroup": account.resource_group,
            "subscriptionId": account.subscription,
            "subscriptionDisplayName": "Strongroom",
        })
    });
    let rows: Vec<Value> = rows.collect();
    Ok(Answer::ok(json!({ "totalCount": rows.len(), "value": rows })))
}

/// What is sent for an issuer that vouches.
#[derive(Deserialize)]
struct CredentialBody {
    properties: CredentialProperties,
}

#[derive(Deserialize)]
struct CredentialProperties {
    issuer: String,
    subject: String,
    audiences: Vec<String>,
}

fn principal(call: &Call) -> Outcome<Arc<Principal>> {
    let id = found(call)?.id;
    let found = call.arm.control.identity_of(&id);
    found.ok_or_else(|| no_resource(&id, TYPE, call.name("identity"), Some(call.name("group"))))
}

fn credentials(call: &Arc<Call>) -> Outcome<Answer> {
    let principal = principal(call)?;
    let all = principal
        .credentials()
        .map(|credentials| credentials.federations.clone());
    let all = all.unwrap_or_default();
    listing::slice(call, all, Federation::name, |known| shape(&principal, known))
}

fn credential(call: &Arc<Call>) -> Outcome<Answer> {
    let (principal, name) = (principal(call)?, call.name("credential"));
    let mut all = principal
        .credentials()
        .into_iter()
        .flat_map(|known| &known.federations);
    let found = all.find(|known| known.name().eq_ignore_ascii_case(name));
    let found = found.ok_or_else(|| no_resource(&call.path, CREDENTIAL, name, Some(call.name("group"))))?;
    Ok(Answer::ok(shape(&principal, found)))
}

fn put_credential(call: &Arc<Call>) -> Outcome<Answer> {
    let principal = principal(call)?;
    let asked: CredentialBody = call.read()?;
    let asked = asked.properties;
    let Ok([audience]) = <[String; 1]>::try_from(asked.audiences) else {
        return Err(bad(
            "BadRequest",
            "The audiences of a federated identity credential must be exactly one.",
        ));
    };
    // Where OpenID Connect says that an issuer tells of its keys.
    let discovery = format!(
        "{}/.well-known/openid-configuration",
        asked.issuer.trim_end_matches('/')
    );
    let new = NewFederation {
        display_name: None,
        issuer: asked.issuer,
        subject: asked.subject,
        audience: Some(audience),
        keys: ExternalKeys::Published(discovery),
    };
    let id = identity_id(call)?;
    let (made, is_new) = call
        .actor()
        .put_identity_federation(&id, call.name("credential"), new)?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(Answer::new(status, shape(&principal, &made)))
}

fn remove_credential(call: &Arc<Call>) -> Outcome<Answer> {
    principal(call)?;
    let gone = call
        .actor()
        .remove_identity_federation(&identity_id(call)?, call.name("credential"))?;
    let status = if gone {
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    Ok(Answer::empty(status))
}

fn shape(identity: &Principal, known: &Federation) -> Value {
    let (resource, name) = (identity.resource().unwrap_or_default(), known.name());
    json!({
        "id": format!("{resource}/federatedIdentityCredentials/{name}"),
        "name": name,
        "type": CREDENTIAL,
        "properties": {
            "issuer": known.issuer,
            "subject": known.subject,
            "audiences": [known.audience],
        },
    })
}

/// The identity that a resource has of its own.
fn own_identity(call: &Arc<Call>) -> Outcome<Answer> {
    let scope = call.scope()?;
    let is_own = |known: &Arc<Principal>| call.arm.control.identity_shape(known).is_none();
    let known = call.arm.control.identity_of(&scope).filter(is_own);
    let known = known.ok_or_else(|| {
        missing(
            "ResourceNotFound",
            format!("The resource '{scope}' has no system-assigned identity."),
        )
    })?;
    let location = call.arm.inventory.read(|rows| rows.get(&scope))?;
    let location = location.as_ref().and_then(|row| row.text("location"));
    Ok(Answer::ok(json!({
        "id": format!("{}/providers/Microsoft.ManagedIdentity/identities/default", known.resource().unwrap_or_default()),
        "name": "default",
        "type": "Microsoft.ManagedIdentity/identities",
        "location": location,
        "tags": {},
        "properties": {
            "tenantId": call.arm.control.tenant(),
            "principalId": known.object_id,
            "clientId": known.client_id(),
        },
    })))
}
