//! What is live, in the words of a design: to write the first design from, and to hold a design against.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::{
    ApprovedAccount, ApprovedIdentity, ApprovedKey, ApprovedVault, Dependency, DependencyKey, Design,
    NetworkPath, Retention, VaultPath, VersionPolicy,
};
use crate::collect::{rows, text, vault_host, vault_text};
use crate::fact::Fact;
use crate::question as word;

/// The accounts and vaults that facts tell of, as a design would have them.
#[derive(Debug, Default)]
pub struct Live {
    accounts: BTreeMap<String, LiveAccount>,
    vaults: BTreeMap<String, LiveVault>,
    dependents: BTreeMap<String, Value>,
    links: BTreeSet<(String, String)>,
    unread: Vec<String>,
}

#[derive(Debug)]
struct LiveAccount {
    row: Value,
    key: Option<(String, Option<String>)>,
}

#[derive(Debug)]
struct LiveVault {
    id: String,
    row: Value,
}

/// One thing that is not as it was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The account, vault or dependency.
    pub resource: String,
    /// What differs.
    pub what: String,
    /// As approved; empty if nothing was.
    pub approved: String,
    /// As it is; empty if it is not.
    pub live: String,
}

impl Live {
    /// Takes in what facts tell, one at a time.
    pub fn read<E>(facts: impl Iterator<Item = Result<Fact, E>>) -> Result<Self, E> {
        let mut live = Self::default();
        for fact in facts {
            live.take(&fact?);
        }
        Ok(live)
    }

    /// Calls that failed, without which this is not the whole.
    #[must_use]
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    fn take(&mut self, fact: &Fact) {
        let question = fact.question.as_str();
        let matters = [word::ACCOUNTS, word::VAULTS, word::DEPENDENTS, word::CONNECTIONS];
        if !matters.contains(&question) {
            return;
        }
        // Without accounts and vaults nothing can be said; connections are not of every kind of account.
        if fact.body().is_none() && matches!(question, word::ACCOUNTS | word::VAULTS) {
            self.unread.push(fact.call());
        }
        for row in rows(fact) {
            let Some(id) = text(&row, "/id").map(str::to_owned) else {
                continue;
            };
            match question {
                word::ACCOUNTS => {
                    let key = key(&row);
                    self.accounts
                        .insert(id.to_ascii_lowercase(), LiveAccount { row, key });
                }
                word::VAULTS => {
                    let uri = text(&row, "/properties/vaultUri").or_else(|| text(&row, "/properties/hsmUri"));
                    if let Some(host) = uri.map(vault_host) {
                        self.vaults.insert(host, LiveVault { id, row });
                    }
                }
                word::DEPENDENTS => {
                    self.dependents.insert(id.to_ascii_lowercase(), row);
                }
                _ => self.link(&row, fact.about.as_deref().unwrap_or_default()),
            }
        }
    }

    /// A connection leads from an account, or from a project of it, to a resource or an address.
    fn link(&mut self, row: &Value, about: &str) {
        let about = about.to_ascii_lowercase();
        let account = about.split("/projects/").next().unwrap_or_default().to_owned();
        let target = text(row, "/properties/metadata/ResourceId")
            .or_else(|| text(row, "/properties/metadata/resourceId"))
            .or_else(|| text(row, "/properties/target"));
        if let Some(target) = target {
            self.links
                .insert((account, target.trim_end_matches('/').to_owned()));
        }
    }

    /// A design that approves what is live. What it cannot know it leaves out.
    #[must_use]
    pub fn design(&self) -> Design {
        let accounts = self.accounts.iter();
        let accounts = accounts.filter_map(|(id, live)| Some((id.clone(), self.approved(id, live)?)));
        let vaults = self.vaults.values().map(|vault| {
            let approved = ApprovedVault {
                id: vault.id.clone(),
                owner: owner(&vault.row),
            };
            (vault.id.to_ascii_lowercase(), approved)
        });
        Design {
            accounts: accounts.collect(),
            vaults: vaults.collect(),
            ..Design::default()
        }
    }

    /// Accounts without a customer's key, which a design cannot approve.
    #[must_use]
    pub fn without_key(&self) -> Vec<&str> {
        let keyless = self.accounts.values().filter(|live| live.key.is_none());
        keyless.filter_map(|live| text(&live.row, "/id")).collect()
    }

