//! The second reader: says of every byte under `service/` what it is, and proves what it can.
//!
//! Written from `docs/format.md` on the formats of `strongroom-seal` and a read-only SQLite. It shares no code with the crate
//! that writes the storage, runs beside a live service, and changes nothing.
//!
//! Two questions, two ways to ask:
//!
//! - *Blind*: without any key. Every file is one that the format names; every byte is a sealed object's, one of the few
//!   documented columns', index structure's, or unaccounted for.
//! - *With keys*: each seed is unwrapped through the vault, each branch key compared with its check value, each record and blob
//!   opened and authenticated, and what stands in the clear compared with what is inside the seal.

pub mod ask;
mod blind;
pub mod cloud;
pub mod collect;
pub mod controls;
mod database;
pub mod design;
mod error;
pub mod fact;
pub mod facts;
pub mod finding;
mod folder;
mod keys;
mod limits;
mod links;
mod objects;
pub mod package;
pub mod question;
mod report;
pub mod run;
mod statistics;
#[cfg(test)]
mod testing;
mod text;
mod verify;
pub mod whoami;
pub mod world;
pub mod yaml;

// The public interface is:
pub use error::VerifyError;
pub use keys::{Anchor, Unwrap};
pub use report::{Class, Fault, KindCount, Report, Tally};
pub use verify::{Verification, verify};
