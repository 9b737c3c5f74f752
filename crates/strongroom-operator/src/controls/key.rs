//! C01 to C09: the keys that accounts name.

use jiff::{SignedDuration, Timestamp};

use super::chain;
use super::cite::{KEY_ATTRIBUTES, OPENAI_PAGE, ROTATION, cis, iso, mcsb, nist, policy, scanner};
use super::verdict::{Judged, Verdict, need, shown};
use super::{Judge, Rule};
use crate::finding::{Control, Severity};
use crate::limits::{DAYS_LEFT, KEY_DAYS};
use crate::world::{FactRef, KeyName, KeyVersion, Lookup, World};

pub(super) const RULES: &[Rule] = &[
    Rule {
        control: Control {
            id: "C01",
            question: "Has the key an expiry date, and a new version before that?",
            severity: Severity::Medium,
            sources: &[
                policy("152b15f7-8e1f-4c1f-ab71-8c010ba5dbc0"),
                scanner("Prowler", "keyvault_rbac_key_expiration_set"),
                scanner("Checkov", "CKV_AZURE_40"),
                cis("8.3.1"),
                KEY_ATTRIBUTES,
            ],
            remedy: "az keyvault key set-attributes --id <key-id> --expires <date>",
            conflicts: &[
                "'Keys must expire' (CIS 8.3.1, MCSB DP-6) against 'an expired key wraps nothing new' (Key Vault key attributes, 2026-05-21): set both, or the expiry stops the service.",
                "CIS and Prowler give the same risk another severity by the vault's permission model.",
            ],
            mappings: &[nist("SC-12"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(expiry),
    },
    Rule {
        control: Control {
            id: "C02",
            question: "Are enough days left before the key expires?",
            severity: Severity::Medium,
            sources: &[policy("5ff38825-c5d8-47c5-b70e-069a21955146")],
            remedy: "az keyvault key rotate --vault-name <vault> --name <key>",
            conflicts: &[],
            mappings: &[nist("SC-12"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(days_left),
    },
    Rule {
        control: Control {
            id: "C03",
            question: "Is the key's time of validity not too long?",
            severity: Severity::Medium,
            sources: &[policy("49a22571-d204-4c91-a7b6-09b1a586fbc9"), ROTATION],
            remedy: "az keyvault key set-attributes --id <key-id> --expires <date>",
            conflicts: &[],
            mappings: &[nist("SC-12"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(validity),
    },
    Rule {
        control: Control {
            id: "C04",
            question: "Has the key's version not been in use for too long?",
            severity: Severity::Medium,
            sources: &[policy("c26e4b24-cf98-4c67-b48b-5a25c4c69eb9"), ROTATION],
            remedy: "az keyvault key rotate --vault-name <vault> --name <key>",
            conflicts: &[
                "Rotation does not re-encrypt: what is there stays under the old version, which must stay enabled (N09).",
            ],
            mappings: &[nist("SC-12"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(age),
    },
    Rule {
        control: Control {
            id: "C05",
            question: "Is a new version made by itself?",
            severity: Severity::High,
            sources: &[
                policy("d8cf8476-a2ec-4916-896e-992351803c44"),
                scanner("Prowler", "keyvault_key_rotation_enabled"),
                scanner("PSRule", "AZR-000123"),
                cis("8.3.9"),
                ROTATION,
            ],
            remedy: "az keyvault key rotation-policy update --vault-name <vault> --name <key> --value <policy-file>",
            conflicts: &[
                "Azure Policy's built-in finds no keys (azure-policy #1492, open); Powerpipe counts timeBeforeExpiry as no rotation; Prowler counts a policy that it may not read as none.",
            ],
            mappings: &[nist("SC-12"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(rotation),
    },
    Rule {
        control: Control {
            id: "C06",
            question: "Is the key held by an HSM?",
            severity: Severity::Medium,
            sources: &[
                policy("587c79fe-dd04-4a5e-9d0b-f89598c7261b"),
                scanner("Checkov", "CKV_AZURE_112"),
            ],
            remedy: "az keyvault key create --vault-name <vault> --name <key> --kty RSA-HSM --size 2048",
            conflicts: &[
                "Premium vaults only; Microsoft's pages on customer-managed keys take software keys too.",
            ],
            mappings: &[nist("SC-12"), nist("SC-13"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(in_hsm),
    },
    Rule {
        control: Control {
            id: "C07",
            question: "Is the key of an allowed type?",
            severity: Severity::Medium,
            sources: &[policy("75c4f823-d65c-4f29-a733-01d0077fdbcb"), OPENAI_PAGE],
            remedy: "az keyvault key create --vault-name <vault> --name <key> --kty RSA --size 2048",
            conflicts: &[],
            mappings: &[nist("SC-13"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(kind),
    },
    Rule {
        control: Control {
            id: "C08",
            question: "Is an RSA key large enough?",
            severity: Severity::Medium,
            sources: &[policy("82067dbb-e53b-4e06-b631-546d197452d9")],
            remedy: "az keyvault key create --vault-name <vault> --name <key> --kty RSA --size 2048",
            conflicts: &[
                "Some policies ask for 3072 bits and more; Azure OpenAI encryption of data at rest (2025-11-26) takes 2048 only (N06).",
            ],
            mappings: &[nist("SC-13"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(size),
    },
    Rule {
        control: Control {
            id: "C09",
            question: "Is a curve key on an allowed curve?",
            severity: Severity::Low,
            sources: &[policy("ff25f3c8-b739-4538-9d07-3d6d25cfb255")],
            remedy: "az keyvault key create --vault-name <vault> --name <key> --kty RSA --size 2048",
            conflicts: &["No curve key can be an account's customer key (N06)."],
            mappings: &[nist("SC-13"), iso("A.8.24"), mcsb("DP-6")],
        },
        judge: Judge::Key(curve),
    },
];

fn latest<'a>(
    world: &'a World,
    key: &KeyName,
) -> Result<(&'a str, &'a KeyVersion, FactRef), super::verdict::Stop> {
    chain::version(world, &key.versionless())
}

fn either(wrong: Option<String>, right: String, fact: FactRef) -> Judged {
    let wrong: Vec<String> = wrong.into_iter().collect();
    Ok(Verdict::by(&wrong, right, [fact]))
}

const fn in_days(duration: SignedDuration) -> i64 {
    duration.as_hours() / 24
}

fn expiry(world: &World, key: &KeyName, now: Timestamp) -> Judged {
    let (number, version, fact) = latest(world, key)?;
    if let Some(end) = version.expires.filter(|end| *end <= now) {
        return Ok(Verdict::fail(
            format!("version {number} expired at {end}"),
            [fact],
        ));
    }
    let (rotates, told) = match world.rotation_of(key) {
        Lookup::Known(rotation, told) => (rotation.rotate.is_some(), told),
        Lookup::Absent(told) => (false, told),
        Lookup::NotRead(not) => return Err(not.into()),
    };
    let facts = [fact, told];
    let rules = [
        "CIS Microsoft Azure Foundations Benchmark 6.0, 8.3.1: keys have an expiration date",
        "Key Vault key attributes, 2026-05-21: an expired key wraps nothing new",
    ];
    Ok(match (version.expires, rotates) {
        (Some(end), true) => Verdict::pass(
            format!("version {number} expires at {end}, and a new one is made by itself"),
            facts,
        ),
        (Some(end), false) => Verdict::conflict(
            &rules,
            format!("version {number} expires at {end}, and nothing makes a new one: the service stops then"),
            facts,
        ),
        (None, true) => Verdict::conflict(
            &rules,
            format!("version {number} has no expiry date, as suits the service; a new one is made by itself"),
            facts,
        ),
        (None, false) => Verdict::fail(
            format!("version {number} has no expiry date, and no new one is made by itself"),
            facts,
        ),
    })
}

fn days_left(world: &World, key: &KeyName, now: Timestamp) -> Judged {
    let (number, version, fact) = latest(world, key)?;
    let Some(end) = version.expires else {
        return Ok(Verdict::not_applicable(
            format!("version {number} has no expiry date"),
            [fact],
        ));
    };
    let left = in_days(end.duration_since(now));
    let reason = format!("version {number} expires in {left} days");
    either(
        (left < DAYS_LEFT).then(|| format!("{reason}, less than {DAYS_LEFT}")),
        reason,
        fact,
    )
}

fn validity(world: &World, key: &KeyName, _: Timestamp) -> Judged {
    let (number, version, fact) = latest(world, key)?;
    let Some(end) = version.expires else {
        return Ok(Verdict::not_applicable(
            format!("version {number} has no expiry date"),
            [fact],
        ));
    };
    let from = shown(
        version.not_before.or(version.created),
        fact,
        "when the version was made",
    )?;
    let days = in_days(end.duration_since(from));
    let reason = format!("version {number} is valid for {days} days");
    either(
        (days > KEY_DAYS).then(|| format!("{reason}, more than {KEY_DAYS}")),
        reason,
        fact,
    )
}

fn age(world: &World, key: &KeyName, now: Timestamp) -> Judged {
    let (number, version, fact) = latest(world, key)?;
    let from = shown(
        version.not_before.or(version.created),
        fact,
        "when the version was made",
    )?;
    let days = in_days(now.duration_since(from));
    let reason = format!("version {number} is {days} days old");
    either(
        (days > KEY_DAYS).then(|| format!("{reason}, more than {KEY_DAYS}")),
        reason,
        fact,
    )
}

fn rotation(world: &World, key: &KeyName, _: Timestamp) -> Judged {
    let (rotation, fact) = need(world.rotation_of(key), || {
        "the key has no rotation policy".to_owned()
    })?;
    // Either trigger is one; which, does not matter.
    match &rotation.rotate {
        Some(trigger) => either(None, format!("a new version is made: {trigger}"), fact),
        None => either(
            Some("no action of the rotation policy rotates".to_owned()),
            String::new(),
            fact,
        ),
    }
}

fn in_hsm(world: &World, key: &KeyName, _: Timestamp) -> Judged {
    let (number, version, fact) = latest(world, key)?;
    let held = shown(version.in_hsm(), fact, "the key's type")?;
    either(
        (!held).then(|| format!("version {number} is a software key")),
        format!("version {number} is held by an HSM"),
        fact,
    )
}

fn kind(world: &World, key: &KeyName, _: Timestamp) -> Judged {
    let (number, version, fact) = latest(world, key)?;
    let kind = shown(version.kind.as_deref(), fact, "the key's type")?;
    let wrong = !matches!(kind, "RSA" | "RSA-HSM");
    either(
        wrong.then(|| format!("version {number} is of type {kind}, not RSA")),
        format!("version {number} is of type {kind}"),
        fact,
    )
}

fn size(world: &World, key: &KeyName, _: Timestamp) -> Judged {
    let (number, version, fact) = latest(world, key)?;
    let kind = shown(version.kind.as_deref(), fact, "the key's type")?;
    if !kind.starts_with("RSA") {
        return Ok(Verdict::not_applicable(
            format!("version {number} is of type {kind}"),
            [fact],
        ));
    }
    let bits = shown(version.bits, fact, "the key's size")?;
    either(
        (bits < 2048).then(|| format!("version {number} has {bits} bits, less than 2048")),
        format!("version {number} has {bits} bits"),
        fact,
    )
}

fn curve(world: &World, key: &KeyName, _: Timestamp) -> Judged {
    let (number, version, fact) = latest(world, key)?;
    let kind = shown(version.kind.as_deref(), fact, "the key's type")?;
    if !kind.starts_with("EC") {
        return Ok(Verdict::not_applicable(
            format!("version {number} is of type {kind}"),
            [fact],
        ));
    }
    let curve = shown(version.curve.as_deref(), fact, "the key's curve")?;
    let allowed = ["P-256", "P-384", "P-521"]
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(curve));
    either(
        (!allowed).then(|| format!("version {number} is on {curve}")),
        format!("version {number} is on {curve}"),
        fact,
    )
}
