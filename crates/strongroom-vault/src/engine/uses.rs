//! What uses keys: encrypting, wrapping, signing and their opposites, with the rules of disabled, expired and restricted keys.

use std::sync::Arc;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::engine::fault::VaultFault;
use crate::engine::keys::{KeyFault, PrivateKey};
use crate::engine::kinds::{EncryptionAlgorithm, SignatureAlgorithm};
use crate::engine::safe::Ready;
use crate::engine::settings::{KeyOperation, KeyVersion};
use crate::engine::{Inner, KeyPath, VaultEngine, rows};
use crate::limits::MAX_RANDOM;

/// The version that was used (the caller may have named none), and what came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used<T> {
    /// The key version.
    pub key: Arc<KeyVersion>,
    /// The result.
    pub value: T,
}

/// Which key is to be used: the latest version if none is named.
#[derive(Debug, Clone, Copy)]
pub struct Using<'a> {
    /// The vault.
    pub vault: &'a str,
    /// The key's name.
    pub name: &'a str,
    /// The version.
    pub version: Option<&'a str>,
}

impl VaultEngine {
    /// Wraps `plain`. Disabled, expired and not yet valid keys do not wrap.
    pub async fn wrap(
        &self,
        key: Using<'_>,
        algorithm: EncryptionAlgorithm,
        plain: Zeroizing<Vec<u8>>,
    ) -> Result<Used<Vec<u8>>, VaultFault> {
        self.use_key(key, KeyOperation::WrapKey, move |key| {
            key.encrypt(algorithm, &plain)
        })
        .await
    }

    /// Unwraps `wrapped`. Disabled keys do not unwrap; expired and not yet valid ones do, so that data stays readable until
    /// the key is disabled.
    pub async fn unwrap(
        &self,
        key: Using<'_>,
        algorithm: EncryptionAlgorithm,
        wrapped: Vec<u8>,
    ) -> Result<Used<Zeroizing<Vec<u8>>>, VaultFault> {
        self.use_key(key, KeyOperation::UnwrapKey, move |key| {
            key.decrypt(algorithm, &wrapped)
        })
        .await
    }

    /// Encrypts `plain`, by the rules of wrapping.
    pub async fn encrypt(
        &self,
        key: Using<'_>,
        algorithm: EncryptionAlgorithm,
        plain: Zeroizing<Vec<u8>>,
    ) -> Result<Used<Vec<u8>>, VaultFault> {
        self.use_key(key, KeyOperation::Encrypt, move |key| {
            key.encrypt(algorithm, &plain)
        })
        .await
    }

    /// Decrypts `encrypted`, by the rules of unwrapping.
    pub async fn decrypt(
        &self,
        key: Using<'_>,
        algorithm: EncryptionAlgorithm,
        encrypted: Vec<u8>,
    ) -> Result<Used<Zeroizing<Vec<u8>>>, VaultFault> {
        self.use_key(key, KeyOperation::Decrypt, move |key| {
            key.decrypt(algorithm, &encrypted)
        })
        .await
    }

    /// Signs a digest that the caller computed by the algorithm's hash. Disabled, expired and not yet valid keys do not sign.
    pub async fn sign(
        &self,
        key: Using<'_>,
        algorithm: SignatureAlgorithm,
        digest: Vec<u8>,
    ) -> Result<Used<Vec<u8>>, VaultFault> {
        self.use_key(key, KeyOperation::Sign, move |key| key.sign(algorithm, &digest))
            .await
    }

    /// Whether `signature` is one of `digest` by this key. Disabled keys do not verify; expired and not yet valid ones do.
    pub async fn verify(
        &self,
        key: Using<'_>,
        algorithm: SignatureAlgorithm,
        digest: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<Used<bool>, VaultFault> {
        self.use_key(key, KeyOperation::Verify, move |key| {
            key.verify(algorithm, &digest, &signature)
        })
        .await
    }

    /// So many random bytes: 1 to 128.
    pub fn random(&self, count: usize) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
        if !(1..=MAX_RANDOM).contains(&count) {
            return Err(VaultFault::BadParameter("count is a number from 1 to 128"));
        }
        let mut bytes = Zeroizing::new(vec![0; count]);
        rand::fill(&mut bytes).map_err(|_| VaultFault::Library)?;
        Ok(bytes)
    }

    async fn use_key<T: Send + 'static>(
        &self,
        key: Using<'_>,
        operation: KeyOperation,
        work: impl FnOnce(&dyn PrivateKey) -> Result<T, KeyFault> + Send + 'static,
    ) -> Result<Used<T>, VaultFault> {
        let key = KeyPath::new(key.vault, key.name, key.version);
        if let Some(Ready { key, private }) = self.inner.remembered(&key, operation)?
            && key.spec.is_brief()
        {
            return Ok(Used {
                key,
                value: work(&*private)?,
            });
        }
        self.work(move |inner| {
            let Ready { key, private } = inner.usable(key, operation)?;
            Ok(Used {
                key,
                value: work(&*private)?,
            })
        })
        .await
    }
}

impl Inner {
    /// A key in steady use, which is found without asking the database, if the rules allow this operation now.
    fn remembered(&self, key: &KeyPath, operation: KeyOperation) -> Result<Option<Ready>, VaultFault> {
        let ready = self.safe.ready(key, self.database.changes());
        if let Some(ready) = &ready {
            may_be_used(&ready.key, operation, self.now())?;
        }
        Ok(ready)
    }

    /// The private key, if the rules allow this operation now.
    fn usable(&self, key: KeyPath, operation: KeyOperation) -> Result<Ready, VaultFault> {
        if let Some(ready) = self.remembered(&key, operation)? {
            return Ok(ready);
        }
        let changes = self.database.changes();
        let visit = self.safe.enter();
        let ready = self.database.read(|view| {
            let now = self.now();
            let (version, row) = key.find(view, now)?;
            may_be_used(&version, operation, now)?;
            let load = |kept: &[u8]| Ok(self.backend.load(version.spec, kept, &version.public)?);
            let private = visit.open(row, &key, &version.version, || rows::kept(view, row), load)?;
            Ok(Ready {
                key: Arc::new(version),
                private,
            })
        })?;
        self.safe
            .remember(key, ready.clone(), changes, || self.database.changes());
        Ok(ready)
    }
}

/// The rules, in the order in which a caller hears of them.
fn may_be_used(version: &KeyVersion, operation: KeyOperation, now: u64) -> Result<(), VaultFault> {
    if !version.enabled {
        return Err(VaultFault::Disabled(operation));
    }
    // Times bind what protects new data; what recovers old data goes on.
    let binds = matches!(
        operation,
        KeyOperation::WrapKey | KeyOperation::Encrypt | KeyOperation::Sign
    );
    if binds && version.not_before.is_some_and(|not_before| now < not_before) {
        return Err(VaultFault::NotYetValid(operation));
    }
    if binds && version.expires.is_some_and(|expires| now >= expires) {
        return Err(VaultFault::Expired(operation));
    }
    if !version.operations.contains(&operation) {
        return Err(VaultFault::NotPermitted(operation));
    }
    Ok(())
}
