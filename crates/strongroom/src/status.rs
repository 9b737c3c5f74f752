//! What `strongroom status` shows: one account's key, lease and sealed content, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strongroom_control::Account;
use strongroom_seal::{AccountId, Clock};
use strongroom_service::{Deployments, RevocationPolicy, TunedName};
use strongroom_store::{Binding, KeyDenied, KeyState, KeyStatus, Permit, Store, StoreError};

use crate::compose;
use crate::harden;

/// Everything that `status` says. Commands and the administrator's route share it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Status {
    /// The account's name.
    pub(crate) account: String,
    /// Its id.
    pub(crate) account_id: String,
    /// The key it is bound to.
    pub(crate) key: KeySummary,
    /// What is sealed, by kind, branch version and key version.
    pub(crate) sealed: Vec<SealedRow>,
    /// Which key versions must stay enabled, and for what.
    pub(crate) still_needed: Vec<NeededRow>,
    /// Objects that left together with their key, ever.
    pub(crate) exports: u64,
    /// Objects deleted and not yet erased.
    pub(crate) awaiting_erasure: u64,
    /// For how many days objects are kept, by class, where the account says so.
    #[serde(default)]
    pub(crate) retention_days: BTreeMap<String, u32>,
    /// Fine-tuned models whose weights are in memory now, opened.
    pub(crate) weights: Vec<WeightsRow>,
    /// The journals, whose checkpoints are to be kept elsewhere.
    pub(crate) journals: Vec<JournalRow>,
    /// Swap of the machine in bytes, where the system says.
    pub(crate) swap_bytes: Option<u64>,
}

/// The key's side.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct KeySummary {
    /// The name it is bound by.
    pub(crate) bound: Option<String>,
    /// The version in use.
    pub(crate) version: Option<String>,
    /// The branch version in use.
    pub(crate) branch: Option<u32>,
    /// held, idle, refused, gone, unreachable, throttled, ...
    pub(crate) state: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
    /// Age of the lease in milliseconds; only while it is held.
    pub(crate) lease_age_ms: Option<u64>,
    /// The vault's last answer, and when it came.
    pub(crate) last_answer: Option<Answer>,
    /// In milliseconds.
    pub(crate) revocation_bound_ms: u64,
    /// In milliseconds.
    pub(crate) outage_grace_ms: u64,
    /// What the account resource pins; nothing before the first use.
    pub(crate) anchor: Option<Pin>,
    /// Whether the key pages are locked in memory; unknown before the first lease.
    pub(crate) locked_in_memory: Option<bool>,
}

/// The pinned check value of the oldest living branch version. Public.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Pin {
    /// The branch version.
    pub(crate) branch: u32,
    /// Its check value, in hexadecimal.
    pub(crate) check: String,
}

/// What the vault said last.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    /// yes, refused, gone, unreachable or throttled.
    pub(crate) answer: String,
    /// When, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
}

/// Sealed content of one kind under one branch version.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct SealedRow {
    /// The kind.
    pub(crate) kind: String,
    /// The branch version.
    pub(crate) branch: u32,
    /// The versioned customer key.
    pub(crate) key: Option<String>,
    /// How many objects.
    pub(crate) objects: u64,
    /// Sealed bytes.
    pub(crate) bytes: u64,
}

/// One key version on which something depends.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct NeededRow {
    /// The versioned customer key.
    pub(crate) key: String,
    /// How many objects.
    pub(crate) objects: u64,
    /// Their sealed bytes.
    pub(crate) bytes: u64,
}

/// A deployment whose weights are in the memory of a worker process.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct WeightsRow {
    /// The deployment's name.
    pub(crate) deployment: String,
    /// What the store knows the model by.
    pub(crate) model: String,
    /// shutdown, drain or prevent-new.
    pub(crate) policy: String,
    /// Whether they are there although the key is denied.
    pub(crate) residual: bool,
}

/// One journal.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct JournalRow {
    /// service or vault.
    pub(crate) journal: String,
    /// What its checkpoints verify with.
    pub(crate) verifier_key: String,
    /// How many entries it has.
    pub(crate) entries: u64,
    /// How many of them the latest checkpoint covers.
    pub(crate) checkpoint: u64,
}

/// One account in full, and a line for each that the caller may administer.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Overview {
    /// The one that was asked for.
    #[serde(flatten)]
    pub(crate) status: Status,
    /// All of them, by name.
    pub(crate) accounts: Vec<AccountRow>,
}

/// One account's key.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct AccountRow {
    /// The account's name.
    pub(crate) account: String,
    /// Its id.
    pub(crate) account_id: String,
    /// The key that its record names first, as vaults name it.
    pub(crate) key: Option<String>,
    /// held, idle, refused, gone, unreachable, throttled, ...
    pub(crate) state: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
    /// The vault's last answer, and when it came.
    pub(crate) last_answer: Option<Answer>,
}

/// The line of one account.
pub(crate) fn row(account: &Account, key: &KeyStatus) -> AccountRow {
    let names = compose::keys(account);
    AccountRow {
        account: account.name.clone(),
        account_id: account.id.to_string(),
        key: names.and_then(|keys| keys.names().next().map(ToString::to_string)),
        state: state_name(&key.state).to_owned(),
        since_ms: key.since_ms,
        last_answer: last_answer(key),
    }
}

