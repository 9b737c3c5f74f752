//! Formats and key types of Strongroom.
//!
//! Everything here is pure: bytes in, bytes out. No files, no network, no runtime, no clock of its own. The formats are described
//! for strangers in `docs/format.md` and pinned by the files in `vectors/`. Cryptography comes from AWS-LC; only the formats are ours.
//!
//! ```
//! use strongroom_seal::{AccountId, BranchKey, BranchVersion, Context, ObjectKey, Secret, WrappedKey};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let account: AccountId = "3f2504e0-4f89-41d3-9a0c-0305e82c3301".parse()?;
//! let seed = Secret::random()?; // in life, the vault unwraps it
//! let branch = BranchKey::derive(&seed, account, BranchVersion::FIRST)?;
//!
//! let context = Context::new(account, "file", "file-abc", 0)?;
//! let key = ObjectKey::generate()?;
//! let record = key.seal_record(&context, b"hello")?;
//! let wrapped = branch.wrap(&context, &key)?;
//!
//! let key = branch.unwrap(&context, &WrappedKey::parse(wrapped.as_bytes())?)?;
//! assert_eq!(key.open_record(&context, &record)?.as_slice(), b"hello");
//! # Ok(())
//! # }
//! ```

mod account;
mod blob;
mod branch;
mod clock;
mod context;
mod error;
mod export;
mod key_id;
mod key_wrap;
mod object;
mod page;
mod secret;
mod wrapped;
mod xaes;

pub mod limits;

pub use account::{AccountId, AccountIdError};
pub use blob::layout as blob_layout;
pub use blob::{BlobOpener, BlobSealer, StreamError, open_range, open_stream, seal_stream};
pub use branch::{BranchKey, BranchVersion, CheckValue, CheckValueError, Endorsement};
pub use clock::{Age, Clock, Moment};
pub use context::{Context, ContextError};
pub use error::{OpenError, SealError};
pub use export::TinkKeyset;
pub use key_id::{KeyId, KeyIdError, KeyName};
pub use key_wrap::{
    BoxFuture, KeyDescription, KeyWrap, NoAnswer, VaultError, WrapAlgorithm, WrappedSeed, WrappedSeedError,
};
pub use object::{ObjectKey, RECORD_OVERHEAD};
pub use secret::Secret;
pub use wrapped::WrappedKey;

#[cfg(test)]
mod tests;
