//! What happens to accounts: made, given deployments, anchors, identities and keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strongroom_azure::ResourceId;
use strongroom_seal::AccountId;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Account, Anchor, Deployment, NewAccount};
use crate::actor::Actor;
use crate::control::Control;
use crate::directory::{Principal, PrincipalDetail};
use crate::error::{AnchorFault, ControlError};
use crate::limits::ACCOUNT_IDENTITIES;
use crate::names;
use crate::roles::{ActionKind, Effective};
use crate::scopes;
use crate::state::State;

const OPENAI: &str = "Microsoft.CognitiveServices/accounts/OpenAI";
const WRITE: &str = "Microsoft.CognitiveServices/accounts/write";
const DELETE: &str = "Microsoft.CognitiveServices/accounts/delete";
const LIST_KEYS: &str = "Microsoft.CognitiveServices/accounts/listKeys/action";
const REGENERATE_KEY: &str = "Microsoft.CognitiveServices/accounts/regenerateKey/action";
const ASSIGN_IDENTITY: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action";

/// What a caller's data actions amount to in the service, by family of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenAiRights {
    /// See models.
    pub models: bool,
    /// Files.
    pub files: Crud,
    /// Stored responses.
    pub responses: Crud,
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

impl Control {
    /// One account by its name.
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.state().accounts.get(name).cloned()
    }

    /// The account of this name, made with a system-assigned identity if there is none.
    pub fn ensure_account(&self, new: &NewAccount) -> Result<Arc<Account>, ControlError> {
        names::host_label("account", &new.name)?;
        names::label("resource group", &new.resource_group)?;
        names::label("location", &new.location)?;
        new.encryption.check()?;
        let mut change = self.change();
        if let Some(account) = change.state().accounts.get(&new.name) {
            return Ok(Arc::clone(account));
        }
        let mut account = Account {
            id: AccountId::from_uuid(Uuid::new_v4()),
            name: new.name.to_ascii_lowercase(),
            subscription: change.state().tenant.subscription,
            resource_group: new.resource_group.clone(),
            location: new.location.clone(),
            identity: Uuid::nil(),
            user_assigned: BTreeSet::new(),
            encryption: new.encryption.clone(),
            anchor: None,
            disable_local_auth: false,
            key_generations: [0, 0],
            deployments: BTreeMap::new(),
        };
        let detail = PrincipalDetail::SystemAssigned {
            client_id: Uuid::new_v4(),
            resource: account.resource_id(),
        };
        let identity = Principal::new(&account.name, self.now(), detail);
        account.identity = identity.object_id;
        change.put_principal(identity)?;
        let account = change.put_account(account)?;
        change.commit()?;
        Ok(account)
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
            .account(account)
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
            models: may("models/read"),
            files: crud("files"),
            responses: crud("responses"),
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
        let state = self.control.state();
        let account = find(&state, name)?;
        self.authorize_in(&state, LIST_KEYS, &scope(&account)?)?;
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
        let mut account = Arc::unwrap_or_clone(find(change.state(), name)?);
        self.authorize_in(change.state(), REGENERATE_KEY, &scope(&account)?)?;
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

    /// Lets an account use a user-assigned identity, named by its object id, client id or resource id.
    pub fn add_account_identity(&self, name: &str, identity: &str) -> Result<Arc<Account>, ControlError> {
        let state = self.control.state();
        let known = user_assigned(&state, identity);
        let resource = known.as_ref().and_then(|known| known.resource());
        let resource = resource.ok_or_else(|| ControlError::NotFound {
            what: "user-assigned identity",
            name: identity.to_owned(),
        })?;
        self.authorize_in(&state, ASSIGN_IDENTITY, &scopes::parse(resource)?)?;
        self.update_account(name, |account| {
            if account.user_assigned.len() >= ACCOUNT_IDENTITIES {
                return Err(ControlError::TooMany { what: "identities" });
            }
            account.user_assigned.insert(resource.to_owned());
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
            account
                .user_assigned
                .retain(|known| !known.eq_ignore_ascii_case(resource));
            Ok(())
        })
    }

    /// Deletes an account that has never sealed anything, and with it its system-assigned identity and the roles assigned on
    /// it. One with sealed data stays: its id is in every key, and no other account could ever open the data.
    pub fn delete_account(&self, name: &str) -> Result<(), ControlError> {
        let mut change = self.control.change();
        let account = find(change.state(), name)?;
        let scope = scope(&account)?;
        self.authorize_in(change.state(), DELETE, &scope)?;
        if account.anchor.is_some() {
            return Err(ControlError::AccountInUse {
                name: account.name.clone(),
            });
        }
        change.remove_principal(account.identity)?;
        change.remove_assignments_below(&scope);
        change.remove_account(&account.name);
        change.commit()
    }

    fn update_account(
        &self,
        name: &str,
        update: impl FnOnce(&mut Account) -> Result<(), ControlError>,
    ) -> Result<Arc<Account>, ControlError> {
        let mut change = self.control.change();
        let mut account = Arc::unwrap_or_clone(find(change.state(), name)?);
        self.authorize_in(change.state(), WRITE, &scope(&account)?)?;
        update(&mut account)?;
        let account = change.put_account(account)?;
        change.commit()?;
        Ok(account)
    }
}

fn find(state: &State, name: &str) -> Result<Arc<Account>, ControlError> {
    let missing = || ControlError::NotFound {
        what: "account",
        name: name.to_owned(),
    };
    state.accounts.get(name).cloned().ok_or_else(missing)
}

fn scope(account: &Account) -> Result<ResourceId, ControlError> {
    scopes::parse(&account.resource_id())
}

fn user_assigned(state: &State, text: &str) -> Option<Arc<Principal>> {
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
