//! What changes keys: making, rotating, altering, deleting, recovering, purging.

use aws_lc_rs::rand;

use crate::engine::fault::VaultFault;
use crate::engine::settings::{DeletedKey, KeyChange, KeyVersion, NewKey, Tags};
use crate::engine::{Inner, KeyPath, VaultEngine, rows};
use crate::limits::{MAX_KEY_NAME, MAX_KEYS, MAX_TAG_TEXT, MAX_TAGS, MAX_VERSIONS};

const SECONDS_PER_DAY: u64 = 86_400;

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
            inner.make_version(&key, new)
        })
        .await
    }

    /// Makes a new version of a key as its latest was made: same kind, uses and tags; enabled, without times.
    pub async fn rotate_key(&self, vault: &str, name: &str) -> Result<KeyVersion, VaultFault> {
        let key = KeyPath::new(vault, name, None);
        self.generate(move |inner| {
            let (latest, _) = inner.database.read(|view| key.find(view, inner.now()))?;
            let new = NewKey {
                operations: latest.operations,
                tags: latest.tags,
                ..NewKey::of(latest.spec)
            };
            inner.make_version(&key, new)
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
                let (mut found, id) = key.find(transaction, now)?;
                found.apply(change, now);
                rows::update_version(transaction, id, &found)?;
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
                let days = rows::vault(transaction, &key.vault)?.soft_delete_days;
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
                if rows::vault(transaction, &key.vault)?.purge_protection {
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
    /// Generates, seals and commits a version; only then is it announced and answered.
    fn make_version(&self, key: &KeyPath, new: NewKey) -> Result<KeyVersion, VaultFault> {
        let version = new_version()?;
        let (private, public) = self.backend.generate(new.spec)?;
        let kept = self.safe.seal(key, &version, &private)?;
        let now = self.now();
        let mut made = KeyVersion {
            name: key.name.clone(),
            version,
            spec: new.spec,
            public,
            enabled: new.enabled,
            not_before: new.not_before,
            expires: new.expires,
            created: now,
            updated: now,
            operations: new.operations,
            tags: new.tags,
        };
        self.database.write(|transaction| {
            self.sweep_within(transaction, now)?;
            let id = match key.room(transaction, now)? {
                Some(row) => {
                    made.name = row.name;
                    row.id
                }
                None => rows::insert_key(transaction, &key.vault, &key.name)?,
            };
            rows::insert_version(transaction, id, &made, &kept)
        })?;
        self.announce(&key.vault, &made.name, Some(&made.version));
        Ok(made)
    }
}

impl KeyPath {
    /// The key that a new version would belong to, if it exists. A deleted key's name is taken.
    fn room(&self, view: &rusqlite::Connection, now: u64) -> Result<Option<rows::KeyRow>, VaultFault> {
        rows::vault(view, &self.vault)?;
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
    fn apply(&mut self, change: KeyChange, now: u64) {
        self.enabled = change.enabled.unwrap_or(self.enabled);
        self.not_before = change.not_before.or(self.not_before);
        self.expires = change.expires.or(self.expires);
        if let Some(operations) = change.operations {
            self.operations = operations;
        }
        if let Some(tags) = change.tags {
            self.tags = tags;
        }
        self.updated = now;
    }
}

fn new_version() -> Result<String, VaultFault> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| VaultFault::Library)?;
    Ok(hex::encode(bytes))
}

fn check_key_name(name: &str) -> Result<(), VaultFault> {
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
