//! From wrapped seeds to branch keys that were compared with what is pinned and endorsed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use strongroom_seal::{
    AccountId, BranchKey, BranchVersion, CheckValue, Endorsement, KeyId, Secret, VaultError, WrapAlgorithm,
    WrappedSeed,
};

use crate::database::{BranchRow, Database};
use crate::error::VerifyError;
use crate::limits::LOOKS;
use crate::report::Report;

/// The check value that the account resource pins, of its oldest live branch version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The branch version.
    pub version: BranchVersion,
    /// Its check value.
    pub check: CheckValue,
}

/// What the verifier needs from outside to use keys: the vault's unwrap, and what is pinned.
pub trait Unwrap {
    /// Unwraps a seed at the vault.
    fn unwrap(&mut self, key: &KeyId, seed: &WrappedSeed) -> Result<Secret<32>, VaultError>;

    /// Whether the account is configured to use this key. A wrap that names another is not sent anywhere.
    fn admits(&self, account: AccountId, key: &KeyId) -> bool;

    /// What the account resource pins.
    fn anchor(&self, account: AccountId) -> Option<Anchor>;

    /// Looks anew at what is configured and pinned, which a rekey moves; whether it is another now.
    fn refresh(&mut self) -> bool;
}

type Known = BTreeMap<(AccountId, u32), BranchKey>;

/// What became of the branch versions on record.
#[derive(Default)]
pub(crate) struct BranchKeys {
    known: Known,
    /// Versions before the pinned one: a rekey has left them and is about to drop them.
    retired: BTreeSet<(AccountId, u32)>,
    faulty: BTreeSet<(AccountId, u32)>,
}

/// The key of one branch version.
pub(crate) enum BranchState<'a> {
    /// Unwrapped and checked.
    Known(&'a BranchKey),
    /// Nothing may be sealed under it any more.
    Retired,
    /// It was a fault already.
    Faulty,
}

impl BranchKeys {
    pub(crate) fn has(&self, name: &(AccountId, u32)) -> bool {
        self.known.contains_key(name) || self.retired.contains(name) || self.faulty.contains(name)
    }

    pub(crate) fn get(&self, account: AccountId, version: u32) -> BranchState<'_> {
        let name = (account, version);
        match self.known.get(&name) {
            Some(key) => BranchState::Known(key),
            None if self.retired.contains(&name) => BranchState::Retired,
            None => BranchState::Faulty,
        }
    }
}

impl BranchKeys {
    /// Unwraps and checks a branch version. One that fails is a fault if it still stands there as it was and the pin is where it was:
    /// else it was wrapped anew meanwhile, or left behind.
    pub(crate) fn learn(
        &mut self,
        row: &BranchRow,
        source: &mut dyn Unwrap,
        database: &Database,
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        let name = (row.account, row.version);
        let mut row = Cow::Borrowed(row);
        for look in 1.. {
            let pinned = source.anchor(row.account);
            if pinned.is_some_and(|anchor| row.version < anchor.version.get()) {
                self.retired.insert(name);
                return Ok(());
            }
            let what = match load_one(&row, source, &self.known) {
                Ok(key) => {
                    self.known.insert(name, key);
                    return Ok(());
                }
                Err(what) => what,
            };
            let is_moved = source.refresh();
            match database.branch(row.account, row.version)? {
                None => return Ok(()),
                Some(now) if look < LOOKS && (is_moved || now != *row) => row = Cow::Owned(now),
                Some(_) => {
                    report.fault(format!("branch {} of account {}", row.version, row.account), what);
                    self.faulty.insert(name);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn load_one(row: &BranchRow, source: &mut dyn Unwrap, known: &Known) -> Result<BranchKey, String> {
    let id = KeyId::parse(&row.key).map_err(|error| format!("the key identifier is malformed: {error}"))?;
    WrapAlgorithm::from_name(&row.algorithm).ok_or("the wrap algorithm is not in the format")?;
    if !source.admits(row.account, &id) {
        return Err(format!(
            "the seed is wrapped by {id}, which is not the account's key"
        ));
    }
    let wrapped = WrappedSeed::new(row.seed.clone()).map_err(|error| error.to_string())?;
    let seed = source.unwrap(&id, &wrapped).map_err(|error| error.to_string())?;
    let check = CheckValue::from_bytes(row.check);
    let version = BranchVersion::new(row.version);
    let key =
        BranchKey::derive_checked(&seed, row.account, version, check).map_err(|error| error.to_string())?;
    vouch(row, version, check, source, known)?;
    Ok(key)
}

/// The oldest version must be the pinned one, each later one endorsed by its predecessor.
fn vouch(
    row: &BranchRow,
    version: BranchVersion,
    check: CheckValue,
    source: &dyn Unwrap,
    known: &Known,
) -> Result<(), String> {
    if let Some(anchor) = source
        .anchor(row.account)
        .filter(|anchor| anchor.version == version)
    {
        return if anchor.check == check {
            Ok(())
        } else {
            Err("the check value is not the pinned one".to_owned())
        };
    }
    let predecessor = row
        .version
        .checked_sub(1)
        .and_then(|earlier| known.get(&(row.account, earlier)));
    let endorsement = row.endorsement.map(Endorsement::from_bytes);
    let (Some(predecessor), Some(endorsement)) = (predecessor, endorsement) else {
        return Err("neither pinned in the account nor endorsed by a predecessor that is".to_owned());
    };
    predecessor
        .verify_endorsement(version, check, &endorsement)
        .map_err(|error| error.to_string())
}
