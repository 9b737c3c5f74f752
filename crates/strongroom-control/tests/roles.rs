//! Roles and assignments: what they grant, who may give them, and what is refused.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod rig;

use std::collections::BTreeSet;

use rig::{Rig, assign, code, new_assignment, role};
use strongroom_azure::ResourceId;
use strongroom_control::{
    ActionKind, Actor, AssignmentBody, AssignmentFilter, BuiltInRole, NewAssignment, NewRole, PermissionText,
    PrincipalType, RoleBody, RoleFilter,
};
use strongroom_vault::KeyAction;
use uuid::Uuid;

use KeyAction as K;

/// Every built-in role and every operation on keys that it lets its holder do.
fn key_actions(role: &str) -> &'static [KeyAction] {
    match role {
        "Key Vault Administrator" | "Key Vault Crypto Officer" => &K::ALL,
        "Key Vault Crypto User" => &[
            K::Read,
            K::Update,
            K::Backup,
            K::Encrypt,
            K::Decrypt,
            K::Wrap,
            K::Unwrap,
            K::Sign,
            K::Verify,
        ],
        "Key Vault Crypto Service Encryption User" => &[K::Read, K::Wrap, K::Unwrap],
        "Key Vault Crypto Service Release User" => &[K::Release],
        "Key Vault Reader" => &[K::Read, K::ReadRotationPolicy],
        _ => &[],
    }
}

#[test]
fn each_role_lets_do_what_azure_says_with_keys_and_nothing_else() {
    let rig = Rig::new();
    for known in BuiltInRole::all() {
        let holder = rig.app("holder").object_id;
        rig.assign(holder, known.name, &rig.vault);
        for action in K::ALL {
            let expected = key_actions(known.name).contains(&action);
            assert_eq!(
                rig.decides(holder, Some("customer"), action),
                expected,
                "{} {action:?}",
                known.name
            );
        }
    }
}

/// What a role lets its holder do on the control plane, of what matters here: `a` assign roles, `d` define them, `v` change
/// vaults, `r` read them, `p` purge them, `c` change accounts, `k` list their keys.
fn control_actions(role: &str) -> &'static str {
    match role {
        "Owner" => "advrpck",
        "Contributor" => "vrpck",
        "Reader" => "r",
        "User Access Administrator" => "adr",
        "Role Based Access Control Administrator" => "ar",
        "Key Vault Contributor" => "vr",
        // What a pattern `vaults/*/read` names lies below a vault; and to assign some roles is not to assign roles.
        "Key Vault Administrator"
        | "Key Vault Crypto Officer"
        | "Key Vault Reader"
        | "Key Vault Data Access Administrator" => "",
        "Key Vault Purge Operator" => "p",
        "Cognitive Services Contributor" => "ck",
        "Cognitive Services User" => "k",
        _ => "",
    }
}

#[test]
fn each_role_lets_do_what_azure_says_with_resources_and_nothing_else() {
    let rig = Rig::new();
    for known in BuiltInRole::all() {
        let holder = rig.app("holder").object_id;
        rig.assign(holder, known.name, &rig.group);
        for (letter, action) in [
            ('a', "Microsoft.Authorization/roleAssignments/write"),
            ('a', "Microsoft.Authorization/roleAssignments/delete"),
            ('d', "Microsoft.Authorization/roleDefinitions/write"),
            ('v', "Microsoft.KeyVault/vaults/write"),
            ('v', "Microsoft.KeyVault/vaults/delete"),
            ('r', "Microsoft.KeyVault/vaults/read"),
            ('p', "Microsoft.KeyVault/locations/deletedVaults/purge/action"),
            ('c', "Microsoft.CognitiveServices/accounts/write"),
            ('k', "Microsoft.CognitiveServices/accounts/listKeys/action"),
        ] {
            let may = rig
                .control
                .may(&holder.to_string(), &rig.vault, ActionKind::Control, action);
            let expected = control_actions(known.name).contains(letter);
            assert_eq!(may, expected, "{} {action}", known.name);
        }
    }
}

