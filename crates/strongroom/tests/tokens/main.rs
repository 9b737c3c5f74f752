//! Tokens at the running system: those of another tenant, those that are none, and how principals prove who they are.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod commands;
mod entra;
mod guests;
mod keys;
