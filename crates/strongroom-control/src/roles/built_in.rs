//! The roles that every directory has: ids and actions as Azure publishes them (Azure built-in roles, 1 July 2026, and what
//! `az role definition list` answered in autumn 2026), but for the last one, which is ours. Descriptions are our own words.

use uuid::Uuid;

/// A role that every directory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltInRole {
    /// The name that `az` shows.
    pub name: &'static str,
    /// The GUID.
    pub id: Uuid,
    /// For people.
    pub description: &'static str,
    pub(super) actions: &'static [&'static str],
    pub(super) not_actions: &'static [&'static str],
    pub(super) data_actions: &'static [&'static str],
    pub(super) not_data_actions: &'static [&'static str],
    /// The roles that its holder may assign, where Azure limits it to some by a condition.
    pub(super) assigns_only: Option<&'static [Uuid]>,
}

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
}

/// What a row has unless it says otherwise.
const NOTHING: BuiltInRole = BuiltInRole {
    name: "",
    id: Uuid::nil(),
    description: "",
    actions: &[],
    not_actions: &[],
    data_actions: &[],
    not_data_actions: &[],
    assigns_only: None,
};

/// What the roles for a vault's content may see of the vault itself.
const KEY_VAULT_METADATA: &[&str] = &[
    "Microsoft.Authorization/*/read",
    "Microsoft.Insights/alertRules/*",
    "Microsoft.Resources/deployments/*",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Support/*",
    "Microsoft.KeyVault/checkNameAvailability/read",
    "Microsoft.KeyVault/deletedVaults/read",
    "Microsoft.KeyVault/locations/*/read",
    "Microsoft.KeyVault/vaults/*/read",
    "Microsoft.KeyVault/operations/read",
];

/// The roles that a Key Vault Data Access Administrator may assign, in the order of Azure's condition. Those for secrets and
/// certificates are no roles here: this vault has keys only.
const KEY_VAULT_DATA_ROLES: &[Uuid] = &[
    Uuid::from_u128(0x00482a5a_887f_4fb3_b363_3b7fe8e74483),
    Uuid::from_u128(0xa4417e6f_fecd_4de8_b567_7b0420556985),
    Uuid::from_u128(0x14b46e9e_c2b7_41b4_b07b_48a6ebf60603),
    Uuid::from_u128(0xe147488a_f6f5_4113_8e2d_b22465e65bf6),
    Uuid::from_u128(0x12338af0_0e69_4776_bea7_57ae8d297424),
    Uuid::from_u128(0x21090545_7ca7_4776_b22c_e363652d74d2),
    Uuid::from_u128(0xb86a8fe4_44ce_4948_aee5_eccb2c155cd7),
    Uuid::from_u128(0x4633458b_17de_408a_b874_0445c86b69e6),
];

