//! Sealed records and blobs under leased keys.
//!
//! A caller shows a [`Permit`], the keyring lends a lease on the account's branch key, the body is sealed, and only the
//! type `Sealed` enters a back end. See ARCHITECTURE.md, "Life of an upload".

mod blobs;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod event;
#[cfg(any(test, feature = "conformance"))]
mod faults;
mod jobs;
mod keyring;
mod limits;
mod object;
mod permit;
mod reading;
mod records;
mod rotation;
mod sealing;
mod staging;
mod store;
#[cfg(test)]
mod tests;
mod traces;

// The public interface is:
pub use config::StoreConfig;
pub use error::{Corruption, OpenStoreError, StorageFault, StoreError};
pub use event::{NotKept, StoreEvent, Witness};
pub use jobs::{JobEnd, JobHandler, JobId, JobState, JobStatus, JobStop, JobTurn, Unit, Wish};
pub use keyring::{
    Anchor, AnchorError, AnchorKeeper, Binding, KeyDenied, KeyState, KeyStatus, LastAnswer, Lease, Vaults,
};
pub use object::{
    Change, Expiry, KeyVersionNeed, Listing, Meta, NewObject, Object, Order, Page, PartSize, Statistics,
    Usage,
};
pub use permit::{Action, Permit, PermitAuthority};
pub use reading::{BlobReader, StoredReader, TinkExport};
pub use staging::{BlobWriter, StagedBlob};
pub use store::Store;
/// The identity that every permit and key is bound to, for users that know no key types.
pub use strongroom_seal::AccountId;
