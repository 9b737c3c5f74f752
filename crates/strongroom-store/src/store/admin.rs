//! Administration: rotation, what is still needed, statistics.

use std::collections::BTreeMap;

use strongroom_seal::{KeyId, SealError};

use super::Store;
use crate::{
    error::{StorageFault, StoreError},
    limits,
    object::{KeyVersionNeed, Statistics, Usage},
    permit::{Action, Permit},
    records::{Change, RECORD_PART, StoredBranch, Transaction},
    rotation::{BranchesError, RotationError},
};

impl Store {
    /// Wraps the account's seeds under the key version that is bound now, and says how many that were. Touches no object.
    pub async fn rewrap(&self, permit: &Permit) -> Result<u32, StoreError> {
        let account = permit.demand(Action::Administer)?;
        Ok(self.inner.keyring.rewrap(account).await?)
    }

    /// Shows that the key that is bound now wraps and unwraps, with a seed that is not kept.
    pub async fn prove_key(&self, permit: &Permit) -> Result<(), StoreError> {
        let account = permit.demand(Action::Administer)?;
        Ok(self.inner.keyring.prove_key(account).await?)
    }

    /// Whether nothing of the account needs another key than the one that is bound now, and nothing will. Asks no vault.
    pub async fn is_settled(&self, permit: &Permit) -> Result<bool, StoreError> {
        let account = permit.demand(Action::Administer)?;
        Ok(self.inner.keyring.is_settled(account).await?)
    }

    /// Destroys every object of the account: their wrapped keys, and with them their content; then its seeds. Needs no customer key.
    pub async fn forget(&self, permit: &Permit) -> Result<u64, StoreError> {
        let account = permit.demand(Action::Delete)?;
        let mut gone = 0;
        for branch in self.inner.records.branches(account).await? {
            let mut after = 0;
            loop {
                let records = &self.inner.records;
                let batch = limits::REWRAP_BATCH;
                let held = records.keys_under(account, branch.version, after, batch).await?;
                let Some(last) = held.last() else { break };
                after = last.slot;
                let named = held.into_iter().filter(|held| held.part == RECORD_PART);
                for (kind, id) in named.filter_map(|held| held.record) {
                    match self.delete(permit, &kind, &id).await {
                        Ok(()) => gone += 1,
                        Err(StoreError::NotFound) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        let forget = Transaction::new(account, self.inner.now_ms()).change(Change::ForgetBranches);
        let forgotten = self.inner.records.commit(forget).await;
        forgotten.map_err(|returned| StoreError::from(returned.reason))?;
        self.inner.traces.leave();
        Ok(gone)
    }

    /// Which customer-key versions must stay enabled for the account, and for what.
    pub async fn still_needed(&self, permit: &Permit) -> Result<Vec<KeyVersionNeed>, StoreError> {
        let account = permit.demand(Action::Administer)?;
        let branches = self.inner.records.branches(account).await?;
        let usage = self.inner.records.usage().await?;
        let mut needs: BTreeMap<KeyId, KeyVersionNeed> = BTreeMap::new();
        for branch in branches {
            let key = key_of(&branch)?;
            let need = needs.entry(key.clone()).or_insert_with(|| KeyVersionNeed {
                key,
                branch_versions: Vec::new(),
                objects: 0,
                bytes: 0,
            });
            need.branch_versions.push(branch.version);
            for row in usage
                .iter()
                .filter(|row| row.account == account && row.branch == branch.version)
            {
                need.objects += row.objects;
                need.bytes += row.bytes;
            }
        }
        Ok(needs.into_values().collect())
    }

    /// What is sealed for the account, by kind and key.
    pub async fn statistics(&self, permit: &Permit) -> Result<Statistics, StoreError> {
        let account = permit.demand(Action::Administer)?;
        let records = &self.inner.records;
        let rows = records.usage().await?;
        let mut keys = BTreeMap::new();
        for branch in records.branches(account).await? {
            keys.insert(branch.version, key_of(&branch)?);
        }
        let own = rows.into_iter().filter(|row| row.account == account);
        let sealed = own.map(|row| Usage {
            key: keys.get(&row.branch).cloned(),
            kind: row.kind,
            branch: row.branch,
            objects: row.objects,
            bytes: row.bytes,
        });
        let exports = records.exports().await?.into_iter();
        let shreddings = records.shreddings(limits::SHREDDINGS_COUNTED).await?;
        let waiting = shreddings.iter().filter(|row| row.name.account == account);
        Ok(Statistics {
            sealed: sealed.collect(),
            exports: exports
                .filter(|(of, _)| *of == account)
                .map(|(_, count)| count)
                .sum(),
            awaiting_erasure: waiting.count() as u64,
        })
    }
}

fn key_of(branch: &StoredBranch) -> Result<KeyId, StoreError> {
    KeyId::parse(&branch.key).map_err(|_| BranchesError::Damaged.into())
}

impl From<BranchesError> for StoreError {
    fn from(error: BranchesError) -> Self {
        match error {
            BranchesError::Conflict | BranchesError::Busy => Self::Busy,
            BranchesError::Damaged => Self::Io(StorageFault::new("the stored branch versions are damaged")),
            BranchesError::Closed => Self::Closed,
            BranchesError::Storage(fault) => Self::Io(fault),
        }
    }
}

impl From<RotationError> for StoreError {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Key(denied) => Self::Key(denied),
            RotationError::Anchor(error) => Self::Io(StorageFault::new(error.to_string())),
            RotationError::Branches(error) => error.into(),
            RotationError::TooManyVersions | RotationError::StillNeeded => Self::Busy,
            RotationError::NoNewKey => Self::Seal(SealError::NoRandomness),
        }
    }
}
