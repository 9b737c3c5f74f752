//! Vaults as whoever manages them sees them: who may do what to them, and what goes with one.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod rig;

use rig::{Rig, assign, code};
use serde_json::{Value, json};
use strongroom_azure::ResourceId;
use strongroom_control::{Actor, AssignmentFilter, BuiltInRole, PolicyChange, VaultBody};
use strongroom_vault::{KeyAction, KeyPermission, PermissionModel};
use uuid::Uuid;

fn body(rig: &Rig, properties: Value) -> VaultBody {
    let mut whole = json!({
        "tenantId": rig.control.tenant(), "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": true,
    });
    let properties = properties.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(properties);
    read(json!({"location": "East US", "properties": whole}))
}

fn read(body: Value) -> VaultBody {
    VaultBody::read(&body).unwrap()
}

fn patch(properties: Value) -> VaultBody {
    read(json!({"properties": properties}))
}

fn id(rig: &Rig, name: &str) -> ResourceId {
    rig.control.vault_id(name, "rg").unwrap()
}

/// Somebody with one role at one scope.
fn holder(rig: &Rig, role_name: &str, scope: &ResourceId) -> Actor {
    let actor = rig.control.actor(rig.app(role_name).object_id);
    rig.assign(actor.caller(), role_name, scope);
    actor
}

fn assigned_below(rig: &Rig, scope: &ResourceId) -> Vec<Uuid> {
    let filter = AssignmentFilter::default();
    let all = rig.owner.assignments(scope, filter).unwrap();
    let below = all.iter().filter(|known| known.is_below(scope));
    below.map(|known| known.id).collect()
}

#[test]
fn a_vault_is_made_as_asked_and_is_there_after_a_stop() {
    let rig = Rig::new();
    let kv2 = id(&rig, "kvnew");
    let asked = body(
        &rig,
        json!({"softDeleteRetentionInDays": 7, "enabledForDeployment": true, "x": [1]}),
    );
    let (made, is_new) = rig.owner.put_vault(&kv2, &asked, true).unwrap();
    assert!(is_new);
    assert_eq!((made.location.as_str(), made.soft_delete_days), ("eastus", 7));
    assert!(!made.purge_protection && made.permissions == PermissionModel::Rbac);
    assert_eq!(
        (&made.kept["enabledForDeployment"], &made.kept["x"]),
        (&json!(true), &json!([1]))
    );
    let rig = rig.reopen();
    assert_eq!(rig.owner.vault(&kv2).unwrap(), made);
    let (same, is_new) = rig.owner.put_vault(&kv2, &asked, true).unwrap();
    assert_eq!((same, is_new), (made, false));
}

#[test]
fn who_decides_in_a_new_vault_depends_on_the_protocol_unless_it_is_said() {
    let rig = Rig::new();
    let silent = |policies: Value| {
        read(json!({"location": "local", "properties": {
            "tenantId": rig.control.tenant(), "sku": {"family": "A", "name": "standard"}, "accessPolicies": policies,
        }}))
    };
    let put = |name: &str, body: &VaultBody, by_roles| rig.owner.put_vault(&id(&rig, name), body, by_roles);
    let (vault, _) = put("kv2", &silent(json!([])), true).unwrap();
    assert_eq!(vault.permissions, PermissionModel::Rbac);
    let (vault, _) = put("kv3", &silent(json!([])), false).unwrap();
    assert_eq!(vault.permissions, PermissionModel::AccessPolicies);
    assert_eq!(code(put("kv4", &silent(Value::Null), false)), "BadRequest");
}

