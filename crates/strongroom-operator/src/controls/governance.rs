//! N18 to N22: who watches, who answers for it, and what was not seen.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::chain::{self, manage};
use super::cite::{BUILT_IN_ROLES, OWN, VAULT_LOGGING, iso, mcsb, nist};
use super::reach::{self, Store};
use super::reference;
use super::verdict::{Judged, Verdict, need};
use super::{Judge, Rule};
use crate::finding::{Control, Severity};
use crate::limits::NAMED_PRINCIPALS;
use crate::world::{Account, Action, ArmId, NotRead, Vault, World};

pub(super) const RULES: &[Rule] = &[
    Rule {
        control: Control {
            id: "N18",
            question: "Does an enabled alert rule with somebody to call stand for each operation that takes the key away?",
            severity: Severity::High,
            sources: &[OWN, VAULT_LOGGING],
            remedy: "az monitor activity-log alert create --name strongroom-<name> --resource-group <group> --scope <subscription-id> --condition category=Administrative and operationName=Microsoft.KeyVault/vaults/delete --action-group <action-group>",
            conflicts: &[
                "Disabling or deleting a key is a data-plane operation: no Event Grid event and no activity log tells of it, only the vault's AuditEvent log (KeyUpdate, KeyDelete).",
            ],
            mappings: &[
                nist("SI-4"),
                nist("AU-6"),
                nist("IR-4"),
                iso("A.8.16"),
                mcsb("LT-1"),
                mcsb("LT-5"),
            ],
        },
        judge: Judge::Subscription(alerts),
    },
    Rule {
        control: Control {
            id: "N19",
            question: "Has everything from account to key and stores an owner, and can nobody both run the account and purge the key?",
            severity: Severity::Medium,
            sources: &[OWN, BUILT_IN_ROLES],
            remedy: "az resource tag --ids <account-id> --is-incremental --tags owner=<owner>",
            conflicts: &[],
            mappings: &[
                nist("AC-5"),
                nist("CM-8"),
                iso("A.5.2"),
                iso("A.5.3"),
                iso("A.5.9"),
                mcsb("PA-1"),
                mcsb("AM-1"),
            ],
        },
        judge: Judge::Account(|world, account, _| owners(world, account)),
    },
    Rule {
        control: Control {
            id: "N20",
            question: "Does a lock keep the vault from being deleted, and who can take the lock away?",
            severity: Severity::Medium,
            sources: &[OWN],
            remedy: "az lock create --name strongroom-keep --lock-type CanNotDelete --resource <vault-id>",
            conflicts: &[
                "Locks hold on the management plane: they keep no key from being deleted or disabled on the data plane.",
            ],
            mappings: &[nist("CM-5"), nist("CP-9"), iso("A.8.32"), mcsb("DP-8")],
        },
        judge: Judge::Vault(|world, vault, _| locked(world, vault)),
    },
    Rule {
        control: Control {
            id: "N21",
            question: "Was the loss of the key rehearsed lately, and was the data back in the time that was agreed?",
            severity: Severity::Medium,
            sources: &[OWN],
            remedy: "strongroom design init",
            conflicts: &[
                "Azure Chaos Studio's Key Vault fault needs trusted services kept out of the firewall; customer-managed keys need them let in: it cannot rehearse this.",
            ],
            mappings: &[
                nist("CP-4"),
                nist("IR-3"),
                iso("A.5.30"),
                mcsb("IR-2"),
                mcsb("BR-4"),
            ],
        },
        judge: Judge::Account(|world, account, _| drilled(world, account)),
    },
    Rule {
        control: Control {
            id: "N22",
            question: "Was everything that was asked also answered, and what does hide what was not?",
            severity: Severity::High,
            sources: &[OWN],
            remedy: "strongroom whoami",
            conflicts: &[
                "Azure Policy counts what it could not evaluate as compliant in its percentage; here it is an answer of its own.",
            ],
            mappings: &[nist("CA-7"), nist("CA-2"), iso("A.5.36"), mcsb("PV-1")],
        },
        judge: Judge::Run(unanswered),
    },
];

