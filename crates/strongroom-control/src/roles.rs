//! Role definitions, assignments, and whether they grant an action.

use serde::{Deserialize, Serialize};
use strongroom_azure::ResourceId;
use uuid::Uuid;

/// A role that every directory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltInRole {
    /// The name that `az` shows.
    pub name: &'static str,
    /// The GUID.
    pub id: Uuid,
    actions: &'static [&'static str],
    not_actions: &'static [&'static str],
    data_actions: &'static [&'static str],
    not_data_actions: &'static [&'static str],
}

/// On which of the two planes an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// Resource Manager.
    Control,
    /// Keys, files, inference.
    Data,
}

/// "This principal has this role here."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The assignment's own GUID.
    pub id: Uuid,
    /// The principal's object id.
    pub principal: Uuid,
    /// The role definition's GUID.
    pub role: Uuid,
    /// Where it counts, and below.
    pub scope: String,
}

/// Ids and actions as Azure publishes them (Azure built-in roles, 23 February 2026), but for the last one, which is ours.
const BUILT_IN: [BuiltInRole; 8] = [
    BuiltInRole {
        name: "Key Vault Administrator",
        id: Uuid::from_u128(0x00482a5a_887f_4fb3_b363_3b7fe8e74483),
        actions: &["Microsoft.KeyVault/vaults/read"],
        not_actions: &[],
        data_actions: &["Microsoft.KeyVault/vaults/*"],
        not_data_actions: &[],
    },
    BuiltInRole {
        name: "Key Vault Crypto Officer",
        id: Uuid::from_u128(0x14b46e9e_c2b7_41b4_b07b_48a6ebf60603),
        actions: &["Microsoft.KeyVault/vaults/read"],
        not_actions: &[],
        data_actions: &[
            "Microsoft.KeyVault/vaults/keys/*",
            "Microsoft.KeyVault/vaults/keyrotationpolicies/*",
        ],
        not_data_actions: &[],
    },
    BuiltInRole {
        name: "Key Vault Crypto Service Encryption User",
        id: Uuid::from_u128(0xe147488a_f6f5_4113_8e2d_b22465e65bf6),
        actions: &[
            "Microsoft.EventGrid/eventSubscriptions/read",
            "Microsoft.EventGrid/eventSubscriptions/write",
            "Microsoft.EventGrid/eventSubscriptions/delete",
        ],
        not_actions: &[],
        data_actions: &[
            "Microsoft.KeyVault/vaults/keys/read",
            "Microsoft.KeyVault/vaults/keys/wrap/action",
            "Microsoft.KeyVault/vaults/keys/unwrap/action",
        ],
        not_data_actions: &[],
    },
    BuiltInRole {
        name: "Key Vault Reader",
        id: Uuid::from_u128(0x21090545_7ca7_4776_b22c_e363652d74d2),
        actions: &["Microsoft.KeyVault/vaults/read"],
        not_actions: &[],
        data_actions: &["Microsoft.KeyVault/vaults/*/read"],
        not_data_actions: &[],
    },
    BuiltInRole {
        name: "Owner",
        id: Uuid::from_u128(0x8e3af657_a8ff_443c_a75c_2fe8c4bcb635),
        actions: &["*"],
        not_actions: &[],
        data_actions: &[],
        not_data_actions: &[],
    },
    BuiltInRole {
        name: "Cognitive Services OpenAI User",
        id: Uuid::from_u128(0x5e0bd9bd_7b93_4f28_af87_19fc36ad61bd),
        actions: &["Microsoft.CognitiveServices/*/read"],
        not_actions: &[],
        data_actions: &[
            "Microsoft.CognitiveServices/accounts/OpenAI/*/read",
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/*/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/assistants/*",
        ],
        not_data_actions: &["Microsoft.CognitiveServices/accounts/OpenAI/stored-completions/read"],
    },
    BuiltInRole {
        name: "Cognitive Services OpenAI Contributor",
        id: Uuid::from_u128(0xa001fd3d_188f_4b5d_821b_7da978bf7442),
        actions: &[
            "Microsoft.CognitiveServices/*/read",
            "Microsoft.CognitiveServices/accounts/deployments/write",
            "Microsoft.CognitiveServices/accounts/deployments/delete",
        ],
        not_actions: &[],
        data_actions: &["Microsoft.CognitiveServices/accounts/OpenAI/*"],
        not_data_actions: &[],
    },
    BuiltInRole {
        name: "Strongroom Export Operator",
        id: Uuid::from_u128(0x5d0f1c36_61d2_4f0e_9a3b_0c7e5a2b9d41),
        actions: &[],
        not_actions: &[],
        data_actions: &["Strongroom/accounts/export/action"],
        not_data_actions: &[],
    },
];

