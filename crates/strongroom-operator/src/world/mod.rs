//! What the facts say of the world, typed, and of each thing where it was read or why it was not.
//!
//! Reading is tolerant: Azure spells names in more than one way, leaves out what is at its default, and adds members that nobody
//! knows. What cannot be understood is never guessed: it becomes a read that told nothing.

mod access;
mod account;
mod dependent;
mod ingest;
pub mod json;
mod key;
mod log;
mod lookup;
pub mod names;
mod stored;
mod vault;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use self::log::AuditLogs;
use self::lookup::Ledger;
use crate::design::Design;

// The public interface is:
pub use access::{Action, Assignment, Grant, Role, Roles, matches};
pub use account::{
    Account, CapabilityHost, Connection, CustomerKey, Deployment, Encryption, Identity, KeyPrincipal,
    Network, Tags, UserIdentity,
};
pub use dependent::{AlertRule, Dependent};
pub use key::{Key, KeyVersion, Rotation};
pub use log::{KeySourceChange, KeyUse, Used};
pub use lookup::{FactMark, FactRef, Lookup, NotRead};
pub use names::{ArmId, KeyName, VaultHost};
pub use stored::{StoredBytes, StoredKind};
pub use vault::{DeletedVault, DiagnosticSetting, Lock, Policy, Vault};
pub use views::KeyPermission;

/// What the facts say.
#[derive(Default)]
pub struct World {
    facts: Vec<FactMark>,
    ledger: Ledger,
    /// The subscriptions that the caller sees.
    pub subscriptions: BTreeSet<String>,
    /// The AI accounts.
    pub accounts: BTreeMap<ArmId, Account>,
    /// The vaults and managed HSMs.
    pub vaults: BTreeMap<ArmId, Vault>,
    hosts: BTreeMap<VaultHost, ArmId>,
    /// The keys, without versions in their names.
    pub keys: BTreeMap<KeyName, Key>,
    /// Everything that was read of roles.
    pub roles: Roles,
    /// Resources that can have a customer's key or take logs.
    pub dependents: BTreeMap<ArmId, Dependent>,
    accounts_by_key: BTreeMap<KeyName, Vec<ArmId>>,
    dependents_by_key: BTreeMap<KeyName, Vec<ArmId>>,
    /// User-assigned identities: principal, client id, owner.
    identities: BTreeMap<ArmId, (UserIdentity, FactRef)>,
    deleted_vaults: BTreeMap<String, DeletedVault>,
    settings: BTreeMap<ArmId, Vec<DiagnosticSetting>>,
    locks: BTreeMap<ArmId, Lock>,
    deployments: BTreeMap<ArmId, Vec<Deployment>>,
    connections: BTreeMap<ArmId, Vec<Connection>>,
    hosts_of_agents: BTreeMap<ArmId, Vec<CapabilityHost>>,
    projects: BTreeMap<ArmId, BTreeSet<ArmId>>,
    defender: BTreeMap<ArmId, (bool, FactRef)>,
    alerts: BTreeMap<ArmId, AlertRule>,
    receivers: BTreeMap<ArmId, usize>,
    audit: AuditLogs,
    changes: BTreeMap<ArmId, Vec<(KeySourceChange, String)>>,
    /// Writes to accounts that were done, by their correlation; and those of which it is shown what they asked for.
    done: BTreeMap<String, (ArmId, FactRef)>,
    shown: BTreeSet<String>,
    /// Accounts with writes of which it is not shown what they asked for.
    hidden_writes: BTreeMap<ArmId, FactRef>,
    /// Whether the activity log showed anything at all.
    activity: bool,
    /// Principals that are there, and whether each is a group.
    principals: BTreeMap<String, (bool, FactRef)>,
    /// Principals that were asked for among others, and not found.
    missing: BTreeMap<String, FactRef>,
    /// Whether the run asked about named accounts only.
    only_named: bool,
    /// What was found in the stored bytes, where they were read.
    pub stored: Option<StoredBytes>,
    /// What was approved.
    pub design: Option<Design>,
}
