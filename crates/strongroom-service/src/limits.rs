//! Every limit of the service, in one table.

use std::time::Duration;

/// The limits that an installation may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest file accepted, in bytes.
    pub file_bytes: u64,
    /// The longest part of an upload, in bytes.
    pub part_bytes: u64,
    /// The longest file that comes in parts, in bytes.
    pub upload_bytes: u64,
    /// How long an upload takes parts.
    pub upload_life: Duration,
    /// The longest weights of a fine-tuned model accepted, in bytes.
    pub weight_bytes: u64,
    /// The longest JSON body accepted, in bytes.
    pub json_bytes: usize,
    /// Bytes of JSON bodies held in memory at once, over all accounts; short bodies do not count.
    pub json_held: usize,
    /// A body that brings nothing for this long is given up.
    pub body_idle: Duration,
    /// How long an engine may take until its answer, or the next piece of it.
    pub engine_idle: Duration,
    /// Token streams served at once, over all accounts.
    pub streams: usize,
    /// Uploads and downloads open at once, over all accounts.
    pub transfers: usize,
    /// Bytes of segments that all of them hold in memory at once; whoever finds no room waits for its turn.
    pub transfers_held: usize,
    /// How long a transfer waits for room.
    pub transfer_wait: Duration,
    /// How long a batch may take; clients know this as `24h`.
    pub batch_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_window: Duration::from_secs(24 * 3600),
            file_bytes: 512 * 1024 * 1024,
            part_bytes: 64 * 1024 * 1024,
            upload_bytes: 8 * 1024 * 1024 * 1024,
            upload_life: Duration::from_secs(3600),
            weight_bytes: 64 * 1024 * 1024 * 1024,
            json_bytes: 8 * 1024 * 1024,
            json_held: 512 * 1024 * 1024,
            body_idle: Duration::from_secs(30),
            engine_idle: Duration::from_secs(300),
            streams: 1024,
            transfers: 512,
            transfers_held: 128 * 1024 * 1024,
            transfer_wait: Duration::from_secs(20),
        }
    }
}

