//! Accounts: made, changed, shown, deleted; their keys.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::body::{self, Wanted};
use super::{ACCOUNT, ONE, apart, mirror, place, switching, waiting};
use crate::accounts::{
    Account, AccountChange, EncryptionFault, Judged, KeySlot, KeySource, Made, ensure_service_key, live_at,
};
use crate::arm::call::{Answer, Call};
use crate::arm::fault::{Fault, Outcome, no_resource};
use crate::arm::groups;
use crate::arm::listing::{self, List};
use crate::arm::operations;
use crate::arm::route::{Permission, Route, blocking};
use crate::error::ControlError;
use crate::limits::ARM_BODY;

const ALL: &str = "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/accounts";
const OF_GROUP: &str =
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts";
const LIST_KEYS: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/listKeys";
const REGENERATE_KEY: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/regenerateKey";

pub(super) fn routes() -> Vec<Route> {
    let read = Permission::Action("Microsoft.CognitiveServices/accounts/read");
    let write = Permission::Action("Microsoft.CognitiveServices/accounts/write");
    let delete = Permission::Action("Microsoft.CognitiveServices/accounts/delete");
    let list_keys = Permission::Action("Microsoft.CognitiveServices/accounts/listKeys/action");
    let regenerate = Permission::Action("Microsoft.CognitiveServices/accounts/regenerateKey/action");
    vec![
        Route::new(Method::GET, ALL, Permission::Signed, 0, blocking(list)),
        Route::new(
            Method::GET,
            OF_GROUP,
            Permission::Signed,
            0,
            blocking(list_of_group),
        ),
        Route::new(Method::GET, ONE, read, 0, blocking(get)),
        Route::new(Method::PUT, ONE, write, ARM_BODY, waiting(put)),
        Route::new(Method::PATCH, ONE, write, ARM_BODY, waiting(patch)),
        Route::new(Method::DELETE, ONE, delete, 0, blocking(remove)),
        Route::new(Method::POST, LIST_KEYS, list_keys, ARM_BODY, blocking(keys)),
        Route::new(
            Method::POST,
            REGENERATE_KEY,
            regenerate,
            ARM_BODY,
            blocking(regenerate_key),
        ),
    ]
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    listing::page(
        call,
        &List {
            below: None,
            kind: Some(ACCOUNT),
            tracked: false,
            shown: |_, resource| Value::Object(resource.body),
        },
    )
}

fn list_of_group(call: &Arc<Call>) -> Outcome<Answer> {
    let (subscription, group) = (call.arm.subscription(), call.name("group"));
    call.arm
        .inventory
        .read(|rows| groups::must_be(rows, &subscription, group))?;
    let below = groups::id(&subscription, group)?;
    listing::page(
        call,
        &List {
            below: Some(&below),
            kind: Some(ACCOUNT),
            tracked: false,
            shown: |_, resource| Value::Object(resource.body),
        },
    )
}

/// The account that the path names, which must be there.
pub(super) fn found(call: &Call) -> Outcome<Arc<Account>> {
    let (subscription, group) = (call.arm.subscription(), call.name("group"));
    call.arm
        .inventory
        .read(|rows| groups::must_be(rows, &subscription, group))?;
    live_at(&call.arm.control.state(), &place(call)).map_err(|error| match error {
        ControlError::NotFound { .. } => not_there(call),
        error => error.into(),
    })
}

fn not_there(call: &Call) -> Fault {
    no_resource(
        &call.path,
        ACCOUNT,
        call.name("account"),
        Some(call.name("group")),
    )
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    let resource = mirror::account(&call.arm, &*found(call)?)?;
    Ok(call.show(StatusCode::OK, resource))
}

async fn put(call: Arc<Call>) -> Outcome<Answer> {
    let Wanted { change, restore } = body::read(&call, true)?;
    let asked = Arc::clone(&call);
    let group = apart(move || {
        let (subscription, group) = (asked.arm.subscription(), asked.name("group"));
        asked
            .arm
            .inventory
            .read(|rows| groups::must_stay(rows, &subscription, group))
    });
    group.await?;
    if restore && live_at(&call.arm.control.state(), &place(&call)).is_err() {
        return recover(call).await;
    }
    write(call, change).await
}

async fn patch(call: Arc<Call>) -> Outcome<Answer> {
    let Wanted { change, .. } = body::read(&call, false)?;
    let asked = Arc::clone(&call);
    apart(move || found(&asked).map(drop)).await?;
    write(call, change).await
}

