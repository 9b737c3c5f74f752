//! Sealed records and blobs under leased keys.
