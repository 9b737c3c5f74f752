//! Facts come in, one at a time, and what is needed of each is kept.

use serde_json::Value;

use super::World;
use super::access::{Assignment, Deny, Role};
use super::account::{
    self, Account, CapabilityHost, Connection, CustomerKey, Deployment, Encryption, Identity, Rank, Tags,
    UserIdentity,
};
use super::dependent::{self, AlertRule, Dependent};
use super::json::{field, list, text, texts};
use super::key::{KeyVersion, Rotation};
use super::log::{self, WriteRow};
use super::lookup::{FactMark, FactRef};
use super::names::{ArmId, KeyName, VaultHost, guid};
use super::stored::StoredBytes;
use super::vault::{DeletedVault, DiagnosticSetting, Lock, Vault};
use crate::design::Design;
use crate::fact::{self, Fact, FactId, Source};
use crate::question;

impl World {
    /// Reads all facts, in whatever order they come.
    ///
    /// # Errors
    ///
    /// What the iterator yields: a fact that cannot be had is not left out.
    pub fn read<E>(facts: impl Iterator<Item = Result<Fact, E>>, design: Option<&Design>) -> Result<Self, E> {
        let mut world = Self {
            design: design.cloned(),
            ..Self::default()
        };
        for fact in facts {
            world.take(&fact?);
        }
        world.close();
        Ok(world)
    }

    fn take(&mut self, fact: &Fact) {
        let Ok(place) = u32::try_from(self.facts.len()) else {
            return;
        };
        let mark = FactRef(place);
        self.facts.push(FactMark {
            id: FactId::of(&fact::encode(fact).1),
            at_ms: fact.received_ms,
        });
        let key = asked(&fact.question, fact.about.as_deref());
        self.only_named |= fact.question == question::ACCOUNTS && names_accounts(fact);
        let Some(bytes) = fact.body() else {
            self.ledger.note(&key, mark, fact, String::new(), None);
            return;
        };
        if fact.question == question::KEY_USE {
            let about = fact.about.as_deref().and_then(ArmId::read);
            match self.audit.read(bytes, about.as_ref(), mark) {
                true => self.ledger.note(&key, mark, fact, String::new(), None),
                false => self.ledger.unusable(&key, mark, fact),
            }
            return;
        }
        let Ok(body) = serde_json::from_slice::<Value>(bytes) else {
            self.ledger.unusable(&key, mark, fact);
            return;
        };
        let (sent, next) = page(fact, &body);
        if self.take_body(fact, &body, mark) {
            self.ledger.note(&key, mark, fact, sent, next);
        } else {
            self.ledger.unusable(&key, mark, fact);
        }
    }

    /// Keeps what a body says. False if it cannot be an answer to the question.
    fn take_body(&mut self, fact: &Fact, body: &Value, mark: FactRef) -> bool {
        let about = fact.about.as_deref();
        match fact.question.as_str() {
            question::KEY | question::KEY_IN_MANAGEMENT => return self.take_key(fact, body, mark),
            question::ROTATION_POLICY => {
                let Some(name) = about.and_then(KeyName::read) else {
                    return false;
                };
                self.keys.entry(name.versionless()).or_default().rotation =
                    Some((Rotation::read(body), mark));
                return body.is_object();
            }
            question::STORED_BYTES => {
                self.stored = StoredBytes::read(body, mark);
                return self.stored.is_some();
            }
            question::PRINCIPAL => {
                let Some(id) = about.and_then(guid) else {
                    return false;
                };
                let kind = text(body, "@odata.type").unwrap_or_default();
                self.principals
                    .insert(id, (kind.to_ascii_lowercase().ends_with("group"), mark));
                return body.is_object();
            }
            question::PRINCIPALS => return self.take_principals(fact, body, mark),
            question::GROUP_MEMBERS => {
                let (Some(group), Some(_)) = (about.and_then(guid), field(body, "value")) else {
                    return false;
                };
                let members = list(body, "value")
                    .iter()
                    .filter_map(|member| guid(text(member, "id")?));
                let known = self
                    .roles
                    .members
                    .entry(group)
                    .or_insert_with(|| (Default::default(), mark));
                known.0.extend(members);
                return true;
            }
            _ => {}
        }
        let rows = match fact.source {
            Source::ResourceGraph => "data",
            _ => "value",
        };
        // One resource, where a list was not asked for.
        if field(body, rows).is_none() {
            return field(body, "id").is_some() && self.take_row(fact, body, Rank::Got, mark);
        }
        let rank = if fact.source == Source::ResourceGraph {
            Rank::Graph
        } else {
            Rank::Listed
        };
        let rows = list(body, rows);
        let usable = rows
            .iter()
            .filter(|row| self.take_row(fact, row, rank, mark))
            .count();
        // Rows that cannot be read hide what they would have said.
        usable == rows.len()
    }

