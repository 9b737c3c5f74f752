//! The approved design, `strongroom.yaml`: what was agreed, to be held against what is live.

mod live;
mod node;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::finding::Severity;

pub use self::live::{Difference, Live};

/// What was approved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Design {
    /// Where the decision is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The accounts, by their ARM id in small letters.
    pub accounts: BTreeMap<String, ApprovedAccount>,
    /// Who owns each vault, by its ARM id in small letters.
    pub vaults: BTreeMap<String, ApprovedVault>,
    /// What does not hold, and who answers for that.
    pub exceptions: Vec<Exception>,
    /// The queries that are to watch over all this.
    pub monitoring: Vec<MonitoringQuery>,
    /// When a check counts as passed.
    pub acceptance: Vec<Criterion>,
}

/// One account as it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ApprovedAccount {
    /// The ARM id, as it is written in the file.
    pub id: String,
    /// Who owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The customer key.
    pub key: ApprovedKey,
    /// Who asks the vault for the account.
    pub identity: ApprovedIdentity,
    /// How it may be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkPath>,
    /// How the vault may be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_network: Option<VaultPath>,
    /// What else the account's data lies in, by ARM id in small letters or, where there is none, as written.
    pub dependencies: BTreeMap<String, Dependency>,
    /// How long things are kept.
    pub retention: Retention,
    /// What a drill is to reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillTarget>,
}

/// The customer key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ApprovedKey {
    /// `https://vault/keys/name`, in small letters, without a port if that is 443.
    pub uri: String,
    /// Which of its versions.
    pub version: VersionPolicy,
    /// Who owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Which version of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionPolicy {
    /// The newest; the account names none.
    Latest,
    /// Some version, named in the account; which one may change.
    Pinned,
    /// This one.
    Exactly(String),
}

/// Who asks the vault for the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovedIdentity {
    /// The account's own identity.
    System,
    /// A user-assigned identity: its ARM id in small letters.
    User(String),
}

/// How an account may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkPath {
    /// From anywhere.
    Public,
    /// From addresses and networks that its firewall names.
    Restricted,
    /// Through private endpoints alone.
    Private,
}

/// How a vault may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VaultPath {
    /// From anywhere.
    Public,
    /// Its firewall is on and lets trusted services through.
    TrustedServices,
    /// Through private endpoints alone, and for trusted services.
    Private,
}

/// Something else that the account's data lies in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Dependency {
    /// The ARM id, or a name, as written in the file.
    pub id: String,
    /// Who owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Under whose key it is to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<DependencyKey>,
}

/// Under whose key a dependency is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DependencyKey {
    /// The account's own.
    Same,
    /// Another of the customer's.
    Other,
    /// The provider's.
    Provider,
}

/// How long things are kept, in days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Retention {
    /// Deleted keys and vaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_delete_days: Option<u32>,
    /// The vault's audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log_days: Option<u32>,
}

/// What a drill is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DrillTarget {
    /// From the loss of the key until nothing is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Duration>,
    /// From the return of the key until all is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Duration>,
    /// How old the last drill may be, in days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_days: Option<u32>,
}

/// A vault, as far as the design says something of it beside the accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ApprovedVault {
    /// The ARM id, as written in the file.
    pub id: String,
    /// Who owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Something that does not hold, for a while and with a name to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exception {
    /// The control's id, such as `N07`.
    pub control: String,
    /// The resource, in small letters; every resource, if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Who approved it.
    pub approver: String,
    /// The last day on which it counts, `YYYY-MM-DD`, in UTC.
    pub until: String,
    /// Why.
    pub reason: String,
}

/// A query that is to watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MonitoringQuery {
    /// Its name.
    pub name: String,
    /// What runs it: the ARM id of an alert rule in small letters, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The query.
    pub query: String,
}

/// What a check must not find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// No failure of this severity or worse.
    NoFailureFrom(Severity),
    /// Nothing that could not be checked, of this severity or worse.
    NothingUncheckedFrom(Severity),
    /// This control passes for every resource that it applies to.
    Passes(String),
}

/// Why a file is no design: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesignError {
    /// In the order of their lines.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong in a design's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl Fault {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for DesignError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Fault { line, what }) in self.faults.iter().enumerate() {
            let end = if number > 0 { "\n" } else { "" };
            write!(out, "{end}line {line}: {what}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DesignError {}
