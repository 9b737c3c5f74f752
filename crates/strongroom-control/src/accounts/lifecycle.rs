//! The end of accounts: deleted, recovered while that can be, destroyed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strongroom_seal::AccountId;

use super::desired::{Place, find_at};
use super::{Account, Mark};
use crate::actor::Actor;
use crate::control::Control;
use crate::directory::Principal;
use crate::error::ControlError;
use crate::limits::DELETED_ACCOUNT_KEPT;
use crate::scopes;
use crate::state::{Change, State};

use super::changes::{DELETE, WRITE, scope};

/// When an account was deleted, and what a recovery brings back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// In seconds since the Unix epoch.
    pub at: u64,
    /// When it is destroyed, in seconds since the Unix epoch.
    pub purge: u64,
    /// Its own identity, which is nobody meanwhile.
    pub(crate) identity: Option<Principal>,
    /// Whether its destruction has begun: then nothing brings it back.
    #[serde(default)]
    pub(crate) purging: bool,
}

impl Actor {
    /// Deletes an account. It can be recovered for 48 hours, and its name is taken until then. At once it serves nothing, its identity is
    /// nobody, and what was assigned on it is gone. A switch of its keys rests until it is recovered: one whose keys are gone could
    /// not be deleted otherwise.
    pub fn delete_account(&self, name: &str) -> Result<Arc<Account>, ControlError> {
        let mut change = self.control.change();
        let account = self.reach(change.state(), name, DELETE)?;
        let account = self.control.delete_in(&mut change, &account)?;
        change.commit()?;
        Ok(account)
    }

    /// Brings a deleted account back as it was, but for what was assigned on it.
    pub(crate) fn recover_account(&self, place: &Place) -> Result<Arc<Account>, ControlError> {
        let mut change = self.control.change();
        let found = deleted_at(change.state(), place)?;
        let mut account = Account::clone(&found);
        self.authorize_in(change.state(), WRITE, &scopes::parse(&account.resource_id())?)?;
        let deletion = account.deleted.take().ok_or_else(|| not_deleted(place))?;
        if deletion.purging {
            return Err(not_deleted(place));
        }
        if let Some(identity) = deletion.identity {
            change.put_principal(identity)?;
        }
        account.changed = Mark {
            by: Some(self.caller()),
            at_ms: self.control.now_ms(),
        };
        let account = change.put_account(account)?;
        change.commit()?;
        Ok(account)
    }
}

impl Control {
    fn delete_in(&self, change: &mut Change<'_>, account: &Account) -> Result<Arc<Account>, ControlError> {
        let scope = scope(account)?;
        let identity = account
            .identity
            .and_then(|id| change.state().directory.get(id).cloned());
        if let Some(identity) = &identity {
            change.remove_principal(identity.object_id)?;
        }
        change.remove_assignments_below(&scope);
        let now = self.now();
        change.put_account(Account {
            deleted: Some(Deletion {
                at: now,
                purge: now + DELETED_ACCOUNT_KEPT.as_secs(),
                identity: identity.map(Arc::unwrap_or_clone),
                purging: false,
            }),
            ..account.clone()
        })
    }

    /// Deletes every account of a resource group that is being deleted.
    pub(crate) fn delete_accounts_of(&self, group: &str) -> Result<(), ControlError> {
        let mut change = self.change();
        let all = change.state().accounts.list().into_iter();
        let here: Vec<_> = all
            .filter(|account| account.resource_group.eq_ignore_ascii_case(group))
            .collect();
        for account in here {
            self.delete_in(&mut change, &account)?;
        }
        change.commit()
    }

    /// Every account of which something may be kept: the deleted ones too, until they are destroyed.
    pub fn accounts_with_content(&self) -> Vec<Arc<Account>> {
        let state = self.state();
        let (mut all, deleted) = (state.accounts.list(), state.accounts.list_deleted());
        all.extend(deleted);
        all
    }

    /// The deleted accounts that can be recovered, by name.
    pub(crate) fn deleted_accounts(&self) -> Vec<Arc<Account>> {
        self.state().accounts.list_deleted()
    }

    /// The deleted account there.
    pub(crate) fn deleted_account(&self, place: &Place) -> Result<Arc<Account>, ControlError> {
        deleted_at(&self.state(), place)
    }

    /// From here on nothing brings the deleted account back. Gives its id, until it is destroyed.
    pub(crate) fn begin_purge(&self, place: &Place) -> Result<AccountId, ControlError> {
        let mut change = self.change();
        let mut account = Account::clone(&*deleted_at(change.state(), place)?);
        let id = account.id;
        if let Some(deletion) = &mut account.deleted {
            deletion.purging = true;
        }
        change.put_account(account)?;
        change.commit()?;
        Ok(id)
    }

