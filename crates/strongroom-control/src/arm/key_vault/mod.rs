//! Key Vault's management: vaults, their access policies, deleted ones. What may be done and what it does is `crate::vaults`'; here
//! is which route means what, and the row that each vault has in the inventory.

mod deleted;
mod keys;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use strongroom_azure::ResourceId;
use strongroom_vault::VaultSettings;

use super::call::{Answer, Call};
use super::fault::{Fault, Outcome, bad, no_resource};
use super::inventory::{Resource, Rows, Selection, key};
use super::listing::{self, List};
use super::route::{Permission, Route, blocking};
use super::{Shared, audit, groups, private_links, state, tags, time};
use crate::limits::{ARM_BATCH, ARM_BODY};
use crate::vaults::{PolicyChange, VAULT_DOMAIN, VaultBody, is_reserved, policies_shape, vault_shape};

pub(crate) use self::deleted::purge;

const TYPE: &str = "Microsoft.KeyVault/vaults";

/// From this version of the protocol on, roles decide in a new vault that says nothing of it.
const ROLES_DECIDE_SINCE: &str = "2026-02-01";

pub(crate) fn routes() -> Vec<Route> {
    let all = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/vaults";
    let here = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults";
    let one =
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{vault}";
    let policies = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{vault}/accessPolicies/{change}";
    let name = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/checkNameAvailability";
    let read = Permission::Action("Microsoft.KeyVault/vaults/read");
    let write = Permission::Action("Microsoft.KeyVault/vaults/write");
    let delete = Permission::Action("Microsoft.KeyVault/vaults/delete");
    let write_policies = Permission::Action("Microsoft.KeyVault/vaults/accessPolicies/write");
    let check_name = Permission::Action("Microsoft.KeyVault/checkNameAvailability/read");
    let mut routes = vec![
        Route::new(Method::GET, all, Permission::Signed, 0, blocking(list)).audited("VaultList"),
        Route::new(Method::GET, here, Permission::Signed, 0, blocking(list)).audited("VaultList"),
        Route::new(Method::GET, one, read, 0, blocking(get)).audited("VaultGet"),
        Route::new(Method::PUT, one, write, ARM_BODY, blocking(put)).audited(audit::PUT),
        Route::new(Method::PATCH, one, write, ARM_BODY, blocking(patch)).audited("VaultPatch"),
        Route::new(Method::DELETE, one, delete, 0, blocking(remove)).audited("VaultDelete"),
        Route::new(
            Method::PUT,
            policies,
            write_policies,
            ARM_BODY,
            blocking(change_policies),
        )
        .audited("VaultPatch"),
        Route::new(
            Method::POST,
            name,
            check_name,
            ARM_BODY,
            blocking(check_name_availability),
        ),
    ];
    routes.extend(no_hsms());
    routes.extend(deleted::routes());
    routes.extend(keys::routes());
    routes
}

/// Managed HSMs, which clients ask for beside vaults: there are none, and none can be made.
fn no_hsms() -> Vec<Route> {
    let here =
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/managedHSMs";
    let all = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/managedHSMs";
    let deleted = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/deletedManagedHSMs";
    let name = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/checkMhsmNameAvailability";
    let check_name = Permission::Action("Microsoft.KeyVault/checkMhsmNameAvailability/read");
    let none = |pattern| {
        let empty = |_: &Arc<Call>| Ok(Answer::page(Vec::new(), None));
        Route::new(Method::GET, pattern, Permission::Signed, 0, blocking(empty))
    };
    let unavailable = |_: &Arc<Call>| {
        let message = "There are no managed HSMs here.";
        Ok(Answer::ok(
            json!({"nameAvailable": false, "reason": "AccountNameInvalid", "message": message}),
        ))
    };
    vec![
        none(here),
        none(all),
        none(deleted),
        Route::new(Method::POST, name, check_name, ARM_BODY, blocking(unavailable)),
    ]
}

