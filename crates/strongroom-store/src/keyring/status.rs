//! What others see of a key: why it is denied, and its watched state.

use std::time::Duration;

use strongroom_seal::{Age, BranchVersion, KeyId, Moment, NoAnswer};
use thiserror::Error;

/// Why the account's key may not be used now. The first four are what the vault said; they are never merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum KeyDenied {
    /// The vault refuses. Trying again is useless until the customer allows it.
    #[error("the customer key refuses")]
    Refused,
    /// The vault says that there is no such key.
    #[error("the customer key is gone")]
    Gone,
    /// The vault does not answer, and the grace for that is spent.
    #[error("the customer key's vault cannot be reached")]
    Unreachable {
        /// When to try again, if that is known.
        retry_after: Option<Duration>,
    },
    /// The vault asks for patience, and the grace for that is spent.
    #[error("the customer key's vault asks for patience")]
    Throttled {
        /// When to try again, if the vault said so.
        retry_after: Option<Duration>,
    },
    /// What is stored does not lead to the account's branch key: a wrap was moved, planted, names a foreign key, or the anchor does not
    /// fit. No key is used; a person must look. To callers it is as good as refused.
    #[error("the stored key material is not the account's")]
    Mismatch,
    /// No key is bound to the account.
    #[error("no customer key is bound to the account")]
    NotBound,
    /// The branch versions or the anchor could not be read or written. Try again later.
    #[error("the account's branch key could not be loaded from storage")]
    Storage,
    /// The store is shutting down.
    #[error("the keyring is closed")]
    Closed,
}

impl From<NoAnswer> for KeyDenied {
    fn from(answer: NoAnswer) -> Self {
        match answer {
            NoAnswer::Refused => Self::Refused,
            NoAnswer::Gone => Self::Gone,
            NoAnswer::Unreachable => Self::Unreachable { retry_after: None },
            NoAnswer::Throttled { retry_after } => Self::Throttled { retry_after },
        }
    }
}

/// Whether an account's key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Nobody uses it: no lease, nothing known to be wrong.
    Idle,
    /// There is a lease.
    Held,
    /// There is none, for this reason.
    Denied(KeyDenied),
}

/// The watched state of an account's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// Whether it may be used.
    pub state: KeyState,
    /// Since when, in milliseconds since the Unix epoch; 0 before anything happened.
    pub since_ms: u64,
    /// The versioned customer key whose wrap is active.
    pub key: Option<KeyId>,
    /// The branch version that new objects are sealed under.
    pub branch: Option<BranchVersion>,
    /// When the request that won the lease was sent.
    pub sent: Option<Moment>,
    /// The vault's last word.
    pub last_answer: Option<LastAnswer>,
    /// The bound in force.
    pub revocation_bound: Duration,
    /// The grace in force.
    pub outage_grace: Duration,
    /// Whether all branch keys held are kept out of swap.
    pub locked_in_memory: bool,
}

impl KeyStatus {
    /// How old the lease is, if there is one.
    #[must_use]
    pub fn lease_age(&self, now: Moment) -> Option<Duration> {
        match (self.state, now.age_since(self.sent?)) {
            (KeyState::Held, Age::Elapsed(age)) => Some(age),
            _ => None,
        }
    }
}

/// What a vault last said to an unwrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastAnswer {
    /// `None` for yes.
    pub denied: Option<KeyDenied>,
    /// When it was heard, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}
