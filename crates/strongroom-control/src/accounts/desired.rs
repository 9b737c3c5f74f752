//! What somebody wants of an account: read by the door, applied here, all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use strongroom_seal::AccountId;
use strongroom_vault::NetworkRules;
use uuid::Uuid;

use super::changes::{ASSIGN_IDENTITY, WRITE, user_assigned};
use super::{Account, Direction, Encryption, Mark, Retention, RetentionChange, Switch};
use crate::actor::Actor;
use crate::control::Control;
use crate::directory::{Principal, PrincipalDetail, room};
use crate::error::ControlError;
use crate::limits::{ACCOUNT_IDENTITIES, ACCOUNT_PROPERTIES};
use crate::names;
use crate::scopes;
use crate::state::{Change, State};

/// What accounts can be.
pub(crate) const KINDS: [&str; 2] = ["OpenAI", "AIServices"];
/// The one price tier.
pub(crate) const SKU: &str = "S0";

/// Where an account is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) resource_group: String,
}

/// What is to be different. What is not said stays as it is, and in a new account as it usually is.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccountChange {
    pub(crate) location: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) sku: Option<String>,
    pub(crate) tags: Option<BTreeMap<String, String>>,
    pub(crate) identity: Option<IdentityChange>,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) subdomain: Option<String>,
    pub(crate) public_access: Option<bool>,
    /// Everything of a firewall but whether there is public access.
    pub(crate) network: Option<NetworkRules>,
    pub(crate) disable_local_auth: Option<bool>,
    pub(crate) retention: Option<RetentionChange>,
    /// Properties that mean nothing here.
    pub(crate) more: Map<String, Value>,
    /// Whether what is not said among them goes.
    pub(crate) replaces: bool,
}

/// Which identities an account is to have.
#[derive(Debug, Clone)]
pub(crate) struct IdentityChange {
    pub(crate) system_assigned: bool,
    /// `None`: no user-assigned ones.
    pub(crate) user_assigned: Option<NewIdentities>,
}

/// Which user-assigned identities come and go.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewIdentities {
    pub(crate) given: Vec<String>,
    pub(crate) taken: Vec<String>,
    /// Whether those that are not given go.
    pub(crate) replaces: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) account: Arc<Account>,
    pub(crate) is_new: bool,
}

impl Actor {
    /// The account as the change would make it, and whether it would be new. Nothing is changed.
    pub(crate) fn propose(
        &self,
        place: &Place,
        change: &AccountChange,
    ) -> Result<(Account, bool), ControlError> {
        self.proposed(&self.control.state(), place, change)
    }

    /// Makes an account, or changes it. Where another key is wanted, `switch` is the id of the operation that it becomes the work of.
    pub(crate) fn put_account(
        &self,
        place: &Place,
        wanted: &AccountChange,
        switch: Option<&str>,
    ) -> Result<Made, ControlError> {
        let mut change = self.control.change();
        let (mut account, is_new) = self.proposed(change.state(), place, wanted)?;
        let before = change.state().accounts.get(&place.name).cloned();
        let had = before.as_ref().and_then(|before| before.identity);
        if let (Some(_), None) = (account.identity, had) {
            account.identity = Some(self.control.identity_for(&mut change, &account)?);
        }
        if let (None, Some(gone)) = (account.identity, had) {
            change.remove_principal(gone)?;
        }
        if let (Some(to), Some(operation)) = (&wanted.encryption, switch) {
            account.switch = Some(Switch {
                operation: operation.to_owned(),
                to: to.clone(),
                direction: Direction::Forward,
            });
        }
        let account = change.put_account(account)?;
        change.commit()?;
        Ok(Made { account, is_new })
    }

    fn proposed(
        &self,
        state: &State,
        place: &Place,
        wanted: &AccountChange,
    ) -> Result<(Account, bool), ControlError> {
        let mark = Mark {
            by: Some(self.caller()),
            at_ms: self.control.now_ms(),
        };
        let before = find_at(state, place)?;
        let mut account = match &before {
            Some(before) => Account::clone(before),
            None => new_account(state, place, wanted, mark.clone())?,
        };
        self.authorize_in(state, WRITE, &scopes::parse(&account.resource_id())?)?;
        if let Some(wanted) = &wanted.encryption {
            account.check_settled(wanted)?;
        }
        apply_plain(state, &mut account, wanted)?;
        if let Some(identity) = &wanted.identity {
            self.apply_identities(state, &mut account, identity)?;
        }
        account.changed = mark;
        Ok((account, before.is_none()))
    }

