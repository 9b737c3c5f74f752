//! What there is: subscriptions, the rows of Resource Graph, and what stands around the resources of a subscription.

use serde_json::Value;

use super::accounts::AccountBrief;
use super::{Collector, Found, RecorderError, Scope, plan, text};
use crate::ask::Question;
use crate::{limits, question as word};

impl Collector<'_> {
    /// The subscriptions to ask about, in order.
    pub(super) async fn subscriptions(&self, scope: &Scope) -> Result<Vec<String>, RecorderError> {
        self.asker.tally().begin("subscriptions");
        let question = plan::subscriptions(self.asker.cloud());
        let mut seen = self
            .rows(vec![question], |_, row| {
                let is_enabled =
                    text(row, "/state").is_none_or(|state| state.eq_ignore_ascii_case("Enabled"));
                let id = text(row, "/subscriptionId").filter(|_| is_enabled);
                id.map(str::to_ascii_lowercase)
            })
            .await?;
        if !scope.subscriptions.is_empty() {
            seen = scope
                .subscriptions
                .iter()
                .map(|id| id.to_ascii_lowercase())
                .collect();
        }
        seen.sort();
        seen.dedup();
        Ok(seen)
    }

    /// What Resource Graph knows.
    pub(super) async fn inventory(
        &self,
        subscriptions: &[String],
        scope: &Scope,
    ) -> Result<Found, RecorderError> {
        self.asker.tally().begin("inventory");
        let names: Vec<String> = scope.accounts.iter().map(|account| name_of(account)).collect();
        let mut questions = Vec::new();
        // As many subscriptions as one question may name.
        for some in subscriptions.chunks(limits::GRAPH_SUBSCRIPTIONS) {
            questions.push(plan::accounts(self.asker.cloud(), some, &names));
            questions.extend(plan::inventory(self.asker.cloud(), some));
        }
        let mut found = Found::default();
        for row in self.rows(questions, read).await? {
            row.join(&mut found);
        }
        found.accounts.retain(|account| scope.has(&account.id));
        found.accounts.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }

    /// What stands around the resources of each subscription.
    pub(super) async fn around(&self, subscriptions: &[String]) -> Result<(), RecorderError> {
        self.asker.tally().begin("subscriptions' settings");
        let questions = subscriptions.iter().flat_map(|id| self.around_one(id));
        self.all(questions.collect()).await
    }

    fn around_one(&self, subscription: &str) -> Vec<Question> {
        let scope = format!("/subscriptions/{subscription}");
        let cloud = self.asker.cloud();
        let ask = |path: &str, version, question| {
            plan::manager(
                cloud,
                &format!("{scope}/providers/{path}"),
                version,
                question,
                Some(&scope),
            )
        };
        let mut all = vec![
            ask("Microsoft.Authorization/locks", plan::LOCKS, word::LOCKS),
            ask(
                "Microsoft.Authorization/denyAssignments",
                plan::AUTHORIZATION,
                word::DENY_ASSIGNMENTS,
            ),
            ask(
                "Microsoft.KeyVault/deletedVaults",
                plan::KEY_VAULT,
                word::DELETED_VAULTS,
            ),
            ask(
                "Microsoft.CognitiveServices/deletedAccounts",
                plan::COGNITIVE,
                word::DELETED_ACCOUNTS,
            ),
            ask("Microsoft.Security/pricings", plan::SECURITY, word::DEFENDER),
            ask(
                "Microsoft.Insights/diagnosticSettings",
                plan::DIAGNOSTICS,
                word::DIAGNOSTIC_SETTINGS,
            ),
        ];
        // The log is read up to when the run began, so that one that goes on puts the same question.
        let until = self.recorder.started_ms();
        let since = until.saturating_sub(limits::ACTIVITY_MS);
        for provider in [
            "Microsoft.KeyVault",
            "Microsoft.CognitiveServices",
            "Microsoft.Authorization",
        ] {
            let filter = format!(
                "eventTimestamp ge '{}' and eventTimestamp le '{}' and resourceProvider eq '{provider}'",
                time(since),
                time(until)
            );
            let path = "Microsoft.Insights/eventtypes/management/values";
            let mut question = ask(path, plan::ACTIVITY, word::ACTIVITY_LOG);
            question.url.query_pairs_mut().append_pair("$filter", &filter);
            all.push(question);
        }
        all
    }
}

impl Scope {
    fn has(&self, id: &str) -> bool {
        self.accounts.is_empty()
            || self.accounts.iter().any(|wanted| {
                let whole = wanted.starts_with('/');
                let own = if whole {
                    id
                } else {
                    id.rsplit('/').next().unwrap_or_default()
                };
                own.eq_ignore_ascii_case(wanted.trim_end_matches('/'))
            })
    }
}

fn name_of(account: &str) -> String {
    let account = account.trim_end_matches('/');
    account.rsplit('/').next().unwrap_or(account).to_owned()
}

/// What later questions need of a row.
enum Read {
    Account(AccountBrief),
    Vault { host: String, id: String },
    Identity(String),
    Assignment { principal: String, is_group: bool },
    Workspace { id: String, customer: String },
}

impl Read {
    fn join(self, found: &mut Found) {
        match self {
            Self::Account(account) => {
                found.principals.extend(account.principals.iter().cloned());
                found.accounts.push(account);
            }
            Self::Vault { host, id } => {
                found.vaults.insert(host, id);
            }
            Self::Identity(principal) => {
                found.principals.insert(principal);
            }
            Self::Workspace { id, customer } => {
                found.workspaces.insert(id, customer);
            }
            Self::Assignment { principal, is_group } => {
                if is_group {
                    found.groups.insert(principal.clone());
                }
                found.principals.insert(principal);
            }
        }
    }
}

fn read(question: &Question, row: &Value) -> Option<Read> {
    Some(match question.question {
        word::ACCOUNTS => Read::Account(AccountBrief::read(row)?),
        word::VAULTS => Read::Vault {
            host: text(row, "/properties/vaultUri")
                .or_else(|| text(row, "/properties/hsmUri"))
                .map(super::keys::vault_host)?,
            id: text(row, "/id")?.to_owned(),
        },
        word::IDENTITIES => Read::Identity(object_id(text(row, "/properties/principalId")?)?),
        word::ROLE_ASSIGNMENTS => Read::Assignment {
            principal: object_id(text(row, "/properties/principalId")?)?,
            is_group: text(row, "/properties/principalType")
                .is_some_and(|kind| kind.eq_ignore_ascii_case("Group")),
        },
        // An id that goes into a path must be one.
        word::DEPENDENTS => Read::Workspace {
            id: text(row, "/id")?.to_ascii_lowercase(),
            customer: object_id(text(row, "/properties/customerId")?)?,
        },
        _ => return None,
    })
}

/// An object id goes into a path: it must be one.
pub(super) fn object_id(text: &str) -> Option<String> {
    let id: uuid::Uuid = text.trim().parse().ok()?;
    Some(id.to_string())
}

/// As filters of the activity log have it.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
