//! The embedded Key Vault, and the client for any Key Vault.

mod access;
mod engine;
mod limits;
#[cfg(test)]
mod testing;

// The public interface is:
pub use access::{Access, Caller, Decision, KeyAction};
pub use engine::fault::VaultFault;
pub use engine::keys::{KeyFault, KeySpec, PublicHalf};
pub use engine::root_key::{RootKey, RootKeyError};
pub use engine::settings::{
    DeletedKey, KeyChange, KeyChanged, KeyOperation, KeyVersion, NewKey, Page, PageStart, Tags, VaultSettings,
};
pub use engine::{OpenVaultError, VaultEngine};
