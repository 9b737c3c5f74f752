//! What is asked in a run: the words that stand in a fact's `question`, each with what answers it.
//!
//! A list that has pages is one fact a page, all with the same question and the same `about`. Rows of Resource Graph stand in the
//! answer's `data`, those of Resource Manager and of a vault in `value`.

/// Whether the caller is who it is, and the subscriptions it sees. Resource Manager, `/subscriptions`.
pub const SUBSCRIPTIONS: &str = "subscriptions";
/// AI accounts, whole rows. Resource Graph.
pub const ACCOUNTS: &str = "accounts";
/// Vaults and managed HSMs, whole rows. Resource Graph.
pub const VAULTS: &str = "vaults";
/// User-assigned identities, whole rows. Resource Graph.
pub const IDENTITIES: &str = "identities";
/// Private endpoints, whole rows. Resource Graph.
pub const PRIVATE_ENDPOINTS: &str = "private-endpoints";
/// Resources of the types that can have a customer's key or take logs, whole rows. Resource Graph.
pub const DEPENDENTS: &str = "dependents";
/// Alert rules and action groups, whole rows. Resource Graph.
pub const ALERTS: &str = "alerts";
/// Resource groups and subscriptions with their tags. Resource Graph, `ResourceContainers`.
pub const CONTAINERS: &str = "containers";
/// Role assignments in the subscriptions and above. Resource Graph, `authorizationresources`.
pub const ROLE_ASSIGNMENTS: &str = "role-assignments";
/// Role definitions. Resource Graph, `authorizationresources`.
pub const ROLE_DEFINITIONS: &str = "role-definitions";
/// Deny assignments of a subscription (`about`). Resource Manager.
pub const DENY_ASSIGNMENTS: &str = "deny-assignments";
/// Locks of a subscription (`about`). Resource Manager.
pub const LOCKS: &str = "locks";
/// Deleted vaults of a subscription (`about`) that can be recovered. Resource Manager.
pub const DELETED_VAULTS: &str = "deleted-vaults";
/// Deleted AI accounts of a subscription (`about`). Resource Manager.
pub const DELETED_ACCOUNTS: &str = "deleted-accounts";
/// What was done to the accounts and vaults of a subscription (`about`) lately. Resource Manager, the activity log.
pub const ACTIVITY_LOG: &str = "activity-log";
/// Defender's plans of a subscription (`about`). Resource Manager, `Microsoft.Security/pricings`.
pub const DEFENDER: &str = "defender";
/// Where the logs of a resource (`about`: account, vault or subscription) go. Resource Manager.
pub const DIAGNOSTIC_SETTINGS: &str = "diagnostic-settings";
/// Deployments of an account (`about`). Resource Manager.
pub const DEPLOYMENTS: &str = "deployments";
/// Projects of an account (`about`). Resource Manager.
pub const PROJECTS: &str = "projects";
/// Connections of an account or project (`about`). Resource Manager.
pub const CONNECTIONS: &str = "connections";
/// Capability hosts of an account or project (`about`). Resource Manager.
pub const CAPABILITY_HOSTS: &str = "capability-hosts";
/// The key (`about`: `https://vault/keys/name`), or the version of it that the account names (`.../name/version`): its bundle.
/// From the vault.
pub const KEY: &str = "key";
/// The versions of a key (`about`: `https://vault/keys/name`). From the vault.
pub const KEY_VERSIONS: &str = "key-versions";
/// The rotation policy of a key (`about`: `https://vault/keys/name`). From the vault.
pub const ROTATION_POLICY: &str = "rotation-policy";
/// The key as Resource Manager shows it, asked only where the vault refused to show it (`about`: `https://vault/keys/name`).
pub const KEY_IN_MANAGEMENT: &str = "key-in-management";
/// Its versions as Resource Manager shows them, asked only where the vault refused (`about`: `https://vault/keys/name`).
pub const KEY_VERSIONS_IN_MANAGEMENT: &str = "key-versions-in-management";
/// Deleted keys of a vault (`about`: `https://vault`) that can be recovered. From the vault.
pub const DELETED_KEYS: &str = "deleted-keys";
/// Which of many principals there are, and what they are; ids that are missing in the answer exist no more. The request's body
/// names those asked for. Microsoft Graph, `getByIds`.
pub const PRINCIPALS: &str = "principals";
/// One principal (`about`: object id), where it is asked about alone. Microsoft Graph.
pub const PRINCIPAL: &str = "principal";
/// All who are in a group (`about`: object id), through other groups too. Microsoft Graph, `transitiveMembers`.
pub const GROUP_MEMBERS: &str = "group-members";
/// What the vault's audit log says of the use of its keys: Log Analytics' table (`tables[0].columns`, `.rows`), or the records of a
/// file as diagnostic settings write them, one a line. `about`: the vault's ARM id; for a file, as far as its path names it.
pub const KEY_USE: &str = "key-use";
/// What `strongroom verify` said of the stored bytes: its report as JSON. `about`: nothing; accounts stand inside.
pub const STORED_BYTES: &str = "stored-bytes";
