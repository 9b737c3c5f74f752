//! Every number that bounds this crate.

use std::time::Duration;

/// Readable text shorter than this is not reported: the names in the format are full of it.
pub(crate) const READABLE_RUN: usize = 32;

/// A run of name characters at least this long is a name: words of prose are shorter.
pub(crate) const LONG_NAME: usize = 20;

/// How long a blob may be durable before its record commits. A live service takes milliseconds.
pub(crate) const COMMIT_WAIT: Duration = Duration::from_secs(1);

/// Faults that a report names one by one; further ones are only counted.
pub(crate) const NAMED_FAULTS: usize = 1000;

/// Bytes read at once when a file is looked through.
pub(crate) const CHUNK: usize = 1024 * 1024;

/// How deep `service/blobs` may nest.
pub(crate) const FOLDER_DEPTH: usize = 2;
