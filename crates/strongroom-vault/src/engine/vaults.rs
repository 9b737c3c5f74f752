//! Vaults: making, changing, deleting, recovering, purging them. What every request asks of them is answered from memory;
//! what changes them is on disk first, and blocks for as long as that takes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::engine::changes::SECONDS_PER_DAY;
use crate::engine::fault::VaultFault;
use crate::engine::settings::{DeletedVault, VaultSettings};
use crate::engine::vault_rows::{self, VaultRow};
use crate::engine::{Inner, VaultEngine};
use crate::limits::{
    MAX_IP_RULES, MAX_KEPT_PROPERTIES, MAX_NETWORK_RULES, MAX_POLICIES, MAX_SETTING_TEXT, MAX_TAG_TEXT,
    MAX_VAULT_TAG_NAME, MAX_VAULT_TAGS, MAX_VAULTS, SOFT_DELETE_DAYS,
};

/// All vaults in memory, by lower-case name: they are few, and every request asks for one.
pub(super) struct Registry {
    all: RwLock<HashMap<String, Known>>,
    /// Held from before a change reaches the disk until it is in memory, so that changes happen one after the other in both.
    changing: Mutex<()>,
}

#[derive(Clone)]
struct Known {
    vault: Arc<VaultSettings>,
    deleted: Option<(u64, u64)>,
}

impl VaultEngine {
    /// Makes a vault. The name of a deleted one is taken until that one is purged.
    pub fn create_vault(&self, vault: VaultSettings) -> Result<Arc<VaultSettings>, VaultFault> {
        let inner = &self.inner;
        check(&vault)?;
        let _changing = inner.vaults.changing();
        let now = inner.now();
        inner.sweep_vaults(now)?;
        match inner.vaults.known(&vault.name) {
            Some(known) if known.deleted.is_some() => {
                return Err(VaultFault::VaultHeld(known.vault.name.clone()));
            }
            Some(known) => return Err(VaultFault::VaultExists(known.vault.name.clone())),
            None => {}
        }
        if inner.vaults.count() >= MAX_VAULTS {
            return Err(VaultFault::TooMany("there are as many vaults as there may be"));
        }
        let vault = VaultSettings {
            created: now,
            ..vault
        };
        inner
            .database
            .write(|transaction| vault_rows::put(transaction, &vault))?;
        Ok(inner.vaults.show(vault))
    }

    /// The vault of this name, unless it is deleted.
    pub fn vault(&self, name: &str) -> Result<Arc<VaultSettings>, VaultFault> {
        self.inner.vaults.live(name)
    }

