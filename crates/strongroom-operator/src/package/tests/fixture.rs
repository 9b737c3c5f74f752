//! A run with its facts and its judgement: small, with every answer, and with names that somebody chose to do harm.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strongroom_evidence::{Trust, TrustedKey, Verdict, verify};
use tempfile::TempDir;

use crate::fact::{Bytes, Fact, FactId, Failure, Outcome, Request, Source, encode};
use crate::facts::FactsError;
use crate::finding::{
    Answer, Chain, Control, Coverage, Edge, Finding, Framework, Graph, Hop, Judgement, Mapping, Moment, Node,
    Reference, Severity,
};
use crate::package::{Contents, EvidenceLog, LocalKey, PackageError, Redacted, Signer as _, Written, write};
use crate::run::{Asked, Caller, Run};

/// 25 November 2026, 17:00 UTC.
pub(super) const START: u64 = 1_795_626_000_000;

pub(super) const ACCOUNT: &str = "/subscriptions/3f2504e0-4f89-41d3-9a0c-0305e82c3301/resourceGroups/rg-claims/providers/Microsoft.CognitiveServices/accounts/ai-claims";
const HOSTILE: &str = "/subscriptions/3f2504e0-4f89-41d3-9a0c-0305e82c3301/resourceGroups/rg-claims/providers/Microsoft.CognitiveServices/accounts/<script>alert(1)</script>";
const VAULT: &str = "/subscriptions/3f2504e0-4f89-41d3-9a0c-0305e82c3301/resourceGroups/rg-claims/providers/Microsoft.KeyVault/vaults/kv-claims";
const KEY: &str = "https://kv-claims.vault.azure.net/keys/cmk-claims";
const VERSION: &str = "https://kv-claims.vault.azure.net/keys/cmk-claims/0123456789abcdef0123456789abcdef";
const IDENTITY: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

const NIST: &[Mapping] = &[
    Mapping {
        framework: Framework::Nist80053,
        control: "SC-12",
    },
    Mapping {
        framework: Framework::Nist80053,
        control: "SC-28(1)",
    },
    Mapping {
        framework: Framework::Iso27001,
        control: "A.8.24",
    },
    Mapping {
        framework: Framework::Mcsb,
        control: "DP-5",
    },
];

pub(super) const CATALOGUE: &[Control] = &[
    control(
        "A01",
        "Is data at rest under a customer-managed key?",
        Severity::High,
    ),
    control(
        "N01",
        "Does the referenced key version exist, enabled and in its time?",
        Severity::Critical,
    ),
    control(
        "N02",
        "Can the account's identity wrap and unwrap with it?",
        Severity::Critical,
    ),
    control(
        "N10",
        "What is outside the customer's key although the account is green?",
        Severity::High,
    ),
    control("C01", "Does the key have an expiry date?", Severity::Medium),
];

const fn control(id: &'static str, question: &'static str, severity: Severity) -> Control {
    Control {
        id,
        question,
        severity,
        sources: &[Reference {
            title: "Azure Policy",
            locator: "67121cc7-ff39-4ab8-b7e3-95b84dab487d",
            date: "2026-08",
        }],
        remedy: "az cognitiveservices account update --name <account>",
        conflicts: &["CIS 8.3.1 demands an expiry date; an expired key breaks wrapping"],
        mappings: NIST,
    }
}

