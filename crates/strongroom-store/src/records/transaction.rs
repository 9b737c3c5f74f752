//! What a back end is asked to do in one go.

use strongroom_seal::{AccountId, BranchVersion, WrappedKey};

use crate::{
    blobs::{BlobName, LitterBin, StagedFile},
    error::{Corruption, StorageFault},
    jobs::Wish,
    keyring::{KeyDenied, Lease},
    records::{JobPhase, StoredBranch},
    sealing::Sealed,
};

/// One atomic unit of work on one account.
pub(crate) struct Transaction {
    pub(crate) account: AccountId,
    pub(crate) now_ms: u64,
    pub(crate) checks: Vec<Check>,
    pub(crate) changes: Vec<Change>,
    /// Asked once more just before the commit.
    pub(crate) gate: Option<Box<dyn Gate>>,
}

impl Transaction {
    pub(crate) fn new(account: AccountId, now_ms: u64) -> Self {
        Self {
            account,
            now_ms,
            checks: Vec::new(),
            changes: Vec::new(),
            gate: None,
        }
    }

    pub(crate) fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    pub(crate) fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    pub(crate) fn gated(mut self, gate: impl Gate) -> Self {
        self.gate = Some(Box::new(gate));
        self
    }

    /// Its keys are wrapped under this branch version now.
    pub(crate) fn name_branch(&mut self, version: BranchVersion) {
        self.checks
            .retain(|check| !matches!(check, Check::CurrentBranch(_)));
        self.checks.push(Check::CurrentBranch(version));
    }

    /// Whether the key may still be used; no gate means that no key was.
    pub(crate) fn gate_open(&self) -> Result<(), KeyDenied> {
        self.gate.as_ref().map_or(Ok(()), |gate| gate.check())
    }

    /// About how much memory it holds while it waits.
    pub(crate) fn weight(&self) -> usize {
        self.changes.iter().map(Change::weight).sum::<usize>() + size_of::<Self>()
    }

    /// Its staged files belong to committed records now.
    pub(crate) fn keep_files(&mut self) {
        self.each_file(StagedFile::keep);
    }

    /// Whether its staged files belong to committed records is unknown.
    pub(crate) fn leave_files(&mut self) {
        self.each_file(StagedFile::leave);
    }

    fn each_file(&mut self, done: impl Fn(&mut StagedFile)) {
        for change in &mut self.changes {
            let parts = match change {
                Change::Insert(new) => &mut new.parts,
                Change::Replace(new) => &mut new.added,
                _ => continue,
            };
            for part in parts {
                if let PartBytes::File(file) = &mut part.bytes {
                    done(file);
                }
            }
        }
    }
}

/// Says whether the key that sealed a transaction may still be used.
pub(crate) trait Gate: Send + 'static {
    fn check(&self) -> Result<(), KeyDenied>;
}

impl Gate for Lease {
    fn check(&self) -> Result<(), KeyDenied> {
        Self::check(self)
    }
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// This branch version is the account's current one; else `Retiring`.
    CurrentBranch(BranchVersion),
    /// The job is still claimed with this token; else `ClaimLost`.
    Claimed { job: u64, token: u64 },
}

/// What is to be done.
pub(crate) enum Change {
    /// Adds a record with its parts; `AlreadyExists` if there is one.
    Insert(Box<NewRecord>),
    /// Replaces a record's body and key, destroys the keys of parts and adds others; `NotFound`, `Revision`. Files that are unwanted
    /// now are noted.
    Replace(Box<Replacement>),
    /// Removes a record, its parts and the job that works on it, destroys their keys, notes the shredding and the files that are
    /// unwanted now; `NotFound`. With a bound, only if it expired by then, and otherwise does nothing.
    Delete {
        kind: String,
        id: String,
        expired_by_ms: Option<u64>,
    },
    /// Exchanges wrapped keys where the stored bytes are as expected; skips the others. Counted in the receipt.
    Rewrap(Vec<Rewrap>),
    /// Counts an export.
    CountExport,
    /// Adds a branch version, which becomes current; `Conflict` unless this one was current.
    AppendBranch {
        expected: Option<BranchVersion>,
        branch: Box<StoredBranch>,
    },
    /// Exchanges the wrap of a seed; `Conflict` unless it is as expected.
    ReplaceSeed {
        version: BranchVersion,
        expected: Vec<u8>,
        key: String,
        algorithm: &'static str,
        seed: Vec<u8>,
    },
    /// Removes a branch version; `InUse` while a key is wrapped under it or it is current.
    DropBranch(BranchVersion),
    /// Removes every branch version of the account; `InUse` while it has a key.
    ForgetBranches,
    /// Changes a job; `ClaimLost` if there is none.
    Job(JobChange),
    /// Forgets shreddings up to and including this number.
    ForgetShreddings { up_to: u64 },
    /// Forgets unwanted files: they are removed for good.
    ForgetUnwanted(Vec<BlobName>),
}

