//! Every limit of the store, in one table.

use std::time::Duration;

/// Bytes written to find out whether a folder takes any.
pub(crate) const PROBE: usize = 64 * 1024;
/// Blobs up to this length travel inside the record's transaction; longer ones get a file.
pub(crate) const INLINE_BLOB: usize = 64 * 1024;
/// The longest record body.
pub(crate) const RECORD_BODY: usize = 16 * 1024 * 1024;
/// The most blobs in one object.
pub(crate) const PARTS: usize = 1024;
/// The longest page of a listing.
pub(crate) const PAGE: u32 = 1000;
/// Units of work waiting for the writer; one more is answered `Busy`.
pub(crate) const WRITER_QUEUE: usize = 2048;
/// Bytes waiting for the writer; a unit that would exceed it is answered `Busy`.
pub(crate) const WRITER_BYTES: usize = 32 * 1024 * 1024;
/// Units committed by one fsync.
pub(crate) const GROUP: usize = 256;
/// Connections that read.
pub(crate) const READERS: usize = 4;
/// Page cache of the connection that writes, in KiB.
pub(crate) const WRITER_CACHE_KIB: u32 = 8192;
/// Page cache of each connection that reads, in KiB.
pub(crate) const READER_CACHE_KIB: u32 = 1024;
/// How much of the database file a connection maps.
pub(crate) const MMAP_BYTES: i64 = 8 * 1024 * 1024;
/// The log is copied back once it has this many pages.
pub(crate) const CHECKPOINT_PAGES: u32 = 4096;
/// Events kept for a listener that lags.
pub(crate) const EVENTS: usize = 4096;
/// How often a commit that meets a changed branch version or revision is tried again.
pub(crate) const COMMIT_TRIES: usize = 8;
/// Deletions erased in one go.
pub(crate) const SHREDDINGS_ERASED: u32 = 4096;
/// Deletions that the witness is told of at once: a share of its queue, so that there is room for others.
pub(crate) const SHREDDINGS_TOLD: usize = 512;
/// Deletions awaiting erasure are counted up to this number.
pub(crate) const SHREDDINGS_COUNTED: u32 = 100_000;
/// Object keys wrapped anew in one transaction.
pub(crate) const REWRAP_BATCH: u32 = 256;
/// Expired objects deleted in one transaction.
pub(crate) const EXPIRY_BATCH: u32 = 256;
/// How long a claim on a job lasts without a sign of life.
pub(crate) const CLAIM: Duration = Duration::from_secs(30);
/// Rekeys that are worked on at once.
pub(crate) const REKEYS_AT_ONCE: usize = 2;
/// Jobs of an account that are listed, newest first.
pub(crate) const JOBS_LISTED: u32 = 1000;
/// How often waiting jobs and expiries are looked for.
pub(crate) const JOB_POLL: Duration = Duration::from_secs(2);
/// The longest pause of a job that is denied the customer key again and again.
pub(crate) const JOB_PAUSE: Duration = Duration::from_secs(60);
/// Blobs looked up at once when the folder is swept.
pub(crate) const SWEEP_BATCH: usize = 1024;
/// Files of deleted objects removed for good at once.
pub(crate) const UNWANTED_BATCH: u32 = 1024;
/// Names of unwanted files waiting to be removed; what does not fit waits for the sweep at the next start.
pub(crate) const LITTER: usize = 65_536;
/// How long the writer waits for readers when it empties the log.
pub(crate) const ERASE_WAIT: Duration = Duration::from_millis(100);
/// The shortest and the longest lease a binding may ask for.
pub(crate) const REVOCATION_BOUND: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(60 * 60));
/// How long the vault may take to answer, however long the lease; see `Terms::deadline`.
pub(crate) const UNWRAP_DEADLINE: Duration = Duration::from_secs(10);
/// A lease that nobody holds and nobody asked for during this time is given up.
pub(crate) const IDLE: Duration = Duration::from_secs(30);
/// After a no, a caller's wish makes the vault be asked again at most this often.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The longest wait that a throttling vault can impose on callers before it is asked again.
pub(crate) const THROTTLED_WAIT: Duration = Duration::from_secs(60);
/// How often at most the vault is asked for the latest version of a key that is followed, and a failed rewrap tried again.
pub(crate) const FOLLOW: Duration = Duration::from_secs(60);
/// Branch versions of one account that may live at once.
pub(crate) const BRANCH_VERSIONS: usize = 8;
/// Unanswered questions to the vault that a lease remembers; there is one at a time unless the machine is ill.
pub(crate) const UNANSWERED: usize = 8;
/// How often work on branch versions is begun anew when somebody else changed them meanwhile.
pub(crate) const BRANCH_TRIES: usize = 3;
/// How often a lease that is over before it reaches its caller is asked for again.
pub(crate) const LEASE_TRIES: usize = 3;
