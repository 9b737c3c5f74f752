//! Backups: a key with all its versions, sealed so that only a vault of the same subscription in this installation restores it.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::engine::changes::check_key_name;
use crate::engine::fault::VaultFault;
use crate::engine::kinds::{KeySpec, PublicHalf};
use crate::engine::policy::{RotationPolicy, StoredPolicy, Told};
use crate::engine::rows::{Kept, WholeVersion};
use crate::engine::settings::{KeyOperation, KeyVersion, Tags, VaultSettings};
use crate::engine::{Inner, KeyPath, VaultEngine, rows, vault_rows};
use crate::limits::{MAX_BACKUP, MAX_BACKUP_VERSIONS};

/// What a backup begins with: what it is, and the layout's number.
const MAGIC: &[u8] = b"strongroom-backup/1\n";
/// Bytes of a length before what it measures.
const LENGTH: usize = 4;

/// What a backup says of a key, beside its private keys, which follow it one after another.
#[derive(Serialize, Deserialize)]
struct Description {
    name: String,
    policy: Option<StoredPolicy>,
    versions: Vec<DescribedVersion>,
}

#[derive(Serialize, Deserialize)]
struct DescribedVersion {
    version: String,
    spec: String,
    public: (String, String),
    enabled: bool,
    not_before: Option<u64>,
    expires: Option<u64>,
    created: u64,
    updated: u64,
    operations: Vec<String>,
    tags: Tags,
    told_near: Option<u64>,
    told_expired: Option<u64>,
    /// Bytes of its private key.
    private: usize,
}

impl VaultEngine {
    /// A key with all its versions and its policy, sealed. Answers its latest version too.
    pub async fn backup_key(&self, vault: &str, name: &str) -> Result<(KeyVersion, Vec<u8>), VaultFault> {
        let key = KeyPath::new(vault, name, None);
        self.work(move |inner| inner.back_up(&key)).await
    }

    /// Brings a backup back under the name the key had. Answers its latest version.
    pub async fn restore_key(&self, vault: &str, backup: Vec<u8>) -> Result<KeyVersion, VaultFault> {
        let vault = vault.to_owned();
        self.work(move |inner| inner.restore(&vault, &backup)).await
    }
}

impl Inner {
    fn back_up(&self, key: &KeyPath) -> Result<(KeyVersion, Vec<u8>), VaultFault> {
        let (subscription, policy, versions) = self.database.read(|view| {
            let row = key.live(view, self.now())?;
            let versions = rows::whole_versions(view, row.id, MAX_BACKUP_VERSIONS + 1)?;
            Ok((
                self.subscription(view, &key.vault)?,
                rows::policy(view, row.id)?,
                versions,
            ))
        })?;
        if u32::try_from(versions.len()).is_ok_and(|count| count > MAX_BACKUP_VERSIONS) {
            return Err(VaultFault::TooMany(
                "a key with more than 500 versions cannot be backed up",
            ));
        }
        let latest = versions.last().map(|whole| whole.version.clone());
        let latest = latest.ok_or_else(|| key.not_found())?;
        let mut private = Vec::with_capacity(versions.len());
        for whole in &versions {
            private.push(self.safe.open(key, &whole.version.version, &whole.kept)?);
        }
        let described = versions.iter().zip(&private);
        let description = Description {
            name: latest.name.clone(),
            policy: StoredPolicy::of(&policy),
            versions: described
                .map(|(whole, private)| describe(whole, private.len()))
                .collect(),
        };
        let description = serde_json::to_vec(&description).map_err(|_| VaultFault::Library)?;
        let length = LENGTH + description.len() + private.iter().map(|private| private.len()).sum::<usize>();
        if length > MAX_BACKUP {
            return Err(VaultFault::TooMany("the key is too large to be backed up"));
        }
        // Of its final size from the start, so that no copy is left behind when it grows.
        let mut plain = Zeroizing::new(Vec::with_capacity(length));
        put(&mut plain, &description)?;
        for private in &private {
            plain.extend_from_slice(private);
        }
        let sealed = self.safe.seal_backup(&subscription, &plain)?;
        let mut backup = MAGIC.to_vec();
        put(&mut backup, &sealed.wrapped)?;
        backup.extend_from_slice(&sealed.sealed);
        Ok((latest, backup))
    }

