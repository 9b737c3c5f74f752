//! What changes keys: making, importing, rotating, altering, deleting, recovering, purging; and their rotation policies.

use aws_lc_rs::rand;
use rusqlite::Transaction;

use crate::engine::fault::VaultFault;
use crate::engine::keys::{ForeignKey, Made};
use crate::engine::kinds::KeySpec;
use crate::engine::policy::RotationPolicy;
use crate::engine::rows::Kept;
use crate::engine::settings::{DeletedKey, KeyChange, KeyOperation, KeyVersion, NewKey, Tags};
use crate::engine::{Inner, KeyPath, VaultEngine, policy, rows, vault_rows};
use crate::limits::{MAX_KEY_NAME, MAX_KEYS, MAX_TAG_TEXT, MAX_TAGS, MAX_VERSIONS};

pub(super) const SECONDS_PER_DAY: u64 = 86_400;

impl VaultEngine {
    /// Makes a key, or a new version of the one that has this name.
    pub async fn create_key(&self, vault: &str, name: &str, new: NewKey) -> Result<KeyVersion, VaultFault> {
        check_key_name(name)?;
        check_tags(&new.tags)?;
        let key = KeyPath::new(vault, name, None);
        self.generate(move |inner| {
            // Asked before the costly part, and again when the version is written.
            inner
                .database
                .read(|view| key.room(view, inner.now()).map(|_| ()))?;
            let made = inner.backend.generate(new.spec)?;
            inner.add_version(&key, new, made)
        })
        .await
    }

    /// Brings in a key that was made elsewhere, as a new key or as a new version of the one that has this name. `new` says
    /// what kind it claims to be.
    pub async fn import_key(
        &self,
        vault: &str,
        name: &str,
        new: NewKey,
        foreign: ForeignKey,
    ) -> Result<KeyVersion, VaultFault> {
        check_key_name(name)?;
        check_tags(&new.tags)?;
        let key = KeyPath::new(vault, name, None);
        self.generate(move |inner| {
            inner
                .database
                .read(|view| key.room(view, inner.now()).map(|_| ()))?;
            let made = inner.backend.import(&foreign)?;
            if made.spec != new.spec {
                return Err(VaultFault::NotAKey);
            }
            inner.add_version(&key, new, made)
        })
        .await
    }

    /// Makes a new version of a key as its latest was made: same kind, uses and tags; enabled, and with the expiry that its
    /// rotation policy asks for.
    pub async fn rotate_key(&self, vault: &str, name: &str) -> Result<KeyVersion, VaultFault> {
        let key = KeyPath::new(vault, name, None);
        self.generate(move |inner| {
            let (latest, _) = inner.database.read(|view| key.find(view, inner.now()))?;
            let made = inner.backend.generate(latest.spec)?;
            let successor = inner.seal_version(&key, latest.successor(), made)?;
            inner.write_version(&key, successor, |transaction, row, version| {
                let policy = rows::policy(transaction, row)?;
                version.expires = policy.expiry_of(version.created);
                Ok(())
            })
        })
        .await
    }

    /// A key's rotation policy; that of unset ones if none was set.
    pub async fn rotation_policy(
        &self,
        vault: &str,
        name: &str,
    ) -> Result<(KeyVersion, RotationPolicy), VaultFault> {
        let key = KeyPath::new(vault, name, None);
        self.work(move |inner| {
            inner.database.read(|view| {
                let row = key.live(view, inner.now())?;
                let (latest, _) = rows::version(view, row.id, None)?.ok_or_else(|| key.not_found())?;
                Ok((latest, rows::policy(view, row.id)?))
            })
        })
        .await
    }

    /// Sets a key's rotation policy. What it says of expiry holds for versions made from now on.
    pub async fn set_rotation_policy(
        &self,
        vault: &str,
        name: &str,
        mut policy: RotationPolicy,
    ) -> Result<(KeyVersion, RotationPolicy), VaultFault> {
        policy.check()?;
        let key = KeyPath::new(vault, name, None);
        self.work(move |inner| {
            let now = inner.now();
            let set = inner.database.write(|transaction| {
                let row = key.live(transaction, now)?;
                let (latest, _) = rows::version(transaction, row.id, None)?.ok_or_else(|| key.not_found())?;
                let before = rows::policy(transaction, row.id)?;
                policy.set = Some((before.set.map_or(now, |(created, _)| created), now));
                rows::set_policy(transaction, row.id, &policy)?;
                inner.reschedule(transaction, row.id)?;
                Ok((latest, policy))
            })?;
            inner.stirred.notify_one();
            Ok(set)
        })
        .await
    }

