//! The evidence package: what was read and what was judged of it, as files that an auditor verifies without this program.
//!
//! Everything in it is a function of the run, its facts, the judgement and the keys: made again from the same, it has the same bytes. The
//! formats are in `docs/evidence.md`; `strongroom-evidence` reads them and shares no code with what is here.

pub mod answers;
mod completeness;
mod csv;
mod error;
mod findings;
mod home;
mod html;
mod key;
mod log;
mod manifest;
mod markdown;
mod oscal;
mod readme;
mod redact;
mod staging;
mod statement;
mod vault_key;
mod words;
mod write;
mod zip;

pub use error::PackageError;
pub use home::Home;
pub use key::{LocalKey, PublicKey, SignError, Signer};
pub use log::EvidenceLog;
pub use redact::{Class as RedactionClass, Redacted, RedactionKey, Redactor};
pub use vault_key::VaultKey;
pub use write::{Contents, Written, write};

#[cfg(test)]
mod tests;