#[test]
fn what_a_vault_cannot_be_is_refused_and_changes_nothing() {
    let rig = Rig::new();
    let kv2 = id(&rig, "kvnew");
    let put = |properties: Value| code(rig.owner.put_vault(&kv2, &body(&rig, properties), true));
    let policy = |tenant: &str, object: &str, keys: Value| json!({"accessPolicies": [{"tenantId": tenant, "objectId": object, "permissions": {"keys": keys}}]});
    let (tenant, somebody) = (rig.control.tenant(), Uuid::new_v4().to_string());
    for properties in [
        json!({"sku": {"family": "A", "name": "premium"}}),
        json!({"sku": {"family": "B", "name": "standard"}}),
        json!({"sku": null}),
        json!({"tenantId": null}),
        json!({"tenantId": somebody}),
        json!({"createMode": "copy"}),
        json!({"enableSoftDelete": false}),
        json!({"enablePurgeProtection": false}),
        json!({"softDeleteRetentionInDays": 6}),
        json!({"softDeleteRetentionInDays": 91}),
        json!({"publicNetworkAccess": "SecuredByPerimeter"}),
        json!({"networkAcls": {"defaultAction": "Perhaps"}}),
        json!({"networkAcls": {"bypass": "Everybody"}}),
        json!({"networkAcls": {"ipRules": [{"value": "10.0.0.0/33"}]}}),
        json!({"large": "x".repeat(40_000)}),
        policy(&tenant, "nobody", json!(["get"])),
        policy(&somebody, &somebody, json!(["get"])),
        policy(&tenant, &somebody, json!(["everything"])),
    ] {
        assert_eq!(put(properties.clone()), "BadRequest", "{properties}");
    }
    for name in ["kv", "1kv", "k--v", "a-name-that-is-longer-than-any"] {
        let done = rig.owner.put_vault(&id(&rig, name), &body(&rig, json!({})), true);
        assert_eq!(code(done), "VaultNameNotValid", "{name}");
    }
    assert_eq!(code(rig.owner.vault(&kv2)), "ResourceNotFound");
}

#[test]
fn what_means_something_does_so_in_any_case() {
    let rig = Rig::new();
    let written = read(
        json!({"properties": {"EnablePurgeProtection": true, "networkACLs": {"defaultAction": "deny"}, "VaultURI": "x"}}),
    );
    let vault = rig.owner.patch_vault(&rig.vault, &written).unwrap();
    assert!(vault.purge_protection && !vault.network.default_allow && vault.kept.is_empty());
    for odd in [
        json!([]),
        json!({"properties": 5}),
        json!({"properties": {"SKU": 5}}),
        json!({"tags": {"a": 1}}),
    ] {
        assert_eq!(code(VaultBody::read(&odd)), "InvalidRequestContent", "{odd}");
    }
}

#[test]
fn what_is_fixed_stays_and_what_is_left_out_stays_too() {
    let rig = Rig::new();
    let kv2 = id(&rig, "kvnew");
    let closed = json!({
        "enablePurgeProtection": true,
        "publicNetworkAccess": "disabled",
        "networkAcls": {"bypass": "None", "defaultAction": "Deny", "ipRules": [{"value": "10.0.0.1"}, {"value": "10.0.0.1/32"}]},
    });
    let (made, _) = rig.owner.put_vault(&kv2, &body(&rig, closed), true).unwrap();
    assert_eq!(made.network.ranges.len(), 1);
    let (again, _) = rig.owner.put_vault(&kv2, &body(&rig, json!({})), false).unwrap();
    assert_eq!(again, made);
    for properties in [
        json!({"softDeleteRetentionInDays": 7}),
        json!({"enablePurgeProtection": false}),
        json!({"enableSoftDelete": false}),
        json!({"tenantId": Uuid::new_v4()}),
    ] {
        assert_eq!(
            code(rig.owner.patch_vault(&kv2, &patch(properties.clone()))),
            "BadRequest",
            "{properties}"
        );
    }
    let moved = read(json!({"location": "westus"}));
    assert_eq!(code(rig.owner.patch_vault(&kv2, &moved)), "BadRequest");
    let opened = rig.owner.patch_vault(
        &kv2,
        &patch(json!({"networkAcls": {"defaultAction": "Allow"}, "a": 1})),
    );
    let opened = opened.unwrap();
    assert!(opened.network.default_allow && !opened.network.trusted_services);
    assert_eq!((opened.network.ranges.len(), &opened.kept["a"]), (1, &json!(1)));
    let tagged = rig.owner.patch_vault(
        &kv2,
        &read(json!({"tags": {"a": "b"}, "properties": {"a": null}})),
    );
    let tagged = tagged.unwrap();
    assert!(tagged.kept.is_empty() && tagged.tags["a"] == "b");
}

