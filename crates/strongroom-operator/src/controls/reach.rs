//! N11 to N13: what the key reaches beyond the account, and what goes on without it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::chain;
use super::cite::{FOUNDRY_COVERAGE, OPENAI_PAGE, OWN, iso, mcsb, nist};
use super::verdict::{Judged, Verdict, need};
use super::{Judge, Rule};
use crate::finding::{Control, Severity};
use crate::limits::NAMED_PRINCIPALS;
use crate::question;
use crate::world::{
    Account, ArmId, Connection, Dependent, Encryption, FactRef, KeyName, Lookup, NotRead, VaultHost, World,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        control: Control {
            id: "N11",
            question: "Would a model that was made from the customer's data go on serving after the key is taken away?",
            severity: Severity::High,
            sources: &[OWN, OPENAI_PAGE, FOUNDRY_COVERAGE],
            remedy: "az cognitiveservices account deployment delete --name <account> --resource-group <group> --deployment-name <deployment>",
            conflicts: &[
                "On Azure a deployed fine-tuned model serves until its deployment is deleted, and cannot be deployed again before the key is back.",
            ],
            mappings: &[
                nist("SC-12"),
                nist("SC-28"),
                nist("IR-4"),
                iso("A.8.24"),
                mcsb("DP-5"),
            ],
        },
        judge: Judge::Account(|world, account, _| residual(world, account)),
    },
    Rule {
        control: Control {
            id: "N12",
            question: "Is each store that the account is connected to under a customer's key of its own, and whose?",
            severity: Severity::High,
            sources: &[OWN, FOUNDRY_COVERAGE],
            remedy: "az storage account update --ids <dependent-id> --encryption-key-source Microsoft.Keyvault --encryption-key-vault https://<vault-host> --encryption-key-name <key>",
            conflicts: &[
                "The account's key does not pass down to connected services: each is set up by itself (Microsoft Foundry, 2026-08-24).",
            ],
            mappings: &[
                nist("SC-28"),
                nist("SC-12"),
                iso("A.8.24"),
                iso("A.5.23"),
                mcsb("DP-5"),
            ],
        },
        judge: Judge::Account(|world, account, _| connected_stores(world, account)),
    },
    Rule {
        control: Control {
            id: "N13",
            question: "Is everything that a loss of this key would take down known and declared in the approved design?",
            severity: Severity::High,
            sources: &[OWN],
            remedy: "strongroom design diff",
            conflicts: &[],
            mappings: &[nist("CM-8"), nist("CP-2"), iso("A.5.9"), mcsb("AM-1")],
        },
        judge: Judge::Key(blast_radius),
    },
];

/// What a revocation stops, of the policies that Strongroom's deployments can have.
const STOPPING: [&str; 2] = ["Shutdown", "Drain"];

fn residual(world: &World, account: &Account) -> Judged {
    chain::customer_key(account)?;
    let (deployments, fact) = need(world.deployments_of(&account.id), || {
        "the account is not there".to_owned()
    })?;
    let tuned = deployments.iter().filter(|deployment| deployment.fine_tuned);
    let stops = |policy: &str| {
        STOPPING
            .iter()
            .any(|stopping| stopping.eq_ignore_ascii_case(policy))
    };
    let serving = tuned
        .clone()
        .filter(|deployment| !deployment.revocation.as_deref().is_some_and(stops));
    let wrong: Vec<String> = serving
        .map(|deployment| {
            format!(
                "deployment {} of the fine-tuned model {} goes on serving",
                deployment.name, deployment.model
            )
        })
        .collect();
    let right = match tuned.count() {
        0 => format!(
            "none of {} deployments serves a fine-tuned model",
            deployments.len()
        ),
        count => format!("{count} deployments of fine-tuned models stop with the key"),
    };
    Ok(Verdict::by(&wrong, right, [account.fact, fact]))
}

/// Categories of connections that lead to a store.
const STORES: [&str; 14] = [
    "azureblob",
    "azurestorageaccount",
    "azuredatalakegen2",
    "azuretablestorage",
    "cognitivesearch",
    "cosmosdb",
    "cosmosdbmongodbapi",
    "appinsights",
    "azuresqldb",
    "azurepostgresdb",
    "azuremysqldb",
    "azuredataexplorer",
    "azureopenai",
    "aiservices",
];

/// What a connection leads to.
pub(super) enum Store<'a> {
    Resource(&'a Dependent),
    Account(&'a Account),
}

/// A store by the name of the connection, or why it was not read.
pub(super) type NamedStore<'a> = (String, Result<Store<'a>, NotRead>);

