//! What the index answers, against the simplest reading of what roles mean.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use strongroom_azure::ResourceId;
use uuid::Uuid;

use super::definition::PermissionText;
use super::{
    ASSIGN, ActionKind, Assignment, BuiltInRole, NewAssignment, NewRole, RoleDefinition, Roles, UNASSIGN,
};
use crate::control::{Control, Index};
use crate::directory::{Credentials, Directory, Principal, PrincipalDetail, PrincipalType};
use crate::error::ControlError;

const USERS: u8 = 4;
const GROUPS: u8 = 5;
const ACTIONS: [&str; 6] = [
    "Microsoft.KeyVault/vaults/keys/read",
    "Microsoft.KeyVault/vaults/keys/unwrap/action",
    "Microsoft.KeyVault/vaults/read",
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.CognitiveServices/accounts/OpenAI/files/read",
    "Microsoft.CognitiveServices/accounts/listKeys/action",
];

fn id(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

fn scope(depth: usize, branch: usize) -> ResourceId {
    let group = ["a", "ab"][branch % 2];
    let text = match depth {
        0 => "/".to_owned(),
        1 => "/subscriptions/s".to_owned(),
        2 => format!("/subscriptions/s/resourceGroups/{group}"),
        3 => format!("/Subscriptions/S/resourcegroups/{group}/providers/Microsoft.KeyVault/vaults/v"),
        _ => format!("/subscriptions/s/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/V/keys/k"),
    };
    text.parse().unwrap()
}

/// Users 0 to 3, then groups; a group has members of lower numbers only, so there is no circle.
fn directory(members: &[(u8, u8)], gone: Option<u8>) -> Directory {
    let users = (0..USERS).map(|number| {
        let detail = PrincipalDetail::Application {
            client_id: id(100 + number),
            credentials: Credentials::default(),
            home: None,
        };
        (number, detail)
    });
    let groups = (USERS..USERS + GROUPS).map(|number| {
        let named = members
            .iter()
            .filter(|(group, _)| USERS + group % GROUPS == number);
        let below: BTreeSet<_> = named.map(|(_, member)| id(member % number)).collect();
        (number, PrincipalDetail::Group { members: below })
    });
    let all = users.chain(groups).filter(|(number, _)| Some(*number) != gone);
    all.map(|(number, detail)| Principal {
        object_id: id(number),
        ..Principal::new("x", 0, detail)
    })
    .collect()
}

fn assignment(number: u8, principal: u8, role: Uuid, scope: &ResourceId) -> Assignment {
    Assignment {
        id: id(number),
        principal: id(principal),
        principal_type: PrincipalType::ServicePrincipal,
        role,
        scope: scope.to_string(),
        description: None,
        created: 0,
        created_by: None,
        changed: None,
    }
}

fn custom(number: u8) -> RoleDefinition {
    let text = |all: &[&str]| all.iter().map(|action| (*action).to_owned()).collect();
    let new = NewRole {
        name: "Everything but unwrapping".to_owned(),
        description: String::new(),
        permission: PermissionText {
            actions: text(&["*/read"]),
            not_actions: text(&["Microsoft.KeyVault/*"]),
            data_actions: text(&["Microsoft.KeyVault/vaults/*"]),
            not_data_actions: text(&["*/UNWRAP/action"]),
        },
        assignable_scopes: text(&["/subscriptions/s"]),
    };
    RoleDefinition::custom(id(number), new, 0).unwrap()
}

/// Whether `member` is `holder` or in it, by asking every group again and again.
fn naive_member(directory: &Directory, member: Uuid, holder: Uuid) -> bool {
    let exists = |id: Uuid| directory.get(id).is_some();
    exists(member)
        && exists(holder)
        && (member == holder
            || directory.get(holder).is_some_and(|holder| {
                holder
                    .members()
                    .any(|inner| naive_member(directory, member, inner))
            }))
}

fn naive_grants(
    directory: &Directory,
    assignments: &[Assignment],
    roles: &Roles,
    asks: (Uuid, &ResourceId, ActionKind, &str),
) -> bool {
    let (principal, scope, kind, action) = asks;
    assignments.iter().any(|known| {
        let definition = roles.definition(known.role).unwrap();
        known.covers(scope)
            && naive_member(directory, principal, known.principal)
            && definition.holds(kind, &action.to_ascii_lowercase())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_index_answers_as_the_simplest_reading_does(
        members in prop::collection::vec((0..GROUPS, any::<u8>()), 0..12),
        gone in prop::option::of(0..USERS + GROUPS),
        granted in prop::collection::vec((0..USERS + GROUPS, 0..24_usize, 0..5_usize, 0..2_usize), 0..12),
        removed in prop::collection::vec(0..12_u8, 0..4),
    ) {
        let directory = directory(&members, gone);
        let mut roles = Roles::new([custom(200)], []);
        let mut kept = Vec::new();
        for (number, (principal, role, depth, branch)) in granted.iter().enumerate() {
            let role = BuiltInRole::all().get(*role).map_or(id(200), |role| role.id);
            let number = u8::try_from(number).unwrap();
            let made = assignment(number, *principal, role, &scope(*depth, *branch));
            roles.put_assignment(Arc::new(made.clone()));
            kept.push(made);
        }
        for number in &removed {
            roles.remove_assignment(id(*number));
            kept.retain(|known| known.id != id(*number));
        }
        for principal in (0..USERS + GROUPS).map(id) {
            for (depth, branch) in (0..5).flat_map(|depth| [(depth, 0), (depth, 1)]) {
                let scope = scope(depth, branch);
                let effective = roles.effective(&directory, principal, &scope);
                for kind in [ActionKind::Control, ActionKind::Data] {
                    for action in ACTIONS {
                        let expected = naive_grants(&directory, &kept, &roles, (principal, &scope, kind, action));
                        prop_assert_eq!(effective.allows(kind, action), expected, "{} {} {}", principal, scope, action);
                    }
                }
            }
        }
    }

    #[test]
    fn a_circle_is_seen_before_it_closes(
        members in prop::collection::vec((0..GROUPS, any::<u8>()), 0..12),
        group in USERS..USERS + GROUPS,
        member in 0..USERS + GROUPS,
    ) {
        let directory = directory(&members, None);
        let would = naive_member(&directory, id(group), id(member));
        prop_assert_eq!(directory.closes_a_circle(id(group), id(member)), would);
    }
}

#[test]
fn what_no_definition_answers_to_grants_nothing() {
    let directory = directory(&[], None);
    let here = scope(2, 0);
    let unreadable = Assignment {
        scope: "no scope".to_owned(),
        ..assignment(2, 0, BuiltInRole::by_name("Owner").unwrap().id, &here)
    };
    let roles = Roles::new([], [assignment(1, 0, id(77), &here), unreadable]);
    let effective = roles.effective(&directory, id(0), &here);
    assert!(!effective.allows(ActionKind::Control, "x/read"));
    assert_eq!(roles.assignment_count(), 2);
}

#[test]
fn a_limited_administrator_may_assign_the_roles_of_its_condition_and_no_others() {
    let directory = directory(&[], None);
    let here = scope(3, 0);
    let named = |name: &str| BuiltInRole::by_name(name).unwrap().id;
    let limited = assignment(1, 0, named("Key Vault Data Access Administrator"), &here);
    let roles = Roles::new([], [limited]);
    let effective = roles.effective(&directory, id(0), &here);
    for action in [ASSIGN, UNASSIGN] {
        assert!(effective.allows_for(action, named("Key Vault Crypto User")));
        for role in [
            "Owner",
            "Key Vault Contributor",
            "Key Vault Data Access Administrator",
        ] {
            assert!(!effective.allows_for(action, named(role)), "{role}");
        }
        assert!(
            !effective.allows(ActionKind::Control, action),
            "without a role at hand, a limited right is none"
        );
    }
    assert!(!effective.allows_for(
        "Microsoft.Authorization/roleDefinitions/write",
        named("Key Vault Crypto User")
    ));
}

#[test]
fn ids_and_names_of_built_in_roles_are_unique_and_their_actions_well_formed() {
    let all = BuiltInRole::all();
    let ids: BTreeSet<_> = all.iter().map(|role| role.id).collect();
    let names: BTreeSet<_> = all.iter().map(|role| role.name.to_lowercase()).collect();
    assert_eq!((ids.len(), names.len()), (all.len(), all.len()));
    for role in all {
        let text = RoleDefinition::built_in(role).permission.text();
        let lists = [
            text.actions,
            text.not_actions,
            text.data_actions,
            text.not_data_actions,
        ];
        for action in lists.iter().flatten() {
            assert!(
                super::pattern::Pattern::from(action.as_str()).is_well_formed(),
                "{action}"
            );
        }
    }
}

#[test]
fn a_role_that_makes_no_sense_says_why() {
    let good = NewRole {
        name: "Good".to_owned(),
        description: String::new(),
        permission: PermissionText {
            actions: vec!["*/read".to_owned()],
            ..PermissionText::default()
        },
        assignable_scopes: vec!["/subscriptions/s".to_owned()],
    };
    let refused = |change: &dyn Fn(&mut NewRole), word: &str| {
        let mut new = good.clone();
        change(&mut new);
        let error = RoleDefinition::custom(id(1), new, 0).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    assert!(RoleDefinition::custom(id(1), good.clone(), 0).is_ok());
    refused(&|new| new.name.clear(), "name");
    refused(&|new| new.name = " Good".to_owned(), "space");
    refused(&|new| new.name = "a\nb".to_owned(), "one line");
    refused(&|new| new.name = "x".repeat(600), "512");
    refused(&|new| new.description = "x".repeat(3000), "2048");
    refused(&|new| new.permission = PermissionText::default(), "at least one");
    refused(&|new| new.permission.actions = vec!["read".to_owned()], "'read'");
    refused(
        &|new| new.permission.data_actions = vec!["*".to_owned()],
        "data action",
    );
    refused(
        &|new| new.permission.actions = vec!["*/read".to_owned(); 3000],
        "2048",
    );
    refused(&|new| new.assignable_scopes.clear(), "assignable");
}

/// An inventory in which a resource is there when it is first asked for, and gone after that.
struct Fading(AtomicBool);

impl Index for Fading {
    fn has(&self, _: &ResourceId) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }

    fn show(&self, _: serde_json::Value) {}

    fn hide(&self, _: &ResourceId) {}
}

struct Still;

impl strongroom_seal::Clock for Still {
    fn now(&self) -> strongroom_seal::Moment {
        let now = std::time::Duration::from_secs(1_800_000_000);
        strongroom_seal::Moment { boot: now, wall: now }
    }
}

#[test]
fn a_role_on_a_resource_that_goes_meanwhile_does_not_wait_for_the_next_of_that_name() {
    let place = tempfile::tempdir().unwrap();
    let root = strongroom_vault::RootKey::File(place.path().join("root-key"));
    let vaults = strongroom_vault::VaultEngine::open(&place.path().join("vault"), root, Arc::new(Still));
    let control = Control::open(&place.path().join("control"), vaults.unwrap(), Arc::new(Still)).unwrap();
    let (owner, _) = control.ensure_administrator(None).unwrap();
    let subscription: ResourceId = format!("/subscriptions/{}", control.subscription())
        .parse()
        .unwrap();
    let role = BuiltInRole::by_name("Owner").unwrap();
    control
        .ensure_assignment(owner.object_id, role, &subscription)
        .unwrap();
    control.keep_index(Box::new(Fading(AtomicBool::new(false))));
    let new = NewAssignment {
        id: id(1),
        principal: owner.object_id,
        principal_type: None,
        role: role.id,
        scope: subscription
            .child("resourceGroups/rg/providers/N.S/things/t")
            .unwrap(),
        description: None,
    };
    let refused = control.actor(owner.object_id).assign(new).unwrap_err();
    assert!(matches!(refused, ControlError::NotFound { .. }), "{refused}");
    assert!(control.state().roles.assignment(id(1)).is_none());
}
