//! An account's first branch version.

use super::{BranchRecord, RotationError, seed};
use crate::{
    event::StoreEvent,
    keyring::{Anchor, Entry, KeyDenied},
    limits,
};
use strongroom_seal::BranchVersion;

/// Makes the first branch version and anchors it. It is stored first, then anchored, and only then used: a crash between leaves a
/// version that nothing is sealed under and that is not trusted, and the next first use puts another after it.
pub(crate) async fn found(entry: &Entry, stored: &[BranchRecord]) -> Result<(), RotationError> {
    let newest = stored.last().map(|record| Anchor {
        version: record.version,
        check: record.check,
    });
    let first = match (newest, entry.founded()) {
        // Stored before, by this keyring; only the anchor is missing.
        (Some(newest), Some(founded)) if newest == founded => founded,
        _ => make_first(entry).await?,
    };
    if let Some(anchors) = &entry.shared().anchors {
        anchors.advance(entry.account(), None, first).await?;
        entry.anchor_moved(first);
    }
    entry.shared().events.emit(StoreEvent::NewBranch {
        account: entry.account(),
        version: first.version,
        at_ms: entry.shared().now_ms(),
    });
    Ok(())
}

async fn make_first(entry: &Entry) -> Result<Anchor, RotationError> {
    let account = entry.account();
    // The binding is looked at in turn, so that no seed comes under a key that was given up meanwhile. Whoever asks for a lease within
    // a turn has a first version already.
    let _one_at_a_time = entry.rotation().lock().await;
    let binding = entry.binding()?;
    let stored = entry.shared().load(account).await?;
    let branches = &entry.shared().branches;
    if stored.len() >= limits::BRANCH_VERSIONS {
        return Err(RotationError::TooManyVersions);
    }
    for record in &stored {
        if branches.in_use(account, record.version).await? {
            tracing::error!(%account, version = %record.version, "data is sealed under a branch version that was never anchored");
            return Err(KeyDenied::Mismatch.into());
        }
    }
    let last = stored.last().map(|record| record.version);
    let version = match last {
        Some(last) => last.next().ok_or(RotationError::TooManyVersions)?,
        None => BranchVersion::FIRST,
    };
    let target = seed::target(entry, &binding).await?.ok_or(KeyDenied::Refused)?;
    let (key, wrap) = seed::make(entry, &target, version).await?;
    let first = Anchor {
        version,
        check: key.check_value(),
    };
    let record = BranchRecord {
        version,
        created_ms: entry.shared().now_ms(),
        check: first.check,
        endorsement: None,
        wrap,
    };
    branches.append(account, last, record).await?;
    entry.set_founded(first);
    Ok(first)
}
