//! Deleted vaults: seen, and destroyed for good. They are recovered by a PUT of the vault.

use std::sync::Arc;

use http::Method;
use strongroom_azure::ResourceId;

use super::super::call::{Answer, Call};
use super::super::fault::{Fault, Outcome};
use super::super::route::{Permission, Route, blocking};
use super::super::{Shared, operations};
use crate::vaults::{deleted_id, deleted_shape};

pub(super) fn routes() -> Vec<Route> {
    let all = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/deletedVaults";
    let one = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{vault}";
    let purge = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{vault}/purge";
    let read_all = Permission::Action("Microsoft.KeyVault/deletedVaults/read");
    let read = Permission::Action("Microsoft.KeyVault/locations/deletedVaults/read");
    vec![
        Route::new(Method::GET, all, read_all, 0, blocking(list)).audited("VaultListDeleted"),
        Route::new(Method::GET, one, read, 0, blocking(get)).audited("VaultGetDeleted"),
        Route::new(
            Method::POST,
            purge,
            Permission::OfType("action"),
            0,
            blocking(begin_purge),
        )
        .audited("VaultPurge"),
    ]
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let subscription = call.arm.subscription();
    let all = call.actor().deleted_vaults()?;
    let rows = all
        .iter()
        .map(|deleted| deleted_shape(subscription.as_str(), deleted));
    Ok(Answer::page(rows.collect(), None))
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    let deleted = call
        .actor()
        .deleted_vault(call.name("location"), call.name("vault"))?;
    Ok(Answer::ok(deleted_shape(
        call.arm.subscription().as_str(),
        &deleted,
    )))
}

/// Overwriting the keys where they stood may take a while, and goes on after the answer.
fn begin_purge(call: &Arc<Call>) -> Outcome<Answer> {
    let actor = call.actor();
    let deleted = actor.check_purge(call.name("location"), call.name("vault"))?;
    let target = deleted_id(call.arm.subscription().as_str(), &deleted.vault);
    let target: ResourceId = target.parse().map_err(|_| Fault::Interrupted)?;
    let begun = call
        .arm
        .inventory
        .write(|rows| operations::begin(rows, call, operations::PURGE_VAULT, &target))?;
    operations::run(&call.arm, &begun)?;
    Ok(operations::accepted(call, &begun))
}

/// What the purge of a vault does.
pub(crate) fn purge(arm: &Shared, target: &ResourceId) -> Outcome<()> {
    let name = target.as_str().rsplit('/').next().unwrap_or_default();
    Ok(arm.control.purge_vault(name)?)
}
