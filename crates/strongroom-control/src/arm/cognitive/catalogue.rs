//! What there is to choose from, how much of it is used, and which names are free.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::accounts::found;
use super::{ACCOUNT, body, waiting};
use crate::accounts::{KINDS, MODEL_FORMAT, MODEL_VERSION, SKU, ServedModel};
use crate::arm::call::{Answer, Call};
use crate::arm::fault::Outcome;
use crate::arm::route::{Permission, Route, blocking};
use crate::arm::subscriptions::LOCATIONS;
use crate::limits::{ARM_BODY, DEPLOYMENT_CAPACITY};

type Work = fn(&Arc<Call>) -> Outcome<Answer>;

/// The models that an account may deploy.
const MODELS: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/models";

/// Beside each account: path below it, action below the account's type, handler.
const OF_ACCOUNT: [(&str, &str, Work); 3] = [
    (
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/skus",
        "Microsoft.CognitiveServices/accounts/skus/read",
        account_skus,
    ),
    (
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/usages",
        "Microsoft.CognitiveServices/accounts/usages/read",
        account_usages,
    ),
    (
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/commitmentPlans",
        "Microsoft.CognitiveServices/accounts/commitmentplans/read",
        nothing_of_account,
    ),
];

/// The same in the subscription.
const OF_SUBSCRIPTION: [(&str, &str, Work); 4] = [
    (
        "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/skus",
        "Microsoft.CognitiveServices/skus/read",
        skus,
    ),
    (
        "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/locations/{location}/models",
        "Microsoft.CognitiveServices/locations/models/read",
        models,
    ),
    (
        "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/locations/{location}/usages",
        "Microsoft.CognitiveServices/locations/usages/read",
        usages,
    ),
    (
        "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/locations/{location}/commitmentTiers",
        "Microsoft.CognitiveServices/locations/commitmentTiers/read",
        nothing,
    ),
];

/// Questions that have a body.
const QUESTIONS: [(&str, &str, Work); 2] = [
    (
        "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/checkDomainAvailability",
        "Microsoft.CognitiveServices/checkDomainAvailability/action",
        check_domain,
    ),
    (
        "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/locations/{location}/checkSkuAvailability",
        "Microsoft.CognitiveServices/locations/checkSkuAvailability/action",
        check_skus,
    ),
];

pub(super) fn routes() -> Vec<Route> {
    let get = |(pattern, action, work): (_, _, Work)| {
        Route::new(
            Method::GET,
            pattern,
            Permission::Action(action),
            0,
            blocking(work),
        )
    };
    let post = |(pattern, action, work): (_, _, Work)| {
        Route::new(
            Method::POST,
            pattern,
            Permission::Action(action),
            ARM_BODY,
            blocking(work),
        )
    };
    let gets = OF_ACCOUNT.into_iter().chain(OF_SUBSCRIPTION).map(get);
    let read = Permission::Action("Microsoft.CognitiveServices/accounts/models/read");
    let models = Route::new(Method::GET, MODELS, read, 0, waiting(account_models));
    gets.chain(QUESTIONS.into_iter().map(post))
        .chain([models])
        .collect()
}

fn model(served: &ServedModel) -> Value {
    json!({
        "format": MODEL_FORMAT,
        "name": served.name,
        "version": MODEL_VERSION,
        "publisher": served.publisher,
        "isDefaultVersion": true,
        "lifecycleStatus": "GenerallyAvailable",
        "maxCapacity": DEPLOYMENT_CAPACITY,
        "capabilities": {"chatCompletion": "true", "embeddings": "true"},
        "deprecation": {},
        "skus": [{
            "name": "Standard",
            "usageName": usage_name(&served.name),
            "capacity": {"minimum": 1, "maximum": DEPLOYMENT_CAPACITY, "default": 1, "step": 1},
        }],
    })
}

fn usage_name(model: &str) -> String {
    format!("{MODEL_FORMAT}.Standard.{model}")
}

/// The account's fine-tuned models stand behind the others, while its key lets them be known.
async fn account_models(call: Arc<Call>) -> Outcome<Answer> {
    let account = found(&call)?.id;
    let mut rows = call.arm.service.models();
    match call.arm.service.tuned_models(account).await {
        Ok(tuned) => rows.extend(tuned),
        Err(fault) => tracing::info!(%account, %fault, "fine-tuned models are not listed"),
    }
    Ok(Answer::page(rows.iter().map(model).collect(), None))
}

fn models(call: &Arc<Call>) -> Outcome<Answer> {
    let served = call.arm.service.models();
    let rows = served.iter().flat_map(|served| {
        KINDS.map(|kind| json!({"kind": kind, "skuName": SKU, "model": model(served), "description": ""}))
    });
    Ok(Answer::page(rows.collect(), None))
}

