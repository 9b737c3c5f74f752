//! Keyring and leases: who may use which branch key, and for how long (DESIGN.md, "Leases").
#![allow(dead_code, clippy::all, unused_variables, unused_imports)]

mod binding;
mod state;
mod status;

use std::sync::Arc;

use strongroom_seal::{AccountId, BranchKey, BranchVersion, Clock, KeyWrap};
use tokio::sync::watch;

use crate::{
    event::Events,
    rotation::{Branches, RotationError},
};

pub use binding::{Anchor, AnchorError, AnchorKeeper, Binding};
pub use status::{KeyDenied, KeyState, KeyStatus, LastAnswer};

/// What a keyring works with.
pub(crate) struct KeyringParts {
    pub(crate) vault: Arc<dyn KeyWrap>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) branches: Arc<dyn Branches>,
    pub(crate) anchors: Option<Arc<dyn AnchorKeeper>>,
    pub(crate) events: Events,
}

#[derive(Clone)]
pub(crate) struct Keyring {}

impl Keyring {
    pub(crate) fn start(parts: KeyringParts) -> Self {
        Self {}
    }
    pub(crate) fn bind(&self, bindings: watch::Receiver<Vec<Binding>>) {}
    pub(crate) fn nudge(&self, account: AccountId) {}
    pub(crate) fn key_state(&self, account: AccountId) -> watch::Receiver<KeyStatus> {
        loop {}
    }
    pub(crate) async fn lease(&self, account: AccountId) -> Result<Lease, KeyDenied> {
        Err(KeyDenied::Closed)
    }
    pub(crate) async fn lease_with(
        &self,
        account: AccountId,
        version: BranchVersion,
    ) -> Result<Lease, KeyDenied> {
        Err(KeyDenied::Closed)
    }
    pub(crate) async fn rewrap(&self, account: AccountId) -> Result<u32, RotationError> {
        Err(KeyDenied::Closed.into())
    }
    pub(crate) async fn next_branch(&self, account: AccountId) -> Result<BranchVersion, RotationError> {
        Err(KeyDenied::Closed.into())
    }
    pub(crate) async fn before_drop(
        &self,
        account: AccountId,
        version: BranchVersion,
    ) -> Result<(), RotationError> {
        Err(KeyDenied::Closed.into())
    }
    pub(crate) fn dropped(&self, account: AccountId, version: BranchVersion) {}
    pub(crate) async fn close(&self) {}
}

/// The right to use an account's branch keys, for as long as the vault lets it.
#[derive(Clone)]
pub struct Lease {}

impl Lease {
    /// Whether the key may be used at this moment.
    pub fn check(&self) -> Result<(), KeyDenied> {
        Err(KeyDenied::Closed)
    }
    /// Resolves when the lease ends.
    pub fn ended(&self) -> impl Future<Output = KeyDenied> + Send + 'static {
        std::future::ready(KeyDenied::Closed)
    }
    pub(crate) fn guard(&self) -> Result<Guard, KeyDenied> {
        Err(KeyDenied::Closed)
    }
}

pub(crate) struct Guard {}

impl Guard {
    pub(crate) fn current(&self) -> &BranchKey {
        loop {}
    }
    pub(crate) fn version(&self, version: BranchVersion) -> Option<&BranchKey> {
        None
    }
}
