//! N10: what is under the customer's key and what is not, though the account says that it uses one.
//!
//! On Azure by Microsoft's own table, with its date, joined with what is in use on the account; on Strongroom by the stored bytes.

use super::chain;
use super::cite::{FOUNDRY_COVERAGE, OWN, iso, mcsb, nist};
use super::reach::{self, Store};
use super::verdict::{Judged, Verdict};
use super::{Judge, Rule, ids};
use crate::finding::{Control, Coverage, Severity};
use crate::world::{Account, Encryption, FactRef, Lookup, NotRead, StoredBytes, World};

pub(super) const RULES: &[Rule] = &[Rule {
    control: Control {
        id: "N10",
        question: "Is everything that the account keeps under the customer's key, by artefact class, though the account says that it uses one?",
        severity: Severity::High,
        sources: &[OWN, FOUNDRY_COVERAGE],
        remedy: "strongroom verify",
        conflicts: &[
            "The table of 2026-08-24 contradicts itself on hosted agents: not covered, says the row; its note says that conversations, files and vectors can be when Cosmos DB, Storage and AI Search have a customer's key. It is quoted, not resolved.",
        ],
        mappings: &[
            nist("SC-28"),
            nist("SC-12"),
            nist("CM-8"),
            iso("A.8.24"),
            iso("A.5.9"),
            mcsb("DP-5"),
        ],
    },
    judge: Judge::Account(|world, account, _| covered(world, account)),
}];

/// Whether a class of artefacts is under the customer's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Covered,
    NotCovered,
    Partial,
    Unknown,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::NotCovered => "not-covered",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
        }
    }
}

/// How it is told whether an account has artefacts of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It deploys a fine-tuned model.
    FineTuned,
    /// It serves models at all.
    Serving,
    /// It has projects, whose agents are of the prompt kind unless they are hosted.
    Agents,
    /// It is of this kind; of the kinds that hold several services it cannot be told.
    Kind(&'static [&'static str]),
    /// It has connections.
    Connections,
    /// Only the data plane could tell, of an account with deployments.
    DataPlane,
    /// Only the data plane could tell, of an account with projects.
    HostedAgents,
}

/// One row of the table: the class, where Microsoft keeps it, where the customer does, and how use is told.
struct Row {
    class: &'static str,
    managed: State,
    own: State,
    told_by: Use,
}

const fn row(class: &'static str, managed: State, own: State, told_by: Use) -> Row {
    Row {
        class,
        managed,
        own,
        told_by,
    }
}

/// Customer-managed keys for Microsoft Foundry, coverage by capability, 2026-08-24.
const TABLE: [Row; 12] = [
    row(
        "Fine-tuning: files and trained models",
        State::Covered,
        State::Covered,
        Use::FineTuned,
    ),
    row(
        "Fine-tuning: files of a running job",
        State::Partial,
        State::Partial,
        Use::FineTuned,
    ),
    row("Batch", State::Covered, State::Covered, Use::DataPlane),
    row("Evaluations", State::Covered, State::Covered, Use::DataPlane),
    row(
        "Prompt agents: history and vector stores",
        State::NotCovered,
        State::Covered,
        Use::Agents,
    ),
    row(
        "Hosted agents: $HOME, kept 30 days",
        State::NotCovered,
        State::NotCovered,
        Use::HostedAgents,
    ),
    row(
        "OpenAI Assistants (deprecated)",
        State::NotCovered,
        State::NotCovered,
        Use::DataPlane,
    ),
    row(
        "Speech",
        State::NotCovered,
        State::Covered,
        Use::Kind(&["SpeechServices"]),
    ),
    row(
        "Language",
        State::Covered,
        State::Covered,
        Use::Kind(&["TextAnalytics", "Language", "LUIS"]),
    ),
    row(
        "Content Understanding",
        State::NotCovered,
        State::Covered,
        Use::Kind(&["ContentUnderstanding"]),
    ),
    row(
        "Connected services",
        State::NotCovered,
        State::NotCovered,
        Use::Connections,
    ),
    row(
        "Compute caches and loaded weights",
        State::Partial,
        State::Partial,
        Use::Serving,
    ),
];

/// Where the table is from.
const SOURCE: &str = "Customer-managed keys for Microsoft Foundry: coverage by capability, 2026-08-24";

/// Kinds of accounts that hold several services.
const SEVERAL: [&str; 2] = ["AIServices", "CognitiveServices"];

/// A class of an account's artefacts.
#[derive(Debug, Clone)]
pub(super) struct Class {
    account: String,
    name: String,
    state: State,
    proven: bool,
    in_use: Result<bool, NotRead>,
    source: String,
    facts: Vec<FactRef>,
}