impl Change {
    fn weight(&self) -> usize {
        match self {
            Self::Insert(new) => new.weight(),
            Self::Replace(new) => new.body.as_bytes().len() + inline(&new.added),
            Self::Rewrap(rewraps) => rewraps.len() * size_of::<Rewrap>(),
            _ => 0,
        }
    }
}

/// What happens to a job; what comes of it says [`JobRow`](super::JobRow). Its id and its wish are in the receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobChange {
    /// Adds a job, unless the account has one of this kind and object that has not ended: then that one's id is in the receipt.
    Add(NewJob),
    /// Takes it, if nobody holds it at the transaction's time; else `ClaimLost`. The token is in the receipt.
    Claim { job: u64, until_ms: u64 },
    /// Extends the claim.
    Renew { job: u64, until_ms: u64 },
    /// Notes progress, and extends the claim or lets go of it.
    Progress {
        job: u64,
        done: u64,
        total: u64,
        phase: JobPhase,
        until_ms: u64,
    },
    /// Asks something of it.
    Ask { job: u64, wish: Wish },
}

impl JobChange {
    /// The job that it concerns, if there must be one.
    pub(crate) fn job(&self) -> Option<u64> {
        match self {
            Self::Add(_) => None,
            Self::Claim { job, .. }
            | Self::Renew { job, .. }
            | Self::Progress { job, .. }
            | Self::Ask { job, .. } => Some(*job),
        }
    }
}

/// A job to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewJob {
    pub(crate) kind: &'static str,
    pub(crate) object: Option<String>,
    pub(crate) from: Option<BranchVersion>,
    pub(crate) total: u64,
}

/// A record to be added.
pub(crate) struct NewRecord {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) created_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) key: WrappedKey,
    pub(crate) body: Sealed,
    /// By rising number.
    pub(crate) parts: Vec<NewPart>,
}

impl NewRecord {
    fn weight(&self) -> usize {
        self.body.as_bytes().len() + inline(&self.parts)
    }
}

/// The bytes of parts that travel inside their transaction.
fn inline(parts: &[NewPart]) -> usize {
    let lengths = parts.iter().map(|part| match &part.bytes {
        PartBytes::Inline(sealed) => sealed.as_bytes().len(),
        PartBytes::File(_) => 0,
    });
    lengths.sum()
}

/// A blob to be added with its record, or to one.
pub(crate) struct NewPart {
    pub(crate) part: u32,
    pub(crate) size: u64,
    pub(crate) stored: u64,
    pub(crate) key: WrappedKey,
    pub(crate) bytes: PartBytes,
}

/// A new blob's sealed bytes: here, or durable in a file.
pub(crate) enum PartBytes {
    Inline(Sealed),
    File(StagedFile),
}

/// A record's new body.
pub(crate) struct Replacement {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) expected_revision: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) key: WrappedKey,
    pub(crate) body: Sealed,
    /// Parts that the record has and shall have no longer.
    pub(crate) dropped: Vec<u32>,
    /// Parts under numbers that it has not.
    pub(crate) added: Vec<NewPart>,
}

/// An object key wrapped anew.
pub(crate) struct Rewrap {
    pub(crate) slot: u64,
    pub(crate) kind: String,
    pub(crate) bytes: u64,
    pub(crate) is_record: bool,
    pub(crate) expected: WrappedKey,
    pub(crate) new: WrappedKey,
}

/// What a commit did.
#[derive(Default)]
pub(crate) struct Receipt {
    /// Files that belong to nobody now; dropping them removes them. Filled after the commit.
    pub(crate) unwanted: Vec<StagedFile>,
    /// The same while the commit may still fail.
    pub(crate) freed: Vec<BlobName>,
    /// Keys exchanged, or objects deleted.
    pub(crate) count: u64,
    /// The job added or found.
    pub(crate) job: u64,
    /// The claim's token.
    pub(crate) token: u64,
    /// What is asked of the job.
    pub(crate) wish: Option<Wish>,
}

impl Receipt {
    /// The commit holds: what it freed may go.
    pub(crate) fn committed(&mut self, bin: &LitterBin) {
        self.unwanted = self
            .freed
            .drain(..)
            .map(|name| StagedFile::new(name, bin.clone()))
            .collect();
    }
}

/// Why a transaction was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rejected {
    NotFound,
    AlreadyExists,
    Revision { current: u64 },
    Retiring { current: Option<BranchVersion> },
    ClaimLost,
    Conflict,
    InUse,
    Corrupt(Corruption),
    Key(KeyDenied),
    Busy,
    Closed,
    Fault(StorageFault),
}

/// A transaction that was not applied, given back where it can be tried again.
pub(crate) struct Returned {
    pub(crate) reason: Rejected,
    pub(crate) transaction: Option<Transaction>,
}

impl Returned {
    pub(crate) fn new(reason: Rejected, transaction: Option<Transaction>) -> Box<Self> {
        Box::new(Self { reason, transaction })
    }
}