    /// The same where its time is over, or its destruction was cut off. Whether that is so is asked within the turn: it may have been
    /// recovered, and another may have its name. Says whether it is to be destroyed.
    pub(crate) fn begin_due_purge(&self, id: AccountId) -> Result<bool, ControlError> {
        let mut change = self.change();
        let now = self.now();
        let Some(mut account) = deleted_with(change.state(), id) else {
            return Ok(false);
        };
        let Some(deletion) = account.deleted.as_mut().filter(|deletion| deletion.is_due(now)) else {
            return Ok(false);
        };
        if !std::mem::replace(&mut deletion.purging, true) {
            change.put_account(account)?;
            change.commit()?;
        }
        Ok(true)
    }

    /// Forgets a deleted account whose content was destroyed; its name is free again. One that was forgotten already is no fault.
    pub(crate) fn end_purge(&self, id: AccountId) -> Result<(), ControlError> {
        let mut change = self.change();
        let found = deleted_with(change.state(), id);
        let Some(account) = found.filter(Account::is_purging) else {
            return Ok(());
        };
        change.remove_account(&account.name);
        change.commit()
    }

    /// The deleted accounts whose time is over, or whose destruction was cut off.
    pub(crate) fn due_for_purge(&self) -> Vec<AccountId> {
        let now = self.now();
        let is_due = |deletion: &Deletion| deletion.is_due(now);
        let all = self.state().accounts.list_deleted().into_iter();
        all.filter(|account| account.deleted.as_ref().is_some_and(is_due))
            .map(|account| account.id)
            .collect()
    }
}

impl Deletion {
    fn is_due(&self, now: u64) -> bool {
        self.purging || self.purge <= now
    }
}

impl Account {
    /// Whether its destruction has begun.
    pub(crate) fn is_purging(&self) -> bool {
        self.deleted.as_ref().is_some_and(|deletion| deletion.purging)
    }
}

fn deleted_with(state: &State, id: AccountId) -> Option<Account> {
    let mut all = state.accounts.list_deleted().into_iter();
    all.find(|account| account.id == id).map(Arc::unwrap_or_clone)
}

fn deleted_at(state: &State, place: &Place) -> Result<Arc<Account>, ControlError> {
    let found = state.accounts.deleted(&place.name);
    let here = found.filter(|found| found.resource_group.eq_ignore_ascii_case(&place.resource_group));
    here.cloned().ok_or_else(|| not_deleted(place))
}

fn not_deleted(place: &Place) -> ControlError {
    ControlError::NotFound {
        what: "deleted account",
        name: place.name.clone(),
    }
}

/// The account there, which must be there and not deleted.
pub(crate) fn live_at(state: &State, place: &Place) -> Result<Arc<Account>, ControlError> {
    let missing = || ControlError::NotFound {
        what: "account",
        name: place.name.clone(),
    };
    match find_at(state, place) {
        Ok(found) => found.ok_or_else(missing),
        Err(ControlError::AccountDeleted { .. } | ControlError::LabelTaken { .. }) => Err(missing()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use strongroom_seal::{Clock, Moment};
    use strongroom_vault::{RootKey, VaultEngine};

    use super::*;
    use crate::accounts::{Encryption, NewAccount};

    struct Hours(AtomicU64);

    impl Clock for Hours {
        fn now(&self) -> Moment {
            let now = Duration::from_secs(1_800_000_000 + 3600 * self.0.load(Ordering::Relaxed));
            Moment { boot: now, wall: now }
        }
    }

    fn made(control: &Control) -> Arc<Account> {
        let new = NewAccount {
            name: "one".to_owned(),
            resource_group: "rg".to_owned(),
            location: "local".to_owned(),
            encryption: Encryption::service(),
        };
        control.ensure_account(&new).unwrap()
    }

    #[test]
    fn what_is_destroyed_is_the_account_that_was_meant_and_not_the_next_of_its_name() {
        let place = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hours(AtomicU64::new(0)));
        let root = RootKey::File(place.path().join("root-key"));
        let vaults = VaultEngine::open(&place.path().join("vault"), root, Arc::clone(&clock) as _).unwrap();
        let control = Control::open(&place.path().join("control"), vaults, Arc::clone(&clock) as _).unwrap();
        let first = made(&control);
        control.delete_accounts_of("rg").unwrap();
        assert!(!control.begin_due_purge(first.id).unwrap());
        clock.0.store(48, Ordering::Relaxed);
        assert_eq!(control.due_for_purge(), [first.id]);
        assert!(control.begin_due_purge(first.id).unwrap());
        // As after a stop.
        assert!(control.begin_due_purge(first.id).unwrap());
        control.end_purge(first.id).unwrap();

        let second = made(&control);
        assert_ne!(second.id, first.id);
        control.delete_accounts_of("rg").unwrap();
        assert!(!control.begin_due_purge(first.id).unwrap());
        assert!(!control.begin_due_purge(second.id).unwrap());
        for id in [first.id, second.id] {
            control.end_purge(id).unwrap();
        }
        assert_eq!(control.deleted_accounts().len(), 1);
    }
}