    fn apply_identities(
        &self,
        state: &State,
        account: &mut Account,
        wanted: &IdentityChange,
    ) -> Result<(), ControlError> {
        account.identity = match (wanted.system_assigned, account.identity) {
            (true, Some(known)) => Some(known),
            // Who it will be is known once it is made.
            (true, None) => Some(Uuid::nil()),
            (false, _) => None,
        };
        let Some(wanted) = &wanted.user_assigned else {
            account.user_assigned.clear();
            return Ok(());
        };
        let before = std::mem::take(&mut account.user_assigned);
        let mut after = BTreeMap::new();
        for id in &wanted.given {
            let known = before.iter().find(|(known, _)| known.eq_ignore_ascii_case(id));
            let (resource, object_id) = match known {
                Some((known, who)) if !is_replaced(state, known, *who) => (known.clone(), *who),
                _ => self.assignable(state, id)?,
            };
            after.insert(resource, object_id);
        }
        if !wanted.replaces {
            let is_said = |id: &str| {
                let mut said = wanted.taken.iter().chain(&wanted.given);
                said.any(|said| said.eq_ignore_ascii_case(id))
            };
            after.extend(before.into_iter().filter(|(id, _)| !is_said(id)));
        }
        if after.len() > ACCOUNT_IDENTITIES {
            return Err(ControlError::TooMany { what: "identities" });
        }
        account.user_assigned = after;
        Ok(())
    }

    /// The resource id and object id of an identity that the caller may give to others.
    fn assignable(&self, state: &State, id: &str) -> Result<(String, Uuid), ControlError> {
        let known = user_assigned(state, id).filter(|_| id.starts_with('/'));
        let named = known
            .as_ref()
            .and_then(|known| Some((known.resource()?, known.object_id)));
        let (resource, object_id) = named.ok_or_else(|| ControlError::NotFound {
            what: "user-assigned identity",
            name: id.to_owned(),
        })?;
        self.authorize_in(state, ASSIGN_IDENTITY, &scopes::parse(resource)?)?;
        Ok((resource.to_owned(), object_id))
    }
}

impl Control {
    /// Makes the identity of an account's own.
    pub(super) fn identity_for(
        &self,
        change: &mut Change<'_>,
        account: &Account,
    ) -> Result<Uuid, ControlError> {
        let detail = PrincipalDetail::SystemAssigned {
            client_id: Uuid::new_v4(),
            resource: account.resource_id(),
        };
        let identity = Principal::new(&account.name, self.now(), detail);
        room(change.state())?;
        Ok(change.put_principal(identity)?.object_id)
    }
}

impl Account {
    /// Fails while its keys are being switched, and not to this one.
    fn check_settled(&self, wanted: &Encryption) -> Result<(), ControlError> {
        if self.switch.is_some() && self.keys().0 != wanted {
            return Err(ControlError::AccountBusy {
                id: self.resource_id(),
            });
        }
        Ok(())
    }
}

/// The account there, if there is one; fails if the name belongs to another one.
pub(super) fn find_at(state: &State, place: &Place) -> Result<Option<Arc<Account>>, ControlError> {
    let Some(holder) = state.accounts.holder(&place.name) else {
        return Ok(None);
    };
    let is_there = holder.name.eq_ignore_ascii_case(&place.name)
        && holder.resource_group.eq_ignore_ascii_case(&place.resource_group);
    if !is_there {
        return Err(ControlError::LabelTaken {
            label: place.name.clone(),
        });
    }
    if holder.deleted.is_some() {
        return Err(ControlError::AccountDeleted {
            id: holder.resource_id(),
        });
    }
    Ok(Some(Arc::clone(holder)))
}

/// Whether the identity that goes by this id now is another one than the one on record.
fn is_replaced(state: &State, resource: &str, on_record: Uuid) -> bool {
    user_assigned(state, resource).is_some_and(|known| known.object_id != on_record)
}