/// What a package is made of, and where its key and log lie.
pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) run: Run,
    pub(super) facts: Vec<(FactId, Vec<u8>)>,
    pub(super) judgement: Judgement,
    pub(super) redaction: Option<Redacted>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let answered =
            |question: &str, about: &str, status, body: &[u8]| fact(question, about, outcome(status, body));
        let mut decoded = vec![
            answered(
                "accounts",
                ACCOUNT,
                200,
                format!("{{\"id\":\"{ACCOUNT}\",\"owner\":\"ann.lee@example.org\"}}").as_bytes(),
            ),
            answered(
                "key",
                KEY,
                200,
                format!("{{\"key\":{{\"kid\":\"{VERSION}\"}},\"from\":\"203.0.113.7\"}}").as_bytes(),
            ),
            answered("role-assignments", VAULT, 200, b"\xff\xfe not text"),
            answered(
                "key-use",
                VAULT,
                403,
                b"{\"error\":{\"code\":\"Forbidden\",\"message\":\"<b>no</b>\"}}",
            ),
            fact(
                "diagnostic-settings",
                VAULT,
                Outcome::Failed {
                    failure: Failure::TimedOut,
                    message: "no answer within 30 s".to_owned(),
                },
            ),
        ];
        let mut facts: Vec<(FactId, Vec<u8>)> = decoded.iter().map(encode).collect();
        let mut asked: Vec<Asked> = decoded
            .drain(..)
            .zip(&facts)
            .map(|(fact, (id, _))| Asked {
                question: fact.question,
                about: fact.about,
                fact: id.clone(),
            })
            .collect();
        let ids: Vec<FactId> = facts.iter().map(|(id, _)| id.clone()).collect();
        facts.sort();
        asked.sort();
        let judgement = judgement(&ids);
        Self {
            folder,
            run: run(asked),
            facts,
            judgement,
            redaction: None,
        }
    }

    /// The operator's folder, with a key that is the same each time.
    pub(super) fn key(&self) -> LocalKey {
        let folder = self.folder.path().join("operator");
        fs::create_dir_all(&folder).unwrap();
        if !folder.join("key.pkcs8").exists() {
            fs::write(folder.join("key.pkcs8"), fixed_key()).unwrap();
        }
        LocalKey::load_or_create(&folder, "strongroom.example/evidence").unwrap()
    }

    pub(super) fn log(&self, key: &LocalKey) -> EvidenceLog {
        EvidenceLog::open(&self.folder.path().join("operator/log"), key).unwrap()
    }

    pub(super) fn contents(
        &self,
    ) -> Contents<'_, impl Iterator<Item = Result<(FactId, Vec<u8>), FactsError>> + '_> {
        Contents {
            run: &self.run,
            facts: self.facts.iter().cloned().map(Ok),
            judgement: &self.judgement,
            catalogue: CATALOGUE,
            redaction: self.redaction.as_ref(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn try_write(&self, name: &str) -> Result<Written, PackageError> {
        let key = self.key();
        write(&self.path(name), self.contents(), &key, &self.log(&key))
    }

    pub(super) fn write(&self, name: &str) -> PathBuf {
        self.try_write(name).unwrap();
        self.path(name)
    }

    pub(super) fn trust(&self) -> Trust {
        let keys = TrustedKey::parse_all(&self.key().public_key().unwrap().text).unwrap();
        Trust {
            keys,
            ..Trust::default()
        }
    }

    pub(super) fn verify(&self, path: &Path) -> Verdict {
        verify(path, &self.trust()).unwrap()
    }
}

/// An Ed25519 key as PKCS#8 of version 1, from a seed that nobody keeps secret.
fn fixed_key() -> Vec<u8> {
    let seed = [7; 32];
    [
        hex::decode("302e020100300506032b657004220420").unwrap(),
        seed.to_vec(),
    ]
    .concat()
}

/// A file of a folder by its path, for all of it.
pub(super) fn read_all(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for sub in ["", "raw", "oscal"] {
        for entry in fs::read_dir(folder.join(sub)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

fn run(asked: Vec<Asked>) -> Run {
    Run {
        tool: "strongroom 0.1.0".to_owned(),
        started_ms: START,
        ended_ms: Some(START + 42_000),
        cloud: "public".to_owned(),
        tenant: "0f8fad5b-d9cb-469f-a165-70867728950e".to_owned(),
        subscriptions: vec!["3f2504e0-4f89-41d3-9a0c-0305e82c3301".to_owned()],
        caller: Caller {
            object_id: Some(IDENTITY.to_owned()),
            application_id: None,
            credential: "client-secret".to_owned(),
        },
        clock: "the machine's clock".to_owned(),
        scope: Vec::new(),
        sent: 80,
        repeated: 0,
        asked,
    }
}

fn outcome(status: u16, body: &[u8]) -> Outcome {
    let headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
    Outcome::Answered {
        status,
        headers,
        body: Bytes(body.to_vec()),
    }
}

fn fact(question: &str, about: &str, outcome: Outcome) -> Fact {
    Fact {
        source: Source::ResourceManager,
        question: question.to_owned(),
        about: Some(about.to_owned()),
        caller: IDENTITY.to_owned(),
        request: Request {
            method: "GET".to_owned(),
            url: format!("https://management.azure.com{ACCOUNT}?q={question}"),
            api_version: Some("2025-06-01".to_owned()),
            body: None,
        },
        outcome,
        received_ms: START + 1000,
        clock_offset_ms: Some(-120),
    }
}

fn judgement(facts: &[FactId]) -> Judgement {
    let finding = |control: &str, resource: &str, answer, fact: usize| Finding {
        control: control.to_owned(),
        resource: resource.to_owned(),
        answer,
        severity: Severity::High,
        reason: "The account names a key in `Microsoft.KeyVault`.".to_owned(),
        facts: vec![facts[fact].clone()],
        remedy: None,
        as_of_ms: START + 1000,
        owner: Some("ann.lee@example.org".to_owned()),
    };
    let call = format!("GET https://management.azure.com{VAULT}");
    let mut findings = vec![
        finding("A01", ACCOUNT, Answer::Pass, 0),
        finding("A01", HOSTILE, Answer::Fail, 0),
        finding(
            "C01",
            KEY,
            Answer::Conflict {
                rules: vec!["CIS 8.3.1".to_owned(), "MCSB DP-6".to_owned()],
            },
            1,
        ),
        finding("N01", ACCOUNT, Answer::Pass, 1),
        finding(
            "N02",
            ACCOUNT,
            Answer::CouldNotCheck {
                status: Some(403),
                call,
            },
            3,
        ),
        finding(
            "N10",
            ACCOUNT,
            Answer::Excepted {
                approver: "bob@example.org".to_owned(),
                until: "2027-01-31".to_owned(),
                reason: "agents are not in use".to_owned(),
            },
            0,
        ),
        finding("N10", HOSTILE, Answer::NotApplicable, 0),
    ];
    findings[1].reason = "=HYPERLINK(\"https://evil.example\")\n<img src=x onerror=alert(1)>".to_owned();
    findings[1].remedy = Some("az cognitiveservices account update --name '<script>'".to_owned());
    findings[1].owner = None;
    Judgement {
        findings,
        chains: chains(facts),
        graph: graph(),
        coverage: coverage(facts),
        timeline: timeline(facts),
    }
}

fn chains(facts: &[FactId]) -> Vec<Chain> {
    let hop = |hop: &str, target: &str, answer| Hop {
        hop: hop.to_owned(),
        target: target.to_owned(),
        answer,
        reason: "as read".to_owned(),
        facts: vec![facts[0].clone()],
    };
    let not_told = Answer::CouldNotCheck {
        status: Some(403),
        call: "GET key-use".to_owned(),
    };
    vec![
        Chain {
            account: ACCOUNT.to_owned(),
            hops: vec![
                hop("account", ACCOUNT, Answer::Pass),
                hop("key", KEY, Answer::Pass),
                hop("version", VERSION, Answer::Pass),
                hop("identity", IDENTITY, Answer::Pass),
                hop("use", VERSION, not_told),
            ],
        },
        Chain {
            account: HOSTILE.to_owned(),
            hops: vec![hop("account", HOSTILE, Answer::Fail)],
        },
    ]
}

fn graph() -> Graph {
    let node = |id: &str, kind: &str, label: &str| Node {
        id: id.to_owned(),
        kind: kind.to_owned(),
        label: label.to_owned(),
        owner: Some("ann.lee@example.org".to_owned()),
    };
    let edge = |from: &str, to: &str, relation: &str, known_by: &str| Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        relation: relation.to_owned(),
        known_by: known_by.to_owned(),
    };
    Graph {
        nodes: vec![
            node(ACCOUNT, "account", "ai-claims"),
            node(HOSTILE, "account", "<script>alert(1)</script>"),
            node(IDENTITY, "identity", "ai-claims (system)"),
            node(KEY, "key", "cmk-claims"),
            node(VERSION, "key-version", "0123456789abcdef"),
            node(VAULT, "vault", "kv-claims"),
            node("declared:search", "dependent", "search-claims"),
        ],
        edges: vec![
            edge(ACCOUNT, IDENTITY, "acts-as", "read"),
            edge(ACCOUNT, KEY, "encrypted-with", "read"),
            edge(ACCOUNT, "declared:search", "connected-to", "declared"),
            edge(KEY, VAULT, "kept-in", "read"),
            edge(KEY, VERSION, "has-version", "read"),
            edge(IDENTITY, KEY, "may-unwrap", "read"),
        ],
    }
}

fn coverage(facts: &[FactId]) -> Vec<Coverage> {
    let row = |class: &str, state: &str, in_use| Coverage {
        account: ACCOUNT.to_owned(),
        class: class.to_owned(),
        state: state.to_owned(),
        by: "documented".to_owned(),
        in_use,
        source: "Microsoft, 2026-08-24".to_owned(),
        facts: vec![facts[0].clone()],
    };
    vec![
        row("Assistants", "not-covered", None),
        row("Fine-tuning", "covered", Some(true)),
        row("Prompt agents", "not-covered", Some(false)),
    ]
}

fn timeline(facts: &[FactId]) -> Vec<Moment> {
    let moment = |days: u64, what: &str| Moment {
        at_ms: START - days * 86_400_000,
        subject: VERSION.to_owned(),
        what: what.to_owned(),
        facts: vec![facts[1].clone()],
    };
    vec![
        moment(90, "version-created"),
        moment(40, "drill"),
        moment(2, "used"),
        moment(0, "expires"),
    ]
}

/// For tests that look into what is signed.
pub(super) fn payload(envelope: &[u8]) -> serde_json::Value {
    let envelope: serde_json::Value = serde_json::from_slice(envelope).unwrap();
    let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}
