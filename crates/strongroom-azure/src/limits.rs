//! Every number that bounds this crate.

use std::time::Duration;

/// Longest api-version accepted, in bytes.
pub(crate) const API_VERSION: usize = 32;

/// Longest resource id, in bytes (Resource Manager allows about as much in a URL).
pub(crate) const RESOURCE_ID: usize = 2048;

/// Longest value of a `WWW-Authenticate` header that is parsed, in bytes.
pub(crate) const CHALLENGE: usize = 4096;

/// Longest token that is looked at, in bytes. Entra's own stay well below.
pub(crate) const TOKEN: usize = 16 * 1024;

/// How far a token's times may lie off, in seconds: clocks of different machines differ.
pub(crate) const CLOCK_SKEW_SECONDS: u64 = 60;

/// Keys that one set of an issuer may have.
pub(crate) const KEYS_IN_SET: usize = 64;

/// Largest published set of keys, in bytes.
pub(crate) const KEY_SET: usize = 256 * 1024;

/// Longest id of a key, in bytes.
pub(crate) const KEY_NAME: usize = 256;

/// Longest life of an access token, in seconds: Entra gives up to 28 hours to clients that can be told of a revocation.
pub(crate) const TOKEN_LIFE_SECONDS: u64 = 29 * 3600;

/// Signatures that are remembered as verified, 32 bytes each, in each of two generations.
pub(crate) const SIGNATURES_REMEMBERED: usize = 1024;

/// How far an assertion's times may lie off, in seconds. Its maker is another machine.
pub(crate) const ASSERTION_SKEW_SECONDS: u64 = 300;

/// Largest certificate that is looked at, in bytes of DER.
pub(crate) const CERTIFICATE: usize = 16 * 1024;

/// Fields that a form may have.
pub(crate) const FORM_FIELDS: usize = 64;

/// Fetched keys are fetched anew after so many seconds.
pub(crate) const KEYS_FRESH_SECONDS: u64 = 3600;

/// Keys are fetched for an id that is not known at most once in so many seconds.
pub(crate) const KEYS_REFRESH_SECONDS: u64 = 300;

/// After a fetch that failed, the next one waits so many seconds.
pub(crate) const KEYS_RETRY_SECONDS: u64 = 30;

/// The last good keys count for so many seconds while their issuer is silent.
pub(crate) const KEYS_KEPT_SECONDS: u64 = 24 * 3600;

/// How long one fetch of keys may take, connection included.
pub(crate) const KEYS_FETCH: Duration = Duration::from_secs(5);
