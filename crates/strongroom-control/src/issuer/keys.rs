//! The keys that sign tokens: one that does, one that will, and those whose last tokens still count.
//!
//! The list is one document, so that a rotation happens whole or not at all. A private key is a file of its own, there before the
//! list names it and gone once it no longer signs: of a retired key only the public half is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use strongroom_azure::token::{Asked, Jwk, Jwks, KeySource, Signer};
use zeroize::Zeroizing;

use crate::documents::Documents;
use crate::error::ControlError;
use crate::files;
use crate::limits::{TOKEN_KEY_LIFE, TOKEN_KEY_OVERLAP, TOKEN_KEYS};

/// Where one key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum TokenKeyState {
    /// Published, so that everybody knows it before it signs.
    Next,
    /// Signs.
    Active,
    /// Signed until the last rotation.
    Retired {
        /// When the last of its tokens is over, in seconds since the Unix epoch; then it is forgotten.
        until: u64,
    },
}

/// One of the keys that sign tokens, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKey {
    /// Where it stands.
    #[serde(flatten)]
    pub state: TokenKeyState,
    /// When it was made, in seconds since the Unix epoch.
    pub created: u64,
    /// When it came to stand there.
    pub since: u64,
    public: Jwk,
}

impl TokenKey {
    /// The id by which tokens name it.
    pub fn id(&self) -> &str {
        &self.public.kid
    }

    fn counts(&self, now: u64) -> bool {
        match self.state {
            TokenKeyState::Next | TokenKeyState::Active => true,
            TokenKeyState::Retired { until } => now < until,
        }
    }
}

/// All of them.
pub(crate) struct TokenKeys {
    folder: PathBuf,
    current: RwLock<Current>,
    /// Held while they change, so that each change sees the one before.
    changing: Mutex<()>,
}

#[derive(Clone)]
struct Current {
    keys: Arc<Vec<TokenKey>>,
    active: Arc<Signer>,
    next: Arc<Signer>,
}

impl TokenKeys {
    /// Opens the keys kept below `folder`, or makes them. `may_make` says that none can have been lost yet.
    pub(crate) fn open(
        folder: &Path,
        documents: &Documents,
        may_make: bool,
        now: u64,
    ) -> Result<Self, ControlError> {
        let own = folder.join("token-keys");
        files::make_folder(&own)?;
        let recorded = documents.all::<Vec<TokenKey>>("token-keys")?.into_iter().next();
        let current = match recorded {
            Some(keys) => load(&own, keys)?,
            None => begin(folder, &own, documents, may_make, now)?,
        };
        sweep(&own, &current);
        Ok(Self {
            folder: own,
            current: RwLock::new(current),
            changing: Mutex::default(),
        })
    }

