//! What happens to accounts: made, given deployments, anchors, identities and keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_azure::ResourceId;
use strongroom_seal::AccountId;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Account, Anchor, Deployment, Encryption, KeySource, NewAccount, Place, Provisioning, RetentionChange,
    live_at,
};
use crate::actor::Actor;
use crate::control::Control;
use crate::directory::{Credentials, Principal, PrincipalDetail};
use crate::error::{AnchorFault, ControlError};
use crate::limits::{ACCOUNT_IDENTITIES, DEPLOYMENTS};
use crate::names;
use crate::roles::{ActionKind, Effective};
use crate::scopes;
use crate::state::State;

const OPENAI: &str = "Microsoft.CognitiveServices/accounts/OpenAI";
pub(super) const WRITE: &str = "Microsoft.CognitiveServices/accounts/write";
pub(super) const DELETE: &str = "Microsoft.CognitiveServices/accounts/delete";
const LIST_KEYS: &str = "Microsoft.CognitiveServices/accounts/listKeys/action";
const REGENERATE_KEY: &str = "Microsoft.CognitiveServices/accounts/regenerateKey/action";
const DEPLOYMENT_WRITE: &str = "Microsoft.CognitiveServices/accounts/deployments/write";
const DEPLOYMENT_DELETE: &str = "Microsoft.CognitiveServices/accounts/deployments/delete";
pub(super) const ASSIGN_IDENTITY: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action";

/// What a caller's data actions amount to in the service, by family of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenAiRights {
    /// Models; those that are kept are the fine-tuned ones.
    pub models: Crud,
    /// Files.
    pub files: Crud,
    /// Fine-tuning jobs.
    pub fine_tuning: Crud,
    /// Stored responses.
    pub responses: Crud,
    /// Stored completions.
    pub completions: Crud,
    /// Ask a model.
    pub chat: bool,
    /// Have text embedded.
    pub embeddings: bool,
}

/// Rights over things that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crud {
    /// See them.
    pub read: bool,
    /// Make and change them.
    pub write: bool,
    /// Delete them.
    pub delete: bool,
}

impl Account {
    /// Whether this is one of its user-assigned identities.
    fn has_user_assigned(&self, principal: &Principal) -> bool {
        let mut all = self.user_assigned.values();
        all.any(|id| *id == principal.object_id)
    }
}

