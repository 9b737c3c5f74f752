//! The key above all private keys on disk, and where it comes from.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use strongroom_seal::Secret;
use zeroize::Zeroizing;

use crate::limits::{ARGON2_COST, MAX_ARGON2_MEMORY, MAX_ARGON2_PASSES, MIN_PASSPHRASE};

/// Bytes of the root key and of its file.
const ROOT_LEN: usize = 32;
const SALT_LEN: usize = 16;

/// Where the root key comes from.
pub enum RootKey {
    /// A file of 32 random bytes that only its owner may read. It is made together with a new database, never for one that exists.
    File(PathBuf),
    /// A passphrase, through Argon2id with a salt and costs that are stored in the database.
    Passphrase(Zeroizing<String>),
}

/// The root key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The database exists but its key file does not. Bring the file back: without it the keys are lost.
    #[error("the root key file {0} is missing; the vault's keys cannot be opened without it")]
    Missing(PathBuf),
    /// Others may read the key file. Set its mode to 0600.
    #[error("the root key file {0} can be read by others; set its mode to 0600")]
    Exposed(PathBuf),
    /// The key file is not 32 bytes long. Bring back the right one.
    #[error("the root key file {0} does not hold 32 bytes")]
    Malformed(PathBuf),
    /// The passphrase is too short. Choose a longer one.
    #[error("a passphrase needs at least {MIN_PASSPHRASE} characters")]
    ShortPassphrase,
    /// The stored salt or costs are missing or beyond what is accepted: the database was made with a key file, or was altered.
    #[error("the stored passphrase parameters are missing or not acceptable")]
    Parameters,
    /// The system gave no randomness or no memory. Try again.
    #[error("the system has no randomness or memory to spare")]
    Resources,
    /// The file system failed.
    #[error("the root key file could not be read or written")]
    Io(#[from] io::Error),
}

/// How a passphrase becomes a key, as stored beside the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) salt: Vec<u8>,
    pub(crate) memory: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

/// A root key at hand, with what must be stored so that a passphrase leads to it again.
pub(crate) struct Root {
    pub(crate) key: Secret<ROOT_LEN>,
    pub(crate) stretch: Option<Stretch>,
}

impl RootKey {
    /// For a database that is being made: a new key, or the one that an interrupted first start left.
    pub(crate) fn begin(&self) -> Result<Root, RootKeyError> {
        match self {
            Self::File(path) => {
                let key = if path.exists() {
                    read_file(path)?
                } else {
                    make_file(path)?
                };
                Ok(Root { key, stretch: None })
            }
            Self::Passphrase(passphrase) => {
                let stretch = Stretch::new()?;
                Ok(Root {
                    key: stretch.apply(passphrase)?,
                    stretch: Some(stretch),
                })
            }
        }
    }

    /// For a database that exists.
    pub(crate) fn resume(&self, stretch: Option<Stretch>) -> Result<Root, RootKeyError> {
        match self {
            Self::File(path) if !path.exists() => Err(RootKeyError::Missing(path.clone())),
            Self::File(path) => Ok(Root {
                key: read_file(path)?,
                stretch,
            }),
            Self::Passphrase(passphrase) => {
                let stretch = stretch.ok_or(RootKeyError::Parameters)?;
                Ok(Root {
                    key: stretch.apply(passphrase)?,
                    stretch: Some(stretch),
                })
            }
        }
    }
}

impl Stretch {
    fn new() -> Result<Self, RootKeyError> {
        let mut salt = vec![0; SALT_LEN];
        rand::fill(&mut salt).map_err(|_| RootKeyError::Resources)?;
        let (memory, passes, lanes) = ARGON2_COST;
        Ok(Self {
            salt,
            memory,
            passes,
            lanes,
        })
    }

    fn apply(&self, passphrase: &str) -> Result<Secret<ROOT_LEN>, RootKeyError> {
        if passphrase.chars().count() < MIN_PASSPHRASE {
            return Err(RootKeyError::ShortPassphrase);
        }
        if self.salt.len() != SALT_LEN || self.memory > MAX_ARGON2_MEMORY || self.passes > MAX_ARGON2_PASSES {
            return Err(RootKeyError::Parameters);
        }
        let params = Params::new(self.memory, self.passes, self.lanes, Some(ROOT_LEN))
            .map_err(|_| RootKeyError::Parameters)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Secret::try_build(|key| argon2.hash_password_into(passphrase.as_bytes(), &self.salt, key))
            .map_err(|_| RootKeyError::Resources)
    }
}

fn make_file(path: &Path) -> Result<Secret<ROOT_LEN>, RootKeyError> {
    let key = Secret::<ROOT_LEN>::random().map_err(|_| RootKeyError::Resources)?;
    // Written aside and renamed, so that a crash leaves no short key behind.
    let aside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.set_permissions(PermissionsExt::from_mode(0o600))?;
    // The one place where the root key leaves memory: its own file.
    file.write_all(key.expose_secret())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(key)
}

fn read_file(path: &Path) -> Result<Secret<ROOT_LEN>, RootKeyError> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(RootKeyError::Exposed(path.to_owned()));
    }
    if about.len() != ROOT_LEN as u64 {
        return Err(RootKeyError::Malformed(path.to_owned()));
    }
    Ok(Secret::try_build(|key| file.read_exact(key))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_leads_to_the_same_key_only_with_the_same_salt() {
        let stretch = Stretch {
            salt: vec![7; SALT_LEN],
            memory: 64,
            passes: 1,
            lanes: 1,
        };
        let other = Stretch {
            salt: vec![8; SALT_LEN],
            memory: 64,
            passes: 1,
            lanes: 1,
        };
        let first = stretch.apply("correct horse battery").unwrap();
        assert_eq!(
            first.expose_secret(),
            stretch.apply("correct horse battery").unwrap().expose_secret()
        );
        assert_ne!(
            first.expose_secret(),
            other.apply("correct horse battery").unwrap().expose_secret()
        );
    }

    #[test]
    fn short_passphrases_and_unreasonable_costs_are_refused() {
        let stretch = Stretch {
            salt: vec![7; SALT_LEN],
            memory: 64,
            passes: 1,
            lanes: 1,
        };
        assert!(matches!(
            stretch.apply("short"),
            Err(RootKeyError::ShortPassphrase)
        ));
        let dear = Stretch {
            memory: MAX_ARGON2_MEMORY + 1,
            ..stretch
        };
        assert!(matches!(
            dear.apply("correct horse battery"),
            Err(RootKeyError::Parameters)
        ));
    }

    #[test]
    fn a_key_file_that_others_may_read_or_that_is_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key");
        let source = RootKey::File(path.clone());
        let made = source.begin().unwrap().key;
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            made.expose_secret(),
            source.resume(None).unwrap().key.expose_secret()
        );
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(source.resume(None), Err(RootKeyError::Exposed(_))));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, [1; 31]).unwrap();
        assert!(matches!(source.resume(None), Err(RootKeyError::Malformed(_))));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(source.resume(None), Err(RootKeyError::Missing(_))));
    }
}
