//! The recorded estate, and cases as changes of it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a fixture that does not fit is a test that fails"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;
use strongroom_operator::controls::judge;
use strongroom_operator::design::{
    ApprovedAccount, ApprovedIdentity, ApprovedKey, Dependency, Design, DrillTarget, Exception, NetworkPath,
    VersionPolicy,
};
use strongroom_operator::fact::{Bytes, Fact, Outcome, Request, Source};
use strongroom_operator::finding::{Answer, Judgement};
use strongroom_operator::world::World;

/// 25 November 2026, 12:00 UTC.
pub(crate) const NOW_MS: u64 = 1_795_608_000_000;

/// One answer of the estate.
#[derive(Clone, Deserialize)]
pub(crate) struct Recorded {
    source: Source,
    question: String,
    about: Option<String>,
    method: String,
    url: String,
    /// The body of the request.
    sent: Option<Value>,
    status: u16,
    body: Value,
}

/// What is changed of the estate, and what follows.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// A sentence.
    pub(crate) name: String,
    /// The control, if not the one that the file is named after.
    pub(crate) control: Option<String>,
    /// A part of the resource's id.
    #[serde(default)]
    pub(crate) resource: String,
    #[serde(default)]
    change: Vec<Change>,
    /// What was approved.
    design: Option<Approved>,
    /// The answer.
    pub(crate) answer: Expected,
    /// A part of the reason.
    #[serde(default)]
    pub(crate) says: String,
    #[serde(skip)]
    backwards: bool,
}

/// What was approved of the estate's account, and what is excepted.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Approved {
    key: Option<String>,
    version: Option<String>,
    identity: Option<String>,
    network: Option<String>,
    dependencies: Vec<String>,
    drill: bool,
    exception: Option<[String; 3]>,
}

impl Approved {
    fn design(&self) -> Design {
        let account = ApprovedAccount {
            id: ACCOUNT.to_owned(),
            owner: None,
            key: ApprovedKey {
                uri: self
                    .key
                    .clone()
                    .unwrap_or_else(|| "https://contoso-kv.vault.azure.net/keys/cmk".to_owned()),
                version: match self.version.as_deref() {
                    None | Some("latest") => VersionPolicy::Latest,
                    Some("pinned") => VersionPolicy::Pinned,
                    Some(version) => VersionPolicy::Exactly(version.to_owned()),
                },
                owner: None,
            },
            identity: self
                .identity
                .clone()
                .map_or(ApprovedIdentity::System, ApprovedIdentity::User),
            network: self.network.as_deref().map(|_| NetworkPath::Private),
            vault_network: None,
            dependencies: self
                .dependencies
                .iter()
                .map(|id| (id.clone(), dependency(id)))
                .collect(),
            retention: Default::default(),
            drill: self.drill.then_some(DrillTarget {
                revocation: None,
                recovery: None,
                every_days: Some(90),
            }),
        };
        let exception = self
            .exception
            .clone()
            .map(|[control, approver, until]| Exception {
                control,
                resource: None,
                approver,
                until,
                reason: "the migration is under way".to_owned(),
            });
        Design {
            accounts: [(ACCOUNT.to_owned(), account)].into(),
            exceptions: exception.into_iter().collect(),
            ..Design::default()
        }
    }
}

fn dependency(id: &str) -> Dependency {
    Dependency {
        id: id.to_owned(),
        owner: None,
        key: None,
    }
}

/// The estate's account, as a design names it.
const ACCOUNT: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourcegroups/contoso-rg/providers/microsoft.cognitiveservices/accounts/contoso-ai";

/// One change: of which answer, and what.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    question: String,
    /// A part of what it is about; all of the question's answers, if not given.
    #[serde(default)]
    about: String,
    /// The answer has this status, and no body.
    status: Option<u16>,
    /// This was sent.
    sent: Option<Value>,
    /// It is about something else.
    about_is: Option<String>,
    /// It answers another question.
    question_is: Option<String>,
    /// Nobody asked.
    #[serde(default)]
    unasked: bool,
    /// Where in the body, as a JSON pointer; all of it, if empty.
    at: Option<String>,
    /// What stands there now; without it, nothing does. A last part `-` is the end of a list.
    to: Option<Value>,
}

/// The answers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Expected {
    Pass,
    Fail,
    NotApplicable,
    CouldNotCheck,
    Excepted,
    Conflict,
}

impl Expected {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotApplicable => "not-applicable",
            Self::CouldNotCheck => "could-not-check",
            Self::Excepted => "excepted",
            Self::Conflict => "conflict",
        }
    }
}

pub(crate) fn named(answer: &Answer) -> Expected {
    match answer {
        Answer::Pass => Expected::Pass,
        Answer::Fail => Expected::Fail,
        Answer::NotApplicable => Expected::NotApplicable,
        Answer::CouldNotCheck { .. } => Expected::CouldNotCheck,
        Answer::Excepted { .. } => Expected::Excepted,
        Answer::Conflict { .. } => Expected::Conflict,
    }
}

