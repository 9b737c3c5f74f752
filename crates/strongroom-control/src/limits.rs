//! Every number that bounds this crate.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a token counts.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// How long a key signs tokens before the next one does.
pub(crate) const TOKEN_KEY_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// How long a key that signs no more is still good for tokens: their life, and what clocks may differ.
pub(crate) const TOKEN_KEY_OVERLAP: Duration = Duration::from_secs(TOKEN_LIFE.as_secs() + 300);

/// How often is looked whether a key's time is over.
pub(crate) const TOKEN_KEY_CHECK: Duration = Duration::from_secs(600);

/// Keys for tokens at a time, retired ones included.
pub(crate) const TOKEN_KEYS: usize = 16;

/// Longest life of an assertion that a client signs itself.
pub(crate) const ASSERTION_LIFE: Duration = Duration::from_secs(3600);

/// Longest life of an external issuer's token: Kubernetes gives up to a day to a file that a process reads.
pub(crate) const FEDERATED_LIFE: Duration = Duration::from_secs(86_400);

/// Uses of assertions that are remembered at a time.
pub(crate) const USED_ASSERTIONS: usize = 100_000;

/// Wrong proofs for one client in [`FAILED_PROOFS_WINDOW`] that are answered with their reason.
pub(crate) const FAILED_PROOFS: u32 = 20;

/// See [`FAILED_PROOFS`].
pub(crate) const FAILED_PROOFS_WINDOW: Duration = Duration::from_secs(60);

/// External issuers whose published keys are kept in memory.
pub(crate) const EXTERNAL_ISSUERS: usize = 256;

/// Hosts that may ask for tokens of their identities.
pub(crate) const IDENTITY_HOSTS: usize = 1024;

/// Identities of others that one host may have.
pub(crate) const HOST_IDENTITIES: usize = 64;

/// Certificates that one application may have at a time.
pub(crate) const CERTIFICATES: usize = 32;

/// Federated credentials that one application or identity may have, as on Azure.
pub(crate) const FEDERATIONS: usize = 20;

/// Length of an external issuer's name, of a subject and of an audience, as on Azure.
pub(crate) const FEDERATED_TEXT: RangeInclusive<usize> = 1..=600;

/// Largest body of a token request, in bytes.
pub(crate) const TOKEN_REQUEST: usize = 64 * 1024;

/// Bytes of a secret that this crate draws.
pub(crate) const SECRET: usize = 32;

/// Secrets that one application may have at a time.
pub(crate) const SECRETS: usize = 32;

/// Characters of a secret that stay readable, as many as Entra shows.
pub(crate) const HINT: usize = 3;

/// Principals in the directory, as many as a new Entra tenant may have.
pub(crate) const PRINCIPALS: usize = 50_000;

/// Members of one group.
pub(crate) const MEMBERS: usize = 10_000;

/// Length of a display name, in characters.
pub(crate) const DISPLAY_NAME: RangeInclusive<usize> = 1..=256;

/// Length of a name to sign in with.
pub(crate) const USER_PRINCIPAL_NAME: RangeInclusive<usize> = 3..=113;

/// Accounts of the AI service, the deleted ones included while they can be recovered.
pub(crate) const ACCOUNTS: usize = 20_000;

/// User-assigned identities that one account may have.
pub(crate) const ACCOUNT_IDENTITIES: usize = 64;

/// Bytes of an account's properties that mean nothing here and are kept.
pub(crate) const ACCOUNT_PROPERTIES: usize = 64 * 1024;

/// How long a deleted account can be recovered, as on Azure.
pub(crate) const DELETED_ACCOUNT_KEPT: Duration = Duration::from_secs(48 * 3600);

/// How often is looked whether a deleted account's time is over.
pub(crate) const ACCOUNT_CHECK: Duration = Duration::from_secs(600);

/// How long to wait before a switch of keys that cannot go on now is tried again; doubled each time up to the second.
pub(crate) const SWITCH_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a new key of an account may be unreachable before the one before stays.
pub(crate) const SWITCH_PATIENCE: Duration = Duration::from_secs(30);

/// Rules of one kind in an account's firewall, as on Azure.
pub(crate) const NETWORK_RULES: usize = 200;

/// Capacity that deployments of one model may have.
pub(crate) const DEPLOYMENT_CAPACITY: u64 = 1000;

/// Deployments that one account may have.
pub(crate) const DEPLOYMENTS: usize = 1000;

/// Length of the name of a model that is deployed, in bytes.
pub(crate) const DEPLOYED_MODEL: usize = 512;

/// Role assignments that one directory may have, as many as one Azure subscription has.
pub(crate) const ASSIGNMENTS: usize = 4000;

/// Custom roles that one directory may have, as many as an Entra tenant has.
pub(crate) const CUSTOM_ROLES: usize = 5000;

/// Length of a custom role's name, in characters.
pub(crate) const ROLE_NAME: RangeInclusive<usize> = 1..=512;

/// Length of a description, in characters.
pub(crate) const DESCRIPTION: usize = 2048;

/// Actions and data actions that one role names, those that it takes away included.
pub(crate) const ROLE_ACTIONS: usize = 2048;

/// Assignable scopes of a custom role.
pub(crate) const ASSIGNABLE_SCOPES: RangeInclusive<usize> = 1..=200;

/// Length of a name that is also a host's label.
pub(crate) const HOST_LABEL: RangeInclusive<usize> = 2..=63;

