//! The control plane as its users hold it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use strongroom_azure::ResourceId;
use strongroom_azure::token::Signer;
use strongroom_seal::{AccountId, Clock};
use strongroom_vault::{Access, Caller, Decision, KeyAction};
use tokio::sync::watch;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::account_keys::AccountKeys;
use crate::accounts::{Account, Anchor, Deployment, NewAccount};
use crate::directory::{Principal, PrincipalKind, Tenant};
use crate::documents::Documents;
use crate::error::{AnchorFault, ControlError};
use crate::files;
use crate::issuer::TokenIssuer;
use crate::limits::{ASSIGNMENTS, SECRET};
use crate::names;
use crate::roles::{self, ActionKind, Assignment, BuiltInRole};

const OPENAI: &str = "Microsoft.CognitiveServices/accounts/OpenAI";

/// The control plane. Clones share it. Changes are durable when they return, and block for as long as that takes.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    documents: Documents,
    keys: AccountKeys,
    signer: Arc<Signer>,
    clock: Arc<dyn Clock>,
    tenant: Tenant,
    state: Mutex<State>,
    /// Held while accounts change, so that each change sees the one before.
    changing: Mutex<()>,
    accounts: watch::Sender<Arc<Vec<Account>>>,
}

#[derive(Default)]
struct State {
    principals: Vec<Principal>,
    assignments: Vec<Assignment>,
    vaults: Vec<ResourceId>,
}

/// What a caller's data actions amount to in the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenAiRights {
    /// Read files, responses, models.
    pub read: bool,
    /// Upload, create.
    pub write: bool,
    /// Delete.
    pub delete: bool,
    /// Ask a model.
    pub infer: bool,
}