    /// Changes attributes of a version, of the latest if none is named.
    pub async fn update_key(
        &self,
        vault: &str,
        name: &str,
        version: Option<&str>,
        change: KeyChange,
    ) -> Result<KeyVersion, VaultFault> {
        if let Some(tags) = &change.tags {
            check_tags(tags)?;
        }
        let key = KeyPath::new(vault, name, version);
        self.work(move |inner| {
            let now = inner.now();
            let changed = inner.database.write(|transaction| {
                let row = key.live(transaction, now)?;
                let (mut found, id) = key.find(transaction, now)?;
                found.apply(change, now)?;
                rows::update_version(transaction, id, &found)?;
                inner.reschedule(transaction, row.id)?;
                Ok(found)
            })?;
            inner.announce(&key.vault, &changed.name, Some(&changed.version));
            Ok(changed)
        })
        .await
    }

    /// Deletes a key with all its versions. It stays recoverable, and its name taken, for the vault's soft-delete days.
    pub async fn delete_key(&self, vault: &str, name: &str) -> Result<DeletedKey, VaultFault> {
        let key = KeyPath::new(vault, name, None);
        self.work(move |inner| {
            let now = inner.now();
            let deleted = inner.database.write(|transaction| {
                inner.sweep_within(transaction, now)?;
                let row = key.live(transaction, now)?;
                let days = vault_rows::live(transaction, &key.vault)?.soft_delete_days;
                let purge = now + u64::from(days) * SECONDS_PER_DAY;
                rows::set_deleted(transaction, row.id, Some((now, purge)))?;
                Ok(key.deleted(transaction, now)?.1)
            })?;
            inner.safe.close_all();
            inner.announce(&key.vault, &deleted.latest.name, None);
            Ok(deleted)
        })
        .await
    }

    /// Brings a deleted key back, as it was. Answers its latest version.
    pub async fn recover_key(&self, vault: &str, name: &str) -> Result<KeyVersion, VaultFault> {
        let key = KeyPath::new(vault, name, None);
        self.work(move |inner| {
            let now = inner.now();
            let recovered = inner.database.write(|transaction| {
                let (id, deleted) = key.deleted(transaction, now)?;
                rows::set_deleted(transaction, id, None)?;
                inner.reschedule(transaction, id)?;
                Ok(deleted.latest)
            })?;
            inner.announce(&key.vault, &recovered.name, None);
            Ok(recovered)
        })
        .await
    }

    /// Destroys a deleted key for good, unless the vault has purge protection.
    pub async fn purge_key(&self, vault: &str, name: &str) -> Result<(), VaultFault> {
        let key = KeyPath::new(vault, name, None);
        self.work(move |inner| {
            let now = inner.now();
            let purged = inner.database.write(|transaction| {
                let (id, deleted) = key.deleted(transaction, now)?;
                if vault_rows::live(transaction, &key.vault)?.purge_protection {
                    return Err(VaultFault::PurgeProtected);
                }
                rows::destroy(transaction, id)?;
                Ok(deleted.latest.name)
            })?;
            inner.safe.close_all();
            inner.announce(&key.vault, &purged, None);
            inner.database.forget_log()?;
            Ok(())
        })
        .await
    }
}

impl Inner {
    /// Seals and commits a version; only then is it announced and answered.
    fn add_version(&self, key: &KeyPath, new: NewKey, made: Made) -> Result<KeyVersion, VaultFault> {
        let version = self.seal_version(key, new, made)?;
        self.write_version(key, version, |_, _, _| Ok(()))
    }

    /// A version that is made now, and its private key as it is kept.
    pub(super) fn seal_version(
        &self,
        key: &KeyPath,
        new: NewKey,
        made: Made,
    ) -> Result<(KeyVersion, Kept), VaultFault> {
        check_operations(new.spec, &new.operations)?;
        let version = new_version()?;
        let kept = self.safe.seal(key, &version, &made.private)?;
        let now = self.now();
        let version = KeyVersion {
            name: key.name.clone(),
            version,
            spec: new.spec,
            public: made.public,
            enabled: new.enabled,
            not_before: new.not_before,
            expires: new.expires,
            created: now,
            updated: now,
            operations: new.operations,
            tags: new.tags,
        };
        Ok((version, kept))
    }

