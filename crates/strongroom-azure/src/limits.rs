//! Every number that bounds this crate.

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