fn account_skus(call: &Arc<Call>) -> Outcome<Answer> {
    found(call)?;
    let row = json!({"resourceType": ACCOUNT, "sku": {"name": SKU, "tier": "Standard"}});
    Ok(Answer::page(vec![row], None))
}

fn skus(_: &Arc<Call>) -> Outcome<Answer> {
    let locations: Vec<&str> = LOCATIONS.iter().map(|(name, _)| *name).collect();
    let rows = KINDS.map(|kind| {
        json!({
            "resourceType": "accounts",
            "name": SKU,
            "tier": "Standard",
            "kind": kind,
            "locations": locations,
            "restrictions": [],
        })
    });
    Ok(Answer::page(rows.to_vec(), None))
}

/// How much of each model's capacity some accounts' deployments take.
fn used<'a>(call: &Call, accounts: impl Iterator<Item = &'a crate::accounts::Account>) -> Vec<Value> {
    let mut rows: Vec<(String, u64)> = call
        .arm
        .service
        .models()
        .into_iter()
        .map(|served| (served.name, 0))
        .collect();
    for deployment in accounts.flat_map(|account| account.deployments.values()) {
        let capacity = deployment.sku.as_ref().and_then(|sku| sku.get("capacity"));
        let capacity = capacity.and_then(Value::as_u64).unwrap_or(1);
        if let Some((_, used)) = rows.iter_mut().find(|(name, _)| *name == deployment.model) {
            *used += capacity;
        }
    }
    let shown = rows.into_iter().map(|(name, used)| {
        let name = usage_name(&name);
        json!({
            "name": {"value": name, "localizedValue": name},
            "currentValue": used,
            "limit": DEPLOYMENT_CAPACITY,
            "unit": "Count",
        })
    });
    shown.collect()
}

fn account_usages(call: &Arc<Call>) -> Outcome<Answer> {
    let account = found(call)?;
    let rows = used(call, std::iter::once(account.as_ref()));
    Ok(Answer::page(rows, None))
}

fn usages(call: &Arc<Call>) -> Outcome<Answer> {
    let all = call.arm.control.accounts();
    let all = Arc::clone(&all.borrow());
    let location = call.name("location");
    let here = || {
        all.iter()
            .filter(|account| account.location.eq_ignore_ascii_case(location))
    };
    let mut rows = used(call, here().map(AsRef::as_ref));
    let count = here().count();
    rows.push(json!({
        "name": {"value": "AccountCount", "localizedValue": "Account count"},
        "currentValue": count,
        "limit": crate::limits::PRINCIPALS,
        "unit": "Count",
    }));
    Ok(Answer::page(rows, None))
}

fn nothing_of_account(call: &Arc<Call>) -> Outcome<Answer> {
    found(call)?;
    nothing(call)
}

fn nothing(_: &Arc<Call>) -> Outcome<Answer> {
    Ok(Answer::page(Vec::new(), None))
}

fn check_domain(call: &Arc<Call>) -> Outcome<Answer> {
    let given = call.object()?;
    let of = |name: &str| given.get(name).cloned().unwrap_or_default();
    let label = of("subdomainName");
    let Some(text) = label.as_str().filter(|label| !label.is_empty()) else {
        return Err(body::invalid("'subdomainName' is missing"));
    };
    let taken = call.arm.control.label_refused(text);
    let reason = taken.map(|error| error.to_string());
    Ok(Answer::ok(json!({
        "isSubdomainAvailable": reason.is_none(),
        "reason": reason,
        "subdomainName": label,
        "type": of("type"),
        "kind": of("kind"),
    })))
}

fn check_skus(call: &Arc<Call>) -> Outcome<Answer> {
    let given = call.object()?;
    let of = |name: &str| given.get(name).cloned().unwrap_or_default();
    let (kind, of_type) = (of("kind"), of("type"));
    let named = of("skus");
    let Some(skus) = named.as_array() else {
        return Err(body::invalid("'skus' is missing"));
    };
    let is_kind = kind
        .as_str()
        .is_some_and(|kind| KINDS.iter().any(|known| known.eq_ignore_ascii_case(kind)));
    let rows = skus.iter().map(|sku| {
        let available = is_kind && sku.as_str().is_some_and(|sku| sku.eq_ignore_ascii_case(SKU));
        json!({
            "kind": kind,
            "type": of_type,
            "skuName": sku,
            "skuAvailable": available,
            "reason": (!available).then_some("NotAvailableForSubscription"),
            "message": (!available).then_some("The SKU is not available for this kind of account."),
        })
    });
    Ok(Answer::page(rows.collect(), None))
}
