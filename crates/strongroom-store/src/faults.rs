//! A machine that stops at a chosen step, for tests over the memory back ends.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use crate::error::StorageFault;

/// Counts the steps of a machine. Once stopped, nothing works on it any more.
#[derive(Clone)]
pub(crate) struct Faults {
    left: Arc<AtomicI64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            left: Arc::new(AtomicI64::new(i64::MAX)),
        }
    }
}

impl Faults {
    /// A machine that stops before the step after `steps` more.
    #[cfg(test)]
    pub(crate) fn after(steps: u32) -> Self {
        Self {
            left: Arc::new(AtomicI64::new(i64::from(steps))),
        }
    }

    /// One step; an error if the machine has stopped.
    pub(crate) fn step(&self) -> Result<(), StorageFault> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            Ok(())
        } else {
            self.left.store(0, Ordering::SeqCst);
            Err(StorageFault::new("the machine stopped"))
        }
    }

    /// Whether it has stopped.
    #[cfg(test)]
    pub(crate) fn stopped(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }
}
