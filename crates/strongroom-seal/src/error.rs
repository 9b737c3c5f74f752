//! What can go wrong when data is sealed or opened.

use crate::branch::BranchVersion;

/// Sealing, wrapping or deriving did not happen. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system gave no randomness. Try again; if it persists, the machine is broken.
    #[error("the system's randomness is not available")]
    NoRandomness,
    /// The content is above its limit in `limits`. Store it as a blob, or refuse it.
    #[error("the content is larger than its format allows")]
    TooLarge,
    /// The context names another account than the branch key. A fault of the caller.
    #[error("the context belongs to another account than the branch key")]
    WrongAccount,
    /// A blob sealer was used out of order: a segment not full, or anything after the end. A fault of the caller.
    #[error("the blob sealer was used out of order")]
    OutOfOrder,
    /// The cryptographic library refused a primitive that cannot fail for valid input.
    #[error("the cryptographic library refused to work")]
    Library,
}

/// Something stored did not open. No plaintext was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The bytes do not begin with the magic of the expected format: they are something else.
    #[error("not in the expected format")]
    NotOurs,
    /// Written by a later version of the program. Upgrade before reading.
    #[error("format version {found} is newer than this program")]
    FutureVersion {
        /// The version found.
        found: u8,
    },
    /// Bytes are missing at the end, or the length is one that the format cannot have.
    #[error("shorter than the format demands")]
    Truncated,
    /// Bytes follow the end.
    #[error("bytes follow the end")]
    TrailingBytes,
    /// Larger than the format's limit; it was not written by this program.
    #[error("larger than the format allows")]
    TooLarge,
    /// The range asked for does not lie inside the content. Ask for another.
    #[error("the range does not lie inside the content")]
    OutOfRange,
    /// The wrapped key names another branch version. Unwrap with that one.
    #[error("wrapped under branch version {wrapped}, not {held}")]
    WrongBranch {
        /// The version that the wrapped key names.
        wrapped: BranchVersion,
        /// The version of the branch key that was asked.
        held: BranchVersion,
    },
    /// The context names another account than the branch key.
    #[error("the context belongs to another account than the branch key")]
    WrongAccount,
    /// The seed does not yield the check value on record: the wrap was moved from elsewhere or planted.
    #[error("the seed does not yield the recorded check value")]
    CheckMismatch,
    /// The endorsement of a branch version does not verify under its predecessor.
    #[error("the branch version is not endorsed by its predecessor")]
    NotEndorsed,
    /// The seal does not hold under this key and context: altered, moved, reordered, or another key.
    #[error("the seal does not hold under this key and context")]
    NotAuthentic,
}
