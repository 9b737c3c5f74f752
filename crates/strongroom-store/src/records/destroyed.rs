//! What a deletion destroyed, for its receipt.

use aws_lc_rs::digest;
use strongroom_seal::{BranchVersion, WrappedKey};

/// The wrapped keys that a deletion destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destroyed {
    /// The branch versions that they were wrapped under, oldest first: more than one only in the middle of a rekey.
    pub(crate) branches: Vec<BranchVersion>,
    /// The customer-key versions that wrapped these branches' seeds, in the same order.
    pub(crate) keys: Vec<String>,
    /// SHA-256 of the wrapped keys, one after the other: the record's own, then its blobs' by part number.
    pub(crate) digest: [u8; 32],
}

impl Destroyed {
    /// Of the wrapped keys in the order in which they count; `key_of` names the customer key of a branch version.
    pub(crate) fn of<'a, E>(
        wrapped: impl IntoIterator<Item = &'a [u8]>,
        mut key_of: impl FnMut(BranchVersion) -> Result<Option<String>, E>,
    ) -> Result<Self, E> {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut branches = Vec::new();
        for wrapped in wrapped {
            hash.update(wrapped);
            // What does not parse opens nothing; its bytes are in the digest.
            branches.extend(WrappedKey::parse(wrapped).map(|key| key.branch_version()));
        }
        branches.sort_unstable();
        branches.dedup();
        let mut keys = Vec::new();
        for branch in &branches {
            keys.extend(key_of(*branch)?);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());
        Ok(Self {
            branches,
            keys,
            digest,
        })
    }
}
