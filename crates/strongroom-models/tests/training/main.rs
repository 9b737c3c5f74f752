//! Trainers against real processes.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod built_in;
mod cage;
mod command;
mod rig;
