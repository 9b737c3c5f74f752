//! Every number that bounds what this crate reads, writes or keeps.

/// Longest `kind` of a context, in bytes.
pub const MAX_KIND_LEN: usize = 64;
/// Longest `id` of a context, in bytes.
pub const MAX_ID_LEN: usize = 255;
/// Most plaintext bytes in one record: larger content is a blob.
pub const MAX_RECORD_LEN: usize = 64 * 1024 * 1024;
/// Most plaintext bytes in one blob (1 TiB): far below the 2^32 segments that the format could number.
pub const MAX_BLOB_LEN: u64 = 1 << 40;
/// Longest wrapped seed: the output of RSA-4096.
pub const MAX_WRAPPED_SEED_LEN: usize = 512;
/// Longest key identifier, in bytes.
pub const MAX_KEY_ID_LEN: usize = 512;
/// Longest host name in a key identifier, as in DNS.
pub(crate) const MAX_HOST_LEN: usize = 253;
/// Longest label between the dots of a host name, as in DNS.
pub(crate) const MAX_HOST_LABEL_LEN: usize = 63;
/// Longest name of a key, as in Key Vault.
pub(crate) const MAX_KEY_NAME_LEN: usize = 127;
/// Longest version of a key; Key Vault uses 32.
pub(crate) const MAX_KEY_VERSION_LEN: usize = 64;
/// How much plaintext the buffer of a blob sealer takes at first, and after it has grown once; then it grows to a whole segment.
/// So a blob costs about as much memory, which has to be zeroed, as it needs.
pub(crate) const BUFFER_STEPS: [usize; 2] = [8 * 1024, 64 * 1024];
/// A branch key lives alone on a page of this size (or a divisor of the machine's), so that locking and
/// unlocking it touches nothing else.
pub(crate) const PAGE_LEN: usize = 4096;
