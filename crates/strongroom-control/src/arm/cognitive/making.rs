//! The making of a deployment of a fine-tuned model: the model is opened under the customer key, and then the deployment counts as made.
//! It can be taken up again wherever it was cut off.

use std::collections::HashSet;
use std::sync::Arc;

use strongroom_azure::{ErrorStatus, Problem, ResourceId};
use strongroom_seal::AccountId;

use super::accounts::found;
use super::{apart, mirror};
use crate::accounts::{Account, LoadFault, Provisioning};
use crate::arm::Shared;
use crate::arm::call::{Answer, Call};
use crate::arm::fault::{Fault, Outcome, bad, conflict};
use crate::arm::operations;
use crate::limits::RETRY_AFTER;

/// Whether the account has this fine-tuned model.
pub(super) async fn is_there(call: &Call, model: &str) -> Outcome<bool> {
    let account = found(call)?.id;
    let models = call.arm.service.tuned_models(account).await.map_err(told)?;
    Ok(models.iter().any(|known| known.name == model))
}

/// Puts the making on record, lets it go on, and answers with the deployment as it is.
pub(super) fn begin(call: &Call, operation: String, shown: Answer) -> Outcome<Answer> {
    // The account's record has the work already; this is what clients ask for.
    let begun = call
        .arm
        .inventory
        .write(|rows| operations::begin_as(rows, call, operation, operations::MAKE_DEPLOYMENT, &call.path))?;
    operations::run(&call.arm, &begun)?;
    let mut answer = operations::accepted(call, &begun);
    answer.status = shown.status;
    answer.body = shown.body;
    Ok(answer)
}

/// The work of an operation.
pub(crate) async fn make(arm: Arc<Shared>, target: &ResourceId, operation: &str) -> Outcome<()> {
    let account = target.segment_after("accounts").unwrap_or_default();
    let shown = target.segment_after("deployments").unwrap_or_default();
    let Some(account) = arm.control.account(account) else {
        return Ok(());
    };
    match account.deployment_shown_as(shown) {
        Some((name, deployment)) if deployment.is_made_by(operation) => {
            open(&arm, account.id, name, operation).await
        }
        // It was deleted meanwhile, or put anew, or it is made: the crash came after that.
        _ => Ok(()),
    }
}

async fn open(arm: &Arc<Shared>, account: AccountId, name: &str, operation: &str) -> Outcome<()> {
    let (outcome, ended) = match arm.service.load(account, name).await {
        Ok(()) => (None, Ok(())),
        Err(LoadFault::Closed) => return Err(Fault::Stopping),
        Err(fault) => {
            tracing::warn!(%account, %fault, "a fine-tuned model was not deployed");
            let problem = told(fault).into_problem();
            let error = &problem.body().error;
            let failed = Provisioning::Failed {
                code: error.code.clone(),
                message: error.message.clone(),
            };
            (Some(failed), Err(problem.into()))
        }
    };
    let (arm, name, operation) = (Arc::clone(arm), name.to_owned(), operation.to_owned());
    apart(move || {
        arm.control.end_making(account, &name, &operation, outcome)?;
        match arm.control.account_by_id(account) {
            Some(account) => mirror::account(&arm, &account).map(drop),
            None => Ok(()),
        }
    })
    .await?;
    ended
}

/// Takes up deployments that are being made and that no operation is on record of: the program stopped between the two.
pub(crate) fn resume(arm: &Arc<Shared>, known: &HashSet<String>) -> Outcome<()> {
    let accounts = arm.control.accounts();
    let accounts = Arc::clone(&accounts.borrow());
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| Fault::Interrupted)?;
    for (account, name, operation) in accounts.iter().flat_map(|account| being_made(account)) {
        if known.contains(&operation) {
            continue;
        }
        let arm = Arc::clone(arm);
        runtime.spawn(async move {
            if let Err(fault) = open(&arm, account, &name, &operation).await {
                tracing::warn!(error = %fault, %account, "a deployment that was taken up was not made");
            }
        });
    }
    Ok(())
}

fn being_made(account: &Account) -> impl Iterator<Item = (AccountId, String, String)> {
    account
        .deployments
        .iter()
        .filter_map(|(name, deployment)| match &deployment.provisioning {
            Some(Provisioning::Creating { operation }) => Some((account.id, name.clone(), operation.clone())),
            _ => None,
        })
}

/// What a caller is told, with the code that the data plane has for it.
fn told(fault: LoadFault) -> Fault {
    match fault {
        LoadFault::Key {
            code,
            message,
            passes: true,
        } => Problem::new(ErrorStatus::UNAVAILABLE, code, message)
            .with_retry_after(RETRY_AFTER)
            .into(),
        LoadFault::Key { code, message, .. } => Problem::new(ErrorStatus::FORBIDDEN, code, message).into(),
        LoadFault::Gone => conflict(
            "DeploymentModelNotFound",
            "The fine-tuned model does not exist any more.",
        ),
        LoadFault::Unusable(reason) => bad(
            "DeploymentModelUnusable",
            format!("The fine-tuned model cannot be loaded: {reason}."),
        ),
        LoadFault::Closed => Fault::Stopping,
        LoadFault::Failed(reason) => {
            tracing::error!(reason, "a fine-tuned model was not opened");
            Fault::Interrupted
        }
    }
}