/// Operations of Resource Manager that take a key away, or the sight of it.
const OPERATIONS: [&str; 5] = [
    "microsoft.keyvault/vaults/delete",
    "microsoft.keyvault/locations/deletedvaults/purge/action",
    "microsoft.authorization/roleassignments/delete",
    "microsoft.authorization/locks/delete",
    "microsoft.insights/diagnosticsettings/delete",
];

/// Operations of the vault that do, by their names in its log.
const LOGGED: [&str; 2] = ["keyupdate", "keydelete"];

fn alerts(world: &World, subscription: &ArmId, _: Timestamp) -> Judged {
    let (rules, fact) = need(world.alerts(), || "there are no alert rules".to_owned())?;
    let heard = |operation: &str, of_logs: bool| {
        rules.iter().any(|(rule, receivers)| {
            let here = rule.scopes.is_empty()
                || rule
                    .scopes
                    .iter()
                    .any(|scope| scope.covers(subscription) || subscription.covers(scope));
            let named = rule.watches.iter().any(|watch| {
                if of_logs {
                    watch.contains(operation)
                } else {
                    watch == operation
                }
            });
            rule.enabled && rule.of_logs == of_logs && *receivers > 0 && here && named
        })
    };
    let of_manager = OPERATIONS.iter().filter(|operation| !heard(operation, false));
    let of_vault = LOGGED.iter().filter(|operation| !heard(operation, true));
    let missing: Vec<&str> = of_manager.chain(of_vault).copied().collect();
    let facts = [fact].into_iter().chain(rules.iter().map(|(rule, _)| rule.fact));
    Ok(if missing.is_empty() {
        let count = OPERATIONS.len() + LOGGED.len();
        Verdict::pass(
            format!(
                "each of {count} operations has an enabled rule that calls somebody; whether they answer is for a test to tell"
            ),
            facts,
        )
    } else {
        Verdict::fail(
            format!(
                "no enabled rule that calls somebody stands for {}",
                missing.join(", ")
            ),
            facts,
        )
    })
}

fn owners(world: &World, account: &Account) -> Judged {
    let name = chain::key_name(account)?;
    let vault = chain::vault(world, name)?;
    let (mut wrong, mut facts, mut unread) = (Vec::new(), vec![account.fact, vault.fact], None);
    for id in [&account.id, &vault.id] {
        if world.owner_of(id).is_none() {
            wrong.push(format!("{} has no owner", id.name()));
        }
    }
    let approved = world
        .design
        .as_ref()
        .and_then(|design| design.accounts.get(account.id.as_str()));
    let tagged = world.key(name).and_then(|key| key.owner.clone());
    if tagged.is_none() && approved.is_none_or(|approved| approved.key.owner.is_none()) {
        wrong.push(format!("the key {} has no owner", name.key));
    }
    match reach::stores(world, account) {
        Ok((stores, fact)) => {
            facts.push(fact);
            for (name, store) in stores {
                match store {
                    Ok(Store::Resource(resource)) if world.owner_of(&resource.id).is_none() => {
                        wrong.push(format!("{name} has no owner"));
                    }
                    Ok(_) => {}
                    Err(not) => unread = Some(not),
                }
            }
        }
        Err(not) => unread = Some(not),
    }
    let both = match both_hands(world, account, vault) {
        Ok(both) => both,
        Err(not) => {
            unread = Some(not);
            Vec::new()
        }
    };
    if !both.is_empty() {
        let named = both
            .iter()
            .take(NAMED_PRINCIPALS)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        wrong.push(format!(
            "{} can both run the account and purge the key: {named}",
            both.len()
        ));
    }
    match unread {
        Some(not) if wrong.is_empty() => Err(not.into()),
        _ => Ok(Verdict::by(
            &wrong,
            "account, vault, key and stores have owners, and nobody holds both ends",
            facts,
        )),
    }
}

