//! The token issuer through its real routes, on a real disk.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod certificates;
mod federation;
mod grants;
mod guests;
mod identities;
mod keys;
mod rig;
