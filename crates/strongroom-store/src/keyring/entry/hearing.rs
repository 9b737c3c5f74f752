//! What an entry does with news: answers, silence, the passing of time.

use std::{mem::discriminant, sync::Arc};

use strongroom_seal::{BranchKey, KeyId, Moment};
use tokio::time::Instant;

use super::{Entry, Held, Inner};
use crate::{
    event::StoreEvent,
    keyring::{
        chain, keeper,
        lease::{KeySet, Presence, Tenure},
        millis,
        state::{Answer, Ending, Ticket},
        status::{KeyDenied, KeyState, LastAnswer},
    },
};

impl Entry {
    /// A question is about to be sent.
    pub(crate) fn send(&self) -> Result<Ticket, KeyDenied> {
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(KeyDenied::Closed);
        }
        let now = self.settle(&mut inner);
        Ok(inner.state.send(now))
    }

    /// The vault did not say yes.
    pub(crate) fn hear(&self, ticket: Ticket, answer: Answer, key: Option<KeyId>) -> Result<(), KeyDenied> {
        let mut inner = self.lock();
        let now = self.settle(&mut inner);
        inner.state.hear(ticket, answer, now);
        self.note_answer(&mut inner, answer, key, now);
        self.settle(&mut inner);
        inner.standing()
    }

    /// The vault said yes to every seed asked for. `None` if keys that this answer counted on are gone meanwhile.
    pub(in crate::keyring) fn granted(
        self: &Arc<Self>,
        ticket: Ticket,
        living: &chain::Living,
        fresh: Vec<BranchKey>,
    ) -> Option<Result<(), KeyDenied>> {
        let key = living.key();
        let mut inner = self.lock();
        let now = self.settle(&mut inner);
        let held = inner.held.as_ref().map(|held| &*held.keys);
        let presence = held.map_or_else(
            || Presence::new(self.shared(), self.account()),
            |keys| Arc::clone(keys.presence()),
        );
        let (answer, keys) = match chain::assemble(living, fresh, held, presence) {
            Ok(Some(keys)) => (Answer::Granted, Some(keys)),
            Ok(None) => {
                inner.state.forget(ticket);
                return None;
            }
            Err(untrusted) => {
                tracing::error!(account = %self.account(), reason = %untrusted, "the stored branch key is not trusted");
                (Answer::Mismatch, None)
            }
        };
        inner.state.hear(ticket, answer, now);
        self.note_answer(&mut inner, answer, key, now);
        if let (Some(keys), Ok(_)) = (keys, inner.state.lease()) {
            self.hold(&mut inner, Arc::new(keys));
        }
        self.settle(&mut inner);
        Some(inner.standing())
    }

    /// Looks at the clock, and ends the lease if its time is over.
    pub(super) fn settle(&self, inner: &mut Inner) -> Moment {
        // Read under the lock, so that no reading is older than one that was judged before.
        let now = self.shared().clock.now();
        if let Err(ending) = inner.state.may_use(now)
            && inner.held.is_some()
        {
            let denied = ending.denied();
            match ending {
                Ending::Idle => self.end(inner, denied, None, KeyState::Idle),
                Ending::Lapsed | Ending::ClockWentBack => {
                    self.end(inner, denied, Some(denied), KeyState::Idle);
                }
                Ending::Refused | Ending::Gone | Ending::Mismatch | Ending::Silent(_) => {
                    self.end(inner, denied, Some(denied), KeyState::Denied(denied));
                }
            }
        }
        now
    }

    /// Ends the lease for a reason of our own.
    pub(super) fn give_up(&self, inner: &mut Inner, denied: KeyDenied) {
        inner.state.release();
        self.end(inner, denied, None, KeyState::Denied(denied));
    }

    /// Lets go of the keys: they are wiped once the guards that are out come back.
    fn end(&self, inner: &mut Inner, denied: KeyDenied, journal: Option<KeyDenied>, state: KeyState) {
        if let Some(held) = inner.held.take() {
            if let Some(denied) = journal {
                held.keys.presence().denied(denied);
            }
            held.tenure.end(denied);
        }
        self.publish(inner, state);
    }

    /// Takes the keys into use: in the tenure that goes on, or in a new one with its keeper.
    fn hold(self: &Arc<Self>, inner: &mut Inner, keys: Arc<KeySet>) {
        if inner.is_closed || inner.binding.is_none() {
            return inner.state.release();
        }
        keys.presence().is_held();
        inner.status.key = keys.key().cloned();
        inner.status.branch = Some(keys.current_version());
        inner.status.locked_in_memory = keys.is_locked_in_memory();
        if let Some(held) = &mut inner.held {
            held.keys = keys;
        } else {
            let tenure = Tenure::new(self);
            inner.used = Instant::now();
            inner.held = Some(Held {
                tenure: Arc::clone(&tenure),
                keys,
            });
            keeper::start(self, tenure);
        }
        self.publish(inner, KeyState::Held);
    }

    /// Notes what the vault said, and tells the journal if it is something new.
    fn note_answer(&self, inner: &mut Inner, answer: Answer, key: Option<KeyId>, now: Moment) {
        let denied = match answer {
            Answer::Granted => None,
            Answer::No(no) => Some(KeyDenied::from(no)),
            Answer::Mismatch => Some(KeyDenied::Mismatch),
        };
        let at_ms = millis(now.wall);
        let last = inner.status.last_answer.replace(LastAnswer { denied, at_ms });
        let kind = |denied: &Option<KeyDenied>| denied.as_ref().map(discriminant);
        let begins = denied.is_none() && inner.held.is_none();
        if begins || last.is_none_or(|last| kind(&last.denied) != kind(&denied)) {
            self.shared().events.emit(StoreEvent::KeyHeard {
                account: self.account(),
                key,
                denied,
                at_ms,
            });
        }
        let state = inner.status.state;
        self.publish(inner, state);
    }

    pub(super) fn publish(&self, inner: &mut Inner, state: KeyState) {
        let status = &mut inner.status;
        if status.state != state {
            status.state = state;
            status.since_ms = self.shared().now_ms();
        }
        status.sent = match inner.state.lease() {
            Ok(won) if inner.held.is_some() => Some(won.sent()),
            _ => None,
        };
        if *self.status.borrow() != inner.status {
            self.status.send_replace(inner.status.clone());
        }
    }
}

impl Inner {
    fn standing(&self) -> Result<(), KeyDenied> {
        match (&self.held, self.state.lease()) {
            (Some(_), _) => Ok(()),
            (None, Err(ending)) => Err(ending.denied()),
            (None, Ok(_)) => Err(KeyDenied::Closed),
        }
    }
}
