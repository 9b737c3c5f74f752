//! Models: the account's deployments, under the names that a request's `model` may carry, and its fine-tuned models, which can be
//! deployed.

use serde_json::{Value, json};

use crate::call::{Answer, Call};
use crate::fine_tuned::{self, FineTunedModel, TunedName};
use crate::paging;
use crate::parts::Deployment;
use crate::problem::{Form, Problem};
use crate::service::shown;

/// `GET models`
pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let deployments = call.service.deployments();
    let mut data: Vec<Value> = deployments
        .of(call.account())
        .map(|(name, deployment)| card(name, deployment))
        .collect();
    let tuned = fine_tuned::all(&call.service.store, call.permits.read()?).await?;
    data.extend(tuned.iter().map(|model| tuned_card(model, call.form)));
    Answer::json(&paging::list(data, false))
}

/// `GET models/{id}`
pub(crate) async fn get(call: Call) -> Result<Answer, Problem> {
    let name = call.path_value("id").unwrap_or_default();
    match call.service.deployment(call.account(), name) {
        Ok(deployment) => Answer::json(&card(name, &deployment)),
        Err(unknown) if TunedName::parse(name).is_none() => Err(unknown),
        Err(_) => {
            let found = fine_tuned::find(&call.service.store, call.permits.read()?, name).await;
            let model = found.map_err(|error| fine_tuned::problem(error, name))?;
            Answer::json(&tuned_card(&model, call.form))
        }
    }
}

/// `DELETE models/{id}`: shreds a fine-tuned model. As on Azure its deployments must go first.
pub(crate) async fn delete(call: Call) -> Result<Answer, Problem> {
    let name = call.path_value("id").unwrap_or_default();
    if TunedName::parse(name).is_none() {
        // A deployment is the control plane's.
        return Err(match call.service.deployment(call.account(), name) {
            Ok(_) => Problem::coded(
                "model_not_fine_tuned",
                "model",
                "Only fine-tuned models can be deleted here; deployments are deleted in Resource Manager.",
            ),
            Err(unknown) => unknown,
        });
    }
    let (store, read, delete) = (&call.service.store, call.permits.read()?, call.permits.delete()?);
    let found = fine_tuned::find(store, read, name).await;
    let model = found.map_err(|error| fine_tuned::problem(error, name))?;
    // Asked last: what is deployed while the model is looked up counts too.
    let deployments = call.service.deployments();
    let in_use: Vec<String> = deployments.that_use(call.account(), name).map(shown).collect();
    if !in_use.is_empty() {
        return Err(Problem::ModelInUse { deployments: in_use });
    }
    let deleted = model.delete(store, delete).await;
    deleted.map_err(|error| fine_tuned::problem(error, name))?;
    Answer::json(&json!({ "id": name, "object": "model", "deleted": true }))
}

fn card(name: &str, deployment: &Deployment) -> Value {
    let served = deployment
        .engine
        .models()
        .into_iter()
        .find(|card| card.id == deployment.model);
    let owner = served.map_or_else(|| "strongroom".to_owned(), |card| card.owned_by);
    json!({ "id": name, "object": "model", "created": deployment.created, "owned_by": owner })
}

/// A fine-tuned model in the official shape, and how long its weights are; Azure's has more to say.
pub(crate) fn tuned_card(model: &FineTunedModel, form: Form) -> Value {
    let record = &model.record;
    match form {
        Form::V1 => json!({
            "id": record.name, "object": "model", "created": model.created, "owned_by": record.owner,
            "bytes": model.bytes,
        }),
        Form::Azure => json!({
            "id": record.name, "object": "model", "created": model.created, "owned_by": record.owner,
            "bytes": model.bytes, "created_at": model.created, "updated_at": model.created,
            "status": "succeeded", "model": record.base, "fine_tune": record.job,
            "capabilities": { "fine_tune": false, "inference": true, "completion": false, "chat_completion": true, "embeddings": true },
            "lifecycle_status": "generally-available", "deprecation": {},
        }),
    }
}
