//! The catalogue of controls, and the judgement of a world by it.
//!
//! Each control is one question with one pure function: from what was read to one of six answers. What could not be read is never
//! folded into another answer, and what needs the approved design, an earlier state or the vault's log says so where it is missing.

mod account;
mod chain;
mod cite;
mod coverage;
mod dependent;
mod drift;
mod governance;
mod key;
mod picture;
mod proof;
mod reach;
mod reference;
mod vault;
mod verdict;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::verdict::{Judged, Verdict};
use crate::fact::FactId;
use crate::finding::{Answer, Control, Finding, Judgement};
use crate::question;
use crate::world::{
    Account, ArmId, Dependent, Encryption, FactRef, KeyName, KeyPrincipal, Lookup, NotRead, Vault, World,
};

/// A control and what decides it.
struct Rule {
    control: Control,
    judge: Judge,
}

/// What a control is asked of, and the function that answers.
#[derive(Clone, Copy)]
enum Judge {
    /// Every AI account.
    Account(fn(&World, &Account, Timestamp) -> Judged),
    /// Every vault that holds an account's key.
    Vault(fn(&World, &Vault, Timestamp) -> Judged),
    /// Every key that an account names, without its version.
    Key(fn(&World, &KeyName, Timestamp) -> Judged),
    /// Every resource of these types that stands with an account.
    Dependent(&'static [&'static str], fn(&Dependent) -> Judged),
    /// Every subscription that the caller sees.
    Subscription(fn(&World, &ArmId, Timestamp) -> Judged),
    /// The run itself: what it says, by resource.
    Run(fn(&World) -> Vec<(String, Judged)>),
}

/// Every control, in the order of the tables.
fn rules() -> impl Iterator<Item = &'static Rule> {
    let own = [
        reference::RULES,
        proof::RULES,
        coverage::RULES,
        reach::RULES,
        drift::RULES,
        governance::RULES,
    ];
    let known = [account::RULES, vault::RULES, key::RULES, dependent::RULES];
    own.into_iter().chain(known).flatten()
}

/// The catalogue.
pub static CATALOGUE: LazyLock<Vec<Control>> = LazyLock::new(|| {
    let mut all: Vec<Control> = rules().map(|rule| rule.control.clone()).collect();
    all.sort_by_key(|control| control.id);
    all
});

/// Judges a world by every control, as of `now_ms`, in milliseconds since the Unix epoch. The same world and moment give the same.
pub fn judge(world: &World, now_ms: u64) -> Judgement {
    let now = i64::try_from(now_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .unwrap_or(Timestamp::MAX);
    let mut bench = Bench {
        world,
        now,
        now_ms,
        touched: reach::touched(world),
        findings: Vec::new(),
    };
    for rule in rules() {
        bench.ask(rule);
    }
    let mut findings = bench.findings;
    findings.sort_by(|one, other| (&one.control, &one.resource).cmp(&(&other.control, &other.resource)));
    Judgement {
        findings,
        chains: world
            .accounts
            .values()
            .filter_map(|account| chain::of(world, account, now))
            .collect(),
        graph: picture::graph(world),
        coverage: world
            .accounts
            .values()
            .flat_map(|account| coverage::of(world, account))
            .map(|row| row.told(world))
            .collect(),
        timeline: picture::timeline(world),
    }
}

/// Where findings are made.
struct Bench<'a> {
    world: &'a World,
    now: Timestamp,
    now_ms: u64,
    /// The resources that stand with accounts.
    touched: BTreeSet<ArmId>,
    findings: Vec<Finding>,
}

