//! Every number that bounds this crate.

/// Files in a package. A zip counts them in 16 bits.
pub(crate) const FILES: usize = 65_000;

/// Bytes of a manifest: 65,000 files take about 12 MiB.
pub(crate) const MANIFEST_BYTES: u64 = 32 * 1024 * 1024;

/// Bytes of a signed statement.
pub(crate) const STATEMENT_BYTES: u64 = 1024 * 1024;

/// Bytes of a checkpoint with its proof.
pub(crate) const CHECKPOINT_BYTES: u64 = 16 * 1024;

/// Bytes of `completeness.json`: every question that got no answer is in it.
pub(crate) const COMPLETENESS_BYTES: u64 = 256 * 1024 * 1024;

/// Entries of an evidence log, and so lines of `log.txt`.
pub(crate) const LOG_ENTRIES: u64 = 65_536;

/// Bytes of `log.txt`: 44 characters of base64 and a line feed for each entry.
pub(crate) const LOG_BYTES: u64 = LOG_ENTRIES * 45;

/// Hashes in an inclusion proof: a tree of `LOG_ENTRIES` is 16 deep.
pub(crate) const PROOF_HASHES: usize = 63;

/// Defects that a verdict names one by one; further ones are only counted.
pub(crate) const NAMED_DEFECTS: usize = 200;

/// Bytes read at once while a file is hashed.
pub(crate) const CHUNK: usize = 256 * 1024;

/// Bytes of a zip's central directory: 65,000 entries take about 8 MiB.
pub(crate) const DIRECTORY_BYTES: u64 = 16 * 1024 * 1024;
