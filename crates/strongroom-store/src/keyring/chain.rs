//! Which stored branch versions are the account's: the anchor pins the oldest, each endorses the next. Pure.

use std::sync::Arc;

use strongroom_seal::{BranchKey, BranchVersion, CheckValue, KeyId, WrapAlgorithm};
use thiserror::Error;

use super::{
    binding::{Anchor, Binding},
    lease::{KeySet, Presence},
};
use crate::{limits, rotation::BranchRecord};

/// What is stored does not lead to the account's branch key. For the log; every one of these yields no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Untrusted {
    #[error("there is no branch version where the anchor names one")]
    Missing,
    #[error("the branch versions do not follow one another")]
    Gap,
    #[error("there are too many branch versions")]
    TooMany,
    #[error("the oldest branch version is not the anchored one")]
    Anchor,
    #[error("branch version {0} is not endorsed by its predecessor")]
    NotEndorsed(BranchVersion),
    #[error("branch version {0} is wrapped under {1}, which is not the account's key")]
    ForeignKey(BranchVersion, KeyId),
    #[error("branch version {0} is wrapped by another algorithm than ours")]
    Algorithm(BranchVersion),
    #[error("branch version {0} has another check value than before or than its seed yields")]
    Check(BranchVersion),
}

/// The living versions among those stored, as far as this can be told without a vault. Versions before the anchor are dead.
pub(crate) fn living(
    stored: Vec<BranchRecord>,
    anchor: Option<Anchor>,
    binding: &Binding,
) -> Result<Vec<BranchRecord>, Untrusted> {
    let living: Vec<_> = stored
        .into_iter()
        .filter(|record| anchor.is_none_or(|anchor| record.version >= anchor.version))
        .collect();
    let oldest = living.first().ok_or(Untrusted::Missing)?;
    if anchor.is_some_and(|anchor| (anchor.version, anchor.check) != (oldest.version, oldest.check)) {
        return Err(Untrusted::Anchor);
    }
    if living.len() > limits::BRANCH_VERSIONS {
        return Err(Untrusted::TooMany);
    }
    let follows = |(one, next): (&BranchRecord, &BranchRecord)| one.version.next() == Some(next.version);
    if !living.iter().zip(living.iter().skip(1)).all(follows) {
        return Err(Untrusted::Gap);
    }
    for record in &living {
        if !binding.admits(&record.wrap.key) {
            return Err(Untrusted::ForeignKey(record.version, record.wrap.key.clone()));
        }
        if record.wrap.algorithm != WrapAlgorithm::RsaOaep256 {
            return Err(Untrusted::Algorithm(record.version));
        }
    }
    Ok(living)
}

/// Which seeds must be unwrapped now: those of versions not held, and one for each version of the customer key, since only that shows
/// that it may still be used.
pub(crate) fn to_unwrap(living: &[BranchRecord], held: &[(BranchVersion, CheckValue)]) -> Vec<BranchRecord> {
    let mut asked: Vec<&KeyId> = Vec::new();
    let mut wanted = Vec::new();
    for record in living.iter().rev() {
        let is_held = held.iter().any(|(version, _)| *version == record.version);
        if !is_held || !asked.contains(&&record.wrap.key) {
            asked.push(&record.wrap.key);
            wanted.push(record.clone());
        }
    }
    wanted
}

/// Puts the keys of all living versions together, from those just unwrapped and those held, and checks that each vouches for the next.
/// `Ok(None)` if one is missing, because it was held when the question was asked and is not any more.
pub(super) fn assemble(
    living: &[BranchRecord],
    fresh: Vec<BranchKey>,
    held: Option<&KeySet>,
    presence: Arc<Presence>,
) -> Result<Option<KeySet>, Untrusted> {
    let fresh: Vec<_> = fresh.into_iter().map(Arc::new).collect();
    let mut keys: Vec<(Arc<BranchKey>, KeyId)> = Vec::with_capacity(living.len());
    for record in living {
        let held = held.and_then(|held| held.version(record.version));
        if held.is_some_and(|held| held.check_value() != record.check) {
            return Err(Untrusted::Check(record.version));
        }
        let fresh = fresh.iter().find(|key| key.version() == record.version);
        let Some(key) = held.or(fresh) else {
            return Ok(None);
        };
        if key.check_value() != record.check {
            return Err(Untrusted::Check(record.version));
        }
        if let Some((before, _)) = keys.last() {
            let endorsement = record.endorsement.as_ref();
            endorsement
                .and_then(|word| before.verify_endorsement(record.version, record.check, word).ok())
                .ok_or(Untrusted::NotEndorsed(record.version))?;
        }
        keys.push((Arc::clone(key), record.wrap.key.clone()));
    }
    Ok(KeySet::new(keys, presence))
}