/// The stores that an account's connections and its own storage lead to; of each its name, and the resource or why it was not read.
pub(super) fn stores<'a>(
    world: &'a World,
    account: &'a Account,
) -> Result<(Vec<NamedStore<'a>>, FactRef), NotRead> {
    let (connections, fact) = match world.connections_of(&account.id) {
        Lookup::Known(connections, fact) => (connections, fact),
        Lookup::Absent(fact) => (Vec::new(), fact),
        Lookup::NotRead(not) => return Err(not),
    };
    let leads = |connection: &&Connection| {
        let category = connection.category.to_ascii_lowercase();
        STORES.contains(&category.as_str())
            || connection
                .resource
                .as_ref()
                .is_some_and(|id| world.dependents.contains_key(id))
    };
    let mut found: Vec<_> = connections
        .into_iter()
        .filter(leads)
        .map(|connection| (connection.name.clone(), resolve(world, connection)))
        .collect();
    for storage in &account.own_storage {
        let store = ArmId::read(storage)
            .and_then(|id| by_id(world, &id))
            .ok_or_else(|| unread(world, storage));
        found.push((storage.rsplit('/').next().unwrap_or_default().to_owned(), store));
    }
    Ok((found, fact))
}

fn by_id<'a>(world: &'a World, id: &ArmId) -> Option<Store<'a>> {
    let resource = world.dependents.get(id).map(Store::Resource);
    resource.or_else(|| world.accounts.get(id).map(Store::Account))
}

pub(super) fn unread(world: &World, target: &str) -> NotRead {
    let hides = format!("whose key {target} is under");
    match world.listed(question::DEPENDENTS, &hides) {
        Ok(fact) => NotRead {
            fact: Some(fact),
            ..NotRead::unasked(format!("no subscription that was read holds {target}"), hides)
        },
        Err(not) => not,
    }
}

/// By the id that a connection names, or by the host of its target.
fn resolve<'a>(world: &'a World, connection: &Connection) -> Result<Store<'a>, NotRead> {
    let target = connection.target.as_deref().unwrap_or(&connection.name);
    if let Some(id) = &connection.resource {
        return by_id(world, id).ok_or_else(|| unread(world, id.as_str()));
    }
    let host = VaultHost::read(target).ok_or_else(|| unread(world, target))?;
    let kind = match host.domain() {
        domain if domain.contains("core.") => "microsoft.storage/storageaccounts",
        domain if domain.starts_with("search.") => "microsoft.search/searchservices",
        domain if domain.starts_with("documents.") => "microsoft.documentdb/databaseaccounts",
        _ => return Err(unread(world, target)),
    };
    let named =
        |resource: &&Dependent| resource.kind == kind && resource.name.eq_ignore_ascii_case(host.name());
    let found = world.dependents.values().find(named).map(Store::Resource);
    found.ok_or_else(|| unread(world, target))
}

/// Whether a store is under a customer's key; the keys that it names.
fn key_of(world: &World, store: &Store<'_>) -> (Option<bool>, Vec<KeyName>, FactRef) {
    match store {
        Store::Resource(resource) => {
            let cluster = resource.cluster.as_ref().and_then(|id| world.dependents.get(id));
            let through = cluster.unwrap_or(resource);
            (through.customer_key, through.keys.clone(), through.fact)
        }
        Store::Account(account) => match &account.encryption {
            Encryption::Customer(key) => (Some(true), key.name.iter().cloned().collect(), account.fact),
            Encryption::Service => (Some(false), Vec::new(), account.fact),
            Encryption::Unknown(_) => (None, Vec::new(), account.fact),
        },
    }
}

fn connected_stores(world: &World, account: &Account) -> Judged {
    let mine = chain::customer_key(account)?.name.as_ref();
    let (stores, fact) = stores(world, account)?;
    if stores.is_empty() {
        return Ok(Verdict::not_applicable(
            "the account is connected to no store",
            [account.fact, fact],
        ));
    }
    let (mut wrong, mut right, mut facts, mut unread) =
        (Vec::new(), Vec::new(), vec![account.fact, fact], None);
    for (name, store) in stores {
        let store = match store {
            Ok(store) => store,
            Err(not) => {
                unread = Some(not);
                continue;
            }
        };
        let (customer, keys, told) = key_of(world, &store);
        facts.push(told);
        match customer {
            Some(false) => wrong.push(format!("{name} is under the provider's key")),
            Some(true) => right.push(format!("{name} under {}", whose(world, mine, &keys))),
            None => {
                unread = Some(NotRead {
                    fact: Some(told),
                    ..NotRead::unasked(
                        format!("the answer does not show whose key {name} is under"),
                        format!("whose key {name} is under"),
                    )
                });
            }
        }
    }
    match unread {
        Some(not) if wrong.is_empty() => Err(not.into()),
        _ => Ok(Verdict::by(&wrong, right.join(", "), facts)),
    }
}

