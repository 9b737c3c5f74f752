//! Permits: proof, as a value, that a caller may do something.

use std::sync::Arc;

use strongroom_seal::AccountId;

use crate::{error::StoreError, jobs::JobId};

/// What a permit allows. None implies another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read records and blobs.
    Read,
    /// Write new objects and change existing ones.
    Write,
    /// Delete objects.
    Delete,
    /// Take an object out together with its key. It outlives revocation.
    Export,
    /// Rotate and rekey; read the account's jobs and statistics, and which keys it still needs.
    Administer,
}

/// The only maker of permits. The store hands out one when it opens; whoever holds it decides who may do what.
#[derive(Clone)]
pub struct PermitAuthority {
    _sole: (),
}

impl PermitAuthority {
    pub(crate) fn new() -> Self {
        Self { _sole: () }
    }

    /// Grants `caller` one action on one account.
    pub fn permit(&self, account: AccountId, action: Action, caller: impl Into<Arc<str>>) -> Permit {
        Permit {
            account,
            action,
            caller: caller.into(),
        }
    }
}

/// Leave for one caller to do one kind of thing to one account's objects. Made only by a [`PermitAuthority`].
#[derive(Clone)]
pub struct Permit {
    account: AccountId,
    action: Action,
    caller: Arc<str>,
}

impl Permit {
    /// The account it is for.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// What it allows.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// Who was granted it, as told by the authority.
    #[must_use]
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// For a turn at a job: whoever registered the handler held the authority, and whoever began the job a permit for the account.
    pub(crate) fn for_job(account: AccountId, action: Action, job: JobId) -> Self {
        Self {
            account,
            action,
            caller: job.to_string().into(),
        }
    }

    pub(crate) fn demand(&self, action: Action) -> Result<AccountId, StoreError> {
        if self.action == action {
            Ok(self.account)
        } else {
            Err(StoreError::NotPermitted)
        }
    }
}
