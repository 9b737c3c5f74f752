//! N08, N09, N17: what the vault's own log proves.

use jiff::{SignedDuration, Timestamp};

use super::chain;
use super::cite::{OWN, ROTATION, VAULT_LOGGING, iso, mcsb, nist};
use super::verdict::{Judged, Verdict, need, shown};
use super::{Judge, Rule};
use crate::finding::{Control, Severity};
use crate::limits::{PROOF_HOURS, RETENTION_DAYS};
use crate::world::{Account, FactRef, KeyName, KeyUse, Lookup, NotRead, Vault, World};

pub(super) const RULES: &[Rule] = &[
    Rule {
        control: Control {
            id: "N08",
            question: "Did the account's identity unwrap with this very version of the key lately, as the vault's own log tells?",
            severity: Severity::High,
            sources: &[OWN, VAULT_LOGGING],
            remedy: "az monitor diagnostic-settings create --name strongroom-audit --resource <vault-id> --logs '[{\"category\":\"AuditEvent\",\"enabled\":true}]' --workspace <workspace>",
            conflicts: &[
                "Wrapping needs no vault: whoever has the public half can wrap by itself, so only an unwrap proves use.",
            ],
            mappings: &[
                nist("AU-10"),
                nist("SC-12"),
                iso("A.8.15"),
                iso("A.8.24"),
                mcsb("LT-3"),
                mcsb("DP-6"),
            ],
        },
        judge: Judge::Account(used_lately),
    },
    Rule {
        control: Control {
            id: "N09",
            question: "Before an old version is disabled: is it still being unwrapped by anybody?",
            severity: Severity::Critical,
            sources: &[OWN, ROTATION],
            remedy: "az keyvault key set-attributes --id <key-id>/<old-version> --enabled true",
            conflicts: &[
                "Rotation does not re-encrypt (Configure key rotation, 2025-05-08): guidance to disable old versions after a rotation takes away the data that still hangs on them.",
            ],
            mappings: &[nist("SC-12"), nist("CP-9"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(old_versions),
    },
    Rule {
        control: Control {
            id: "N17",
            question: "Does the vault's audit log arrive, is it kept long enough, and is it outside of the key that it tells of?",
            severity: Severity::High,
            sources: &[OWN, VAULT_LOGGING],
            remedy: "az monitor diagnostic-settings create --name strongroom-audit --resource <vault-id> --logs '[{\"categoryGroup\":\"audit\",\"enabled\":true}]' --workspace <workspace>",
            conflicts: &[
                "A sink under the same key as the data goes blind at the moment of the revocation that it should tell of.",
            ],
            mappings: &[
                nist("AU-9"),
                nist("AU-11"),
                nist("AU-4"),
                iso("A.8.15"),
                mcsb("LT-3"),
                mcsb("LT-6"),
            ],
        },
        judge: Judge::Vault(sink_works),
    },
];

fn since(now: Timestamp) -> Timestamp {
    now.checked_sub(SignedDuration::from_hours(PROOF_HOURS))
        .unwrap_or(Timestamp::MIN)
}

/// The log of a vault, if it says anything of the last hours: a log that has stopped proves nothing either way.
fn fresh_log<'a>(
    world: &'a World,
    vault: &Vault,
    now: Timestamp,
) -> Result<(&'a KeyUse, FactRef), super::verdict::Stop> {
    let (log, fact) = need(world.audit_of(&vault.id), || {
        "the vault has no audit log".to_owned()
    })?;
    match log.newest {
        Some(newest) if newest >= since(now) => Ok((log, fact)),
        newest => {
            let last = newest.map_or_else(
                || "none at all".to_owned(),
                |time| format!("the last one at {time}"),
            );
            let hides = format!("the last {PROOF_HOURS} hours: the log has no record of them, {last}");
            Err(NotRead {
                fact: Some(fact),
                ..NotRead::unasked(format!("the AuditEvent log of {}", vault.id), hides)
            }
            .into())
        }
    }
}

/// N08.
pub(super) fn used_lately(world: &World, account: &Account, now: Timestamp) -> Judged {
    let name = chain::key_name(account)?;
    let principal = chain::principal(account)?;
    let vault = chain::vault(world, name)?;
    let (log, fact) = fresh_log(world, vault, now)?;
    let (number, _, version_fact) = chain::version(world, name)?;
    let key = KeyName {
        version: Some(number.to_owned()),
        ..name.clone()
    };
    let used = log.uses.get(&(key, principal.to_owned()));
    let facts = [account.fact, vault.fact, fact, version_fact];
    let Some((time, told)) = used.and_then(|used| used.unwrapped) else {
        let refused = used.and_then(|used| used.refused);
        let what = refused.map_or_else(String::new, |(time, _)| format!("; it was refused at {time}"));
        return Ok(Verdict::fail(
            format!("the log knows of no unwrap with version {number} by {principal}{what}"),
            facts,
        ));
    };
    let lately = time >= since(now);
    let reason = format!("{principal} last unwrapped with version {number} at {time}");
    let facts = facts.into_iter().chain([told]);
    Ok(if lately {
        Verdict::pass(reason, facts)
    } else {
        Verdict::fail(format!("{reason}, more than {PROOF_HOURS} hours ago"), facts)
    })
}

/// N09.
fn old_versions(world: &World, name: &KeyName, now: Timestamp) -> Judged {
    let listed = world.versions_listed(name)?;
    let (newest, _, fact) = chain::version(world, &name.versionless())?;
    let old: Vec<(&String, bool)> = {
        let versions = world.key(name).into_iter().flat_map(|key| &key.versions);
        versions
            .filter(|(number, _)| *number != newest)
            .map(|(number, version)| (number, version.enabled == Some(false)))
            .collect()
    };
    if old.is_empty() {
        return Ok(Verdict::not_applicable("the key has one version", [listed, fact]));
    }
    let vault = chain::vault(world, name)?;
    let (log, told) = fresh_log(world, vault, now)?;
    let (mut wrong, mut facts) = (Vec::new(), vec![listed, fact, told]);
    for (number, disabled) in &old {
        let of = log.uses.iter().filter(|((key, _), _)| {
            key.versionless() == name.versionless() && key.version.as_ref() == Some(number)
        });
        for ((_, principal), used) in of {
            if let Some((time, fact)) = used.unwrapped.filter(|(time, _)| *time >= since(now)) {
                wrong.push(format!(
                    "version {number} was still unwrapped by {principal} at {time}: do not disable it"
                ));
                facts.push(fact);
            }
            if let Some((time, fact)) = used.refused.filter(|(time, _)| *disabled && *time >= since(now)) {
                wrong.push(format!(
                    "version {number} is disabled, and {principal} was refused with it at {time}"
                ));
                facts.push(fact);
            }
        }
    }
    let right = format!(
        "none of {} old versions was unwrapped in the last {PROOF_HOURS} hours",
        old.len()
    );
    Ok(Verdict::by(&wrong, right, facts))
}

/// N17.
fn sink_works(world: &World, vault: &Vault, now: Timestamp) -> Judged {
    let (settings, fact) = need(world.settings_of(&vault.id), || {
        "the vault has no diagnostic settings".to_owned()
    })?;
    let delivering: Vec<_> = settings
        .iter()
        .filter(|setting| setting.delivers_category("AuditEvent", &["audit", "allLogs"]))
        .collect();
    if delivering.is_empty() {
        return Ok(Verdict::fail(
            "no diagnostic setting delivers the vault's AuditEvent log",
            [fact],
        ));
    }
    let wanted = world.design.as_ref().and_then(|design| {
        design
            .accounts
            .values()
            .find_map(|account| account.retention.audit_log_days)
    });
    let wanted = wanted.unwrap_or(RETENTION_DAYS);
    let keys: Vec<&KeyName> = vault
        .host
        .iter()
        .flat_map(|host| world.keys_in_use_at(host))
        .collect();
    let (mut wrong, mut facts) = (Vec::new(), vec![fact, vault.fact]);
    for sink in delivering.iter().flat_map(|setting| &setting.sinks) {
        let Some(resource) = world.dependents.get(sink) else {
            continue;
        };
        facts.push(resource.fact);
        if resource.keys.iter().any(|key| keys.contains(&&key.versionless())) {
            wrong.push(format!(
                "the sink {} is under the very key that the log tells of",
                resource.name
            ));
        }
        if let Some(days) = resource.retention_days.filter(|days| *days < wanted) {
            wrong.push(format!(
                "the sink {} keeps logs for {days} days, not {wanted}",
                resource.name
            ));
        }
    }
    if !wrong.is_empty() {
        return Ok(Verdict::fail(wrong.join("; "), facts));
    }
    let (log, told) = match world.audit_of(&vault.id) {
        Lookup::Known(log, told) => (log, told),
        Lookup::Absent(_) => return shown(None, vault.fact, "the log itself"),
        Lookup::NotRead(not) => return Err(not.into()),
    };
    facts.push(told);
    Ok(match log.newest {
        Some(newest) if newest >= since(now) => {
            Verdict::pass(format!("the last record is of {newest}"), facts)
        }
        Some(newest) => Verdict::fail(
            format!("the last record is of {newest}, more than {PROOF_HOURS} hours ago"),
            facts,
        ),
        None => Verdict::fail("a setting delivers the log, and it holds no record", facts),
    })
}
