//! What uses keys: wrapping and unwrapping, with the rules of disabled, expired and restricted keys.

use std::sync::Arc;

use strongroom_seal::WrapAlgorithm;
use zeroize::Zeroizing;

use crate::engine::fault::VaultFault;
use crate::engine::keys::PrivateKey;
use crate::engine::settings::{KeyOperation, KeyVersion};
use crate::engine::{Inner, KeyPath, VaultEngine, rows};

/// The version that was used (the caller may have named none), and what came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used<T> {
    /// The key version.
    pub key: KeyVersion,
    /// The result.
    pub value: T,
}

impl VaultEngine {
    /// Wraps `plain` with a version, the latest if none is named. Disabled, expired and not yet valid keys do not wrap.
    pub async fn wrap(
        &self,
        vault: &str,
        name: &str,
        version: Option<&str>,
        algorithm: WrapAlgorithm,
        plain: Zeroizing<Vec<u8>>,
    ) -> Result<Used<Vec<u8>>, VaultFault> {
        let key = KeyPath::new(vault, name, version);
        self.work(move |inner| {
            let (key, private) = inner.usable(&key, KeyOperation::WrapKey)?;
            Ok(Used {
                key,
                value: private.wrap(algorithm, &plain)?,
            })
        })
        .await
    }

    /// Unwraps `wrapped` with a version, the latest if none is named. Disabled keys do not unwrap; expired and not yet
    /// valid ones do, so that data stays readable until the key is disabled.
    pub async fn unwrap(
        &self,
        vault: &str,
        name: &str,
        version: Option<&str>,
        algorithm: WrapAlgorithm,
        wrapped: Vec<u8>,
    ) -> Result<Used<Zeroizing<Vec<u8>>>, VaultFault> {
        let key = KeyPath::new(vault, name, version);
        self.work(move |inner| {
            let (key, private) = inner.usable(&key, KeyOperation::UnwrapKey)?;
            Ok(Used {
                key,
                value: private.unwrap(algorithm, &wrapped)?,
            })
        })
        .await
    }
}

impl Inner {
    /// The private key, if the rules allow this operation now.
    fn usable(
        &self,
        key: &KeyPath,
        operation: KeyOperation,
    ) -> Result<(KeyVersion, Arc<dyn PrivateKey>), VaultFault> {
        let visit = self.safe.enter();
        self.database.read(|view| {
            let now = self.now();
            let (version, row) = key.find(view, now)?;
            may_be_used(&version, operation, now)?;
            let private = visit.open(
                row,
                key,
                &version.version,
                || rows::kept(view, row),
                |kept| Ok(self.backend.load(kept, &version.public)?),
            )?;
            Ok((version, private))
        })
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
