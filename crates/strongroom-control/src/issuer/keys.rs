//! The keys that sign tokens: one that does, one that will, and those whose last tokens still count.
//!
//! The list is one document, so that a rotation happens whole or not at all. A private key is a file of its own, there before the
//! list names it and gone once it no longer signs: of a retired key only the public half is kept.
//!
//! An RSA key takes a good part of the first start to find. So the first one is made beside everything else, and whoever needs it
//! waits; the one to follow it is made when the keys are tended first.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;

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
    /// The control plane's.
    folder: PathBuf,
    /// Set once the first one is there, to none if it could not be made.
    current: OnceLock<Option<RwLock<Current>>>,
    /// Who makes the first one, and holds the control plane for as long.
    maker: Mutex<Option<JoinHandle<()>>>,
    /// Held while they change, so that each change sees the one before.
    changing: Mutex<()>,
}

#[derive(Clone)]
struct Current {
    keys: Arc<Vec<TokenKey>>,
    active: Arc<Signer>,
    next: Option<Arc<Signer>>,
}

impl TokenKeys {
    /// Opens the keys kept below `folder`. Where none can have been lost yet, as `may_make` says, and there are none, they are
    /// still [to be made](Self::make_first).
    pub(crate) fn open(folder: &Path, documents: &Documents, may_make: bool) -> Result<Self, ControlError> {
        files::make_folder(&own(folder))?;
        let recorded = documents.all::<Vec<TokenKey>>("token-keys")?.into_iter().next();
        let before = before(folder);
        let current = match recorded {
            Some(keys) if keys.is_empty() => OnceLock::new(),
            Some(keys) => {
                let current = load(&own(folder), keys)?;
                sweep(&own(folder), &current);
                OnceLock::from(Some(RwLock::new(current)))
            }
            None if may_make || before.exists() => {
                // From now on it is on record that they are still to be made.
                documents.put("token-keys", "token-keys", &Vec::<TokenKey>::new())?;
                OnceLock::new()
            }
            None => return Err(ControlError::Key { path: before }),
        };
        Ok(Self {
            folder: folder.to_owned(),
            current,
            maker: Mutex::default(),
            changing: Mutex::default(),
        })
    }

    /// Notes who makes the first one.
    pub(crate) fn are_made_by(&self, maker: JoinHandle<()>) {
        *self.maker.lock().unwrap_or_else(PoisonError::into_inner) = Some(maker);
    }

    /// Whether somebody has to make the first one: until then, whoever needs it waits.
    pub(crate) fn are_to_be_made(&self) -> bool {
        self.current.get().is_none()
    }

    /// Makes the first key.
    pub(crate) fn make_first(&self, documents: &Documents, now: u64) {
        let made = begin(&self.folder, documents, now);
        if let Err(error) = &made {
            tracing::error!(%error, "the first token key could not be made");
        }
        let _ = self.current.set(made.ok().map(RwLock::new));
    }

    /// Waits until the first key is there and whoever made it has let go of the control plane; an error if it could not be made.
    pub(crate) fn ready(&self) -> Result<(), ControlError> {
        let maker = self.maker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if maker.is_some_and(|maker| maker.join().is_err()) {
            return Err(self.missing());
        }
        self.lock().map(drop)
    }

    /// The key that signs now.
    pub(crate) fn signer(&self) -> Result<Arc<Signer>, ControlError> {
        Ok(self.current()?.active)
    }

    /// All keys, in the order in which they came.
    pub(crate) fn list(&self) -> Result<Vec<TokenKey>, ControlError> {
        Ok(self.current()?.keys.as_ref().clone())
    }

    /// What is published: every key with which a token verifies.
    pub(crate) fn published(&self, now: u64) -> Result<Jwks, ControlError> {
        let keys = self.current()?.keys;
        let counting = keys.iter().filter(|key| key.counts(now));
        Ok(Jwks {
            keys: counting.map(|key| key.public.clone()).collect(),
        })
    }

