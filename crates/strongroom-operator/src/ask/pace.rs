//! The pace: how many calls are out at once, and whom to leave alone for a while.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::answer::Heard;
use crate::fact::Source;
use crate::limits;

pub(super) struct Pace {
    slots: Semaphore,
    /// Until when a source is not asked.
    held: Mutex<BTreeMap<Source, Instant>>,
}

impl Pace {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots: Semaphore::new(slots),
            held: Mutex::default(),
        }
    }

    /// Waits until the source may be asked and a call is free; it is given back when the answer is dropped.
    pub(super) async fn turn(&self, source: Source) -> Option<SemaphorePermit<'_>> {
        loop {
            if let Some(until) = self.held_until(source) {
                tokio::time::sleep_until(until).await;
                continue;
            }
            // The semaphore is never closed.
            let slot = self.slots.acquire().await.ok();
            // While waiting for the slot, somebody may have been told to wait.
            if self.held_until(source).is_none() {
                return slot;
            }
        }
    }

    /// Leaves a source alone for a while.
    pub(super) fn hold(&self, source: Source, wait: Duration) {
        let until = Instant::now() + wait;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.entry(source).or_insert(until);
        *known = until.max(*known);
    }

    /// Slows down before the server has to say no.
    pub(super) fn heed(&self, source: Source, heard: &Heard) {
        let number = |name: &str| {
            heard
                .header(name)
                .and_then(|text| text.trim().parse::<u64>().ok())
        };
        if number("x-ms-user-quota-remaining") == Some(0)
            && let Some(wait) = heard.quota_resets()
        {
            self.hold(source, wait.min(limits::LONGEST_WAIT));
        }
        let few = [
            "x-ms-ratelimit-remaining-subscription-reads",
            "x-ms-ratelimit-remaining-tenant-reads",
        ]
        .into_iter()
        .filter_map(number)
        .any(|left| left < limits::FEW_READS);
        if few {
            self.hold(source, limits::FEW_READS_WAIT);
        }
    }

    fn held_until(&self, source: Source) -> Option<Instant> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *held.get(&source)?;
        if until > Instant::now() {
            return Some(until);
        }
        held.remove(&source);
        None
    }
}
