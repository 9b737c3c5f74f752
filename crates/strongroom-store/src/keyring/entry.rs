//! One account's place in the keyring: the lease's state, the keys while it is held, and the one question at a time.

mod asking;
mod hearing;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use strongroom_seal::{AccountId, BranchVersion, CheckValue, KeyName, KeyWrap};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    Shared,
    binding::{Anchor, Binding},
    lease::{Guard, KeySet, Lease, Tenure},
    state::{LeaseState, Terms},
    status::{KeyDenied, KeyState, KeyStatus},
};
use crate::limits;

/// How a question ended; `None` while it is out.
type Outcome = watch::Receiver<Option<Result<(), KeyDenied>>>;

pub(crate) struct Entry {
    shared: Arc<Shared>,
    account: AccountId,
    inner: Mutex<Inner>,
    status: watch::Sender<KeyStatus>,
    /// Asks the keeper to ask.
    nudged: Notify,
    /// One change of branch versions or wraps at a time.
    rotation: tokio::sync::Mutex<()>,
}

struct Inner {
    /// As the control plane says it.
    told: Option<Binding>,
    /// The same, with the key that this keyring remembers as retiring where the control plane names none.
    binding: Option<Arc<Binding>>,
    remembered: Option<KeyName>,
    /// The anchor as this keyring moved it; the binding may follow later.
    moved: Option<Anchor>,
    /// The first branch version, stored by this keyring and not anchored yet.
    founded: Option<Anchor>,
    state: LeaseState,
    held: Option<Held>,
    asking: Option<Outcome>,
    /// The last no, and until when callers are answered with it instead of asking again.
    no: Option<(KeyDenied, Instant)>,
    /// When the last question began.
    asked: Instant,
    /// When it was last seen to that the seeds are wrapped under the right key version.
    followed: Option<Instant>,
    used: Instant,
    status: KeyStatus,
    is_closed: bool,
}

struct Held {
    tenure: Arc<Tenure>,
    keys: Arc<KeySet>,
}

