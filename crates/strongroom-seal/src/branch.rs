//! Branch keys: one per account and version, derived from a seed that the customer key wraps.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand;

use crate::account::AccountId;
use crate::context::{Context, Purpose};
use crate::error::{OpenError, SealError};
use crate::object::ObjectKey;
use crate::page::LockedPage;
use crate::secret::Secret;
use crate::wrapped::WrappedKey;
use crate::xaes;

const KEY_LABEL: &[u8] = b"strongroom/branch-key/v1";
const CHECK_LABEL: &[u8] = b"strongroom/branch-check/v1";
const ENDORSE_LABEL: &[u8] = b"strongroom/branch-endorse/v1";
const WRAP_KEY_LEN: usize = xaes::KEY_LEN;
const ENDORSE_KEY_LEN: usize = 32;

/// The version of an account's branch key: 1 for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchVersion(u32);

impl BranchVersion {
    /// The version an account begins with.
    pub const FIRST: Self = Self(1);

    /// A version by its number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The version after this one; none after the last number.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for BranchVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The public value that tells whether a seed is the right one. It commits to the seed, the account and the version, and
/// reveals nothing about the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckValue([u8; 32]);

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a check value (expected 64 hexadecimal digits)")]
pub struct CheckValueError;

impl CheckValue {
    /// A check value as it was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for CheckValue {
    type Err = CheckValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| CheckValueError)?;
        Ok(Self(bytes))
    }
}

/// A branch version's word for its successor's check value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endorsement([u8; 32]);

impl Endorsement {
    /// An endorsement as it was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// An account's key that wraps object keys. It lies alone on a page that is locked in memory where the system lets us,
/// and is wiped when dropped.
pub struct BranchKey {
    account: AccountId,
    version: BranchVersion,
    check: CheckValue,
    /// The key that wraps, then the key that endorses.
    keys: LockedPage<{ WRAP_KEY_LEN + ENDORSE_KEY_LEN }>,
}

impl BranchKey {
    /// Derives the key and its check value. Compare the latter with the one on record before any use, or
    /// call [`BranchKey::derive_checked`].
    pub fn derive(seed: &Secret<32>, account: AccountId, version: BranchVersion) -> Result<Self, SealError> {
        let root = Salt::new(HKDF_SHA256, account.as_bytes()).extract(seed.expose_secret());
        let mut check = [0; 32];
        let keys = LockedPage::try_build(|keys: &mut [u8; WRAP_KEY_LEN + ENDORSE_KEY_LEN]| {
            let (wrap, endorse) = keys.split_at_mut(WRAP_KEY_LEN);
            expand(&root, KEY_LABEL, version, wrap)?;
            expand(&root, ENDORSE_LABEL, version, endorse)?;
            expand(&root, CHECK_LABEL, version, &mut check)
        })
        .map_err(|_: Unspecified| SealError::Library)?;
        Ok(Self {
            account,
            version,
            check: CheckValue(check),
            keys,
        })
    }

    /// As [`BranchKey::derive`], but yields a key only if its check value is the `expected` one: a seed
    /// that was moved from another account or version, or planted by someone who knows the public half of the customer key, does not.
    pub fn derive_checked(
        seed: &Secret<32>,
        account: AccountId,
        version: BranchVersion,
        expected: CheckValue,
    ) -> Result<Self, OpenError> {
        // A library that refuses to derive has not shown the seed to be right: refuse as well.
        let key = Self::derive(seed, account, version).map_err(|_| OpenError::CheckMismatch)?;
        (key.check == expected)
            .then_some(key)
            .ok_or(OpenError::CheckMismatch)
    }

    /// The account it belongs to.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// Its version.
    pub const fn version(&self) -> BranchVersion {
        self.version
    }

    /// The public value that identifies it.
    pub const fn check_value(&self) -> CheckValue {
        self.check
    }

    /// Whether the system agreed to keep its page out of swap.
    pub const fn is_locked_in_memory(&self) -> bool {
        self.keys.is_locked()
    }