    /// Keeps which of the principals that were asked for there are.
    fn take_principals(&mut self, fact: &Fact, body: &Value, mark: FactRef) -> bool {
        let asked = fact.request.body.as_ref();
        let asked = asked.and_then(|body| serde_json::from_slice::<Value>(&body.0).ok());
        if field(body, "value").is_none() {
            return false;
        }
        let ids = asked.iter().flat_map(|asked| texts(asked, "ids"));
        self.missing.extend(ids.filter_map(|id| Some((guid(&id)?, mark))));
        for row in list(body, "value") {
            let Some(id) = text(row, "id").and_then(guid) else {
                return false;
            };
            let kind = text(row, "@odata.type").unwrap_or_default();
            self.principals
                .insert(id, (kind.to_ascii_lowercase().ends_with("group"), mark));
        }
        true
    }

    /// Keeps what a row says. False if it is not of the kind that was asked for.
    fn take_row(&mut self, fact: &Fact, row: &Value, rank: Rank, mark: FactRef) -> bool {
        let about = fact.about.as_deref().and_then(scope);
        match fact.question.as_str() {
            question::ACCOUNTS => Account::read(row, rank, mark)
                .map(|account| self.add_account(account))
                .is_some(),
            question::VAULTS => Vault::read(row, rank, mark)
                .map(|vault| self.add_vault(vault))
                .is_some(),
            question::DEPENDENTS => {
                let read = Dependent::read(row, mark);
                read.map(|dependent| self.dependents.insert(dependent.id.clone(), dependent))
                    .is_some()
            }
            question::IDENTITIES => self.take_identity(row, mark).is_some(),
            question::ALERTS => self.take_alert(row, mark),
            question::ROLE_ASSIGNMENTS => {
                let seen_from = text(row, "subscriptionId")
                    .or_else(|| about.as_ref()?.subscription())
                    .map(str::to_ascii_lowercase);
                let read = Assignment::read(row, seen_from.as_deref(), mark);
                read.map(|assignment| self.roles.assignments.insert(assignment.id.clone(), assignment))
                    .is_some()
            }
            question::ROLE_DEFINITIONS => Role::read(row, mark)
                .map(|(id, role)| self.roles.roles.insert(id, role))
                .is_some(),
            question::DENY_ASSIGNMENTS => Deny::read(row, mark)
                .map(|deny| self.roles.denies.push(deny))
                .is_some(),
            question::LOCKS => Lock::read(row, mark)
                .map(|lock| self.locks.insert(lock.id.clone(), lock))
                .is_some(),
            question::DELETED_VAULTS => {
                let read = DeletedVault::read(row, mark);
                read.map(|deleted| self.deleted_vaults.insert(deleted.name.clone(), deleted))
                    .is_some()
            }
            question::DIAGNOSTIC_SETTINGS => {
                let read = DiagnosticSetting::read(row, mark);
                read.map(|(on, setting)| self.settings.entry(on).or_default().push(setting))
                    .is_some()
            }
            question::DEFENDER => account::pricing(row)
                .map(|(id, on)| self.defender.insert(id, (on, mark)))
                .is_some(),
            question::KEY_VERSIONS | question::KEY_VERSIONS_IN_MANAGEMENT => {
                self.take_version(row, mark).is_some()
            }
            question::DELETED_KEYS => self.take_deleted_key(row, mark).is_some(),
            question::ACTIVITY_LOG => {
                self.take_activity(row, mark);
                true
            }
            question::SUBSCRIPTIONS => {
                self.subscriptions
                    .extend(text(row, "subscriptionId").and_then(guid));
                true
            }
            _ => self.take_part(&fact.question, about.as_ref(), row, mark),
        }
    }

    /// Keeps what a row of the activity log says of writes to accounts.
    fn take_activity(&mut self, row: &Value, mark: FactRef) {
        self.activity = true;
        for said in log::account_write(row, mark) {
            match said {
                WriteRow::Done(account, correlation) => {
                    self.done.insert(correlation, (account, mark));
                }
                WriteRow::Shown(correlation) => {
                    self.shown.insert(correlation);
                }
                WriteRow::Asked(account, change, correlation) => {
                    self.changes
                        .entry(account)
                        .or_default()
                        .push((change, correlation));
                }
            }
        }
    }

