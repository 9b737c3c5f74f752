//! How an entry asks: one question at a time, however many wait for its end.

use std::sync::Arc;

use strongroom_seal::BranchVersion;
use tokio::{sync::watch, time::Instant};

use super::{Entry, Inner, Outcome};
use crate::{
    keyring::{
        lease::Lease,
        question,
        status::{KeyDenied, KeyState},
    },
    limits,
};

impl Entry {
    /// A lease, at once if there is one, else after asking. However many ask, one question is sent.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease, KeyDenied> {
        for _ in 0..limits::LEASE_TRIES {
            let outcome = {
                let mut inner = self.lock();
                if let Some(lease) = self.lease_if_held(&mut inner) {
                    return Ok(lease);
                }
                inner.may_ask()?;
                self.ask_once(&mut inner)
            };
            // A lease that was won may be over already when its turn comes; then ask again.
            ended(outcome).await?;
        }
        Err(KeyDenied::Unreachable { retry_after: None })
    }

    /// Asks, or waits for the question that is out. Beware: that one may be older than what the caller knows.
    pub(in crate::keyring) async fn ask(self: &Arc<Self>) -> Result<(), KeyDenied> {
        let outcome = self.ask_once(&mut self.lock());
        ended(outcome).await
    }

    /// A lease whose guards know this version, if the account has it.
    pub(crate) async fn lease_with(self: &Arc<Self>, version: BranchVersion) -> Result<Lease, KeyDenied> {
        let lease = self.lease().await?;
        if lease.guard()?.version(version).is_some() {
            return Ok(lease);
        }
        let stored = self.shared.load(self.account).await?;
        if stored.iter().any(|record| record.version == version) {
            self.ask_afresh().await?;
        }
        self.lease().await
    }

    /// Sends a question after this moment and waits for how it ends.
    pub(crate) async fn ask_afresh(self: &Arc<Self>) -> Result<(), KeyDenied> {
        let earlier = self.lock().asking.clone();
        if let Some(earlier) = earlier {
            // It may have been sent before what the caller knows; its end is enough.
            let _ = ended(earlier).await;
        }
        self.ask().await
    }

    /// Begins a question, or joins the one that is out.
    pub(super) fn ask_once(self: &Arc<Self>, inner: &mut Inner) -> Outcome {
        if let Some(outcome) = &inner.asking
            && outcome.has_changed().is_ok()
        {
            return outcome.clone();
        }
        let (sender, outcome) = watch::channel(None);
        inner.asking = Some(outcome.clone());
        inner.asked = Instant::now();
        let entry = Arc::clone(self);
        self.shared.runtime.spawn(async move {
            let result = question::ask(&entry).await;
            entry.asked(result);
            sender.send_replace(Some(result));
        });
        outcome
    }

    /// A question has ended.
    fn asked(&self, result: Result<(), KeyDenied>) {
        let mut inner = self.lock();
        inner.asking = None;
        inner.no = result.err().and_then(|denied| {
            let wait = inner.state.terms().pace().min(limits::ASK_AGAIN);
            let wait = match denied {
                KeyDenied::Closed | KeyDenied::NotBound => return None,
                KeyDenied::Throttled { retry_after } => {
                    retry_after.unwrap_or(wait).min(limits::THROTTLED_WAIT)
                }
                _ => wait,
            };
            Some((denied, Instant::now() + wait))
        });
        if let Err(denied) = result
            && inner.held.is_none()
        {
            self.publish(&mut inner, KeyState::Denied(denied));
        }
    }
}

impl Inner {
    /// Whether a caller's wish may make the vault be asked now.
    fn may_ask(&mut self) -> Result<(), KeyDenied> {
        if self.is_closed {
            return Err(KeyDenied::Closed);
        }
        if self.binding.is_none() {
            return Err(KeyDenied::NotBound);
        }
        self.used = Instant::now();
        match self.no {
            Some((denied, until)) if self.used < until => Err(denied),
            _ => Ok(()),
        }
    }
}

async fn ended(mut outcome: Outcome) -> Result<(), KeyDenied> {
    match outcome.wait_for(Option::is_some).await {
        Ok(result) => result.unwrap_or(Err(KeyDenied::Closed)),
        // The question's task is gone without an answer: the runtime is shutting down.
        Err(_) => Err(KeyDenied::Closed),
    }
}
