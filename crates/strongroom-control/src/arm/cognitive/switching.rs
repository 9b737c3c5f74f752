//! The work that goes on: a key takes over from another, a deleted account is destroyed. Each can be taken up again wherever it was cut off.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use strongroom_azure::ResourceId;
use strongroom_seal::AccountId;
use tokio::time::Instant;

use super::{apart, mirror};
use crate::accounts::{Account, Place, ServiceFault, Switch, SwitchOutcome};
use crate::arm::Shared;
use crate::arm::fault::{Fault, Outcome, conflict};
use crate::limits::{ACCOUNT_CHECK, SWITCH_PATIENCE, SWITCH_RETRY};

/// Goes on with the switch that is an operation's work, to its end. Ends with why the old key stayed, if it did.
pub(crate) async fn switch(arm: Arc<Shared>, target: &ResourceId, operation: &str) -> Outcome<()> {
    let name = target.segment_after("accounts").unwrap_or_default();
    let account = arm.control.account(name).map(|account| account.id);
    let account = account.ok_or_else(|| gone(target))?;
    drive(Arc::downgrade(&arm), arm, account, operation).await
}

async fn drive(weak: Weak<Shared>, mut arm: Arc<Shared>, account: AccountId, operation: &str) -> Outcome<()> {
    let begun = Instant::now();
    let mut pause = SWITCH_RETRY.0;
    loop {
        let switch = match arm.control.switch_of(account, operation) {
            SwitchOutcome::Going(switch) => switch,
            SwitchOutcome::Done => return Ok(()),
            SwitchOutcome::Failed(reason) => return Err(failed(&reason)),
            SwitchOutcome::Unknown => return Err(failed("the account is gone")),
        };
        match arm.service.settle(account).await {
            Ok(()) => end(&arm, account, operation).await?,
            Err(ServiceFault::Closed) => return Err(Fault::Stopping),
            Err(fault) if gives_up(&switch, &fault, begun) => {
                turn_back(&arm, account, operation, &fault).await?;
            }
            Err(fault) => {
                tracing::warn!(%account, %fault, "a switch of keys cannot go on now and is tried again");
                // Nobody is held up by one that waits: not the end of the program either.
                drop(arm);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SWITCH_RETRY.1);
                arm = weak.upgrade().ok_or(Fault::Stopping)?;
            }
        }
    }
}

/// Whether the new key had its chance. On the way back there is no other way.
fn gives_up(switch: &Switch, fault: &ServiceFault, begun: Instant) -> bool {
    let passes = matches!(fault, ServiceFault::Unreachable(_)) && begun.elapsed() < SWITCH_PATIENCE;
    !switch.is_back() && !passes
}

async fn end(arm: &Arc<Shared>, account: AccountId, operation: &str) -> Outcome<()> {
    let (arm, operation) = (Arc::clone(arm), operation.to_owned());
    apart(move || {
        arm.control.end_switch(account, &operation)?;
        match arm.control.account_by_id(account) {
            Some(account) => mirror::account(&arm, &account).map(drop),
            None => Ok(()),
        }
    })
    .await
}

async fn turn_back(
    arm: &Arc<Shared>,
    account: AccountId,
    operation: &str,
    fault: &ServiceFault,
) -> Outcome<()> {
    tracing::warn!(%account, %fault, "the new key of an account did not hold; the one before stays in force");
    let (arm, operation, reason) = (Arc::clone(arm), operation.to_owned(), fault.to_string());
    apart(move || Ok(arm.control.turn_back(account, &operation, &reason)?)).await
}

fn failed(reason: &str) -> Fault {
    let message =
        format!("The encryption settings were not changed; the key in force before stays. {reason}");
    conflict("EncryptionChangeFailed", message)
}

fn gone(target: &ResourceId) -> Fault {
    failed(&format!("the account '{target}' is gone"))
}

