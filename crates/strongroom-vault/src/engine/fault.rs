//! Why the engine did not do what it was asked.

use crate::engine::keys::KeyFault;
use crate::engine::settings::KeyOperation;

/// Why an operation on a vault was not done. Each says what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultFault {
    /// There is no such vault.
    #[error("there is no vault {0}")]
    NoSuchVault(String),
    /// No vault can have this name. Choose another.
    #[error(
        "{0} is no name for a vault: it has 3 to 24 letters, digits and single hyphens, begins with a letter and ends with a \
         letter or digit"
    )]
    VaultName(String),
    /// A vault of this name exists. Choose another.
    #[error("a vault {0} exists already")]
    VaultExists(String),
    /// The name belongs to a deleted vault. Recover that one, purge it, wait, or choose another name.
    #[error("a vault {0} is in a deleted but recoverable state, and its name cannot be reused")]
    VaultHeld(String),
    /// Something that no change may touch.
    #[error("{0} cannot be changed")]
    Fixed(&'static str),
    /// There is no such key or version, or the key is deleted.
    #[error("a key with (name/id) {0} was not found in this key vault")]
    KeyNotFound(String),
    /// A key of this name exists, where none may. Delete and purge that one, or leave it.
    #[error("key {0} exists already")]
    KeyExists(String),
    /// The name belongs to a deleted key. Recover that one, wait, or choose another name.
    #[error("key {0} is currently in a deleted but recoverable state, and its name cannot be reused")]
    NameHeld(String),
    /// The key version is disabled. Enable it first.
    #[error("operation {} is not allowed on a disabled key", .0.name())]
    Disabled(KeyOperation),
    /// The key version is not valid yet.
    #[error("operation {} is not allowed on a key that is not yet valid", .0.name())]
    NotYetValid(KeyOperation),
    /// The key version has expired.
    #[error("operation {} is not allowed on an expired key", .0.name())]
    Expired(KeyOperation),
    /// The key's list of permitted operations lacks this one.
    #[error("operation {} is not permitted on this key", .0.name())]
    NotPermitted(KeyOperation),
    /// Deleted keys of this vault, and the vault itself, cannot be purged before their time.
    #[error("operation purge is not allowed because purge protection is enabled for this vault")]
    PurgeProtected,
    /// A name, number or list is not acceptable.
    #[error("{0}")]
    BadParameter(&'static str),
    /// A limit on how many may exist is reached.
    #[error("{0}")]
    TooMany(&'static str),
    /// The value has the wrong length for the key and algorithm.
    #[error("the value has the wrong length for this key and algorithm")]
    WrongLength,
    /// Keys of this kind do not work by this algorithm.
    #[error("the algorithm is not one for keys of this kind")]
    WrongAlgorithm,
    /// The value was not made with this key and algorithm.
    #[error("the value was not made with this key and algorithm")]
    NotAuthentic,
    /// The key to import is incomplete, or its parts do not belong together.
    #[error("the key to import is incomplete, or its parts do not belong together")]
    NotAKey,
    /// The backup was not made by this installation in this subscription, or was altered.
    #[error("the backup was not made in this subscription by this installation, or was altered")]
    ForeignBackup,
    /// Keys here never leave in the clear, and therefore are not released either.
    #[error("operation release is not allowed: no key of this vault is exportable")]
    NotExportable,
    /// The private key on disk does not open or does not fit: the storage was altered or the root key is another.
    #[error("the stored private key cannot be used")]
    Unusable,
    /// The database failed. The detail is for the log.
    #[error("the vault's database failed: {0}")]
    Database(String),
    /// The cryptographic library or the system's randomness failed.
    #[error("the cryptographic library failed")]
    Library,
    /// The vault is shutting down.
    #[error("the vault is closed")]
    Closed,
}

impl From<KeyFault> for VaultFault {
    fn from(fault: KeyFault) -> Self {
        match fault {
            KeyFault::WrongLength => Self::WrongLength,
            KeyFault::WrongAlgorithm => Self::WrongAlgorithm,
            KeyFault::NotAuthentic => Self::NotAuthentic,
            KeyFault::NotAKey => Self::NotAKey,
            KeyFault::Unusable => Self::Unusable,
            KeyFault::Library => Self::Library,
        }
    }
}

impl From<rusqlite::Error> for VaultFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}
