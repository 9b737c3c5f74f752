//! Private keys at rest: each sealed under an object key of its own, bound to vault, key name and version, and wrapped under
//! a key that is derived from the root key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use strongroom_seal::{
    AccountId, BranchKey, BranchVersion, CheckValue, Context, ObjectKey, OpenError, SealError, Secret,
    WrappedKey,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::engine::KeyPath;
use crate::engine::fault::VaultFault;
use crate::engine::keys::PrivateKey;
use crate::engine::rows::Kept;
use crate::engine::settings::KeyVersion;
use crate::limits::CACHED_KEYS;

/// The kind in the sealing context of a private key, and of a backup.
const KIND: &str = "vault-key";
const BACKUP: &str = "vault-backup";

pub(crate) struct Safe {
    store: AccountId,
    branch: BranchKey,
    opened: Mutex<Opened>,
    ready: RwLock<Remembered>,
}

/// A version with its private key, ready for use.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) key: Arc<KeyVersion>,
    pub(crate) private: Arc<dyn PrivateKey>,
}

/// What was found for those who asked, as of one state of the database.
#[derive(Default)]
struct Remembered {
    changes: u64,
    keys: HashMap<KeyPath, Ready>,
}

#[derive(Default)]
struct Opened {
    /// By row id. Ids are never used twice.
    keys: HashMap<i64, Arc<dyn PrivateKey>>,
    /// How often all were dropped.
    closings: u64,
}

/// Since when a use of a key is under way. What was read before a closing is not kept after it.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'a> {
    safe: &'a Safe,
    closings: u64,
}

impl Safe {
    /// A safe with a fresh store id, which must be stored beside the check value.
    pub(crate) fn begin(root: &Secret<32>) -> Result<(Self, [u8; 16]), VaultFault> {
        let store = Uuid::new_v4();
        let account = AccountId::from_uuid(store);
        let branch = BranchKey::derive(root, account, BranchVersion::FIRST)?;
        Ok((Self::over(account, branch), *store.as_bytes()))
    }

    /// The safe of an existing store, if `root` is its root key.
    pub(crate) fn resume(root: &Secret<32>, store: [u8; 16], check: [u8; 32]) -> Result<Self, OpenError> {
        let account = AccountId::from_uuid(Uuid::from_bytes(store));
        let check = CheckValue::from_bytes(check);
        let branch = BranchKey::derive_checked(root, account, BranchVersion::FIRST, check)?;
        Ok(Self::over(account, branch))
    }

    fn over(store: AccountId, branch: BranchKey) -> Self {
        Self {
            store,
            branch,
            opened: Mutex::default(),
            ready: RwLock::default(),
        }
    }

    pub(crate) fn check_value(&self) -> CheckValue {
        self.branch.check_value()
    }

    /// Seals a private key for the disk.
    pub(crate) fn seal(&self, key: &KeyPath, version: &str, private: &[u8]) -> Result<Kept, VaultFault> {
        self.seal_as(KIND, &context_id(key, version), private)
    }

    /// Opens a private key from the disk.
    pub(crate) fn open(
        &self,
        key: &KeyPath,
        version: &str,
        kept: &Kept,
    ) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
        self.open_as(KIND, &context_id(key, version), kept)
    }

    /// Seals a backup for vaults of this subscription in this installation.
    pub(crate) fn seal_backup(&self, subscription: &str, backup: &[u8]) -> Result<Kept, VaultFault> {
        self.seal_as(BACKUP, subscription, backup)
    }

    /// Opens a backup that was made for this subscription in this installation.
    pub(crate) fn open_backup(
        &self,
        subscription: &str,
        kept: &Kept,
    ) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
        self.open_as(BACKUP, subscription, kept)
            .map_err(|_| VaultFault::ForeignBackup)
    }

    fn seal_as(&self, kind: &str, id: &str, plain: &[u8]) -> Result<Kept, VaultFault> {
        let context = Context::new(self.store, kind, id, 0).map_err(|_| VaultFault::Library)?;
        let object = ObjectKey::generate()?;
        let sealed = object.seal_record(&context, plain)?;
        let wrapped = self.branch.wrap(&context, &object)?.as_bytes().to_vec();
        Ok(Kept { wrapped, sealed })
    }

    fn open_as(&self, kind: &str, id: &str, kept: &Kept) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
        let context = Context::new(self.store, kind, id, 0).map_err(|_| VaultFault::Unusable)?;
        let wrapped = WrappedKey::parse(&kept.wrapped)?;
        let object = self.branch.unwrap(&context, &wrapped)?;
        Ok(object.open_record(&context, &kept.sealed)?)
    }

    /// What was found for this path, if nothing changed since.
    pub(crate) fn ready(&self, key: &KeyPath, changes: u64) -> Option<Ready> {
        let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
        (ready.changes == changes)
            .then(|| ready.keys.get(key).cloned())
            .flatten()
    }

    /// Remembers what was found for this path while the database was as of `changes`; `current` asks how it is now.
    pub(crate) fn remember(&self, key: KeyPath, found: Ready, changes: u64, current: impl FnOnce() -> u64) {
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        // Asked under the lock: a deletion counts as a change first, and then has everything forgotten.
        if current() != changes {
            return;
        }
        if ready.changes != changes || ready.keys.len() >= CACHED_KEYS {
            ready.keys.clear();
            ready.changes = changes;
        }
        ready.keys.insert(key, found);
    }

    /// To be called before a row is looked up whose key is to be opened.
    pub(crate) fn enter(&self) -> Visit<'_> {
        Visit {
            safe: self,
            closings: self.opened().closings,
        }
    }

    /// Drops all opened keys: after a deletion none of the deleted may linger.
    pub(crate) fn close_all(&self) {
        let mut opened = self.opened();
        opened.keys.clear();
        opened.closings += 1;
        drop(opened);
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        ready.keys.clear();
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit<'_> {
    /// The opened key of this row: from memory, or by `load`ing what the disk holds.
    pub(crate) fn open(
        &self,
        row: i64,
        key: &KeyPath,
        version: &str,
        kept: impl FnOnce() -> Result<Kept, VaultFault>,
        load: impl FnOnce(&[u8]) -> Result<Arc<dyn PrivateKey>, VaultFault>,
    ) -> Result<Arc<dyn PrivateKey>, VaultFault> {
        if let Some(opened) = self.safe.opened().keys.get(&row) {
            return Ok(Arc::clone(opened));
        }
        let private = self.safe.open(key, version, &kept()?)?;
        let loaded = load(&private)?;
        let mut opened = self.safe.opened();
        if opened.closings == self.closings {
            if opened.keys.len() >= CACHED_KEYS {
                opened.keys.clear();
            }
            opened.keys.insert(row, Arc::clone(&loaded));
        }
        Ok(loaded)
    }
}

/// Names are compared without letter case, so the context is spelled in lower case.
fn context_id(key: &KeyPath, version: &str) -> String {
    format!("{}/{}/{version}", key.vault, key.name).to_ascii_lowercase()
}

impl From<SealError> for VaultFault {
    fn from(_: SealError) -> Self {
        Self::Library
    }
}

impl From<OpenError> for VaultFault {
    fn from(_: OpenError) -> Self {
        Self::Unusable
    }
}
