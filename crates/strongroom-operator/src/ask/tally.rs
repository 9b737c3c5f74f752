//! Numbers of a collection, for whoever watches it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far a collection is.
#[derive(Debug, Default)]
pub struct Tally {
    planned: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    known: AtomicU64,
    sent: AtomicU64,
    repeated: AtomicU64,
    waited_ms: AtomicU64,
    doing: Mutex<&'static str>,
}

/// The numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Questions that are to be put, as far as is known yet.
    pub planned: u64,
    /// Questions that have their fact.
    pub answered: u64,
    /// Those of them whose answer is no success.
    pub failed: u64,
    /// Those of them that were known from before.
    pub known: u64,
    /// Requests sent, repeated ones included.
    pub sent: u64,
    /// Requests sent again.
    pub repeated: u64,
    /// Milliseconds that servers, or their silence, made questions wait.
    pub waited_ms: u64,
    /// What is being asked about.
    pub doing: &'static str,
}

impl Tally {
    /// The numbers now.
    #[must_use]
    pub fn count(&self) -> Count {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Count {
            planned: number(&self.planned),
            answered: number(&self.answered),
            failed: number(&self.failed),
            known: number(&self.known),
            sent: number(&self.sent),
            repeated: number(&self.repeated),
            waited_ms: number(&self.waited_ms),
            doing: self.doing.lock().map_or("", |doing| *doing),
        }
    }

    pub(crate) fn begin(&self, doing: &'static str) {
        if let Ok(mut now) = self.doing.lock() {
            *now = doing;
        }
    }

    pub(crate) fn plans(&self, questions: usize) {
        self.planned.fetch_add(questions as u64, Ordering::Relaxed);
    }

    pub(crate) fn knew(&self) {
        self.known.fetch_add(1, Ordering::Relaxed);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn repeats(&self, wait: Duration) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.waited_ms.fetch_add(wait, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, failed: bool) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
    }
}
