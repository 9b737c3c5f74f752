//! How often somebody may fail to pass for a client.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::limits::{FAILED_PROOFS, FAILED_PROOFS_WINDOW};

/// Counts failures by client. Only failures are answered otherwise: a valid proof is taken whatever others tried in the client's
/// name, so nobody can lock anybody out. There is nothing to guess that is worth a slower guess; this keeps the log readable.
#[derive(Default)]
pub(super) struct Failures {
    windows: Mutex<HashMap<Uuid, Window>>,
}

#[derive(Clone, Copy)]
struct Window {
    began: u64,
    count: u32,
}

impl Failures {
    /// Notes a failure. The seconds to wait, once there were too many. Clients that nobody knows share one count, which bounds
    /// the table by the directory.
    pub(super) fn note(&self, client: Option<Uuid>, now: u64) -> Option<u64> {
        let length = FAILED_PROOFS_WINDOW.as_secs();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Window { began: now, count: 0 };
        let window = windows.entry(client.unwrap_or_default()).or_insert(fresh);
        if now.abs_diff(window.began) >= length {
            *window = fresh;
        }
        window.count = window.count.saturating_add(1);
        (window.count > FAILED_PROOFS).then(|| length.saturating_sub(now.abs_diff(window.began)).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_client_and_forgotten_after_a_while() {
        let failures = Failures::default();
        let (one, other) = (Some(Uuid::new_v4()), Some(Uuid::new_v4()));
        for _ in 0..FAILED_PROOFS {
            assert_eq!(failures.note(one, 1000), None);
        }
        assert_eq!(
            failures.note(one, 1010),
            Some(FAILED_PROOFS_WINDOW.as_secs() - 10)
        );
        assert_eq!(failures.note(other, 1010), None);
        assert_eq!(failures.note(one, 1000 + FAILED_PROOFS_WINDOW.as_secs()), None);
    }
}