impl BuiltInRole {
    /// All of them.
    pub fn all() -> &'static [Self] {
        &BUILT_IN
    }

    /// The role of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        BUILT_IN.iter().find(|role| role.name.eq_ignore_ascii_case(name))
    }

    /// The role of this id.
    pub fn by_id(id: Uuid) -> Option<&'static Self> {
        BUILT_IN.iter().find(|role| role.id == id)
    }

    /// Whether the role holds the action: one pattern names it, and none takes it away.
    pub fn grants(&self, kind: ActionKind, action: &str) -> bool {
        let (granted, taken) = match kind {
            ActionKind::Control => (self.actions, self.not_actions),
            ActionKind::Data => (self.data_actions, self.not_data_actions),
        };
        granted.iter().any(|pattern| matches(pattern, action))
            && !taken.iter().any(|pattern| matches(pattern, action))
    }
}

/// Whether any assignment of `principal` at `scope` or above grants the action.
pub(crate) fn grants(
    assignments: &[Assignment],
    principal: Uuid,
    scope: &ResourceId,
    kind: ActionKind,
    action: &str,
) -> bool {
    assignments
        .iter()
        .filter(|assignment| assignment.principal == principal)
        .any(|assignment| {
            let here = assignment
                .scope
                .parse::<ResourceId>()
                .is_ok_and(|granted| granted.contains(scope));
            here && BuiltInRole::by_id(assignment.role).is_some_and(|role| role.grants(kind, action))
        })
}

/// Whether a pattern, in which `*` stands for any text, names the action. Case does not matter.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| action.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_whole_actions_without_regard_to_case() {
        assert!(matches("*", "anything/at/all"));
        assert!(matches(
            "Microsoft.KeyVault/vaults/*/read",
            "microsoft.keyvault/VAULTS/keys/read"
        ));
        assert!(matches("a/*/b/*", "a/x/y/b/c"));
        assert!(!matches(
            "Microsoft.KeyVault/vaults/*/read",
            "Microsoft.KeyVault/vaults/keys/wrap/action"
        ));
        assert!(!matches("a/b", "a/b/c"));
        assert!(!matches("a/*", "b/a/x"));
    }

    #[test]
    fn the_role_for_services_may_wrap_and_not_switch_the_key_on() {
        let role = BuiltInRole::by_name("key vault crypto service encryption user").unwrap();
        assert!(role.grants(ActionKind::Data, "Microsoft.KeyVault/vaults/keys/unwrap/action"));
        assert!(!role.grants(ActionKind::Data, "Microsoft.KeyVault/vaults/keys/update/action"));
        assert!(
            !BuiltInRole::by_name("Owner")
                .unwrap()
                .grants(ActionKind::Data, "Microsoft.KeyVault/vaults/keys/read")
        );
    }

    #[test]
    fn an_assignment_counts_at_its_scope_and_below_only() {
        let role = BuiltInRole::by_name("Key Vault Crypto Officer").unwrap().id;
        let principal = Uuid::from_u128(1);
        let scope = "/subscriptions/s/resourceGroups/rg".to_owned();
        let all = [Assignment {
            id: Uuid::from_u128(2),
            principal,
            role,
            scope,
        }];
        let may = |who: u128, scope: &str| {
            let action = "Microsoft.KeyVault/vaults/keys/create/action";
            grants(
                &all,
                Uuid::from_u128(who),
                &scope.parse().unwrap(),
                ActionKind::Data,
                action,
            )
        };
        assert!(may(
            1,
            "/subscriptions/S/resourcegroups/RG/providers/Microsoft.KeyVault/vaults/v/keys/k"
        ));
        assert!(!may(1, "/subscriptions/s/resourceGroups/other"));
        assert!(!may(1, "/subscriptions/s"));
        assert!(!may(3, "/subscriptions/s/resourceGroups/rg"));
    }

    proptest! {
        #[test]
        fn a_pattern_without_stars_matches_itself_alone(one in "[a-z/]{1,20}", other in "[a-z/]{1,20}") {
            prop_assert!(matches(&one, &one));
            prop_assert_eq!(matches(&one, &other), one == other);
        }

        #[test]
        fn a_star_stands_for_any_text(head in "[a-z/]{0,8}", middle in "[a-z/]{0,12}", tail in "[a-z/]{0,8}") {
            let pattern = format!("{head}*{tail}");
            let action = format!("{head}{middle}{tail}");
            prop_assert!(matches(&pattern, &action));
        }
    }
}
