//! The machine's clocks: the one place in the program that asks them.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use strongroom_seal::{Clock, Moment};

/// The real time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment {
            boot: read(ClockId::Boottime),
            wall: read(ClockId::Realtime),
        }
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // Both are never negative on a machine whose clock was set after 1970.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
