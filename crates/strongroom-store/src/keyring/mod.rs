//! Keyring and leases (stub for the first minutes; KEYRING replaces it).
#![allow(missing_docs, clippy::all, unreachable_pub, dead_code)]

use std::{future::Future, time::Duration};

use strongroom_seal::{AccountId, BoxFuture, BranchVersion, CheckValue, KeyId, KeyName};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyDenied {
    #[error("the customer key refuses")]
    Refused,
    #[error("the customer key is gone")]
    Gone,
    #[error("the vault is unreachable")]
    Unreachable { retry_after: Option<Duration> },
    #[error("the vault throttles")]
    Throttled { retry_after: Option<Duration> },
}

#[derive(Clone)]
pub struct Lease {}

impl Lease {
    pub fn check(&self) -> Result<(), KeyDenied> {
        Err(KeyDenied::Refused)
    }

    pub fn ended(&self) -> impl Future<Output = KeyDenied> + Send + 'static {
        std::future::ready(KeyDenied::Refused)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Idle,
    Held,
    Refused,
    Gone,
    Unreachable,
    Throttled { retry_after: Option<Duration> },
}

#[derive(Debug, Clone)]
pub struct KeyStatus {
    pub state: KeyState,
    pub key: Option<KeyId>,
    pub branch: Option<BranchVersion>,
    pub lease_age: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    pub version: BranchVersion,
    pub check: CheckValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub account: AccountId,
    pub key: KeyName,
    pub version: Option<String>,
    pub anchor: Option<Anchor>,
    pub revocation_bound: Duration,
    pub outage_grace: Duration,
}

pub trait AnchorKeeper: Send + Sync + 'static {
    fn advance<'a>(&'a self, account: AccountId, from: Option<Anchor>, to: Anchor) -> BoxFuture<'a, Result<(), String>>;
}
