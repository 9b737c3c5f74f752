//! D01 to D20: the resources that hold an account's data beside it, or the logs that tell of its key.

use super::cite::{FOUNDRY_COVERAGE, Rulebook, iso, mcsb, nist, policy, scanner};
use super::verdict::{Judged, Verdict, shown};
use super::{Judge, Rule};
use crate::finding::{Control, Mapping, Severity};
use crate::world::Dependent;

const AT_REST: &[Mapping] = &[nist("SC-28"), nist("SC-12"), iso("A.8.24"), mcsb("DP-5")];

/// A rule that asks whether a type of resource is under a customer's key.
const fn under_key(
    id: &'static str,
    question: &'static str,
    severity: Severity,
    kinds: &'static [&'static str],
    sources: Rulebook,
    remedy: &'static str,
) -> Rule {
    Rule {
        control: Control {
            id,
            question,
            severity,
            sources,
            remedy,
            conflicts: &[],
            mappings: AT_REST,
        },
        judge: Judge::Dependent(kinds, customer_key),
    }
}

const STORAGE: &[&str] = &["microsoft.storage/storageaccounts"];
const SEARCH: &[&str] = &["microsoft.search/searchservices"];
const COSMOS: &[&str] = &["microsoft.documentdb/databaseaccounts"];
const DATABASES: &[&str] = &[
    "microsoft.sql/servers",
    "microsoft.sql/managedinstances",
    "microsoft.dbforpostgresql/flexibleservers",
    "microsoft.dbformysql/flexibleservers",
];
const WITH_KEYS: &[&str] = &[
    "microsoft.storage/storageaccounts",
    "microsoft.search/searchservices",
    "microsoft.documentdb/databaseaccounts",
];