impl Control {
    /// One account by its name, unless it is deleted.
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.state().accounts.get(name).cloned()
    }

    /// The account that answers under a host's label, its name or its subdomain.
    pub fn account_at(&self, label: &str) -> Option<Arc<Account>> {
        self.state().accounts.at(label).cloned()
    }

    /// One account by its id, unless it is deleted.
    pub fn account_by_id(&self, id: AccountId) -> Option<Arc<Account>> {
        self.state().accounts.by_id(id).cloned()
    }

    /// Who asks for a key on an account's behalf; nobody, if the account has no such identity, or no more.
    pub fn asks_for_key(&self, account: &Account, key: &Encryption) -> Option<Arc<Principal>> {
        let state = self.state();
        let directory = &state.directory;
        let id = match (key.source, key.identity) {
            (KeySource::Service, _) => state.tenant.provider?,
            (KeySource::Customer, None) => account.identity?,
            (KeySource::Customer, Some(client)) => {
                let known = directory.by_client(client)?;
                let is_theirs = account.has_user_assigned(known);
                return is_theirs.then(|| Arc::clone(known));
            }
        };
        directory.get(id).cloned()
    }

    /// Whether the principal is an identity of an account that is there.
    pub(crate) fn is_account_identity(&self, id: Uuid) -> bool {
        let state = self.state();
        let Some(known) = state.directory.get(id) else {
            return false;
        };
        match &known.detail {
            PrincipalDetail::SystemAssigned { resource, .. } => {
                let name = resource.rsplit('/').next().unwrap_or_default();
                state
                    .accounts
                    .get(name)
                    .is_some_and(|account| account.identity == Some(id))
            }
            PrincipalDetail::UserAssigned { .. } => state
                .accounts
                .any_live(|account| account.has_user_assigned(known)),
            _ => false,
        }
    }

    /// Whether whoever shows a token of this principal is the service, wherever it is. Of an identity with credentials of its own
    /// others get tokens too.
    pub(crate) fn is_service_alone(&self, id: Uuid) -> bool {
        let state = self.state();
        let known = state.directory.get(id);
        let credentials = known.and_then(|known| known.credentials());
        credentials.is_none_or(Credentials::is_empty) && self.is_account_identity(id)
    }

    /// Whether the service asks vaults as this principal: as an account, or as itself.
    pub(crate) fn is_service_identity(&self, id: Uuid) -> bool {
        self.state().tenant.provider == Some(id) || self.is_account_identity(id)
    }

    /// The account of this name, made with a system-assigned identity if there is none.
    pub fn ensure_account(&self, new: &NewAccount) -> Result<Arc<Account>, ControlError> {
        names::host_label("account", &new.name)?;
        names::label("resource group", &new.resource_group)?;
        names::label("location", &new.location)?;
        new.encryption.check()?;
        let mut change = self.change();
        // One that was deleted stays deleted.
        if let Some(account) = change.state().accounts.any(&new.name) {
            return Ok(Arc::clone(account));
        }
        change.state().accounts.room()?;
        let mut account = Account {
            encryption: new.encryption.clone(),
            ..Account::new(
                &new.name.to_ascii_lowercase(),
                change.state().tenant.subscription,
                &new.resource_group,
                &new.location,
            )
        };
        account.made.at_ms = self.now_ms();
        account.changed = account.made.clone();
        account.identity = Some(self.identity_for(&mut change, &account)?);
        let account = change.put_account(account)?;
        change.commit()?;
        Ok(account)
    }

    /// Why no new account may have this name or subdomain; nothing, if one may.
    pub(crate) fn label_refused(&self, label: &str) -> Option<ControlError> {
        if let Err(error) = names::host_label("subdomain", label) {
            return Some(error);
        }
        let taken = self.state().accounts.holder(label).is_some();
        let label = label.to_owned();
        taken.then_some(ControlError::LabelTaken { label })
    }

    /// Gives an account these tags and no others. One that is not there has none.
    pub(crate) fn set_account_tags(
        &self,
        name: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<(), ControlError> {
        let mut change = self.change();
        let Some(found) = change.state().accounts.get(name) else {
            return Ok(());
        };
        let account = Account {
            tags,
            ..Account::clone(found)
        };
        change.put_account(account)?;
        change.commit()
    }

    /// Deploys a model under its own name on the system's behalf, unless that was done before: what was deleted since stays away.
    pub fn offer_model(
        &self,
        account: &str,
        model: &str,
        deployment: Deployment,
    ) -> Result<(), ControlError> {
        let mut change = self.change();
        let mut account = Arc::unwrap_or_clone(find(change.state(), account)?);
        if !account.offered.insert(model.to_owned()) {
            return Ok(());
        }
        if !account.deployments.contains_key(model) {
            names::deployment(model)?;
            account.deployments.insert(model.to_owned(), deployment);
        }
        change.put_account(account)?;
        change.commit()
    }

    /// Ends the making of a deployment, if it still is this operation's.
    pub(crate) fn end_making(
        &self,
        account: AccountId,
        name: &str,
        operation: &str,
        outcome: Option<Provisioning>,
    ) -> Result<(), ControlError> {
        let mut change = self.change();
        let Some(account) = change.state().accounts.by_id(account) else {
            return Ok(());
        };
        let mut account = Account::clone(account);
        match account.deployments.get_mut(name) {
            Some(deployment) if deployment.is_made_by(operation) => deployment.provisioning = outcome,
            _ => return Ok(()),
        }
        change.put_account(account)?;
        change.commit()
    }

    /// Adds a deployment or replaces it.
    pub fn put_deployment(
        &self,
        account: &str,
        name: &str,
        deployment: Deployment,
    ) -> Result<Arc<Account>, ControlError> {
        names::deployment(name)?;
        let mut change = self.change();
        let mut account = Arc::unwrap_or_clone(find(change.state(), account)?);
        account.deployments.insert(name.to_owned(), deployment);
        let account = change.put_account(account)?;
        change.commit()?;
        Ok(account)
    }

    /// Moves an account's anchor, if it still is `from`. Moving it to where it already is succeeds.
    pub fn pin_anchor(
        &self,
        account: AccountId,
        from: Option<Anchor>,
        to: Anchor,
    ) -> Result<(), AnchorFault> {
        let mut change = self.change();
        let found = change.state().accounts.by_id(account);
        let mut account = Account::clone(found.ok_or(AnchorFault::NoAccount)?);
        if account.anchor == Some(to) {
            return Ok(());
        }
        // Never back to a version that was dropped.
        let forward = from.is_none_or(|from| from.version < to.version);
        if account.anchor != from || !forward {
            return Err(AnchorFault::Moved);
        }
        account.anchor = Some(to);
        change.put_account(account)?;
        Ok(change.commit()?)
    }

    /// The account's two keys.
    pub fn account_keys(&self, name: &str) -> Option<[Zeroizing<String>; 2]> {
        Some(self.derive_keys(self.account(name)?.as_ref()))
    }

    /// The account and slot that a presented key belongs to.
    pub fn authenticate_key(&self, account: &str, presented: &str) -> Option<(Arc<Account>, usize)> {
        let account = self
            .account_at(account)
            .filter(|account| !account.disable_local_auth)?;
        let slot = self.shared.keys.slot_of(&account, presented)?;
        Some((account, slot))
    }

    /// What a principal may do in an account's data plane.
    pub fn openai_rights(&self, principal: &str, account: &Account) -> OpenAiRights {
        let state = self.state();
        let named = principal.parse::<Uuid>().ok().zip(account.scope());
        let roles =
            named.map(|(principal, scope)| state.roles.effective(&state.directory, principal, &scope));
        OpenAiRights::of(roles.as_ref())
    }

    fn derive_keys(&self, account: &Account) -> [Zeroizing<String>; 2] {
        [0, 1].map(|slot| self.shared.keys.derive(account, slot))
    }
}