    /// Keeps a part of an account or a project.
    fn take_part(&mut self, asked: &str, about: Option<&ArmId>, row: &Value, mark: FactRef) -> bool {
        let Some(id) = text(row, "id").and_then(ArmId::read) else {
            // What nobody here asks about, such as deleted accounts, is kept by the facts alone.
            return ![
                question::DEPLOYMENTS,
                question::PROJECTS,
                question::CONNECTIONS,
                question::CAPABILITY_HOSTS,
            ]
            .contains(&asked);
        };
        let Some(of) = about.cloned().or_else(|| id.parent()) else {
            return true;
        };
        match asked {
            question::DEPLOYMENTS => {
                let read = Deployment::read(row, mark);
                read.map(|deployment| self.deployments.entry(of).or_default().push(deployment))
                    .is_some()
            }
            question::CONNECTIONS => {
                let read = Connection::read(row, mark);
                read.map(|connection| self.connections.entry(of).or_default().push(connection))
                    .is_some()
            }
            question::CAPABILITY_HOSTS => {
                let read = CapabilityHost::read(row, mark);
                read.map(|host| self.hosts_of_agents.entry(of).or_default().push(host))
                    .is_some()
            }
            question::PROJECTS => {
                self.projects.entry(of).or_default().insert(id);
                true
            }
            _ => true,
        }
    }

    fn add_account(&mut self, account: Account) {
        if self
            .accounts
            .get(&account.id)
            .is_none_or(|known| known.rank <= account.rank)
        {
            self.accounts.insert(account.id.clone(), account);
        }
    }

    fn add_vault(&mut self, vault: Vault) {
        if self
            .vaults
            .get(&vault.id)
            .is_none_or(|known| known.rank <= vault.rank)
        {
            if let Some(host) = &vault.host {
                self.hosts.insert(host.clone(), vault.id.clone());
            }
            self.vaults.insert(vault.id.clone(), vault);
        }
    }

    fn take_identity(&mut self, row: &Value, mark: FactRef) -> Option<()> {
        let id = ArmId::read(text(row, "id")?)?;
        let identity = UserIdentity {
            client: text(row, "properties.clientId").and_then(guid),
            principal: text(row, "properties.principalId").and_then(guid),
            id: Some(id.clone()),
        };
        self.identities.insert(id, (identity, mark));
        Some(())
    }

    fn take_alert(&mut self, row: &Value, mark: FactRef) -> bool {
        if let Some(rule) = AlertRule::read(row, mark) {
            self.alerts.insert(rule.id.clone(), rule);
            return true;
        }
        dependent::receivers(row)
            .map(|(id, count)| self.receivers.insert(id, count))
            .is_some()
    }

    fn take_key(&mut self, fact: &Fact, body: &Value, mark: FactRef) -> bool {
        let managed = fact.question == question::KEY_IN_MANAGEMENT;
        let read = if managed {
            KeyVersion::from_manager(body, mark)
        } else {
            KeyVersion::from_vault(body, mark)
        };
        let (Some((shown, version)), Some(asked)) = (read, fact.about.as_deref().and_then(KeyName::read))
        else {
            return false;
        };
        // An answer about another key than was asked for is none.
        if shown.vault != asked.vault || shown.key != asked.key {
            return false;
        }
        let Some(number) = shown.version else {
            return false;
        };
        let key = self.keys.entry(asked.versionless()).or_default();
        if asked.version.is_none() {
            key.latest = Some((number.clone(), mark));
            let tags = Tags::read(body);
            key.owner = tags.owner.or_else(|| key.owner.take());
        }
        if managed
            && key.rotation.is_none()
            && let Some(policy) = super::json::at(body, "properties.rotationPolicy")
        {
            key.rotation = Some((Rotation::read(policy), mark));
        }
        key.add(&number, version);
        true
    }

    fn take_version(&mut self, row: &Value, mark: FactRef) -> Option<()> {
        let (name, version) =
            KeyVersion::from_vault(row, mark).or_else(|| KeyVersion::from_manager(row, mark))?;
        self.keys
            .entry(name.versionless())
            .or_default()
            .add(name.version.as_deref()?, version);
        Some(())
    }

