//! Verifies evidence packages: a folder or a zip, offline, on a machine that has never seen what was judged.
//!
//! Written from `docs/evidence.md`. It shares no code with what makes packages, and none with the rest of the workspace: it needs no
//! runtime, no TLS and no network, so that an auditor can read and build it alone (`strongroom-evidence-verify`).
//!
//! Everything in a package is either named with its SHA-256 in the manifest, or one of five files whose bytes are determined: the
//! manifest (its digest is what is signed), the two statements, the checkpoint and the log (each is rebuilt from what it says and
//! compared to the letter). In a zip, everything between the files is rebuilt and compared too. So no byte can change unseen.
//!
//! What that does *not* prove without a key from elsewhere is who signed: whoever changes a package can sign it anew. A [`Verdict`] says
//! whose word it rests on.

mod completeness;
mod crc;
mod defect;
mod dsse;
mod folder;
mod keys;
mod limits;
mod manifest;
mod note;
mod package;
mod tree;
mod verdict;
mod verify;
mod zip;

// The public interface is:
pub use completeness::Completeness;
pub use defect::{Defect, PackageError};
pub use keys::TrustedKey;
pub use verdict::{LogVerdict, Pinned, Verdict, Word};
pub use verify::{Trust, verify, verify_zip};