async fn recover(call: Arc<Call>) -> Outcome<Answer> {
    apart(move || {
        let account = call.actor().recover_account(&place(&call))?;
        switching::take_up(&call.arm, &account)?;
        let resource = mirror::account(&call.arm, &account)?;
        Ok(call.show(StatusCode::OK, resource))
    })
    .await
}

/// Everything but another key is done when this is answered; that goes on.
async fn write(call: Arc<Call>, change: AccountChange) -> Outcome<Answer> {
    let (proposed, is_new) = call.actor().propose(&place(&call), &change)?;
    let operation = switch_wanted(&call, &proposed, is_new, &change).await?;
    let needs_own_key = proposed.encryption.source == KeySource::Service
        || change
            .encryption
            .as_ref()
            .is_some_and(|wanted| wanted.source == KeySource::Service);
    if needs_own_key {
        ensure_service_key(&call.arm.control).await.map_err(|error| {
            tracing::error!(%error, "there is no key of the service's own");
            Fault::Interrupted
        })?;
    }
    apart(move || commit(&call, &change, operation)).await
}

fn commit(call: &Arc<Call>, change: &AccountChange, operation: Option<String>) -> Outcome<Answer> {
    let before = call.arm.inventory.read(|rows| {
        groups::must_stay(rows, &call.arm.subscription(), call.name("group"))?;
        rows.get(&call.path)
    })?;
    call.check_conditions(before.as_ref())?;
    let Made { account, is_new } = call
        .actor()
        .put_account(&place(call), change, operation.as_deref())?;
    let resource = mirror::account(&call.arm, &account)?;
    let Some(operation) = operation else {
        let status = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        return Ok(call.show(status, resource));
    };
    // The account's record has the work already; this is what clients ask for.
    let target = resource.id.clone();
    let begun = call
        .arm
        .inventory
        .write(|rows| operations::begin_as(rows, call, operation.clone(), operations::SWITCH_KEY, &target))?;
    operations::run(&call.arm, &begun)?;
    let mut answer = operations::accepted(call, &begun);
    answer.body = Some(Value::Object(resource.body));
    Ok(answer)
}

/// The id of the operation that another key becomes the work of, if one is wanted and nothing is wrong with it.
async fn switch_wanted(
    call: &Call,
    proposed: &Account,
    is_new: bool,
    change: &AccountChange,
) -> Outcome<Option<String>> {
    let Some(wanted) = &change.encryption else {
        return Ok(None);
    };
    // What it is under, or on the way to.
    if wanted == proposed.keys().0 {
        return Ok(None);
    }
    if wanted.source == KeySource::Customer {
        let judged = Judged {
            control: &call.arm.control,
            account: proposed,
            wanted,
        };
        let faults = judged.faults().await?;
        if !faults.is_empty() {
            return Err(EncryptionFault::problem(&faults).into());
        }
    }
    debug_assert!(!is_new || wanted.source == KeySource::Customer);
    Ok(Some(Uuid::new_v4().to_string()))
}

/// What is below the account goes with it.
fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    let account = match found(call) {
        Ok(account) => account,
        // As on Azure, what is not there needs no deletion.
        Err(Fault::Refused(problem)) if problem.body().error.code == "ResourceNotFound" => {
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        }
        Err(fault) => return Err(fault),
    };
    let row = call.arm.inventory.read(|rows| rows.get(&call.path))?;
    call.check_conditions(row.as_ref())?;
    call.actor().delete_account(&account.name)?;
    mirror::remove(&call.arm, &call.path)?;
    switching::stir(&call.arm);
    Ok(Answer::empty(StatusCode::OK))
}

fn keys(call: &Arc<Call>) -> Outcome<Answer> {
    let account = found(call)?;
    Ok(shown(&call.actor().list_account_keys(&account.name)?))
}

fn regenerate_key(call: &Arc<Call>) -> Outcome<Answer> {
    let account = found(call)?;
    let named = call.object()?;
    let name = named.get("keyName").and_then(Value::as_str).unwrap_or_default();
    let slot = match name.to_ascii_lowercase().as_str() {
        "key1" => KeySlot::One,
        "key2" => KeySlot::Two,
        _ => return Err(body::invalid("'keyName' must be one of 'Key1, Key2'")),
    };
    Ok(shown(&call.actor().regenerate_account_key(&account.name, slot)?))
}

/// Keys are texts that need no escaping; they stay in memory that is wiped.
fn shown([one, two]: &[Zeroizing<String>; 2]) -> Answer {
    let mut text = Zeroizing::new(String::with_capacity(32 + one.len() + two.len()));
    for part in [
        "{\"key1\":\"",
        one.as_str(),
        "\",\"key2\":\"",
        two.as_str(),
        "\"}",
    ] {
        text.push_str(part);
    }
    Answer::secret(text)
}
