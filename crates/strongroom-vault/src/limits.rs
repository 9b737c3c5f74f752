//! Every number that bounds what this crate takes in, keeps or waits for.

use std::time::Duration;

/// Largest request body: a wrapped RSA-4096 value with its JSON is below 1 KiB; tags and lists leave room.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// Largest body of a restore: a backup with as many versions as it may have.
pub(crate) const MAX_RESTORE_BODY: usize = 8 * 1024 * 1024;
/// Versions in a backup, as on Azure.
pub(crate) const MAX_BACKUP_VERSIONS: u32 = 500;
/// Bytes of a backup, before it is sealed: with base64 around it, it fits into a restore's body.
pub(crate) const MAX_BACKUP: usize = 5 * 1024 * 1024;
/// Random bytes in one answer, as on Azure.
pub(crate) const MAX_RANDOM: usize = 128;
/// How long a request may take to bring its body.
pub(crate) const BODY_WAIT: Duration = Duration::from_secs(10);
/// How long a refusal waits for its record: well below what clients wait for an answer.
pub(crate) const REFUSAL_RECORD_WAIT: Duration = Duration::from_secs(1);
/// Characters of a request that reach an audit record, each: URL, client, ids.
pub(crate) const MAX_AUDIT_TEXT: usize = 1024;
/// Tags per key version, as on Azure.
pub(crate) const MAX_TAGS: usize = 15;
/// Characters of a period in a rotation policy.
pub(crate) const MAX_PERIOD_TEXT: usize = 40;
/// Days that a period in a rotation policy may have: a century.
pub(crate) const MAX_PERIOD_DAYS: u64 = 36_500;
/// The longest that maintenance sleeps: clocks are set and machines are suspended.
pub(crate) const MAINTENANCE_WAIT: Duration = Duration::from_secs(600);
/// How long maintenance waits after something went wrong.
pub(crate) const MAINTENANCE_RETRY: Duration = Duration::from_secs(30);
/// Keys that one round of maintenance takes up.
pub(crate) const MAINTENANCE_BATCH: u32 = 100;
/// Characters of a tag's name and of its value, as on Azure.
pub(crate) const MAX_TAG_TEXT: usize = 256;
/// Longest key name.
pub(crate) const MAX_KEY_NAME: usize = 127;
/// Longest key version in a path; ours have 32.
pub(crate) const MAX_KEY_VERSION: usize = 64;
/// Rows on one page of a list, as on Azure; also what is given when the caller asks for no number.
pub(crate) const MAX_PAGE: u32 = 25;
/// Days for which deleted keys stay recoverable.
pub(crate) const SOFT_DELETE_DAYS: std::ops::RangeInclusive<u32> = 7..=90;
/// The same, where a vault's maker gives no number; as on Azure.
pub(crate) const DEFAULT_SOFT_DELETE_DAYS: u32 = 90;
/// Vaults one engine may have, deleted ones included.
pub(crate) const MAX_VAULTS: usize = 1_000;
/// Tags of a vault, as on Azure for every resource.
pub(crate) const MAX_VAULT_TAGS: usize = 50;
/// Characters of the name of a vault's tag, as on Azure.
pub(crate) const MAX_VAULT_TAG_NAME: usize = 512;
/// Access policies of a vault, as on Azure.
pub(crate) const MAX_POLICIES: usize = 1024;
/// Address ranges in a vault's firewall, as on Azure.
pub(crate) const MAX_IP_RULES: usize = 1000;
/// Virtual networks in a vault's firewall, as on Azure.
pub(crate) const MAX_NETWORK_RULES: usize = 200;
/// Bytes of a vault's further properties, as JSON.
pub(crate) const MAX_KEPT_PROPERTIES: usize = 32 * 1024;
/// Characters of an id in a vault's settings.
pub(crate) const MAX_SETTING_TEXT: usize = 2048;
/// The window over which operations are counted, as on Azure.
pub(crate) const THROTTLE_WINDOW: Duration = Duration::from_secs(10);
/// Engine operations at work at once; more wait in line.
pub(crate) const CONCURRENT_OPERATIONS: usize = 64;
/// Key generations at work at once: an RSA-4096 key takes seconds, and unwraps must not wait behind it.
pub(crate) const CONCURRENT_GENERATIONS: usize = 1;
/// Opened private keys kept in memory, and ways to name them that are remembered.
pub(crate) const CACHED_KEYS: usize = 256;
/// Idle connections for reading kept open.
pub(crate) const IDLE_READERS: usize = 8;
/// Changes a slow subscriber may fall behind before it misses some (it hears that it lagged).
pub(crate) const CHANGE_QUEUE: usize = 256;
/// How long SQLite waits for another connection's lock.
pub(crate) const DATABASE_WAIT: Duration = Duration::from_secs(5);
/// Versions one key may have.
pub(crate) const MAX_VERSIONS: u32 = 10_000;
/// Keys one vault may have, deleted ones included.
pub(crate) const MAX_KEYS: u32 = 100_000;

/// Passphrase to root key: memory in KiB, passes, lanes. RFC 9106's choice for machines without gigabytes to spare.
pub(crate) const ARGON2_COST: (u32, u32, u32) = (64 * 1024, 3, 4);
/// Most memory, in KiB, that stored parameters may make us spend.
pub(crate) const MAX_ARGON2_MEMORY: u32 = 1024 * 1024;
/// Most passes that stored parameters may make us spend.
pub(crate) const MAX_ARGON2_PASSES: u32 = 64;
/// Shortest passphrase.
pub(crate) const MIN_PASSPHRASE: usize = 12;

/// What the client waits for a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What one call to a vault may take in all, token included, unless configured otherwise.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(3);
/// Largest answer of a vault or token endpoint.
pub(crate) const MAX_ANSWER: usize = 256 * 1024;
/// How long the body of an answer that is no success is waited for.
pub(crate) const REFUSAL_BODY_WAIT: Duration = Duration::from_secs(1);
/// Vaults whose clients are kept; one more drops them all and begins anew.
pub(crate) const KEPT_CLIENTS: usize = 256;
/// An identity token is asked for anew this long before it ends.
pub(crate) const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// The longest `Retry-After` that is believed.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Characters of a foreign error message that reach our log.
pub(crate) const MAX_DETAIL: usize = 300;

/// The number before the dot of the oldest api-version that is served.
pub(crate) const OLDEST_API: u32 = 7;
