//! Where records live: a back end takes whole transactions (checks and changes, never SQL, never a closure over a
//! connection), so that a database server can stand where SQLite and memory stand now.

mod branches;
mod destroyed;
mod job_row;
#[cfg(any(test, feature = "conformance"))]
pub(crate) mod memory;
pub(crate) mod sqlite;
pub(crate) mod transaction;

use strongroom_seal::{AccountId, BoxFuture, BranchVersion};

use crate::{
    blobs::BlobName,
    error::StorageFault,
    object::{Order, PartSize},
};

pub(crate) use branches::BranchTable;
pub(crate) use destroyed::Destroyed;
pub(crate) use job_row::{JobPhase, JobRow};
pub(crate) use transaction::{
    Change, Check, JobChange, NewJob, NewPart, NewRecord, PartBytes, Receipt, Rejected, Replacement,
    Returned, Rewrap, Transaction,
};

/// The part number that stands for the record itself wherever parts are numbered.
pub(crate) const RECORD_PART: u32 = u32::MAX;

/// A store of sealed records, wrapped keys and jobs. Knows no key and opens nothing.
pub(crate) trait Records: Send + Sync + 'static {
    /// Applies all changes or none, durably, if every check holds and the gate is still open just before the commit.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Receipt, Box<Returned>>>;

    /// One record.
    fn record<'a>(&'a self, name: Name<'a>) -> BoxFuture<'a, Result<Option<StoredRecord>, StorageFault>>;

    /// Records in the order they were inserted; `None` if the cursor is unknown.
    fn page<'a>(
        &'a self,
        query: PageQuery<'a>,
    ) -> BoxFuture<'a, Result<Option<Vec<StoredRecord>>, StorageFault>>;

    /// One blob of a record.
    fn part<'a>(
        &'a self,
        name: Name<'a>,
        part: u32,
    ) -> BoxFuture<'a, Result<Option<StoredPart>, StorageFault>>;

    /// The account's branch versions, oldest first.
    fn branches(&self, account: AccountId) -> BoxFuture<'_, Result<Vec<StoredBranch>, StorageFault>>;

    /// Whether any key is wrapped under a branch version, also one that belongs to no record.
    fn is_in_use(
        &self,
        account: AccountId,
        version: BranchVersion,
    ) -> BoxFuture<'_, Result<bool, StorageFault>>;

    /// Keys that are wrapped under a branch version, by rising slot from the one after `after`.
    fn keys_under(
        &self,
        account: AccountId,
        version: BranchVersion,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<HeldKey>, StorageFault>>;

    /// How many wrapped keys the account has.
    fn key_count(&self, account: AccountId) -> BoxFuture<'_, Result<u64, StorageFault>>;

    /// How many objects and bytes there are by account, kind and branch version.
    fn usage(&self) -> BoxFuture<'_, Result<Vec<UsageRow>, StorageFault>>;

    /// How often each account's objects were exported.
    fn exports(&self) -> BoxFuture<'_, Result<Vec<(AccountId, u64)>, StorageFault>>;

    /// Every job that has not ended, oldest first.
    fn open_jobs(&self) -> BoxFuture<'_, Result<Vec<JobRow>, StorageFault>>;

    /// An account's jobs, newest first.
    fn jobs(&self, account: AccountId, limit: u32) -> BoxFuture<'_, Result<Vec<JobRow>, StorageFault>>;

    /// The job that works on an object.
    fn job_of<'a>(&'a self, name: Name<'a>) -> BoxFuture<'a, Result<Option<JobRow>, StorageFault>>;

    /// Objects whose time has come.
    fn expired(&self, now_ms: u64, limit: u32) -> BoxFuture<'_, Result<Vec<OwnedName>, StorageFault>>;

    /// Objects deleted and not yet known to be erased, oldest first.
    fn shreddings(&self, limit: u32) -> BoxFuture<'_, Result<Vec<ShreddingRow>, StorageFault>>;

    /// Blobs of deleted objects that are not known to be removed, each with the account that it belonged to.
    fn unwanted(&self, limit: u32) -> BoxFuture<'_, Result<Vec<(AccountId, BlobName)>, StorageFault>>;

    /// Which of these blobs no record refers to.
    fn unreferenced<'a>(
        &'a self,
        names: &'a [BlobName],
    ) -> BoxFuture<'a, Result<Vec<BlobName>, StorageFault>>;

    /// Tries to remove every trace of what was deleted before the call; `false` if readers are in the way.
    fn erase(&self) -> BoxFuture<'_, Result<bool, StorageFault>>;

    /// Finishes what is queued and lets go of the storage.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Names a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    pub(crate) account: AccountId,
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
}

/// Names a record, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedName {
    pub(crate) account: AccountId,
    pub(crate) kind: String,
    pub(crate) id: String,
}

/// Asks for a page. Objects that expired by `now_ms` are left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageQuery<'a> {
    pub(crate) account: AccountId,
    pub(crate) kind: &'a str,
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: u32,
    pub(crate) order: Order,
    pub(crate) now_ms: u64,
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    pub(crate) id: String,
    pub(crate) created_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) revision: u64,
    pub(crate) parts: Vec<PartSize>,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// A blob as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredPart {
    pub(crate) size: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) bytes: StoredBytes,
}

/// Where a blob's sealed bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredBytes {
    Inline(Vec<u8>),
    File(BlobName),
}

/// A branch version as it is stored. The newest one of an account is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredBranch {
    pub(crate) version: BranchVersion,
    pub(crate) created_ms: u64,
    pub(crate) check: [u8; 32],
    pub(crate) endorsement: Option<[u8; 32]>,
    pub(crate) key: String,
    pub(crate) algorithm: String,
    pub(crate) seed: Vec<u8>,
}

/// A wrapped object key, with what is needed to wrap it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldKey {
    pub(crate) slot: u64,
    /// Kind and id of its record; none if the database is inconsistent there.
    pub(crate) record: Option<(String, String)>,
    pub(crate) part: u32,
    pub(crate) bytes: u64,
    pub(crate) wrapped: Vec<u8>,
}

/// A row of the statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageRow {
    pub(crate) account: AccountId,
    pub(crate) kind: String,
    pub(crate) branch: BranchVersion,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// An object that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShreddingRow {
    pub(crate) number: u64,
    pub(crate) name: OwnedName,
    pub(crate) deleted_ms: u64,
    /// Whether its time had come; else somebody deleted it.
    pub(crate) expired: bool,
    pub(crate) destroyed: Destroyed,
}
