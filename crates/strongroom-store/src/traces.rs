//! What destroyed keys leave behind in the log, until it is erased.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Notes that something was destroyed, and wakes whoever erases it. Kept in memory: every start of the program erases once.
pub(crate) struct Traces {
    are_left: AtomicBool,
    noted: Notify,
}

impl Traces {
    pub(crate) fn new() -> Self {
        Self {
            are_left: AtomicBool::new(true),
            noted: Notify::new(),
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

    /// Returns after something was left since the last call returned.
    pub(crate) async fn noted(&self) {
        self.noted.notified().await;
    }
}
