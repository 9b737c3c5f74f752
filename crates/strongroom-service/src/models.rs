//! Models: the account's deployments, under the names that a request's `model` may carry.

use serde_json::{Value, json};

use crate::call::{Answer, Call};
use crate::paging;
use crate::parts::Deployment;
use crate::problem::Problem;

/// `GET models`
pub(crate) async fn list(call: Call) -> Result<Answer, Problem> {
    let deployments = call.service.deployments();
    let data = deployments
        .of(call.account())
        .map(|(name, deployment)| card(name, deployment))
        .collect();
    Answer::json(&paging::list(data, false))
}

/// `GET models/{id}`
pub(crate) async fn get(call: Call) -> Result<Answer, Problem> {
    let name = call.path_value("id").unwrap_or_default();
    let deployment = call.service.deployment(call.account(), name)?;
    Answer::json(&card(name, &deployment))
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