    /// All vaults that are not deleted, by name.
    pub fn vaults(&self) -> Vec<Arc<VaultSettings>> {
        let mut all = self
            .inner
            .vaults
            .collect(|known| known.deleted.is_none().then(|| Arc::clone(&known.vault)));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// The deleted vault of this name, while it can be recovered.
    pub fn deleted_vault(&self, name: &str) -> Result<DeletedVault, VaultFault> {
        self.inner.vaults.deleted(name, self.inner.now())
    }

    /// All vaults that can be recovered, by name.
    pub fn deleted_vaults(&self) -> Vec<DeletedVault> {
        let now = self.inner.now();
        let mut all = self.inner.vaults.collect(|known| known.recoverable(now));
        all.sort_by(|one, other| one.vault.name.cmp(&other.vault.name));
        all
    }

    /// Replaces a vault's settings by what `change` makes of them. Nothing else changes them meanwhile, and what is fixed stays.
    pub fn update_vault<E: From<VaultFault>>(
        &self,
        name: &str,
        change: impl FnOnce(&VaultSettings) -> Result<VaultSettings, E>,
    ) -> Result<Arc<VaultSettings>, E> {
        let inner = &self.inner;
        let _changing = inner.vaults.changing();
        let before = inner.vaults.live(name)?;
        let after = change(&before)?;
        check(&after)?;
        check_change(&before, &after)?;
        inner
            .database
            .write(|transaction| vault_rows::put(transaction, &after))?;
        let after = inner.vaults.show(after);
        inner.announce_vault(&after);
        Ok(after)
    }

    /// Deletes a vault. It and its keys stay recoverable, and its name taken, for its soft-delete days; it serves nothing from
    /// now on.
    pub fn delete_vault(&self, name: &str) -> Result<DeletedVault, VaultFault> {
        let inner = &self.inner;
        let _changing = inner.vaults.changing();
        let now = inner.now();
        let vault = inner.vaults.live(name)?;
        let purge = now + u64::from(vault.soft_delete_days) * SECONDS_PER_DAY;
        inner.set_vault_deleted(&vault, Some((now, purge)))?;
        inner.safe.close_all();
        inner.announce_vault(&vault);
        inner.vaults.deleted(name, now)
    }

    /// Brings a deleted vault back with its keys, as it was.
    pub fn recover_vault(&self, name: &str) -> Result<Arc<VaultSettings>, VaultFault> {
        let inner = &self.inner;
        let _changing = inner.vaults.changing();
        let vault = inner.vaults.deleted(name, inner.now())?.vault;
        inner.set_vault_deleted(&vault, None)?;
        inner.announce_vault(&vault);
        Ok(vault)
    }

    /// Destroys a deleted vault and all its keys for good, unless it has purge protection.
    pub fn purge_vault(&self, name: &str) -> Result<(), VaultFault> {
        let inner = &self.inner;
        let _changing = inner.vaults.changing();
        let vault = inner.vaults.deleted(name, inner.now())?.vault;
        if vault.purge_protection {
            return Err(VaultFault::PurgeProtected);
        }
        inner
            .database
            .write(|transaction| vault_rows::destroy(transaction, &vault.name))?;
        inner.vaults.forget(&vault.name);
        inner.safe.close_all();
        inner.announce_vault(&vault);
        inner.database.forget_log()
    }
}

impl Inner {
    fn set_vault_deleted(&self, vault: &VaultSettings, times: Option<(u64, u64)>) -> Result<(), VaultFault> {
        self.database
            .write(|transaction| vault_rows::set_deleted(transaction, &vault.name, times))?;
        self.vaults.set_deleted(&vault.name, times);
        Ok(())
    }

    /// Destroys the deleted vaults whose time has come. The caller holds `changing`.
    fn sweep_vaults(&self, now: u64) -> Result<usize, VaultFault> {
        if !self.vaults.has_expired(now) {
            return Ok(0);
        }
        let destroyed = self
            .database
            .write(|transaction| vault_rows::sweep(transaction, now))?;
        self.vaults.forget_expired(now);
        self.safe.close_all();
        self.database.forget_log()?;
        Ok(destroyed)
    }

    /// As part of the engine's sweep.
    pub(super) fn sweep_vaults_in_turn(&self, now: u64) -> Result<usize, VaultFault> {
        let _changing = self.vaults.changing();
        self.sweep_vaults(now)
    }
}

impl Registry {
    pub(super) fn new(rows: Vec<VaultRow>) -> Self {
        let known = |row: VaultRow| {
            let known = Known {
                vault: Arc::new(row.settings),
                deleted: row.deleted,
            };
            (key(&known.vault.name), known)
        };
        Self {
            all: RwLock::new(rows.into_iter().map(known).collect()),
            changing: Mutex::default(),
        }
    }

    /// The vault's name, spelled as it was made.
    pub(super) fn spelled(&self, name: &str) -> String {
        self.known(name)
            .map_or_else(|| name.to_owned(), |known| known.vault.name.clone())
    }

    fn live(&self, name: &str) -> Result<Arc<VaultSettings>, VaultFault> {
        let known = self.known(name).filter(|known| known.deleted.is_none());
        known
            .map(|known| known.vault)
            .ok_or_else(|| VaultFault::NoSuchVault(name.to_owned()))
    }

    fn deleted(&self, name: &str, now: u64) -> Result<DeletedVault, VaultFault> {
        self.known(name)
            .and_then(|known| known.recoverable(now))
            .ok_or_else(|| VaultFault::NoSuchVault(name.to_owned()))
    }

    fn known(&self, name: &str) -> Option<Known> {
        self.read().get(&key(name)).cloned()
    }

    fn count(&self) -> usize {
        self.read().len()
    }

    fn collect<T>(&self, pick: impl Fn(&Known) -> Option<T>) -> Vec<T> {
        self.read().values().filter_map(pick).collect()
    }

