//! The service's own journal: key states, exports, shreddings, cuts. Never content, never a file's name.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use strongroom_journal::Journal;
use strongroom_store::{AccountId, KeyDenied, StoreEvent};
use tokio::sync::broadcast::{self, error::RecvError};

/// Takes the service's events. Must not block.
pub trait ServiceJournal: Send + Sync + 'static {
    /// Notes one event.
    fn record(&self, event: ServiceEvent);
}

/// Something worth a line in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceEvent {
    /// What the store reports.
    Store(StoreEvent),
    /// An answer in flight was cut because the lease ended.
    Cut {
        /// The account.
        account: AccountId,
        /// The route's pattern.
        route: &'static str,
        /// Why.
        denied: KeyDenied,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// The store's events came faster than they were taken; this many are not in the journal.
    Missed {
        /// How many.
        count: u64,
    },
}

impl ServiceEvent {
    /// The event as a line of the journal: a JSON object of accounts, times, key ids and counts.
    #[must_use]
    pub fn to_entry(&self) -> Map<String, Value> {
        let entry = match self {
            Self::Store(event) => store_entry(event),
            Self::Cut {
                account,
                route,
                denied,
                at_ms,
            } => json!({
                "event": "cut", "account": account.to_string(), "route": route, "answer": word(Some(*denied)), "at_ms": at_ms,
            }),
            Self::Missed { count } => json!({ "event": "missed", "count": count }),
        };
        match entry {
            Value::Object(entry) => entry,
            _ => Map::new(),
        }
    }
}

fn store_entry(event: &StoreEvent) -> Value {
    match event {
        StoreEvent::KeyHeard {
            account,
            key,
            denied,
            at_ms,
        } => json!({
            "event": "key_heard", "account": account.to_string(), "key": key.as_ref().map(ToString::to_string),
            "answer": word(*denied), "at_ms": at_ms,
        }),
        StoreEvent::LastUse { account, at_ms } => {
            json!({ "event": "last_use", "account": account.to_string(), "at_ms": at_ms })
        }
        StoreEvent::Wiped {
            account,
            denied,
            at_ms,
        } => json!({
            "event": "wiped", "account": account.to_string(), "answer": word(*denied), "at_ms": at_ms,
        }),
        StoreEvent::Rewrapped {
            account,
            from,
            to,
            branch_versions,
            at_ms,
        } => json!({
            "event": "rewrapped", "account": account.to_string(), "from": from.as_ref().map(ToString::to_string),
            "to": to.to_string(), "branch_versions": branch_versions, "at_ms": at_ms,
        }),
        StoreEvent::NewBranch {
            account,
            version,
            at_ms,
        } => json!({
            "event": "new_branch", "account": account.to_string(), "branch": version.to_string(), "at_ms": at_ms,
        }),
        StoreEvent::Rekeyed {
            account,
            version,
            keys,
            at_ms,
        } => json!({
            "event": "rekeyed", "account": account.to_string(), "branch": version.to_string(), "keys": keys, "at_ms": at_ms,
        }),
        StoreEvent::Exported {
            account,
            kind,
            id,
            part,
            caller,
            at_ms,
        } => json!({
            "event": "exported", "account": account.to_string(), "kind": kind, "id": id, "part": part, "caller": caller,
            "at_ms": at_ms,
        }),
        StoreEvent::Shredded {
            account,
            kind,
            id,
            deleted_ms,
            at_ms,
        } => json!({
            "event": "shredded", "account": account.to_string(), "kind": kind, "id": id, "deleted_ms": deleted_ms,
            "at_ms": at_ms,
        }),
    }
}

fn word(denied: Option<KeyDenied>) -> &'static str {
    match denied {
        None => "held",
        Some(KeyDenied::Refused) => "refused",
        Some(KeyDenied::Gone) => "gone",
        Some(KeyDenied::Unreachable { .. }) => "unreachable",
        Some(KeyDenied::Throttled { .. }) => "throttled",
        Some(KeyDenied::Mismatch) => "mismatch",
        Some(KeyDenied::NotBound) => "not_bound",
        Some(KeyDenied::Storage) => "storage",
        Some(KeyDenied::Closed) => "closed",
    }
}

/// Writes events into a [`Journal`], in order, without waiting for the disk.
#[derive(Clone)]
pub struct JournalSink {
    journal: Journal,
}

impl JournalSink {
    /// Takes a journal whose only user this is.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self { journal }
    }
}

impl ServiceJournal for JournalSink {
    fn record(&self, event: ServiceEvent) {
        let entry = Value::Object(event.to_entry()).to_string();
        if let Err(error) = self.journal.append(entry.into_bytes()) {
            tracing::error!(%error, "an event is missing from the service's journal");
        }
    }
}

/// Puts the store's events into the journal until `closed`, then those that are still on their way, and ends. Without
/// exports: whoever lets one leave puts it into the journal, and waits for it, first.
pub async fn follow(
    mut events: broadcast::Receiver<StoreEvent>,
    journal: Arc<dyn ServiceJournal>,
    closed: impl Future<Output = ()>,
) {
    let mut closed = std::pin::pin!(closed);
    loop {
        let heard = tokio::select! {
            biased;
            heard = events.recv() => heard,
            // Nothing is on its way: what is, comes first.
            () = &mut closed => return,
        };
        match heard {
            Ok(StoreEvent::Exported { .. }) => {}
            Ok(event) => journal.record(ServiceEvent::Store(event)),
            Err(RecvError::Lagged(count)) => journal.record(ServiceEvent::Missed { count }),
            Err(RecvError::Closed) => return,
        }
    }
}
