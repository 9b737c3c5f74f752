//! Keys that an issuer publishes: fetched, kept for a bounded time, fetched anew when a token names one that is not known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::jwks::Asked;
use super::{Jwk, Jwks, KeySource};
use crate::limits::{KEYS_FRESH_SECONDS, KEYS_KEPT_SECONDS, KEYS_REFRESH_SECONDS, KEYS_RETRY_SECONDS};

/// Fetches a published set of keys.
pub trait FetchKeys: Send + Sync + 'static {
    /// What the issuer publishes now, or nothing: the reason is for the log of whoever fetches.
    fn fetch(&self) -> Asked<'_, Option<Jwks>>;
}

/// The published keys of one issuer. Clones share them.
#[derive(Clone)]
pub struct RemoteKeys {
    shared: Arc<Shared>,
}

struct Shared {
    fetch: Box<dyn FetchKeys>,
    held: Mutex<Held>,
    /// Whoever fetches holds this; who needs what is fetched waits for it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    keys: Jwks,
    /// When they were fetched.
    fetched: Option<u64>,
    /// When the last fetch began, and whether it brought keys.
    tried: Option<(u64, bool)>,
}

impl RemoteKeys {
    /// Keys that `fetch` brings. Nothing is fetched before a token asks for it.
    pub fn new(fetch: impl FetchKeys) -> Self {
        Self {
            shared: Arc::new(Shared {
                fetch: Box::new(fetch),
                held: Mutex::default(),
                fetching: tokio::sync::Mutex::default(),
            }),
        }
    }

    async fn find(&self, kid: &str, now: u64) -> Option<Jwk> {
        let (known, due) = {
            let held = self.shared.held();
            (held.key(kid, now), held.is_due(kid, now))
        };
        if !due {
            return known;
        }
        // A task of its own: a caller who hangs up does not take the fetch along.
        let shared = Arc::clone(&self.shared);
        let name = kid.to_owned();
        let fetching = tokio::spawn(async move { shared.refresh(&name, now).await });
        if known.is_some() {
            return known;
        }
        let _ = fetching.await;
        self.shared.held().key(kid, now)
    }
}

impl Shared {
    async fn refresh(&self, kid: &str, now: u64) {
        let _fetching = self.fetching.lock().await;
        {
            let mut held = self.held();
            // Somebody else may have fetched in the meantime.
            if !held.is_due(kid, now) {
                return;
            }
            held.tried = Some((now, false));
        }
        if let Some(keys) = self.fetch.fetch().await {
            let mut held = self.held();
            // The whole set is replaced: a key that is no longer published no longer counts.
            held.keys = keys;
            held.fetched = Some(now);
            held.tried = Some((now, true));
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn key(&self, kid: &str, now: u64) -> Option<Jwk> {
        let fetched = self.fetched?;
        // A clock that was set back makes the age unknown, and nothing else: tokens have their own times.
        if now.saturating_sub(fetched) > KEYS_KEPT_SECONDS {
            return None;
        }
        self.keys.key(kid).cloned()
    }

    /// Whether it is time to fetch: the keys are old, or this one is not among them, and the last try is long enough ago.
    fn is_due(&self, kid: &str, now: u64) -> bool {
        let pause = match self.tried {
            None => return true,
            Some((_, false)) => KEYS_RETRY_SECONDS,
            Some((_, true)) => KEYS_REFRESH_SECONDS,
        };
        let rested = self.tried.is_none_or(|(at, _)| now.abs_diff(at) >= pause);
        let old = self
            .fetched
            .is_none_or(|at| now.abs_diff(at) >= KEYS_FRESH_SECONDS);
        rested && (old || self.keys.key(kid).is_none())
    }
}

impl KeySource for RemoteKeys {
    fn key<'a>(&'a self, kid: &'a str, now: u64) -> Asked<'a, Option<Jwk>> {
        Box::pin(self.find(kid, now))
    }
}
