//! The service's way to the keys of its accounts: the official client, over our own TLS door, the same path as on Azure. For each
//! account it is somebody else: the account's own identity, one that was assigned to it, or the provider for the service's own key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use strongroom_control::{Control, Encryption, VAULT_DOMAIN};
use strongroom_seal::{
    AccountId, BoxFuture, Clock, KeyDescription, KeyId, KeyName, KeyWrap, NoAnswer, Secret, VaultError,
    WrappedSeed,
};
use strongroom_store::Vaults;
use strongroom_vault::{Connections, KeyVaultClient, KeyVaultClientConfig, VaultCredential, VaultHosts};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::limits;
use crate::listen::Ports;
use crate::start::{BeforeVault, StartError};

/// How vaults are reached.
pub(crate) struct Way {
    /// What their certificates are signed by.
    pub(crate) authority_pem: String,
    pub(crate) ports: Ports,
    /// What tokens of identities are given for.
    pub(crate) secret: Zeroizing<String>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The vaults of all accounts. Clones share it.
#[derive(Clone)]
pub(crate) struct AccountVaults {
    inner: Arc<Inner>,
    /// What stands before the vaults of one account; see [`crate::Outside::before_vault`].
    before: Option<(AccountId, Arc<dyn KeyWrap>)>,
}

struct Inner {
    control: Control,
    way: Way,
    hosts: VaultHosts,
    /// By the client id of the identity that asks.
    clients: Mutex<HashMap<Uuid, Arc<KeyVaultClient>>>,
}

/// The vaults as one account asks them.
struct AccountVault {
    inner: Arc<Inner>,
    account: AccountId,
}

impl AccountVaults {
    /// `own` is the account that `before` stands before.
    pub(crate) fn new(
        control: Control,
        way: Way,
        own: AccountId,
        before: BeforeVault,
    ) -> Result<Self, StartError> {
        let inner = Arc::new(Inner {
            control,
            way,
            hosts: VaultHosts::below([VAULT_DOMAIN])?,
            clients: Mutex::default(),
        });
        // What is wrong with the way to vaults shows now, and not at the first use.
        inner.connect(Uuid::nil())?;
        let account = AccountVault {
            inner: Arc::clone(&inner),
            account: own,
        };
        Ok(Self {
            inner,
            before: Some((own, before(Arc::new(account)))),
        })
    }
}

impl Vaults for AccountVaults {
    fn vault(&self, account: AccountId) -> Arc<dyn KeyWrap> {
        match &self.before {
            Some((own, before)) if *own == account => Arc::clone(before),
            _ => Arc::new(AccountVault {
                inner: Arc::clone(&self.inner),
                account,
            }),
        }
    }
}

impl Inner {
    fn connect(&self, client_id: Uuid) -> Result<KeyVaultClient, StartError> {
        let Way {
            authority_pem,
            ports,
            secret,
            clock,
        } = &self.way;
        let credential = VaultCredential::AppService {
            endpoint: format!("http://127.0.0.1:{}/msi/token", ports.http),
            header: secret.clone(),
            client_id: Some(client_id.to_string()),
        };
        let mut config = KeyVaultClientConfig::new(credential, self.hosts.clone(), Arc::clone(clock));
        config.connections = Connections {
            trusted_roots: Some(authority_pem.as_bytes().to_vec()),
            localhost: Some(([127, 0, 0, 1], ports.https).into()),
            environment_proxy: false,
        };
        Ok(KeyVaultClient::new(config)?)
    }

    fn client(&self, client_id: Uuid) -> Result<Arc<KeyVaultClient>, VaultError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(&client_id) {
            return Ok(Arc::clone(known));
        }
        let made = self.connect(client_id);
        let made = made.map_err(|error| VaultError::new(NoAnswer::Unreachable, error.to_string()))?;
        if clients.len() >= limits::VAULT_CLIENTS {
            clients.clear();
        }
        let made = Arc::new(made);
        clients.insert(client_id, Arc::clone(&made));
        Ok(made)
    }
}

impl AccountVault {
    /// The client of whoever asks for this key on the account's behalf now. What was taken away ends here, whatever tokens are left.
    fn client(&self, key: &KeyName) -> Result<Arc<KeyVaultClient>, VaultError> {
        let refused = |why: &str| VaultError::new(NoAnswer::Refused, why);
        let control = &self.inner.control;
        let account = control
            .account_by_id(self.account)
            .ok_or_else(|| refused("the account is deleted"))?;
        let (first, second) = account.keys();
        let is_this = |encryption: &&Encryption| encryption.key().is_ok_and(|known| known == *key);
        let encryption = std::iter::once(first).chain(second).find(is_this);
        let encryption = encryption.ok_or_else(|| refused("the key is not one of the account's"))?;
        let asks = control
            .asks_for_key(&account, encryption)
            .and_then(|principal| principal.client_id());
        let client_id = asks.ok_or_else(|| refused("the account has no identity that asks for the key"))?;
        self.inner.client(client_id)
    }
}

impl KeyWrap for AccountVault {
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>> {
        Box::pin(async move { self.client(key)?.describe(key, version).await })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>> {
        Box::pin(async move { self.client(key.key_name())?.wrap(key, seed).await })
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a WrappedSeed,
    ) -> BoxFuture<'a, Result<Secret<32>, VaultError>> {
        Box::pin(async move { self.client(key.key_name())?.unwrap(key, seed).await })
    }
}
