//! The control plane as its users hold it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use aws_lc_rs::rand;
use serde_json::Value;
use strongroom_azure::ResourceId;
use strongroom_azure::token::KeyHosts;
use strongroom_seal::Clock;
use strongroom_vault::VaultEngine;
use tokio::sync::watch;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::accounts::{Account, AccountKeys};
use crate::directory::Tenant;
use crate::documents::Documents;
use crate::error::ControlError;
use crate::files;
use crate::issuer::TokenIssuer;
use crate::issuer::keys::TokenKeys;
use crate::issuer::replay::Used;
use crate::limits::SECRET;
use crate::roles::ActionKind;
use crate::state::{Change, State};

/// The control plane. Clones share it. Changes are durable when they return, and block for as long as that takes.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

/// Resource Manager's inventory, as the control plane needs it. Each waits for a database; never ask within a change.
pub(crate) trait Index: Send + Sync {
    /// Whether there is a resource of this id.
    fn has(&self, id: &ResourceId) -> bool;
    /// Takes in an identity that was made: lists of resources show it.
    fn show(&self, identity: Value);
    /// Forgets an identity that is gone.
    fn hide(&self, id: &ResourceId);
}

pub(crate) struct Shared {
    pub(crate) documents: Documents,
    pub(crate) vaults: VaultEngine,
    pub(crate) keys: AccountKeys,
    pub(crate) token_keys: Arc<TokenKeys>,
    pub(crate) used: Used,
    /// Where the keys of external issuers may be fetched; nowhere, while it is empty.
    key_hosts: OnceLock<KeyHosts>,
    index: OnceLock<Box<dyn Index>>,
    clock: Arc<dyn Clock>,
    /// Replaced as a whole; held for as long as it takes to take a reference.
    state: RwLock<Arc<State>>,
    /// Held while something changes, so that each change sees the one before.
    changing: Mutex<()>,
    accounts: watch::Sender<Arc<Vec<Arc<Account>>>>,
}

impl Shared {
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn publish(&self, next: State, accounts: Option<Vec<Arc<Account>>>) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        if let Some(accounts) = accounts {
            self.accounts.send_replace(Arc::new(accounts));
        }
    }
}

impl Control {
    /// Opens the control plane's folder, or begins one: tenant, subscription, signing key and secret are made there. It manages
    /// these vaults, and nobody else does.
    pub fn open(folder: &Path, vaults: VaultEngine, clock: Arc<dyn Clock>) -> Result<Self, ControlError> {
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
        let token_keys = TokenKeys::open(folder, &documents, first)?;
        let used = Used::open(&documents)?;
        let tenant = match tenant {
            Some(tenant) => tenant,
            None => {
                let tenant = Tenant::new();
                documents.put("tenant", "tenant", &tenant)?;
                tenant
            }
        };
        let state = State::load(&documents, tenant, vaults.clone())?;
        let accounts = watch::Sender::new(Arc::new(state.accounts.list()));
        let control = Self {
            shared: Arc::new(Shared {
                documents,
                vaults,
                keys: AccountKeys::new(&secret),
                token_keys: Arc::new(token_keys),
                used,
                key_hosts: OnceLock::new(),
                index: OnceLock::new(),
                clock,
                state: RwLock::new(Arc::new(state)),
                changing: Mutex::default(),
                accounts,
            }),
        };
        if control.shared.token_keys.are_to_be_made() {
            let makes = control.clone();
            let maker = std::thread::spawn(move || makes.make_first_token_key());
            control.shared.token_keys.are_made_by(maker);
        }
        control.forget_roles_on_gone_vaults()?;
        Ok(control)
    }

    /// The tenant's GUID.
    pub fn tenant(&self) -> String {
        self.state().tenant.id.to_string()
    }

    /// The subscription's GUID.
    pub fn subscription(&self) -> String {
        self.state().tenant.subscription.to_string()
    }

    /// Every account, watched.
    pub fn accounts(&self) -> watch::Receiver<Arc<Vec<Arc<Account>>>> {
        self.shared.accounts.subscribe()
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
        let Ok(principal) = principal.parse::<Uuid>() else {
            return false;
        };
        let state = self.state();
        let roles = state.roles.effective(&state.directory, principal, scope);
        roles.allows(kind, action)
    }

    /// The token issuer at `authority` (`https://host[:port]`), under which its tokens name it.
    pub fn issuer(&self, authority: &str) -> TokenIssuer {
        TokenIssuer::new(self.clone(), authority)
    }

    /// Lets the keys of external issuers be fetched from these hosts. Before this is called, from none; it counts once.
    pub fn fetch_keys_from(&self, hosts: KeyHosts) {
        let _ = self.shared.key_hosts.set(hosts);
    }

    /// Lets Resource Manager know of identities, and roles be assigned on what it knows. It counts once.
    pub(crate) fn keep_index(&self, index: Box<dyn Index>) {
        let _ = self.shared.index.set(index);
    }

    /// Resource Manager's inventory, once there is one.
    pub(crate) fn index(&self) -> Option<&dyn Index> {
        self.shared.index.get().map(Box::as_ref)
    }

    pub(crate) fn key_hosts(&self) -> Option<&KeyHosts> {
        self.shared.key_hosts.get()
    }

    /// Everything that is known now.
    pub(crate) fn state(&self) -> Arc<State> {
        self.shared.state()
    }

    /// Begins a change and waits for its turn.
    pub(crate) fn change(&self) -> Change<'_> {
        Change::begin(&self.shared)
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.shared.clock.now().wall.as_millis()).unwrap_or(i64::MAX)
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn now(&self) -> u64 {
        self.shared.clock.now().wall.as_secs()
    }
}

fn random_secret() -> Result<Zeroizing<Vec<u8>>, ControlError> {
    let mut secret = Zeroizing::new(vec![0; SECRET]);
    rand::fill(&mut secret).map_err(|_| ControlError::NoRandomness)?;
    Ok(secret)
}