/// What the control plane says of one account's seeds.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Pinned {
    /// The account's id.
    pub(crate) account_id: String,
    /// The names of the keys that its seeds may be under: more than one while one takes over from another.
    pub(crate) keys: Vec<String>,
    /// What the account resource pins; nothing before the first use.
    pub(crate) anchor: Option<Pin>,
}

/// None, if its keys have no names that vaults know.
pub(crate) fn pinned(account: &Account) -> Option<Pinned> {
    Some(Pinned {
        account_id: account.id.to_string(),
        keys: compose::keys(account)?.names().map(ToString::to_string).collect(),
        anchor: account.anchor.map(|anchor| Pin {
            branch: anchor.version.get(),
            check: anchor.check.to_string(),
        }),
    })
}

/// Gathers the status of the account that the permit is for.
pub(crate) async fn gather(
    store: &Store,
    clock: &dyn Clock,
    name: &str,
    permit: &Permit,
    binding: Option<&Binding>,
    (journals, deployments): (Vec<JournalRow>, &Deployments),
) -> Result<Status, StoreError> {
    let account = permit.account();
    let statistics = store.statistics(permit).await?;
    let needed = store.still_needed(permit).await?;
    let key = store.key_state(account).borrow().clone();
    Ok(Status {
        account: name.to_owned(),
        account_id: account.to_string(),
        key: summary(&key, clock, binding),
        sealed: statistics
            .sealed
            .into_iter()
            .map(|usage| SealedRow {
                kind: usage.kind,
                branch: usage.branch.get(),
                key: usage.key.map(|key| key.to_string()),
                objects: usage.objects,
                bytes: usage.bytes,
            })
            .collect(),
        still_needed: needed
            .into_iter()
            .map(|need| NeededRow {
                key: need.key.to_string(),
                objects: need.objects,
                bytes: need.bytes,
            })
            .collect(),
        exports: statistics.exports,
        awaiting_erasure: statistics.awaiting_erasure,
        retention_days: BTreeMap::new(),
        weights: weights(deployments, account, &key),
        journals,
        swap_bytes: harden::swap_bytes(),
    })
}

fn weights(deployments: &Deployments, account: AccountId, key: &KeyStatus) -> Vec<WeightsRow> {
    let own = deployments.tuned().filter(|(of, _, _)| *of == account);
    let resident = own.filter(|(_, _, deployment)| {
        let tuned = deployment.tuned.as_ref();
        tuned.is_some_and(|tuned| tuned.is_resident())
    });
    resident
        .map(|(_, name, deployment)| WeightsRow {
            deployment: name.to_owned(),
            model: TunedName::parse(&deployment.model).map_or_else(String::new, |name| name.id.to_owned()),
            policy: match deployment.policy {
                RevocationPolicy::Shutdown => "shutdown",
                RevocationPolicy::Drain => "drain",
                RevocationPolicy::PreventNew => "prevent-new",
            }
            .to_owned(),
            residual: matches!(key.state, KeyState::Denied(_)),
        })
        .collect()
}

fn summary(key: &KeyStatus, clock: &dyn Clock, binding: Option<&Binding>) -> KeySummary {
    KeySummary {
        bound: binding.map(|binding| binding.key.to_string()),
        version: key.key.as_ref().map(|key| key.version().to_owned()),
        branch: key.branch.map(|branch| branch.get()),
        state: state_name(&key.state).to_owned(),
        since_ms: key.since_ms,
        lease_age_ms: key.lease_age(clock.now()).map(milliseconds),
        last_answer: last_answer(key),
        revocation_bound_ms: milliseconds(
            binding.map_or(key.revocation_bound, |bound| bound.revocation_bound),
        ),
        outage_grace_ms: milliseconds(binding.map_or(key.outage_grace, |bound| bound.outage_grace)),
        anchor: binding.and_then(|binding| binding.anchor).map(|anchor| Pin {
            branch: anchor.version.get(),
            check: anchor.check.to_string(),
        }),
        locked_in_memory: (key.state == KeyState::Held).then_some(key.locked_in_memory),
    }
}

fn state_name(state: &KeyState) -> &'static str {
    match state {
        KeyState::Idle => "idle",
        KeyState::Held => "held",
        KeyState::Denied(denied) => denied_name(*denied),
    }
}

fn last_answer(key: &KeyStatus) -> Option<Answer> {
    key.last_answer.map(|last| Answer {
        answer: last.denied.map_or("yes", denied_name).to_owned(),
        at_ms: last.at_ms,
    })
}

fn denied_name(denied: KeyDenied) -> &'static str {
    match denied {
        KeyDenied::Refused => "refused",
        KeyDenied::Gone => "gone",
        KeyDenied::Unreachable { .. } => "unreachable",
        KeyDenied::Throttled { .. } => "throttled",
        KeyDenied::Mismatch => "mismatch",
        KeyDenied::NotBound => "not bound",
        KeyDenied::Storage => "storage failed",
        KeyDenied::Closed => "closed",
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
