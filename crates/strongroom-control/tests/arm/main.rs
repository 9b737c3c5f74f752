//! Resource Manager as clients meet it: real databases, a real journal, real tokens.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod activity;
mod frame;
mod graph;
mod many;
mod resources;
mod rig;
