//! What runs beside a lease while it is held: the renewals, the watch over its end, and the following of the customer key.

use std::{sync::Arc, time::Duration};

use tokio::{select, time::sleep};

use super::{entry::Entry, lease::Tenure};
use crate::rotation;

/// Starts what keeps a tenure, until it ends.
pub(super) fn start(entry: &Arc<Entry>, tenure: Arc<Tenure>) {
    let runtime = &entry.shared().runtime;
    runtime.spawn(watch(Arc::clone(entry), Arc::clone(&tenure)));
    runtime.spawn(renew(Arc::clone(entry), tenure));
}

/// Ends the lease when its time is over even if nobody uses it, and gives it up when nobody has for long.
async fn watch(entry: Arc<Entry>, tenure: Arc<Tenure>) {
    while let Some(remaining) = entry.remaining(&tenure) {
        let idle = entry.release_if_idle(&tenure);
        select! {
            () = tenure.wait_for_end() => {}
            () = sleep(remaining.min(idle).max(SHORTEST_WAIT)) => {}
        }
    }
}

/// Asks again at a third of the bound, and early when nudged.
async fn renew(entry: Arc<Entry>, tenure: Arc<Tenure>) {
    while entry.remaining(&tenure).is_some() {
        if entry.is_time_to_follow() {
            follow(&entry);
        }
        // A refusal, or silence, is heard by the entry; what it means for the tenure shows in its end.
        let _ = select! {
            () = tenure.wait_for_end() => return,
            () = sleep(entry.pause(jitter()).max(SHORTEST_WAIT)) => entry.ask().await,
            () = entry.nudged() => entry.ask_afresh().await,
        };
    }
}

/// Wraps the seeds under the key version that is wanted now, beside the renewals: it may take longer than a lease.
fn follow(entry: &Arc<Entry>) {
    let follower = Arc::clone(entry);
    entry.shared().runtime.spawn(async move {
        if let Err(error) = rotation::rewrap(&follower).await {
            tracing::warn!(account = %follower.account(), %error, "the seeds were not wrapped anew; the old wraps stay in force");
        }
    });
}

/// Between 0.85 and 1, so that many accounts do not ask in step; never later than the pace.
fn jitter() -> f64 {
    let mut byte = [0; 1];
    // Without randomness there is no jitter, which does no harm.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    let [byte] = byte;
    1.0 - 0.15 * f64::from(byte) / 255.0
}

/// So that rounding never makes a loop spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
