//! When a job that stopped is taken up again.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits;

/// Every turn at a job costs calls to the vault and commits, so after one that came to nothing the next one waits, longer each time. A key
/// that was denied and is so no more ends the pause early; a job can also be denied something while the key is held.
pub(super) struct Pause {
    begun: Instant,
    length: Duration,
    key_was_denied: bool,
}

impl Pause {
    /// The pause after a turn, longer than the last one.
    pub(super) fn after(last: Option<&Self>, key_is_denied: bool) -> Self {
        let length = last.map_or(limits::JOB_POLL, |last| last.length * 2);
        Self {
            begun: Instant::now(),
            length: length.min(limits::JOB_PAUSE),
            key_was_denied: key_is_denied,
        }
    }

    /// A pause of the length that a handler asked for.
    pub(super) fn of(length: Duration) -> Self {
        Self {
            begun: Instant::now(),
            length,
            key_was_denied: false,
        }
    }

    pub(super) fn is_over(&self, key_is_denied: bool) -> bool {
        let passed = self.begun.elapsed();
        let key_is_back = self.key_was_denied && !key_is_denied;
        passed >= self.length || (key_is_back && passed >= limits::JOB_POLL)
    }

    /// How long until it is over, if the key does not end it earlier.
    pub(super) fn left(&self) -> Duration {
        self.length.saturating_sub(self.begun.elapsed())
    }
}