#[test]
fn each_thing_that_is_done_to_vaults_takes_its_own_action() {
    let rig = Rig::new();
    let caller = rig.caller();
    let (v1, none) = (&rig.vault, patch(json!({})));
    let refused = [
        (code(caller.vault(v1)), "read"),
        (code(caller.put_vault(v1, &body(&rig, json!({})), true)), "write"),
        (code(caller.patch_vault(v1, &none)), "write"),
        (
            code(caller.change_policies(v1, PolicyChange::Add, &none)),
            "accessPolicies/write",
        ),
        (code(caller.delete_vault(v1)), "delete"),
        (code(caller.deleted_vaults()), "deletedVaults/read"),
        (
            code(caller.deleted_vault("local", "kv1")),
            "locations/deletedVaults/read",
        ),
        (
            code(caller.check_purge("local", "kv1")),
            "locations/deletedVaults/purge/action",
        ),
    ];
    for (code, action) in refused {
        assert_eq!(code, "AuthorizationFailed", "{action}");
    }
    let reader = holder(&rig, "Reader", &rig.subscription);
    assert!(reader.vault(v1).is_ok() && reader.deleted_vaults().is_ok());
    assert_eq!(code(reader.delete_vault(v1)), "AuthorizationFailed");
    let contributor = holder(&rig, "Key Vault Contributor", &rig.subscription);
    assert!(contributor.patch_vault(v1, &none).is_ok());
    assert!(contributor.delete_vault(v1).unwrap().is_some());
    assert_eq!(
        code(contributor.check_purge("local", "kv1")),
        "AuthorizationFailed"
    );
    assert_eq!(code(rig.owner.check_purge("local", "kv1")), "MethodNotAllowed");
}

#[test]
fn whoever_may_not_assign_roles_may_not_switch_who_decides() {
    let rig = Rig::new();
    let switch = patch(json!({"enableRbacAuthorization": false}));
    let contributor = holder(&rig, "Key Vault Contributor", &rig.vault);
    assert_eq!(
        code(contributor.patch_vault(&rig.vault, &switch)),
        "AuthorizationFailed"
    );
    // Nor whoever may assign some roles only.
    rig.assign(
        contributor.caller(),
        "Key Vault Data Access Administrator",
        &rig.vault,
    );
    assert_eq!(
        code(contributor.patch_vault(&rig.vault, &switch)),
        "AuthorizationFailed"
    );
    assert_eq!(
        rig.owner.vault(&rig.vault).unwrap().permissions,
        PermissionModel::Rbac
    );
    rig.assign(contributor.caller(), "User Access Administrator", &rig.vault);
    let switched = contributor.patch_vault(&rig.vault, &switch).unwrap();
    assert_eq!(switched.permissions, PermissionModel::AccessPolicies);
}

#[test]
fn access_policies_are_added_to_replaced_and_taken_away() {
    let rig = Rig::new();
    let who = Uuid::new_v4().to_string();
    let change = |what: PolicyChange, keys: Value| {
        let policy = json!({"tenantId": rig.control.tenant(), "objectId": who.to_ascii_uppercase(), "permissions": {"keys": keys, "secrets": ["Get"]}});
        let asked = patch(json!({"accessPolicies": [policy]}));
        let vault = rig.owner.change_policies(&rig.vault, what, &asked).unwrap();
        vault.policies.clone()
    };
    use KeyPermission::{Get, List, UnwrapKey, WrapKey};
    let added = change(PolicyChange::Add, json!(["get", "WrapKey"]));
    assert_eq!(
        (added[0].keys.as_slice(), added[0].secrets.len()),
        ([Get, WrapKey].as_slice(), 1)
    );
    let added = change(PolicyChange::Add, json!(["get", "unwrapKey"]));
    assert_eq!(added[0].keys, [Get, WrapKey, UnwrapKey]);
    let replaced = change(PolicyChange::Replace, json!(["list", "list"]));
    assert_eq!(
        (replaced.len(), replaced[0].keys.as_slice()),
        (1, [List].as_slice())
    );
    assert_eq!(change(PolicyChange::Remove, json!(["get"]))[0].keys, [List]);
    assert!(change(PolicyChange::Remove, json!(["list"])).is_empty());
    let none = rig
        .owner
        .change_policies(&rig.vault, PolicyChange::Add, &patch(json!({})));
    assert_eq!(code(none), "BadRequest");
}

