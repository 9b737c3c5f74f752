//! Records in SQLite: one file, one writer, a few readers.

mod account;
mod apply;
mod columns;
mod readers;
mod reads;
mod schema;
mod slots;
#[cfg(test)]
mod tests;
mod usage;
mod writer;

use std::path::Path;

use strongroom_seal::{AccountId, BoxFuture, BranchVersion};

use self::{readers::Readers, writer::Writer};
use super::{
    HeldKey, JobRow, Name, OwnedName, PageQuery, Receipt, Records, Returned, ShreddingRow, StoredBranch,
    StoredPart, StoredRecord, Transaction, UsageRow,
};
use crate::{
    blobs::{BlobName, LitterBin},
    error::{OpenStoreError, StorageFault},
};

/// The record database.
pub(crate) struct Sqlite {
    writer: Writer,
    readers: Readers,
}

impl Sqlite {
    /// Opens or makes the database. The caller holds the folder's lock. Blocks.
    pub(crate) fn open(path: &Path, bin: LitterBin) -> Result<Self, OpenStoreError> {
        let connection = schema::open_writer(path)?;
        let readers = Readers::open(path)?;
        Ok(Self {
            writer: Writer::start(connection, bin)?,
            readers,
        })
    }
}

impl Records for Sqlite {
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Receipt, Box<Returned>>> {
        Box::pin(self.writer.commit(transaction))
    }

    fn record<'a>(&'a self, name: Name<'a>) -> BoxFuture<'a, Result<Option<StoredRecord>, StorageFault>> {
        Box::pin(
            self.readers
                .glance(move |connection| reads::record(connection, name)),
        )
    }

    fn page<'a>(
        &'a self,
        query: PageQuery<'a>,
    ) -> BoxFuture<'a, Result<Option<Vec<StoredRecord>>, StorageFault>> {
        let (kind, after) = (query.kind.to_owned(), query.after.map(str::to_owned));
        let PageQuery {
            account,
            limit,
            order,
            now_ms,
            ..
        } = query;
        Box::pin(self.readers.study(move |connection| {
            let query = PageQuery {
                account,
                kind: &kind,
                after: after.as_deref(),
                limit,
                order,
                now_ms,
            };
            reads::page(connection, query)
        }))
    }

    fn part<'a>(
        &'a self,
        name: Name<'a>,
        part: u32,
    ) -> BoxFuture<'a, Result<Option<StoredPart>, StorageFault>> {
        Box::pin(
            self.readers
                .glance(move |connection| reads::part(connection, name, part)),
        )
    }

    fn branches(&self, account: AccountId) -> BoxFuture<'_, Result<Vec<StoredBranch>, StorageFault>> {
        Box::pin(
            self.readers
                .glance(move |connection| reads::branches(connection, account)),
        )
    }

    fn is_in_use(
        &self,
        account: AccountId,
        version: BranchVersion,
    ) -> BoxFuture<'_, Result<bool, StorageFault>> {
        Box::pin(
            self.readers
                .glance(move |connection| reads::is_in_use(connection, account, version)),
        )
    }

    fn keys_under(
        &self,
        account: AccountId,
        version: BranchVersion,
        after: u64,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<HeldKey>, StorageFault>> {
        Box::pin(
            self.readers
                .study(move |connection| reads::keys_under(connection, account, version, after, limit)),
        )
    }

    fn key_count(&self, account: AccountId) -> BoxFuture<'_, Result<u64, StorageFault>> {
        Box::pin(
            self.readers
                .study(move |connection| reads::key_count(connection, account)),
        )
    }

    fn usage(&self) -> BoxFuture<'_, Result<Vec<UsageRow>, StorageFault>> {
        Box::pin(self.readers.study(reads::usage))
    }

    fn exports(&self) -> BoxFuture<'_, Result<Vec<(AccountId, u64)>, StorageFault>> {
        Box::pin(self.readers.study(reads::exports))
    }

    fn open_jobs(&self) -> BoxFuture<'_, Result<Vec<JobRow>, StorageFault>> {
        Box::pin(self.readers.study(reads::open_jobs))
    }

    fn jobs(&self, account: AccountId, limit: u32) -> BoxFuture<'_, Result<Vec<JobRow>, StorageFault>> {
        Box::pin(
            self.readers
                .study(move |connection| reads::jobs(connection, account, limit)),
        )
    }

    fn job_of<'a>(&'a self, name: Name<'a>) -> BoxFuture<'a, Result<Option<JobRow>, StorageFault>> {
        Box::pin(
            self.readers
                .glance(move |connection| reads::job_of(connection, name)),
        )
    }

    fn expired(&self, now_ms: u64, limit: u32) -> BoxFuture<'_, Result<Vec<OwnedName>, StorageFault>> {
        Box::pin(
            self.readers
                .study(move |connection| reads::expired(connection, now_ms, limit)),
        )
    }

    fn shreddings(&self, limit: u32) -> BoxFuture<'_, Result<Vec<ShreddingRow>, StorageFault>> {
        Box::pin(
            self.readers
                .study(move |connection| reads::shreddings(connection, limit)),
        )
    }

    fn unwanted(&self, limit: u32) -> BoxFuture<'_, Result<Vec<(AccountId, BlobName)>, StorageFault>> {
        Box::pin(
            self.readers
                .study(move |connection| reads::unwanted(connection, limit)),
        )
    }

    fn unreferenced<'a>(
        &'a self,
        names: &'a [BlobName],
    ) -> BoxFuture<'a, Result<Vec<BlobName>, StorageFault>> {
        let names = names.to_vec();
        Box::pin(
            self.readers
                .study(move |connection| reads::unreferenced(connection, &names)),
        )
    }

    fn erase(&self) -> BoxFuture<'_, Result<bool, StorageFault>> {
        Box::pin(self.writer.erase())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The writer closes last, so that it copies the log back and removes it.
            self.readers.close().await;
            self.writer.stop().await;
        })
    }
}
