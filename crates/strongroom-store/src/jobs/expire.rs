//! Deletes objects whose time has come. Needs no key.

use std::sync::Arc;

use futures::future::join_all;
use tracing::warn;

use crate::{
    limits,
    records::{Change, OwnedName, Transaction},
    store::Inner,
};

pub(super) async fn run(inner: Arc<Inner>) {
    loop {
        let now_ms = inner.now_ms();
        match inner.records.expired(now_ms, limits::EXPIRY_BATCH).await {
            Ok(due) if !due.is_empty() => {
                if delete(&inner, due, now_ms).await {
                    continue;
                }
            }
            Ok(_) => {}
            Err(fault) => warn!(%fault, "expired objects were not looked for"),
        }
        tokio::time::sleep(limits::JOB_POLL).await;
    }
}

/// All at once, so that they share a commit. Whether all went well.
async fn delete(inner: &Inner, due: Vec<OwnedName>, now_ms: u64) -> bool {
    let deletions = due.into_iter().map(|OwnedName { account, kind, id }| {
        // It may have been changed to live longer since it was found.
        let change = Change::Delete {
            kind,
            id,
            expired_by_ms: Some(now_ms),
        };
        inner
            .records
            .commit(Transaction::new(account, now_ms).change(change))
    });
    let mut all = true;
    for returned in join_all(deletions).await.into_iter().filter_map(Result::err) {
        warn!(reason = ?returned.reason, "an expired object was not deleted");
        all = false;
    }
    inner.traces.leave();
    all
}
