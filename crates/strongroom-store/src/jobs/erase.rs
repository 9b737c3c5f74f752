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
        while !erase(&inner).await.unwrap_or_else(report) {
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
async fn erase(inner: &Inner) -> Result<bool, StorageFault> {
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
    let Some(newest) = deleted.last() else {
        return Ok(true);
    };
    remove_unwanted(&*inner.records, &*inner.blobs, inner.now_ms()).await?;
    let (up_to, account) = (newest.number, newest.name.account);
    let at_ms = inner.now_ms();
    for ShreddingRow { name, deleted_ms, .. } in deleted {
        let (account, kind, id) = (name.account, name.kind, name.id);
        inner.events.emit(StoreEvent::Shredded {
            account,
            kind,
            id,
            deleted_ms,
            at_ms,
        });
    }
    // Forgotten only after it was told: a crash between the two tells twice, never not at all.
    let forget = Transaction::new(account, at_ms).change(Change::ForgetShreddings { up_to });
    match inner.records.commit(forget).await {
        Ok(_) => Ok(true),
        Err(returned) => Err(StorageFault::new(format!("{:?}", returned.reason))),
    }
}