/// Who can both change the account and purge its key; members of groups one by one, where they are known.
fn both_hands(world: &World, account: &Account, vault: &Vault) -> Result<Vec<String>, NotRead> {
    let holders = |target: &ArmId, actions: &[Action<'_>]| -> Result<BTreeSet<String>, NotRead> {
        let (assignments, _) = world.assignments_at(target)?;
        let holding = assignments.into_iter().filter(|assignment| {
            let role = world.roles.role(&assignment.role);
            role.is_some_and(|role| actions.iter().any(|action| role.grants(*action)))
        });
        Ok(holding
            .flat_map(|assignment| world.roles.everybody(&assignment.principal))
            .collect())
    };
    let running = holders(
        &account.id,
        &[manage("Microsoft.CognitiveServices/accounts/write")],
    )?;
    let subscription = format!("/subscriptions/{}", vault.id.subscription().unwrap_or_default());
    let above = ArmId::read(&subscription).unwrap_or_else(|| vault.id.clone());
    let mut purging = holders(
        &above,
        &[manage("Microsoft.KeyVault/locations/deletedVaults/purge/action")],
    )?;
    if vault.roles_decide == Some(true) {
        purging.extend(holders(
            &vault.id,
            &[Action::Data("Microsoft.KeyVault/vaults/keys/purge/action")],
        )?);
    }
    let policies = vault
        .policies
        .iter()
        .filter(|policy| vault.roles_decide == Some(false) && policy.allows("purge"));
    purging.extend(policies.flat_map(|policy| world.roles.everybody(&policy.principal)));
    Ok(running.intersection(&purging).cloned().collect())
}

fn locked(world: &World, vault: &Vault) -> Judged {
    let (locks, fact) = need(world.locks_at(&vault.id), || "there are no locks".to_owned())?;
    let facts = [vault.fact, fact]
        .into_iter()
        .chain(locks.iter().map(|lock| lock.fact));
    let Some(lock) = locks.iter().find(|lock| lock.keeps) else {
        return Ok(Verdict::fail("no lock keeps the vault from being deleted", facts));
    };
    let who = reference::holders(world, &vault.id, manage("Microsoft.Authorization/locks/delete"));
    let who = who.map_or_else(
        |_| "who can take it away was not read".to_owned(),
        |who| format!("{} principals can take it away", who.len()),
    );
    Ok(Verdict::pass(
        format!("the lock {} at {} keeps it; {who}", lock.id.name(), lock.scope),
        facts,
    ))
}

fn drilled(world: &World, account: &Account) -> Judged {
    chain::customer_key(account)?;
    let approved = world
        .design
        .as_ref()
        .and_then(|design| design.accounts.get(account.id.as_str()));
    match approved.and_then(|approved| approved.drill.as_ref()) {
        None => Ok(Verdict::not_applicable(
            "no approved design sets a target for drills",
            [account.fact],
        )),
        Some(_) => Err(NotRead::unasked(
            "the journal of drills",
            "when the loss of the key was rehearsed last: no journal was given",
        )
        .into()),
    }
}

fn unanswered(world: &World) -> Vec<(String, Judged)> {
    let mut open: BTreeMap<String, Vec<NotRead>> = BTreeMap::new();
    for (key, not) in world.gaps() {
        let about = key.split_once(' ').map_or("/", |(_, about)| about);
        open.entry(about.to_owned()).or_default().push(not);
    }
    if open.is_empty() {
        let (facts, questions) = world.extent();
        let reason = format!("all {questions} questions were answered, by {facts} facts");
        return vec![("/".to_owned(), Ok(Verdict::pass(reason, [])))];
    }
    let told = |mut all: Vec<NotRead>| {
        let hidden: Vec<String> = all.iter().map(|not| not.hides.clone()).collect();
        let first = all.swap_remove(0);
        NotRead {
            hides: hidden.join("; "),
            ..first
        }
    };
    open.into_iter()
        .map(|(about, all)| (about, Err(told(all).into())))
        .collect()
}
