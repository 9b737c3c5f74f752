//! What the control plane does with its token keys, and who may ask for it.

use std::sync::Arc;

use super::TokenIssuer;
use super::identity::IdentityHost;
use super::keys::{TokenKey, TokenKeys};
use super::replay::Use;
use crate::actor::Actor;
use crate::control::Control;
use crate::error::ControlError;
use crate::limits::TOKEN_KEY_CHECK;
use zeroize::Zeroizing;

impl Control {
    pub(crate) fn token_keys(&self) -> Arc<TokenKeys> {
        Arc::clone(&self.shared.token_keys)
    }

    pub(crate) fn make_first_token_key(&self) {
        self.shared
            .token_keys
            .make_first(&self.shared.documents, self.now());
    }

    /// Waits until there is a key that signs tokens; an error if the first one could not be made.
    pub fn token_keys_ready(&self) -> Result<(), ControlError> {
        self.shared.token_keys.ready()
    }

    /// Makes the token key that is to follow, lets it sign if the active one's time is over, and forgets those whose last tokens
    /// are.
    pub fn tend_token_keys(&self) -> Result<(), ControlError> {
        self.shared.token_keys.tend(&self.shared.documents, self.now())
    }

    /// Does that every now and then, for as long as it is polled.
    pub async fn keep_token_keys(self) {
        loop {
            tokio::time::sleep(TOKEN_KEY_CHECK).await;
            let control = self.clone();
            match tokio::task::spawn_blocking(move || control.tend_token_keys()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the token keys could not be tended"),
                Err(error) => tracing::error!(%error, "the token keys could not be tended"),
            }
        }
    }

    pub(super) fn mark_used(&self, used: &Use<'_>) -> Result<bool, ControlError> {
        self.shared.used.mark(&self.shared.documents, used, self.now())
    }
}

impl Actor {
    /// The keys that sign tokens, in the order in which they came.
    pub fn token_keys(&self) -> Result<Vec<TokenKey>, ControlError> {
        self.authorize_directory_read(&self.control.state())?;
        self.control.shared.token_keys.list()
    }

    /// Lets the next token key sign now. Tokens of the old one count to their end.
    pub fn rotate_token_keys(&self) -> Result<Vec<TokenKey>, ControlError> {
        self.authorize_directory(&self.control.state())?;
        let shared = &self.control.shared;
        shared.token_keys.rotate(&shared.documents, self.control.now())?;
        shared.token_keys.list()
    }

    /// Lets a host ask `issuer` for tokens of its identities: see [`TokenIssuer::admit_host`].
    pub fn admit_host(
        &self,
        issuer: &TokenIssuer,
        host: IdentityHost,
    ) -> Result<Zeroizing<String>, ControlError> {
        self.authorize_directory(&self.control.state())?;
        issuer.admit_host(host)
    }
}
