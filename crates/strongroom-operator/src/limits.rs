//! Every number that bounds this crate.

/// Readable text shorter than this is not reported: the names in the format are full of it.
pub(crate) const READABLE_RUN: usize = 32;

/// A run of name characters at least this long is a name: words of prose are shorter.
pub(crate) const LONG_NAME: usize = 20;

/// Faults that a report names one by one; further ones are only counted.
pub(crate) const NAMED_FAULTS: usize = 1000;

/// Bytes read at once when a file is looked through.
pub(crate) const CHUNK: usize = 1024 * 1024;

/// How deep `service/blobs` may nest.
pub(crate) const FOLDER_DEPTH: usize = 2;

/// Objects, and rows of their keys and blobs, that one read takes: it is over in milliseconds.
pub(crate) const PAGE_OBJECTS: usize = 256;
/// See [`PAGE_OBJECTS`].
pub(crate) const PAGE_ROWS: usize = 4096;

/// Bytes of sealed content that one read takes, but for its last object.
pub(crate) const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// How often an object or a branch version that changes while it is looked at is looked at anew.
pub(crate) const LOOKS: usize = 8;

/// Bytes of one fact at most, as it is written: an answer of the largest size, with room for what JSON escapes.
pub(crate) const FACT_BYTES: usize = 2 * ANSWER_BYTES + 1024 * 1024;

/// Bytes of one answer that are taken in; a longer one is a failed read.
pub(crate) const ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Characters of a name that Azure could have given: of a host, a key, a region. An id has eight times as many.
pub(crate) const NAME: usize = 253;

/// How deep a resource of a type that no rule knows is searched for the keys that it names.
pub(crate) const DEPTH: usize = 16;

/// Hours within which a key in use is unwrapped, and a log that works tells something. Leases are renewed far more often.
pub(crate) const PROOF_HOURS: i64 = 24;

/// Days that a vault's audit log is kept at least, where no design says otherwise.
pub(crate) const RETENTION_DAYS: u32 = 90;

/// Principals that a reason names one by one; further ones are only counted.
pub(crate) const NAMED_PRINCIPALS: usize = 8;

/// Files that a package may have in its manifest: a zip counts all of them in 16 bits.
pub(crate) const PACKAGE_FILES: usize = 64_990;

/// Entries of an evidence log. Each package brings the hashes of all before it along: 3 MB at the most.
pub(crate) const LOG_ENTRIES: u64 = 65_536;

/// Entries of the evidence log that are read at once.
pub(crate) const LOG_PAGE: u64 = 4096;

/// How long an observation counts as fresh in OSCAL (`expires`): 30 days, in milliseconds.
pub(crate) const EVIDENCE_FRESH_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Observations in OSCAL; further ones are counted there, and stand in `findings.json`.
pub(crate) const OSCAL_OBSERVATIONS: usize = 20_000;

/// Letters of one value in OSCAL.
pub(crate) const OSCAL_TEXT: usize = 2000;

/// Letters of one text in the report.
pub(crate) const REPORT_TEXT: usize = 1000;

/// Rows of a table in the report; further ones are counted there.
pub(crate) const REPORT_ROWS: usize = 1000;

/// Chains in the report.
pub(crate) const REPORT_CHAINS: usize = 200;

/// Owners or facts that the report names in one cell.
pub(crate) const REPORT_NAMES: usize = 5;

/// Nodes in the report's drawing of the graph.
pub(crate) const REPORT_NODES: usize = 120;

/// Lines in the report's timeline, and dots on them.
pub(crate) const REPORT_LANES: usize = 40;
/// See [`REPORT_LANES`].
pub(crate) const REPORT_MOMENTS: usize = 4000;

/// Days that a key version is in use or valid at most: guidance is to rotate at least every two years.
pub(crate) const KEY_DAYS: i64 = 730;

/// Days that must be left before a key expires: the notice that Key Vault gives.
pub(crate) const DAYS_LEFT: i64 = 30;
