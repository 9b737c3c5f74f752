//! N14 to N16: what has changed since it was approved, and what is on its way out.

use jiff::Timestamp;

use super::chain;
use super::cite::{FOUNDRY_KEYS, OPENAI_PAGE, OWN, SOFT_DELETE, iso, mcsb, nist};
use super::verdict::{Judged, Verdict};
use super::{Judge, Rule};
use crate::design::{ApprovedAccount, ApprovedIdentity};
use crate::finding::{Control, Severity};
use crate::question;
use crate::world::{Account, ArmId, Encryption, KeyName, Lookup, World};

pub(super) const RULES: &[Rule] = &[
    Rule {
        control: Control {
            id: "N14",
            question: "Is the identity that asks for the key the one that was approved, and still there?",
            severity: Severity::Critical,
            sources: &[OWN, OPENAI_PAGE],
            remedy: "az cognitiveservices account identity show --name <account> --resource-group <group>",
            conflicts: &[
                "Azure OpenAI encryption of data at rest (2025-11-26) takes a system-assigned identity only; the page for Foundry (2026-08-10) takes either.",
            ],
            mappings: &[
                nist("IA-9"),
                nist("CM-3"),
                iso("A.5.16"),
                iso("A.8.9"),
                mcsb("IM-3"),
            ],
        },
        judge: Judge::Account(|world, account, _| identity(world, account)),
    },
    Rule {
        control: Control {
            id: "N15",
            question: "Was the account taken back to the service's own key, now or for a time?",
            severity: Severity::Critical,
            sources: &[OWN, OPENAI_PAGE, FOUNDRY_KEYS],
            remedy: "az cognitiveservices account update --name <account> --resource-group <group> --encryption '{\"keySource\":\"Microsoft.KeyVault\",\"keyVaultProperties\":{\"keyVaultUri\":\"https://<vault-host>\",\"keyName\":\"<key>\"}}'",
            conflicts: &[
                "Back to the service's key: possible (Azure OpenAI encryption of data at rest, 2025-11-26), not possible for Foundry projects (2026-08-10).",
            ],
            mappings: &[
                nist("CM-3"),
                nist("SC-28"),
                nist("AU-6"),
                iso("A.8.32"),
                mcsb("DP-5"),
            ],
        },
        judge: Judge::Account(|world, account, _| source(world, account)),
    },
    Rule {
        control: Control {
            id: "N16",
            question: "Is a vault or key that the account names deleted, and when is it destroyed for good?",
            severity: Severity::Critical,
            sources: &[OWN, SOFT_DELETE],
            remedy: "az keyvault key recover --vault-name <vault> --name <key>",
            conflicts: &[
                "A recovered vault is not a restored one: its role assignments went when it was deleted (Key Vault soft delete).",
            ],
            mappings: &[
                nist("SC-12"),
                nist("CP-9"),
                iso("A.8.13"),
                iso("A.8.10"),
                mcsb("DP-8"),
            ],
        },
        judge: Judge::Account(|world, account, _| going(world, account)),
    },
];

fn approved<'a>(world: &'a World, account: &Account) -> Option<&'a ApprovedAccount> {
    world.design.as_ref()?.accounts.get(account.id.as_str())
}

fn identity(world: &World, account: &Account) -> Judged {
    let client = chain::customer_key(account)?.client.as_deref();
    let principal = chain::principal(account)?;
    if let Lookup::Absent(fact) = world.principal(principal) {
        return Ok(Verdict::fail(
            format!("the identity {principal} is not there any more"),
            [account.fact, fact],
        ));
    }
    let Some(approved) = approved(world, account) else {
        return Ok(Verdict::not_applicable(
            "no approved design names the identity, and no earlier state was given",
            [account.fact],
        ));
    };
    let used = account.identity.as_ref().and_then(|identity| {
        let named = |user: &&crate::world::UserIdentity| client.is_some() && user.client.as_deref() == client;
        identity.user.iter().find(named).and_then(|user| user.id.as_ref())
    });
    let wrong = match (&approved.identity, used) {
        // A system identity that was taken away and given anew is another principal, and the design does not name the one.
        (ApprovedIdentity::System, None) => {
            return Ok(Verdict::not_applicable(
                format!(
                    "the account asks as itself, as approved; whether {principal} is the principal of that time, no design says"
                ),
                [account.fact],
            ));
        }
        (ApprovedIdentity::System, Some(id)) => Some(format!(
            "the account asks as {id}, and its own identity was approved"
        )),
        (ApprovedIdentity::User(wanted), Some(id)) if ArmId::read(wanted).as_ref() == Some(id) => None,
        (ApprovedIdentity::User(wanted), Some(id)) => {
            Some(format!("the account asks as {id}, and {wanted} was approved"))
        }
        (ApprovedIdentity::User(wanted), None) => {
            Some(format!("the account asks as itself, and {wanted} was approved"))
        }
    };
    let wrong: Vec<String> = wrong.into_iter().collect();
    Ok(Verdict::by(
        &wrong,
        format!("{principal} is the identity that was approved"),
        [account.fact],
    ))
}