impl Case {
    /// The estate as it is.
    pub(crate) fn plain() -> Self {
        serde_json::from_str(r#"{"name": "the estate as it is", "answer": "pass"}"#).unwrap()
    }

    /// The same facts, the last one first.
    pub(crate) fn reversed(mut self) -> Self {
        self.backwards = true;
        self
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/controls")
}

/// Every case, with the name of its file.
pub(crate) fn cases() -> Vec<(String, Case)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder().join("cases")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let cases: Vec<Case> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        all.extend(cases.into_iter().map(|case| (name.clone(), case)));
    }
    assert!(!all.is_empty());
    all
}

/// The facts of a case.
pub(crate) fn facts(case: &Case) -> Vec<Fact> {
    static ESTATE: LazyLock<Vec<Recorded>> = LazyLock::new(|| {
        let text = fs::read_to_string(folder().join("estate.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    });
    let mut recorded = ESTATE.clone();
    for change in &case.change {
        apply(change, &mut recorded, &case.name);
    }
    if case.backwards {
        recorded.reverse();
    }
    recorded.into_iter().map(fact).collect()
}

/// What is said of the estate with a case's changes.
pub(crate) fn judged(case: &Case) -> Judgement {
    let facts = facts(case).into_iter().map(Ok::<_, std::convert::Infallible>);
    let design = case.design.as_ref().map(Approved::design);
    let world = World::read(facts, design.as_ref()).unwrap();
    judge(&world, NOW_MS)
}

/// What is said of the estate with each answer in turn cut off in the middle.
pub(crate) fn spoilt() -> impl Iterator<Item = Judgement> {
    let whole = facts(&Case::plain());
    (0..whole.len()).map(move |which| {
        let mut facts = whole.clone();
        if let Outcome::Answered { body, .. } = &mut facts[which].outcome {
            body.0.truncate(body.0.len() / 2);
        }
        let world = World::read(facts.into_iter().map(Ok::<_, std::convert::Infallible>), None).unwrap();
        judge(&world, NOW_MS)
    })
}

fn apply(change: &Change, recorded: &mut Vec<Recorded>, case: &str) {
    let about = change.about.to_ascii_lowercase();
    let concerns = |one: &Recorded| {
        let named = one.about.as_deref().unwrap_or_default().to_ascii_lowercase();
        one.question == change.question && named.ends_with(&about)
    };
    assert!(
        recorded.iter().any(concerns),
        "{case}: nothing answers {} {}",
        change.question,
        change.about
    );
    if change.unasked {
        recorded.retain(|one| !concerns(one));
        return;
    }
    for one in recorded.iter_mut().filter(|one| concerns(one)) {
        if change.sent.is_some() {
            one.sent.clone_from(&change.sent);
        }
        if let Some(about) = &change.about_is {
            one.about = Some(about.clone());
        }
        if let Some(question) = &change.question_is {
            one.question.clone_from(question);
        }
        if let Some(status) = change.status {
            (one.status, one.body) = (
                status,
                serde_json::json!({"error": {"code": "Recorded", "message": "recorded"}}),
            );
        }
        if change.at.as_deref() == Some("") {
            one.body = change.to.clone().unwrap();
        } else if let Some(at) = &change.at {
            let (parent, name) = at.rsplit_once('/').unwrap();
            let name = name.replace("~1", "/");
            let name = name.as_str();
            let parent = one
                .body
                .pointer_mut(parent)
                .unwrap_or_else(|| panic!("{case}: {at} is not there"));
            match (parent, &change.to) {
                (Value::Array(items), Some(to)) if name == "-" => items.push(to.clone()),
                (Value::Array(items), Some(to)) => items[name.parse::<usize>().unwrap()] = to.clone(),
                (Value::Array(items), None) => drop(items.remove(name.parse().unwrap())),
                (Value::Object(members), Some(to)) => drop(members.insert(name.to_owned(), to.clone())),
                (Value::Object(members), None) => {
                    assert!(members.shift_remove(name).is_some(), "{case}: {at} is not there");
                }
                _ => panic!("{case}: {at} leads nowhere"),
            }
        }
    }
}

fn fact(recorded: Recorded) -> Fact {
    Fact {
        source: recorded.source,
        question: recorded.question,
        about: recorded.about,
        caller: "00000000-0000-0000-0000-000000000000".to_owned(),
        request: Request {
            method: recorded.method,
            url: recorded.url,
            api_version: None,
            body: recorded
                .sent
                .map(|sent| Bytes(serde_json::to_vec(&sent).unwrap())),
        },
        outcome: Outcome::Answered {
            status: recorded.status,
            headers: Default::default(),
            body: Bytes(serde_json::to_vec(&recorded.body).unwrap()),
        },
        received_ms: NOW_MS - 60_000,
        clock_offset_ms: None,
    }
}
