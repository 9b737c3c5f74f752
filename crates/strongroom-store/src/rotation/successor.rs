//! The two ends of a rekey: a new branch version, and the leave to drop the oldest.

use std::sync::Arc;

use strongroom_seal::BranchVersion;

use super::{BranchRecord, RotationError, seed};
use crate::{
    event::StoreEvent,
    keyring::{Anchor, AnchorError, Entry, KeyDenied},
    limits,
};

/// Makes a new branch version, endorsed by the current one, and makes it current.
pub(crate) async fn next_branch(entry: &Arc<Entry>) -> Result<BranchVersion, RotationError> {
    // The lease comes first: to win one may need the account's first branch version to be made.
    let _in_use = entry.lease().await?;
    let _one_at_a_time = entry.rotation().lock().await;
    let binding = entry.binding()?;
    let stored = entry.shared().load(entry.account()).await?;
    if stored.len() >= limits::BRANCH_VERSIONS {
        return Err(RotationError::TooManyVersions);
    }
    let before = stored.last().ok_or(KeyDenied::Mismatch)?.version;
    let version = before.next().ok_or(RotationError::TooManyVersions)?;
    let target = seed::target(entry, &binding).await?.ok_or(KeyDenied::Refused)?;
    let (key, wrap) = seed::make(entry, &target, version).await?;
    let check = key.check_value();
    drop(key);
    let endorsement = {
        let guard = entry.lease_with(before).await?.guard()?;
        let before = guard.version(before).ok_or(KeyDenied::Mismatch)?;
        before.endorse(version, check)
    };
    let record = BranchRecord {
        version,
        created_ms: entry.shared().now_ms(),
        check,
        endorsement: Some(endorsement),
        wrap,
    };
    entry
        .shared()
        .branches
        .append(entry.account(), Some(before), record)
        .await?;
    entry.shared().events.emit(StoreEvent::NewBranch {
        account: entry.account(),
        version,
        at_ms: entry.shared().now_ms(),
    });
    // So that the new version is used at once. If it cannot be now, it exists all the same.
    let _ = entry.ask_afresh().await;
    Ok(version)
}

/// Moves the anchor to the successor of a version that is about to be dropped: it must be the oldest, and nothing may be under it. From
/// then on it is never opened again. Versions before the anchor are dead already and need nothing.
pub(crate) async fn before_drop(entry: &Arc<Entry>, version: BranchVersion) -> Result<(), RotationError> {
    let account = entry.account();
    let branches = &entry.shared().branches;
    if branches.in_use(account, version).await? {
        return Err(RotationError::StillNeeded);
    }
    let successor = version.next().ok_or(RotationError::StillNeeded)?;
    let lease = entry.lease_with(successor).await?;
    let _one_at_a_time = entry.rotation().lock().await;
    let anchor = entry.anchor();
    if anchor.is_some_and(|anchor| anchor.version > version) {
        return Ok(());
    }
    let to = {
        let guard = lease.guard()?;
        // Taken from the key in memory, which its predecessor has vouched for, and not from what is stored.
        let check = guard
            .version(successor)
            .ok_or(RotationError::StillNeeded)?
            .check_value();
        Anchor {
            version: successor,
            check,
        }
    };
    let is_oldest = match anchor {
        Some(anchor) => anchor.version == version,
        None => {
            let stored = entry.shared().load(account).await?;
            stored.first().is_some_and(|oldest| oldest.version == version)
        }
    };
    if !is_oldest {
        return Err(RotationError::StillNeeded);
    }
    match (&entry.shared().anchors, anchor) {
        (Some(anchors), _) => {
            anchors.advance(account, anchor, to).await?;
            entry.anchor_moved(to);
        }
        (None, Some(_)) => return Err(AnchorError::Unavailable("nobody keeps the anchor".to_owned()).into()),
        (None, None) => {}
    }
    Ok(())
}
