//! The embedded Key Vault: keys that never leave it, their versions and attributes, durable before any answer.

pub(crate) mod fault;
pub(crate) mod keys;
pub(crate) mod kinds;
pub(crate) mod maintenance;
pub(crate) mod period;
pub(crate) mod policy;
pub(crate) mod root_key;
pub(crate) mod settings;

mod backup;
mod changes;
mod database;
mod rows;
mod safe;
mod software;
#[cfg(test)]
mod tests;
pub(crate) mod uses;
mod vault_rows;
#[cfg(test)]
mod vault_tests;
mod vaults;

use std::fs::{File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use strongroom_seal::Clock;
use tokio::sync::{Notify, Semaphore, broadcast};

use crate::engine::database::{Database, FORMAT, RootRow};
use crate::engine::fault::VaultFault;
use crate::engine::keys::KeyBackend;
use crate::engine::root_key::{RootKey, RootKeyError};
use crate::engine::safe::Safe;
use crate::engine::settings::{DeletedKey, KeyChanged, KeyVersion, Page, PageStart, VaultSettings};
use crate::engine::software::SoftwareKeys;
use crate::engine::vaults::Registry;
use crate::limits::{CHANGE_QUEUE, CONCURRENT_GENERATIONS, CONCURRENT_OPERATIONS};

/// The engine: every vault in one folder. Clones share it.
#[derive(Clone)]
pub struct VaultEngine {
    inner: Arc<Inner>,
    turns: Arc<Semaphore>,
    generations: Arc<Semaphore>,
}

pub(crate) struct Inner {
    database: Database,
    safe: Safe,
    backend: Box<dyn KeyBackend>,
    clock: Arc<dyn Clock>,
    changes: broadcast::Sender<KeyChanged>,
    /// Wakes maintenance: something may be due sooner than it thinks.
    stirred: Notify,
    vaults: Registry,
    /// Held as long as the engine lives: one engine per folder.
    _lock: File,
}

/// The engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenVaultError {
    /// Another process has the folder open. Stop that one first.
    #[error("the vault folder is in use by another process")]
    InUse,
    /// The root key is not the one that this folder's keys are sealed under. Bring the right one.
    #[error("the root key (or passphrase) is not the one this vault was made with")]
    WrongRootKey,
    /// The database was written by another version of the program.
    #[error("the vault's database has format {0}, which this program does not know")]
    UnknownFormat(u32),
    /// The root key cannot be had.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// The folder could not be made, locked or synchronised.
    #[error("the vault folder cannot be used")]
    Io(#[from] std::io::Error),
    /// The database could not be opened.
    #[error("the vault's database cannot be opened: {0}")]
    Database(String),
}

impl VaultEngine {
    /// Opens the vaults in `folder`, making it if it is not there.
    pub fn open(folder: &Path, root: RootKey, clock: Arc<dyn Clock>) -> Result<Self, OpenVaultError> {
        std::fs::create_dir_all(folder)?;
        if let Some(above) = folder.parent().filter(|above| above.is_dir()) {
            File::open(above)?.sync_all()?;
        }
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700))?;
        let lock = lock(&folder.join("lock"))?;
        let database = Database::open(&folder.join("vault.db")).map_err(open_failed)?;
        let safe = match database.format().map_err(open_failed)? {
            0 => begin(&database, &root)?,
            FORMAT => resume(&database, &root)?,
            other => return Err(OpenVaultError::UnknownFormat(other)),
        };
        File::open(folder)?.sync_all()?;
        let (changes, _) = broadcast::channel(CHANGE_QUEUE);
        let vaults = Registry::new(database.read(vault_rows::all).map_err(open_failed)?);
        let inner = Inner {
            database,
            safe,
            backend: Box::new(SoftwareKeys),
            clock,
            changes,
            stirred: Notify::new(),
            vaults,
            _lock: lock,
        };
        // A process that was killed leaves its log behind, whatever it holds.
        inner.database.log_is_due();
        inner.sweep().map_err(open_failed)?;
        Ok(Self {
            inner: Arc::new(inner),
            turns: Arc::new(Semaphore::new(CONCURRENT_OPERATIONS)),
            generations: Arc::new(Semaphore::new(CONCURRENT_GENERATIONS)),
        })
    }

    /// Every change to a key from now on. A hint to ask again, not an answer.
    pub fn subscribe(&self) -> broadcast::Receiver<KeyChanged> {
        self.inner.changes.subscribe()
    }

    /// A key's version, the latest if none is named. Disabled ones are shown too.
    pub async fn key(
        &self,
        vault: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<KeyVersion, VaultFault> {
        let key = KeyPath::new(vault, name, version);
        self.work(move |inner| inner.database.read(|view| Ok(key.find(view, inner.now())?.0)))
            .await
    }

    /// The latest version of each key, by name.
    pub async fn list_keys(&self, vault: &str, start: PageStart) -> Result<Page<KeyVersion>, VaultFault> {
        let vault = vault.to_owned();
        self.work(move |inner| {
            inner.database.read(|view| {
                vault_rows::check_live(view, &vault)?;
                rows::list_keys(view, &vault, &start)
            })
        })
        .await
    }

    /// A key's versions, oldest first.
    pub async fn list_versions(
        &self,
        vault: &str,
        name: &str,
        start: PageStart,
    ) -> Result<Page<KeyVersion>, VaultFault> {
        let key = KeyPath::new(vault, name, None);
        self.work(move |inner| {
            inner.database.read(|view| {
                let row = key.live(view, inner.now())?;
                rows::list_versions(view, row.id, &start)
            })
        })
        .await
    }

    /// A deleted key that can still be recovered.
    pub async fn deleted_key(&self, vault: &str, name: &str) -> Result<DeletedKey, VaultFault> {
        let key = KeyPath::new(vault, name, None);
        self.work(move |inner| {
            inner
                .database
                .read(|view| key.deleted(view, inner.now()).map(|(_, deleted)| deleted))
        })
        .await
    }

    /// Deleted keys that can still be recovered, by name.
    pub async fn list_deleted(&self, vault: &str, start: PageStart) -> Result<Page<DeletedKey>, VaultFault> {
        let vault = vault.to_owned();
        self.work(move |inner| {
            inner.database.read(|view| {
                vault_rows::check_live(view, &vault)?;
                rows::list_deleted(view, &vault, inner.now(), &start)
            })
        })
        .await
    }

    /// Runs blocking work off the async threads, in turn.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, VaultFault> + Send + 'static,
    ) -> Result<T, VaultFault> {
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|_| VaultFault::Closed)?;
        self.run(turn, work).await
    }

    /// As [`Self::work`], in the line of key generations, so that nothing else waits behind them.
    async fn generate<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, VaultFault> + Send + 'static,
    ) -> Result<T, VaultFault> {
        let turn = Arc::clone(&self.generations)
            .acquire_owned()
            .await
            .map_err(|_| VaultFault::Closed)?;
        self.run(turn, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        turn: tokio::sync::OwnedSemaphorePermit,
        work: impl FnOnce(&Inner) -> Result<T, VaultFault> + Send + 'static,
    ) -> Result<T, VaultFault> {
        let inner = Arc::clone(&self.inner);
        // The turn ends with the work, even when nobody waits for the result any more.
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&inner);
            drop(turn);
            result
        });
        done.await.map_err(|_| VaultFault::Closed)?
    }
}