#[test]
fn an_openai_user_does_not_read_stored_completions_and_a_contributor_does() {
    let rig = Rig::new();
    let account = rig.account("acct");
    let scope: ResourceId = account.resource_id().parse().unwrap();
    let may = |role: &str, action: &str| {
        let holder = rig.app("holder").object_id;
        rig.assign(holder, role, &scope);
        let action = format!("Microsoft.CognitiveServices/accounts/OpenAI/{action}");
        rig.control
            .may(&holder.to_string(), &scope, ActionKind::Data, &action)
    };
    for (action, user, contributor, services_user) in [
        ("files/read", true, true, true),
        ("files/write", false, true, true),
        ("files/delete", false, true, true),
        ("responses/write", true, true, true),
        ("models/read", true, true, true),
        ("deployments/chat/completions/action", true, true, true),
        ("stored-completions/read", false, true, true),
        ("stored-completions/action", false, true, true),
        ("fine-tunes-deployments/write", false, true, false),
    ] {
        assert_eq!(may("Cognitive Services OpenAI User", action), user, "{action}");
        assert_eq!(
            may("Cognitive Services OpenAI Contributor", action),
            contributor,
            "{action}"
        );
        assert_eq!(may("Cognitive Services User", action), services_user, "{action}");
        assert!(!may("Owner", action), "{action}");
        assert!(!may("Cognitive Services Contributor", action), "{action}");
    }
}

#[test]
fn a_role_on_one_key_counts_for_that_key_alone() {
    let rig = Rig::new();
    let holder = rig.app("holder").object_id;
    let key = rig.vault.child("keys/customer").unwrap();
    rig.assign(holder, "Key Vault Crypto User", &key);
    assert!(rig.decides(holder, Some("CUSTOMER"), K::Unwrap));
    assert!(!rig.decides(holder, Some("customer2"), K::Unwrap));
    assert!(!rig.decides(holder, None, K::Read), "a list is about all keys");
}

#[test]
fn what_is_assigned_above_counts_below_and_not_the_other_way() {
    let rig = Rig::new();
    let (above, below) = (rig.app("above").object_id, rig.app("below").object_id);
    rig.assign(above, "Key Vault Crypto Officer", &rig.subscription);
    rig.assign(below, "Reader", &rig.vault);
    assert!(rig.decides(above, Some("customer"), K::Delete));
    let may = |scope: &ResourceId| {
        let action = "Microsoft.KeyVault/vaults/read";
        rig.control
            .may(&below.to_string(), scope, ActionKind::Control, action)
    };
    assert!(may(&rig.vault) && !may(&rig.group) && !may(&rig.subscription));
}

#[test]
fn a_role_that_is_taken_away_counts_for_nothing_from_then_on() {
    let rig = Rig::new();
    let holder = rig.app("holder").object_id;
    let made = rig.assign(holder, "Key Vault Crypto User", &rig.vault);
    assert!(rig.decides(holder, Some("customer"), K::Unwrap));
    let gone = rig.owner.unassign(&rig.vault, made.id).unwrap();
    assert_eq!(gone, Some(made.clone()));
    assert!(!rig.decides(holder, Some("customer"), K::Unwrap));
    assert_eq!(rig.owner.unassign(&rig.vault, made.id).unwrap(), None);
    let rig = rig.reopen();
    assert!(!rig.decides(holder, Some("customer"), K::Unwrap));
}

#[test]
fn the_same_role_twice_is_refused_with_the_id_of_the_first() {
    let rig = Rig::new();
    let holder = rig.app("holder").object_id;
    let new = new_assignment(holder, "Key Vault Crypto User", &rig.vault);
    let made = rig.owner.assign(new.clone()).unwrap();
    assert_eq!(made.id, new.id, "the GUID that was given is kept");
    assert_eq!(
        rig.owner.assign(new.clone()).unwrap(),
        made,
        "the same again is no change"
    );

    let upper: ResourceId = rig
        .vault
        .as_str()
        .to_uppercase()
        .replace("SUBSCRIPTIONS", "subscriptions")
        .parse()
        .unwrap();
    for scope in [&rig.vault, &upper] {
        let twice = assign(&rig.owner, holder, "Key Vault Crypto User", scope).unwrap_err();
        let problem = twice.problem();
        assert_eq!(
            (
                problem.status().code().as_u16(),
                problem.body().error.code.as_str()
            ),
            (409, "RoleAssignmentExists")
        );
        let existing = made.id.simple().to_string();
        assert!(problem.body().error.message.contains(&existing), "{problem}");
    }
    for other in [
        NewAssignment {
            role: role("Owner"),
            ..new.clone()
        },
        NewAssignment {
            scope: rig.group.clone(),
            ..new.clone()
        },
        NewAssignment {
            principal: rig.app("other").object_id,
            ..new
        },
    ] {
        assert_eq!(code(rig.owner.assign(other)), "RoleAssignmentUpdateNotPermitted");
    }
}