/// Takes up switches that no operation is on record of: the program stopped between the two.
pub(crate) fn resume(arm: &Arc<Shared>, known: &HashSet<String>) -> Outcome<()> {
    for account in arm.control.switching() {
        let is_known = |switch: &Switch| known.contains(&switch.operation);
        if !account.switch.as_ref().is_some_and(is_known) {
            take_up(arm, &account)?;
        }
    }
    Ok(())
}

/// Goes on with the switch that is on an account's record, if there is one.
pub(super) fn take_up(arm: &Arc<Shared>, account: &Account) -> Outcome<()> {
    let Some(switch) = &account.switch else {
        return Ok(());
    };
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| Fault::Interrupted)?;
    let (weak, arm, operation) = (Arc::downgrade(arm), Arc::clone(arm), switch.operation.clone());
    let id = account.id;
    runtime.spawn(async move {
        if let Err(fault) = drive(weak, arm, id, &operation).await {
            tracing::warn!(error = %fault, account = %id, "a switch of keys that was taken up ended");
        }
    });
    Ok(())
}

/// The same for an operation's target.
pub(crate) async fn purge_at(arm: &Arc<Shared>, target: &ResourceId) -> Outcome<()> {
    let of = |name: &str| target.segment_after(name).unwrap_or_default().to_owned();
    let place = Place {
        name: of("deletedAccounts"),
        resource_group: of("resourceGroups"),
    };
    // Whose destruction was asked for is marked so. One that is gone was destroyed already, and one without the mark is another of its name.
    match arm.control.deleted_account(&place) {
        Ok(account) if account.is_purging() => destroy(arm, account.id).await,
        _ => Ok(()),
    }
}

/// Destroys everything that is kept of a deleted account, and forgets it.
async fn destroy(arm: &Arc<Shared>, account: AccountId) -> Outcome<()> {
    arm.service.forget(account).await.map_err(|fault| match fault {
        ServiceFault::Closed => Fault::Stopping,
        fault => {
            tracing::error!(%account, %fault, "the content of a deleted account was not destroyed");
            Fault::Interrupted
        }
    })?;
    let ends = Arc::clone(arm);
    apart(move || Ok(ends.control.end_purge(account)?)).await
}

/// Something was deleted: its time may come.
pub(super) fn stir(arm: &Shared) {
    arm.stirred.notify_one();
}

/// Destroys deleted accounts when their time is over, for as long as this is awaited.
pub(crate) async fn keep(arm: Weak<Shared>) {
    while let Some(arm) = arm.upgrade() {
        for account in arm.control.due_for_purge() {
            let begins = Arc::clone(&arm);
            let begun = apart(move || Ok(begins.control.begin_due_purge(account)?)).await;
            let destroyed = match begun {
                Ok(true) => destroy(&arm, account).await,
                other => other.map(drop),
            };
            if let Err(fault) = destroyed {
                tracing::warn!(error = %fault, %account, "a deleted account was not destroyed yet");
            }
        }
        let stirred = Arc::clone(&arm.stirred);
        drop(arm);
        let _ = tokio::time::timeout(ACCOUNT_CHECK, stirred.notified()).await;
    }
}

/// Lets the rows follow what other doors change, for as long as this is awaited.
pub(crate) async fn follow(arm: Weak<Shared>) {
    let Some(first) = arm.upgrade() else { return };
    let mut accounts = first.control.accounts();
    let mut seen = Arc::clone(&accounts.borrow_and_update());
    drop(first);
    while accounts.changed().await.is_ok() {
        let now = Arc::clone(&accounts.borrow_and_update());
        let Some(arm) = arm.upgrade() else { return };
        let (next, before) = (Arc::clone(&now), Arc::clone(&seen));
        match apart(move || mirror::all(&arm, &next, &before)).await {
            Ok(()) => seen = now,
            Err(fault) => {
                tracing::error!(error = %fault, "rows of accounts were not brought up to date");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
