//! An append-only journal that an outsider can check.
//!
//! Entries are opaque bytes. Each append is durable before its receipt resolves (many appends share
//! one `fdatasync`). The entries are also the leaves of a transparency log in the C2SP formats
//! ([tlog-tiles], [tlog-checkpoint], [signed-note]): anyone who kept an earlier checkpoint can prove
//! that nothing before it was changed, removed or reordered since.
//!
//! The crate does not know what is journalled. Vault, control plane and service each keep one.
//!
//! [tlog-tiles]: https://c2sp.org/tlog-tiles
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [signed-note]: https://c2sp.org/signed-note

mod error;
mod journal;
mod limits;
mod note;
mod tiles;
mod tree;

// The public interface is:
pub use error::JournalError;
pub use journal::{Journal, Receipt};
pub use limits::MAX_ENTRY_BYTES;
pub use note::{Checkpoint, SigningKey, VerifyingKey};
pub use tree::{Hash, leaf_hash, verify_consistency, verify_inclusion};
