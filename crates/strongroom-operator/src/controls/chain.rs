//! The way from an account to the proof that its key is used. Each hop is a question of its own, and several controls ask it.

use jiff::Timestamp;

use super::proof;
use super::verdict::{Judged, Stop, Verdict, need, shown};
use crate::finding::{Answer, Chain, Hop};
use crate::world::{
    Account, Action, CustomerKey, Encryption, FactRef, Grant, KeyName, KeyPermission, KeyPrincipal,
    KeyVersion, Lookup, NotRead, Vault, World,
};

pub(super) const READ: KeyPermission = KeyPermission {
    action: "Microsoft.KeyVault/vaults/keys/read",
    policy: "get",
};
pub(super) const WRAP: KeyPermission = KeyPermission {
    action: "Microsoft.KeyVault/vaults/keys/wrap/action",
    policy: "wrapKey",
};
pub(super) const UNWRAP: KeyPermission = KeyPermission {
    action: "Microsoft.KeyVault/vaults/keys/unwrap/action",
    policy: "unwrapKey",
};

/// What an account says of the customer's key.
pub(super) fn customer_key(account: &Account) -> Result<&CustomerKey, Stop> {
    match &account.encryption {
        Encryption::Customer(key) => Ok(key),
        Encryption::Service => {
            Verdict::not_applicable("the account is under the service's own key", [account.fact]).stop()
        }
        Encryption::Unknown(source) => Err(NotRead {
            fact: Some(account.fact),
            ..NotRead::unasked(
                format!("GET {}", account.id),
                format!("what the keySource '{source}' means"),
            )
        }
        .into()),
    }
}

/// The key that an account names.
pub(super) fn key_name(account: &Account) -> Result<&KeyName, Stop> {
    let key = customer_key(account)?;
    let wrong = || {
        Verdict::fail(
            format!("the reference names no key of a vault: {}", key.shown),
            [account.fact],
        )
    };
    key.name.as_ref().ok_or_else(|| wrong().into())
}

/// The vault of an account's key.
pub(super) fn vault<'a>(world: &'a World, key: &KeyName) -> Result<&'a Vault, Stop> {
    let (vault, _) = need(world.vault_of(key), || {
        format!("the vault {} is deleted", key.vault)
    })?;
    Ok(vault)
}

/// The principal that asks for an account's key.
pub(super) fn principal(account: &Account) -> Result<&str, Stop> {
    match account.key_principal() {
        KeyPrincipal::Is(id) => Ok(id),
        KeyPrincipal::Missing(why) => Verdict::fail(why, [account.fact]).stop(),
        KeyPrincipal::NotShown | KeyPrincipal::NotNeeded => {
            shown(None, account.fact, "the identity that asks for the key")
        }
    }
}

/// The version that an account's key comes down to.
pub(super) fn version<'a>(
    world: &'a World,
    key: &KeyName,
) -> Result<(&'a str, &'a KeyVersion, FactRef), Stop> {
    let deleted = world.key(key).and_then(|known| known.deleted);
    match world.version_of(key) {
        Lookup::Known((number, version), fact) => Ok((number, version, fact)),
        Lookup::Absent(fact) => match deleted {
            Some((purged, from)) => {
                let until =
                    purged.map_or_else(String::new, |time| format!(", and can be recovered until {time}"));
                Verdict::fail(format!("the key {key} is deleted{until}"), [fact, from]).stop()
            }
            None => Verdict::fail(format!("the key {key} is not there"), [fact]).stop(),
        },
        Lookup::NotRead(not) => match world.vault_of(key) {
            Lookup::Absent(fact) => Verdict::fail(
                format!("the vault {} is deleted, and the key with it", key.vault),
                [fact],
            )
            .stop(),
            Lookup::Known(..) | Lookup::NotRead(_) => Err(not.into()),
        },
    }
}

/// Whether the version can do its work now.
pub(super) fn usable(world: &World, account: &Account, now: Timestamp) -> Judged {
    let name = key_name(account)?;
    let (number, version, fact) = version(world, name)?;
    let mut wrong = Vec::new();
    if !shown(version.enabled, fact, "whether the key version is enabled")? {
        wrong.push(format!(
            "version {number} is disabled: everything under it is blind"
        ));
    }
    if let Some(from) = version.not_before.filter(|from| *from > now) {
        wrong.push(format!(
            "version {number} is not valid before {from}: nothing new is wrapped"
        ));
    }
    if let Some(end) = version.expires.filter(|end| *end <= now) {
        wrong.push(format!(
            "version {number} expired at {end}: what is there still opens, nothing new is wrapped"
        ));
    }
    // A disabled or expired version is wrong whatever else it shows.
    match &version.operations {
        Some(operations) => {
            for operation in ["wrapkey", "unwrapkey"] {
                if !operations.iter().any(|held| held == operation) {
                    wrong.push(format!("version {number} may not be used for {operation}"));
                }
            }
        }
        None if wrong.is_empty() => return shown(None, fact, "what the key may be used for"),
        None => {}
    }
    let right = format!("version {number} is enabled, in its time, and may wrap and unwrap");
    Ok(Verdict::by(
        &wrong,
        right,
        version.facts.iter().copied().chain([account.fact]),
    ))
}

