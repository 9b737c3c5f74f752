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
    #[error("a branch version that the anchor names, or that is held, is not stored")]
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

/// The living versions, oldest first, and what stands for the oldest one.
#[derive(Debug)]
pub(crate) struct Living {
    pub(crate) records: Vec<BranchRecord>,
    /// Set if the anchor does not name the oldest version, because another process moved on and its word has not come here yet: the
    /// version whose key, held here, vouches for it instead.
    vouched_by: Option<BranchVersion>,
}

impl Living {
    /// The customer-key version whose wrap of the current version is active.
    pub(crate) fn key(&self) -> Option<KeyId> {
        self.records.last().map(|record| record.wrap.key.clone())
    }
}

/// What is held, in public terms.
pub(crate) type Inventory = [(BranchVersion, CheckValue)];

/// The living versions among those stored, as far as this can be told without a key. Versions before the anchor are dead.
pub(crate) fn living(
    stored: Vec<BranchRecord>,
    anchor: Option<Anchor>,
    held: &Inventory,
    binding: &Binding,
) -> Result<Living, Untrusted> {
    let records: Vec<_> = stored
        .into_iter()
        .filter(|record| anchor.is_none_or(|anchor| record.version >= anchor.version))
        .collect();
    let oldest = records.first().ok_or(Untrusted::Missing)?;
    let vouched_by = match anchor {
        Some(anchor) => stands_for(oldest, anchor, held)?,
        None => None,
    };
    if records.len() > limits::BRANCH_VERSIONS {
        return Err(Untrusted::TooMany);
    }
    let follows = |(one, next): (&BranchRecord, &BranchRecord)| one.version.next() == Some(next.version);
    if !records.iter().zip(records.iter().skip(1)).all(follows) {
        return Err(Untrusted::Gap);
    }
    // Only the oldest is ever dropped.
    let newest = records.last().map(|record| record.version);
    if held.iter().any(|(version, _)| Some(*version) > newest) {
        return Err(Untrusted::Missing);
    }
    for record in &records {
        if !binding.admits(&record.wrap.key) {
            return Err(Untrusted::ForeignKey(record.version, record.wrap.key.clone()));
        }
        if record.wrap.algorithm != WrapAlgorithm::RsaOaep256 {
            return Err(Untrusted::Algorithm(record.version));
        }
    }
    Ok(Living { records, vouched_by })
}

/// What stands for the oldest living version: the anchor (`None`), or a key that is held.
fn stands_for(
    oldest: &BranchRecord,
    anchor: Anchor,
    held: &Inventory,
) -> Result<Option<BranchVersion>, Untrusted> {
    if oldest.version == anchor.version {
        let is_anchored = oldest.check == anchor.check;
        return if is_anchored {
            Ok(None)
        } else {
            Err(Untrusted::Anchor)
        };
    }
    let vouches =
        |version: &BranchVersion| *version == oldest.version || version.next() == Some(oldest.version);
    let voucher = held.iter().map(|(version, _)| *version).find(vouches);
    voucher.map(Some).ok_or(Untrusted::Anchor)
}

/// Which seeds must be unwrapped now: those of versions not held, and one for each version of the customer key, since only that shows
/// that it may still be used.
pub(crate) fn to_unwrap(living: &Living, held: &Inventory) -> Vec<BranchRecord> {
    let mut asked: Vec<&KeyId> = Vec::new();
    let mut wanted = Vec::new();
    for record in living.records.iter().rev() {
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
    living: &Living,
    fresh: Vec<BranchKey>,
    held: Option<&KeySet>,
    presence: Arc<Presence>,
) -> Result<Option<KeySet>, Untrusted> {
    let fresh: Vec<_> = fresh.into_iter().map(Arc::new).collect();
    let mut before = match living.vouched_by {
        Some(voucher) => match held.and_then(|held| held.version(voucher)) {
            Some(key) => Some(key),
            None => return Ok(None),
        },
        None => None,
    };
    let mut keys: Vec<(Arc<BranchKey>, KeyId)> = Vec::with_capacity(living.records.len());
    for record in &living.records {
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
        if let Some(before) = before.filter(|before| before.version() != record.version) {
            let endorsement = record.endorsement.as_ref();
            endorsement
                .and_then(|word| before.verify_endorsement(record.version, record.check, word).ok())
                .ok_or(Untrusted::NotEndorsed(record.version))?;
        }
        before = Some(key);
        keys.push((Arc::clone(key), record.wrap.key.clone()));
    }
    Ok(KeySet::new(keys, presence))
}
