//! Where branch versions and their wraps are kept.

use strongroom_seal::{
    AccountId, BoxFuture, BranchVersion, CheckValue, Endorsement, KeyId, WrapAlgorithm, WrappedSeed,
};
use thiserror::Error;

use crate::error::StorageFault;

/// The durable list of each account's branch versions. Every change is atomic and durable when it answers.
pub(crate) trait Branches: Send + Sync + 'static {
    /// All versions, oldest first. The newest is current.
    fn load(&self, account: AccountId) -> BoxFuture<'_, Result<Vec<BranchRecord>, BranchesError>>;

    /// Adds a version, which becomes current; `Conflict` unless `expected` was current (`None`: there was no version).
    fn append(
        &self,
        account: AccountId,
        expected: Option<BranchVersion>,
        record: BranchRecord,
    ) -> BoxFuture<'_, Result<(), BranchesError>>;

    /// Makes `new` the one active wrap of a version's seed and forgets `expected`; `Conflict` unless the active wrap is `expected`.
    fn replace_wrap(
        &self,
        account: AccountId,
        version: BranchVersion,
        expected: SeedWrap,
        new: SeedWrap,
    ) -> BoxFuture<'_, Result<(), BranchesError>>;

    /// Whether an object key is wrapped under this version.
    fn in_use(
        &self,
        account: AccountId,
        version: BranchVersion,
    ) -> BoxFuture<'_, Result<bool, BranchesError>>;
}

/// A branch version as it is stored. All of it is public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BranchRecord {
    pub(crate) version: BranchVersion,
    pub(crate) created_ms: u64,
    /// What its seed must yield.
    pub(crate) check: CheckValue,
    /// Its predecessor's word for `check`; the first version of an account has none.
    pub(crate) endorsement: Option<Endorsement>,
    /// The one active wrap of its seed.
    pub(crate) wrap: SeedWrap,
}

/// A seed wrapped by one version of the customer key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeedWrap {
    pub(crate) key: KeyId,
    pub(crate) algorithm: WrapAlgorithm,
    pub(crate) seed: WrappedSeed,
}

/// Why branch versions were not read or changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum BranchesError {
    /// Somebody else changed them first; load again.
    #[error("the branch versions changed meanwhile")]
    Conflict,
    /// What is stored cannot be read as branch versions.
    #[error("the stored branch versions are damaged")]
    Damaged,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// Too much work is queued; try again shortly.
    #[error("the store is busy")]
    Busy,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageFault),
}
