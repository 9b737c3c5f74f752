//! Rotation: new wraps for seeds when the customer key changes, and new branch versions when an account is rekeyed.

mod branches;
mod found;
mod rewrap;
mod seed;
mod successor;

use thiserror::Error;

use crate::keyring::{AnchorError, KeyDenied};

pub(crate) use branches::{BranchRecord, Branches, BranchesError, SeedWrap};
pub(crate) use found::found;
pub(crate) use rewrap::{is_settled, prove_key, rewrap};
pub(crate) use successor::{before_drop, next_branch};

/// Why a rotation did not happen. What was in force before still is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RotationError {
    /// The vault did not say yes, or what it yields is not the account's.
    #[error(transparent)]
    Key(#[from] KeyDenied),
    /// The anchor could not be moved.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The branch versions could not be read or changed.
    #[error(transparent)]
    Branches(#[from] BranchesError),
    /// The account has as many branch versions as are allowed; finish the rekey that runs first.
    #[error("too many branch versions at once")]
    TooManyVersions,
    /// Object keys are still wrapped under the version, or it is not the oldest.
    #[error("the branch version is still needed")]
    StillNeeded,
    /// The system gave no randomness, or the cryptographic library refused.
    #[error("no new key could be made")]
    NoNewKey,
}