    /// Commits a version, as `finish` leaves it, and announces it.
    fn write_version(
        &self,
        key: &KeyPath,
        (mut made, kept): (KeyVersion, Kept),
        finish: impl FnOnce(&Transaction<'_>, i64, &mut KeyVersion) -> Result<(), VaultFault>,
    ) -> Result<KeyVersion, VaultFault> {
        let now = made.created;
        self.database.write(|transaction| {
            self.sweep_within(transaction, now)?;
            let id = match key.room(transaction, now)? {
                Some(row) => {
                    made.name = row.name;
                    row.id
                }
                None => rows::insert_key(transaction, &key.vault, &key.name)?,
            };
            finish(transaction, id, &mut made)?;
            rows::insert_version(transaction, id, &made, &kept, true)?;
            self.reschedule(transaction, id)
        })?;
        self.announce(&key.vault, &made.name, Some(&made.version));
        Ok(made)
    }

    /// Works out anew when maintenance is to look at a key: whenever its policy, its latest version or that one's times change.
    pub(super) fn reschedule(&self, transaction: &Transaction<'_>, key: i64) -> Result<(), VaultFault> {
        let Some((latest, row)) = rows::version(transaction, key, None)? else {
            return Ok(());
        };
        let policy = rows::policy(transaction, key)?;
        let told = rows::told(transaction, row)?;
        let first = policy::due(&policy, &latest, told).map(|(at, _)| at).min();
        rows::set_due(transaction, key, first)
    }
}

impl KeyPath {
    /// The key that a new version would belong to, if it exists. A deleted key's name is taken.
    pub(super) fn room(
        &self,
        view: &rusqlite::Connection,
        now: u64,
    ) -> Result<Option<rows::KeyRow>, VaultFault> {
        vault_rows::check_live(view, &self.vault)?;
        match rows::key(view, &self.vault, &self.name, now)? {
            Some(row) if row.deleted.is_some() => Err(VaultFault::NameHeld(row.name)),
            Some(row) if rows::count_versions(view, row.id)? >= MAX_VERSIONS => {
                Err(VaultFault::TooMany("the key has as many versions as it may have"))
            }
            Some(row) => Ok(Some(row)),
            None if rows::count_keys(view, &self.vault)? >= MAX_KEYS => {
                Err(VaultFault::TooMany("the vault has as many keys as it may have"))
            }
            None => Ok(None),
        }
    }
}

impl KeyVersion {
    /// What follows it: the same kind, uses and tags; enabled, without times.
    pub(super) fn successor(&self) -> NewKey {
        NewKey {
            operations: self.operations.clone(),
            tags: self.tags.clone(),
            ..NewKey::of(self.spec)
        }
    }

    fn apply(&mut self, change: KeyChange, now: u64) -> Result<(), VaultFault> {
        self.enabled = change.enabled.unwrap_or(self.enabled);
        self.not_before = change.not_before.or(self.not_before);
        self.expires = change.expires.or(self.expires);
        if self
            .not_before
            .zip(self.expires)
            .is_some_and(|(nbf, exp)| exp <= nbf)
        {
            return Err(VaultFault::BadParameter("exp must be later than nbf"));
        }
        if let Some(operations) = change.operations {
            check_operations(self.spec, &operations)?;
            self.operations = operations;
        }
        if let Some(tags) = change.tags {
            self.tags = tags;
        }
        self.updated = now;
        Ok(())
    }
}

fn check_operations(spec: KeySpec, operations: &[KeyOperation]) -> Result<(), VaultFault> {
    if operations
        .iter()
        .all(|operation| spec.operations().contains(operation))
    {
        Ok(())
    } else {
        Err(VaultFault::BadParameter(
            "key_ops holds what keys of this kind cannot do: EC keys sign and verify only",
        ))
    }
}

pub(super) fn new_version() -> Result<String, VaultFault> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| VaultFault::Library)?;
    Ok(hex::encode(bytes))
}

pub(super) fn check_key_name(name: &str) -> Result<(), VaultFault> {
    let well_formed = (1..=MAX_KEY_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if well_formed {
        Ok(())
    } else {
        Err(VaultFault::BadParameter(
            "a key's name has 1 to 127 letters, digits and hyphens",
        ))
    }
}

fn check_tags(tags: &Tags) -> Result<(), VaultFault> {
    let fits = |text: &String| text.chars().count() <= MAX_TAG_TEXT;
    if tags.len() <= MAX_TAGS
        && tags
            .iter()
            .all(|(name, value)| !name.is_empty() && fits(name) && fits(value))
    {
        Ok(())
    } else {
        Err(VaultFault::BadParameter(
            "a key has at most 15 tags, each with a name and a value of at most 256 characters",
        ))
    }
}