fn new_account(
    state: &State,
    place: &Place,
    wanted: &AccountChange,
    mark: Mark,
) -> Result<Account, ControlError> {
    names::host_label("account", &place.name)?;
    names::label("resource group", &place.resource_group)?;
    state.accounts.room()?;
    let location = wanted.location.as_deref().filter(|location| !location.is_empty());
    let location = location.ok_or(ControlError::LocationRequired)?;
    let encryption = wanted
        .encryption
        .clone()
        .filter(|wanted| wanted.source == super::KeySource::Service);
    Ok(Account {
        // What is wanted besides takes over once there is an account.
        encryption: encryption.unwrap_or_else(Encryption::service),
        made: mark.clone(),
        changed: mark,
        ..Account::new(
            &place.name,
            state.tenant.subscription,
            &place.resource_group,
            &plain_location(location),
        )
    })
}

fn apply_plain(state: &State, account: &mut Account, wanted: &AccountChange) -> Result<(), ControlError> {
    if let Some(location) = &wanted.location {
        check_location(account, location)?;
    }
    if let Some(kind) = &wanted.kind {
        let known = KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind));
        let known = known.ok_or_else(|| ControlError::WrongKind { kind: kind.clone() })?;
        account.kind = (*known).to_owned();
    }
    if let Some(sku) = &wanted.sku {
        if !sku.eq_ignore_ascii_case(SKU) {
            return Err(ControlError::WrongSku { sku: sku.clone() });
        }
        account.sku = SKU.to_owned();
    }
    if let Some(tags) = &wanted.tags {
        account.tags.clone_from(tags);
    }
    if let Some(subdomain) = &wanted.subdomain {
        apply_subdomain(state, account, subdomain)?;
    }
    if let Some(network) = &wanted.network {
        account.network = NetworkRules {
            public_access: account.network.public_access,
            ..network.clone()
        };
    }
    account.network.public_access = wanted.public_access.unwrap_or(account.network.public_access);
    account.disable_local_auth = wanted.disable_local_auth.unwrap_or(account.disable_local_auth);
    if let Some(change) = &wanted.retention {
        if wanted.replaces {
            account.retention.clear();
        }
        change.apply(&mut account.retention);
    }
    if wanted.replaces {
        account.more.clear();
    }
    for (name, value) in &wanted.more {
        if value.is_null() {
            account.more.shift_remove(name);
        } else {
            account.more.insert(name.clone(), value.clone());
        }
    }
    if serde_json::to_string(&account.more)?.len() > ACCOUNT_PROPERTIES {
        return Err(ControlError::TooMany { what: "properties" });
    }
    Ok(())
}

fn check_location(account: &Account, wanted: &str) -> Result<(), ControlError> {
    if plain_location(wanted) == plain_location(&account.location) {
        return Ok(());
    }
    Err(ControlError::LocationFixed {
        name: account.name.clone(),
        group: account.resource_group.clone(),
        known: account.location.clone(),
        wanted: wanted.to_owned(),
    })
}

/// Azure gives back region names in one spelling.
fn plain_location(location: &str) -> String {
    location.to_ascii_lowercase().replace(' ', "")
}

/// A subdomain is set once; a label belongs to one account.
fn apply_subdomain(state: &State, account: &mut Account, wanted: &str) -> Result<(), ControlError> {
    if account.label().eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    if account.subdomain.is_some() {
        return Err(ControlError::SubdomainFixed);
    }
    names::host_label("subdomain", wanted)?;
    let holder = state.accounts.holder(wanted);
    if holder.is_some_and(|holder| holder.id != account.id) {
        return Err(ControlError::LabelTaken {
            label: wanted.to_owned(),
        });
    }
    account.subdomain = Some(wanted.to_ascii_lowercase());
    Ok(())
}

impl Account {
    /// A new account with nothing in it.
    pub(super) fn new(name: &str, subscription: Uuid, resource_group: &str, location: &str) -> Self {
        Self {
            id: AccountId::from_uuid(Uuid::new_v4()),
            name: name.to_owned(),
            subscription,
            resource_group: resource_group.to_owned(),
            location: location.to_owned(),
            kind: super::usual_kind(),
            sku: SKU.to_owned(),
            tags: BTreeMap::new(),
            subdomain: None,
            identity: None,
            user_assigned: BTreeMap::new(),
            encryption: Encryption::customer(String::new(), "", None),
            switch: None,
            switched: None,
            anchor: None,
            disable_local_auth: false,
            retention: Retention::new(),
            network: NetworkRules::default(),
            key_generations: [0, 0],
            deployments: BTreeMap::new(),
            offered: BTreeSet::new(),
            more: Map::new(),
            made: Mark::default(),
            changed: Mark::default(),
            deleted: None,
        }
    }
}
