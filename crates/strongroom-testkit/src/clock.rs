//! A clock that stands still until a test turns its hands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_seal::{Clock, Moment};

/// Both hands, turned together or apart. Clones show the same time.
#[derive(Clone)]
pub struct HandClock {
    moment: Arc<Mutex<Moment>>,
}

impl Default for HandClock {
    /// Some day in 2026, a minute after the machine started.
    fn default() -> Self {
        Self::at(Moment {
            boot: Duration::from_secs(60),
            wall: Duration::from_secs(1_795_000_000),
        })
    }
}

impl HandClock {
    /// A clock that shows `moment`.
    pub fn at(moment: Moment) -> Self {
        Self {
            moment: Arc::new(Mutex::new(moment)),
        }
    }

    /// Time passes, on both hands.
    pub fn advance(&self, by: Duration) {
        self.turn(|moment| {
            moment.boot += by;
            moment.wall += by;
        });
    }

    /// Somebody sets the wall clock forward; no time passes.
    pub fn wall_forward(&self, by: Duration) {
        self.turn(|moment| moment.wall += by);
    }

    /// Somebody sets the wall clock back; no time passes.
    pub fn wall_back(&self, by: Duration) {
        self.turn(|moment| moment.wall = moment.wall.saturating_sub(by));
    }

    /// The wall clock hangs while time passes.
    pub fn boot_forward(&self, by: Duration) {
        self.turn(|moment| moment.boot += by);
    }

    fn turn(&self, hands: impl FnOnce(&mut Moment)) {
        hands(&mut self.moment.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        *self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
