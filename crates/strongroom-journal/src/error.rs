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
    /// The disk has no room for the entry. Try again when somebody made some.
    #[error("the journal's disk is full")]
    Full,
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
    /// Entries that a checkpoint was signed over are not there any more: they were lost, removed, or an older copy was put back.
    /// Nothing was changed. Put the newer copy back, or move the whole folder aside to begin a new journal.
    #[error(
        "the journal has {size} whole entries and its checkpoint was signed over {signed}: entries were lost or removed"
    )]
    Shortened {
        /// Number of whole entries found.
        size: u64,
        /// Number of entries that the checkpoint covers.
        signed: u64,
    },
    /// The entries that the checkpoint was signed over are not those that are there. Nothing was changed.
    #[error("the first {signed} entries of the journal are not those that its checkpoint was signed over")]
    Altered {
        /// Number of entries that the checkpoint covers.
        signed: u64,
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