impl Bench<'_> {
    fn ask(&mut self, rule: &Rule) {
        let world = self.world;
        // Without a whole list, what is not on it was not judged: silence must not look like health.
        let listed = match rule.judge {
            Judge::Run(_) => None,
            Judge::Subscription(_) => Some((question::SUBSCRIPTIONS, "the subscriptions")),
            Judge::Account(_) | Judge::Vault(_) | Judge::Key(_) | Judge::Dependent(..) => {
                Some((question::ACCOUNTS, "the AI accounts, and what stands with them"))
            }
        };
        if let Some(Err(not)) = listed.map(|(asked, hides)| world.listed(asked, hides)) {
            self.add(rule, "/", Err(not.into()), Vec::new);
        }
        match rule.judge {
            Judge::Account(judge) => {
                for account in world.accounts.values() {
                    let verdict = judge(world, account, self.now);
                    self.add(rule, account.id.as_str(), verdict, || of_account(world, account));
                }
                self.miss_accounts(rule);
            }
            Judge::Vault(judge) => self.ask_vaults(rule, judge),
            Judge::Dependent(kinds, judge) => self.ask_dependents(rule, kinds, judge),
            Judge::Subscription(judge) => {
                for subscription in &world.subscriptions {
                    let Some(id) = ArmId::read(&format!("/subscriptions/{subscription}")) else {
                        continue;
                    };
                    self.add(rule, id.as_str(), judge(world, &id, self.now), || {
                        vec![("<subscription-id>", id.to_string())]
                    });
                }
            }
            Judge::Run(judge) => {
                for (resource, judged) in judge(world) {
                    self.add(rule, &resource, judged, Vec::new);
                }
            }
            Judge::Key(judge) => {
                for key in world.keys_in_use() {
                    self.add(rule, &key.to_string(), judge(world, key, self.now), || {
                        of_key(world, key)
                    });
                }
            }
        }
    }

    /// An approved account that no answer shows was not judged: it is gone, or hidden from the caller.
    fn miss_accounts(&mut self, rule: &Rule) {
        let world = self.world;
        let approved = world.design.iter().flat_map(|design| design.accounts.keys());
        for id in approved {
            if ArmId::read(id).is_some_and(|id| world.accounts.contains_key(&id)) {
                continue;
            }
            let not = NotRead::unasked(
                "the list of the AI accounts does not show it",
                "the account itself",
            );
            self.add(rule, id, Err(not.into()), Vec::new);
        }
    }

    /// Asks of each resource of these types that stands with an account; of one that was not read, only that is known.
    fn ask_dependents(&mut self, rule: &Rule, kinds: &[&str], judge: fn(&Dependent) -> Judged) {
        let world = self.world;
        let of_kind = |id: &&ArmId| id.kind().is_some_and(|kind| kinds.contains(&kind.as_str()));
        let ids: Vec<ArmId> = self.touched.iter().filter(of_kind).cloned().collect();
        for id in ids {
            let judged = match world.dependents.get(&id) {
                Some(resource) => judge(resource),
                None => Err(reach::unread(world, id.as_str()).into()),
            };
            self.add(rule, id.as_str(), judged, || {
                let group = id.group().unwrap_or_default().to_owned();
                vec![
                    ("<dependent-id>", id.to_string()),
                    ("<dependent>", id.name().to_owned()),
                    ("<group>", group),
                ]
            });
        }
    }

    /// Asks of each vault that holds a key in use. Of one that is not there, or could not be read, only that is known.
    fn ask_vaults(&mut self, rule: &Rule, judge: fn(&World, &Vault, Timestamp) -> Judged) {
        let world = self.world;
        let mut keys: Vec<&KeyName> = world.keys_in_use().collect();
        keys.dedup_by_key(|key| &key.vault);
        let mut asked = BTreeSet::new();
        for key in keys {
            let unknown = match world.vault_of(key) {
                Lookup::Known(vault, _) => {
                    if asked.insert(&vault.id) {
                        let verdict = judge(world, vault, self.now);
                        self.add(rule, vault.id.as_str(), verdict, || of_vault(vault));
                    }
                    continue;
                }
                Lookup::Absent(fact) => Ok(Verdict::fail("the vault is deleted", [fact])),
                Lookup::NotRead(not) => Err(not.into()),
            };
            self.add(rule, &format!("https://{}", key.vault), unknown, || {
                of_key(world, key)
            });
        }
    }

    fn add(&mut self, rule: &Rule, resource: &str, judged: Judged, names: impl FnOnce() -> Names) {
        let mut verdict = Verdict::of(judged);
        if verdict.answer == Answer::Fail {
            self.except(rule.control.id, resource, &mut verdict);
        }
        let remedy = (verdict.answer == Answer::Fail).then(|| fill(rule.control.remedy, &names()));
        let newest = verdict
            .facts
            .iter()
            .filter_map(|fact| self.world.fact(*fact))
            .map(|mark| mark.at_ms)
            .max();
        self.findings.push(Finding {
            control: rule.control.id.to_owned(),
            resource: resource.to_owned(),
            answer: verdict.answer,
            severity: rule.control.severity,
            reason: verdict.reason,
            facts: ids(self.world, &verdict.facts),
            remedy,
            as_of_ms: newest.unwrap_or(self.now_ms),
            owner: ArmId::read(resource).and_then(|id| self.world.owner_of(&id)),
        });
    }

    /// What the design excepts, for as long as it does.
    fn except(&self, control: &str, resource: &str, verdict: &mut Verdict) {
        let today = TimeZone::UTC.to_datetime(self.now).date().to_string();
        let exceptions = self.world.design.iter().flat_map(|design| &design.exceptions);
        let mut for_this = exceptions.filter(|exception| {
            let named = exception
                .resource
                .as_deref()
                .is_none_or(|named| named.eq_ignore_ascii_case(resource));
            exception.control.eq_ignore_ascii_case(control) && named
        });
        // Dates of one form compare as texts.
        if let Some(exception) = for_this.clone().find(|exception| exception.until >= today) {
            verdict.answer = Answer::Excepted {
                approver: exception.approver.clone(),
                until: exception.until.clone(),
                reason: exception.reason.clone(),
            };
        } else if let Some(ended) = for_this.next() {
            verdict.reason = format!(
                "{}; the exception that {} approved ended on {}",
                verdict.reason, ended.approver, ended.until
            );
        }
    }
}

