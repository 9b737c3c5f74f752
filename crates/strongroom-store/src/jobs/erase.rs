//! Erases what was deleted, and keys that were replaced, from database and log, in time, and tells.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use crate::{
    error::StorageFault,
    event::StoreEvent,
    limits,
    records::{Change, ShreddingRow, Transaction},
    store::{Inner, remove_unwanted},
};

pub(super) async fn run(inner: Arc<Inner>) {
    // What an earlier life of the program deleted is due at once.
    let mut due_at_once = true;
    // The number of the last shredding that was told.
    let mut told = 0;
    loop {
        match inner.records.shreddings(limits::SHREDDINGS_ERASED).await {
            Ok(deleted) if deleted.is_empty() && !inner.traces.are_left() => inner.traces.noted().await,
            Ok(_) if !due_at_once => tokio::time::sleep(inner.erase_within / 4).await,
            Ok(_) => {}
            Err(fault) => {
                warn!(%fault, "deleted objects were not looked for");
                tokio::time::sleep(limits::JOB_POLL).await;
                continue;
            }
        }
        due_at_once = false;
        while !erase(&inner, &mut told).await.unwrap_or_else(report) {
            tokio::time::sleep(retry_after(inner.erase_within)).await;
        }
    }
}

/// Often enough to find a moment without readers well within the time given.
fn retry_after(erase_within: Duration) -> Duration {
    (erase_within / 100).clamp(limits::ERASE_WAIT, limits::JOB_POLL)
}

fn report(fault: StorageFault) -> bool {
    warn!(%fault, "deleted objects were not erased yet");
    false
}

/// Erases what was deleted before this call; false if readers were in the way.
async fn erase(inner: &Inner, told: &mut u64) -> Result<bool, StorageFault> {
    let were_left = inner.traces.take();
    let deleted = inner.records.shreddings(limits::SHREDDINGS_ERASED).await;
    let erased = match &deleted {
        Ok(deleted) if deleted.is_empty() && !were_left => return Ok(true),
        Ok(_) => inner.records.erase().await,
        Err(fault) => Err(fault.clone()),
    };
    if were_left && !matches!(erased, Ok(true)) {
        inner.traces.leave();
    }
    let (deleted, true) = (deleted?, erased?) else {
        return Ok(false);
    };
    inner.traces.erased();
    // Blobs can go without their object too.
    remove_unwanted(&*inner.records, &*inner.blobs, inner.now_ms()).await?;
    if deleted.is_empty() {
        return Ok(true);
    }
    for rows in deleted.chunks(limits::SHREDDINGS_TOLD) {
        tell(inner, rows, told).await?;
        forget(inner, rows).await?;
    }
    Ok(true)
}

/// Puts shreddings on record, unless that was done and only forgetting them failed.
async fn tell(inner: &Inner, rows: &[ShreddingRow], told: &mut u64) -> Result<(), StorageFault> {
    let at_ms = inner.now_ms();
    let Some(newest) = rows.last().filter(|newest| newest.number > *told) else {
        return Ok(());
    };
    let new = rows.iter().filter(|row| row.number > *told);
    let events = new.map(|row| StoreEvent::Shredded {
        account: row.name.account,
        kind: row.name.kind.clone(),
        id: row.name.id.clone(),
        deleted_ms: row.deleted_ms,
        expired: row.expired,
        branches: row.destroyed.branches.clone(),
        keys: row.destroyed.keys.clone(),
        digest: row.destroyed.digest,
        at_ms,
    });
    match &inner.witness {
        Some(witness) => witness
            .keep(events.collect())
            .await
            .map_err(|error| StorageFault::new(error.to_string()))?,
        None => events.for_each(|event| inner.events.emit(event)),
    }
    *told = newest.number;
    Ok(())
}

/// Only what was told is forgotten: a crash between the two tells twice, never not at all.
async fn forget(inner: &Inner, rows: &[ShreddingRow]) -> Result<(), StorageFault> {
    let Some(newest) = rows.last() else {
        return Ok(());
    };
    let up_to = newest.number;
    let forget =
        Transaction::new(newest.name.account, inner.now_ms()).change(Change::ForgetShreddings { up_to });
    match inner.records.commit(forget).await {
        Ok(_) => Ok(()),
        Err(returned) => Err(StorageFault::new(format!("{:?}", returned.reason))),
    }
}
