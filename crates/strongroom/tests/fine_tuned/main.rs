//! A customer's own model through its whole life: brought, deployed, asked, under a key that rotates, is taken away and comes back,
//! and shredded at the end.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod commands;
mod crash;
mod life;
mod policies;
mod rig;

use std::time::Duration;

/// The bound in these tests.
const BOUND: Duration = Duration::from_secs(2);
/// What may come on top of it on a busy machine.
const SLACK: Duration = Duration::from_millis(250);
/// For what has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(60);