pub(super) const RULES: &[Rule] = &[
    under_key(
        "D01",
        "Is the storage account under a customer's key?",
        Severity::High,
        STORAGE,
        &[
            policy("6fac406b-40ca-413b-bf8e-0bf964659c25"),
            scanner("Prowler", "storage_ensure_encryption_with_customer_managed_keys"),
            scanner("Checkov", "CKV2_AZURE_1"),
        ],
        "az storage account update --ids <dependent-id> --encryption-key-source Microsoft.Keyvault --encryption-key-vault <vault-uri> --encryption-key-name <key>",
    ),
    Rule {
        control: Control {
            id: "D02",
            question: "Are the storage account's queues and tables under the account's key too?",
            severity: Severity::Medium,
            sources: &[policy("f0e5abd0-..."), policy("7c322315-...")],
            remedy: "az storage account create --name <dependent> --resource-group <group> --encryption-key-type-for-queue Account --encryption-key-type-for-table Account",
            conflicts: &["It can be chosen only when the account is made."],
            mappings: AT_REST,
        },
        judge: Judge::Dependent(STORAGE, |resource| {
            let wrong = (resource.queues_and_tables != Some(true))
                .then_some("queues and tables are under the service's own key");
            either(wrong, "queues and tables are under the account's key", resource)
        }),
    },
    Rule {
        control: Control {
            id: "D04",
            question: "Is the storage account encrypted a second time below its own encryption?",
            severity: Severity::Low,
            sources: &[policy("4733ea7b-a883-42fe-8cac-97454c2a9e4a")],
            remedy: "az storage account create --name <dependent> --resource-group <group> --require-infrastructure-encryption",
            conflicts: &["It can be chosen only when the account is made."],
            mappings: AT_REST,
        },
        judge: Judge::Dependent(STORAGE, |resource| {
            either(
                (resource.twice != Some(true)).then_some("it is encrypted once"),
                "it is encrypted twice",
                resource,
            )
        }),
    },
    under_key(
        "D06",
        "Does the search service demand a customer's key of what it holds?",
        Severity::High,
        SEARCH,
        &[
            policy("76a56461-9dc0-40f0-82f5-2453283afa2f"),
            policy("356da939-..."),
        ],
        "az resource update --ids <dependent-id> --set properties.encryptionWithCmk.enforcement=Enabled",
    ),
    under_key(
        "D07",
        "Is the Cosmos DB account under a customer's key?",
        Severity::High,
        COSMOS,
        &[
            policy("1f905d99-2ab7-462c-a6b0-f709acca6c8f"),
            scanner("Checkov", "CKV_AZURE_100"),
        ],
        "az cosmosdb update --ids <dependent-id> --key-uri <key-uri>",
    ),
    under_key(
        "D08",
        "Is the cluster that keeps the logs under a customer's key?",
        Severity::Medium,
        &["microsoft.operationalinsights/clusters"],
        &[policy("1f68a601-6e6d-4e42-babf-3f643a047ea2")],
        "az monitor log-analytics cluster update --ids <dependent-id> --key-vault-uri <vault-uri> --key-name <key> --key-version ''",
    ),
    Rule {
        control: Control {
            id: "D09",
            question: "Are the queries that are saved in the workspace under the customer's key too?",
            severity: Severity::Low,
            sources: &[policy("fa298e57-...")],
            remedy: "az resource update --ids <dependent-id> --set properties.forceCmkForQuery=true",
            conflicts: &[],
            mappings: AT_REST,
        },
        judge: Judge::Dependent(&["microsoft.operationalinsights/workspaces"], |resource| {
            either(
                (resource.queries_covered != Some(true))
                    .then_some("saved queries are under the service's own key"),
                "saved queries are covered",
                resource,
            )
        }),
    },
    under_key(
        "D10",
        "Is the configuration store under a customer's key?",
        Severity::Medium,
        &["microsoft.appconfiguration/configurationstores"],
        &[policy("967a4b4b-...")],
        "az appconfig update --ids <dependent-id> --encryption-key-vault <vault-uri> --encryption-key-name <key>",
    ),
    under_key(
        "D11",
        "Is the machine-learning workspace or hub under a customer's key?",
        Severity::Medium,
        &["microsoft.machinelearningservices/workspaces"],
        &[policy("ba769a63-..."), policy("7f40cee6-...")],
        "az ml workspace create --name <dependent> --resource-group <group> --file <workspace-file>",
    ),
    under_key(
        "D12",
        "Is the event hub that takes logs under a customer's key?",
        Severity::Medium,
        &["microsoft.eventhub/namespaces"],
        &[policy("a1ad735a-...")],
        "az eventhubs namespace encryption add --namespace-name <dependent> --resource-group <group> --encryption-config key-name=<key> key-vault-uri=<vault-uri>",
    ),
    under_key(
        "D13",
        "Is the service bus under a customer's key?",
        Severity::Low,
        &["microsoft.servicebus/namespaces"],
        &[policy("295fc8b1-...")],
        "az servicebus namespace encryption add --namespace-name <dependent> --resource-group <group> --encryption-config key-name=<key> key-vault-uri=<vault-uri>",
    ),
    under_key(
        "D14",
        "Is the Data Explorer cluster under a customer's key?",
        Severity::Low,
        &["microsoft.kusto/clusters"],
        &[policy("81e74cea-...")],
        "az kusto cluster update --ids <dependent-id> --key-vault-properties key-name=<key> key-vault-uri=<vault-uri>",
    ),
    Rule {
        control: Control {
            id: "D15",
            question: "Is the container registry under a customer's key of which it follows the latest version?",
            severity: Severity::Low,
            sources: &[
                policy("5b9159ae-..."),
                scanner("cnspec", "acr-encryption-key-rotation"),
            ],
            remedy: "az acr encryption rotate-key --name <dependent> --key-encryption-key <key-uri>",
            conflicts: &[],
            mappings: AT_REST,
        },
        judge: Judge::Dependent(&["microsoft.containerregistry/registries"], |resource| {
            let pinned = resource.keys.iter().find_map(|key| key.version.as_deref());
            match pinned {
                Some(version) if resource.customer_key == Some(true) => {
                    either(Some(format!("it is pinned to version {version}")), "", resource)
                }
                _ => customer_key(resource),
            }
        }),
    },
    under_key(
        "D17",
        "Is the database server under a customer's key?",
        Severity::Medium,
        DATABASES,
        &[
            policy("0a370ff3-..."),
            policy("12c74c95-..."),
            scanner("Prowler", "sqlserver_tde_encrypted_with_cmk"),
        ],
        "az sql server tde-key set --ids <dependent-id> --server-key-type AzureKeyVault --kid <key-uri>",
    ),
    Rule {
        control: Control {
            id: "D18",
            question: "Are the store's own keys turned off?",
            severity: Severity::Medium,
            sources: &[
                policy("5450f5bd-... (Cosmos DB)"),
                policy("6300012e-... (search)"),
            ],
            remedy: "az resource update --ids <dependent-id> --set properties.disableLocalAuth=true",
            conflicts: &["A storage account's property is allowSharedKeyAccess, and absent it allows."],
            mappings: &[nist("IA-2"), nist("AC-3"), iso("A.5.17"), mcsb("IM-1")],
        },
        judge: Judge::Dependent(WITH_KEYS, |resource| {
            either(
                (resource.local_auth_disabled != Some(true)).then_some("its own keys work"),
                "its own keys are turned off",
                resource,
            )
        }),
    },
    Rule {
        control: Control {
            id: "D19",
            question: "Is the store closed to all networks but those that are named?",
            severity: Severity::Medium,
            sources: &[
                policy("797b37f7-... (Cosmos DB)"),
                policy("ee980b6d-... (search)"),
                FOUNDRY_COVERAGE,
            ],
            remedy: "az resource update --ids <dependent-id> --set properties.publicNetworkAccess=Disabled",
            conflicts: &[],
            mappings: &[nist("SC-7"), iso("A.8.20"), mcsb("NS-2")],
        },
        judge: Judge::Dependent(WITH_KEYS, |resource| {
            either(
                (!resource.network.is_closed()).then_some("everybody is let in"),
                "not everybody is let in",
                resource,
            )
        }),
    },
    Rule {
        control: Control {
            id: "D20",
            question: "Can the Cosmos DB account's data be had back as of any moment?",
            severity: Severity::Medium,
            sources: &[scanner("Prowler", "cosmosdb_account_backup_policy_continuous")],
            remedy: "az cosmosdb update --ids <dependent-id> --backup-policy-type Continuous",
            conflicts: &[],
            mappings: &[nist("CP-9"), iso("A.8.13"), mcsb("BR-1")],
        },
        judge: Judge::Dependent(COSMOS, |resource| {
            let continuous = shown(resource.recoverable, resource.fact, "how it is backed up")?;
            either(
                (!continuous).then_some("backups are periodic"),
                "backups are continuous",
                resource,
            )
        }),
    },
];

fn either(wrong: Option<impl Into<String>>, right: impl Into<String>, resource: &Dependent) -> Judged {
    let wrong: Vec<String> = wrong.into_iter().map(Into::into).collect();
    Ok(Verdict::by(&wrong, right, [resource.fact]))
}

fn customer_key(resource: &Dependent) -> Judged {
    let on = shown(resource.customer_key, resource.fact, "whose key is used")?;
    let named = resource.keys.first().map_or_else(
        || "it demands a customer's key".to_owned(),
        |key| format!("it is under {key}"),
    );
    either((!on).then_some("it is under the provider's key"), named, resource)
}