fn whose(world: &World, mine: Option<&KeyName>, keys: &[KeyName]) -> String {
    let Some(key) = keys.first() else {
        return "a customer's key that it does not name".to_owned();
    };
    let Some(mine) = mine else { return key.to_string() };
    if key.versionless() == mine.versionless() {
        return "the same key".to_owned();
    }
    if key.vault == mine.vault {
        return format!("another key of the same vault ({})", key.key);
    }
    let owner = |key: &KeyName| {
        world
            .vault_of(key)
            .known()
            .and_then(|vault| world.owner_of(&vault.id))
    };
    match (owner(key), owner(mine)) {
        (Some(theirs), Some(ours)) if theirs != ours => format!("a key of another vault, of {theirs}"),
        _ => format!("a key of another vault ({})", key.vault),
    }
}

/// The other resources that stand with an account: its stores, the sinks of its logs and its vault's, and what shares its key.
pub(super) fn touched(world: &World) -> BTreeSet<ArmId> {
    let mut ids = BTreeSet::new();
    for account in world.accounts.values() {
        let found = world
            .connections_of(&account.id)
            .known()
            .unwrap_or_default()
            .into_iter();
        ids.extend(found.filter_map(|connection| match resolve(world, connection) {
            Ok(Store::Resource(resource)) => Some(resource.id.clone()),
            Ok(Store::Account(_)) => None,
            Err(_) => connection.resource.clone().filter(|id| {
                id.kind()
                    .is_some_and(|kind| kind != "microsoft.cognitiveservices/accounts")
            }),
        }));
        ids.extend(account.own_storage.iter().filter_map(|id| ArmId::read(id)));
        ids.extend(sinks(world, &account.id));
    }
    for key in world.keys_in_use() {
        ids.extend(world.dependents_under(key).map(|resource| resource.id.clone()));
        if let Lookup::Known(vault, _) = world.vault_of(key) {
            ids.extend(sinks(world, &vault.id));
        }
    }
    let clusters: Vec<ArmId> = ids
        .iter()
        .filter_map(|id| world.dependents.get(id)?.cluster.clone())
        .collect();
    ids.extend(clusters);
    ids
}

pub(super) fn sinks(world: &World, id: &ArmId) -> Vec<ArmId> {
    let settings = world.settings_of(id).known().unwrap_or_default();
    settings
        .iter()
        .flat_map(|setting| setting.sinks.iter().cloned())
        .collect()
}

fn blast_radius(world: &World, key: &KeyName, _: Timestamp) -> Judged {
    let accounts = world.all_accounts()?;
    let dependents = world.listed(question::DEPENDENTS, "every resource that may use the key")?;
    let mut users: Vec<&ArmId> = world.accounts_under(key).map(|account| &account.id).collect();
    users.extend(world.dependents_under(key).map(|resource| &resource.id));
    let facts = [accounts, dependents];
    let names = |ids: &[&ArmId]| {
        let shown = ids
            .iter()
            .take(NAMED_PRINCIPALS)
            .map(|id| id.name().to_owned())
            .collect::<Vec<_>>();
        shown.join(", ")
            + if ids.len() > NAMED_PRINCIPALS {
                " and others"
            } else {
                ""
            }
    };
    let Some(design) = &world.design else {
        let reason = format!(
            "no approved design says what may use the key; {} resources do: {}",
            users.len(),
            names(&users)
        );
        return Ok(Verdict::not_applicable(reason, facts));
    };
    let declared = |id: &ArmId| {
        let itself = design.accounts.contains_key(id.as_str());
        itself
            || design
                .accounts
                .values()
                .any(|account| account.dependencies.contains_key(id.as_str()))
    };
    let unknown: Vec<&ArmId> = users.iter().copied().filter(|id| !declared(id)).collect();
    Ok(if unknown.is_empty() {
        Verdict::pass(
            format!(
                "all {} resources under the key are declared: {}",
                users.len(),
                names(&users)
            ),
            facts,
        )
    } else {
        Verdict::fail(
            format!("under the key, and not declared: {}", names(&unknown)),
            facts,
        )
    })
}
