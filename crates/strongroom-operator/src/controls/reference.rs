//! N01 to N07: the reference, followed from the account to the key, the grant and the vault.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::chain::{self, allowed, manage};
use super::cite::{
    ACCESS_DEFAULT, BUILT_IN_ROLES, FOUNDRY_KEYS, KEY_ATTRIBUTES, OPENAI_PAGE, OWN, ROTATION, SOFT_DELETE,
    iso, mcsb, nist,
};
use super::verdict::{Judged, Verdict, shown};
use super::{Judge, Rule};
use crate::design::VersionPolicy;
use crate::finding::{Control, Severity};
use crate::limits::NAMED_PRINCIPALS;
use crate::world::{Account, Action, ArmId, FactRef, KeyName, KeyPermission, NotRead, Vault, World};

pub(super) const RULES: &[Rule] = &[
    Rule {
        control: Control {
            id: "N01",
            question: "Is the key that the account names there, and is the version it comes down to enabled, in its time, and good for wrap and unwrap?",
            severity: Severity::Critical,
            sources: &[OWN, KEY_ATTRIBUTES],
            remedy: "az keyvault key set-attributes --id <key-id> --enabled true",
            conflicts: &[
                "Outside of its time a key still unwraps (Key Vault key attributes, 2026-05-21): expiry is no revocation, but it keeps new data from being wrapped.",
            ],
            mappings: &[
                nist("SC-12"),
                nist("SC-28"),
                iso("A.8.24"),
                mcsb("DP-5"),
                mcsb("DP-6"),
            ],
        },
        judge: Judge::Account(chain::usable),
    },
    Rule {
        control: Control {
            id: "N02",
            question: "May the account's identity really get the key, wrap and unwrap with it?",
            severity: Severity::Critical,
            sources: &[OWN, FOUNDRY_KEYS, BUILT_IN_ROLES],
            remedy: "az role assignment create --assignee-object-id <principal> --assignee-principal-type ServicePrincipal --role 'Key Vault Crypto Service Encryption User' --scope <key-scope>",
            conflicts: &[
                "Azure OpenAI encryption of data at rest (2025-11-26) asks for access policies and a system-assigned identity; the page for Foundry (2026-08-10) recommends roles and allows a user-assigned one.",
            ],
            mappings: &[
                nist("AC-3"),
                nist("SC-12"),
                iso("A.5.15"),
                iso("A.8.24"),
                mcsb("DP-6"),
                mcsb("PA-7"),
            ],
        },
        judge: Judge::Account(|world, account, _| chain::granted(world, account)),
    },
    Rule {
        control: Control {
            id: "N03",
            question: "Does the account's identity hold no more than it needs on the key, and who else can turn the key off, destroy it, or change who may use it?",
            severity: Severity::High,
            sources: &[OWN, BUILT_IN_ROLES],
            remedy: "az role assignment delete --assignee <principal> --scope <key-scope> --role 'Key Vault Crypto User'",
            conflicts: &[
                "The page for Foundry (2026-08-10) tells to grant Key Vault Crypto User, which also lets its holder update the key: an identity that has it can turn on again what the customer turned off. Key Vault Crypto Service Encryption User is exactly what is needed.",
            ],
            mappings: &[nist("AC-6"), nist("SC-12"), iso("A.8.2"), mcsb("PA-7")],
        },
        judge: Judge::Account(|world, account, _| least_privilege(world, account)),
    },
    Rule {
        control: Control {
            id: "N04",
            question: "Has the vault that holds this account's key purge protection and soft delete, and does the key itself say the same?",
            severity: Severity::Critical,
            sources: &[OWN, SOFT_DELETE, OPENAI_PAGE, FOUNDRY_KEYS],
            remedy: "az keyvault update --name <vault> --enable-purge-protection true",
            conflicts: &[],
            mappings: &[
                nist("SC-12"),
                nist("CP-9"),
                iso("A.8.13"),
                iso("A.8.24"),
                mcsb("DP-8"),
            ],
        },
        judge: Judge::Account(|world, account, _| chain::recoverable(world, account)),
    },
    Rule {
        control: Control {
            id: "N05",
            question: "Are account and vault in one region and tenant, and does the vault's firewall let the service through?",
            severity: Severity::High,
            sources: &[OWN, OPENAI_PAGE, FOUNDRY_KEYS],
            remedy: "az keyvault update --name <vault> --bypass AzureServices",
            conflicts: &[
                "'Public access disabled' (CIS 8.3.7) against 'trusted services must pass' (Azure OpenAI encryption of data at rest, 2025-11-26): with public access off the bypass must still be on.",
            ],
            mappings: &[nist("SC-7"), iso("A.8.20"), mcsb("NS-2"), mcsb("DP-8")],
        },
        judge: Judge::Account(|world, account, _| chain::reached(world, account)),
    },
    Rule {
        control: Control {
            id: "N06",
            question: "Is the key of a type and size that the service takes?",
            severity: Severity::High,
            sources: &[OWN, OPENAI_PAGE, FOUNDRY_KEYS],
            remedy: "az keyvault key create --vault-name <vault> --name <key> --kty RSA --size 2048",
            conflicts: &[
                "Azure OpenAI encryption of data at rest (2025-11-26) allows RSA with 2048 bits only; the page for Foundry (2026-08-10) says at least 2048.",
            ],
            mappings: &[nist("SC-12"), nist("SC-13"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Account(|world, account, _| kind_and_size(world, account)),
    },
    Rule {
        control: Control {
            id: "N07",
            question: "Does the account follow the latest version of its key, or how far does the version that it is pinned to lag behind?",
            severity: Severity::Medium,
            sources: &[OWN, FOUNDRY_KEYS, ROTATION, ACCESS_DEFAULT],
            remedy: "az cognitiveservices account update --name <account> --resource-group <group> --encryption '{\"keySource\":\"Microsoft.KeyVault\",\"keyVaultProperties\":{\"keyVaultUri\":\"https://<vault-host>\",\"keyName\":\"<key>\",\"keyVersion\":\"\"}}'",
            conflicts: &[
                "Azure OpenAI encryption of data at rest (2025-11-26) has versions set by hand; the page for Foundry (2026-08-10) follows the latest when none is named.",
            ],
            mappings: &[nist("SC-12"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Account(|world, account, _| follows(world, account)),
    },
];

const fn key_action(action: &'static str, policy: &'static str) -> KeyPermission {
    KeyPermission { action, policy }
}

/// What the identity of a service needs none of.
const EXCESS: [KeyPermission; 10] = [
    key_action("Microsoft.KeyVault/vaults/keys/update/action", "update"),
    key_action("Microsoft.KeyVault/vaults/keys/delete", "delete"),
    key_action("Microsoft.KeyVault/vaults/keys/purge/action", "purge"),
    key_action("Microsoft.KeyVault/vaults/keys/create/action", "create"),
    key_action("Microsoft.KeyVault/vaults/keys/import/action", "import"),
    key_action("Microsoft.KeyVault/vaults/keys/backup/action", "backup"),
    key_action("Microsoft.KeyVault/vaults/keys/restore/action", "restore"),
    key_action("Microsoft.KeyVault/vaults/keys/rotate/action", "rotate"),
    key_action("Microsoft.KeyVault/vaults/keys/decrypt/action", "decrypt"),
    key_action("Microsoft.KeyVault/vaults/keys/sign/action", "sign"),
];

/// What nobody who runs a service needs of a vault.
const MANAGING: [&str; 3] = [
    "Microsoft.KeyVault/vaults/write",
    "Microsoft.KeyVault/vaults/delete",
    "Microsoft.Authorization/roleAssignments/write",
];

/// Of these, what can take the key away from the data, or give it to somebody else.
const DESTROYING: [KeyPermission; 3] = [EXCESS[0], EXCESS[1], EXCESS[2]];

fn least_privilege(world: &World, account: &Account) -> Judged {
    let name = chain::key_name(account)?;
    let principal = chain::principal(account)?;
    let vault = chain::vault(world, name)?;
    let (mut held, mut facts, mut unsure) = (Vec::new(), vec![account.fact, vault.fact], None);
    let mut note = |what: String, grant: Result<Option<(String, Vec<FactRef>)>, NotRead>| match grant {
        Ok(None) => {}
        Ok(Some((by, told))) => {
            held.push((by, what));
            facts.extend(told);
        }
        Err(not) => unsure = Some(not),
    };
    for excess in EXCESS {
        note(
            excess.policy.to_owned(),
            allowed(world.may_with_key(principal, excess, name, vault)),
        );
    }
    for action in MANAGING {
        note(
            action.to_owned(),
            allowed(world.may(principal, manage(action), &vault.id)),
        );
    }
    if !held.is_empty() {
        let mut by: Vec<&str> = held.iter().map(|(by, _)| by.as_str()).collect();
        by.sort_unstable();
        by.dedup();
        let what: Vec<&str> = held.iter().map(|(_, what)| what.as_str()).collect();
        let again = if what.contains(&"update") {
            ": it can turn on again what was turned off"
        } else {
            ""
        };
        let reason = format!(
            "{principal} also holds {} by {}{again}",
            what.join(", "),
            by.join(", ")
        );
        return Ok(Verdict::fail(reason, facts));
    }
    if let Some(not) = unsure {
        return Err(not.into());
    }
    let others = destroyers(world, name, vault, principal)?;
    let named = others
        .iter()
        .take(NAMED_PRINCIPALS)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    let more = if others.len() > NAMED_PRINCIPALS {
        " and others"
    } else {
        ""
    };
    let reason = match others.len() {
        0 => format!(
            "{principal} holds what it needs and no more; nobody else was found who can disable or destroy the key"
        ),
        count => format!(
            "{principal} holds what it needs and no more; {count} others can disable, destroy or give away the key: {named}{more}"
        ),
    };
    Ok(Verdict::pass(reason, facts))
}

/// Who else can take the key away from the data, or give it to somebody else; by object id.
pub(super) fn destroyers(
    world: &World,
    key: &KeyName,
    vault: &Vault,
    but: &str,
) -> Result<Vec<String>, NotRead> {
    let scope = vault.id.child("keys", &key.key);
    let (assignments, _) = world.assignments_at(&scope)?;
    let roles_decide = vault.roles_decide == Some(true);
    let by_role = assignments.into_iter().filter(|assignment| {
        let Some(role) = world.roles.role(&assignment.role) else {
            return true;
        };
        let data = roles_decide
            && DESTROYING
                .iter()
                .any(|permission| role.grants(Action::Data(permission.action)));
        data || MANAGING.iter().any(|action| role.grants(manage(action)))
    });
    let policies = vault
        .policies
        .iter()
        .filter(|policy| !roles_decide && DESTROYING.iter().any(|held| policy.allows(held.policy)));
    let all = by_role
        .map(|assignment| assignment.principal.clone())
        .chain(policies.map(|policy| policy.principal.clone()));
    let mut all: Vec<String> = all.filter(|principal| principal != but).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

/// Who may do something to a resource by a role, groups as such.
pub(super) fn holders(
    world: &World,
    target: &ArmId,
    action: Action<'_>,
) -> Result<BTreeSet<String>, NotRead> {
    let (assignments, _) = world.assignments_at(target)?;
    let holding = assignments.into_iter().filter(|assignment| {
        world
            .roles
            .role(&assignment.role)
            .is_some_and(|role| role.grants(action))
    });
    Ok(holding.map(|assignment| assignment.principal.clone()).collect())
}

fn kind_and_size(world: &World, account: &Account) -> Judged {
    let name = chain::key_name(account)?;
    let (number, version, fact) = chain::version(world, name)?;
    let kind = shown(version.kind.as_deref(), fact, "the key's type")?;
    let facts = [account.fact, fact];
    if !matches!(kind, "RSA" | "RSA-HSM") {
        return Ok(Verdict::fail(
            format!("version {number} is of type {kind}: the service takes RSA"),
            facts,
        ));
    }
    let bits = shown(version.bits, fact, "the key's size")?;
    let reason = format!("version {number} is {kind} with {bits} bits");
    Ok(match bits {
        ..2048 => Verdict::fail(format!("{reason}: the service takes 2048 and more"), facts),
        2048 => Verdict::pass(reason, facts),
        _ if account.kind.eq_ignore_ascii_case("OpenAI") => Verdict::conflict(
            &[
                "Azure OpenAI encryption of data at rest, 2025-11-26: only RSA and RSA-HSM keys of size 2048",
                "Customer-managed keys for Microsoft Foundry, 2026-08-10: RSA, 2048-bit minimum",
            ],
            format!("{reason}: which page holds for kind OpenAI is not stated"),
            facts,
        ),
        _ => Verdict::pass(reason, facts),
    })
}

fn follows(world: &World, account: &Account) -> Judged {
    let name = chain::key_name(account)?;
    let approved = world
        .design
        .as_ref()
        .and_then(|design| design.accounts.get(account.id.as_str()));
    let policy = approved.map(|approved| &approved.key.version);
    let Some(pinned) = &name.version else {
        let right = "no version is named: the account follows the latest";
        return Ok(match policy {
            Some(VersionPolicy::Pinned | VersionPolicy::Exactly(_)) => Verdict::fail(
                "no version is named, and the design asks for a pinned one",
                [account.fact],
            ),
            Some(VersionPolicy::Latest) | None => Verdict::pass(right, [account.fact]),
        });
    };
    match policy {
        Some(VersionPolicy::Latest) => {
            return Ok(Verdict::fail(
                format!("version {pinned} is named, and the design asks for the latest"),
                [account.fact],
            ));
        }
        Some(VersionPolicy::Exactly(version)) if version.eq_ignore_ascii_case(pinned) => {
            return Ok(Verdict::pass(
                format!("version {pinned} is the one that was approved"),
                [account.fact],
            ));
        }
        Some(VersionPolicy::Exactly(version)) => {
            return Ok(Verdict::fail(
                format!("version {pinned} is named, and {version} was approved"),
                [account.fact],
            ));
        }
        Some(VersionPolicy::Pinned) | None => {}
    }
    lag(world, account, name, pinned)
}

fn lag(world: &World, account: &Account, name: &KeyName, pinned: &str) -> Judged {
    let listed = world.versions_listed(name)?;
    let (_, mine, fact) = chain::version(world, name)?;
    let (number, newest, newest_fact) = chain::version(world, &name.versionless())?;
    let facts = [account.fact, listed, fact, newest_fact];
    if number == pinned {
        return Ok(Verdict::pass(
            format!("version {pinned} is named, and is the newest: it lags by 0 hours"),
            facts,
        ));
    }
    let hours =
        |from: Option<Timestamp>, to: Option<Timestamp>| to?.duration_since(from?).as_hours().checked_abs();
    let behind = hours(mine.created, newest.created);
    let behind = behind.map_or_else(|| "an unknown time".to_owned(), |hours| format!("{hours} hours"));
    Ok(Verdict::fail(
        format!("version {pinned} is named; {number} is newer by {behind}"),
        facts,
    ))
}
