//! Which account uses which customer key, and the pin that binds them.

use std::{sync::Arc, time::Duration};

use strongroom_seal::{AccountId, BoxFuture, BranchVersion, CheckValue, KeyId, KeyName, KeyWrap};
use thiserror::Error;

/// "This account uses that key", as the control plane says it. A change takes effect while the store runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The account.
    pub account: AccountId,
    /// The customer key. No other key of any vault is asked for this account, whatever is stored.
    pub key: KeyName,
    /// The version to wrap seeds under; `None` follows the latest.
    pub version: Option<String>,
    /// The key bound before, for as long as seeds may still be wrapped under it. Where the control plane does not say, the keyring
    /// remembers it by itself, within one run and until a rewrap has shown that nothing needs it.
    pub retiring: Option<KeyName>,
    /// The pinned check value of the account's oldest living branch version; `None` until its first use.
    pub anchor: Option<Anchor>,
    /// How long a lease lasts after the request that won it was sent (held to 1 s to 1 h).
    pub revocation_bound: Duration,
    /// How long it may last, counted the same way, while the vault is silent; zero is strict.
    pub outage_grace: Duration,
}

impl Binding {
    /// Whether a stored wrap may name this key. What was stored never steers where a call goes.
    pub(crate) fn admits(&self, id: &KeyId) -> bool {
        self.key.admit(id).is_ok() || self.retiring.as_ref().is_some_and(|key| key.admit(id).is_ok())
    }

    /// Whether a seed wrapped under this key version is where it belongs, as far as can be told without asking.
    pub(crate) fn wants(&self, id: &KeyId) -> bool {
        self.key.admit(id).is_ok()
            && self
                .version
                .as_deref()
                .is_none_or(|version| version == id.version())
    }
}

/// The pinned check value of a branch version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The branch version.
    pub version: BranchVersion,
    /// Its check value.
    pub check: CheckValue,
}

/// The way to the vaults. Who asks there, and so what is granted, differs from account to account.
pub trait Vaults: Send + Sync + 'static {
    /// The vaults as they are asked on behalf of this account.
    fn vault(&self, account: AccountId) -> Arc<dyn KeyWrap>;
}

/// One way for all accounts.
impl<T: KeyWrap> Vaults for Arc<T> {
    fn vault(&self, _: AccountId) -> Arc<dyn KeyWrap> {
        Self::clone(self)
    }
}

/// One way for all accounts.
impl Vaults for Arc<dyn KeyWrap> {
    fn vault(&self, _: AccountId) -> Arc<dyn KeyWrap> {
        Arc::clone(self)
    }
}

/// Keeps each account's [`Anchor`] outside of the store, durably.
pub trait AnchorKeeper: Send + Sync + 'static {
    /// Moves the account's anchor, if it still is `from`. Called when the first branch key is made (from `None`) and before the
    /// branch version that is pinned is dropped. Answers only once the new anchor is durable; moving it to where it already is succeeds.
    fn advance(
        &self,
        account: AccountId,
        from: Option<Anchor>,
        to: Anchor,
    ) -> BoxFuture<'_, Result<(), AnchorError>>;
}

/// Why an anchor was not moved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AnchorError {
    /// It is not where the caller thought; somebody else moved it.
    #[error("the anchor is not where it was expected")]
    Moved,
    /// There is no such account.
    #[error("no such account to anchor")]
    NoAccount,
    /// It could not be kept. Try again later; the detail is for the log.
    #[error("the anchor could not be kept: {0}")]
    Unavailable(String),
}
