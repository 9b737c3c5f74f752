//! One key takes over from another: what is on record of it, so that it goes on after a stop, and ends one way or the other.
//!
//! While it lasts the account's record names both keys, so nothing is unreadable. The old key is dropped from the record only after the
//! service has said that nothing needs it. If the new key does not hold what it promised, the direction is turned: the same work
//! brings back what had moved, and then the new key is dropped.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use strongroom_seal::AccountId;

use super::{Account, Encryption};
use crate::control::Control;
use crate::error::ControlError;

/// A change of keys that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The operation that it is the work of.
    pub operation: String,
    /// The key that takes over.
    pub to: Encryption,
    /// Which way it goes.
    pub direction: Direction,
}

/// Which way a switch goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// To the new key.
    Forward,
    /// Back to the key in force, because the new one failed.
    Back {
        /// Why.
        reason: String,
    },
}

/// How the last switch ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// The operation that it was the work of.
    pub operation: String,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// How far an operation's switch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is under way.
    Going(Box<Switch>),
    /// The new key is in force, and nothing needs the old one.
    Done,
    /// The old key stayed in force.
    Failed(String),
    /// There is no such switch: it was forgotten, or its account is gone.
    Unknown,
}

impl Switch {
    /// Whether it goes back.
    pub fn is_back(&self) -> bool {
        matches!(self.direction, Direction::Back { .. })
    }
}

impl Control {
    /// How far the switch of an operation is.
    pub(crate) fn switch_of(&self, account: AccountId, operation: &str) -> Outcome {
        let state = self.state();
        let Some(account) = state.accounts.by_id(account) else {
            return Outcome::Unknown;
        };
        match (&account.switch, &account.switched) {
            (Some(switch), _) if switch.operation == operation => Outcome::Going(Box::new(switch.clone())),
            (_, Some(ended)) if ended.operation == operation => {
                ended.failed.clone().map_or(Outcome::Done, Outcome::Failed)
            }
            _ => Outcome::Unknown,
        }
    }

    /// The new key did not hold: back to the one in force.
    pub(crate) fn turn_back(
        &self,
        account: AccountId,
        operation: &str,
        reason: &str,
    ) -> Result<(), ControlError> {
        let reason = reason.to_owned();
        self.change_switch(account, operation, |account, mut switch| {
            if !switch.is_back() {
                switch.direction = Direction::Back { reason };
            }
            account.switch = Some(switch);
        })
    }

    /// Nothing needs the other key any more: the record forgets it.
    pub(crate) fn end_switch(&self, account: AccountId, operation: &str) -> Result<(), ControlError> {
        self.change_switch(account, operation, |account, switch| {
            let failed = match switch.direction {
                Direction::Forward => {
                    account.encryption = switch.to;
                    None
                }
                Direction::Back { reason } => Some(reason),
            };
            account.switched = Some(Switched {
                operation: switch.operation,
                failed,
            });
        })
    }

    fn change_switch(
        &self,
        account: AccountId,
        operation: &str,
        work: impl FnOnce(&mut Account, Switch),
    ) -> Result<(), ControlError> {
        let mut change = self.change();
        let Some(found) = change.state().accounts.by_id(account) else {
            return Ok(());
        };
        let mut account = Account::clone(found);
        match account.switch.take() {
            Some(switch) if switch.operation == operation => work(&mut account, switch),
            _ => return Ok(()),
        }
        change.put_account(account)?;
        change.commit()
    }

    /// The accounts whose keys are being switched.
    pub(crate) fn switching(&self) -> Vec<Arc<Account>> {
        let all = self.state().accounts.list().into_iter();
        all.filter(|account| account.switch.is_some()).collect()
    }
}