impl OpenAiRights {
    /// Nothing at all.
    pub fn is_none(&self) -> bool {
        *self == Self::of(None)
    }

    fn of(roles: Option<&Effective<'_>>) -> Self {
        let may = |action: &str| {
            roles.is_some_and(|roles| roles.allows(ActionKind::Data, &format!("{OPENAI}/{action}")))
        };
        let crud = |family: &str| Crud {
            read: may(&format!("{family}/read")),
            write: may(&format!("{family}/write")),
            delete: may(&format!("{family}/delete")),
        };
        Self {
            models: crud("models"),
            files: crud("files"),
            fine_tuning: crud("fine-tunes"),
            responses: crud("responses"),
            completions: Crud {
                // To keep one is an action on Azure; there is no "write".
                write: may("stored-completions/action"),
                ..crud("stored-completions")
            },
            chat: may("deployments/chat/completions/action"),
            embeddings: may("deployments/embeddings/action"),
        }
    }
}

/// One of an account's two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySlot {
    /// `key1`.
    One,
    /// `key2`.
    Two,
}

impl Actor {
    /// The account's two keys.
    pub fn list_account_keys(&self, name: &str) -> Result<[Zeroizing<String>; 2], ControlError> {
        let account = self.reach(&self.control.state(), name, LIST_KEYS)?;
        if account.disable_local_auth {
            return Err(ControlError::LocalAuthDisabled);
        }
        Ok(self.control.derive_keys(&account))
    }

    /// Makes one of the two keys anew and gives both. The old one no longer counts when this returns.
    pub fn regenerate_account_key(
        &self,
        name: &str,
        slot: KeySlot,
    ) -> Result<[Zeroizing<String>; 2], ControlError> {
        let mut change = self.control.change();
        let mut account = Arc::unwrap_or_clone(self.reach(change.state(), name, REGENERATE_KEY)?);
        if account.disable_local_auth {
            return Err(ControlError::LocalAuthDisabled);
        }
        let [one, two] = &mut account.key_generations;
        let generation = match slot {
            KeySlot::One => one,
            KeySlot::Two => two,
        };
        // A generation must never come back: the key that was taken away would come back with it.
        *generation = generation.checked_add(1).ok_or(ControlError::TooMany {
            what: "generations of this key",
        })?;
        let keys = self.control.derive_keys(&account);
        change.put_account(account)?;
        change.commit()?;
        Ok(keys)
    }

    /// Turns account keys off or on. It counts from the next request on.
    pub fn set_local_auth(&self, name: &str, disable: bool) -> Result<Arc<Account>, ControlError> {
        self.update_account(name, |account| {
            account.disable_local_auth = disable;
            Ok(())
        })
    }

    /// Changes for how long objects are kept. It counts for what is made from now on.
    pub fn set_retention(&self, name: &str, change: &RetentionChange) -> Result<Arc<Account>, ControlError> {
        self.update_account(name, |account| {
            change.apply(&mut account.retention);
            Ok(())
        })
    }

    /// Lets an account use a user-assigned identity, named by its object id, client id or resource id.
    pub fn add_account_identity(&self, name: &str, identity: &str) -> Result<Arc<Account>, ControlError> {
        let state = self.control.state();
        let known = user_assigned(&state, identity);
        let named = known
            .as_ref()
            .and_then(|known| Some((known.resource()?, known.object_id)));
        let (resource, object_id) = named.ok_or_else(|| ControlError::NotFound {
            what: "user-assigned identity",
            name: identity.to_owned(),
        })?;
        self.authorize_in(&state, ASSIGN_IDENTITY, &scopes::parse(resource)?)?;
        self.update_account(name, |account| {
            forget_identity(account, resource);
            if account.user_assigned.len() >= ACCOUNT_IDENTITIES {
                return Err(ControlError::TooMany { what: "identities" });
            }
            account.user_assigned.insert(resource.to_owned(), object_id);
            Ok(())
        })
    }