    fn restore(&self, vault: &str, backup: &[u8]) -> Result<KeyVersion, VaultFault> {
        let subscription = self.database.read(|view| self.subscription(view, vault))?;
        let rest = backup.strip_prefix(MAGIC).ok_or(VaultFault::ForeignBackup)?;
        let (wrapped, sealed) = take(rest).ok_or(VaultFault::ForeignBackup)?;
        let sealed = Kept {
            wrapped: wrapped.to_vec(),
            sealed: sealed.to_vec(),
        };
        let plain = self.safe.open_backup(&subscription, &sealed)?;
        let (description, mut private) = take(&plain).ok_or(VaultFault::ForeignBackup)?;
        let description: Description =
            serde_json::from_slice(description).map_err(|_| VaultFault::ForeignBackup)?;
        check_key_name(&description.name)?;
        let key = KeyPath::new(vault, &description.name, None);
        let mut versions = Vec::with_capacity(description.versions.len());
        for described in description.versions {
            let (this, rest) = private
                .split_at_checked(described.private)
                .ok_or(VaultFault::ForeignBackup)?;
            private = rest;
            let kept = self.safe.seal(&key, &described.version, this)?;
            let (version, told) = read(&description.name, described).ok_or(VaultFault::ForeignBackup)?;
            versions.push(WholeVersion { version, kept, told });
        }
        let policy = description
            .policy
            .map(|stored| stored.policy().ok_or(VaultFault::ForeignBackup));
        self.write_restored(&key, versions, policy.transpose()?)
    }

    fn write_restored(
        &self,
        key: &KeyPath,
        versions: Vec<WholeVersion>,
        policy: Option<RotationPolicy>,
    ) -> Result<KeyVersion, VaultFault> {
        let now = self.now();
        let latest = self.database.write(|transaction| {
            self.sweep_within(transaction, now)?;
            if let Some(row) = key.room(transaction, now)? {
                return Err(VaultFault::KeyExists(row.name));
            }
            let id = rows::insert_key(transaction, &key.vault, &key.name)?;
            for whole in &versions {
                rows::insert_version(transaction, id, &whole.version, &whole.kept, true)?;
                rows::set_told(transaction, transaction.last_insert_rowid(), whole.told)?;
            }
            if let Some(policy) = &policy {
                rows::set_policy(transaction, id, policy)?;
            }
            self.reschedule(transaction, id)?;
            let latest = rows::version(transaction, id, None)?;
            latest.map(|(latest, _)| latest).ok_or(VaultFault::ForeignBackup)
        })?;
        self.announce(&key.vault, &latest.name, None);
        Ok(latest)
    }

    fn subscription(&self, view: &Connection, vault: &str) -> Result<String, VaultFault> {
        Ok(subscription(&vault_rows::live(view, vault)?))
    }
}

/// The subscription in the vault's resource id; the whole id where it has none.
fn subscription(vault: &VaultSettings) -> String {
    let id = vault.resource_id.to_ascii_lowercase();
    let mut segments = id.trim_start_matches('/').split('/');
    match (segments.next(), segments.next()) {
        (Some("subscriptions"), Some(subscription)) => subscription.to_owned(),
        _ => id,
    }
}

fn describe(whole: &WholeVersion, private: usize) -> DescribedVersion {
    let version = &whole.version;
    let (first, second) = version.public.numbers();
    DescribedVersion {
        version: version.version.clone(),
        spec: version.spec.name().to_owned(),
        public: (hex::encode(first), hex::encode(second)),
        enabled: version.enabled,
        not_before: version.not_before,
        expires: version.expires,
        created: version.created,
        updated: version.updated,
        operations: version
            .operations
            .iter()
            .map(|operation| operation.name().to_owned())
            .collect(),
        tags: version.tags.clone(),
        told_near: whole.told.near,
        told_expired: whole.told.expired,
        private,
    }
}

fn read(name: &str, described: DescribedVersion) -> Option<(KeyVersion, Told)> {
    let spec = KeySpec::from_name(&described.spec)?;
    let (first, second) = described.public;
    let operations = described
        .operations
        .iter()
        .map(|name| KeyOperation::from_name(name));
    let version = KeyVersion {
        name: name.to_owned(),
        version: described.version,
        spec,
        public: PublicHalf::of(spec, hex::decode(first).ok()?, hex::decode(second).ok()?),
        enabled: described.enabled,
        not_before: described.not_before,
        expires: described.expires,
        created: described.created,
        updated: described.updated,
        operations: operations.collect::<Option<_>>()?,
        tags: described.tags,
    };
    let told = Told {
        near: described.told_near,
        expired: described.told_expired,
    };
    Some((version, told))
}

/// Appends bytes with their length before them.
fn put(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), VaultFault> {
    let length = u32::try_from(bytes.len()).map_err(|_| VaultFault::Library)?;
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(bytes);
    Ok(())
}

/// What [`put`] appended, and what follows it.
fn take(from: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = from.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
