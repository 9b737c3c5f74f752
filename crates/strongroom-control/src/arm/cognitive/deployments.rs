//! Deployments: which model an account serves under which name, and what a revoked key means for it.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use strongroom_azure::ResourceId;
use uuid::Uuid;

use super::accounts::found;
use super::{DEPLOYMENT, apart, body, making, mirror, waiting};
use crate::accounts::{Deployment, MODEL_FORMAT, POLICIES, Provisioning, RevocationPolicy};
use crate::arm::call::{Answer, Call};
use crate::arm::fault::{Fault, Outcome, bad, no_resource};
use crate::arm::listing::{self, List};
use crate::arm::route::{Permission, Route, blocking};
use crate::arm::tags;
use crate::limits::{ARM_BODY, DEPLOYED_MODEL, DEPLOYMENT_CAPACITY};

const ALL: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/deployments";
const ONE: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/deployments/{deployment}";
const SKUS: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/deployments/{deployment}/skus";

/// What is ours to say, or has its own place.
const OURS: [&str; 7] = [
    "callRateLimit",
    "capabilities",
    "dynamicThrottlingEnabled",
    "provisioningError",
    "provisioningState",
    "rateLimits",
    "revocationPolicy",
];

pub(super) fn routes() -> Vec<Route> {
    let read = Permission::Action("Microsoft.CognitiveServices/accounts/deployments/read");
    let write = Permission::Action("Microsoft.CognitiveServices/accounts/deployments/write");
    let delete = Permission::Action("Microsoft.CognitiveServices/accounts/deployments/delete");
    vec![
        Route::new(Method::GET, ALL, read, 0, blocking(list)),
        Route::new(Method::GET, ONE, read, 0, blocking(get)),
        Route::new(Method::PUT, ONE, write, ARM_BODY, waiting(put)),
        Route::new(Method::PATCH, ONE, write, ARM_BODY, blocking(patch)),
        Route::new(Method::DELETE, ONE, delete, 0, blocking(remove)),
        Route::new(Method::GET, SKUS, read, 0, blocking(skus)),
    ]
}

fn list(call: &Arc<Call>) -> Outcome<Answer> {
    let account = found(call)?;
    let below: ResourceId = mirror::account(&call.arm, &account)?.id;
    listing::page(
        call,
        &List {
            below: Some(&below),
            kind: Some(DEPLOYMENT),
            tracked: false,
            shown: |_, resource| Value::Object(resource.body),
        },
    )
}

fn not_there(call: &Call) -> Fault {
    let name = format!("{}/{}", call.name("account"), call.name("deployment"));
    no_resource(&call.path, DEPLOYMENT, &name, Some(call.name("group")))
}

/// The deployment that the path names, under the name that it has in its account.
fn known(call: &Call) -> Outcome<Option<(String, Deployment)>> {
    let account = found(call)?;
    Ok(account
        .deployment_shown_as(call.name("deployment"))
        .map(|(name, deployment)| (name.to_owned(), deployment.clone())))
}

/// Shows it as it is now.
fn show(call: &Call, status: StatusCode) -> Outcome<Answer> {
    mirror::account(&call.arm, &*found(call)?)?;
    let row = call
        .arm
        .inventory
        .read(|rows| mirror::deployment(rows, &call.path))?;
    Ok(call.show(status, row.ok_or_else(|| not_there(call))?))
}

fn get(call: &Arc<Call>) -> Outcome<Answer> {
    show(call, StatusCode::OK)
}

/// A fine-tuned model is opened before its deployment counts as made: that goes on after the answer.
async fn put(call: Arc<Call>) -> Outcome<Answer> {
    let given = call.object()?;
    tags::check(given.get("tags"))?;
    let before = known(&call)?;
    let mut deployment = read(&call, &given, before.as_ref().map(|(_, known)| known))?;
    let operation = if is_served(&call, &deployment.model) || is_as_before(&mut deployment, before.as_ref()) {
        None
    } else {
        if !making::is_there(&call, &deployment.model).await? {
            return Err(not_supported(&given));
        }
        let operation = Uuid::new_v4().to_string();
        deployment.provisioning = Some(Provisioning::Creating {
            operation: operation.clone(),
        });
        Some(operation)
    };
    let status = if before.is_some() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let name = before.map_or_else(|| call.name("deployment").to_owned(), |(name, _)| name);
    apart(move || {
        call.actor()
            .put_deployment(&super::place(&call), &name, deployment, operation.is_some())?;
        let answer = show(&call, status)?;
        match operation {
            Some(operation) => making::begin(&call, operation, answer),
            None => Ok(answer),
        }
    })
    .await
}

/// Whether a model is there for every account.
fn is_served(call: &Call, model: &str) -> bool {
    call.arm
        .service
        .models()
        .iter()
        .any(|served| served.name == model)
}