impl Inner {
    fn now(&self) -> u64 {
        self.clock.now().wall.as_secs()
    }

    fn sweep(&self) -> Result<usize, VaultFault> {
        let now = self.now();
        let vaults = self.sweep_vaults_in_turn(now)?;
        let destroyed = self
            .database
            .write(|transaction| self.sweep_within(transaction, now))?;
        if destroyed > 0 {
            self.safe.close_all();
            self.database.forget_log()?;
        }
        Ok(vaults + destroyed)
    }

    /// As part of a change. What was destroyed is in the log until that is emptied, at the next chance.
    fn sweep_within(&self, transaction: &rusqlite::Transaction<'_>, now: u64) -> Result<usize, VaultFault> {
        let destroyed = rows::sweep(transaction, now)?;
        if destroyed > 0 {
            self.database.log_is_due();
        }
        Ok(destroyed)
    }

    /// Announces a change, spelled as vault and key were made and not as the caller spelled them.
    fn announce(&self, vault: &str, key: &str, version: Option<&str>) {
        let change = KeyChanged {
            vault: self.vaults.spelled(vault),
            key: Some(key.to_owned()),
            version: version.map(ToOwned::to_owned),
        };
        // Nobody listening is no error.
        let _ = self.changes.send(change);
        self.stirred.notify_one();
    }