impl Shared {
    /// Where clients find the vault of this name.
    pub(super) fn vault_uri(&self, name: &str) -> String {
        let port = self.login.rsplit_once(':').map(|(_, port)| port);
        let port = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        format!("https://{name}.{VAULT_DOMAIN}{port}/").to_ascii_lowercase()
    }
}

/// Makes the rows say what the vaults say: a stop may have come between, and where clients find vaults may have changed.
pub(crate) fn reconcile(arm: &Shared) -> Outcome<()> {
    let now_ms = time::now_ms(&*arm.clock);
    arm.inventory.write(|rows| {
        for row in all_rows(rows)? {
            if find(arm, &row.id).is_none() {
                rows.delete(&row.id)?;
            }
        }
        for vault in arm.control.vaults().vaults() {
            let id = id_of(&vault)?;
            // The provider's own vault is nobody's to see.
            if !arm.subscription().contains(&id) {
                continue;
            }
            let known = rows.get(&id)?;
            let system_data = known
                .as_ref()
                .and_then(|known| known.body.get("systemData"))
                .cloned();
            let body = body(arm, rows, &vault, &id, system_data)?;
            if known.is_none_or(|known| known.body != body) {
                rows.put(&id, TYPE, body, now_ms)?;
            }
        }
        Ok(())
    })
}

fn all_rows(rows: &Rows<'_>) -> Outcome<Vec<Resource>> {
    let mut all: Vec<Resource> = Vec::new();
    loop {
        let after = all.last().map(|last| key(&last.id));
        let selection = Selection {
            kind: Some(TYPE),
            after: after.as_deref(),
            ..Selection::default()
        };
        let more = rows.list(&selection, ARM_BATCH)?;
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
}

/// The vault of this id.
fn find(arm: &Shared, id: &ResourceId) -> Option<Arc<VaultSettings>> {
    let name = id.as_str().rsplit('/').next()?;
    let known = arm.control.vaults().vault(name).ok()?;
    known
        .resource_id
        .eq_ignore_ascii_case(id.as_str())
        .then_some(known)
}

fn id_of(vault: &VaultSettings) -> Outcome<ResourceId> {
    vault.resource_id.parse().map_err(|_| Fault::Interrupted)
}

fn body(
    arm: &Shared,
    rows: &Rows<'_>,
    vault: &VaultSettings,
    id: &ResourceId,
    system_data: Option<Value>,
) -> Outcome<Map<String, Value>> {
    let mut body = vault_shape(vault, &arm.vault_uri(&vault.name));
    private_links::show_on(rows, id, &mut body)?;
    if let Some(system_data) = system_data {
        body.insert("systemData".to_owned(), system_data);
    }
    Ok(body)
}

/// Puts the vault's row, as the call leaves it.
fn show(call: &Call, rows: &Rows<'_>, before: Option<&Resource>, vault: &VaultSettings) -> Outcome<Resource> {
    let id = id_of(vault)?;
    let body = body(
        &call.arm,
        rows,
        vault,
        &id,
        Some(state::system_data(call, before)),
    )?;
    rows.put(&id, TYPE, body, call.now_ms)
}

/// What a path in the group is an id of, spelled as the group is.
fn id(call: &Call, rows: &Rows<'_>) -> Outcome<ResourceId> {
    let group = groups::must_be(rows, &call.arm.subscription(), call.name("group"))?;
    let path = format!("providers/{TYPE}/{}", call.name("vault"));
    group
        .id
        .child(&path)
        .map_err(|_| bad("InvalidResourceName", "The vault's name is not valid."))
}

fn not_there(call: &Call) -> Fault {
    no_resource(&call.path, TYPE, call.name("vault"), Some(call.name("group")))
}

fn found(call: &Call, rows: &Rows<'_>) -> Outcome<Resource> {
    rows.get(&id(call, rows)?)?.ok_or_else(|| not_there(call))
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let group = call.names.get("group");
    let below = group
        .map(|group| {
            let subscription = call.arm.subscription();
            call.arm
                .inventory
                .read(|rows| groups::must_be(rows, &subscription, group))
        })
        .transpose()?;
    listing::page(
        call,
        &List {
            below: below.as_ref().map(|group| &group.id),
            kind: Some(TYPE),
            tracked: false,
            shown: |_, resource| Value::Object(resource.body),
        },
    )
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    let vault = call.arm.inventory.read(|rows| found(call, rows))?;
    Ok(call.show(StatusCode::OK, vault))
}

fn put(call: &Arc<Call>) -> Outcome<Answer> {
    let given = call.object()?;
    tags::check(given.get("tags"))?;
    if given
        .get("location")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        let message = "The location property is required for this definition.";
        return Err(bad("LocationRequired", message));
    }
    let asked = VaultBody::read(&call.body)?;
    let version = call.api_version.as_ref().map_or("", |version| version.as_str());
    let actor = call.actor();
    // The change is made within the row's transaction, so that rows change in the order of the vaults.
    call.arm.inventory.write(|rows| {
        groups::must_stay(rows, &call.arm.subscription(), call.name("group"))?;
        let id = id(call, rows)?;
        let before = rows.get(&id)?;
        call.check_conditions(before.as_ref())?;
        if let Some(before) = &before {
            state::check_location(before, &given, call.name("vault"), call.name("group"))?;
        }
        let (vault, is_new) = actor.put_vault(&id, &asked, version >= ROLES_DECIDE_SINCE)?;
        let status = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        Ok(call.show(status, show(call, rows, before.as_ref(), &vault)?))
    })
}