/// Whether the deployment stands for the same model as before, which serves, or is about to. It goes on as it is then: what is changed
/// beside the model takes no key.
fn is_as_before(deployment: &mut Deployment, before: Option<&(String, Deployment)>) -> bool {
    match before {
        Some((_, known)) if known.model == deployment.model && !known.is_failed() => {
            deployment.provisioning.clone_from(&known.provisioning);
            true
        }
        _ => false,
    }
}

fn not_supported(given: &Map<String, Value>) -> Fault {
    let model = given
        .get("properties")
        .and_then(|properties| properties.get("model"));
    let of = |name: &str| {
        model
            .and_then(|model| model.get(name)?.as_str())
            .unwrap_or_default()
    };
    let (format, mut name, version) = (of("format"), of("name"), of("version"));
    // A fine-tuned model's name holds its owner's words, and this goes on record.
    if name.starts_with("ft:") {
        name = "ft:...";
    }
    let message = format!(
        "The model 'Format: {format}, Name: {name}, Version: {version}' of account deployment is not supported."
    );
    bad("DeploymentModelNotSupported", message)
}

/// Price tier, capacity, tags and our policy can be changed alone.
fn patch(call: &Arc<Call>) -> Outcome<Answer> {
    let given = call.object()?;
    tags::check(given.get("tags"))?;
    let (name, mut deployment) = known(call)?.ok_or_else(|| not_there(call))?;
    if let Some(sku) = given.get("sku").filter(|sku| !sku.is_null()) {
        deployment.sku = Some(read_sku(sku)?);
    }
    if let Some(tags) = given.get("tags").and_then(Value::as_object) {
        deployment.tags = body::read_tags(tags);
    }
    let properties = given.get("properties").and_then(Value::as_object);
    if let Some(policy) = properties.and_then(|properties| properties.get("revocationPolicy")) {
        deployment.revocation = read_policy(policy)?;
    }
    call.actor()
        .put_deployment(&super::place(call), &name, deployment, false)?;
    show(call, StatusCode::OK)
}

fn remove(call: &Arc<Call>) -> Outcome<Answer> {
    let Some((name, _)) = known(call)? else {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    };
    call.actor().delete_deployment(&super::place(call), &name)?;
    mirror::account(&call.arm, &*found(call)?)?;
    Ok(Answer::empty(StatusCode::OK))
}

fn skus(call: &Arc<Call>) -> Outcome<Answer> {
    known(call)?.ok_or_else(|| not_there(call))?;
    let row = json!({
        "resourceType": DEPLOYMENT,
        "sku": {"name": "Standard"},
        "capacity": {"minimum": 1, "maximum": 1000, "default": 1, "step": 1},
    });
    Ok(Answer::page(vec![row], None))
}

fn read(call: &Call, given: &Map<String, Value>, before: Option<&Deployment>) -> Outcome<Deployment> {
    let properties = given.get("properties").and_then(Value::as_object).cloned();
    let mut properties = properties.ok_or_else(|| body::invalid("'properties' is missing"))?;
    let model = properties.get("model").cloned().unwrap_or_default();
    let of = |name: &str| model.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = of("name");
    if name.is_empty() || name.len() > DEPLOYED_MODEL || !of("format").eq_ignore_ascii_case(MODEL_FORMAT) {
        return Err(not_supported(given));
    }
    let revocation = match properties.get("revocationPolicy") {
        Some(policy) => read_policy(policy)?,
        None => before.map_or(RevocationPolicy::default(), |before| before.revocation),
    };
    properties.retain(|name, _| !OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)));
    let sku = given.get("sku").filter(|sku| !sku.is_null());
    let now = u64::try_from(call.now_ms / 1000).unwrap_or_default();
    Ok(Deployment {
        sku: sku.map(read_sku).transpose()?,
        tags: given
            .get("tags")
            .and_then(Value::as_object)
            .map(body::read_tags)
            .unwrap_or_default(),
        more: properties,
        ..Deployment::of(name, before.map_or(now, |before| before.created), revocation)
    })
}

fn read_policy(policy: &Value) -> Outcome<RevocationPolicy> {
    let given = policy.as_str().unwrap_or_default();
    let found = POLICIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(given));
    found.map(|(_, policy)| *policy).ok_or_else(|| {
        body::invalid("'properties.revocationPolicy' must be one of 'Shutdown, Drain, PreventNew'")
    })
}

fn read_sku(sku: &Value) -> Outcome<Value> {
    let wrong = || {
        bad(
            "InvalidCapacity",
            format!(
                "The sku of a deployment needs a 'name', and a 'capacity' of 1 to {DEPLOYMENT_CAPACITY} if it has one."
            ),
        )
    };
    let name = sku.get("name").and_then(Value::as_str).ok_or_else(wrong)?;
    let capacity = match sku.get("capacity") {
        None | Some(Value::Null) => Some(1),
        // `az` sends what was typed.
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
    };
    let capacity = capacity.filter(|capacity| (1..=DEPLOYMENT_CAPACITY).contains(capacity));
    Ok(json!({"name": name, "capacity": capacity.ok_or_else(wrong)?}))
}