impl Class {
    pub(super) fn told(self, world: &World) -> Coverage {
        Coverage {
            account: self.account,
            class: self.name,
            state: self.state.as_str().to_owned(),
            by: if self.proven { "proven" } else { "documented" }.to_owned(),
            in_use: self.in_use.ok(),
            source: self.source,
            facts: ids(world, &self.facts),
        }
    }
}

/// The classes of an account's artefacts. None for an account under the service's own key: nothing of it is the customer's to turn off.
pub(super) fn of(world: &World, account: &Account) -> Vec<Class> {
    match &account.encryption {
        Encryption::Service | Encryption::Unknown(_) => Vec::new(),
        Encryption::Customer(_) => match proven(world, account) {
            Some(classes) => classes,
            None if is_strongroom(account) => vec![unproven(account)],
            None => TABLE.iter().map(|row| documented(world, account, row)).collect(),
        },
    }
}

/// Whether the account's vault is one of a local Strongroom: Microsoft's table says nothing of it.
fn is_strongroom(account: &Account) -> bool {
    chain::key_name(account).is_ok_and(|key| key.vault.domain().ends_with("localhost"))
}

fn unproven(account: &Account) -> Class {
    Class {
        account: account.id.to_string(),
        name: "Everything that is stored".to_owned(),
        state: State::Unknown,
        proven: false,
        in_use: Err(NotRead::unasked(
            "strongroom verify --output json",
            "what the stored bytes are under",
        )),
        source: "no report of strongroom verify was given".to_owned(),
        facts: vec![account.fact],
    }
}

/// By the stored bytes, if they were read.
fn proven(world: &World, account: &Account) -> Option<Vec<Class>> {
    let stored = world.stored.as_ref()?;
    let kinds = stored.accounts.get(account.internal_id.as_ref()?)?;
    let class = |kind: &crate::world::StoredKind| Class {
        account: account.id.to_string(),
        name: kind.kind.clone(),
        state: state_of(world, account, stored, kind),
        proven: true,
        in_use: Ok(kind.objects > 0),
        source: format!(
            "strongroom verify: {} of {} objects opened, under version {}",
            kind.opened, kind.objects, kind.key
        ),
        facts: vec![account.fact, stored.fact],
    };
    Some(kinds.iter().map(class).collect())
}

fn state_of(
    world: &World,
    account: &Account,
    stored: &StoredBytes,
    kind: &crate::world::StoredKind,
) -> State {
    let own = chain::key_name(account).ok().and_then(|name| world.key(name));
    let of_the_key = own.is_some_and(|key| {
        key.versions
            .keys()
            .any(|version| kind.key.to_ascii_lowercase().ends_with(version))
    });
    match (of_the_key, stored.blind || kind.opened < kind.objects) {
        (true, false) if stored.is_clean() => State::Covered,
        (true, _) => State::Partial,
        (false, _) => State::NotCovered,
    }
}

fn documented(world: &World, account: &Account, row: &Row) -> Class {
    let in_use = in_use(world, account, row.told_by);
    let state = match row.told_by {
        Use::Connections => connected(world, account),
        Use::Agents => match standard(world, account) {
            Ok(true) => row.own,
            Ok(false) => row.managed,
            Err(_) => State::Unknown,
        },
        _ if account.own_storage.is_empty() => row.managed,
        _ => row.own,
    };
    Class {
        account: account.id.to_string(),
        name: row.class.to_owned(),
        state,
        proven: false,
        in_use: in_use.clone().map(|(used, _)| used),
        source: SOURCE.to_owned(),
        facts: [account.fact]
            .into_iter()
            .chain(in_use.ok().map(|(_, fact)| fact))
            .collect(),
    }
}

fn in_use(world: &World, account: &Account, told_by: Use) -> Result<(bool, FactRef), NotRead> {
    let known = |lookup: Lookup<bool>| match lookup {
        Lookup::Known(used, fact) => Ok((used, fact)),
        Lookup::Absent(fact) => Ok((false, fact)),
        Lookup::NotRead(not) => Err(not),
    };
    let deployed = || world.deployments_of(&account.id);
    let data_plane =
        |what: &str| NotRead::unasked(format!("the data plane of {}", account.name), what.to_owned());
    match told_by {
        Use::FineTuned => known(deployed().map(|all| all.iter().any(|deployment| deployment.fine_tuned))),
        Use::Serving => known(deployed().map(|all| !all.is_empty())),
        Use::Connections => known(world.connections_of(&account.id).map(|all| !all.is_empty())),
        Use::Agents => world
            .places_of(&account.id)
            .map(|(places, fact)| (places.len() > 1, fact)),
        Use::Kind(kinds)
            if SEVERAL
                .iter()
                .any(|kind| kind.eq_ignore_ascii_case(&account.kind)) =>
        {
            Err(data_plane(&format!("whether {} is used", kinds.join(" or "))))
        }
        Use::Kind(kinds) => Ok((
            kinds.iter().any(|kind| kind.eq_ignore_ascii_case(&account.kind)),
            account.fact,
        )),
        // Without a deployment there is nothing that could have made any.
        Use::DataPlane => match known(deployed().map(|all| !all.is_empty()))? {
            (false, fact) => Ok((false, fact)),
            (true, _) => Err(data_plane("whether batches, evaluations or assistants are used")),
        },
        Use::HostedAgents => match world.places_of(&account.id)? {
            (places, fact) if places.len() == 1 => Ok((false, fact)),
            _ => Err(data_plane("whether agents are hosted")),
        },
    }
}

