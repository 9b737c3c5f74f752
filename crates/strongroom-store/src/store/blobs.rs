//! Blobs: stage, open, export.

use std::{ops::Range, sync::Arc};

use strongroom_seal::Context;
use zeroize::Zeroizing;

use super::{Inner, Misses, Store};
use crate::{
    error::{Corruption, StoreError},
    event::StoreEvent,
    keyring::Lease,
    limits,
    permit::{Action, Permit},
    reading::{BlobReader, StoredReader, TinkExport},
    records::{Change, Name, StoredPart, Transaction},
    sealing::part_context,
    staging::{BlobWriter, Target},
};

impl Store {
    /// Begins a blob for an object that is still to be put.
    pub async fn stage(
        &self,
        permit: &Permit,
        kind: &str,
        id: &str,
        part: u32,
    ) -> Result<BlobWriter, StoreError> {
        let account = permit.demand(Action::Write)?;
        let lease = self.inner.keyring.lease(account).await?;
        let target = Target {
            account,
            kind: kind.to_owned(),
            id: id.to_owned(),
            part,
        };
        BlobWriter::begin(Arc::clone(&self.inner), lease, target)
    }

    /// Begins to read a blob, or the given range of it (cut at its end).
    pub async fn open_blob(
        &self,
        permit: &Permit,
        kind: &str,
        id: &str,
        part: u32,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader, StoreError> {
        let account = permit.demand(Action::Read)?;
        let lease = self.inner.keyring.lease(account).await?;
        let stored = self.inner.part(Name { account, kind, id }, part).await?;
        let target = Target {
            account,
            kind: kind.to_owned(),
            id: id.to_owned(),
            part,
        };
        BlobReader::open(Arc::clone(&self.inner), lease, target, stored, range).await
    }

    /// Hands out one blob with its key. Counted durably before anything leaves.
    pub async fn export(
        &self,
        permit: &Permit,
        kind: &str,
        id: &str,
        part: u32,
    ) -> Result<TinkExport, StoreError> {
        let account = permit.demand(Action::Export)?;
        let mut lease = self.inner.keyring.lease(account).await?;
        let context = part_context(account, kind, id, part).map_err(|_| StoreError::NotFound)?;
        let name = Name { account, kind, id };
        let export = self.inner.export(&mut lease, name, &context).await?;
        self.inner.events.emit(StoreEvent::Exported {
            account,
            kind: kind.to_owned(),
            id: id.to_owned(),
            part: Some(part),
            caller: permit.caller().to_owned(),
            at_ms: self.inner.now_ms(),
        });
        Ok(export)
    }
}

impl Inner {
    async fn part(&self, name: Name<'_>, part: u32) -> Result<StoredPart, StoreError> {
        let found = self.records.part(name, part).await?.ok_or(StoreError::NotFound)?;
        if found.expires_ms.is_some_and(|expires| expires <= self.now_ms()) {
            return Err(StoreError::NotFound);
        }
        Ok(found)
    }

    async fn export(
        &self,
        lease: &mut Lease,
        name: Name<'_>,
        context: &Context<'_>,
    ) -> Result<TinkExport, StoreError> {
        // What stands in the clear beside a blob is worth what the record's seal says of it.
        let sealed = self.get(lease, name).await?.meta;
        let mut misses = Misses::default();
        for _ in 0..limits::COMMIT_TRIES {
            let part = self.part(name, context.part()).await?;
            if sealed.size_of(context.part()) != Some(part.size) || sealed.expires_ms != part.expires_ms {
                return Err(Corruption::Columns.into());
            }
            let keyset = match self.open_key(lease, context, &part.wrapped).await {
                Ok((_guard, key)) => key.export(context),
                Err(miss) => {
                    misses.judge(miss)?;
                    continue;
                }
            };
            let stored = StoredReader::new(self.find_bytes(part.bytes, part.size).await?);
            let count = Transaction::new(name.account, self.now_ms())
                .change(Change::CountExport)
                .gated(lease.clone());
            self.records
                .commit(count)
                .await
                .map_err(|returned| StoreError::from(returned.reason))?;
            let keyset_json = Zeroizing::new(keyset.json().to_owned());
            return Ok(TinkExport {
                keyset_json,
                associated_data: keyset.associated_data().to_vec(),
                stored,
            });
        }
        Err(StoreError::Busy)
    }
}
