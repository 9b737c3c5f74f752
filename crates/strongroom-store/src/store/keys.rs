//! Object keys: unwrapped under a guard, wrapped under the branch version that is current.

use strongroom_seal::{AccountId, BranchVersion, Context, ObjectKey, WrappedKey};

use super::Inner;
use crate::{
    error::{Corruption, StoreError},
    keyring::{Guard, Lease},
    records::{Change, Receipt, Rejected, Returned, Transaction},
    sealing::{corruption, part_context, record_context},
};

/// Why an object key did not unwrap.
pub(crate) enum KeyMiss {
    /// It is under a branch version that is not alive: it was wrapped anew since it was read, or is dead.
    Stale(BranchVersion),
    /// It never will, or not now.
    Store(StoreError),
}

impl<E: Into<StoreError>> From<E> for KeyMiss {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// Tells keys that were wrapped anew from dead ones. Nothing under a version is left when it ends, and nothing comes under it again:
/// what is read after that and still is under it was not put there by this program.
#[derive(Default)]
pub(crate) struct Misses {
    last: Option<BranchVersion>,
}

impl Misses {
    /// `Ok` if the object is to be read again.
    pub(crate) fn judge(&mut self, miss: KeyMiss) -> Result<(), StoreError> {
        match miss {
            KeyMiss::Stale(version) if self.last.replace(version) == Some(version) => {
                Err(Corruption::Key.into())
            }
            KeyMiss::Stale(_) => Ok(()),
            KeyMiss::Store(error) => Err(error),
        }
    }
}

impl Inner {
    /// Unwraps an object key. The guard must be held while the key is used.
    pub(crate) async fn open_key(
        &self,
        lease: &mut Lease,
        context: &Context<'_>,
        wrapped: &[u8],
    ) -> Result<(Guard, ObjectKey), KeyMiss> {
        let wrapped = WrappedKey::parse(wrapped).map_err(corruption)?;
        let version = wrapped.branch_version();
        let mut guard = lease.guard()?;
        if guard.version(version).is_none() {
            drop(guard);
            *lease = self.keyring.lease_with(context.account(), version).await?;
            guard = lease.guard()?;
        }
        let Some(branch) = guard.version(version) else {
            return Err(KeyMiss::Stale(version));
        };
        let key = branch.unwrap(context, &wrapped).map_err(|_| Corruption::Key)?;
        Ok((guard, key))
    }

    /// Commits under the branch version that is current: if the keys in the transaction are wrapped under another, wraps
    /// them anew and tries again.
    pub(crate) async fn commit_wrapped(
        &self,
        lease: &mut Lease,
        mut transaction: Transaction,
        keys: &[ObjectKey],
        tries: usize,
    ) -> Result<Receipt, Box<Returned>> {
        let refused = |reason| Returned::new(reason, None);
        let mut left = tries;
        loop {
            let returned = match self.records.commit(transaction).await {
                Ok(receipt) => return Ok(receipt),
                Err(returned) => *returned,
            };
            let Returned {
                reason: Rejected::Retiring {
                    current: Some(current),
                },
                transaction: Some(back),
            } = returned
            else {
                return Err(Box::new(returned));
            };
            left = left.checked_sub(1).ok_or_else(|| refused(Rejected::Busy))?;
            let renewed = self.keyring.lease_with(back.account, current).await;
            *lease = renewed.map_err(|denied| refused(Rejected::Key(denied)))?;
            transaction = wrap_anew(lease, back, keys).map_err(|error| refused(rejected(error)))?;
        }
    }
}

/// Puts keys wrapped under the lease's current branch version in the place of those in the transaction.
fn wrap_anew(
    lease: &Lease,
    mut transaction: Transaction,
    keys: &[ObjectKey],
) -> Result<Transaction, StoreError> {
    let guard = lease.guard()?;
    let branch = guard.current();
    let account: AccountId = transaction.account;
    let mut keys = keys.iter();
    let mut next = || keys.next().ok_or(StoreError::Closed);
    for change in &mut transaction.changes {
        match change {
            Change::Insert(new) => {
                new.key = branch.wrap(&record_context(account, new.kind, &new.id)?, next()?)?;
                for part in &mut new.parts {
                    let context = part_context(account, new.kind, &new.id, part.part)?;
                    part.key = branch.wrap(&context, next()?)?;
                }
            }
            Change::Replace(new) => {
                new.key = branch.wrap(&record_context(account, &new.kind, &new.id)?, next()?)?;
                for part in &mut new.added {
                    let context = part_context(account, &new.kind, &new.id, part.part)?;
                    part.key = branch.wrap(&context, next()?)?;
                }
            }
            _ => {}
        }
    }
    transaction.name_branch(branch.version());
    Ok(transaction.gated(lease.clone()))
}

/// Wrapping anew failed: the transaction was not applied, and this is why.
fn rejected(error: StoreError) -> Rejected {
    match error {
        StoreError::Key(denied) => Rejected::Key(denied),
        StoreError::Io(fault) => Rejected::Fault(fault),
        StoreError::Corrupt(how) => Rejected::Corrupt(how),
        other => Rejected::Fault(crate::error::StorageFault::new(other.to_string())),
    }
}

impl From<Box<Returned>> for StoreError {
    fn from(returned: Box<Returned>) -> Self {
        returned.reason.into()
    }
}

impl From<Rejected> for StoreError {
    fn from(reason: Rejected) -> Self {
        match reason {
            Rejected::NotFound => Self::NotFound,
            Rejected::AlreadyExists => Self::AlreadyExists,
            Rejected::Revision { current } => Self::RevisionConflict { current },
            Rejected::Corrupt(how) => Self::Corrupt(how),
            Rejected::Key(denied) => Self::Key(denied),
            Rejected::Closed => Self::Closed,
            Rejected::Fault(fault) => Self::Io(fault),
            // Someone else was faster; the same call may succeed shortly.
            Rejected::Retiring { .. }
            | Rejected::ClaimLost
            | Rejected::Conflict
            | Rejected::InUse
            | Rejected::Busy => Self::Busy,
        }
    }
}