    /// Announces that a vault was changed as a whole.
    fn announce_vault(&self, vault: &VaultSettings) {
        let change = KeyChanged {
            vault: vault.name.clone(),
            key: None,
            version: None,
        };
        let _ = self.changes.send(change);
        self.stirred.notify_one();
    }
}

/// Which key is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct KeyPath {
    vault: String,
    name: String,
    version: Option<String>,
}

impl KeyPath {
    fn new(vault: &str, name: &str, version: Option<&str>) -> Self {
        Self {
            vault: vault.to_owned(),
            name: name.to_owned(),
            version: version.map(ToOwned::to_owned),
        }
    }

    fn not_found(&self) -> VaultFault {
        VaultFault::KeyNotFound(match &self.version {
            Some(version) => format!("{}/{version}", self.name),
            None => self.name.clone(),
        })
    }

    /// The key, if it exists and is not deleted.
    fn live(&self, view: &rusqlite::Connection, now: u64) -> Result<rows::KeyRow, VaultFault> {
        vault_rows::check_live(view, &self.vault)?;
        match rows::key(view, &self.vault, &self.name, now)? {
            Some(row) if row.deleted.is_none() => Ok(row),
            _ => Err(self.not_found()),
        }
    }

    /// The version, the latest if none is named, with its row id.
    fn find(&self, view: &rusqlite::Connection, now: u64) -> Result<(KeyVersion, i64), VaultFault> {
        let row = self.live(view, now)?;
        rows::version(view, row.id, self.version.as_deref())?.ok_or_else(|| self.not_found())
    }

    fn deleted(&self, view: &rusqlite::Connection, now: u64) -> Result<(i64, DeletedKey), VaultFault> {
        vault_rows::check_live(view, &self.vault)?;
        let row = rows::key(view, &self.vault, &self.name, now)?.ok_or_else(|| self.not_found())?;
        let (deleted, purge) = row.deleted.ok_or_else(|| self.not_found())?;
        let (latest, _) = rows::version(view, row.id, None)?.ok_or_else(|| self.not_found())?;
        Ok((
            row.id,
            DeletedKey {
                latest,
                deleted,
                purge,
            },
        ))
    }
}

fn lock(path: &Path) -> Result<File, OpenVaultError> {
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenVaultError::InUse),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn begin(database: &Database, root: &RootKey) -> Result<Safe, OpenVaultError> {
    let root = root.begin()?;
    let (safe, store) = Safe::begin(&root.key).map_err(open_failed)?;
    let row = RootRow {
        store,
        check_value: *safe.check_value().as_bytes(),
        stretch: root.stretch,
    };
    database.begin(&row).map_err(open_failed)?;
    Ok(safe)
}

fn resume(database: &Database, root: &RootKey) -> Result<Safe, OpenVaultError> {
    let row = database.root().map_err(open_failed)?;
    let root = root.resume(row.stretch)?;
    Safe::resume(&root.key, row.store, row.check_value).map_err(|_| OpenVaultError::WrongRootKey)
}

fn open_failed(fault: VaultFault) -> OpenVaultError {
    OpenVaultError::Database(fault.to_string())
}