    /// Wraps an object key for the thing that `context` names.
    pub fn wrap(&self, context: &Context<'_>, object: &ObjectKey) -> Result<WrappedKey, SealError> {
        let mut nonce = [0; xaes::XNONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        self.wrap_with_nonce(context, object, &nonce)
    }

    pub(crate) fn wrap_with_nonce(
        &self,
        context: &Context<'_>,
        object: &ObjectKey,
        nonce: &[u8; xaes::XNONCE_LEN],
    ) -> Result<WrappedKey, SealError> {
        if context.account() != self.account {
            return Err(SealError::WrongAccount);
        }
        let aad = WrappedKey::associated_data(self.version, &context.encode(Purpose::ObjectKey));
        WrappedKey::build(self.version, nonce, |place| {
            place.copy_from_slice(object.secret().expose_secret());
            xaes::seal(self.wrap_key()?, nonce, &aad, place)
        })
        .map_err(|_| SealError::Library)
    }

    /// Unwraps the key of the thing that `context` names.
    pub fn unwrap(&self, context: &Context<'_>, wrapped: &WrappedKey) -> Result<ObjectKey, OpenError> {
        if context.account() != self.account {
            return Err(OpenError::WrongAccount);
        }
        if wrapped.branch_version() != self.version {
            return Err(OpenError::WrongBranch {
                wrapped: wrapped.branch_version(),
                held: self.version,
            });
        }
        let aad = WrappedKey::associated_data(self.version, &context.encode(Purpose::ObjectKey));
        let secret = Secret::try_build(|place| {
            let (nonce, sealed, tag) = wrapped.parts().ok_or(Unspecified)?;
            *place = *sealed;
            xaes::open(self.wrap_key()?, nonce, &aad, place, tag)
        })
        .map_err(|_: Unspecified| OpenError::NotAuthentic)?;
        Ok(ObjectKey::from_secret(secret))
    }

    /// Vouches for the check value of a later branch version of this account.
    pub fn endorse(&self, next: BranchVersion, check: CheckValue) -> Endorsement {
        let tag = hmac::sign(&self.endorse_key(), &self.endorsement_message(next, check));
        let mut bytes = [0; 32];
        for (byte, tag) in bytes.iter_mut().zip(tag.as_ref()) {
            *byte = *tag;
        }
        Endorsement(bytes)
    }

    /// Checks that this branch version vouched for `check` as the check value of version `next`.
    pub fn verify_endorsement(
        &self,
        next: BranchVersion,
        check: CheckValue,
        endorsement: &Endorsement,
    ) -> Result<(), OpenError> {
        hmac::verify(
            &self.endorse_key(),
            &self.endorsement_message(next, check),
            &endorsement.0,
        )
        .map_err(|_| OpenError::NotEndorsed)
    }

    fn wrap_key(&self) -> Result<&[u8; WRAP_KEY_LEN], Unspecified> {
        self.keys.expose_secret().first_chunk().ok_or(Unspecified)
    }

    fn endorse_key(&self) -> hmac::Key {
        let (_, endorse) = self.keys.expose_secret().split_at(WRAP_KEY_LEN);
        hmac::Key::new(hmac::HMAC_SHA256, endorse)
    }

    fn endorsement_message(&self, next: BranchVersion, check: CheckValue) -> Vec<u8> {
        [
            self.account.as_bytes().as_slice(),
            &self.version.get().to_be_bytes(),
            &next.get().to_be_bytes(),
            check.as_bytes(),
        ]
        .concat()
    }
}

/// Fills `out` from the seed's root for one use.
fn expand(root: &Prk, label: &[u8], version: BranchVersion, out: &mut [u8]) -> Result<(), Unspecified> {
    let version = version.get().to_be_bytes();
    let info = [label, &version];
    // The length of the hash is the length of every output here.
    root.expand(&info, HKDF_SHA256)?.fill(out)
}
