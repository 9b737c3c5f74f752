//! Every number that bounds this crate.

use std::time::Duration;

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

/// Bytes of one answer that are taken in, as many as Resource Graph gives at most; a longer one is a failed read.
pub(crate) const ANSWER_BYTES: usize = 16 * 1024 * 1024;

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
pub(crate) const OSCAL_OBSERVATIONS: usize = 5_000;

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

/// Bytes of an answer that is no success which are kept: what it says stands at its begin.
pub(crate) const REFUSAL_BYTES: usize = 1024 * 1024;

/// Bytes of a token endpoint's answer.
pub(crate) const TOKEN_BYTES: usize = 64 * 1024;

/// How long before its end a token is replaced.
pub(crate) const TOKEN_MARGIN: Duration = Duration::from_secs(300);

/// How long a token may take to come: `az` takes seconds to start.
pub(crate) const TOKEN_WAIT: Duration = Duration::from_secs(60);

/// How long an assertion counts that a certificate's key signs.
pub(crate) const ASSERTION_LIFE: Duration = Duration::from_secs(300);

/// Characters of a message for people that a fact keeps.
pub(crate) const MESSAGE: usize = 500;

/// How long a connection may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);

/// How long one exchange may take, from the request to the last byte.
pub(crate) const EXCHANGE: Duration = Duration::from_secs(60);

/// Calls in flight at once, unless told otherwise, and at most.
pub(crate) const CALLS_IN_FLIGHT: usize = 16;
/// See [`CALLS_IN_FLIGHT`].
pub(crate) const CALLS_IN_FLIGHT_MOST: usize = 64;

/// How often a question is put at most: once, and again after throttling, silence or an error of the server's.
pub(crate) const ATTEMPTS: u32 = 5;

/// The wait before a question is put again, doubled each time, where the server names none.
pub(crate) const BACKOFF: Duration = Duration::from_millis(500);

/// The longest wait that a server may ask for; where it asks for more, the answer stands as it is.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// A server that says that it will take fewer reads than this is given a moment.
pub(crate) const FEW_READS: u64 = 4;

/// That moment: Resource Manager's bucket fills with 25 reads a second.
pub(crate) const FEW_READS_WAIT: Duration = Duration::from_secs(1);

/// Pages of one list.
pub(crate) const PAGES: usize = 2_000;

/// How often a question is put at most to somebody who is silent.
pub(crate) const ATTEMPTS_IN_SILENCE: u32 = 2;

/// Subscriptions that one question to Resource Graph names, as many as it takes.
pub(crate) const GRAPH_SUBSCRIPTIONS: usize = 1_000;

/// Ids that one look-up of Microsoft Graph asks for, as many as it takes.
pub(crate) const DIRECTORY_IDS: usize = 1_000;

/// How far back the activity log is read: a week.
pub(crate) const ACTIVITY_MS: u64 = 7 * 24 * 3600 * 1000;

/// Files of audit events that are read of each vault: as many hours.
pub(crate) const AUDIT_FILES: usize = 48;

/// Bytes of one of them.
pub(crate) const AUDIT_FILE_BYTES: usize = 16 * 1024 * 1024;

/// How deep such files lie: the id's parts, and the hour's.
pub(crate) const AUDIT_FOLDER_DEPTH: usize = 24;

/// Bytes of a document with which a cloud describes itself.
pub(crate) const METADATA_BYTES: usize = 1024 * 1024;

/// Vaults that `whoami` tries, of those that there are.
pub(crate) const TRIED_VAULTS: usize = 20;

/// Bytes of a design.
pub(crate) const DESIGN_BYTES: usize = 16 * 1024 * 1024;

/// How deep a design nests.
pub(crate) const DESIGN_DEPTH: usize = 16;
