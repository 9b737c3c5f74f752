//! Questions to the world.

use super::access::{Action, Assignment, Grant, Listings};
use super::ingest::asked;
use super::{
    Account, AlertRule, ArmId, CapabilityHost, Connection, DeletedVault, Dependent, Deployment,
    DiagnosticSetting, FactMark, FactRef, Key, KeyName, KeySourceChange, KeyUse, KeyVersion, Lock, Lookup,
    NotRead, Rotation, Vault, VaultHost, World,
};
use crate::question;

/// Something that one may do with a key, by its name among data actions and in access policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPermission {
    /// Such as `Microsoft.KeyVault/vaults/keys/unwrap/action`.
    pub action: &'static str,
    /// Such as `unwrapKey`.
    pub policy: &'static str,
}

impl World {
    /// What is kept of a fact.
    pub fn fact(&self, fact: FactRef) -> Option<&FactMark> {
        self.facts.get(usize::try_from(fact.0).ok()?)
    }

    /// How many facts there are, and how many questions they answer.
    pub fn extent(&self) -> (usize, usize) {
        (self.facts.len(), self.ledger.len())
    }

    /// Every question that was asked and not answered wholly.
    pub fn gaps(&self) -> impl Iterator<Item = (&str, NotRead)> {
        self.ledger.gaps()
    }

    /// Whether all answers to a question came, whatever it was asked about.
    pub fn listed(&self, question: &str, hides: &str) -> Result<FactRef, NotRead> {
        self.ledger.listing_all(question, hides)
    }