/// Length of a resource group's or a region's name.
pub(crate) const LABEL: RangeInclusive<usize> = 1..=90;

/// Length of a deployment's name.
pub(crate) const DEPLOYMENT_NAME: RangeInclusive<usize> = 1..=128;

/// Largest body of a Resource Manager request, in bytes.
pub(crate) const ARM_BODY: usize = 1 << 20;

/// How deep the JSON of a request may nest.
pub(crate) const ARM_DEPTH: usize = 64;

/// How long the body of a Resource Manager request may take to arrive.
pub(crate) const ARM_BODY_ARRIVAL: Duration = Duration::from_secs(30);

/// Resource Manager requests worked on at once; more wait.
pub(crate) const ARM_AT_ONCE: usize = 64;

/// Rows of one page of a list.
pub(crate) const ARM_PAGE: usize = 1000;

/// Rows that one look at the database reads while a list is filtered.
pub(crate) const ARM_BATCH: usize = 1000;

/// Seconds after which a client asks again for a long-running operation.
pub(crate) const RETRY_AFTER: u64 = 1;

/// Longest resource name, in bytes.
pub(crate) const RESOURCE_NAME: usize = 260;

/// Keys of one page of a list in Resource Manager.
pub(crate) const ARM_KEYS: u32 = 25;

/// Private endpoint connections that one resource may have.
pub(crate) const PRIVATE_CONNECTIONS: usize = 100;

/// Tags that one resource may have; longest name and value of one, in characters.
pub(crate) const TAGS: usize = 50;
/// See [`TAGS`].
pub(crate) const TAG_NAME: usize = 512;
/// See [`TAGS`].
pub(crate) const TAG_VALUE: usize = 256;

/// Longest filter of a list, in bytes.
pub(crate) const FILTER: usize = 8 * 1024;

/// How deep the parentheses of a filter may nest.
pub(crate) const FILTER_DEPTH: usize = 32;

/// Longest id that a client may give its request, in bytes.
pub(crate) const REQUEST_ID: usize = 128;

/// How long rows of the activity log are listed. The journal keeps them for good.
pub(crate) const ACTIVITY_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// Entries that the activity log's index takes in at once when it catches up.
pub(crate) const ACTIVITY_REPLAY: u64 = 4096;

/// Locks that one subscription may have.
pub(crate) const LOCKS: usize = 1000;

/// How long the record of a long-running operation is kept after its end.
pub(crate) const OPERATION_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Rows of one page of the activity log, as many as Azure gives.
pub(crate) const ACTIVITY_PAGE: usize = 200;

/// Length of a user-assigned identity's name.
pub(crate) const IDENTITY_NAME: RangeInclusive<usize> = 3..=128;

/// Diagnostic settings that one resource may have, as many as on Azure.
pub(crate) const DIAGNOSTIC_SETTINGS: usize = 5;

/// Characters of a destination's name that the folder for its logs shows.
pub(crate) const SINK_NAME: usize = 64;

/// Entries of a journal that one delivery of logs takes up at once.
pub(crate) const DELIVERY_BATCH: u64 = 64;

/// Entries of a journal that a delivery passes over before it notes that on disk.
pub(crate) const DELIVERY_PASSED: u64 = 1024;

/// How long a delivery that has nothing to bring waits before it looks again.
pub(crate) const DELIVERY_PAUSE: Duration = Duration::from_millis(500);

/// How long a sink may take for one batch.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a delivery waits after a failure: at first, and at most.
pub(crate) const DELIVERY_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// Requests of Microsoft Graph worked on at once; more wait.
pub(crate) const DIRECTORY_AT_ONCE: usize = 32;

/// Largest body of a request of Microsoft Graph, in bytes.
pub(crate) const DIRECTORY_BODY: usize = 128 * 1024;

/// Segments of a path of Microsoft Graph.
pub(crate) const DIRECTORY_PATH: usize = 8;

/// Ids that one look-up may ask for, as many as Graph takes.
pub(crate) const DIRECTORY_IDS: usize = 1000;

/// The longest time for which an account can keep objects, in days: ten years.
pub(crate) const RETENTION_DAYS: u32 = 3650;

/// Objects of one page of Microsoft Graph: without `$top`, and at most.
pub(crate) const DIRECTORY_PAGE: usize = 100;
/// See [`DIRECTORY_PAGE`].
pub(crate) const DIRECTORY_PAGE_MOST: usize = 999;

/// Largest body of a Resource Graph request, in bytes.
pub(crate) const GRAPH_BODY: usize = 64 * 1024;

/// Longest Resource Graph query, in bytes.
pub(crate) const GRAPH_QUERY: usize = 32 * 1024;

/// How deep a query may nest.
pub(crate) const GRAPH_DEPTH: usize = 32;

/// Operators that a query may have, and joins among them.
pub(crate) const GRAPH_OPERATORS: usize = 64;
/// See [`GRAPH_OPERATORS`].
pub(crate) const GRAPH_JOINS: usize = 4;

/// Work that one query may do: about one unit for each value computed and each byte read or made.
pub(crate) const GRAPH_FUEL: u64 = 100_000_000;

/// Rows of one page of Resource Graph, as many as Azure gives.
pub(crate) const GRAPH_PAGE: usize = 1000;

/// Longest text that a function of a query may make out of a shorter one, in bytes.
pub(crate) const GRAPH_VALUE: usize = 1 << 20;

/// Links of chains such as `a or b or c` that a query may have.
pub(crate) const GRAPH_LINKS: usize = 400;