    fn approved(&self, id: &str, live: &LiveAccount) -> Option<ApprovedAccount> {
        let (uri, version) = live.key.clone()?;
        let vault = self.vaults.get(&vault_host(&uri));
        let dependencies = self.links.range((id.to_owned(), String::new())..);
        let dependencies = dependencies.take_while(|(account, _)| account == id);
        Some(ApprovedAccount {
            id: text(&live.row, "/id")?.to_owned(),
            owner: owner(&live.row),
            key: ApprovedKey {
                uri: uri.clone(),
                version: version.map_or(VersionPolicy::Latest, |_| VersionPolicy::Pinned),
                owner: None,
            },
            identity: identity(&live.row),
            network: Some(network(&live.row)),
            vault_network: vault.map(|vault| vault_network(&vault.row)),
            dependencies: dependencies
                .map(|(_, target)| (target.to_ascii_lowercase(), self.dependency(target, &uri)))
                .collect(),
            retention: Retention {
                soft_delete_days: vault.and_then(|vault| days(&vault.row)),
                audit_log_days: None,
            },
            drill: None,
        })
    }

    fn dependency(&self, target: &str, key: &str) -> Dependency {
        let row = self.dependents.get(&target.to_ascii_lowercase());
        Dependency {
            id: target.to_owned(),
            owner: row.and_then(owner),
            key: row.map(|row| dependency_key(row, key)),
        }
    }

    /// What is not as the design says, account by account.
    #[must_use]
    pub fn differences(&self, design: &Design) -> Vec<Difference> {
        let mut all = Vec::new();
        for (id, approved) in &design.accounts {
            match self.accounts.get(id) {
                None => all.push(difference(&approved.id, "account", "it is there", "")),
                Some(live) => self.account_differences(id, approved, live, &mut all),
            }
        }
        for (id, live) in &self.accounts {
            if !design.accounts.contains_key(id) {
                let shown = text(&live.row, "/id").unwrap_or(id);
                all.push(difference(shown, "account", "", "it is there"));
            }
        }
        let known: BTreeSet<String> = self
            .vaults
            .values()
            .map(|vault| vault.id.to_ascii_lowercase())
            .collect();
        for (id, vault) in &design.vaults {
            if !known.contains(id) {
                all.push(difference(&vault.id, "vault", "it is there", ""));
            }
        }
        all
    }

    fn account_differences(
        &self,
        id: &str,
        approved: &ApprovedAccount,
        live: &LiveAccount,
        all: &mut Vec<Difference>,
    ) {
        let mut differ = |what: &str, approved_as: String, live_as: String| {
            if approved_as != live_as {
                all.push(difference(&approved.id, what, &approved_as, &live_as));
            }
        };
        let Some(now) = self.approved(id, live) else {
            return differ("key", approved.key.uri.clone(), "the provider's own".to_owned());
        };
        differ("key", approved.key.uri.clone(), now.key.uri.clone());
        let version = live.key.as_ref().and_then(|(_, version)| version.as_deref());
        let (wanted, is) = match (&approved.key.version, version) {
            (VersionPolicy::Latest, version) => ("latest", version.unwrap_or("latest")),
            (VersionPolicy::Pinned, Some(_)) => ("pinned", "pinned"),
            (VersionPolicy::Pinned, None) => ("pinned", "latest"),
            (VersionPolicy::Exactly(wanted), version) => (wanted.as_str(), version.unwrap_or("latest")),
        };
        differ("key version", wanted.to_owned(), is.to_owned());
        differ(
            "identity",
            approved.identity.to_string(),
            now.identity.to_string(),
        );
        if let Some(owner) = &approved.owner {
            differ("owner", owner.clone(), now.owner.clone().unwrap_or_default());
        }
        if let Some(network) = approved.network {
            let is = now.network.map(NetworkPath::as_str).unwrap_or_default();
            differ("network", network.as_str().to_owned(), is.to_owned());
        }
        if let Some(network) = approved.vault_network {
            let is = now
                .vault_network
                .map(VaultPath::as_str)
                .unwrap_or("the vault is not seen");
            differ("the vault's network", network.as_str().to_owned(), is.to_owned());
        }
        if let Some(days) = approved.retention.soft_delete_days {
            let is = now.retention.soft_delete_days.map(|days| days.to_string());
            differ(
                "days that deleted keys are kept",
                days.to_string(),
                is.unwrap_or_default(),
            );
        }
        self.dependency_differences(approved, &now, all);
    }

    fn dependency_differences(
        &self,
        approved: &ApprovedAccount,
        now: &ApprovedAccount,
        all: &mut Vec<Difference>,
    ) {
        for (id, live) in &now.dependencies {
            let Some(known) = approved.dependencies.get(id) else {
                all.push(difference(
                    &approved.id,
                    &format!("dependency {}", live.id),
                    "",
                    "it is there",
                ));
                continue;
            };
            if let (Some(wanted), Some(is)) = (known.key, live.key)
                && wanted != is
            {
                let what = format!("key of dependency {}", live.id);
                all.push(difference(&approved.id, &what, wanted.as_str(), is.as_str()));
            }
        }
        for (id, known) in &approved.dependencies {
            // What only requests name ("on your data") is declared; nobody can see whether it is there. A resource can be seen.
            let is_seen = now.dependencies.contains_key(id) || self.dependents.contains_key(id);
            if known.id.starts_with('/') && !is_seen {
                all.push(difference(
                    &approved.id,
                    &format!("dependency {}", known.id),
                    "it is there",
                    "",
                ));
            }
        }
    }
}

