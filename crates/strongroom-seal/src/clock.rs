//! Time as a value, from two clocks that cannot both be fooled.

use std::time::Duration;

/// Where the time comes from. The program asks the system; tests turn the hands.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Moment;
}

/// One moment by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Time since the machine started, suspension included (`CLOCK_BOOTTIME`).
    pub boot: Duration,
    /// Time since the Unix epoch.
    pub wall: Duration,
}

/// How much time has passed between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// At least this much: the larger of what the two clocks say.
    Elapsed(Duration),
    /// Unknown: a clock went backwards. Trust nothing that had a time limit.
    WallClockWentBack,
}

impl Moment {
    /// How much older this moment is than `earlier`.
    pub fn age_since(&self, earlier: Self) -> Age {
        let boot = self.boot.checked_sub(earlier.boot);
        let wall = self.wall.checked_sub(earlier.wall);
        match (boot, wall) {
            (Some(boot), Some(wall)) => Age::Elapsed(boot.max(wall)),
            _ => Age::WallClockWentBack,
        }
    }
}

impl Age {
    /// Whether it is known to be below `limit`.
    pub fn is_below(self, limit: Duration) -> bool {
        matches!(self, Self::Elapsed(elapsed) if elapsed < limit)
    }
}