    /// The key that signs now.
    pub(crate) fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.current().active)
    }

    /// All keys, in the order in which they came.
    pub(crate) fn list(&self) -> Vec<TokenKey> {
        self.current().keys.as_ref().clone()
    }

    /// What is published: every key with which a token verifies.
    pub(crate) fn published(&self, now: u64) -> Jwks {
        let keys = self.current().keys;
        let counting = keys.iter().filter(|key| key.counts(now));
        Jwks {
            keys: counting.map(|key| key.public.clone()).collect(),
        }
    }

    /// Lets the next key sign, makes one to follow it, and keeps the old one as long as its tokens count.
    pub(crate) fn rotate(&self, documents: &Documents, now: u64) -> Result<(), ControlError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.rotate_in_turn(documents, now)
    }

    /// Rotates if it is time, and forgets the keys whose last tokens are over.
    pub(crate) fn tend(&self, documents: &Documents, now: u64) -> Result<(), ControlError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Current { keys, active, next } = self.current();
        let mut signing = keys.iter().filter(|key| key.state == TokenKeyState::Active);
        if signing.any(|key| now.saturating_sub(key.since) >= TOKEN_KEY_LIFE.as_secs()) {
            return self.rotate_in_turn(documents, now);
        }
        if keys.iter().all(|key| key.counts(now)) {
            return Ok(());
        }
        let kept: Vec<_> = keys.iter().filter(|key| key.counts(now)).cloned().collect();
        let keys = Arc::new(kept);
        self.put(documents, Current { keys, active, next })
    }

    fn rotate_in_turn(&self, documents: &Documents, now: u64) -> Result<(), ControlError> {
        let Current { keys, next, .. } = self.current();
        let mut keys: Vec<_> = keys.iter().filter(|key| key.counts(now)).cloned().collect();
        if keys.len() >= TOKEN_KEYS {
            return Err(ControlError::TooMany { what: "token keys" });
        }
        let follower = Arc::new(make(&self.folder)?);
        let until = now.saturating_add(TOKEN_KEY_OVERLAP.as_secs());
        for key in &mut keys {
            match key.state {
                TokenKeyState::Active => (key.state, key.since) = (TokenKeyState::Retired { until }, now),
                TokenKeyState::Next => (key.state, key.since) = (TokenKeyState::Active, now),
                TokenKeyState::Retired { .. } => {}
            }
        }
        keys.push(entry(&follower, TokenKeyState::Next, now));
        let (keys, active) = (Arc::new(keys), next);
        self.put(
            documents,
            Current {
                keys,
                active,
                next: follower,
            },
        )
    }

    /// Keeps the list, then goes by it, then destroys the private keys that it no longer needs.
    fn put(&self, documents: &Documents, next: Current) -> Result<(), ControlError> {
        documents.put("token-keys", "token-keys", next.keys.as_ref())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next.clone();
        sweep(&self.folder, &next);
        Ok(())
    }

    fn current(&self) -> Current {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Tokens are verified with what the list says at that moment: a rotation needs no restart.
impl KeySource for TokenKeys {
    fn key<'a>(&'a self, kid: &'a str, now: u64) -> Asked<'a, Option<Jwk>> {
        let keys = self.current().keys;
        let found = keys.iter().find(|key| key.id() == kid && key.counts(now));
        let found = found.map(|key| key.public.clone());
        Box::pin(std::future::ready(found))
    }
}

/// The first keys. Where an earlier version of this program left the one key that it had, that one goes on signing.
fn begin(
    folder: &Path,
    own: &Path,
    documents: &Documents,
    may_make: bool,
    now: u64,
) -> Result<Current, ControlError> {
    let before = folder.join("signing-key");
    let active = if before.exists() {
        let der = files::load_or_create(&before, false, || Err(ControlError::NoRandomness))?;
        keep(own, read(&before, &der)?)?
    } else if may_make {
        make(own)?
    } else {
        return Err(ControlError::Key { path: before });
    };
    let next = make(own)?;
    let keys = vec![
        entry(&active, TokenKeyState::Active, now),
        entry(&next, TokenKeyState::Next, now),
    ];
    documents.put("token-keys", "token-keys", &keys)?;
    // What is left of it would be an old key that still signs.
    let _ = fs::remove_file(&before);
    Ok(Current {
        keys: Arc::new(keys),
        active: Arc::new(active),
        next: Arc::new(next),
    })
}

fn load(own: &Path, keys: Vec<TokenKey>) -> Result<Current, ControlError> {
    let signer = |state| {
        let key = keys.iter().find(|key| key.state == state);
        let missing = || ControlError::Key { path: own.to_owned() };
        let path = file_of(own, key.ok_or_else(missing)?.id());
        let der = files::load_or_create(&path, false, || Err(ControlError::NoRandomness))?;
        read(&path, &der)
    };
    let (active, next) = (signer(TokenKeyState::Active)?, signer(TokenKeyState::Next)?);
    Ok(Current {
        keys: Arc::new(keys),
        active: Arc::new(active),
        next: Arc::new(next),
    })
}

fn make(own: &Path) -> Result<Signer, ControlError> {
    keep(own, Signer::generate().map_err(|_| ControlError::NoRandomness)?)
}

/// Puts the private key into its file, durably.
fn keep(own: &Path, signer: Signer) -> Result<Signer, ControlError> {
    let der = signer
        .expose_pkcs8(|der| Zeroizing::new(der.to_vec()))
        .map_err(|_| ControlError::NoRandomness)?;
    files::load_or_create(&file_of(own, signer.kid()), true, || Ok(der))?;
    Ok(signer)
}

fn read(path: &Path, der: &[u8]) -> Result<Signer, ControlError> {
    Signer::from_pkcs8(der).map_err(|_| ControlError::Key {
        path: path.to_owned(),
    })
}

fn entry(signer: &Signer, state: TokenKeyState, now: u64) -> TokenKey {
    TokenKey {
        state,
        created: now,
        since: now,
        public: signer.public(),
    }
}

fn file_of(own: &Path, kid: &str) -> PathBuf {
    own.join(format!("{kid}.key"))
}

/// Removes the private keys that sign no more and never will, and what a crash left. One that cannot be removed now is at the
/// next start or rotation.
fn sweep(own: &Path, current: &Current) {
    let kept = [&current.active, &current.next].map(|signer| file_of(own, signer.kid()));
    let Ok(entries) = fs::read_dir(own) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if !kept.contains(&path)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(%error, path = %path.display(), "a token key that is not needed any more could not be removed");
        }
    }
}
