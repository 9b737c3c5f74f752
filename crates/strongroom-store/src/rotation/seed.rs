//! New seeds and new wraps. A wrap is given out only after its unwrap has yielded the check value.

use strongroom_seal::{
    BoxFuture, BranchKey, BranchVersion, CheckValue, KeyId, Secret, VaultError, WrapAlgorithm,
};
use tokio::time::timeout;

use super::{RotationError, SeedWrap};
use crate::{
    keyring::{Binding, Entry, KeyDenied},
    limits,
};

/// A new branch key and the proven wrap of its seed. The seed itself is gone.
pub(super) async fn make(
    entry: &Entry,
    target: &KeyId,
    version: BranchVersion,
) -> Result<(BranchKey, SeedWrap), RotationError> {
    let seed = Secret::random().map_err(|_| RotationError::NoNewKey)?;
    let key = BranchKey::derive(&seed, entry.account(), version).map_err(|_| RotationError::NoNewKey)?;
    let wrap = wrap_proven(entry, target, &seed, version, key.check_value()).await?;
    Ok((key, wrap))
}

/// Wraps a seed, unwraps what came of it, and compares.
pub(super) async fn wrap_proven(
    entry: &Entry,
    target: &KeyId,
    seed: &Secret<32>,
    version: BranchVersion,
    check: CheckValue,
) -> Result<SeedWrap, RotationError> {
    let vault = entry.vault();
    let wrapped = call(entry, vault.wrap(target, seed)).await?;
    let back = call(entry, vault.unwrap(target, &wrapped)).await?;
    if BranchKey::derive_checked(&back, entry.account(), version, check).is_err() {
        tracing::error!(account = %entry.account(), key = %target, "the vault unwraps something else than was wrapped");
        return Err(KeyDenied::Mismatch.into());
    }
    Ok(SeedWrap {
        key: target.clone(),
        algorithm: WrapAlgorithm::RsaOaep256,
        seed: wrapped,
    })
}

/// The key version that seeds belong under: the one bound, or the latest. `None` if the latest is not enabled (yet).
pub(super) async fn target(entry: &Entry, binding: &Binding) -> Result<Option<KeyId>, RotationError> {
    if let Some(version) = &binding.version {
        let bound = binding.key.with_version(version);
        return bound.map(Some).map_err(|_| KeyDenied::NotBound.into());
    }
    let vault = entry.vault();
    let latest = call(entry, vault.describe(&binding.key, None)).await?;
    if binding.key.admit(&latest.id).is_err() {
        tracing::error!(account = %entry.account(), asked = %binding.key, answered = %latest.id, "the vault described another key");
        return Err(KeyDenied::Mismatch.into());
    }
    Ok(latest.enabled.then_some(latest.id))
}

/// One call to the vault, within its time. No lease hangs on these calls.
pub(super) async fn call<T>(
    entry: &Entry,
    call: BoxFuture<'_, Result<T, VaultError>>,
) -> Result<T, RotationError> {
    let account = entry.account();
    match timeout(limits::UNWRAP_DEADLINE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let request = error.request_id.as_deref().unwrap_or("-");
            tracing::warn!(%account, %error, request, "the vault did not help to rotate");
            Err(KeyDenied::from(error.answer).into())
        }
        Err(_elapsed) => {
            tracing::warn!(%account, "the vault did not answer in time");
            Err(KeyDenied::Unreachable { retry_after: None }.into())
        }
    }
}
