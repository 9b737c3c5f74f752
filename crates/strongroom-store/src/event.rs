//! What happened, for the program's journal: accounts, times and key ids, never content.

use strongroom_seal::{AccountId, BoxFuture, BranchVersion, KeyId};
use thiserror::Error;
use tokio::sync::broadcast;

use crate::keyring::KeyDenied;
use crate::limits;

/// Something worth a line in the journal. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// The vault answered, and the answer changed the state of the key.
    KeyHeard {
        /// The account.
        account: AccountId,
        /// The versioned key that was asked for.
        key: Option<KeyId>,
        /// `None` when the key is held, else why not.
        denied: Option<KeyDenied>,
        /// When.
        at_ms: u64,
    },
    /// A lease ended; this is the last time its key was used.
    LastUse {
        /// The account.
        account: AccountId,
        /// When the last guard was given back.
        at_ms: u64,
    },
    /// The branch keys of an account were wiped from memory.
    Wiped {
        /// The account.
        account: AccountId,
        /// Why, if a vault said no or nothing.
        denied: Option<KeyDenied>,
        /// When.
        at_ms: u64,
    },
    /// Seeds were wrapped anew under another version of the customer key.
    Rewrapped {
        /// The account.
        account: AccountId,
        /// The key they were wrapped under.
        from: Option<KeyId>,
        /// The key they are wrapped under now.
        to: KeyId,
        /// How many branch versions that concerned.
        branch_versions: u32,
        /// When.
        at_ms: u64,
    },
    /// A new branch version is current.
    NewBranch {
        /// The account.
        account: AccountId,
        /// The version.
        version: BranchVersion,
        /// When.
        at_ms: u64,
    },
    /// Every object key is under the current branch version and older versions are gone.
    Rekeyed {
        /// The account.
        account: AccountId,
        /// The current version.
        version: BranchVersion,
        /// How many object keys were wrapped anew.
        keys: u64,
        /// When.
        at_ms: u64,
    },
    /// An object left together with its key.
    Exported {
        /// The account.
        account: AccountId,
        /// The object's kind.
        kind: String,
        /// The object's id.
        id: String,
        /// The part; `None` for the record.
        part: Option<u32>,
        /// Who asked.
        caller: String,
        /// When.
        at_ms: u64,
    },
    /// A deleted object is erased from database and log: nothing here can open it any more. Told to the [`Witness`] alone, if there is one.
    Shredded {
        /// The account.
        account: AccountId,
        /// The object's kind.
        kind: String,
        /// The object's id.
        id: String,
        /// When it was deleted.
        deleted_ms: u64,
        /// Whether its time had come; else somebody deleted it.
        expired: bool,
        /// The branch versions that its keys were wrapped under, oldest first: more than one only in the middle of a rekey.
        branches: Vec<BranchVersion>,
        /// The customer-key versions that wrapped these branches' seeds.
        keys: Vec<String>,
        /// SHA-256 of the wrapped keys that were destroyed, one after the other: the record's own, then its blobs' by part number.
        digest: [u8; 32],
        /// When it was erased.
        at_ms: u64,
    },
}

/// Keeps what must not be forgotten on record outside of the store.
pub trait Witness: Send + Sync + 'static {
    /// Resolves when all of them are on record, durably and in this order. They are few at once, and the next come when these
    /// are kept: a slow witness slows only whoever shreds. After an error all of them are told again, later.
    fn keep(&self, events: Vec<StoreEvent>) -> BoxFuture<'_, Result<(), NotKept>>;
}

/// Not everything is on record. The detail is for the log and carries no content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("events are not on record: {0}")]
pub struct NotKept(pub String);

/// The sending side of the events. Nobody listening is fine.
#[derive(Clone)]
pub(crate) struct Events {
    sender: broadcast::Sender<StoreEvent>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(limits::EVENTS),
        }
    }

    pub(crate) fn emit(&self, event: StoreEvent) {
        // An error says only that nobody listens.
        let _ = self.sender.send(event);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<StoreEvent> {
        self.sender.subscribe()
    }
}
