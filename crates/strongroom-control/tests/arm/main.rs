//! Resource Manager as clients meet it: real databases, a real journal, real tokens.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod accounts;
mod activity;
mod authorization;
mod deployments;
mod diagnostics;
mod directory;
mod encryption;
mod frame;
mod graph;
mod identities;
mod many;
mod resources;
mod rig;
mod vaults;