    fn list_at<'a, T>(
        &self,
        found: Option<&'a Vec<T>>,
        question: &str,
        about: &ArmId,
        hides: &str,
    ) -> Lookup<&'a [T]> {
        match self.ledger.listing(&asked(question, Some(about.as_str())), hides) {
            Ok(fact) => Lookup::Known(found.map_or(&[], Vec::as_slice), fact),
            Err(not) => Lookup::NotRead(not),
        }
    }

    /// Whether all AI accounts of the subscriptions are known, not only some that were named.
    pub fn all_accounts(&self) -> Result<FactRef, NotRead> {
        let fact = self.listed(question::ACCOUNTS, "every AI account")?;
        match self.only_named {
            false => Ok(fact),
            true => Err(NotRead {
                fact: Some(fact),
                ..NotRead::unasked("the run asked about named accounts only", "every AI account")
            }),
        }
    }

    /// The vault of a key.
    pub fn vault_of(&self, key: &KeyName) -> Lookup<&Vault> {
        let by_name = || {
            let named =
                |vault: &&Vault| vault.host.is_none() && vault.name.eq_ignore_ascii_case(key.vault.name());
            self.vaults.values().find(named)
        };
        let found = self
            .hosts
            .get(&key.vault)
            .and_then(|id| self.vaults.get(id))
            .or_else(by_name);
        if let Some(vault) = found {
            return Lookup::Known(vault, vault.fact);
        }
        if let Some(deleted) = self.deleted_vaults.get(key.vault.name()) {
            return Lookup::Absent(deleted.fact);
        }
        let hides = "the vault of the key";
        Lookup::NotRead(match self.listed(question::VAULTS, hides) {
            Ok(fact) => NotRead {
                fact: Some(fact),
                ..NotRead::unasked(
                    format!("no subscription that was read holds the vault {}", key.vault),
                    hides,
                )
            },
            Err(not) => not,
        })
    }

    /// The version of a key that a reference means, with its number.
    pub fn version_of<'a>(&'a self, name: &KeyName) -> Lookup<(&'a str, &'a KeyVersion)> {
        let key = self.keys.get(&name.versionless());
        if let Some((number, version)) = key.and_then(|key| key.version(name.version.as_deref())) {
            let told = version.facts.last().copied();
            let latest_known = name.version.is_some()
                || key.is_some_and(|key| key.latest.is_some())
                || self.versions_listed(name).is_ok();
            if let Some(fact) = told.filter(|_| latest_known) {
                return Lookup::Known((number, version), fact);
            }
        }
        let full = asked(question::KEY, Some(&name.to_string()));
        let bare = asked(question::KEY, Some(&name.versionless().to_string()));
        let managed = asked(question::KEY_IN_MANAGEMENT, Some(&name.versionless().to_string()));
        let absent = [&full, &bare, &managed]
            .iter()
            .find_map(|key| self.ledger.absent(key));
        if let Some(fact) = absent {
            return Lookup::Absent(fact);
        }
        if let (Some(_), Ok(fact)) = (&name.version, self.versions_listed(name)) {
            return Lookup::Absent(fact);
        }
        let asked = if self.ledger.asked(&full) { full } else { bare };
        Lookup::NotRead(
            self.ledger
                .why_not(&asked, "the key: whether it is there, and on"),
        )
    }

    /// Whether all versions of a key are known.
    pub fn versions_listed(&self, name: &KeyName) -> Result<FactRef, NotRead> {
        let of = |question: &str| asked(question, Some(&name.versionless().to_string()));
        let hides = "the key's versions";
        let from_vault = self.ledger.listing(&of(question::KEY_VERSIONS), hides);
        from_vault.or_else(|not| {
            self.ledger
                .listing(&of(question::KEY_VERSIONS_IN_MANAGEMENT), hides)
                .map_err(|_| not)
        })
    }

    /// The key, where anything of it was read.
    pub fn key(&self, name: &KeyName) -> Option<&Key> {
        self.keys.get(&name.versionless())
    }

    /// The rotation policy of a key: from the vault, or as Resource Manager shows it.
    pub fn rotation_of(&self, name: &KeyName) -> Lookup<&Rotation> {
        match self.key(name).and_then(|key| key.rotation.as_ref()) {
            Some((rotation, fact)) => Lookup::Known(rotation, *fact),
            None => {
                let key = asked(question::ROTATION_POLICY, Some(&name.versionless().to_string()));
                match self.ledger.absent(&key) {
                    Some(fact) => Lookup::Absent(fact),
                    None => Lookup::NotRead(self.ledger.why_not(&key, "the key's rotation policy")),
                }
            }
        }
    }

    /// Whether a principal may do something to a resource.
    pub fn may(&self, principal: &str, action: Action<'_>, target: &ArmId) -> Grant {
        let hides = "what is granted";
        let denies = match target.subscription() {
            Some(id) => self.ledger.listing(
                &asked(question::DENY_ASSIGNMENTS, Some(&format!("/subscriptions/{id}"))),
                hides,
            ),
            None => self.listed(question::DENY_ASSIGNMENTS, hides),
        };
        let read = Listings {
            assignments: self.assignments_listed(hides),
            denies,
        };
        self.roles.may(principal, action, target, &read)
    }

    /// Whether a principal may do something with a key, by whichever of the two models decides at its vault.
    pub fn may_with_key(
        &self,
        principal: &str,
        permission: KeyPermission,
        key: &KeyName,
        vault: &Vault,
    ) -> Grant {
        if vault.hsm {
            let call = format!(
                "GET https://{}/keys/{}/providers/Microsoft.Authorization/roleAssignments",
                key.vault, key.key
            );
            return Grant::Unsure(NotRead::unasked(call, "the local roles of a managed HSM"));
        }
        match vault.roles_decide {
            Some(true) => self.may(
                principal,
                Action::Data(permission.action),
                &vault.id.child("keys", &key.key),
            ),
            Some(false) => self.by_policy(principal, permission, vault),
            None => Grant::Unsure(NotRead {
                fact: Some(vault.fact),
                ..NotRead::unasked(
                    format!("GET {}", vault.id),
                    "whether roles or access policies decide",
                )
            }),
        }
    }

    fn by_policy(&self, principal: &str, permission: KeyPermission, vault: &Vault) -> Grant {
        let who = self.roles.with_groups(principal);
        let allowing = || {
            vault
                .policies
                .iter()
                .filter(|policy| policy.application.is_none() && policy.allows(permission.policy))
        };
        if let Some(policy) = allowing().find(|policy| who.contains(&policy.principal)) {
            return Grant::Allowed {
                by: format!("access policy of {}", policy.principal),
                facts: vec![vault.fact],
            };
        }
        let open = allowing().find_map(|policy| self.may_be_in(&policy.principal));
        open.map_or(
            Grant::NotGranted {
                facts: vec![vault.fact],
            },
            Grant::Unsure,
        )
    }

    /// Why a principal cannot be ruled out to be a group with others in it.
    fn may_be_in(&self, group: &str) -> Option<NotRead> {
        let members = asked(question::GROUP_MEMBERS, Some(group));
        if self.ledger.whole(&members).is_some()
            || self.principals.get(group).is_some_and(|(is_group, _)| !is_group)
        {
            return None;
        }
        match self.principal(group) {
            Lookup::Absent(_) => None,
            Lookup::Known((), _) => Some(
                self.ledger
                    .why_not(&members, "who is in a group that an access policy names"),
            ),
            Lookup::NotRead(not) => Some(NotRead {
                hides: "whether an access policy names a group, and who is in it".to_owned(),
                ..not
            }),
        }
    }

    /// Whether a principal is there at all; a fact where somebody said so.
    pub fn principal(&self, id: &str) -> Lookup<()> {
        let alone = asked(question::PRINCIPAL, Some(id));
        let absent = self
            .ledger
            .absent(&alone)
            .or_else(|| self.missing.get(id).copied());
        match (self.principals.get(id), absent) {
            (Some((_, fact)), _) => Lookup::Known((), *fact),
            (None, Some(fact)) => Lookup::Absent(fact),
            (None, None) => {
                let key = if self.ledger.asked(&alone) {
                    alone
                } else {
                    question::PRINCIPALS.to_owned()
                };
                Lookup::NotRead(self.ledger.why_not(&key, "whether the identity is still there"))
            }
        }
    }

    /// Whether role assignments were listed. Resource Graph leaves out what the caller may not see and says nothing of it; but whoever
    /// reads anything has an assignment, so that a list without any shows that they are hidden.
    fn assignments_listed(&self, hides: &str) -> Result<FactRef, NotRead> {
        let fact = self.listed(question::ROLE_ASSIGNMENTS, hides)?;
        if self.roles.assignments.is_empty() {
            let call = "the list of role assignments is empty: the caller may not see them";
            return Err(NotRead {
                fact: Some(fact),
                ..NotRead::unasked(call, hides)
            });
        }
        Ok(fact)
    }

    /// Assignments that hold at a resource, if all were listed.
    pub fn assignments_at<'a>(
        &'a self,
        target: &'a ArmId,
    ) -> Result<(Vec<&'a Assignment>, FactRef), NotRead> {
        let fact = self.assignments_listed("who may do what")?;
        Ok((self.roles.holding_at(target).collect(), fact))
    }

    /// Where the logs of a resource go.
    pub fn settings_of(&self, id: &ArmId) -> Lookup<&[DiagnosticSetting]> {
        self.list_at(
            self.settings.get(id),
            question::DIAGNOSTIC_SETTINGS,
            id,
            "where the logs of the resource go",
        )
    }

    /// The locks that hold at a resource.
    pub fn locks_at(&self, id: &ArmId) -> Lookup<Vec<&Lock>> {
        let subscription = format!("/subscriptions/{}", id.subscription().unwrap_or_default());
        let held = || {
            self.locks
                .values()
                .filter(|lock| lock.scope.covers(id))
                .collect::<Vec<_>>()
        };
        match self.ledger.listing(
            &asked(question::LOCKS, Some(&subscription)),
            "the locks of the subscription",
        ) {
            Ok(fact) => Lookup::Known(held(), fact),
            Err(not) => match held().first() {
                Some(lock) => Lookup::Known(held(), lock.fact),
                None => Lookup::NotRead(not),
            },
        }
    }

    /// The deployments of an account.
    pub fn deployments_of(&self, account: &ArmId) -> Lookup<&[Deployment]> {
        self.list_at(
            self.deployments.get(account),
            question::DEPLOYMENTS,
            account,
            "what the account serves",
        )
    }

    /// The account itself and its projects, as far as they were listed.
    pub fn places_of(&self, account: &ArmId) -> Result<(Vec<ArmId>, FactRef), NotRead> {
        if let Some(fact) = self.has_no_projects(account) {
            return Ok((vec![account.clone()], fact));
        }
        let projects = self.projects.get(account);
        let fact = self.ledger.listing(
            &asked(question::PROJECTS, Some(account.as_str())),
            "the account's projects",
        )?;
        Ok((
            [account.clone()]
                .into_iter()
                .chain(projects.into_iter().flatten().cloned())
                .collect(),
            fact,
        ))
    }

    /// Projects, connections and agents are of Foundry: accounts of other kinds have none, and then nobody needs to ask.
    fn has_no_projects(&self, account: &ArmId) -> Option<FactRef> {
        let other = self
            .accounts
            .get(account)
            .filter(|account| !account.kind.eq_ignore_ascii_case("AIServices"))?;
        let parts = [
            question::PROJECTS,
            question::CONNECTIONS,
            question::CAPABILITY_HOSTS,
        ];
        let unasked = parts
            .iter()
            .all(|part| !self.ledger.asked(&asked(part, Some(account.as_str()))));
        unasked.then_some(other.fact)
    }

    /// The connections of an account and of its projects.
    pub fn connections_of(&self, account: &ArmId) -> Lookup<Vec<&Connection>> {
        let hides = "what the account is connected to";
        self.gather(account, |place| {
            self.list_at(self.connections.get(place), question::CONNECTIONS, place, hides)
        })
    }

    /// The capability hosts of an account and of its projects.
    pub fn capability_hosts_of(&self, account: &ArmId) -> Lookup<Vec<&CapabilityHost>> {
        let hides = "where the account's agents keep what they keep";
        self.gather(account, |place| {
            self.list_at(
                self.hosts_of_agents.get(place),
                question::CAPABILITY_HOSTS,
                place,
                hides,
            )
        })
    }

    fn gather<'a, T>(&self, account: &ArmId, at: impl Fn(&ArmId) -> Lookup<&'a [T]>) -> Lookup<Vec<&'a T>> {
        let (places, mut last) = match self.places_of(account) {
            Ok(places) => places,
            Err(not) => return Lookup::NotRead(not),
        };
        let mut all = Vec::new();
        if self.has_no_projects(account).is_some() {
            return Lookup::Known(all, last);
        }
        for place in places {
            match at(&place) {
                Lookup::Known(items, fact) => {
                    all.extend(items);
                    last = fact;
                }
                Lookup::Absent(fact) => return Lookup::Absent(fact),
                Lookup::NotRead(not) => return Lookup::NotRead(not),
            }
        }
        Lookup::Known(all, last)
    }

    /// A deleted vault of that name.
    pub fn deleted_vault(&self, name: &str) -> Option<&DeletedVault> {
        self.deleted_vaults.get(&name.to_ascii_lowercase())
    }

    /// Whether the deleted keys of a key's vault were listed.
    pub fn deleted_keys_listed(&self, key: &KeyName) -> Result<FactRef, NotRead> {
        let about = format!("https://{}", key.vault);
        self.ledger.listing(
            &asked(question::DELETED_KEYS, Some(&about)),
            "deleted keys of the vault",
        )
    }

    /// Whether a plan of Defender is on in a resource's subscription.
    pub fn defender(&self, resource: &ArmId, plan: &str) -> Lookup<bool> {
        let subscription = format!("/subscriptions/{}", resource.subscription().unwrap_or_default());
        let id = ArmId::read(&format!(
            "{subscription}/providers/Microsoft.Security/pricings/{plan}"
        ));
        match id.and_then(|id| self.defender.get(&id)) {
            Some((on, fact)) => Lookup::Known(*on, *fact),
            None => match self.ledger.listing(
                &asked(question::DEFENDER, Some(&subscription)),
                "which plans of Defender are on",
            ) {
                Ok(fact) => Lookup::Known(false, fact),
                Err(not) => Lookup::NotRead(not),
            },
        }
    }

    /// What a vault's audit log says.
    pub fn audit_of(&self, vault: &ArmId) -> Lookup<&KeyUse> {
        let hides = "the use of the vault's keys: its AuditEvent log";
        match self.audit.0.get(vault).and_then(|log| Some((log, log.fact?))) {
            Some((log, fact)) => Lookup::Known(log, fact),
            None => {
                let about = asked(question::KEY_USE, Some(vault.as_str()));
                let somewhere = [about, question::KEY_USE.to_owned()]
                    .into_iter()
                    .find(|key| self.ledger.asked(key));
                Lookup::NotRead(if let Some(key) = somewhere {
                    self.ledger.why_not(&key, hides)
                } else {
                    NotRead::unasked(format!("the AuditEvent log of {vault}"), hides)
                })
            }
        }
    }

    /// Writes that said whose key an account is to use, as the activity log has them; and a write of which it does not show that.
    pub fn changes_of(&self, account: &ArmId) -> Lookup<(Vec<&KeySourceChange>, Option<NotRead>)> {
        let subscription = format!("/subscriptions/{}", account.subscription().unwrap_or_default());
        let hides = "what was done to the account";
        let fact = match self
            .ledger
            .listing(&asked(question::ACTIVITY_LOG, Some(&subscription)), hides)
        {
            // Who may not see it may be shown an empty one.
            Ok(fact) if !self.activity => {
                let call = "the activity log is empty: nothing was done, or the caller may not see it";
                return Lookup::NotRead(NotRead {
                    fact: Some(fact),
                    ..NotRead::unasked(call, hides)
                });
            }
            Ok(fact) => fact,
            Err(not) => return Lookup::NotRead(not),
        };
        let hidden = self.hidden_writes.get(account).map(|fact| NotRead {
            fact: Some(*fact),
            ..NotRead::unasked(
                "the activity log does not show what a write to the account asked for",
                hides,
            )
        });
        let changes = self
            .changes
            .get(account)
            .into_iter()
            .flatten()
            .map(|(change, _)| change);
        Lookup::Known((changes.collect(), hidden), fact)
    }

    /// Alert rules, with the number of receivers that each calls.
    pub fn alerts(&self) -> Lookup<Vec<(&AlertRule, usize)>> {
        let called = |rule: &AlertRule| {
            rule.groups
                .iter()
                .filter_map(|group| self.receivers.get(group))
                .sum()
        };
        match self.listed(question::ALERTS, "alert rules and action groups") {
            Ok(fact) => Lookup::Known(
                self.alerts.values().map(|rule| (rule, called(rule))).collect(),
                fact,
            ),
            Err(not) => Lookup::NotRead(not),
        }
    }

    /// The keys that accounts use, without versions.
    pub fn keys_in_use(&self) -> impl Iterator<Item = &KeyName> {
        self.accounts_by_key.keys()
    }

    /// The keys of a vault that accounts use, by the vault's host.
    pub fn keys_in_use_at<'a>(&'a self, host: &'a VaultHost) -> impl Iterator<Item = &'a KeyName> {
        let first = KeyName {
            vault: host.clone(),
            key: String::new(),
            version: None,
        };
        self.accounts_by_key
            .range(first..)
            .map(|(key, _)| key)
            .take_while(move |key| key.vault == *host)
    }

    /// The accounts whose data is under a key, whatever version they name.
    pub fn accounts_under(&self, key: &KeyName) -> impl Iterator<Item = &Account> {
        let ids = self.accounts_by_key.get(&key.versionless()).into_iter().flatten();
        ids.filter_map(|id| self.accounts.get(id))
    }

    /// The other resources that name a key.
    pub fn dependents_under(&self, key: &KeyName) -> impl Iterator<Item = &Dependent> {
        let ids = self
            .dependents_by_key
            .get(&key.versionless())
            .into_iter()
            .flatten();
        ids.filter_map(|id| self.dependents.get(id))
    }

    /// What tells of a resource's owner: its tag, or the design.
    pub fn owner_of(&self, id: &ArmId) -> Option<String> {
        let tags = self.accounts.get(id).map(|account| &account.tags);
        let tags = tags.or_else(|| self.vaults.get(id).map(|vault| &vault.tags));
        let tags = tags.or_else(|| self.dependents.get(id).map(|dependent| &dependent.tags));
        let approved = || {
            let design = self.design.as_ref()?;
            let account = design
                .accounts
                .get(id.as_str())
                .and_then(|account| account.owner.clone());
            let vault = || {
                design
                    .vaults
                    .get(id.as_str())
                    .and_then(|vault| vault.owner.clone())
            };
            let declared = || {
                design
                    .accounts
                    .values()
                    .find_map(|account| account.dependencies.get(id.as_str())?.owner.clone())
            };
            account.or_else(vault).or_else(declared)
        };
        tags.and_then(|tags| tags.owner.clone()).or_else(approved)
    }
}