const BUILT_IN: [BuiltInRole; 19] = [
    BuiltInRole {
        name: "Owner",
        id: Uuid::from_u128(0x8e3af657_a8ff_443c_a75c_2fe8c4bcb635),
        description: "Manages everything, roles included.",
        actions: &["*"],
        ..NOTHING
    },
    BuiltInRole {
        name: "Contributor",
        id: Uuid::from_u128(0xb24988ac_6180_42a0_ab88_20f7382dd24c),
        description: "Manages everything but who may do what.",
        actions: &["*"],
        not_actions: &[
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
            "Microsoft.Blueprint/blueprintAssignments/write",
            "Microsoft.Blueprint/blueprintAssignments/delete",
            "Microsoft.Compute/galleries/share/action",
            "Microsoft.Purview/consents/write",
            "Microsoft.Purview/consents/delete",
            "Microsoft.Resources/deploymentStacks/manageDenySetting/action",
            "Microsoft.Subscription/cancel/action",
            "Microsoft.Subscription/enable/action",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Reader",
        id: Uuid::from_u128(0xacdd72a7_3385_48ef_bd42_f606fba81ae7),
        description: "Sees everything and changes nothing.",
        actions: &["*/read"],
        ..NOTHING
    },
    BuiltInRole {
        name: "User Access Administrator",
        id: Uuid::from_u128(0x18d7d88d_d35e_4fb5_a5c3_7773c20a72d9),
        description: "Manages who may do what.",
        actions: &["*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"],
        ..NOTHING
    },
    BuiltInRole {
        name: "Role Based Access Control Administrator",
        id: Uuid::from_u128(0xf58310d9_a9f6_439a_9e8d_f62e7b41a168),
        description: "Assigns roles.",
        actions: &[
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
            "*/read",
            "Microsoft.Support/*",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Key Vault Administrator",
        id: Uuid::from_u128(0x00482a5a_887f_4fb3_b363_3b7fe8e74483),
        description: "Does everything inside a vault; does not manage the vault or its roles.",
        actions: KEY_VAULT_METADATA,
        data_actions: &["Microsoft.KeyVault/vaults/*"],
        ..NOTHING
    },
    BuiltInRole {
        name: "Key Vault Crypto Officer",
        id: Uuid::from_u128(0x14b46e9e_c2b7_41b4_b07b_48a6ebf60603),
        description: "Does everything with a vault's keys; does not manage permissions.",
        actions: KEY_VAULT_METADATA,
        data_actions: &[
            "Microsoft.KeyVault/vaults/keys/*",
            "Microsoft.KeyVault/vaults/keyrotationpolicies/*",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Key Vault Crypto User",
        id: Uuid::from_u128(0x12338af0_0e69_4776_bea7_57ae8d297424),
        description: "Uses a vault's keys.",
        data_actions: &[
            "Microsoft.KeyVault/vaults/keys/read",
            "Microsoft.KeyVault/vaults/keys/update/action",
            "Microsoft.KeyVault/vaults/keys/backup/action",
            "Microsoft.KeyVault/vaults/keys/encrypt/action",
            "Microsoft.KeyVault/vaults/keys/decrypt/action",
            "Microsoft.KeyVault/vaults/keys/wrap/action",
            "Microsoft.KeyVault/vaults/keys/unwrap/action",
            "Microsoft.KeyVault/vaults/keys/sign/action",
            "Microsoft.KeyVault/vaults/keys/verify/action",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Key Vault Crypto Service Encryption User",
        id: Uuid::from_u128(0xe147488a_f6f5_4113_8e2d_b22465e65bf6),
        description: "Reads keys, wraps and unwraps: for services with a customer's key.",
        actions: &[
            "Microsoft.EventGrid/eventSubscriptions/write",
            "Microsoft.EventGrid/eventSubscriptions/read",
            "Microsoft.EventGrid/eventSubscriptions/delete",
        ],
        data_actions: &[
            "Microsoft.KeyVault/vaults/keys/read",
            "Microsoft.KeyVault/vaults/keys/wrap/action",
            "Microsoft.KeyVault/vaults/keys/unwrap/action",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Key Vault Crypto Service Release User",
        id: Uuid::from_u128(0x08bbd89e_9f13_488c_ac41_acfcb10c90ab),
        description: "Releases keys.",
        data_actions: &["Microsoft.KeyVault/vaults/keys/release/action"],
        ..NOTHING
    },
    BuiltInRole {
        name: "Key Vault Reader",
        id: Uuid::from_u128(0x21090545_7ca7_4776_b22c_e363652d74d2),
        description: "Reads what a vault says about itself and its objects, never a value.",
        actions: KEY_VAULT_METADATA,
        data_actions: &[
            "Microsoft.KeyVault/vaults/*/read",
            "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Key Vault Contributor",
        id: Uuid::from_u128(0xf25e0fa2_a7c8_4377_a976_54943a77a395),
        description: "Manages vaults; does not see inside them.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.Insights/alertRules/*",
            "Microsoft.KeyVault/*",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Support/*",
        ],
        not_actions: &[
            "Microsoft.KeyVault/locations/deletedVaults/purge/action",
            "Microsoft.KeyVault/hsmPools/*",
            "Microsoft.KeyVault/managedHsms/*",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Key Vault Data Access Administrator",
        id: Uuid::from_u128(0x8b54135c_b56d_4d72_a534_26097cfdc8d8),
        description: "Assigns eight roles of Key Vault and no others.",
        actions: &[
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Management/managementGroups/read",
            "Microsoft.Support/*",
            "Microsoft.KeyVault/vaults/*/read",
        ],
        assigns_only: Some(KEY_VAULT_DATA_ROLES),
        ..NOTHING
    },
    BuiltInRole {
        name: "Key Vault Purge Operator",
        id: Uuid::from_u128(0xa68e7c17_0ab2_4c09_9a58_125dae29748c),
        description: "Destroys deleted vaults for good.",
        actions: &[
            "Microsoft.KeyVault/locations/deletedVaults/read",
            "Microsoft.KeyVault/locations/deletedVaults/purge/action",
            "Microsoft.KeyVault/locations/operationResults/read",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Cognitive Services OpenAI User",
        id: Uuid::from_u128(0x5e0bd9bd_7b93_4f28_af87_19fc36ad61bd),
        description: "Asks models and sees files, models and deployments.",
        actions: &[
            "Microsoft.CognitiveServices/*/read",
            "Microsoft.Authorization/roleAssignments/read",
            "Microsoft.Authorization/roleDefinitions/read",
        ],
        data_actions: &[
            "Microsoft.CognitiveServices/accounts/OpenAI/*/read",
            "Microsoft.CognitiveServices/accounts/OpenAI/engines/completions/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/engines/search/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/engines/generate/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/audio/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/search/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/completions/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/realtime/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/extensions/chat/completions/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/deployments/embeddings/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/images/generations/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/video/generations/*/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/video/generations/*/delete",
            "Microsoft.CognitiveServices/accounts/OpenAI/assistants/*",
            "Microsoft.CognitiveServices/accounts/OpenAI/responses/*",
        ],
        not_data_actions: &["Microsoft.CognitiveServices/accounts/OpenAI/stored-completions/read"],
        ..NOTHING
    },
    BuiltInRole {
        name: "Cognitive Services OpenAI Contributor",
        id: Uuid::from_u128(0xa001fd3d_188f_4b5d_821b_7da978bf7442),
        description: "Does everything inside an account and deploys models.",
        actions: &[
            "Microsoft.CognitiveServices/*/read",
            "Microsoft.CognitiveServices/accounts/deployments/write",
            "Microsoft.CognitiveServices/accounts/deployments/delete",
            "Microsoft.CognitiveServices/accounts/raiPolicies/read",
            "Microsoft.CognitiveServices/accounts/raiPolicies/write",
            "Microsoft.CognitiveServices/accounts/raiPolicies/delete",
            "Microsoft.CognitiveServices/accounts/commitmentplans/read",
            "Microsoft.CognitiveServices/accounts/commitmentplans/write",
            "Microsoft.CognitiveServices/accounts/commitmentplans/delete",
            "Microsoft.Authorization/roleAssignments/read",
            "Microsoft.Authorization/roleDefinitions/read",
        ],
        data_actions: &["Microsoft.CognitiveServices/accounts/OpenAI/*"],
        ..NOTHING
    },
    BuiltInRole {
        name: "Cognitive Services Contributor",
        id: Uuid::from_u128(0x25fbc0a9_bd7c_42a3_aa1a_3b75d497ee68),
        description: "Manages accounts and their keys; sees nothing inside them without a key.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.CognitiveServices/*",
            "Microsoft.Features/features/read",
            "Microsoft.Features/providers/features/read",
            "Microsoft.Features/providers/features/register/action",
            "Microsoft.Insights/alertRules/*",
            "Microsoft.Insights/diagnosticSettings/*",
            "Microsoft.Insights/logDefinitions/read",
            "Microsoft.Insights/metricdefinitions/read",
            "Microsoft.Insights/metrics/read",
            "Microsoft.ResourceHealth/availabilityStatuses/read",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/deployments/operations/read",
            "Microsoft.Resources/subscriptions/operationresults/read",
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Resources/subscriptions/resourcegroups/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Support/*",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Cognitive Services User",
        id: Uuid::from_u128(0xa97b65f3_24c7_4388_baec_2e87135dc908),
        description: "Uses everything inside an account and lists its keys.",
        actions: &[
            "Microsoft.CognitiveServices/*/read",
            "Microsoft.CognitiveServices/accounts/listkeys/action",
            "Microsoft.CognitiveServices/accounts/projects/connections/listsecrets/action",
            "Microsoft.Insights/alertRules/read",
            "Microsoft.Insights/diagnosticSettings/read",
            "Microsoft.Insights/logDefinitions/read",
            "Microsoft.Insights/metricdefinitions/read",
            "Microsoft.Insights/metrics/read",
            "Microsoft.ResourceHealth/availabilityStatuses/read",
            "Microsoft.Resources/deployments/operations/read",
            "Microsoft.Resources/subscriptions/operationresults/read",
            "Microsoft.Resources/subscriptions/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Support/*",
        ],
        data_actions: &["Microsoft.CognitiveServices/*"],
        not_data_actions: &[
            "Microsoft.CognitiveServices/accounts/AIServices/agents/endpoints/UserIdentityImpersonation/action",
            "Microsoft.CognitiveServices/accounts/OpenAI/fine-tunes-deployments/write",
            "Microsoft.CognitiveServices/accounts/AIServices/fine_tuning_deployments/write",
        ],
        ..NOTHING
    },
    BuiltInRole {
        name: "Strongroom Export Operator",
        id: Uuid::from_u128(0x5d0f1c36_61d2_4f0e_9a3b_0c7e5a2b9d41),
        description: "Takes an object out together with its key.",
        data_actions: &["Strongroom/accounts/export/action"],
        ..NOTHING
    },
];
