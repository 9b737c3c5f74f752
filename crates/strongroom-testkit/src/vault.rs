//! A vault that fails on cue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_seal::{
    BoxFuture, KeyDescription, KeyId, KeyName, KeyWrap, NoAnswer, Secret, VaultError, WrappedSeed,
};
use tokio::sync::watch;

/// What the vault does with a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cue {
    /// Answers.
    Ok,
    /// Says no.
    Refused,
    /// Says that there is no such key.
    Gone,
    /// Says nothing that counts.
    Unreachable,
    /// Asks for patience.
    Throttled(Option<Duration>),
    /// Never answers.
    Hang,
    /// Does the work at once, and answers only after [`FailingVault::release`]: a success that arrives late.
    Late,
}

/// A [`KeyWrap`] that answers on cue. It stands before a real vault, or alone. Clones share the cues.
#[derive(Clone)]
pub struct FailingVault {
    inner: Arc<dyn KeyWrap>,
    script: Arc<Mutex<Script>>,
    released: watch::Sender<u64>,
    calls: watch::Sender<Calls>,
    no_wraps: Arc<AtomicBool>,
}

/// How often the vault was asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Calls {
    /// For a description.
    pub described: u64,
    /// To wrap.
    pub wrapped: u64,
    /// To unwrap.
    pub unwrapped: u64,
}

struct Script {
    next: VecDeque<Cue>,
    otherwise: Cue,
}

impl Default for FailingVault {
    /// Stands alone, and answers until told otherwise.
    fn default() -> Self {
        Self::around(Arc::new(Memory::default()))
    }
}

impl FailingVault {
    /// Stands before `inner`, which does the work of every call that is answered.
    pub fn around(inner: Arc<dyn KeyWrap>) -> Self {
        Self {
            inner,
            script: Arc::new(Mutex::new(Script {
                next: VecDeque::new(),
                otherwise: Cue::Ok,
            })),
            released: watch::Sender::new(0),
            calls: watch::Sender::new(Calls::default()),
            no_wraps: Arc::default(),
        }
    }

    /// Whether it refuses to wrap, and does everything else.
    pub fn refuse_wraps(&self, refuse: bool) {
        self.no_wraps.store(refuse, Ordering::Relaxed);
    }

    /// From now on, for every call.
    pub fn answer(&self, cue: Cue) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.next.clear();
        script.otherwise = cue;
    }

    /// For the next calls, one each; afterwards as before.
    pub fn answer_next(&self, cues: impl IntoIterator<Item = Cue>) {
        self.script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next
            .extend(cues);
    }

    /// Lets every call that was cued [`Cue::Late`] until now give its answer.
    pub fn release(&self) {
        self.released.send_modify(|times| *times += 1);
    }

    /// How often it was asked, to be waited on.
    pub fn calls(&self) -> watch::Receiver<Calls> {
        self.calls.subscribe()
    }

    fn cue(&self, count: impl FnOnce(&mut Calls)) -> Cue {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let cue = script.next.pop_front().unwrap_or(script.otherwise);
        drop(script);
        self.calls.send_modify(count);
        cue
    }

    async fn act<T>(
        &self,
        cue: Cue,
        work: impl Future<Output = Result<T, VaultError>>,
    ) -> Result<T, VaultError> {
        let no = |answer| Err(VaultError::new(answer, "on cue"));
        match cue {
            Cue::Ok => work.await,
            Cue::Refused => no(NoAnswer::Refused),
            Cue::Gone => no(NoAnswer::Gone),
            Cue::Unreachable => no(NoAnswer::Unreachable),
            Cue::Throttled(retry_after) => no(NoAnswer::Throttled { retry_after }),
            Cue::Hang => std::future::pending().await,
            Cue::Late => {
                let mut released = self.released.subscribe();
                let answer = work.await;
                // The sender lives in `self`, so this ends by a release and in no other way.
                let _ = released.changed().await;
                answer
            }
        }
    }
}

impl KeyWrap for FailingVault {
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>> {
        let cue = self.cue(|calls| calls.described += 1);
        Box::pin(self.act(cue, self.inner.describe(key, version)))
    }