/// Whether the identity may get the key, wrap and unwrap with it.
pub(super) fn granted(world: &World, account: &Account) -> Judged {
    let name = key_name(account)?;
    let principal = principal(account)?;
    if let Lookup::Absent(fact) = world.principal(principal) {
        return Ok(Verdict::fail(
            format!("the identity {principal} is not there any more"),
            [fact],
        ));
    }
    let vault = vault(world, name)?;
    let (mut missing, mut means, mut facts, mut unsure) =
        (Vec::new(), Vec::new(), vec![account.fact, vault.fact], None);
    for permission in [READ, WRAP, UNWRAP] {
        match world.may_with_key(principal, permission, name, vault) {
            Grant::Allowed { by, facts: told } => {
                means.push(by);
                facts.extend(told);
            }
            Grant::Denied { facts: told } => {
                missing.push(format!("a deny assignment keeps it from {}", permission.policy));
                facts.extend(told);
            }
            Grant::NotGranted { facts: told } => {
                missing.push(format!("nothing lets it {}", permission.policy));
                facts.extend(told);
            }
            Grant::Unsure(not) => unsure = Some(not),
        }
    }
    match unsure {
        Some(not) if missing.is_empty() => Err(not.into()),
        _ => {
            means.dedup();
            let wrong: Vec<String> = missing
                .into_iter()
                .map(|what| format!("{what} (identity {principal})"))
                .collect();
            Ok(Verdict::by(
                &wrong,
                format!("{principal} may get, wrap and unwrap by {}", means.join(", ")),
                facts,
            ))
        }
    }
}

/// Whether what is deleted at the vault stays recoverable, as vault and key both say.
pub(super) fn recoverable(world: &World, account: &Account) -> Judged {
    let name = key_name(account)?;
    let vault = vault(world, name)?;
    let mut wrong = Vec::new();
    let version = world.version_of(name);
    let level = match &version {
        Lookup::Known((_, version), _) => version.recovery_level.as_deref(),
        Lookup::Absent(_) | Lookup::NotRead(_) => None,
    };
    let protected = level.map(|level| !level.to_ascii_lowercase().contains("purgeable"));
    let recoverable = level.map(|level| level.to_ascii_lowercase().contains("recoverable"));
    if !vault.purge_protection {
        wrong.push(
            "the vault has no purge protection: who may purge can end all data before the retention is over"
                .to_owned(),
        );
    }
    match vault.soft_delete.or(recoverable) {
        Some(true) => {}
        Some(false) => wrong.push("the vault has no soft delete: a deleted key is gone".to_owned()),
        None if wrong.is_empty() => return shown(None, vault.fact, "whether soft delete is on"),
        None => {}
    }
    let wanted = world.design.as_ref().and_then(|design| {
        design
            .accounts
            .get(account.id.as_str())?
            .retention
            .soft_delete_days
    });
    if let (Some(wanted), Some(days)) = (wanted, vault.retention_days)
        && days < wanted
    {
        wrong.push(format!(
            "what is deleted can be had back for {days} days, and {wanted} were approved"
        ));
    }
    if vault.purge_protection && protected == Some(false) {
        wrong.push(format!(
            "the vault says that it is purge-protected, the key's recovery level does not: {}",
            level.unwrap_or_default()
        ));
    }
    let told: Vec<FactRef> = match version {
        Lookup::Known((_, version), _) => version.facts.clone(),
        Lookup::Absent(fact) => vec![fact],
        Lookup::NotRead(not) if wrong.is_empty() => return Err(not.into()),
        Lookup::NotRead(_) => Vec::new(),
    };
    if wrong.is_empty() && level.is_none() {
        return shown(None, vault.fact, "the key's recovery level");
    }
    let right = format!(
        "soft delete and purge protection are on, and the key says {}",
        level.unwrap_or_default()
    );
    Ok(Verdict::by(&wrong, right, told.into_iter().chain([vault.fact])))
}