#[test]
fn only_the_description_of_an_assignment_can_change() {
    let rig = Rig::new();
    let app = rig.app("app").object_id;
    let made = rig.assign(app, "Reader", &rig.vault);
    let described = |text: &str| NewAssignment {
        id: made.id,
        principal: made.principal,
        principal_type: None,
        role: made.role,
        scope: rig.vault.clone(),
        description: Some(text.to_owned()),
    };
    let changed = rig.owner.assign(described("for audits")).unwrap();
    assert_eq!(changed.description.as_deref(), Some("for audits"));
    assert_eq!(
        (changed.created, changed.created_by),
        (made.created, made.created_by)
    );
    let shape = rig.control.assignment_shape(&changed);
    assert_eq!(shape["properties"]["updatedBy"], rig.owner.caller().to_string());
    assert_eq!(
        code(rig.owner.assign(described(&"x".repeat(3000)))),
        "InvalidRequestContent"
    );
    assert_eq!(rig.owner.assignment(&rig.vault, made.id).unwrap(), changed);
}

#[test]
fn only_who_may_assign_here_assigns_and_takes_away() {
    let rig = Rig::new();
    let target = rig.app("target").object_id;
    let made = rig.assign(target, "Reader", &rig.group);
    for (held, at_group, elsewhere) in [
        ("Owner", true, false),
        ("User Access Administrator", true, false),
        ("Role Based Access Control Administrator", true, false),
        ("Contributor", false, false),
        ("Reader", false, false),
        ("Key Vault Contributor", false, false),
        ("Key Vault Data Access Administrator", false, false),
    ] {
        let caller = rig.caller();
        rig.assign(caller.caller(), held, &rig.group);
        let may = |scope: &ResourceId| match assign(&caller, target, "Contributor", scope) {
            Ok(made) => {
                caller.unassign(scope, made.id).unwrap();
                true
            }
            Err(error) => {
                let problem = error.problem();
                assert_eq!(problem.body().error.code, "AuthorizationFailed", "{held}");
                let message = &problem.body().error.message;
                assert!(
                    message.contains("Microsoft.Authorization/roleAssignments/write"),
                    "{message}"
                );
                assert!(message.contains(scope.as_str()), "{message}");
                false
            }
        };
        assert_eq!(may(&rig.group), at_group, "{held}");
        assert_eq!(may(&rig.vault), at_group, "{held}");
        assert_eq!(may(&rig.subscription), elsewhere, "{held}");
        if !at_group {
            assert_eq!(
                code(caller.unassign(&rig.group, made.id)),
                "AuthorizationFailed",
                "{held}"
            );
        }
    }
    let nobody = rig.control.actor(Uuid::new_v4());
    assert_eq!(
        code(assign(&nobody, target, "Reader", &rig.group)),
        "AuthorizationFailed"
    );
    assert_eq!(
        code(nobody.assignments(&rig.group, AssignmentFilter::default())),
        "AuthorizationFailed"
    );
}

#[test]
fn a_data_access_administrator_assigns_roles_of_key_vault_and_no_others() {
    let rig = Rig::new();
    let limited = rig.caller();
    rig.assign(
        limited.caller(),
        "Key Vault Data Access Administrator",
        &rig.vault,
    );
    let target = rig.app("target").object_id;
    for known in BuiltInRole::all() {
        let allowed = matches!(
            known.name,
            "Key Vault Administrator"
                | "Key Vault Crypto Officer"
                | "Key Vault Crypto User"
                | "Key Vault Crypto Service Encryption User"
                | "Key Vault Reader"
        );
        let given = rig.assign(target, known.name, &rig.vault);
        let taken = limited.unassign(&rig.vault, given.id).is_ok();
        assert_eq!(taken, allowed, "{}", known.name);
        if !taken {
            rig.owner.unassign(&rig.vault, given.id).unwrap();
        }
        let made = assign(&limited, target, known.name, &rig.vault);
        assert_eq!(made.is_ok(), allowed, "{}", known.name);
    }
    let itself = assign(&limited, limited.caller(), "Owner", &rig.vault);
    assert_eq!(code(itself), "AuthorizationFailed");
}

