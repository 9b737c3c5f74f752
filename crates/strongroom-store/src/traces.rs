//! What destroyed keys leave behind in the log, until it is erased.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Notes that something was destroyed, and wakes whoever erases it. Kept in memory: every start of the program erases once.
pub(crate) struct Traces {
    are_left: AtomicBool,
    noted: Notify,
    erased: Notify,
}

impl Traces {
    pub(crate) fn new() -> Self {
        Self {
            are_left: AtomicBool::new(true),
            noted: Notify::new(),
            erased: Notify::new(),
        }
    }

    /// Something was destroyed, durably.
    pub(crate) fn leave(&self) {
        self.are_left.store(true, Ordering::SeqCst);
        self.noted.notify_one();
    }

    pub(crate) fn are_left(&self) -> bool {
        self.are_left.load(Ordering::SeqCst)
    }

    /// To be called before erasing: what is left from then on is for the next time.
    pub(crate) fn take(&self) -> bool {
        self.are_left.swap(false, Ordering::SeqCst)
    }

    /// What was left before [`take`](Self::take) is erased.
    pub(crate) fn erased(&self) {
        self.erased.notify_waiters();
    }

    /// Fires the next time that something is erased.
    #[cfg(test)]
    pub(crate) fn erasure(&self) -> tokio::sync::futures::Notified<'_> {
        self.erased.notified()
    }

    /// Returns after something was left since the last call returned.
    pub(crate) async fn noted(&self) {
        self.noted.notified().await;
    }
}
