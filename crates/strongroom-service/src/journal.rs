//! The service's own journal: key states, exports, shreddings, cuts. Never content, never a file's name.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use strongroom_journal::{Journal, JournalError, Receipt};
use strongroom_store::{AccountId, KeyDenied, StoreEvent};
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

use crate::limits;

/// Takes the service's events.
pub trait ServiceJournal: Send + Sync + 'static {
    /// Notes one event without waiting. If it is not kept, the log says that it is missing.
    fn record(&self, event: ServiceEvent);

    /// Notes events for whoever can wait, and answers with those that were not kept.
    fn keep(&self, events: Vec<ServiceEvent>) -> BoxFuture<'_, Vec<ServiceEvent>> {
        events.into_iter().for_each(|event| self.record(event));
        Box::pin(std::future::ready(Vec::new()))
    }
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
        StoreEvent::Shredded { .. } => receipt(event),
    }
}

/// What was destroyed, when, why, and what it was under.
fn receipt(event: &StoreEvent) -> Value {
    let StoreEvent::Shredded {
        account,
        kind,
        id,
        deleted_ms,
        expired,
        branches,
        keys,
        digest,
        at_ms,
    } = event
    else {
        return Value::Null;
    };
    let branches: Vec<_> = branches.iter().map(ToString::to_string).collect();
    json!({
        "event": "shredded", "account": account.to_string(), "kind": kind, "id": id,
        "why": if *expired { "expired" } else { "deleted" }, "deleted_ms": deleted_ms, "branches": branches, "keys": keys,
        "wrapped_keys_sha256": hex(digest), "at_ms": at_ms,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// Writes events into a [`Journal`].
#[derive(Clone)]
pub struct JournalSink {
    journal: Journal,
}

impl JournalSink {
    /// Takes the service's journal.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self { journal }
    }
}

impl ServiceJournal for JournalSink {
    fn record(&self, event: ServiceEvent) {
        match self.journal.append(line(&event)) {
            Ok(receipt) => drop(tokio::spawn(async move {
                if let Err(error) = receipt.durable().await {
                    missing(&error);
                }
            })),
            Err(error) => missing(&error),
        }
    }

    fn keep(&self, events: Vec<ServiceEvent>) -> BoxFuture<'_, Vec<ServiceEvent>> {
        Box::pin(async move {
            let mut queued: Vec<(ServiceEvent, Result<Receipt, JournalError>)> = Vec::new();
            for event in events {
                let receipt = self.journal.append_in_turn(line(&event)).await;
                queued.push((event, receipt));
            }
            let mut left = Vec::new();
            for (event, receipt) in queued {
                let kept = match receipt {
                    Ok(receipt) => receipt.durable().await,
                    Err(error) => Err(error),
                };
                if kept.is_err() {
                    left.push(event);
                }
            }
            left
        })
    }
}

fn line(event: &ServiceEvent) -> Vec<u8> {
    Value::Object(event.to_entry()).to_string().into_bytes()
}

fn missing(error: &JournalError) {
    tracing::error!(%error, "an event is missing from the service's journal");
}

/// Puts the store's events into the journal until `closed`, then those that are still on their way, and ends. While the disk does
/// not take them they wait; so many wait at most as the store keeps, and how many were too many is an event itself.
///
/// Without exports: whoever lets one leave puts it into the journal, and waits for it, first. Shreddings go the same way, by the
/// store's witness.
pub async fn follow(
    mut events: broadcast::Receiver<StoreEvent>,
    journal: Arc<dyn ServiceJournal>,
    closed: impl Future<Output = ()>,
) {
    let closed = closed.shared();
    loop {
        let first = tokio::select! {
            biased;
            heard = events.recv() => heard,
            // Nothing is on its way: what is, comes first.
            () = closed.clone() => return,
        };
        let mut heard = Vec::new();
        match first {
            Ok(event) => heard.extend(to_keep(event)),
            Err(RecvError::Lagged(count)) => heard.push(ServiceEvent::Missed { count }),
            Err(RecvError::Closed) => return,
        }
        while heard.len() < limits::EVENTS_KEPT {
            match events.try_recv() {
                Ok(event) => heard.extend(to_keep(event)),
                Err(TryRecvError::Lagged(count)) => heard.push(ServiceEvent::Missed { count }),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        keep(&*journal, heard, closed.clone()).await;
    }
}

fn to_keep(event: StoreEvent) -> Option<ServiceEvent> {
    let is_kept_elsewhere = matches!(event, StoreEvent::Exported { .. });
    (!is_kept_elsewhere).then_some(ServiceEvent::Store(event))
}

/// Until all are kept. After `closed` the log says how many the disk did not take.
async fn keep(journal: &dyn ServiceJournal, mut events: Vec<ServiceEvent>, closed: impl Future<Output = ()>) {
    let mut closed = std::pin::pin!(closed);
    let mut is_warned = false;
    loop {
        events = journal.keep(events).await;
        if events.is_empty() {
            return;
        }
        if !std::mem::replace(&mut is_warned, true) {
            tracing::warn!(
                events = events.len(),
                "the service's journal does not take events; they wait"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(limits::KEEP_AGAIN) => {}
            () = &mut closed => {
                tracing::error!(events = events.len(), "events are missing from the service's journal");
                return;
            }
        }
    }
}