#[test]
fn an_assignment_names_somebody_who_is_there_and_what_they_are() {
    let rig = Rig::new();
    let user = rig
        .owner
        .create_user("Ada", "ada@contoso.example")
        .unwrap()
        .object_id;
    let group = rig.owner.create_group("Admins").unwrap().object_id;
    let app = rig.app("app").object_id;
    for (who, kind) in [
        (user, PrincipalType::User),
        (group, PrincipalType::Group),
        (app, PrincipalType::ServicePrincipal),
    ] {
        let new = new_assignment(who, "Reader", &rig.vault);
        for said in [
            PrincipalType::User,
            PrincipalType::Group,
            PrincipalType::ServicePrincipal,
        ] {
            let principal_type = Some(said);
            let made = rig.owner.assign(NewAssignment {
                principal_type,
                ..new.clone()
            });
            assert_eq!(made.is_ok(), said == kind, "{said}");
            if said != kind {
                assert_eq!(code(made), "UnmatchedPrincipalType");
            }
        }
    }
    let nobody = assign(&rig.owner, Uuid::new_v4(), "Reader", &rig.vault);
    assert_eq!(code(nobody), "PrincipalNotFound");
    let no_role = NewAssignment {
        role: Uuid::new_v4(),
        ..new_assignment(app, "Owner", &rig.vault)
    };
    assert_eq!(code(rig.owner.assign(no_role)), "RoleDefinitionDoesNotExist");
}

#[test]
fn roles_are_assigned_at_scopes_that_are_there_and_nowhere_else() {
    let rig = Rig::new();
    let app = rig.app("app").object_id;
    let account = rig.account("acct");
    let group = rig.group.as_str();
    let at = |scope: &str| code(assign(&rig.owner, app, "Reader", &scope.parse().unwrap()));
    for good in [
        rig.subscription.as_str(),
        group,
        rig.vault.as_str(),
        &format!("{}/keys/k", rig.vault),
        &account.resource_id(),
        &format!("{}/resourceGroups/other", rig.subscription),
    ] {
        assert_eq!(at(good), "done", "{good}");
    }
    let provider = format!("{group}/providers/Microsoft.KeyVault");
    for (bad, said) in [
        ("/".to_owned(), "InvalidScope"),
        ("/subscriptions".to_owned(), "InvalidScope"),
        (format!("/subscriptions/{}", Uuid::new_v4()), "InvalidScope"),
        (format!("{}/locations/x", rig.subscription), "InvalidScope"),
        (format!("{group}/providers"), "InvalidScope"),
        (provider.clone(), "InvalidScope"),
        (format!("{provider}/vaults"), "InvalidScope"),
        (format!("{provider}/vaults/none"), "ResourceNotFound"),
        (format!("{provider}/vaults/kv1/keys"), "InvalidScope"),
        (format!("{provider}/vaults/kv1/keys/k/versions"), "InvalidScope"),
        (format!("{provider}/vaults/kv1/secrets/s"), "InvalidScope"),
        (format!("{}/deployments/d", account.resource_id()), "InvalidScope"),
        (
            format!(
                "{}/resourceGroups/other/providers/Microsoft.KeyVault/vaults/kv1",
                rig.subscription
            ),
            "ResourceNotFound",
        ),
    ] {
        assert_eq!(at(&bad), said, "{bad}");
    }
}

fn principals(found: &[std::sync::Arc<strongroom_control::Assignment>]) -> BTreeSet<(Uuid, String)> {
    found
        .iter()
        .map(|known| (known.principal, known.scope.clone()))
        .collect()
}