    fn show(&self, vault: VaultSettings) -> Arc<VaultSettings> {
        let vault = Arc::new(vault);
        let known = Known {
            vault: Arc::clone(&vault),
            deleted: None,
        };
        self.write().insert(key(&vault.name), known);
        vault
    }

    fn set_deleted(&self, name: &str, times: Option<(u64, u64)>) {
        if let Some(known) = self.write().get_mut(&key(name)) {
            known.deleted = times;
        }
    }

    fn forget(&self, name: &str) {
        self.write().remove(&key(name));
    }

    fn has_expired(&self, now: u64) -> bool {
        self.read().values().any(|known| known.is_expired(now))
    }

    fn forget_expired(&self, now: u64) {
        self.write().retain(|_, known| !known.is_expired(now));
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Known>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Known>> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn recoverable(&self, now: u64) -> Option<DeletedVault> {
        let (deleted, purge) = self.deleted.filter(|(_, purge)| *purge > now)?;
        Some(DeletedVault {
            vault: Arc::clone(&self.vault),
            deleted,
            purge,
        })
    }

    fn is_expired(&self, now: u64) -> bool {
        self.deleted.is_some_and(|(_, purge)| purge <= now)
    }
}

fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// What every vault must satisfy.
fn check(vault: &VaultSettings) -> Result<(), VaultFault> {
    if !VaultSettings::is_name(&vault.name) {
        return Err(VaultFault::VaultName(vault.name.clone()));
    }
    if !SOFT_DELETE_DAYS.contains(&vault.soft_delete_days) {
        return Err(VaultFault::BadParameter(
            "deleted vaults and keys stay recoverable for 7 to 90 days",
        ));
    }
    if vault.policies.len() > MAX_POLICIES {
        return Err(VaultFault::TooMany("a vault has at most 1024 access policies"));
    }
    if vault
        .policies
        .iter()
        .any(|policy| !policy.tenant.eq_ignore_ascii_case(&vault.tenant))
    {
        return Err(VaultFault::BadParameter(
            "the tenant of every access policy must be the vault's",
        ));
    }
    if vault.network.ranges.len() > MAX_IP_RULES || vault.network.virtual_networks.len() > MAX_NETWORK_RULES {
        return Err(VaultFault::TooMany(
            "a vault has at most 1000 IP rules and 200 virtual network rules",
        ));
    }
    let is_short = |text: &String| text.len() <= MAX_SETTING_TEXT;
    if !vault
        .network
        .virtual_networks
        .iter()
        .all(|network| is_short(&network.id))
    {
        return Err(VaultFault::BadParameter(
            "a virtual network's id has at most 2048 characters",
        ));
    }
    let fits = |(name, value): (&String, &String)| {
        !name.is_empty()
            && name.chars().count() <= MAX_VAULT_TAG_NAME
            && value.chars().count() <= MAX_TAG_TEXT
    };
    if vault.tags.len() > MAX_VAULT_TAGS || !vault.tags.iter().all(fits) {
        return Err(VaultFault::BadParameter(
            "a vault has at most 50 tags, with names of at most 512 and values of at most 256 characters",
        ));
    }
    let kept = serde_json::to_string(&vault.kept).map_or(usize::MAX, |kept| kept.len());
    if kept > MAX_KEPT_PROPERTIES {
        return Err(VaultFault::BadParameter(
            "a vault's further properties have at most 32 KiB",
        ));
    }
    Ok(())
}

/// What no change may touch.
fn check_change(before: &VaultSettings, after: &VaultSettings) -> Result<(), VaultFault> {
    let fixed = |vault: &VaultSettings| {
        let VaultSettings {
            name,
            resource_id,
            tenant,
            location,
            created,
            ..
        } = vault.clone();
        (name, resource_id, tenant, location, created)
    };
    if fixed(before) != fixed(after) {
        return Err(VaultFault::Fixed(
            "name, resource id, tenant, location and time of creation of a vault",
        ));
    }
    if before.soft_delete_days != after.soft_delete_days {
        return Err(VaultFault::Fixed(
            "the days for which what is deleted stays recoverable",
        ));
    }
    if before.purge_protection && !after.purge_protection {
        return Err(VaultFault::Fixed("purge protection, once it is on,"));
    }
    Ok(())
}