/// A JSON body up to this length is taken however many others are held.
pub(crate) const SHORT_BODY: u64 = 64 * 1024;
/// What a transfer holds in memory: its bytes, from this little up to one segment.
pub(crate) const TRANSFER_HOLDS: std::ops::RangeInclusive<u64> = 64 * 1024..=1024 * 1024;
/// A JSON body must have arrived whole within this time.
pub(crate) const JSON_BODY_TIME: Duration = Duration::from_secs(120);
/// A request without a body of note is answered within this time.
pub(crate) const SHORT_TIME: Duration = Duration::from_secs(60);
/// An answer of a model takes no longer than this.
pub(crate) const INFERENCE_TIME: Duration = Duration::from_secs(600);
/// An upload takes no longer than this, however steadily it comes.
pub(crate) const UPLOAD_TIME: Duration = Duration::from_secs(6 * 3600);
/// What multipart framing and the small fields may add to a file's bytes.
pub(crate) const MULTIPART_OVERHEAD: u64 = 64 * 1024;
/// Parts of one multipart form.
pub(crate) const MULTIPART_PARTS: usize = 16;
/// The head of one part of a form.
pub(crate) const PART_HEAD_BYTES: usize = 4096;
/// The longest value of a form field that is not the file.
pub(crate) const FORM_FIELD_BYTES: usize = 4096;
/// The longest multipart boundary (RFC 2046).
pub(crate) const BOUNDARY_CHARS: usize = 70;
/// Header lines of one request.
pub(crate) const HEADERS: usize = 64;
/// The longest query string, in bytes.
pub(crate) const QUERY_BYTES: usize = 4096;
/// The longest file name, in bytes.
pub(crate) const FILE_NAME_BYTES: usize = 512;
/// Parts beside those that an upload needs: what is sent again because its answer was lost counts until the upload is completed.
pub(crate) const SPARE_PARTS: u64 = 8;
/// How long it can be told what became of an upload, once its time for parts is over.
pub(crate) const UPLOAD_REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// The longest media type, in bytes.
pub(crate) const MIME_BYTES: usize = 128;
/// What is hashed at a time.
pub(crate) const HASH_BYTES: usize = 64 * 1024;
/// How often closing a file in the making is tried again while pieces of it come.
pub(crate) const CLOSE_TRIES: usize = 64;
/// Batches that are worked on at once, over all accounts.
pub(crate) const BATCHES_AT_ONCE: usize = 4;
/// Lines of one batch that are asked at once.
pub(crate) const BATCH_LINES_AT_ONCE: usize = 16;
/// Lines of one batch.
pub(crate) const BATCH_LINES: u64 = 50_000;
/// The longest line of a batch, in bytes.
pub(crate) const BATCH_LINE_BYTES: usize = 1024 * 1024;
/// Pieces that the results of a batch come in, so few that every file can hold them. Each is one commit.
pub(crate) const BATCH_PIECES: u64 = 1000;
/// Faults of an input file that are told.
pub(crate) const BATCH_FAULTS: usize = 100;
/// The longest `custom_id` of a line, in bytes.
pub(crate) const CUSTOM_ID_BYTES: usize = 512;
/// How often a line is asked whose engine is busy or away, and how long is waited before the second time; longer each time.
pub(crate) const BATCH_TRIES: u32 = 6;
/// See [`BATCH_TRIES`].
pub(crate) const BATCH_RETRY: Duration = Duration::from_secs(1);
/// The longest wait that an engine can impose on a line.
pub(crate) const BATCH_RETRY_MOST: Duration = Duration::from_secs(60);
/// How long the files with a batch's results are kept where nothing else is said, as OpenAI does.
pub(crate) const BATCH_OUTPUT_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Batches in one page, and the default.
pub(crate) const BATCHES_PAGE: u32 = 100;
/// See [`BATCHES_PAGE`].
pub(crate) const BATCHES_PAGE_DEFAULT: u32 = 20;
/// The longest id, deployment or model name, in bytes.
pub(crate) const NAME_BYTES: usize = 128;
/// The longest credential, in bytes.
pub(crate) const CREDENTIAL_BYTES: usize = 16 * 1024;
/// The longest name of a fine-tuned model, in bytes: it holds its base model's.
pub(crate) const TUNED_NAME_BYTES: usize = 512;
/// The longest suffix that a fine-tuned model's name may be given, in bytes.
pub(crate) const SUFFIX_BYTES: usize = 64;
/// Files in one page of a listing; also the default.
pub(crate) const FILES_PAGE: u32 = 10_000;
/// Input items in one page, and the default.
pub(crate) const ITEMS_PAGE: u32 = 100;
/// See [`ITEMS_PAGE`].
pub(crate) const ITEMS_PAGE_DEFAULT: u32 = 20;
/// Stored completions opened by one request that lists them, whatever they are filtered by; and how many at a time.
pub(crate) const COMPLETIONS_OPENED: usize = 5_000;
/// See [`COMPLETIONS_OPENED`].
pub(crate) const COMPLETIONS_BATCH: u32 = 16;
/// A page of stored completions that has this many bytes ends before it is full.
pub(crate) const LIST_BYTES: usize = 8 * 1024 * 1024;
/// Choices of one completion.
pub(crate) const CHOICES: u64 = 128;
/// How often a change of a record is tried again while others change it.
pub(crate) const UPDATE_TRIES: usize = 8;
/// Metadata: pairs, characters of a key, characters of a value.
pub(crate) const METADATA_PAIRS: usize = 16;
/// See [`METADATA_PAIRS`].
pub(crate) const METADATA_KEY_CHARS: usize = 64;
/// See [`METADATA_PAIRS`].
pub(crate) const METADATA_VALUE_CHARS: usize = 512;
/// Responses that one conversation may chain through `previous_response_id`.
pub(crate) const CHAIN: usize = 256;
/// Input items of one response.
pub(crate) const INPUT_ITEMS: usize = 4096;
/// Bytes of all messages that a chain of responses sends to an engine.
pub(crate) const CHAIN_BYTES: usize = 16 * 1024 * 1024;
/// Strings of one embeddings request.
pub(crate) const EMBEDDING_INPUTS: usize = 2048;
/// Bytes of text that one answer of an engine may stream into a response.
pub(crate) const OUTPUT_BYTES: usize = 8 * 1024 * 1024;
/// What is handed to the socket at a time: the lease is looked at between two pieces.
pub(crate) const PIECE_BYTES: usize = 128 * 1024;
/// A client that takes nothing of a waiting answer for this long is hung up on.
pub(crate) const STALLED_CLIENT: Duration = Duration::from_secs(120);
/// Answers above this length may still wait in this process when the lease ends; their connection is watched.
pub(crate) const WATCHED_ANSWER_BYTES: usize = 32 * 1024;
/// How long a file with an expiry may be kept: from an hour to 30 days.
pub(crate) const EXPIRES_AFTER: std::ops::RangeInclusive<u64> = 3600..=2_592_000;
/// How long a response is kept where nothing else is said.
pub(crate) const RESPONSE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// What `Retry-After` says where the key's state does not know better.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Events of the store put into the journal at once.
pub(crate) const EVENTS_KEPT: usize = 256;
/// How often events that the journal does not take are tried again.
pub(crate) const KEEP_AGAIN: Duration = Duration::from_secs(1);
/// Fine-tuning jobs, events or checkpoints in one page, and the defaults.
pub(crate) const JOBS_PAGE: u32 = 100;
/// See [`JOBS_PAGE`].
pub(crate) const JOBS_PAGE_DEFAULT: u32 = 20;
/// See [`JOBS_PAGE`].
pub(crate) const CHECKPOINTS_PAGE_DEFAULT: u32 = 10;
/// Trainings at once, over all accounts: each takes all that a machine has.
pub(crate) const TRAININGS_AT_ONCE: usize = 1;
/// How often a training set may be gone through.
pub(crate) const EPOCHS: u32 = 50;
/// Examples of one step.
pub(crate) const BATCH: u32 = 256;
/// The largest multiplier of a learning rate.
pub(crate) const RATE: f64 = 10.0;
/// The largest seed.
pub(crate) const SEED: u64 = 2_147_483_647;
/// Examples that a training set must have, as OpenAI demands.
pub(crate) const EXAMPLES_LEAST: u64 = 10;
/// Examples that a training set may have.
pub(crate) const EXAMPLES_MOST: u64 = 1_000_000;
/// Lines of a training set of which it is said what is wrong with them.
pub(crate) const FAULTS_TOLD: u64 = 10;
/// Checkpoints that a job keeps; those before are shredded, unless they are deployed.
pub(crate) const CHECKPOINTS: usize = 3;
/// Events in one sealed record.
pub(crate) const EVENTS_TOGETHER: u64 = 200;
/// How long an event may wait to be made durable with others.
pub(crate) const EVENTS_WAIT: Duration = Duration::from_secs(1);