    /// Takes a user-assigned identity off an account. One that was deleted is named by its resource id.
    pub fn remove_account_identity(&self, name: &str, identity: &str) -> Result<Arc<Account>, ControlError> {
        let known = user_assigned(&self.control.state(), identity);
        let resource = known
            .as_ref()
            .and_then(|known| known.resource())
            .unwrap_or(identity);
        self.update_account(name, |account| {
            forget_identity(account, resource);
            Ok(())
        })
    }

    /// Adds a deployment to an account or replaces it. Unless it is to be made anew, one of the same model is as far as it is by now.
    pub(crate) fn put_deployment(
        &self,
        place: &Place,
        name: &str,
        mut deployment: Deployment,
        anew: bool,
    ) -> Result<Arc<Account>, ControlError> {
        names::deployment(name)?;
        self.update_deployments(place, DEPLOYMENT_WRITE, |deployments| {
            if let Some(known) = deployments.get(name)
                && known.model == deployment.model
                && !anew
            {
                deployment.provisioning.clone_from(&known.provisioning);
            }
            deployments.insert(name.to_owned(), deployment);
            if deployments.len() > DEPLOYMENTS {
                return Err(ControlError::TooMany { what: "deployments" });
            }
            Ok(())
        })
    }

    /// Takes a deployment away. It serves nothing from the next request on.
    pub(crate) fn delete_deployment(&self, place: &Place, name: &str) -> Result<Arc<Account>, ControlError> {
        self.update_deployments(place, DEPLOYMENT_DELETE, |deployments| {
            deployments.remove(name);
            Ok(())
        })
    }

    fn update_deployments(
        &self,
        place: &Place,
        action: &str,
        update: impl FnOnce(&mut BTreeMap<String, Deployment>) -> Result<(), ControlError>,
    ) -> Result<Arc<Account>, ControlError> {
        let mut change = self.control.change();
        let mut account = Arc::unwrap_or_clone(live_at(change.state(), place)?);
        self.authorize_in(change.state(), action, &scope(&account)?)?;
        update(&mut account.deployments)?;
        let account = change.put_account(account)?;
        change.commit()?;
        Ok(account)
    }

    /// The account of this name, if the caller may do this to it. Whoever may not hears the same of one that is there and of one that is
    /// not.
    pub(super) fn reach(
        &self,
        state: &State,
        name: &str,
        action: &str,
    ) -> Result<Arc<Account>, ControlError> {
        let found = find(state, name);
        if let Ok(account) = &found
            && self.authorize_in(state, action, &scope(account)?).is_ok()
        {
            return found;
        }
        let subscription = state.tenant.subscription;
        let anywhere = scopes::parse(&format!("/subscriptions/{subscription}"))?;
        let unplaced =
            format!("/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/accounts/{name}");
        match self.authorize_in(state, action, &anywhere) {
            Ok(()) => found,
            Err(denied) => Err(denied.over(unplaced)),
        }
    }

    fn update_account(
        &self,
        name: &str,
        update: impl FnOnce(&mut Account) -> Result<(), ControlError>,
    ) -> Result<Arc<Account>, ControlError> {
        let mut change = self.control.change();
        let mut account = Arc::unwrap_or_clone(self.reach(change.state(), name, WRITE)?);
        update(&mut account)?;
        let account = change.put_account(account)?;
        change.commit()?;
        Ok(account)
    }
}

fn forget_identity(account: &mut Account, resource: &str) {
    account
        .user_assigned
        .retain(|known, _| !known.eq_ignore_ascii_case(resource));
}

pub(super) fn find(state: &State, name: &str) -> Result<Arc<Account>, ControlError> {
    let missing = || ControlError::NotFound {
        what: "account",
        name: name.to_owned(),
    };
    state.accounts.get(name).cloned().ok_or_else(missing)
}

pub(super) fn scope(account: &Account) -> Result<ResourceId, ControlError> {
    scopes::parse(&account.resource_id())
}

pub(super) fn user_assigned(state: &State, text: &str) -> Option<Arc<Principal>> {
    let explicit = |known: &&Arc<Principal>| matches!(known.detail, PrincipalDetail::UserAssigned { .. });
    let found = match text.parse::<Uuid>() {
        Ok(id) => state.directory.get(id).or_else(|| state.directory.by_client(id)),
        Err(_) => {
            let here = |known: &&Arc<Principal>| {
                let resource = known.resource();
                resource.is_some_and(|resource| resource.eq_ignore_ascii_case(text))
            };
            state.directory.all().find(here)
        }
    };
    found.filter(explicit).cloned()
}