/// Whether the service reaches the vault: region, tenant, firewall.
pub(super) fn reached(world: &World, account: &Account) -> Judged {
    let name = key_name(account)?;
    let vault = vault(world, name)?;
    let mut wrong = Vec::new();
    let here = shown(account.location.as_deref(), account.fact, "the account's region")?;
    let there = shown(vault.location.as_deref(), vault.fact, "the vault's region")?;
    if here != there {
        wrong.push(format!(
            "the account is in {here}, the vault in {there}: they must be in one region"
        ));
    }
    let tenant = account
        .identity
        .as_ref()
        .and_then(|identity| identity.tenant.as_deref());
    if let (Some(mine), Some(theirs)) = (tenant, vault.tenant.as_deref())
        && mine != theirs
    {
        wrong.push(format!(
            "the account's identity is of tenant {mine}, the vault of {theirs}"
        ));
    }
    if vault.network.is_closed() && !vault.network.trusted_bypass {
        let links = if vault.network.approved_links > 0 {
            ", and private endpoints do not serve the AI service"
        } else {
            ""
        };
        wrong.push(format!(
            "the vault's firewall is closed and lets no trusted service through{links}"
        ));
    }
    let how = if vault.network.is_closed() {
        "closed, with trusted services let through"
    } else {
        "open"
    };
    Ok(Verdict::by(
        &wrong,
        format!("one region and tenant; the vault's firewall is {how}"),
        [account.fact, vault.fact],
    ))
}

/// The chain of an account, up to the first hop that does not hold. None where no customer's key is used.
pub(super) fn of(world: &World, account: &Account, now: Timestamp) -> Option<Chain> {
    if account.encryption == Encryption::Service {
        return None;
    }
    let key = match &account.encryption {
        Encryption::Customer(key) => key.name.clone(),
        Encryption::Service | Encryption::Unknown(_) => None,
    };
    let key_id = key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let bare = key
        .as_ref()
        .map_or_else(|| "-".to_owned(), |key| key.versionless().to_string());
    let vault_id = match key.as_ref().map(|key| world.vault_of(key)) {
        Some(Lookup::Known(vault, _)) => vault.id.to_string(),
        _ => key
            .as_ref()
            .map_or_else(|| "-".to_owned(), |key| format!("https://{}", key.vault)),
    };
    let who = match account.key_principal() {
        KeyPrincipal::Is(id) => id.to_owned(),
        _ => "-".to_owned(),
    };
    type Ask<'a> = Box<dyn Fn() -> Judged + 'a>;
    let hops: [(&str, String, Ask<'_>); 8] = [
        (
            "account",
            account.id.to_string(),
            Box::new(|| under_customer_key(account)),
        ),
        ("key", bare, Box::new(|| there(world, account))),
        (
            "version",
            key_id.clone(),
            Box::new(|| usable(world, account, now)),
        ),
        ("identity", who.clone(), Box::new(|| acts(world, account))),
        ("grant", who, Box::new(|| granted(world, account))),
        (
            "vault",
            vault_id.clone(),
            Box::new(|| recoverable(world, account)),
        ),
        ("network", vault_id, Box::new(|| reached(world, account))),
        (
            "use",
            key_id,
            Box::new(|| proof::used_lately(world, account, now)),
        ),
    ];
    let mut chain = Chain {
        account: account.id.to_string(),
        hops: Vec::new(),
    };
    for (hop, target, ask) in hops {
        let verdict = Verdict::of(ask());
        let holds = verdict.answer == Answer::Pass;
        chain.hops.push(Hop {
            hop: hop.to_owned(),
            target,
            answer: verdict.answer,
            reason: verdict.reason,
            facts: super::ids(world, &verdict.facts),
        });
        if !holds {
            break;
        }
    }
    Some(chain)
}

fn under_customer_key(account: &Account) -> Judged {
    let key = customer_key(account)?;
    Ok(Verdict::pass(
        format!("the account names the customer's key {}", key.shown),
        [account.fact],
    ))
}

fn there(world: &World, account: &Account) -> Judged {
    let name = key_name(account)?;
    let (number, _, fact) = version(world, name)?;
    Ok(Verdict::pass(
        format!("the key is there; the account uses version {number}"),
        [fact],
    ))
}

fn acts(world: &World, account: &Account) -> Judged {
    let principal = principal(account)?;
    match world.principal(principal) {
        Lookup::Absent(fact) => Ok(Verdict::fail(
            format!("the identity {principal} is not there any more"),
            [fact],
        )),
        Lookup::Known((), fact) => Ok(Verdict::pass(
            format!("the account acts as {principal}"),
            [account.fact, fact],
        )),
        Lookup::NotRead(_) => Ok(Verdict::pass(
            format!("the account acts as {principal}, as it says itself"),
            [account.fact],
        )),
    }
}

/// Whether a principal may do something to a resource, where that can be told.
pub(super) fn allowed(grant: Grant) -> Result<Option<(String, Vec<FactRef>)>, NotRead> {
    match grant {
        Grant::Allowed { by, facts } => Ok(Some((by, facts))),
        Grant::Denied { .. } | Grant::NotGranted { .. } => Ok(None),
        Grant::Unsure(not) => Err(not),
    }
}

/// An action of Resource Manager on a resource.
pub(super) const fn manage(action: &'static str) -> Action<'static> {
    Action::Manage(action)
}
