//! A vault that does as it is told and remembers what it was asked.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use strongroom_seal::{
    BoxFuture, KeyDescription, KeyId, KeyName, KeyWrap, NoAnswer, Secret, VaultError, WrappedSeed,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Describe,
    Wrap,
    Unwrap,
}

/// How a vault behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Willing,
    Says(NoAnswer),
    Mute,
}

/// A seed, and the key version that wrapped it.
type Wrapped = (KeyId, [u8; 32]);

pub(super) struct ScriptedVault {
    pub(super) asked: Mutex<Vec<(Asked, String)>>,
    mood: Mutex<Mood>,
    /// Versions that are refused whatever the mood.
    disabled: Mutex<Vec<String>>,
    refuses_to_wrap: Mutex<Option<usize>>,
    garbles_wraps: AtomicBool,
    latest: Mutex<String>,
    wraps: Mutex<HashMap<Vec<u8>, Wrapped>>,
    /// Unwraps that are answered late wait here.
    late: Mutex<Option<Arc<Semaphore>>>,
}

impl ScriptedVault {
    pub(super) fn new() -> Self {
        Self {
            asked: Mutex::default(),
            mood: Mutex::new(Mood::Willing),
            disabled: Mutex::default(),
            refuses_to_wrap: Mutex::default(),
            garbles_wraps: AtomicBool::new(false),
            latest: Mutex::new("1".to_owned()),
            wraps: Mutex::default(),
            late: Mutex::default(),
        }
    }

    pub(super) fn mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(super) fn says(&self, no: NoAnswer) {
        self.mood(Mood::Says(no));
    }

    pub(super) fn disable(&self, version: &str) {
        self.disabled.lock().unwrap().push(version.to_owned());
    }

    pub(super) fn rotate(&self, version: &str) {
        version.clone_into(&mut self.latest.lock().unwrap());
    }

    /// Lets so many wraps pass and refuses the rest.
    pub(super) fn refuse_to_wrap_after(&self, wraps: Option<usize>) {
        *self.refuses_to_wrap.lock().unwrap() = wraps;
    }

    /// Makes wraps of something else than what is given.
    pub(super) fn garble_wraps(&self, garble: bool) {
        self.garbles_wraps.store(garble, Ordering::SeqCst);
    }

    /// The next unwrap is answered as if now, but only once the returned semaphore gets a permit.
    pub(super) fn answer_late(&self) -> Arc<Semaphore> {
        let semaphore = Arc::new(Semaphore::new(0));
        *self.late.lock().unwrap() = Some(Arc::clone(&semaphore));
        semaphore
    }

    /// What anyone with the public half can make.
    pub(super) fn plant(&self, key: &KeyId, seed: [u8; 32]) -> WrappedSeed {
        let bytes = Uuid::new_v4().as_bytes().to_vec();
        self.wraps
            .lock()
            .unwrap()
            .insert(bytes.clone(), (key.clone(), seed));
        WrappedSeed::new(bytes).unwrap()
    }

    pub(super) fn count(&self, what: Asked) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(asked, _)| *asked == what).count()
    }

    pub(super) fn unwraps(&self) -> usize {
        self.count(Asked::Unwrap)
    }

    /// The key version of the last unwrap.
    pub(super) fn last_unwrapped(&self) -> String {
        let asked = self.asked.lock().unwrap();
        let last = asked.iter().rev().find(|(asked, _)| *asked == Asked::Unwrap);
        last.unwrap().1.clone()
    }

    async fn answer(&self, what: Asked, version: &str) -> Result<(), VaultError> {
        self.asked.lock().unwrap().push((what, version.to_owned()));
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Willing if self.disabled.lock().unwrap().iter().any(|other| other == version) => {
                Err(VaultError::new(NoAnswer::Refused, "disabled"))
            }
            Mood::Willing => Ok(()),
            Mood::Says(no) => Err(VaultError::new(no, "scripted")),
            Mood::Mute => std::future::pending().await,
        }
    }
}

impl KeyWrap for ScriptedVault {
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>> {
        Box::pin(async move {
            let latest = self.latest.lock().unwrap().clone();
            let version = version.unwrap_or(&latest);
            self.answer(Asked::Describe, version).await?;
            Ok(KeyDescription {
                id: key.with_version(version).unwrap(),
                enabled: true,
                key_type: "RSA".to_owned(),
                bits: 2048,
                not_before: None,
                expires: None,
            })
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>> {
        Box::pin(async move {
            self.answer(Asked::Wrap, key.version()).await?;
            if let Some(left) = &mut *self.refuses_to_wrap.lock().unwrap() {
                if *left == 0 {
                    return Err(VaultError::new(NoAnswer::Refused, "may not wrap"));
                }
                *left -= 1;
            }
            let mut seed = *seed.expose_secret();
            if self.garbles_wraps.load(Ordering::SeqCst) {
                seed[0] ^= 1;
            }
            Ok(self.plant(key, seed))
        })
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a KeyId,
        wrapped: &'a WrappedSeed,
    ) -> BoxFuture<'a, Result<Secret<32>, VaultError>> {
        Box::pin(async move {
            let answer = self.answer(Asked::Unwrap, key.version()).await;
            let late = self.late.lock().unwrap().take();
            if let Some(late) = late {
                let _permit = late.acquire().await.unwrap();
            }
            answer?;
            match self.wraps.lock().unwrap().get(wrapped.as_bytes()) {
                Some((by, seed)) if by == key => Ok(Secret::build(|place| *place = *seed)),
                _ => Err(VaultError::new(NoAnswer::Refused, "does not decrypt")),
            }
        })
    }
}
