//! Accounts that were deleted and can be recovered.

use std::sync::Arc;

use http::Method;

use super::{apart, place, waiting};
use crate::accounts::Account;
use crate::arm::call::{Answer, Call};
use crate::arm::fault::{Fault, Outcome, missing};
use crate::arm::operations;
use crate::arm::route::{Permission, Route, blocking};
use crate::error::ControlError;
use crate::limits::ARM_PAGE;

const ALL: &str = "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/deletedAccounts";
const ONE: &str = "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/locations/{location}/resourceGroups/{group}/deletedAccounts/{account}";
const READ: &str = "Microsoft.CognitiveServices/locations/resourceGroups/deletedAccounts/read";

pub(super) fn routes() -> Vec<Route> {
    let read_all = Permission::Action("Microsoft.CognitiveServices/deletedAccounts/read");
    let purge =
        Permission::Action("Microsoft.CognitiveServices/locations/resourceGroups/deletedAccounts/delete");
    vec![
        Route::new(Method::GET, ALL, read_all, 0, blocking(list)),
        Route::new(Method::GET, ONE, Permission::Action(READ), 0, blocking(get)),
        Route::new(Method::DELETE, ONE, purge, 0, waiting(remove)),
    ]
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let after = call.parameter("$skiptoken").unwrap_or_default();
    let all = call.arm.control.deleted_accounts().into_iter();
    let mut rest = all.filter(|account| account.name.as_str() > after).peekable();
    let shown: Vec<Arc<Account>> = rest.by_ref().take(ARM_PAGE).collect();
    let next = rest
        .peek()
        .and(shown.last())
        .map(|last| call.next_link(&last.name));
    let rows = shown
        .iter()
        .map(|account| call.arm.control.deleted_account_shape(account));
    Ok(Answer::page(rows.collect(), next))
}

fn found(call: &Call) -> Outcome<Arc<Account>> {
    let found = call.arm.control.deleted_account(&place(call));
    let account = found.map_err(|error| match error {
        ControlError::NotFound { .. } => not_there(call),
        error => error.into(),
    })?;
    if !account.location.eq_ignore_ascii_case(call.name("location")) {
        return Err(not_there(call));
    }
    Ok(account)
}

fn not_there(call: &Call) -> Fault {
    let message = format!("The deleted account '{}' was not found.", call.path);
    missing("ResourceNotFound", message)
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    let account = found(call)?;
    Ok(Answer::ok(call.arm.control.deleted_account_shape(&account)))
}

/// What is kept of it is destroyed after the answer.
async fn remove(call: Arc<Call>) -> Outcome<Answer> {
    apart(move || {
        found(&call)?;
        call.arm.control.begin_purge(&place(&call))?;
        let begun = call
            .arm
            .inventory
            .write(|rows| operations::begin(rows, &call, operations::PURGE_ACCOUNT, &call.path))?;
        operations::run(&call.arm, &begun)?;
        Ok(operations::accepted(&call, &begun))
    })
    .await
}