    fn wrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>> {
        let cue = self.cue(|calls| calls.wrapped += 1);
        let refused = self.no_wraps.load(Ordering::Relaxed);
        let cue = if refused { Cue::Refused } else { cue };
        Box::pin(self.act(cue, self.inner.wrap(key, seed)))
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a WrappedSeed,
    ) -> BoxFuture<'a, Result<Secret<32>, VaultError>> {
        let cue = self.cue(|calls| calls.unwrapped += 1);
        Box::pin(self.act(cue, self.inner.unwrap(key, seed)))
    }
}

/// A vault without cryptography: a wrapped seed is a ticket for the seed that was handed in.
#[derive(Default)]
struct Memory {
    seeds: Mutex<Vec<(String, Secret<32>)>>,
}

impl Memory {
    fn described(key: &KeyName, version: Option<&str>) -> Result<KeyDescription, VaultError> {
        let id = key
            .with_version(version.unwrap_or("1"))
            .map_err(|_| VaultError::new(NoAnswer::Gone, "no such version"))?;
        Ok(KeyDescription {
            id,
            enabled: true,
            key_type: "RSA".to_owned(),
            bits: 2048,
            not_before: None,
            expires: None,
        })
    }

    fn wrapped(&self, key: &KeyId, seed: &Secret<32>) -> Result<WrappedSeed, VaultError> {
        let mut seeds = self.seeds.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = (seeds.len() as u64).to_be_bytes().to_vec();
        seeds.push((key.to_string(), copy(seed)));
        WrappedSeed::new(ticket).map_err(|_| VaultError::new(NoAnswer::Unreachable, "no ticket"))
    }

    fn unwrapped(&self, key: &KeyId, seed: &WrappedSeed) -> Result<Secret<32>, VaultError> {
        let no = || VaultError::new(NoAnswer::Refused, "not wrapped under this key");
        let ticket = u64::from_be_bytes(seed.as_bytes().try_into().map_err(|_| no())?);
        let seeds = self.seeds.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = usize::try_from(ticket).ok().and_then(|at| seeds.get(at));
        kept.filter(|(name, _)| *name == key.to_string())
            .map(|(_, seed)| copy(seed))
            .ok_or_else(no)
    }
}

impl KeyWrap for Memory {
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>> {
        Box::pin(std::future::ready(Self::described(key, version)))
    }

    fn wrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>> {
        Box::pin(std::future::ready(self.wrapped(key, seed)))
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a WrappedSeed,
    ) -> BoxFuture<'a, Result<Secret<32>, VaultError>> {
        Box::pin(std::future::ready(self.unwrapped(key, seed)))
    }
}

fn copy(seed: &Secret<32>) -> Secret<32> {
    Secret::build(|bytes| bytes.copy_from_slice(seed.expose_secret()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(version: &str) -> KeyId {
        KeyName::new("https://v.vault.localhost", "k")
            .unwrap()
            .with_version(version)
            .unwrap()
    }

    #[tokio::test]
    async fn it_answers_as_cued_and_works_again_afterwards() {
        let vault = FailingVault::default();
        let seed = Secret::random().unwrap();
        let wrapped = vault.wrap(&key("1"), &seed).await.unwrap();
        vault.answer_next([Cue::Refused, Cue::Throttled(None)]);
        let refused = vault.unwrap(&key("1"), &wrapped).await.err().unwrap();
        assert_eq!(refused.answer, NoAnswer::Refused);
        let throttled = vault.unwrap(&key("1"), &wrapped).await.err().unwrap();
        assert_eq!(throttled.answer, NoAnswer::Throttled { retry_after: None });
        let opened = vault.unwrap(&key("1"), &wrapped).await.unwrap();
        assert_eq!(opened.expose_secret(), seed.expose_secret());
        assert_eq!(
            vault.unwrap(&key("2"), &wrapped).await.err().unwrap().answer,
            NoAnswer::Refused
        );
        assert_eq!(vault.calls().borrow().unwrapped, 4);
    }

    #[tokio::test]
    async fn a_late_success_waits_for_its_release() {
        let vault = FailingVault::default();
        let seed = Secret::random().unwrap();
        let key = key("1");
        let wrapped = vault.wrap(&key, &seed).await.unwrap();
        vault.answer(Cue::Late);
        let mut late = vault.unwrap(&key, &wrapped);
        assert!(futures::poll!(&mut late).is_pending());
        vault.release();
        late.await.unwrap();
    }
}