impl Entry {
    pub(super) fn new(shared: &Arc<Shared>, account: AccountId, binding: Option<Binding>) -> Arc<Self> {
        let terms = terms_of(binding.as_ref());
        let status = KeyStatus {
            state: match &binding {
                Some(_) => KeyState::Idle,
                None => KeyState::Denied(KeyDenied::NotBound),
            },
            since_ms: 0,
            key: None,
            branch: None,
            sent: None,
            last_answer: None,
            revocation_bound: terms.bound(),
            outage_grace: terms.grace(),
            locked_in_memory: false,
        };
        let now = Instant::now();
        let inner = Inner {
            told: binding.clone(),
            binding: binding.map(Arc::new),
            remembered: None,
            moved: None,
            founded: None,
            state: LeaseState::new(terms),
            held: None,
            asking: None,
            no: None,
            asked: now,
            followed: None,
            used: now,
            status: status.clone(),
            is_closed: false,
        };
        Arc::new(Self {
            shared: Arc::clone(shared),
            account,
            inner: Mutex::new(inner),
            status: watch::Sender::new(status),
            nudged: Notify::new(),
            rotation: tokio::sync::Mutex::new(()),
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The vaults, asked on behalf of this account.
    pub(crate) fn vault(&self) -> Arc<dyn KeyWrap> {
        self.shared.vaults.vault(self.account)
    }

    pub(crate) fn account(&self) -> AccountId {
        self.account
    }

    pub(super) fn watch(&self) -> watch::Receiver<KeyStatus> {
        self.status.subscribe()
    }

    pub(crate) fn rotation(&self) -> &tokio::sync::Mutex<()> {
        &self.rotation
    }

    pub(crate) fn binding(&self) -> Result<Arc<Binding>, KeyDenied> {
        let inner = self.lock();
        match &inner.binding {
            _ if inner.is_closed => Err(KeyDenied::Closed),
            Some(binding) => Ok(Arc::clone(binding)),
            None => Err(KeyDenied::NotBound),
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        self.lock().state.terms()
    }

    /// Where the anchor is: as the binding says, or further on if this keyring moved it.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        let inner = self.lock();
        let bound = inner.binding.as_ref().and_then(|binding| binding.anchor);
        match (bound, inner.moved) {
            (Some(bound), Some(moved)) if moved.version > bound.version => Some(moved),
            (bound, moved) => bound.or(moved),
        }
    }

    pub(crate) fn anchor_moved(&self, to: Anchor) {
        self.lock().moved = Some(to);
    }

    pub(crate) fn founded(&self) -> Option<Anchor> {
        self.lock().founded
    }

    pub(crate) fn set_founded(&self, first: Anchor) {
        self.lock().founded = Some(first);
    }

    fn lease_if_held(&self, inner: &mut Inner) -> Option<Lease> {
        self.settle(inner);
        let held = inner.held.as_ref()?;
        let lease = Lease::new(&held.tenure);
        inner.used = Instant::now();
        Some(lease)
    }

    pub(super) fn check(&self, tenure: &Arc<Tenure>) -> Result<(), KeyDenied> {
        self.enter(tenure, |_| ())
    }

    pub(super) fn guard(&self, tenure: &Arc<Tenure>) -> Result<Guard, KeyDenied> {
        self.enter(tenure, |held| Guard::new(&held.keys))
    }

    /// Every use of a key passes here: the clock is asked at use, and by nothing else.
    fn enter<T>(&self, tenure: &Arc<Tenure>, act: impl FnOnce(&Held) -> T) -> Result<T, KeyDenied> {
        let mut inner = self.lock();
        self.settle(&mut inner);
        match &inner.held {
            Some(held) if Arc::ptr_eq(&held.tenure, tenure) => Ok(act(held)),
            _ => Err(tenure.denied()),
        }
    }

    /// Ends the lease if its time is over; says whether this tenure goes on, and how long at most without news.
    pub(super) fn remaining(&self, tenure: &Arc<Tenure>) -> Option<Duration> {
        let mut inner = self.lock();
        let now = self.settle(&mut inner);
        match &inner.held {
            Some(held) if Arc::ptr_eq(&held.tenure, tenure) => inner.state.remaining(now),
            _ => None,
        }
    }

    /// Gives the lease up if nobody holds or wants it; else says how long until that is to be looked at again.
    pub(super) fn release_if_idle(&self, tenure: &Arc<Tenure>) -> Duration {
        let mut inner = self.lock();
        let left = limits::IDLE.saturating_sub(inner.used.elapsed());
        if tenure.is_held_by_someone() {
            return limits::IDLE;
        }
        if left.is_zero() {
            inner.state.release();
            self.settle(&mut inner);
        }
        left
    }

    /// The last handle was given back.
    pub(super) fn touch(&self) {
        self.lock().used = Instant::now();
    }

    /// How long until the keeper asks again, at the given share of the pace.
    pub(super) fn pause(&self, share: f64) -> Duration {
        let inner = self.lock();
        let terms = inner.state.terms();
        let due = match inner.status.last_answer.and_then(|answer| answer.denied) {
            Some(KeyDenied::Throttled {
                retry_after: Some(wait),
            }) => wait.clamp(terms.pace(), terms.longest_pause()),
            _ => terms.pace(),
        };
        due.mul_f64(share).saturating_sub(inner.asked.elapsed())
    }

    pub(super) async fn nudged(&self) {
        self.nudged.notified().await;
    }

    /// A push from the vault, or a change of the binding: ask early. It decides nothing.
    pub(super) fn nudge(self: &Arc<Self>) {
        let mut inner = self.lock();
        inner.no = None;
        inner.followed = None;
        if inner.held.is_some() {
            self.nudged.notify_one();
        } else if matches!(inner.status.state, KeyState::Denied(_)) && !inner.is_closed {
            drop(self.ask_once(&mut inner));
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.lock().held.is_some()
    }

    /// Which versions are held, with their check values.
    pub(crate) fn inventory(&self) -> Vec<(BranchVersion, CheckValue)> {
        let inner = self.lock();
        inner
            .held
            .as_ref()
            .map(|held| held.keys.inventory())
            .unwrap_or_default()
    }

    /// Whether some seed is not known to be wrapped under the key version that is bound, or the latest, and it is time to see to it.
    pub(super) fn is_time_to_follow(&self) -> bool {
        let mut inner = self.lock();
        let (Some(binding), Some(held)) = (&inner.binding, &inner.held) else {
            return false;
        };
        let is_settled =
            binding.version.is_some() && held.keys.wrapped_by().iter().all(|key| binding.wants(key));
        let is_recent = inner.followed.is_some_and(|at| at.elapsed() < limits::FOLLOW);
        if is_settled || is_recent {
            return false;
        }
        inner.followed = Some(Instant::now());
        true
    }

    /// A version was dropped from storage: wipe it.
    pub(super) fn dropped(&self, version: BranchVersion) {
        let mut inner = self.lock();
        if let Some(held) = &mut inner.held
            && let Some(keys) = held.keys.without(version)
        {
            held.keys = Arc::new(keys);
        }
    }

    /// Follows what the control plane says.
    pub(super) fn rebind(self: &Arc<Self>, binding: Option<Binding>) {
        let mut inner = self.lock();
        if inner.told == binding {
            return;
        }
        let before = std::mem::replace(&mut inner.told, binding.clone());
        let Some(mut binding) = binding else {
            inner.binding = None;
            return self.give_up(&mut inner, KeyDenied::NotBound);
        };
        match (&binding.retiring, before) {
            // Whoever names one says later when it is not needed any more.
            (Some(_), _) => inner.remembered = None,
            (None, Some(before)) if before.key != binding.key => inner.remembered = Some(before.key),
            (None, _) => {}
        }
        binding.retiring = binding.retiring.or_else(|| inner.remembered.clone());
        let terms = terms_of(Some(&binding));
        inner.binding = Some(Arc::new(binding));
        let now = self.shared.clock.now();
        inner.state.set_terms(terms, now);
        inner.status.revocation_bound = terms.bound();
        inner.status.outage_grace = terms.grace();
        self.settle(&mut inner);
        let state = match inner.status.state {
            KeyState::Denied(KeyDenied::NotBound) => KeyState::Idle,
            state => state,
        };
        self.publish(&mut inner, state);
        drop(inner);
        self.nudge();
    }

    /// Nothing needs the key that is remembered as retiring, as was found under a binding. If another key was bound meanwhile, what is
    /// remembered is of another turn, and stays.
    pub(crate) fn forget_retiring(&self, found_under: &Binding) {
        let mut inner = self.lock();
        let is_same = |now: &Arc<Binding>| now.key == found_under.key && now.retiring == found_under.retiring;
        if inner.binding.as_ref().is_some_and(is_same) {
            inner.remembered = None;
            inner.binding = inner.told.clone().map(Arc::new);
        }
    }

    /// Ends the lease for good.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        self.give_up(&mut inner, KeyDenied::Closed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is guarded is consistent after every statement, so a panic elsewhere does not matter here.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn terms_of(binding: Option<&Binding>) -> Terms {
    // Without a binding nothing is ever leased.
    binding.map_or(Terms::new(Duration::ZERO, Duration::ZERO), |binding| {
        Terms::new(binding.revocation_bound, binding.outage_grace)
    })
}