fn source(world: &World, account: &Account) -> Judged {
    let live = match &account.encryption {
        Encryption::Customer(_) => Some(chain::key_name(account)?.versionless()),
        Encryption::Service => None,
        Encryption::Unknown(_) => return chain::customer_key(account).map(|_| Verdict::pass("", [])),
    };
    if let Some(approved) = approved(world, account) {
        let wanted = KeyName::read(&approved.key.uri).map(|key| key.versionless());
        let wrong = match (&live, &wanted) {
            (None, _) => {
                vec!["the account is under the service's own key, and a customer's was approved".to_owned()]
            }
            (Some(live), Some(wanted)) if live != wanted => {
                vec![format!("the account is under {live}, and {wanted} was approved")]
            }
            _ => Vec::new(),
        };
        if !wrong.is_empty() {
            return Ok(Verdict::fail(wrong.join("; "), [account.fact]));
        }
    }
    let ((changes, hidden), fact) = match world.changes_of(&account.id) {
        Lookup::Known(told, fact) => (told, fact),
        Lookup::Absent(fact) => ((Vec::new(), None), fact),
        Lookup::NotRead(not) => return Err(not.into()),
    };
    let first = changes
        .iter()
        .filter(|change| change.customer)
        .map(|change| change.time)
        .min();
    let back = changes
        .iter()
        .filter(|change| !change.customer && first.is_some_and(|first| change.time > first))
        .max_by_key(|change| change.time);
    let facts = [account.fact, fact]
        .into_iter()
        .chain(back.map(|change| change.fact));
    if let (None, Some(not)) = (back, hidden) {
        return Err(not.into());
    }
    Ok(match (back, live) {
        (Some(change), live) => {
            let by = change.caller.as_deref().unwrap_or("somebody");
            let since = if live.is_some() {
                ", and has come back since"
            } else {
                ""
            };
            Verdict::fail(
                format!(
                    "{by} took the account back to the service's own key at {}{since}",
                    change.time
                ),
                facts,
            )
        }
        (None, Some(key)) => Verdict::pass(
            format!("the account is under {key}; the activity log knows of no way back"),
            facts,
        ),
        (None, None) => Verdict::not_applicable(
            "the account is under the service's own key, and the activity log knows of no other",
            facts,
        ),
    })
}

fn going(world: &World, account: &Account) -> Judged {
    let name = chain::key_name(account)?;
    let when = |time: Option<Timestamp>| {
        time.map_or_else(
            || "at a time that is not shown".to_owned(),
            |time| format!("at {time}"),
        )
    };
    if let Lookup::Absent(fact) = world.vault_of(name) {
        let purged = world
            .deleted_vault(name.vault.name())
            .and_then(|deleted| deleted.purged_at);
        let reason = format!(
            "the vault {} is deleted, and destroyed {}",
            name.vault,
            when(purged)
        );
        return Ok(Verdict::fail(reason, [account.fact, fact]));
    }
    if let Some((purged, fact)) = world.key(name).and_then(|key| key.deleted) {
        let reason = format!(
            "the key {} is deleted, and destroyed {}",
            name.versionless(),
            when(purged)
        );
        return Ok(Verdict::fail(reason, [account.fact, fact]));
    }
    let vaults = world.listed(question::DELETED_VAULTS, "deleted vaults")?;
    let keys = world.deleted_keys_listed(name)?;
    Ok(Verdict::pass(
        "neither the vault nor the key is deleted",
        [account.fact, vaults, keys],
    ))
}