#[test]
fn a_list_shows_what_is_at_the_scope_above_it_and_below_it() {
    let rig = Rig::new();
    let (app, other) = (rig.app("app").object_id, rig.app("other").object_id);
    let group = rig.owner.create_group("group").unwrap().object_id;
    rig.owner.add_member(group, app).unwrap();
    rig.control.ensure_vault("kv2", "rg").unwrap();
    let sibling = rig
        .group
        .child("providers/Microsoft.KeyVault/vaults/kv2")
        .unwrap();
    let at = |who, scope: &ResourceId| {
        rig.assign(who, "Reader", scope);
        (who, scope.to_string())
    };
    let top = (rig.owner.caller(), rig.subscription.to_string());
    let (a, b) = (at(app, &rig.group), at(other, &rig.vault));
    let (c, d) = (at(group, &rig.vault), at(app, &sibling));
    let list = |scope: &ResourceId, filter| principals(&rig.owner.assignments(scope, filter).unwrap());
    let all = AssignmentFilter::default();
    let at_scope = AssignmentFilter {
        at_scope: true,
        ..all
    };
    let set = |all: &[&(Uuid, String)]| all.iter().map(|one| (*one).clone()).collect::<BTreeSet<_>>();
    assert_eq!(list(&rig.group, all), set(&[&top, &a, &b, &c, &d]));
    assert_eq!(list(&rig.group, at_scope), set(&[&top, &a]));
    assert_eq!(list(&rig.vault, at_scope), set(&[&top, &a, &b, &c]));
    let of = AssignmentFilter {
        principal: Some(app),
        ..all
    };
    assert_eq!(list(&rig.vault, of), set(&[&a]));
    assert_eq!(list(&rig.group, of), set(&[&a, &d]));
    let to = AssignmentFilter {
        assigned_to: Some(app),
        ..at_scope
    };
    assert_eq!(list(&rig.vault, to), set(&[&a, &c]));
}

#[test]
fn the_assignments_of_a_deleted_principal_stay_visible_and_grant_nothing() {
    let rig = Rig::new();
    let group = rig.owner.create_group("group").unwrap().object_id;
    let (app, member) = (rig.app("app").object_id, rig.app("member").object_id);
    rig.owner.add_member(group, member).unwrap();
    for who in [group, app] {
        rig.assign(who, "Key Vault Crypto User", &rig.vault);
    }
    assert!(rig.decides(app, Some("k"), K::Unwrap) && rig.decides(member, Some("k"), K::Unwrap));
    rig.owner.delete_principal(group).unwrap();
    rig.owner.delete_principal(app).unwrap();
    let rig = rig.reopen();
    for who in [group, app, member] {
        assert!(!rig.decides(who, Some("k"), K::Unwrap));
    }
    let found = rig
        .owner
        .assignments(&rig.vault, AssignmentFilter::default())
        .unwrap();
    let who: BTreeSet<_> = found.iter().map(|known| known.principal).collect();
    assert!(who.contains(&group) && who.contains(&app));
    let shape = rig
        .control
        .assignment_shape(found.iter().find(|known| known.principal == group).unwrap());
    assert_eq!(shape["properties"]["principalType"], "Group");
    let gone = found.iter().find(|known| known.principal == app).unwrap();
    assert!(rig.owner.unassign(&rig.vault, gone.id).unwrap().is_some());
}

#[test]
fn what_is_assigned_on_a_resource_goes_with_it() {
    let rig = Rig::new();
    let app = rig.app("app").object_id;
    let key = rig.vault.child("keys/k").unwrap();
    for scope in [&rig.group, &rig.vault, &key] {
        rig.assign(app, "Key Vault Crypto User", scope);
    }
    assert_eq!(rig.control.remove_assignments_below(&rig.vault).unwrap(), 2);
    let rig = rig.reopen();
    let filter = AssignmentFilter {
        principal: Some(app),
        ..AssignmentFilter::default()
    };
    let left = rig.owner.assignments(&rig.group, filter).unwrap();
    assert_eq!(principals(&left), BTreeSet::from([(app, rig.group.to_string())]));
}