#[test]
fn a_deleted_vault_holds_its_name_loses_its_roles_and_comes_back_without_them() {
    let rig = Rig::new();
    let user = rig.app("user").object_id;
    let key = rig.vault.child("keys/k").unwrap();
    rig.assign(user, "Key Vault Crypto User", &rig.vault);
    rig.assign(user, "Key Vault Reader", &key);
    rig.assign(user, "Key Vault Reader", &rig.group);
    assert!(rig.decides(user, Some("k"), KeyAction::Unwrap));
    let deleted = rig.owner.delete_vault(&rig.vault).unwrap().unwrap();
    assert_eq!(deleted.purge - deleted.deleted, 90 * 86_400);
    assert_eq!(rig.owner.deleted_vault("LOCAL", "KV1").unwrap(), deleted);
    assert_eq!(code(rig.owner.deleted_vault("eastus", "kv1")), "ResourceNotFound");
    assert!(assigned_below(&rig, &rig.vault).is_empty());
    assert_eq!(assigned_below(&rig, &rig.group).len(), 1);
    assert_eq!(rig.owner.delete_vault(&rig.vault).unwrap(), None);
    let again = rig.owner.put_vault(&rig.vault, &body(&rig, json!({})), true);
    assert_eq!(code(again), "ConflictError");
    assert_eq!(
        code(assign(&rig.owner, user, "Reader", &rig.vault)),
        "ResourceNotFound"
    );

    let recover = body(&rig, json!({"createMode": "recover"}));
    let elsewhere = rig.control.vault_id("kv1", "other").unwrap();
    assert_eq!(
        code(rig.owner.put_vault(&elsewhere, &recover, true)),
        "BadRequest"
    );
    let (recovered, is_new) = rig.owner.put_vault(&rig.vault, &recover, true).unwrap();
    assert_eq!((recovered, is_new), (deleted.vault, false));
    assert!(assigned_below(&rig, &rig.vault).is_empty());
    assert!(!rig.decides(user, Some("k"), KeyAction::Unwrap));
    // Once it is there, recovering it again does nothing.
    assert!(rig.owner.put_vault(&rig.vault, &recover, true).is_ok());
    let nothing = rig.owner.put_vault(&id(&rig, "kv9"), &recover, true);
    assert_eq!(code(nothing), "ResourceNotFound");
}

#[test]
fn a_name_is_taken_in_every_group() {
    let rig = Rig::new();
    let elsewhere = rig.control.vault_id("KV1", "other").unwrap();
    let put = rig.owner.put_vault(&elsewhere, &body(&rig, json!({})), true);
    assert_eq!(code(put), "VaultAlreadyExists");
    assert_eq!(code(rig.owner.vault(&elsewhere)), "ResourceNotFound");
    assert_eq!(rig.owner.delete_vault(&elsewhere).unwrap(), None);
    assert!(rig.owner.vault(&rig.vault).is_ok());
}

#[test]
fn roles_that_a_stop_left_behind_go_at_the_start_and_never_come_back_with_the_vault() {
    let rig = Rig::new();
    let user = rig.app("user").object_id;
    rig.assign(user, "Key Vault Crypto User", &rig.vault);
    rig.assign(user, "Reader", &rig.group);
    let kv2 = id(&rig, "kvnew");
    rig.owner.put_vault(&kv2, &body(&rig, json!({})), true).unwrap();
    let kept = rig.assign(user, "Key Vault Reader", &kv2).id;
    // As a kill between the two leaves it: the vault is deleted, its roles are not.
    rig.vaults.delete_vault("kv1").unwrap();
    let rig = rig.reopen();
    let left = rig
        .owner
        .assignments(&rig.group, AssignmentFilter::default())
        .unwrap();
    assert!(left.iter().all(|known| !known.is_below(&rig.vault)));
    assert!(left.iter().any(|known| known.id == kept));
    // What the system's own hand assigns on a vault that is not there does not come back either.
    let reader = BuiltInRole::by_name("Reader").unwrap();
    rig.control.ensure_assignment(user, reader, &rig.vault).unwrap();
    let recover = body(&rig, json!({"createMode": "Recover"}));
    rig.owner.put_vault(&rig.vault, &recover, true).unwrap();
    assert!(assigned_below(&rig, &rig.vault).is_empty());
}