fn patch(call: &Arc<Call>) -> Outcome<Answer> {
    tags::check(call.object()?.get("tags"))?;
    let asked = VaultBody::read(&call.body)?;
    let actor = call.actor();
    call.arm.inventory.write(|rows| {
        let before = found(call, rows)?;
        call.check_conditions(Some(&before))?;
        let vault = actor.patch_vault(&before.id, &asked)?;
        Ok(call.show(StatusCode::OK, show(call, rows, Some(&before), &vault)?))
    })
}

fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    let actor = call.actor();
    call.arm.inventory.write(|rows| {
        call.check_conditions(rows.get(&call.path)?.as_ref())?;
        let gone = actor.delete_vault(&call.path)?;
        rows.delete(&call.path)?;
        Ok(Answer::empty(match gone {
            Some(_) => StatusCode::OK,
            None => StatusCode::NO_CONTENT,
        }))
    })
}

fn change_policies(call: &Arc<Call>) -> Outcome<Answer> {
    let change = PolicyChange::from_name(call.name("change"));
    let change = change.ok_or_else(|| {
        let message = format!("'{}' is none of add, replace and remove.", call.name("change"));
        bad("InvalidRequestUri", message)
    })?;
    let asked = VaultBody::read(&call.body)?;
    let actor = call.actor();
    call.arm.inventory.write(|rows| {
        let before = found(call, rows)?;
        let vault = actor.change_policies(&before.id, change, &asked)?;
        show(call, rows, Some(&before), &vault)?;
        Ok(Answer::ok(policies_shape(&vault)))
    })
}

fn check_name_availability(call: &Arc<Call>) -> Outcome<Answer> {
    let name = call
        .object()?
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let vaults = call.arm.control.vaults();
    let taken = is_reserved(&name) || vaults.vault(&name).is_ok() || vaults.deleted_vault(&name).is_ok();
    Ok(Answer::ok(match (VaultSettings::is_name(&name), taken) {
        (false, _) => json!({
            "nameAvailable": false,
            "reason": "AccountNameInvalid",
            "message": "A vault's name must be between 3-24 alphanumeric characters. The name must begin with a letter, end with a letter or digit, and not contain consecutive hyphens.",
        }),
        (true, true) => json!({
            "nameAvailable": false,
            "reason": "AlreadyExists",
            "message": format!("The vault name '{name}' is already in use."),
        }),
        (true, false) => json!({"nameAvailable": true}),
    }))
}
