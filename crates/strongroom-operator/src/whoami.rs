//! Who asks, and what it may read: found out by harmless reads, before anything else is trusted.

use serde::Serialize;
use serde_json::Value;

use crate::ask::Asker;
use crate::collect::plan;
use crate::fact::{Fact, Outcome};
use crate::{limits, question as word};

/// Who asks.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// The cloud's name.
    pub cloud: String,
    /// Its Resource Manager.
    pub resource_manager: String,
    /// The tenant, as the token or the subscriptions tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The subscriptions that are seen.
    pub subscriptions: Vec<Subscription>,
    /// The principal's object id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// Its application's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_id: Option<String>,
    /// The kind of credential.
    pub credential: String,
    /// What was tried.
    pub reads: Vec<Read>,
}

/// A subscription.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Its GUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is enabled.
    pub state: String,
}

/// A read that was tried.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// What was to be read.
    pub what: String,
    /// `yes`, `no` (who asks is not allowed to), `unknown` (there was no answer that says).
    pub may: &'static str,
    /// The status, where there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the answer said, where it was no success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What stays unknown without it.
    pub tells: &'static str,
    /// The call.
    pub call: String,
}

/// Tries one read of each kind. `subscriptions`, if not empty, are the ones that matter.
pub async fn whoami(asker: &Asker, subscriptions: &[String]) -> WhoAmI {
    let listed = asker.ask(&plan::subscriptions(asker.cloud())).await;
    let seen = seen(&listed, subscriptions);
    let mut reads = vec![judged("subscriptions", "which subscriptions there are", &listed)];
    let wanted: Vec<String> = if subscriptions.is_empty() {
        seen.iter().map(|one| one.id.clone()).collect()
    } else {
        subscriptions.to_vec()
    };
    let tenant = tenant(&listed);
    reads.extend(in_graph(asker, &wanted).await);
    for id in &wanted {
        reads.extend(in_subscription(asker, id).await);
    }
    if let Some(question) = asker
        .claims()
        .object_id
        .as_ref()
        .and_then(|id| plan::principals(asker.cloud(), std::slice::from_ref(id)))
    {
        let tells = "whether an identity still exists, and who is in a group";
        reads.push(judged(
            "principals in the directory",
            tells,
            &asker.ask(&question).await,
        ));
    }
    WhoAmI {
        cloud: asker.cloud().name().to_owned(),
        resource_manager: asker.cloud().manager("/").to_string(),
        tenant: asker.claims().tenant.clone().or(tenant),
        subscriptions: seen,
        object_id: asker.claims().object_id.clone(),
        application_id: asker.claims().application_id.clone(),
        credential: asker.credential().kind().to_string(),
        reads,
    }
}

/// What Resource Graph shows; and of the vaults that it shows, whether they show their keys.
async fn in_graph(asker: &Asker, subscriptions: &[String]) -> Vec<Read> {
    let cloud = asker.cloud();
    let accounts = asker.ask(&plan::accounts(cloud, subscriptions, &[])).await;
    let mut reads = vec![judged(
        "AI accounts in Resource Graph",
        "which accounts there are and what key each names",
        &accounts,
    )];
    let mut vaults = Vec::new();
    for question in plan::inventory(cloud, subscriptions) {
        let (what, tells) = match question.question {
            word::VAULTS => ("vaults in Resource Graph", "how vaults are protected and reached"),
            word::ROLE_ASSIGNMENTS => (
                "role assignments in Resource Graph",
                "whether an account's identity may unwrap, and who else may change its key",
            ),
            _ => continue,
        };
        let fact = asker.ask(&question).await;
        if question.question == word::VAULTS {
            vaults = uris(&fact);
        }
        reads.push(judged(what, tells, &fact));
    }
    for vault in vaults.into_iter().take(limits::TRIED_VAULTS) {
        let Ok(url) = url::Url::parse(&vault) else {
            continue;
        };
        let question = plan::vault(&url, "/keys", word::KEY, vault.clone(), true);
        let tells = "whether its keys exist, are enabled and in their time";
        reads.push(judged(
            &format!("keys of {vault}"),
            tells,
            &asker.ask(&question).await,
        ));
    }
    reads
}

async fn in_subscription(asker: &Asker, id: &str) -> Vec<Read> {
    let scope = format!("/subscriptions/{id}");
    let mut reads = Vec::new();
    for (path, version, what, tells) in [
        (
            "Microsoft.Insights/diagnosticSettings",
            plan::DIAGNOSTICS,
            "diagnostic settings",
            "whether what happens is logged, and where to",
        ),
        (
            "Microsoft.Authorization/locks",
            plan::LOCKS,
            "locks",
            "whether a vault can be deleted",
        ),
        (
            "Microsoft.Authorization/denyAssignments",
            plan::AUTHORIZATION,
            "deny assignments",
            "whether something forbids what a role allows",
        ),
        (
            "Microsoft.KeyVault/deletedVaults",
            plan::KEY_VAULT,
            "deleted vaults",
            "whether a vault in use waits for its end",
        ),
    ] {
        let path = format!("{scope}/providers/{path}");
        let question = plan::manager(asker.cloud(), &path, version, word::SUBSCRIPTIONS, Some(&scope));
        let fact = asker.ask(&question).await;
        reads.push(judged(&format!("{what} of {id}"), tells, &fact));
    }
    reads
}

fn judged(what: &str, tells: &'static str, fact: &Fact) -> Read {
    let may = match fact.status() {
        Some(200..=299) => "yes",
        Some(401 | 403) => "no",
        _ => "unknown",
    };
    Read {
        what: what.to_owned(),
        may,
        status: fact.status(),
        why: why(fact),
        tells,
        call: fact.call(),
    }
}

/// What an answer that is no success said: code, inner code, message.
fn why(fact: &Fact) -> Option<String> {
    let body = match &fact.outcome {
        Outcome::Answered {
            status: 200..=299, ..
        } => return None,
        Outcome::Answered { body, .. } => body,
        Outcome::Failed { message, .. } => return Some(message.clone()),
    };
    let body: Value = serde_json::from_slice(&body.0).unwrap_or_default();
    let part = |path: &str| body.pointer(path).and_then(Value::as_str);
    let parts = [
        part("/error/code"),
        part("/error/innererror/code"),
        part("/error/message"),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    Some(text.chars().take(limits::MESSAGE).collect())
}

fn list(fact: &Fact) -> Vec<Value> {
    let body = fact
        .body()
        .and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let rows = body
        .as_ref()
        .and_then(|body| body.get("value").or_else(|| body.get("data")));
    rows.and_then(Value::as_array).cloned().unwrap_or_default()
}

fn seen(fact: &Fact, wanted: &[String]) -> Vec<Subscription> {
    let text = |row: &Value, name: &str| {
        row.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let all = list(fact).into_iter().map(|row| Subscription {
        id: text(&row, "subscriptionId"),
        name: text(&row, "displayName"),
        state: text(&row, "state"),
    });
    let is_wanted = |one: &Subscription| {
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(&one.id))
    };
    all.filter(is_wanted).collect()
}

fn tenant(fact: &Fact) -> Option<String> {
    let first = list(fact).into_iter().next()?;
    first.get("tenantId")?.as_str().map(str::to_owned)
}

fn uris(fact: &Fact) -> Vec<String> {
    let uri = |row: Value| {
        let uri = row.pointer("/properties/vaultUri")?.as_str()?;
        Some(uri.trim_end_matches('/').to_owned())
    };
    list(fact).into_iter().filter_map(uri).collect()
}