fn custom(name: &str, scopes: &[&ResourceId]) -> NewRole {
    NewRole {
        name: name.to_owned(),
        description: "for a test".to_owned(),
        permission: PermissionText {
            data_actions: vec!["Microsoft.KeyVault/vaults/keys/*".to_owned()],
            not_data_actions: vec!["Microsoft.KeyVault/vaults/keys/*/action".to_owned()],
            ..PermissionText::default()
        },
        assignable_scopes: scopes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_custom_role_is_made_assigned_changed_and_deleted() {
    let rig = Rig::new();
    let holder = rig.app("holder").object_id;
    let id = Uuid::new_v4();
    let made = rig
        .owner
        .put_role(id, custom("Key Looker", &[&rig.group]))
        .unwrap();
    assert!(!made.is_built_in());
    let new = NewAssignment {
        role: id,
        ..new_assignment(holder, "Owner", &rig.vault)
    };
    let given = rig.owner.assign(new).unwrap();
    assert!(rig.decides(holder, Some("k"), K::Read) && rig.decides(holder, Some("k"), K::Delete));
    assert!(!rig.decides(holder, Some("k"), K::Unwrap));

    let mut narrower = custom("Key Looker", &[&rig.group]);
    narrower.permission.not_data_actions.push("*/delete".to_owned());
    rig.owner.put_role(id, narrower).unwrap();
    assert!(
        !rig.decides(holder, Some("k"), K::Delete),
        "a change counts at once"
    );

    let elsewhere = NewAssignment {
        role: id,
        ..new_assignment(holder, "Owner", &rig.subscription)
    };
    assert_eq!(
        code(rig.owner.assign(elsewhere)),
        "RoleAssignmentScopeNotAssignableToRoleDefinition"
    );
    assert_eq!(
        code(rig.owner.delete_role(&rig.group, id)),
        "RoleDefinitionHasAssignments"
    );
    let other = rig.subscription.child("resourceGroups/other").unwrap();
    assert_eq!(
        code(rig.owner.put_role(id, custom("Key Looker", &[&other]))),
        "RoleDefinitionHasAssignments"
    );
    let rig = rig.reopen();
    assert!(rig.decides(holder, Some("k"), K::Read));
    rig.owner.unassign(&rig.vault, given.id).unwrap();
    assert!(rig.owner.delete_role(&rig.group, id).unwrap().is_some());
    assert!(rig.owner.delete_role(&rig.group, id).unwrap().is_none());
    assert_eq!(code(rig.owner.role(&rig.group, id)), "RoleDefinitionDoesNotExist");
}

#[test]
fn names_of_roles_are_unique_and_built_in_roles_stay_as_they_are() {
    let rig = Rig::new();
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    rig.owner.put_role(one, custom("Looker", &[&rig.group])).unwrap();
    for taken in ["Looker", "LOOKER", "Owner", "key vault reader"] {
        assert_eq!(
            code(rig.owner.put_role(two, custom(taken, &[&rig.group]))),
            "RoleDefinitionWithSameNameExists",
            "{taken}"
        );
    }
    rig.owner.put_role(two, custom("Other", &[&rig.group])).unwrap();
    assert_eq!(
        code(rig.owner.put_role(two, custom("looker", &[&rig.group]))),
        "RoleDefinitionWithSameNameExists"
    );
    let owner = role("Owner");
    assert_eq!(
        code(rig.owner.put_role(owner, custom("Mine", &[&rig.group]))),
        "InvalidRoleDefinition"
    );
    assert_eq!(
        code(rig.owner.delete_role(&rig.subscription, owner)),
        "InvalidRoleDefinition"
    );
}

#[test]
fn a_role_is_defined_by_who_may_do_so_at_all_its_scopes() {
    let rig = Rig::new();
    let caller: Actor = rig.caller();
    rig.assign(caller.caller(), "User Access Administrator", &rig.group);
    let other = rig.subscription.child("resourceGroups/other").unwrap();
    let id = Uuid::new_v4();
    assert_eq!(
        code(caller.put_role(id, custom("Wide", &[&rig.group, &other]))),
        "AuthorizationFailed"
    );
    caller.put_role(id, custom("Narrow", &[&rig.group])).unwrap();
    rig.owner
        .put_role(id, custom("Narrow", &[&rig.group, &other]))
        .unwrap();
    assert_eq!(
        code(caller.put_role(id, custom("Narrow", &[&rig.group]))),
        "AuthorizationFailed"
    );
    assert_eq!(code(caller.delete_role(&rig.group, id)), "AuthorizationFailed");
    let assigner = rig.caller();
    rig.assign(
        assigner.caller(),
        "Role Based Access Control Administrator",
        &rig.group,
    );
    assert_eq!(
        code(assigner.put_role(Uuid::new_v4(), custom("Mine", &[&rig.group]))),
        "AuthorizationFailed"
    );
    let foreign: ResourceId = format!("/subscriptions/{}", Uuid::new_v4()).parse().unwrap();
    assert_eq!(
        code(rig.owner.put_role(Uuid::new_v4(), custom("Far", &[&foreign]))),
        "InvalidScope"
    );
}

#[test]
fn roles_are_listed_by_where_they_may_be_assigned() {
    let rig = Rig::new();
    let id = Uuid::new_v4();
    rig.owner.put_role(id, custom("Looker", &[&rig.group])).unwrap();
    let list = |scope: &ResourceId, and_below| {
        let filter = RoleFilter {
            and_below,
            built_in: Some(false),
            ..RoleFilter::default()
        };
        rig.owner.roles(scope, &filter).unwrap().len()
    };
    assert_eq!((list(&rig.vault, false), list(&rig.group, false)), (1, 1));
    assert_eq!(
        (list(&rig.subscription, false), list(&rig.subscription, true)),
        (0, 1)
    );
    let all = rig.owner.roles(&rig.group, &RoleFilter::default()).unwrap();
    assert_eq!(all.len(), BuiltInRole::all().len() + 1);
    let named = RoleFilter {
        name: Some("key vault crypto officer".to_owned()),
        ..RoleFilter::default()
    };
    let found = rig.owner.roles(&rig.group, &named).unwrap();
    assert_eq!((found.len(), found[0].id), (1, role("Key Vault Crypto Officer")));
    for text in ["Looker", &id.to_string(), &rig.control.role_definition_id(id)] {
        assert_eq!(rig.owner.find_role(&rig.group, text).unwrap().id, id, "{text}");
    }
}

#[test]
fn shapes_are_what_clients_of_resource_manager_read_and_send_back() {
    let rig = Rig::new();
    let app = rig.app("app").object_id;
    let made = rig.assign(app, "Key Vault Data Access Administrator", &rig.vault);
    let shape = rig.control.assignment_shape(&made);
    assert_eq!(
        shape["id"],
        format!(
            "{}/providers/Microsoft.Authorization/roleAssignments/{}",
            rig.vault, made.id
        )
    );
    let definition = rig.owner.role(&rig.vault, made.role).unwrap();
    let definition = rig.control.role_shape(&definition);
    assert_eq!(
        shape["properties"]["roleDefinitionId"], definition["id"],
        "letter by letter"
    );
    assert_eq!(shape["properties"]["createdOn"], "2027-01-15T08:00:00Z");
    let condition = definition["properties"]["permissions"][0]["condition"]
        .as_str()
        .unwrap();
    assert!(
        condition.contains("e147488a-f6f5-4113-8e2d-b22465e65bf6"),
        "{condition}"
    );

    let body: AssignmentBody = serde_json::from_value(shape).unwrap();
    let again = body.read(made.id, rig.vault.clone()).unwrap();
    assert_eq!(rig.owner.assign(again).unwrap(), made);

    let id = Uuid::new_v4();
    let role = rig.owner.put_role(id, custom("Looker", &[&rig.group])).unwrap();
    let body: RoleBody = serde_json::from_value(rig.control.role_shape(&role)).unwrap();
    assert_eq!(*rig.owner.put_role(id, body.read().unwrap()).unwrap(), *role);
    let conditioned: RoleBody = serde_json::from_value(definition).unwrap();
    assert_eq!(code(conditioned.read()), "InvalidRequestContent");
}

#[test]
fn there_are_as_many_assignments_as_azure_allows_and_no_more() {
    let rig = Rig::new();
    let app = rig.app("app").object_id;
    let made = rig.assign(app, "Reader", &rig.vault);
    let document = |id: Uuid| {
        serde_json::to_string(&strongroom_control::Assignment {
            id,
            role: id,
            ..(*made).clone()
        })
    };
    let path = rig.folder.path().join("control/control.db");
    let mut database = rusqlite::Connection::open(path).unwrap();
    let transaction = database.transaction().unwrap();
    for _ in 0..4000 - 3 {
        let id = Uuid::new_v4();
        let row = ("assignment", id.to_string(), document(id).unwrap());
        transaction
            .execute("INSERT INTO document (kind, name, json) VALUES (?1, ?2, ?3)", row)
            .unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let rig = rig.reopen();
    rig.assign(app, "Owner", &rig.vault);
    assert_eq!(
        code(assign(&rig.owner, app, "Contributor", &rig.vault)),
        "RoleAssignmentLimitExceeded"
    );
    assert_eq!(rig.control.remove_assignments_below(&rig.vault).unwrap(), 3999);
    rig.assign(app, "Contributor", &rig.vault);
}