    fn take_deleted_key(&mut self, row: &Value, mark: FactRef) -> Option<()> {
        let name = KeyName::read(text(row, "kid").or_else(|| text(row, "key.kid"))?)?;
        let purged = super::json::moment(row, "scheduledPurgeDate");
        self.keys.entry(name.versionless()).or_default().deleted = Some((purged, mark));
        Some(())
    }

    /// Who is under which key.
    fn index_keys(&mut self) {
        for account in self.accounts.values() {
            if let Encryption::Customer(CustomerKey { name: Some(name), .. }) = &account.encryption {
                self.accounts_by_key
                    .entry(name.versionless())
                    .or_default()
                    .push(account.id.clone());
            }
        }
        for dependent in self.dependents.values() {
            for key in &dependent.keys {
                self.dependents_by_key
                    .entry(key.versionless())
                    .or_default()
                    .push(dependent.id.clone());
            }
        }
    }

    /// When all is read: what one fact says of another.
    fn close(&mut self) {
        self.ledger.close();
        self.index_keys();
        self.missing.retain(|id, _| !self.principals.contains_key(id));
        for changes in self.changes.values_mut() {
            changes.retain(|(_, correlation)| self.done.contains_key(correlation));
        }
        let hidden = std::mem::take(&mut self.done).into_iter();
        let hidden = hidden.filter(|(correlation, _)| !self.shown.contains(correlation));
        self.hidden_writes = hidden.map(|(_, write)| write).collect();
        // With one subscription, what stands on a management group above it is known to hold.
        let only = self
            .subscriptions
            .first()
            .filter(|_| self.subscriptions.len() == 1)
            .cloned();
        for assignment in self.roles.assignments.values_mut() {
            if assignment.scope.is_management_group() {
                assignment.seen_from = only.clone().or_else(|| assignment.seen_from.take());
            }
        }
        let ledger = &self.ledger;
        self.roles.index(|group| {
            let members = asked(question::GROUP_MEMBERS, Some(group));
            let hides = "whether the identity is in a group that a role is assigned to";
            ledger.listing(&members, hides).err()
        });
        let identities: Vec<&mut Identity> = self
            .accounts
            .values_mut()
            .filter_map(|account| account.identity.as_mut())
            .collect();
        for user in identities.into_iter().flat_map(|identity| &mut identity.user) {
            let known = user.id.as_ref().and_then(|id| self.identities.get(id));
            if let Some((known, _)) = known {
                user.client = user.client.take().or_else(|| known.client.clone());
                user.principal = user.principal.take().or_else(|| known.principal.clone());
            }
        }
    }
}

/// Whether a question to Resource Graph leaves out accounts that were not named.
fn names_accounts(fact: &Fact) -> bool {
    let asked = fact
        .request
        .body
        .as_ref()
        .map(|body| String::from_utf8_lossy(&body.0).to_lowercase());
    asked.is_some_and(|asked| asked.contains("name in~") || asked.contains("name =~"))
}

/// The address of a question in the ledger.
pub(super) fn asked(question: &str, about: Option<&str>) -> String {
    let Some(about) = about else {
        return question.to_owned();
    };
    let about = match scope(about) {
        Some(id) => id.to_string(),
        None => match (KeyName::read(about), VaultHost::read(about)) {
            (Some(key), _) => key.to_string(),
            (None, Some(host)) => format!("https://{host}"),
            (None, None) => about.trim().to_lowercase(),
        },
    };
    format!("{question} {about}")
}

/// A scope, which may be a subscription's bare id.
fn scope(about: &str) -> Option<ArmId> {
    let bare = about.len() == 36 && about.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if bare {
        ArmId::read(&format!("/subscriptions/{about}"))
    } else {
        ArmId::read(about)
    }
}

/// What was sent, and the next page that the answer promises.
fn page(fact: &Fact, body: &Value) -> (String, Option<String>) {
    let sent = fact
        .request
        .body
        .as_ref()
        .map(|body| String::from_utf8_lossy(&body.0).into_owned());
    let token = text(body, "$skipToken").map(str::to_owned);
    let link = ["nextLink", "@odata.nextLink"]
        .iter()
        .find_map(|name| text(body, name));
    // Only path and query: the server may spell its own address in another way.
    let path = |url: &str| {
        url.split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
            .map(|(_, path)| path.to_owned())
    };
    let next = token.or_else(|| link.and_then(path));
    (
        sent.unwrap_or_default() + " " + &path(&fact.request.url).unwrap_or_default(),
        next,
    )
}
