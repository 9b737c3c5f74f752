//! The stored form of an object key.

use aws_lc_rs::error::Unspecified;

use crate::branch::BranchVersion;
use crate::error::OpenError;
use crate::xaes::{KEY_LEN, TAG_LEN, XNONCE_LEN};

/// Magic and format version.
const HEAD: [u8; 5] = *b"SRwk\x01";
const HEADER_LEN: usize = 9;
const LEN: usize = HEADER_LEN + XNONCE_LEN + KEY_LEN + TAG_LEN;

/// An object key wrapped by a branch key: magic, format version, branch version, nonce, wrapped key and tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    bytes: [u8; LEN],
    branch: BranchVersion,
}

impl WrappedKey {
    /// Its length in bytes, always.
    pub const LEN: usize = LEN;

    /// Reads the stored form. Nothing in it is authentic until it has been unwrapped.
    pub fn parse(stored: &[u8]) -> Result<Self, OpenError> {
        check_head(stored, &HEAD)?;
        let (bytes, rest) = stored.split_first_chunk::<LEN>().ok_or(OpenError::Truncated)?;
        if !rest.is_empty() {
            return Err(OpenError::TrailingBytes);
        }
        let [_, _, _, _, _, a, b, c, d, ..] = *bytes;
        Ok(Self {
            bytes: *bytes,
            branch: BranchVersion::new(u32::from_be_bytes([a, b, c, d])),
        })
    }

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The branch version that it names.
    pub const fn branch_version(&self) -> BranchVersion {
        self.branch
    }

    /// Lays out a wrapped key; `seal` turns the key's place into its sealed form and returns the tag.
    pub(crate) fn build(
        branch: BranchVersion,
        nonce: &[u8; XNONCE_LEN],
        seal: impl FnOnce(&mut [u8]) -> Result<[u8; TAG_LEN], Unspecified>,
    ) -> Result<Self, Unspecified> {
        let mut bytes = [0; LEN];
        let (header, rest) = bytes.split_at_mut(HEADER_LEN);
        let (nonce_place, rest) = rest.split_at_mut(XNONCE_LEN);
        let (key_place, tag_place) = rest.split_at_mut(KEY_LEN);
        header.copy_from_slice(&header_bytes(branch));
        nonce_place.copy_from_slice(nonce);
        tag_place.copy_from_slice(&seal(key_place)?);
        Ok(Self { bytes, branch })
    }

    /// Nonce, sealed key and tag.
    pub(crate) fn parts(&self) -> Option<(&[u8; XNONCE_LEN], &[u8; KEY_LEN], &[u8; TAG_LEN])> {
        let (_, rest) = self.bytes.split_at(HEADER_LEN);
        let (nonce, rest) = rest.split_first_chunk()?;
        let (sealed, rest) = rest.split_first_chunk()?;
        Some((nonce, sealed, rest.try_into().ok()?))
    }

    /// What the seal is bound to: the header, then the encoded context.
    pub(crate) fn associated_data(branch: BranchVersion, context: &[u8]) -> Vec<u8> {
        [header_bytes(branch).as_slice(), context].concat()
    }
}

fn header_bytes(branch: BranchVersion) -> [u8; HEADER_LEN] {
    let ([a, b, c, d, format], [e, f, g, h]) = (HEAD, branch.get().to_be_bytes());
    [a, b, c, d, format, e, f, g, h]
}

/// Checks the magic and the format version that every stored form begins with.
pub(crate) fn check_head(stored: &[u8], head: &[u8; 5]) -> Result<(), OpenError> {
    let [magic @ .., format] = head;
    match stored {
        [a, b, c, d, ..] if [*a, *b, *c, *d] != *magic => Err(OpenError::NotOurs),
        [_, _, _, _, found, ..] if found > format => Err(OpenError::FutureVersion { found: *found }),
        [_, _, _, _, found, ..] if found < format => Err(OpenError::NotOurs),
        [_, _, _, _, _, ..] => Ok(()),
        _ => Err(OpenError::Truncated),
    }
}