impl Control {
    /// Opens the control plane's folder, or begins one: tenant, subscription, signing key and secret are made there.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, ControlError> {
        files::make_folder(folder)?;
        let documents = Documents::open(&folder.join("control.db"))?;
        // Until the tenant is on record, this is the first start, or one that a crash cut short.
        let tenant = documents.all::<Tenant>("tenant")?.into_iter().next();
        let first = tenant.is_none();
        let kept = folder.join("secret");
        let secret = files::load_or_create(&kept, first, random_secret)?;
        if secret.len() != SECRET {
            return Err(ControlError::Key { path: kept });
        }
        let signing = folder.join("signing-key");
        let der = files::load_or_create(&signing, first, new_signing_key)?;
        let signer = Signer::from_pkcs8(&der).map_err(|_| ControlError::Key { path: signing })?;
        let tenant = match tenant {
            Some(tenant) => tenant,
            None => {
                let tenant = Tenant::new();
                documents.put("tenant", "tenant", &tenant)?;
                tenant
            }
        };
        let state = State {
            principals: documents.all("principal")?,
            assignments: documents.all("assignment")?,
            vaults: vaults(&documents)?,
        };
        let accounts = watch::Sender::new(Arc::new(documents.all::<Account>("account")?));
        let (keys, signer, state) = (AccountKeys::new(&secret), Arc::new(signer), Mutex::new(state));
        let changing = Mutex::default();
        Ok(Self {
            shared: Arc::new(Shared {
                documents,
                keys,
                signer,
                clock,
                tenant,
                state,
                changing,
                accounts,
            }),
        })
    }

    /// The tenant's GUID.
    pub fn tenant(&self) -> String {
        self.shared.tenant.id.to_string()
    }

    /// The subscription's GUID.
    pub fn subscription(&self) -> String {
        self.shared.tenant.subscription.to_string()
    }

    /// Every account, watched.
    pub fn accounts(&self) -> watch::Receiver<Arc<Vec<Account>>> {
        self.shared.accounts.subscribe()
    }

    /// One account by its name.
    pub fn account(&self, name: &str) -> Option<Account> {
        self.shared
            .accounts
            .borrow()
            .iter()
            .find(|account| account.name.eq_ignore_ascii_case(name))
            .cloned()
    }

    /// The account of this name, made with a system-assigned identity if there is none.
    pub fn ensure_account(&self, new: &NewAccount) -> Result<Account, ControlError> {
        names::host_label("account", &new.name)?;
        names::label("resource group", &new.resource_group)?;
        names::label("location", &new.location)?;
        new.encryption.check()?;
        let _changing = self.changing();
        if let Some(account) = self.account(&new.name) {
            return Ok(account);
        }
        let mut account = Account {
            id: AccountId::from_uuid(Uuid::new_v4()),
            name: new.name.to_ascii_lowercase(),
            subscription: self.shared.tenant.subscription,
            resource_group: new.resource_group.clone(),
            location: new.location.clone(),
            identity: Uuid::nil(),
            encryption: new.encryption.clone(),
            anchor: None,
            disable_local_auth: false,
            key_generations: [0, 0],
            deployments: BTreeMap::new(),
        };
        let identity = Principal::new(
            PrincipalKind::ManagedIdentity,
            &account.name,
            Some(account.resource_id()),
        );
        account.identity = identity.object_id;
        self.put_principal(identity)?;
        self.publish(account.clone())?;
        Ok(account)
    }

    /// Adds a deployment or replaces it.
    pub fn put_deployment(
        &self,
        account: &str,
        name: &str,
        deployment: Deployment,
    ) -> Result<Account, ControlError> {
        names::deployment(name)?;
        self.change_account(account, |account| {
            account.deployments.insert(name.to_owned(), deployment);
        })
    }

    /// Moves an account's anchor, if it still is `from`. Moving it to where it already is succeeds.
    pub fn pin_anchor(
        &self,
        account: AccountId,
        from: Option<Anchor>,
        to: Anchor,
    ) -> Result<(), AnchorFault> {
        let _changing = self.changing();
        let found = self
            .shared
            .accounts
            .borrow()
            .iter()
            .find(|known| known.id == account)
            .cloned();
        let mut account = found.ok_or(AnchorFault::NoAccount)?;
        if account.anchor == Some(to) {
            return Ok(());
        }
        // Never back to a version that was dropped.
        let forward = from.is_none_or(|from| from.version < to.version);
        if account.anchor != from || !forward {
            return Err(AnchorFault::Moved);
        }
        account.anchor = Some(to);
        Ok(self.publish(account)?)
    }

    /// The account's two keys.
    pub fn account_keys(&self, name: &str) -> Option<[Zeroizing<String>; 2]> {
        let account = self.account(name)?;
        Some([
            self.shared.keys.derive(&account, 0),
            self.shared.keys.derive(&account, 1),
        ])
    }

    /// The account and slot that a presented key belongs to.
    pub fn authenticate_key(&self, account: &str, presented: &str) -> Option<(Account, usize)> {
        let account = self
            .account(account)
            .filter(|account| !account.disable_local_auth)?;
        let slot = self.shared.keys.slot_of(&account, presented)?;
        Some((account, slot))
    }

    /// Registers a vault, so that roles can be assigned on it, and gives its id in Resource Manager.
    pub fn ensure_vault(&self, name: &str, resource_group: &str) -> Result<ResourceId, ControlError> {
        names::host_label("vault", name)?;
        let subscription = self.shared.tenant.subscription;
        let id = format!(
            "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.KeyVault/vaults/{name}"
        );
        let id: ResourceId = id.parse().map_err(|_| ControlError::BadName {
            what: "vault",
            name: name.to_owned(),
        })?;
        let _changing = self.changing();
        match self.vault_id(name) {
            Some(known) if known == id => Ok(id),
            Some(_) => Err(ControlError::AlreadyExists {
                what: "vault",
                name: name.to_owned(),
            }),
            None => {
                let kept = name.to_ascii_lowercase();
                self.shared.documents.put("vault", &kept, &id.as_str())?;
                self.state().vaults.push(id.clone());
                Ok(id)
            }
        }
    }

    /// The administrator application. If `known` is its secret, that stays; otherwise it gets a new one, which is returned.
    pub fn ensure_administrator(
        &self,
        known: Option<&str>,
    ) -> Result<(Principal, Option<Zeroizing<String>>), ControlError> {
        let _changing = self.changing();
        let found = self
            .state()
            .principals
            .iter()
            .find(|p| p.kind == PrincipalKind::Application)
            .cloned();
        let mut principal =
            found.unwrap_or_else(|| Principal::new(PrincipalKind::Application, "administrator", None));
        if known.is_some_and(|secret| principal.has_secret(secret)) {
            return Ok((principal, None));
        }
        let secret = principal.renew_secret()?;
        self.put_principal(principal.clone())?;
        Ok((principal, Some(secret)))
    }

    /// Assigns a role at a scope, unless it is assigned there already.
    pub fn ensure_assignment(
        &self,
        principal: Uuid,
        role: &BuiltInRole,
        scope: &ResourceId,
    ) -> Result<Assignment, ControlError> {
        let _changing = self.changing();
        let same = |known: &&Assignment| {
            let here = known
                .scope
                .parse::<ResourceId>()
                .is_ok_and(|known| known == *scope);
            known.principal == principal && known.role == role.id && here
        };
        let (known, count) = {
            let state = self.state();
            (
                state.assignments.iter().find(same).cloned(),
                state.assignments.len(),
            )
        };
        if let Some(known) = known {
            return Ok(known);
        }
        if count >= ASSIGNMENTS {
            return Err(ControlError::TooManyAssignments);
        }
        let new = Assignment {
            id: Uuid::new_v4(),
            principal,
            role: role.id,
            scope: scope.as_str().to_owned(),
        };
        let name = new.id.to_string();
        self.shared.documents.put("assignment", &name, &new)?;
        self.state().assignments.push(new.clone());
        Ok(new)
    }

    /// Runs `grant` once in the life of this control plane: what is granted at the first start and taken away later is not
    /// granted again at the next one. A crash before the end runs it again.
    pub fn grant_once<E: From<ControlError>>(&self, grant: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let done: Vec<String> = self.shared.documents.all("milestone")?;
        if done.iter().any(|milestone| milestone == "granted") {
            return Ok(());
        }
        grant()?;
        Ok(self.shared.documents.put("milestone", "granted", &"granted")?)
    }

    /// Whether a principal may do this here.
    pub fn may(&self, principal: &str, scope: &ResourceId, kind: ActionKind, action: &str) -> bool {
        let Ok(principal) = principal.parse() else {
            return false;
        };
        roles::grants(&self.state().assignments, principal, scope, kind, action)
    }

    /// What a principal may do in an account's data plane.
    pub fn openai_rights(&self, principal: &str, account: &Account) -> OpenAiRights {
        let scope = account.scope();
        let may = |action: &str| {
            let action = format!("{OPENAI}/{action}");
            scope
                .as_ref()
                .is_some_and(|scope| self.may(principal, scope, ActionKind::Data, &action))
        };
        OpenAiRights {
            read: may("files/read"),
            write: may("files/write"),
            delete: may("files/delete"),
            infer: may("deployments/chat/completions/action"),
        }
    }

    /// The token issuer at `authority` (`https://host[:port]`), under which its tokens name it.
    pub fn issuer(&self, authority: &str) -> TokenIssuer {
        let shared = &self.shared;
        TokenIssuer::new(
            self.clone(),
            authority,
            Arc::clone(&shared.signer),
            Arc::clone(&shared.clock),
        )
    }

    /// A principal by its application id.
    pub(crate) fn principal_by_client(&self, client_id: &str) -> Option<Principal> {
        let client_id: Uuid = client_id.parse().ok()?;
        self.state()
            .principals
            .iter()
            .find(|principal| principal.client_id == client_id)
            .cloned()
    }

    /// A principal by its object id.
    pub fn principal(&self, object_id: Uuid) -> Option<Principal> {
        self.state()
            .principals
            .iter()
            .find(|principal| principal.object_id == object_id)
            .cloned()
    }

    fn change_account(&self, name: &str, change: impl FnOnce(&mut Account)) -> Result<Account, ControlError> {
        let _changing = self.changing();
        let missing = || ControlError::NotFound {
            what: "account",
            name: name.to_owned(),
        };
        let mut account = self.account(name).ok_or_else(missing)?;
        change(&mut account);
        self.publish(account.clone())?;
        Ok(account)
    }

    /// Keeps the account and then shows it to whoever watches.
    fn publish(&self, account: Account) -> Result<(), ControlError> {
        self.shared.documents.put("account", &account.name, &account)?;
        self.shared.accounts.send_modify(|accounts| {
            let mut all = accounts.as_ref().clone();
            all.retain(|known| known.id != account.id);
            all.push(account);
            *accounts = Arc::new(all);
        });
        Ok(())
    }

    fn vault_id(&self, name: &str) -> Option<ResourceId> {
        let state = self.state();
        let named = |id: &&ResourceId| {
            id.segment_after("vaults")
                .is_some_and(|known| known.eq_ignore_ascii_case(name))
        };
        state.vaults.iter().find(named).cloned()
    }

    /// Keeps the principal, then shows it. The caller holds `changing`; whoever asks for permissions does not wait for the disk.
    fn put_principal(&self, principal: Principal) -> Result<(), ControlError> {
        self.shared
            .documents
            .put("principal", &principal.object_id.to_string(), &principal)?;
        let mut state = self.state();
        state
            .principals
            .retain(|known| known.object_id != principal.object_id);
        state.principals.push(principal);
        Ok(())
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.shared
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Access for Control {
    fn may(&self, caller: &Caller, vault: &str, key: Option<&str>, action: KeyAction) -> Decision {
        let scope = match (vault.parse::<ResourceId>().ok(), key) {
            (Some(vault), Some(key)) => vault.child(&format!("keys/{key}")).ok(),
            (scope, _) => scope,
        };
        let granted = scope.is_some_and(|scope| {
            let action = action.data_action();
            caller.tenant == self.tenant()
                && Self::may(self, &caller.object_id, &scope, ActionKind::Data, action)
        });
        if granted {
            Decision::Allowed
        } else {
            Decision::DeniedByRbac
        }
    }

    /// The directory has no groups yet.
    fn is_member(&self, _: &Caller, _: &str) -> bool {
        false
    }

    fn is_trusted_service(&self, caller: &Caller) -> bool {
        let accounts = self.shared.accounts.borrow();
        let is_account = |identity: Uuid| accounts.iter().any(|account| account.identity == identity);
        caller.tenant == self.tenant() && caller.object_id.parse().is_ok_and(is_account)
    }
}

/// The vaults on record. An id that no longer reads as one grants nothing.
fn vaults(documents: &Documents) -> Result<Vec<ResourceId>, ControlError> {
    let ids: Vec<String> = documents.all("vault")?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

fn random_secret() -> Result<Zeroizing<Vec<u8>>, ControlError> {
    let mut secret = Zeroizing::new(vec![0; SECRET]);
    rand::fill(&mut secret).map_err(|_| ControlError::NoRandomness)?;
    Ok(secret)
}

fn new_signing_key() -> Result<Zeroizing<Vec<u8>>, ControlError> {
    let signer = Signer::generate().map_err(|_| ControlError::NoRandomness)?;
    signer
        .expose_pkcs8(|der| Zeroizing::new(der.to_vec()))
        .map_err(|_| ControlError::NoRandomness)
}