/// The ids of facts, in order.
fn ids(world: &World, facts: &[FactRef]) -> Vec<FactId> {
    let mut ids: Vec<FactId> = facts
        .iter()
        .filter_map(|fact| world.fact(*fact))
        .map(|mark| mark.id.clone())
        .collect();
    ids.sort();
    ids
}

/// What stands for the placeholders of a remedy.
type Names = Vec<(&'static str, String)>;

fn fill(remedy: &str, names: &Names) -> String {
    names
        .iter()
        .fold(remedy.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn of_account(world: &World, account: &Account) -> Names {
    let mut names = vec![
        ("<account>", account.name.clone()),
        ("<account-id>", account.id.to_string()),
        ("<group>", account.id.group().unwrap_or_default().to_owned()),
    ];
    if let KeyPrincipal::Is(principal) = account.key_principal() {
        names.push(("<principal>", principal.to_owned()));
    }
    if let Encryption::Customer(key) = &account.encryption
        && let Some(name) = &key.name
    {
        names.extend(of_key(world, name));
    }
    names
}

fn of_key(world: &World, key: &KeyName) -> Names {
    let mut names = vec![
        ("<key-id>", key.to_string()),
        ("<key>", key.key.clone()),
        ("<vault-host>", key.vault.to_string()),
    ];
    match world.vault_of(key) {
        Lookup::Known(vault, _) => {
            names.push(("<key-scope>", vault.id.child("keys", &key.key).to_string()));
            names.extend(of_vault(vault));
        }
        Lookup::Absent(_) | Lookup::NotRead(_) => names.push(("<vault>", key.vault.name().to_owned())),
    }
    names
}

fn of_vault(vault: &Vault) -> Names {
    vec![
        ("<vault>", vault.name.clone()),
        ("<vault-id>", vault.id.to_string()),
    ]
}
