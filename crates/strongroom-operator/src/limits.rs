//! Every number that bounds this crate.

/// Readable text shorter than this is not reported: the names in the format are full of it.
pub(crate) const READABLE_RUN: usize = 32;

/// Faults that a report names one by one; further ones are only counted.
pub(crate) const NAMED_FAULTS: usize = 1000;

/// Bytes read at once when a file is looked through.
pub(crate) const CHUNK: usize = 1024 * 1024;

/// How deep `service/blobs` may nest.
pub(crate) const FOLDER_DEPTH: usize = 2;