    /// Lets the next key sign, makes one to follow it, and keeps the old one as long as its tokens count.
    pub(crate) fn rotate(&self, documents: &Documents, now: u64) -> Result<(), ControlError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.rotate_in_turn(documents, now)
    }

    /// Makes the key that is to follow if there is none, rotates if it is time, and forgets the keys whose last tokens are over.
    pub(crate) fn tend(&self, documents: &Documents, now: u64) -> Result<(), ControlError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = self.current()?;
        if current.next.is_none() {
            current = self.with_next(current, now)?;
            self.put(documents, current.clone())?;
        }
        let mut signing = current
            .keys
            .iter()
            .filter(|key| key.state == TokenKeyState::Active);
        if signing.any(|key| now.saturating_sub(key.since) >= TOKEN_KEY_LIFE.as_secs()) {
            return self.rotate_in_turn(documents, now);
        }
        if current.keys.iter().all(|key| key.counts(now)) {
            return Ok(());
        }
        let kept: Vec<_> = current
            .keys
            .iter()
            .filter(|key| key.counts(now))
            .cloned()
            .collect();
        current.keys = Arc::new(kept);
        self.put(documents, current)
    }

    /// The same with one key more, which is to follow.
    fn with_next(&self, mut current: Current, now: u64) -> Result<Current, ControlError> {
        let next = make(&own(&self.folder))?;
        let mut keys = current.keys.as_ref().clone();
        keys.push(entry(&next, TokenKeyState::Next, now));
        (current.keys, current.next) = (Arc::new(keys), Some(Arc::new(next)));
        Ok(current)
    }

    fn rotate_in_turn(&self, documents: &Documents, now: u64) -> Result<(), ControlError> {
        let Current { keys, active, next } = self.current()?;
        let mut keys: Vec<_> = keys.iter().filter(|key| key.counts(now)).cloned().collect();
        if keys.len() >= TOKEN_KEYS {
            return Err(ControlError::TooMany { what: "token keys" });
        }
        let Some(next) = next else {
            // Nobody knows the one to come yet: it is published first.
            let current = Current {
                keys: Arc::new(keys),
                active,
                next,
            };
            self.put(documents, self.with_next(current, now)?)?;
            return self.rotate_in_turn(documents, now);
        };
        let until = now.saturating_add(TOKEN_KEY_OVERLAP.as_secs());
        for key in &mut keys {
            match key.state {
                TokenKeyState::Active => (key.state, key.since) = (TokenKeyState::Retired { until }, now),
                TokenKeyState::Next => (key.state, key.since) = (TokenKeyState::Active, now),
                TokenKeyState::Retired { .. } => {}
            }
        }
        let rotated = Current {
            keys: Arc::new(keys),
            active: next,
            next: None,
        };
        self.put(documents, self.with_next(rotated, now)?)
    }

    /// Keeps the list, then goes by it, then destroys the private keys that it no longer needs.
    fn put(&self, documents: &Documents, next: Current) -> Result<(), ControlError> {
        documents.put("token-keys", "token-keys", next.keys.as_ref())?;
        *self.lock()?.write().unwrap_or_else(PoisonError::into_inner) = next.clone();
        sweep(&own(&self.folder), &next);
        Ok(())
    }

    fn current(&self) -> Result<Current, ControlError> {
        Ok(self
            .lock()?
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone())
    }

    /// Waits for the first key.
    fn lock(&self) -> Result<&RwLock<Current>, ControlError> {
        self.current.wait().as_ref().ok_or_else(|| self.missing())
    }

    fn missing(&self) -> ControlError {
        ControlError::Key {
            path: own(&self.folder),
        }
    }
}

/// Tokens are verified with what the list says at that moment: a rotation needs no restart.
impl KeySource for TokenKeys {
    fn key<'a>(&'a self, kid: &'a str, now: u64) -> Asked<'a, Option<Jwk>> {
        let current = self.current().ok();
        let found = current.and_then(|current| {
            let found = current.keys.iter().find(|key| key.id() == kid && key.counts(now));
            found.map(|key| key.public.clone())
        });
        Box::pin(std::future::ready(found))
    }
}

/// The first key. Where an earlier version of this program left the one key that it had, that one goes on signing.
fn begin(folder: &Path, documents: &Documents, now: u64) -> Result<Current, ControlError> {
    let (own, before) = (own(folder), before(folder));
    let active = if before.exists() {
        let der = files::load_or_create(&before, false, || Err(ControlError::NoRandomness))?;
        keep(&own, read(&before, &der)?)?
    } else {
        make(&own)?
    };
    let keys = vec![entry(&active, TokenKeyState::Active, now)];
    documents.put("token-keys", "token-keys", &keys)?;
    // What is left of it would be an old key that still signs.
    let _ = fs::remove_file(&before);
    let current = Current {
        keys: Arc::new(keys),
        active: Arc::new(active),
        next: None,
    };
    sweep(&own, &current);
    Ok(current)
}

fn load(own: &Path, keys: Vec<TokenKey>) -> Result<Current, ControlError> {
    let signer = |state| {
        let Some(key) = keys.iter().find(|key| key.state == state) else {
            return Ok(None);
        };
        let path = file_of(own, key.id());
        let der = files::load_or_create(&path, false, || Err(ControlError::NoRandomness))?;
        read(&path, &der).map(|signer| Some(Arc::new(signer)))
    };
    let missing = || ControlError::Key { path: own.to_owned() };
    let active = signer(TokenKeyState::Active)?.ok_or_else(missing)?;
    let next = signer(TokenKeyState::Next)?;
    Ok(Current {
        keys: Arc::new(keys),
        active,
        next,
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

/// The folder of the private keys.
fn own(folder: &Path) -> PathBuf {
    folder.join("token-keys")
}

/// Where an earlier version kept its only key.
fn before(folder: &Path) -> PathBuf {
    folder.join("signing-key")
}

fn file_of(own: &Path, kid: &str) -> PathBuf {
    own.join(format!("{kid}.key"))
}

/// Removes the private keys that sign no more and never will, and what a crash left. One that cannot be removed now is at the
/// next start or rotation.
fn sweep(own: &Path, current: &Current) {
    let signers = std::iter::once(&current.active).chain(&current.next);
    let kept: Vec<_> = signers.map(|signer| file_of(own, signer.kid())).collect();
    let Ok(entries) = fs::read_dir(own) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if !kept.contains(&path)
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(%error, path = %path.display(), "a token key that is not needed any more could not be removed");
        }
    }
}
