//! Every limit of the program, in one place.

use std::time::Duration;

/// How often `strongroom jobs --follow` looks.
pub(crate) const FOLLOW_JOBS: Duration = Duration::from_millis(500);
/// Connections served at once, per listener.
pub(crate) const CONNECTIONS: usize = 4096;
/// Connections above [`CONNECTIONS`] that still get an answer (503) instead of a closed socket.
pub(crate) const OVERFLOW_CONNECTIONS: usize = 32;
/// A TLS handshake must be over within this time.
pub(crate) const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// A request's head must have arrived within this time; an idle HTTP/1 connection is closed after it too.
pub(crate) const HEADER_READ: Duration = Duration::from_secs(30);
/// A connection that carries no request is closed after this time.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(120);
/// How often an HTTP/2 peer is asked for a sign of life, and how long it may take to give one.
pub(crate) const HTTP2_PING: Duration = Duration::from_secs(30);
/// See [`HTTP2_PING`].
pub(crate) const HTTP2_PING_ANSWER: Duration = Duration::from_secs(20);
/// Requests in flight on one HTTP/2 connection.
pub(crate) const HTTP2_STREAMS: u32 = 128;
/// What an HTTP/2 stream may send ahead: deep enough for an upload, little enough for many that wait for their turn.
pub(crate) const HTTP2_STREAM_WINDOW: u32 = 128 << 10;
/// What an HTTP/2 connection may send ahead: as much as all its streams, so that those which wait never keep the others waiting.
pub(crate) const HTTP2_CONNECTION_WINDOW: u32 = HTTP2_STREAMS * HTTP2_STREAM_WINDOW;
/// Response bytes buffered for one HTTP/2 stream: what is in the buffer outlives a revocation, so it is small.
pub(crate) const HTTP2_SEND_BUFFER: usize = 256 << 10;
/// The head of a request, in bytes.
pub(crate) const REQUEST_HEAD: u32 = 64 << 10;
/// What an HTTP/1 connection may send with no request in flight: a head of the longest and more, so that one that is
/// too long is still told so.
pub(crate) const HEAD_READ: usize = 128 << 10;
/// The head of an HTTP/1 request, see also [`HEAD_READ`], and what is read ahead of its body.
pub(crate) const HTTP1_BUFFER: usize = 512 << 10;
/// After an accept fails for want of resources, how long to wait before the next.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a clean shutdown waits for requests in flight.
pub(crate) const DRAIN: Duration = Duration::from_secs(20);
/// The longest request body of the administrator's routes.
pub(crate) const ADMIN_BODY: usize = 64 << 10;

/// Life of the local certificate authority.
pub(crate) const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Life of the leaf that the TLS listener shows.
pub(crate) const LEAF_LIFE: Duration = Duration::from_secs(60 * 24 * 3600);
/// A leaf of this age is replaced.
pub(crate) const LEAF_RENEWAL: Duration = Duration::from_secs(20 * 24 * 3600);
/// Certificates begin this long before they are made, for clocks that run behind.
pub(crate) const CERTIFICATE_BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// A log file is moved aside at this size.
pub(crate) const LOG_FILE: u64 = 16 << 20;
/// Log files kept beside the current one.
pub(crate) const LOG_FILES_KEPT: u32 = 3;

/// How often the journals' checkpoints are signed anew: what happened since the latest is not covered by it.
pub(crate) const CHECKPOINT: Duration = Duration::from_secs(60);

/// What a command waits for an answer of the running instance.
pub(crate) const COMMAND_ANSWER: Duration = Duration::from_secs(60);
/// How long a command waits until a deployment is made.
pub(crate) const COMMAND_MAKING: Duration = Duration::from_secs(600);
/// How much of a file a command reads at a time.
pub(crate) const COMMAND_PIECE: usize = 256 << 10;
/// How long a command may take to bring a file.
pub(crate) const COMMAND_TRANSFER: Duration = Duration::from_secs(6 * 3600);
/// How long a command waits before it asks again whether something has ended.
pub(crate) const COMMAND_POLL: Duration = Duration::from_millis(200);
/// The longest answer a command reads into memory: a list of as many principals as there may be.
pub(crate) const COMMAND_ANSWER_BYTES: usize = 64 << 20;

/// The shortest and the longest `--revocation-bound`.
pub(crate) const REVOCATION_BOUND: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);
/// The longest `--outage-grace`.
pub(crate) const OUTAGE_GRACE: Duration = Duration::from_secs(24 * 3600);
/// The shortest and the longest `--erase-within`.
pub(crate) const ERASURE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Deleted content is erased from the live store within this time, if nothing else is said.
pub(crate) const ERASE_WITHIN: Duration = Duration::from_secs(60);
/// What a proxy tunnel moves at a time, each way.
pub(crate) const TUNNEL_BUFFER: usize = 64 << 10;
/// Identities for which a client of vaults, with its connections and tokens, is kept.
pub(crate) const VAULT_CLIENTS: usize = 1024;
/// How long the store may take to hear of a change of an account's key.
pub(crate) const BINDING_HEARD: Duration = Duration::from_secs(10);
/// How often the leaf's age is looked at.
pub(crate) const LEAF_CHECK: Duration = Duration::from_secs(6 * 3600);
/// How long the start waits for an upstream's list of models.
pub(crate) const UPSTREAM_ANSWER: Duration = Duration::from_secs(2);
/// How often an upstream that did not list its models is asked again.
pub(crate) const UPSTREAM_RETRY: Duration = Duration::from_secs(5);
/// After this time an answer that was handed to an HTTP/2 connection counts as sent.
pub(crate) const HTTP2_FLUSH: Duration = Duration::from_secs(5);

/// How often progress is shown on a terminal, and how often a line of it is written elsewhere.
pub(crate) const PROGRESS_ON_TERMINAL: Duration = Duration::from_millis(100);
/// See [`PROGRESS_ON_TERMINAL`].
pub(crate) const PROGRESS_IN_LINES: Duration = Duration::from_secs(10);

/// Bytes of a file that is given to verify a package of evidence with, or of a map of pseudonyms.
pub(crate) const EVIDENCE_GIVEN_BYTES: u64 = 64 * 1024 * 1024;
