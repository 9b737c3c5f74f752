//! The customer takes the key away while everything is in use: what happens, and by when.
//!
//! Most of it goes through the real vault over TLS; a vault that fails on cue stands before its client where silence, or a
//! vault without a push, is needed.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod asking;
mod clients;
mod clocks;
mod losses;
mod rig;
mod suspended;
mod worker;

use std::time::Duration;

/// The bound in these tests.
const BOUND: Duration = Duration::from_secs(2);
/// What a client that drains may still see after the bound.
const SLACK: Duration = Duration::from_millis(250);
/// For what has no bound of its own, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
