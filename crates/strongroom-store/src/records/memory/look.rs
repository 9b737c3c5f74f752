//! What can be asked of the state.

use std::collections::BTreeMap;

use strongroom_seal::{AccountId, BranchVersion};

use super::state::{Key, Record, State};
use crate::{
    blobs::BlobName,
    object::{Order, PartSize},
    records::{HeldKey, Name, PageQuery, RECORD_PART, StoredBytes, StoredRecord, UsageRow},
};

impl State {
    pub(super) fn wrapped(&self, slot: u64) -> Vec<u8> {
        self.keys
            .get(&slot)
            .map(|key| key.wrapped.as_bytes().to_vec())
            .unwrap_or_default()
    }

    pub(super) fn stored(&self, record: &Record) -> StoredRecord {
        StoredRecord {
            id: record.id.clone(),
            created_ms: record.created_ms,
            expires_ms: record.expires_ms,
            revision: record.revision,
            parts: record
                .parts
                .iter()
                .map(|(part, stored)| PartSize {
                    part: *part,
                    size: stored.size,
                })
                .collect(),
            wrapped: self.wrapped(record.slot),
            body: record.body.to_vec(),
        }
    }

    pub(super) fn page(&self, query: PageQuery<'_>) -> Option<Vec<StoredRecord>> {
        let from = match query.after {
            None => None,
            Some(id) => Some(
                self.find(Name {
                    account: query.account,
                    kind: query.kind,
                    id,
                })?
                .0,
            ),
        };
        let wanted = |(seq, record): &(&u64, &Record)| {
            record.account == query.account
                && record.kind == query.kind
                && record.expires_ms.is_none_or(|expires| expires > query.now_ms)
                && from.is_none_or(|from| match query.order {
                    Order::Asc => **seq > from,
                    Order::Desc => **seq < from,
                })
        };
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let found = self
            .records
            .iter()
            .filter(wanted)
            .map(|(_, record)| self.stored(record));
        Some(match query.order {
            Order::Asc => found.take(limit).collect(),
            Order::Desc => {
                let mut all: Vec<_> = found.collect();
                all.reverse();
                all.truncate(limit);
                all
            }
        })
    }

    pub(super) fn keys_under(
        &self,
        account: AccountId,
        version: BranchVersion,
        after: u64,
        limit: u32,
    ) -> Vec<HeldKey> {
        let under = |key: &Key| key.account == account && key.wrapped.branch_version() == version;
        let held = self
            .keys
            .range(after.saturating_add(1)..)
            .filter(|(_, key)| under(key));
        let named = held.map(|(slot, key)| {
            let record = self.records.get(&key.seq);
            HeldKey {
                slot: *slot,
                record: record.map(|record| (record.kind.clone(), record.id.clone())),
                part: key.part,
                bytes: key.bytes,
                wrapped: key.wrapped.as_bytes().to_vec(),
            }
        });
        named.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
    }

    pub(super) fn usage(&self) -> Vec<UsageRow> {
        let mut rows: BTreeMap<(AccountId, String, BranchVersion), (u64, u64)> = BTreeMap::new();
        for key in self.keys.values() {
            let Some(record) = self.records.get(&key.seq) else {
                continue;
            };
            let row = rows
                .entry((key.account, record.kind.clone(), key.wrapped.branch_version()))
                .or_default();
            row.0 += u64::from(key.part == RECORD_PART);
            row.1 += key.bytes;
        }
        let row = |((account, kind, branch), (objects, bytes))| UsageRow {
            account,
            kind,
            branch,
            objects,
            bytes,
        };
        rows.into_iter().map(row).collect()
    }

    pub(super) fn refers_to(&self, name: BlobName) -> bool {
        let mut parts = self.records.values().flat_map(|record| record.parts.values());
        parts.any(|part| part.bytes == StoredBytes::File(name))
    }
}
