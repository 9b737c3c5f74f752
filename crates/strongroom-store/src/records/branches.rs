//! The keyring's list of branch versions, kept among the records.

use std::sync::Arc;

use strongroom_seal::{
    AccountId, BoxFuture, BranchVersion, CheckValue, Clock, Endorsement, KeyId, WrapAlgorithm, WrappedSeed,
};

use super::{Change, Records, Rejected, StoredBranch, Transaction};
use crate::{
    rotation::{BranchRecord, Branches, BranchesError, SeedWrap},
    store::millis,
    traces::Traces,
};

/// [`Branches`] over any back end.
pub(crate) struct BranchTable {
    records: Arc<dyn Records>,
    clock: Arc<dyn Clock>,
    traces: Arc<Traces>,
}

impl BranchTable {
    pub(crate) fn new(records: Arc<dyn Records>, clock: Arc<dyn Clock>, traces: Arc<Traces>) -> Self {
        Self {
            records,
            clock,
            traces,
        }
    }

    async fn commit(&self, account: AccountId, change: Change) -> Result<(), BranchesError> {
        let now_ms = millis(self.clock.now().wall);
        let done = self
            .records
            .commit(Transaction::new(account, now_ms).change(change))
            .await;
        done.map(drop).map_err(|returned| returned.reason.into())
    }
}

impl Branches for BranchTable {
    fn load(&self, account: AccountId) -> BoxFuture<'_, Result<Vec<BranchRecord>, BranchesError>> {
        Box::pin(async move {
            let stored = self.records.branches(account).await?;
            stored.into_iter().map(BranchRecord::try_from).collect()
        })
    }

    fn append(
        &self,
        account: AccountId,
        expected: Option<BranchVersion>,
        record: BranchRecord,
    ) -> BoxFuture<'_, Result<(), BranchesError>> {
        Box::pin(self.commit(
            account,
            Change::AppendBranch {
                expected,
                branch: Box::new(record.into()),
            },
        ))
    }

    fn replace_wrap(
        &self,
        account: AccountId,
        version: BranchVersion,
        expected: SeedWrap,
        new: SeedWrap,
    ) -> BoxFuture<'_, Result<(), BranchesError>> {
        let change = Change::ReplaceSeed {
            version,
            expected: expected.seed.as_bytes().to_vec(),
            key: new.key.to_string(),
            algorithm: new.algorithm.as_str(),
            seed: new.seed.as_bytes().to_vec(),
        };
        Box::pin(async move {
            self.commit(account, change).await?;
            self.traces.leave();
            Ok(())
        })
    }

    fn in_use(
        &self,
        account: AccountId,
        version: BranchVersion,
    ) -> BoxFuture<'_, Result<bool, BranchesError>> {
        Box::pin(async move { Ok(self.records.is_in_use(account, version).await?) })
    }
}

impl From<Rejected> for BranchesError {
    fn from(reason: Rejected) -> Self {
        match reason {
            Rejected::Closed => Self::Closed,
            Rejected::Busy => Self::Busy,
            Rejected::Fault(fault) => Self::Storage(fault),
            // Only the first can come of these changes; the others would say as much.
            Rejected::Conflict
            | Rejected::NotFound
            | Rejected::AlreadyExists
            | Rejected::Revision { .. }
            | Rejected::Retiring { .. }
            | Rejected::ClaimLost
            | Rejected::InUse
            | Rejected::Corrupt(_)
            | Rejected::Key(_) => Self::Conflict,
        }
    }
}

impl From<BranchRecord> for StoredBranch {
    fn from(record: BranchRecord) -> Self {
        Self {
            version: record.version,
            created_ms: record.created_ms,
            check: *record.check.as_bytes(),
            endorsement: record.endorsement.map(|endorsement| *endorsement.as_bytes()),
            key: record.wrap.key.to_string(),
            algorithm: record.wrap.algorithm.as_str().to_owned(),
            seed: record.wrap.seed.as_bytes().to_vec(),
        }
    }
}

impl TryFrom<StoredBranch> for BranchRecord {
    type Error = BranchesError;

    fn try_from(stored: StoredBranch) -> Result<Self, Self::Error> {
        let key = KeyId::parse(&stored.key).map_err(|_| BranchesError::Damaged)?;
        let algorithm = WrapAlgorithm::from_name(&stored.algorithm).ok_or(BranchesError::Damaged)?;
        let seed = WrappedSeed::new(stored.seed).map_err(|_| BranchesError::Damaged)?;
        Ok(Self {
            version: stored.version,
            created_ms: stored.created_ms,
            check: CheckValue::from_bytes(stored.check),
            endorsement: stored.endorsement.map(Endorsement::from_bytes),
            wrap: SeedWrap { key, algorithm, seed },
        })
    }
}
