//! A finding: what was judged, of which resource, on which facts.

use serde::{Deserialize, Serialize};

use crate::fact::FactId;

/// A control: one question, asked of every resource that it applies to.
#[derive(Clone, Debug, Serialize)]
pub struct Control {
    /// Its id in the catalogue, such as `N01`.
    pub id: &'static str,
    /// The question.
    pub question: &'static str,
    /// How bad a failure is.
    pub severity: Severity,
    /// Where the rule comes from.
    pub sources: &'static [Reference],
    /// How to mend a failure: a command for `az`, with `<placeholders>`.
    pub remedy: &'static str,
    /// Which other rule says otherwise, and what follows.
    pub conflicts: &'static [&'static str],
    /// The frameworks' controls that it speaks to.
    pub mappings: &'static [Mapping],
}

/// Where a rule comes from.
#[derive(Clone, Debug, Serialize)]
pub struct Reference {
    /// The document or rule set.
    pub title: &'static str,
    /// Where in it: a rule's id, a section, an address.
    pub locator: &'static str,
    /// As of when, `YYYY-MM` or `YYYY-MM-DD`.
    pub date: &'static str,
}

/// A control of a framework.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mapping {
    /// The framework.
    pub framework: Framework,
    /// The control's id there, such as `SC-12`.
    pub control: &'static str,
}

/// A framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framework {
    /// NIST SP 800-53 Rev. 5.
    Nist80053,
    /// ISO/IEC 27001:2022, Annex A.
    Iso27001,
    /// Microsoft cloud security benchmark.
    Mcsb,
}

/// How bad a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Says something; fails nobody.
    Info,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// The control as a whole does not hold.
    Critical,
}

/// What was found. Six answers, none folded into another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It holds.
    Pass,
    /// It does not hold.
    Fail,
    /// The question does not arise for this resource.
    NotApplicable,
    /// What would tell could not be read.
    CouldNotCheck {
        /// The status of the read that failed, where there was an answer.
        status: Option<u16>,
        /// The call that failed or was missing.
        call: String,
    },
    /// It does not hold, and somebody answers for that.
    Excepted {
        /// Who approved it.
        approver: String,
        /// Until when, `YYYY-MM-DD`.
        until: String,
        /// Why. Not `reason` in JSON: a finding has one of its own, and both stand in one object.
        #[serde(rename = "exception")]
        reason: String,
    },
    /// Two rules that both apply disagree.
    Conflict {
        /// The rules, cited.
        rules: Vec<String>,
    },
}

/// One judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The control's id.
    pub control: String,
    /// The resource judged: an ARM id or key id.
    pub resource: String,
    /// What was found.
    #[serde(flatten)]
    pub answer: Answer,
    /// How bad a failure is, here.
    pub severity: Severity,
    /// Why, in one sentence for people.
    pub reason: String,
    /// The facts it stands on.
    pub facts: Vec<FactId>,
    /// How to mend it, with the resource's own names filled in, where it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The newest of the facts, in milliseconds since the Unix epoch.
    pub as_of_ms: u64,
    /// Who owns the resource, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Everything that was judged in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// In the order of control, then resource.
    pub findings: Vec<Finding>,
    /// The way from each account to the proof of use.
    pub chains: Vec<Chain>,
    /// What stands with what.
    pub graph: Graph,
    /// What is under the customer's key and what is not.
    pub coverage: Vec<Coverage>,
    /// Versions, uses and drills, in time.
    pub timeline: Vec<Moment>,
}

/// The way from an account to the proof of use of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The account's ARM id.
    pub account: String,
    /// Account, key, version, identity, grant, vault, network, use; in this order, as far as it goes.
    pub hops: Vec<Hop>,
}

/// One hop of a chain. The first whose answer is not `pass` is where it breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// Which hop, such as `key`.
    pub hop: String,
    /// What it leads to: a resource or key id.
    pub target: String,
    /// Whether it holds.
    #[serde(flatten)]
    pub answer: Answer,
    /// Why, in one sentence.
    pub reason: String,
    /// The facts it stands on.
    pub facts: Vec<FactId>,
}

/// What stands with what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    /// Accounts, keys, key versions, identities, vaults, dependents; in the order of their ids.
    pub nodes: Vec<Node>,
    /// In the order of `from`, `to`, `relation`.
    pub edges: Vec<Edge>,
}

/// One thing in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its ARM id, key id or object id.
    pub id: String,
    /// `account`, `key`, `key-version`, `identity`, `vault`, `dependent`, `deployment`, `sink`.
    pub kind: String,
    /// What to write beside it.
    pub label: String,
    /// Who owns it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// One relation in the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The node it starts at.
    pub from: String,
    /// The node it leads to.
    pub to: String,
    /// Such as `encrypted-with`, `acts-as`, `may-unwrap`, `kept-in`, `connected-to`, `logs-to`.
    pub relation: String,
    /// `read`, or `declared` where only the design says so.
    pub known_by: String,
}

/// Whether a class of artefacts is under the customer's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The account's ARM id.
    pub account: String,
    /// The class, such as `Fine-tuning`.
    pub class: String,
    /// `covered`, `not-covered`, `partial` or `unknown`.
    pub state: String,
    /// `proven`: the stored bytes were read. `documented`: a dated table says so.
    pub by: String,
    /// Whether the account has such artefacts; none where that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_use: Option<bool>,
    /// The source, with its date.
    pub source: String,
    /// The facts it stands on.
    pub facts: Vec<FactId>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What it happened to: a key id or resource id.
    pub subject: String,
    /// Such as `version-created`, `version-disabled`, `used`, `expires`, `drill`.
    pub what: String,
    /// The facts it stands on.
    pub facts: Vec<FactId>,
}
