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
