use std::io;

/// Why the journal did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The entry has no bytes or more than [`MAX_ENTRY_BYTES`](crate::MAX_ENTRY_BYTES). Split or shorten it.
    #[error("a journal entry must have 1 to 65535 bytes, this one has {bytes}")]
    EntrySize {
        /// Length of the refused entry.
        bytes: usize,
    },
    /// Too many appends wait for the disk. Try again when some are durable.
    #[error("the journal's queue is full")]
    Busy,
    /// The journal was closed; nothing more is accepted. Open it again.
    #[error("the journal is closed")]
    Closed,
    /// The disk did not take the entry; it may be there all the same. Try again when the disk is well.
    #[error("the journal's disk fails")]
    Failing,
    /// The asked index, size or range lies beyond what is durable.
    #[error("the journal has {size} entries")]
    OutOfRange {
        /// Number of durable entries.
        size: u64,
    },
    /// A file of the journal does not have the form that it must have. The journal was damaged or tampered with.
    #[error("the journal is damaged: {what}")]
    Damaged {
        /// Which part, in words.
        what: &'static str,
    },
    /// A checkpoint or key is not in the signed-note form, or its signature does not verify.
    #[error("not a valid signed checkpoint: {what}")]
    BadNote {
        /// Which rule it broke.
        what: &'static str,
    },
    /// A proof does not connect what it should.
    #[error("the proof does not verify")]
    BadProof,
    /// The operating system refused.
    #[error("journal storage: {0}")]
    Io(#[from] io::Error),
}
