//! Things to store. Every case works on an account of its own, so that all can share one back end.

use std::sync::atomic::{AtomicU32, Ordering};

use strongroom_seal::{AccountId, BranchKey, BranchVersion, ObjectKey, Secret, WrappedKey};
use uuid::Uuid;

use crate::{
    blobs::{BlobName, Litter, LitterBin, StagedFile},
    keyring::KeyDenied,
    records::{
        Change, Check, Name, NewPart, NewRecord, PartBytes, Records, Rejected, StoredBranch, Transaction,
        transaction::Gate,
    },
    sealing::{Sealed, part_context, record_context},
};

pub(crate) const KIND: &str = "file";
pub(crate) const NOW: u64 = 1_000_000;

pub(crate) struct Fixture {
    pub(crate) bin: LitterBin,
    pub(crate) litter: Litter,
}

impl Fixture {
    pub(crate) fn new(bin: LitterBin, litter: Litter) -> Self {
        Self { bin, litter }
    }

    pub(crate) fn file(&self, name: BlobName) -> PartBytes {
        PartBytes::File(StagedFile::new(name, self.bin.clone()))
    }
}

/// An account with its first branch version.
pub(crate) struct Tenant {
    pub(crate) id: AccountId,
    pub(crate) branches: Vec<BranchKey>,
}

impl Tenant {
    pub(crate) async fn settle(records: &dyn Records) -> Self {
        let id = AccountId::from_uuid(Uuid::new_v4());
        let mut tenant = Self {
            id,
            branches: Vec::new(),
        };
        tenant.grow(records).await;
        tenant
    }

    /// Adds a branch version, which becomes current.
    pub(crate) async fn grow(&mut self, records: &dyn Records) -> BranchVersion {
        let expected = self.branches.last().map(BranchKey::version);
        let version = expected.map_or(BranchVersion::FIRST, |version| version.next().unwrap());
        let branch = Box::new(stored_branch(version));
        let change = Change::AppendBranch { expected, branch };
        records
            .commit(self.transaction().change(change))
            .await
            .map_err(|r| r.reason)
            .unwrap();
        self.branches
            .push(BranchKey::derive(&Secret::random().unwrap(), self.id, version).unwrap());
        version
    }

    pub(crate) fn transaction(&self) -> Transaction {
        Transaction::new(self.id, NOW)
    }

    pub(crate) fn name<'a>(&self, id: &'a str) -> Name<'a> {
        Name {
            account: self.id,
            kind: KIND,
            id,
        }
    }

    pub(crate) fn current(&self) -> BranchVersion {
        self.branches.last().unwrap().version()
    }

    pub(crate) fn key(&self, id: &str) -> WrappedKey {
        self.key_under(self.branches.last().unwrap(), id)
    }

    pub(crate) fn key_under(&self, branch: &BranchKey, id: &str) -> WrappedKey {
        let context = record_context(self.id, KIND, id).unwrap();
        branch.wrap(&context, &ObjectKey::generate().unwrap()).unwrap()
    }

    pub(crate) fn part(&self, id: &str, part: u32, bytes: PartBytes) -> NewPart {
        let context = part_context(self.id, KIND, id, part).unwrap();
        let key = self
            .branches
            .last()
            .unwrap()
            .wrap(&context, &ObjectKey::generate().unwrap())
            .unwrap();
        NewPart {
            part,
            size: 7,
            stored: 63,
            key,
            bytes,
        }
    }

    pub(crate) fn record(&self, id: &str) -> NewRecord {
        NewRecord {
            kind: KIND,
            id: id.to_owned(),
            created_ms: NOW,
            expires_ms: None,
            key: self.key(id),
            body: Sealed::pretend(format!("body of {id}").into_bytes()),
            parts: Vec::new(),
        }
    }

    pub(crate) fn insertion(&self, new: NewRecord) -> Transaction {
        self.transaction()
            .check(Check::CurrentBranch(self.current()))
            .change(Change::Insert(Box::new(new)))
    }

    pub(crate) async fn insert(&self, records: &dyn Records, new: NewRecord) -> Result<(), Rejected> {
        records
            .commit(self.insertion(new))
            .await
            .map(drop)
            .map_err(|returned| returned.reason)
    }

    pub(crate) async fn delete(&self, records: &dyn Records, id: &str) -> Result<(), Rejected> {
        let change = Change::Delete {
            kind: KIND.to_owned(),
            id: id.to_owned(),
            expired_by_ms: None,
        };
        records
            .commit(self.transaction().change(change))
            .await
            .map(drop)
            .map_err(|returned| returned.reason)
    }
}

pub(crate) fn stored_branch(version: BranchVersion) -> StoredBranch {
    StoredBranch {
        version,
        created_ms: NOW,
        check: [7; 32],
        endorsement: (version > BranchVersion::FIRST).then_some([8; 32]),
        key: "https://vault.example/keys/name/version".to_owned(),
        algorithm: "RSA-OAEP-256".to_owned(),
        seed: vec![9; 256],
    }
}

/// A gate that lets through this many questions.
pub(crate) struct ClosesAfter(AtomicU32);

impl ClosesAfter {
    pub(crate) fn new(times: u32) -> Self {
        Self(AtomicU32::new(times))
    }
}

impl Gate for ClosesAfter {
    fn check(&self) -> Result<(), KeyDenied> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| KeyDenied::Refused)
    }
}