/// Whether all agents keep what they keep in the customer's stores: each project has a capability host that names them.
fn standard(world: &World, account: &Account) -> Result<bool, NotRead> {
    let (places, _) = world.places_of(&account.id)?;
    let hosts = match world.capability_hosts_of(&account.id) {
        Lookup::Known(hosts, _) => hosts,
        Lookup::Absent(_) => Vec::new(),
        Lookup::NotRead(not) => return Err(not),
    };
    let projects = places.iter().filter(|place| **place != account.id);
    let mut kept = projects.map(|project| {
        hosts
            .iter()
            .any(|host| project.covers(&host.id) && host.is_standard())
    });
    Ok(kept.all(|standard| standard))
}

/// Whether every store that the account is connected to is under a customer's key of its own.
fn connected(world: &World, account: &Account) -> State {
    let Ok((stores, _)) = reach::stores(world, account) else {
        return State::Unknown;
    };
    let mut state = State::Covered;
    for (_, store) in stores {
        match store {
            Ok(Store::Resource(resource)) if resource.customer_key == Some(true) => {}
            Ok(Store::Account(account)) if matches!(account.encryption, Encryption::Customer(_)) => {}
            Ok(_) => return State::NotCovered,
            Err(_) => state = State::Unknown,
        }
    }
    state
}

fn covered(world: &World, account: &Account) -> Judged {
    chain::customer_key(account)?;
    let classes = of(world, account);
    let facts: Vec<FactRef> = classes
        .iter()
        .flat_map(|class| class.facts.iter().copied())
        .collect();
    let bad = |class: &&Class| class.in_use == Ok(true) && class.state == State::NotCovered;
    let wrong: Vec<String> = classes
        .iter()
        .filter(bad)
        .map(|class| format!("in use and not under the customer's key: {}", class.name))
        .collect();
    if !wrong.is_empty() {
        return Ok(Verdict::fail(wrong.join("; "), facts));
    }
    if let Some(stored) = world
        .stored
        .as_ref()
        .filter(|stored| !stored.is_clean() && classes.iter().any(|class| class.proven))
    {
        let reason = format!(
            "strongroom verify found {} faults and {} bytes that nothing accounts for",
            stored.faults, stored.unaccounted
        );
        return Ok(Verdict::fail(reason, facts));
    }
    if let Some(not) = untold(&classes) {
        return Err(not.into());
    }
    let partial: Vec<&str> = classes
        .iter()
        .filter(|class| class.state == State::Partial && class.in_use == Ok(true))
        .map(|class| class.name.as_str())
        .collect();
    let note = if partial.is_empty() {
        String::new()
    } else {
        format!("; in part only: {}", partial.join(", "))
    };
    let used = classes.iter().filter(|class| class.in_use == Ok(true)).count();
    Ok(Verdict::pass(
        format!("each of {used} classes in use is under the customer's key{note}"),
        facts,
    ))
}

/// What keeps a verdict from being passed: a class of which it is not known whether it is in use, or under whose key.
fn untold(classes: &[Class]) -> Option<NotRead> {
    let open: Vec<(&Class, &NotRead)> = classes
        .iter()
        .filter(|class| matches!(class.state, State::NotCovered | State::Unknown))
        .filter_map(|class| class.in_use.as_ref().err().map(|not| (class, not)))
        .collect();
    if let Some((_, not)) = open.first() {
        let names: Vec<&str> = open.iter().map(|(class, _)| class.name.as_str()).collect();
        return Some(NotRead {
            hides: format!("{}; not told: {}", not.hides, names.join(", ")),
            ..(*not).clone()
        });
    }
    if let Some(class) = classes
        .iter()
        .find(|class| class.state == State::Unknown && class.in_use == Ok(true))
    {
        return Some(NotRead::unasked(
            format!("what keeps {}", class.name),
            format!("whose key {} is under", class.name),
        ));
    }
    let blind = classes
        .iter()
        .any(|class| class.proven && class.state == State::Partial);
    blind.then(|| {
        NotRead::unasked(
            "strongroom verify --output json",
            "the stored bytes: they were not opened with keys",
        )
    })
}