fn difference(resource: &str, what: &str, approved: &str, live: &str) -> Difference {
    Difference {
        resource: resource.to_owned(),
        what: what.to_owned(),
        approved: approved.to_owned(),
        live: live.to_owned(),
    }
}

/// The key's address and the version that is named.
fn key(row: &Value) -> Option<(String, Option<String>)> {
    let at = |name: &str| text(row, &format!("/properties/encryption/keyVaultProperties/{name}"));
    let uri = format!(
        "{}/keys/{}",
        vault_text(at("keyVaultUri")?),
        at("keyName")?.to_ascii_lowercase()
    );
    Some((uri, at("keyVersion").map(str::to_ascii_lowercase)))
}

/// The identity whose client id the account names for its key; its own where it names none.
fn identity(row: &Value) -> ApprovedIdentity {
    let client = text(row, "/properties/encryption/keyVaultProperties/identityClientId");
    let assigned = row
        .pointer("/identity/userAssignedIdentities")
        .and_then(Value::as_object);
    match (client, assigned) {
        (Some(client), Some(assigned)) => {
            let named = assigned.iter().find(|(_, one)| {
                text(one, "/clientId").is_some_and(|known| known.eq_ignore_ascii_case(client))
            });
            let unknown = || format!("client id {client}");
            ApprovedIdentity::User(named.map_or_else(unknown, |(id, _)| id.to_ascii_lowercase()))
        }
        (Some(client), None) => ApprovedIdentity::User(format!("client id {client}")),
        (None, _) => ApprovedIdentity::System,
    }
}

fn is(row: &Value, path: &str, word: &str) -> bool {
    text(row, path).is_some_and(|value| value.eq_ignore_ascii_case(word))
}

fn network(row: &Value) -> NetworkPath {
    if is(row, "/properties/publicNetworkAccess", "Disabled") {
        NetworkPath::Private
    } else if is(row, "/properties/networkAcls/defaultAction", "Deny") {
        NetworkPath::Restricted
    } else {
        NetworkPath::Public
    }
}

fn vault_network(row: &Value) -> VaultPath {
    if is(row, "/properties/publicNetworkAccess", "Disabled") {
        VaultPath::Private
    } else if is(row, "/properties/networkAcls/defaultAction", "Deny") {
        VaultPath::TrustedServices
    } else {
        VaultPath::Public
    }
}

/// Numbers come as texts too.
fn days(row: &Value) -> Option<u32> {
    let value = row.pointer("/properties/softDeleteRetentionInDays")?;
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    number.and_then(|days| u32::try_from(days).ok())
}

/// Under whose key a resource is, as far as its type tells.
fn dependency_key(row: &Value, account_key: &str) -> DependencyKey {
    let at = |path: &str| text(row, path);
    let pair = |base: &str, uri: &str, name: &str| {
        let vault = at(&format!("{base}/{uri}"))?;
        Some(format!(
            "{}/keys/{}",
            vault_text(vault),
            at(&format!("{base}/{name}"))?.to_ascii_lowercase()
        ))
    };
    let named = at("/properties/keyVaultKeyUri")
        .map(|uri| uri.trim_end_matches('/').to_ascii_lowercase())
        .or_else(|| {
            pair(
                "/properties/encryption/keyvaultproperties",
                "keyvaulturi",
                "keyname",
            )
        })
        .or_else(|| {
            pair(
                "/properties/encryption/keyVaultProperties",
                "keyVaultUri",
                "keyName",
            )
        })
        .or_else(|| pair("/properties/keyVaultProperties", "keyVaultUri", "keyName"));
    match named {
        None => DependencyKey::Provider,
        Some(key) if key == account_key || key.starts_with(&format!("{account_key}/")) => DependencyKey::Same,
        Some(_) => DependencyKey::Other,
    }
}

/// A tag that says who owns it, whatever its letters' case.
fn owner(row: &Value) -> Option<String> {
    let tags = row.get("tags")?.as_object()?;
    let tag = tags.iter().find(|(name, _)| name.eq_ignore_ascii_case("owner"));
    tag.and_then(|(_, value)| value.as_str()).map(str::to_owned)
}
