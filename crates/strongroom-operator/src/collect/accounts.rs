//! What is below each account: only Resource Manager tells.

use std::collections::BTreeSet;

use serde_json::Value;

use super::inventory::object_id;
use super::{Collector, RecorderError, plan, text};
use crate::ask::Question;
use crate::question as word;

/// What later questions need of an account.
pub(super) struct AccountBrief {
    pub(super) id: String,
    pub(super) has_projects: bool,
    pub(super) key: Option<KeyBrief>,
    pub(super) principals: BTreeSet<String>,
}

/// The key that an account names, as it is written there.
pub(super) struct KeyBrief {
    pub(super) vault: String,
    pub(super) name: String,
    pub(super) version: Option<String>,
}

impl AccountBrief {
    pub(super) fn read(row: &Value) -> Option<Self> {
        let key = row.pointer("/properties/encryption/keyVaultProperties");
        let key = key.and_then(|key| {
            Some(KeyBrief {
                vault: text(key, "/keyVaultUri")?.to_owned(),
                name: text(key, "/keyName")?.to_owned(),
                version: text(key, "/keyVersion").map(str::to_owned),
            })
        });
        let own = text(row, "/identity/principalId").and_then(object_id);
        let assigned = row
            .pointer("/identity/userAssignedIdentities")
            .and_then(Value::as_object);
        let assigned = assigned.into_iter().flat_map(|all| all.values());
        let assigned = assigned.filter_map(|one| text(one, "/principalId").and_then(object_id));
        Some(Self {
            id: text(row, "/id")?.to_owned(),
            // Projects, connections and agents are of Foundry: other kinds have none.
            has_projects: text(row, "/kind").is_some_and(|kind| kind.eq_ignore_ascii_case("AIServices")),
            key,
            principals: own.into_iter().chain(assigned).collect(),
        })
    }
}

impl Collector<'_> {
    /// What is below the accounts.
    pub(super) async fn accounts(&self, accounts: &[AccountBrief]) -> Result<(), RecorderError> {
        self.asker.tally().begin("accounts");
        let mut questions = Vec::with_capacity(accounts.len() * 2);
        for account in accounts {
            questions.push(self.below(&account.id, "deployments", word::DEPLOYMENTS));
            questions.push(self.settings(&account.id));
        }
        self.all(questions).await?;
        let foundry = accounts.iter().filter(|account| account.has_projects);
        let foundry: Vec<&str> = foundry.map(|account| account.id.as_str()).collect();
        let projects = foundry
            .iter()
            .map(|id| self.below(id, "projects", word::PROJECTS))
            .collect();
        let projects = self
            .rows(projects, |_, row| text(row, "/id").map(str::to_owned))
            .await?;
        let holders = foundry.into_iter().map(str::to_owned).chain(projects);
        let questions = holders.flat_map(|id| {
            [
                self.below(&id, "connections", word::CONNECTIONS),
                self.below(&id, "capabilityHosts", word::CAPABILITY_HOSTS),
            ]
        });
        self.all(questions.collect()).await
    }

    fn below(&self, id: &str, kind: &str, question: &'static str) -> Question {
        let path = format!("{id}/{kind}");
        plan::manager(self.asker.cloud(), &path, plan::COGNITIVE, question, Some(id))
    }

    /// Where a resource's logs go.
    pub(super) fn settings(&self, id: &str) -> Question {
        let path = format!("{id}/providers/Microsoft.Insights/diagnosticSettings");
        let question = word::DIAGNOSTIC_SETTINGS;
        plan::manager(self.asker.cloud(), &path, plan::DIAGNOSTICS, question, Some(id))
    }
}
