//! Rotation of the customer key: each living seed gets a new wrap. A handful of calls, however much data there is.

use std::sync::Arc;

use strongroom_seal::{BranchKey, BranchVersion, KeyId, NoAnswer};

use super::{BranchRecord, BranchesError, RotationError, SeedWrap, seed};
use crate::{
    event::StoreEvent,
    keyring::{Answer, Entry, KeyDenied, living},
    limits,
};

/// Wraps each living seed under the key version that is bound, or the latest, and says how many were not yet. Each new wrap takes the
/// place of the old one at once, and only after its unwrap has yielded the check value; if anything fails, the old one stays in force.
pub(crate) async fn rewrap(entry: &Arc<Entry>) -> Result<u32, RotationError> {
    let _one_at_a_time = entry.rotation().lock().await;
    for _ in 1..limits::BRANCH_TRIES {
        match rewrap_all(entry).await {
            // Somebody else changed the wraps meanwhile; look again.
            Err(RotationError::Branches(BranchesError::Conflict)) => {}
            result => return result,
        }
    }
    rewrap_all(entry).await
}

/// Shows that the key version that seeds belong under wraps and unwraps, with a seed that is not kept.
pub(crate) async fn prove_key(entry: &Entry) -> Result<(), RotationError> {
    let binding = entry.binding()?;
    let target = seed::target(entry, &binding).await?.ok_or(KeyDenied::Refused)?;
    seed::make(entry, &target, BranchVersion::FIRST).await.map(drop)
}

/// Whether every living seed is under the key that is bound. Nothing can come under another meanwhile or later: whoever makes
/// seeds waits for this turn, and looks at the binding after that.
pub(crate) async fn is_settled(entry: &Arc<Entry>) -> Result<bool, RotationError> {
    let _one_at_a_time = entry.rotation().lock().await;
    let binding = entry.binding()?;
    let anchor = entry.anchor();
    let stored = entry.shared().load(entry.account()).await?;
    let mut living = stored
        .iter()
        .filter(|record| anchor.is_none_or(|anchor| record.version >= anchor.version));
    Ok(living.all(|record| binding.wants(&record.wrap.key)))
}

async fn rewrap_all(entry: &Arc<Entry>) -> Result<u32, RotationError> {
    let binding = entry.binding()?;
    let Some(target) = seed::target(entry, &binding).await? else {
        return Ok(0);
    };
    let stored = entry.shared().load(entry.account()).await?;
    if stored.is_empty() {
        return Ok(0);
    }
    let living = living(stored, entry.anchor(), &entry.inventory(), &binding).map_err(|untrusted| {
        tracing::error!(account = %entry.account(), reason = %untrusted, "the stored branch key is not trusted");
        KeyDenied::Mismatch
    })?;
    let mut done = Rewrapped::default();
    let mut result = Ok(());
    for record in living.records.iter().filter(|record| record.wrap.key != target) {
        result = rewrap_one(entry, record, &target).await;
        if result.is_err() {
            break;
        }
        done.from.get_or_insert_with(|| record.wrap.key.clone());
        done.count += 1;
    }
    if result.is_ok() {
        entry.forget_retiring(&binding);
    }
    done.tell(entry, target).await;
    result.map(|()| done.count)
}

#[derive(Default)]
struct Rewrapped {
    from: Option<KeyId>,
    count: u32,
}

impl Rewrapped {
    /// Journals what was done and moves the lease over to the wraps that are active now.
    async fn tell(&self, entry: &Arc<Entry>, to: KeyId) {
        if self.count == 0 {
            return;
        }
        entry.shared().events.emit(StoreEvent::Rewrapped {
            account: entry.account(),
            from: self.from.clone(),
            to,
            branch_versions: self.count,
            at_ms: entry.shared().now_ms(),
        });
        if entry.is_held() {
            // How it ends is heard by the entry, and does not change that the wraps were replaced.
            let _ = entry.ask_afresh().await;
        }
    }
}

async fn rewrap_one(entry: &Entry, record: &BranchRecord, target: &KeyId) -> Result<(), RotationError> {
    let account = entry.account();
    let old = &record.wrap;
    let vault = entry.vault();
    let seed = seed::call(entry, vault.unwrap(&old.key, &old.seed)).await;
    // It is the unwrap of an active wrap, so a no counts for the lease as it would at a renewal. A yes or silence does not:
    // that is for the renewals to find out.
    let answer = match &seed {
        Err(RotationError::Key(KeyDenied::Refused)) => Some(Answer::No(NoAnswer::Refused)),
        Err(RotationError::Key(KeyDenied::Gone)) => Some(Answer::No(NoAnswer::Gone)),
        Ok(seed) if BranchKey::derive_checked(seed, account, record.version, record.check).is_err() => {
            Some(Answer::Mismatch)
        }
        _ => None,
    };
    if let Some(answer) = answer {
        entry.hear(entry.send()?, answer, Some(old.key.clone()))?;
    }
    let seed = seed?;
    let new = seed::wrap_proven(entry, target, &seed, record.version, record.check).await?;
    drop(seed);
    replace(entry, record, new).await
}

async fn replace(entry: &Entry, record: &BranchRecord, new: SeedWrap) -> Result<(), RotationError> {
    let branches = &entry.shared().branches;
    let replaced = branches.replace_wrap(entry.account(), record.version, record.wrap.clone(), new);
    Ok(replaced.await?)
}
