//! Every number that bounds this crate.

use std::time::Duration;

/// Largest entry in bytes: the length prefix of an entry bundle has 16 bits.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// Entries and hashes in one full tile (C2SP tlog-tiles, section "Parameters").
pub(crate) const TILE_WIDTH: usize = 256;

/// Tree levels that one tile level spans: 256 = 2^8.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// Appends that may wait for the disk at once; one more is answered with `Busy`.
pub(crate) const QUEUE_LENGTH: usize = 4096;

/// Appends that one `fdatasync` may serve.
pub(crate) const GROUP_LENGTH: usize = 512;

/// How long a group gathers where the one before served several appends.
pub(crate) const GATHERING: Duration = Duration::from_millis(1);

/// Entries that one call of `read` may return.
pub(crate) const MAX_READ: u64 = 65_536;
