//! Where the parts meet: what one publishes reaches another as a watched value, an event or a trait of the
//! other's own, and none of them knows the other.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use strongroom_azure::ResourceId;
use strongroom_azure::token::{KeyHosts, KeyHostsError, RemoteKeys, TokenError, TrustedIssuer, Verifier};
use strongroom_control::{
    Account, ActionKind, Actor, AnchorFault, Control, Encryption, OpenAiRights, RetentionClass,
    RevocationPolicy, TokenIssuer, VAULT_DOMAIN,
};
use strongroom_models::Engine;
use strongroom_seal::{AccountId, BoxFuture, KeyName};
use strongroom_service::{
    AccountName, AuthDenied, Authenticate, Caller, Credential, Crud, Deployments, Retention, Rights,
};
use strongroom_store::{Anchor, AnchorError, AnchorKeeper, Binding, Store};
use strongroom_vault::{Barrier, ClientAddress, KeyChanged};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use uuid::Uuid;

use crate::admin::{Denied, Guard, Right};
use crate::config::{KeyFetching, Settings};
use crate::deployments::TunedModels;
use crate::folder::FolderError;
use crate::listen::refusal;
use crate::start::StartError;

/// For whom the data plane's tokens are meant.
const SERVICE_AUDIENCES: [&str; 2] = ["https://cognitiveservices.azure.com", "https://ai.azure.com"];
/// For whom the administrator's tokens are meant.
const ADMIN_AUDIENCES: [&str; 2] = [
    "https://management.core.windows.net",
    "https://management.azure.com",
];

/// The engines at hand, by the model that they answer for.
pub(crate) type Engines = HashMap<String, Arc<dyn Engine>>;

/// The URL of a vault in key ids. Without a port, so that they stay the same when ports change.
pub(crate) fn vault_url(vault: &str) -> String {
    format!("https://{vault}.{VAULT_DOMAIN}")
}

/// "This account uses that key": from the control plane to the keyring. Ends when nobody watches any more.
pub(crate) fn bindings(
    control: &Control,
    revocation_bound: Duration,
    outage_grace: Duration,
) -> (
    watch::Receiver<Vec<Binding>>,
    impl Future<Output = ()> + Send + 'static,
) {
    let mut accounts = control.accounts();
    let bind = move |accounts: &[Arc<Account>]| {
        accounts
            .iter()
            .filter_map(|account| binding(account, revocation_bound, outage_grace))
            .collect()
    };
    let (publish, bindings) = watch::channel(bind(accounts.borrow_and_update().as_slice()));
    let follow = async move {
        while accounts.changed().await.is_ok() {
            let next: Vec<Binding> = bind(accounts.borrow_and_update().as_slice());
            if publish.send(next).is_err() {
                return;
            }
        }
    };
    (bindings, follow)
}

fn binding(account: &Account, revocation_bound: Duration, outage_grace: Duration) -> Option<Binding> {
    let Keys {
        key,
        version,
        retiring,
    } = keys(account)?;
    Some(Binding {
        account: account.id,
        key,
        version,
        retiring,
        anchor: account.anchor.map(|anchor| Anchor {
            version: anchor.version,
            check: anchor.check,
        }),
        revocation_bound,
        outage_grace,
    })
}

/// The keys that an account's record names, as the keyring is told.
pub(crate) struct Keys {
    key: KeyName,
    version: Option<String>,
    retiring: Option<KeyName>,
}

/// None, if they have no names that vaults know.
pub(crate) fn keys(account: &Account) -> Option<Keys> {
    let name = |encryption: &Encryption| {
        encryption
            .key()
            .inspect_err(
                |error| tracing::error!(%error, account = %account.id, "an account's key has no usable name"),
            )
            .ok()
    };
    let (first, second) = account.keys();
    let key = name(first)?;
    // Another version of a key, or another identity that asks for it, is no other key.
    let retiring = second.and_then(name).filter(|retiring| *retiring != key);
    Some(Keys {
        key,
        version: first.key_version.clone(),
        retiring,
    })
}

impl Keys {
    /// The names of all of them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &KeyName> {
        std::iter::once(&self.key).chain(&self.retiring)
    }

    /// Whether the keyring was told just these.
    pub(crate) fn is_bound(&self, binding: &Binding) -> bool {
        binding.key == self.key && binding.version == self.version && binding.retiring == self.retiring
    }
}

/// The keyring's anchors, kept in the account resources.
pub(crate) struct AccountAnchors(pub(crate) Control);

impl AnchorKeeper for AccountAnchors {
    fn advance(
        &self,
        account: AccountId,
        from: Option<Anchor>,
        to: Anchor,
    ) -> BoxFuture<'_, Result<(), AnchorError>> {
        let control = self.0.clone();
        let pinned = |anchor: Anchor| strongroom_control::Anchor {
            version: anchor.version,
            check: anchor.check,
        };
        let (from, to) = (from.map(pinned), pinned(to));
        Box::pin(async move {
            let moved = tokio::task::spawn_blocking(move || control.pin_anchor(account, from, to)).await;
            match moved {
                Ok(Ok(())) => Ok(()),
                Ok(Err(AnchorFault::Moved)) => Err(AnchorError::Moved),
                Ok(Err(AnchorFault::NoAccount)) => Err(AnchorError::NoAccount),
                Ok(Err(AnchorFault::Control(error))) => Err(AnchorError::Unavailable(error.to_string())),
                Err(error) => Err(AnchorError::Unavailable(error.to_string())),
            }
        })
    }
}

/// The vault's push: every change of a key, or of its vault as a whole, lets the accounts bound to it ask early.
pub(crate) async fn push(
    mut changes: Receiver<KeyChanged>,
    bindings: watch::Receiver<Vec<Binding>>,
    store: Store,
) {
    loop {
        let changed = match changes.recv().await {
            Ok(change) => Some(change),
            // Which ones were missed is unknown: all ask.
            Err(RecvError::Lagged(_)) => None,
            Err(RecvError::Closed) => return,
        };
        let accounts: Vec<_> = bindings
            .borrow()
            .iter()
            .filter(|binding| {
                let keys = || std::iter::once(&binding.key).chain(&binding.retiring);
                changed
                    .as_ref()
                    .is_none_or(|change| keys().any(|key| concerns(change, key)))
            })
            .map(|binding| binding.account)
            .collect();
        for account in accounts {
            store.nudge(account);
        }
    }
}

/// Whether the change is one of this key or of its vault. Key Vault takes names in any case.
fn concerns(change: &KeyChanged, key: &KeyName) -> bool {
    let named = change.key.as_deref();
    key.vault().eq_ignore_ascii_case(&vault_url(&change.vault))
        && named.is_none_or(|name| name.eq_ignore_ascii_case(key.name()))
}

/// "This deployment serves that model": from the control plane and the engines at hand to the service.
pub(crate) fn deployments(
    control: &Control,
    engines: watch::Receiver<Arc<Engines>>,
    mut tuned: TunedModels,
) -> (
    watch::Receiver<Arc<Deployments>>,
    impl Future<Output = ()> + Send + 'static,
) {
    let (mut accounts, mut engines) = (control.accounts(), engines);
    let first = table(
        &accounts.borrow_and_update(),
        &engines.borrow_and_update(),
        &mut tuned,
    );
    let (publish, deployments) = watch::channel(Arc::new(first));
    let follow = async move {
        // Engines mostly stay as they are at the start, and then nobody is left who could say otherwise.
        let mut engines_change = true;
        loop {
            tokio::select! {
                changed = accounts.changed() => if changed.is_err() { return },
                changed = engines.changed(), if engines_change => engines_change = changed.is_ok(),
            }
            let next = table(
                &accounts.borrow_and_update(),
                &engines.borrow_and_update(),
                &mut tuned,
            );
            let published = publish.send(Arc::new(next));
            tuned.end_replaced();
            if published.is_err() {
                return;
            }
        }
    };
    (deployments, follow)
}

/// Deployments whose model nobody has are kept in the account, and not served.
fn table(accounts: &[Arc<Account>], engines: &Engines, tuned: &mut TunedModels) -> Deployments {
    let mut table = Deployments::default();
    for account in accounts {
        table.retain(account.id, retention(account));
        let made = account.deployments.iter().filter(|(_, one)| !one.is_failed());
        for (name, deployment) in made {
            let own = tuned.of(account.id, name, deployment);
            let engine = match (&own, engines.get(&deployment.model)) {
                (Some(own), _) => Arc::new(own.clone()),
                (None, Some(engine)) => Arc::clone(engine),
                (None, None) => continue,
            };
            let served = strongroom_service::Deployment {
                engine,
                model: deployment.model.clone(),
                created: deployment.created,
                policy: policy(deployment.revocation),
                tuned: own,
            };
            table.insert(account.id, name.clone(), served);
        }
    }
    tuned.keep_only(&table);
    table
}

fn retention(account: &Account) -> Retention {
    let of = |class| {
        let days = account.retention.get(&class).copied();
        days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600))
    };
    Retention {
        files: of(RetentionClass::Files),
        responses: of(RetentionClass::Responses),
        completions: of(RetentionClass::StoredCompletions),
        batches: of(RetentionClass::Batches),
    }
}

pub(crate) fn policy(policy: RevocationPolicy) -> strongroom_service::RevocationPolicy {
    match policy {
        RevocationPolicy::Shutdown => strongroom_service::RevocationPolicy::Shutdown,
        RevocationPolicy::Drain => strongroom_service::RevocationPolicy::Drain,
        RevocationPolicy::PreventNew => strongroom_service::RevocationPolicy::PreventNew,
    }
}

/// Lets external issuers' keys be fetched from where the settings allow it, and gives the foreign tenant whose tokens count.
pub(crate) fn foreign(settings: &Settings, control: &Control) -> Result<Vec<TrustedIssuer>, StartError> {
    let KeyFetching { hosts, roots } = &settings.keys;
    let read = |file: &PathBuf| std::fs::read(file).map_err(|cause| FolderError::at(file, cause));
    let roots = roots.as_ref().map(read).transpose()?;
    control.fetch_keys_from(KeyHosts::new(hosts, roots.as_deref())?);
    let Some(entra) = &settings.entra else {
        return Ok(Vec::new());
    };
    let url = entra.keys_at();
    let host = url::Url::parse(&url).map_err(|_| KeyHostsError::Url(url.clone()))?;
    let port = host.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = format!("{}{port}", host.host_str().unwrap_or_default());
    Ok(vec![TrustedIssuer {
        names: entra.names(),
        tenant: entra.tenant.to_string(),
        audiences: Some(entra.audiences.clone()),
        guest: true,
        keys: Arc::new(RemoteKeys::new(
            KeyHosts::new([host], roots.as_deref())?.at(&url)?,
        )),
    }])
}

/// The firewalls of accounts: refuses what comes from where an account may not be asked, in the words that Azure has for it.
/// An account that is not there has none; who asks for it is told so by what stands behind.
pub(crate) async fn firewall(control: Control, request: Request, next: Next) -> Response {
    let account = request.extensions().get::<AccountName>();
    let account = account.and_then(|name| control.account_at(&name.0));
    let address = request.extensions().get::<ClientAddress>().map(|client| client.0);
    let admitted = account.map_or(Ok(()), |account| account.network.admit(address, || false));
    let message = match admitted {
        Ok(()) => return next.run(request).await,
        Err(Barrier::Firewall) => "Access denied due to Virtual Network/Firewall rules.",
        Err(Barrier::Connection) => "Public access is disabled. Please configure private endpoint.",
    };
    refusal(StatusCode::FORBIDDEN, "AccessDenied", message)
}

/// Who calls the data plane or the administrator's routes, as the control plane knows them.
#[derive(Clone)]
pub(crate) struct Callers {
    control: Control,
    issuer: TokenIssuer,
    verifier: Verifier,
    account: AccountId,
}

impl Callers {
    pub(crate) fn new(
        control: &Control,
        issuer: &TokenIssuer,
        verifier: Verifier,
        account: AccountId,
    ) -> Self {
        Self {
            control: control.clone(),
            issuer: issuer.clone(),
            verifier,
            account,
        }
    }

    fn by_key(&self, name: &str, key: &str) -> Result<Caller, AuthDenied> {
        let (account, slot) = self
            .control
            .authenticate_key(name, key)
            .ok_or(AuthDenied::Unknown)?;
        Ok(Caller {
            account: account.id,
            // As it was addressed: by its name, or by its subdomain.
            account_name: name.to_owned(),
            name: format!("key{}", slot + 1),
            rights: Rights::ALL,
        })
    }

    async fn by_token(&self, name: &str, token: &str) -> Result<Caller, AuthDenied> {
        let claims = self
            .verifier
            .verify(token, &SERVICE_AUDIENCES, self.issuer.now())
            .await
            .map_err(|error| {
                if error == TokenError::Expired {
                    AuthDenied::Expired
                } else {
                    AuthDenied::Unknown
                }
            })?;
        let account = self.control.account_at(name).ok_or(AuthDenied::Unknown)?;
        let caller = self.control.caller(&claims).ok_or(AuthDenied::Forbidden)?;
        let rights_here = self.control.openai_rights(&caller.to_string(), &account);
        if rights_here.is_none() {
            return Err(AuthDenied::Forbidden);
        }
        Ok(Caller {
            account: account.id,
            account_name: name.to_owned(),
            name: claims.oid,
            rights: rights(rights_here),
        })
    }

    /// The principal whom a token for administrators names.
    async fn caller(&self, token: &str) -> Result<Uuid, Denied> {
        let now = self.issuer.now();
        let claims = self.verifier.verify(token, &ADMIN_AUDIENCES, now).await;
        let claims = claims.map_err(|error| {
            tracing::info!(%error, "an administrator's token was not accepted");
            Denied::Unknown
        })?;
        self.control.caller(&claims).ok_or(Denied::Forbidden)
    }

    async fn administrator(&self, token: &str, right: Right) -> Result<String, Denied> {
        let caller = self.caller(token).await?.to_string();
        let account = self.control.account_by_id(self.account);
        if account.is_some_and(|account| self.holds(&caller, &account, right)) {
            Ok(caller)
        } else {
            Err(Denied::Forbidden)
        }
    }

    fn holds(&self, caller: &str, account: &Account, right: Right) -> bool {
        let Ok(scope) = account.resource_id().parse::<ResourceId>() else {
            return false;
        };
        let (kind, action) = match right {
            Right::Administer => (ActionKind::Control, "Microsoft.CognitiveServices/accounts/write"),
            Right::Export => (ActionKind::Data, "Strongroom/accounts/export/action"),
        };
        self.control.may(caller, &scope, kind, action)
    }
}

impl Authenticate for Callers {
    fn authenticate<'a>(
        &'a self,
        account: &'a AccountName,
        credential: Credential<'a>,
    ) -> futures::future::BoxFuture<'a, Result<Caller, AuthDenied>> {
        Box::pin(async move {
            match credential {
                Credential::Key(key) => self.by_key(&account.0, key),
                Credential::Token(token) => self.by_token(&account.0, token).await,
            }
        })
    }
}

impl Guard for Callers {
    fn admit<'a>(&'a self, token: &'a str, right: Right) -> BoxFuture<'a, Result<String, Denied>> {
        Box::pin(self.administrator(token, right))
    }

    fn may(&self, caller: &str, account: &Account, right: Right) -> bool {
        self.holds(caller, account, right)
    }

    fn actor<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Actor, Denied>> {
        Box::pin(async move { Ok(self.control.actor(self.caller(token).await?)) })
    }
}

fn rights(rights: OpenAiRights) -> Rights {
    let crud = |crud: strongroom_control::Crud| Crud {
        read: crud.read,
        write: crud.write,
        delete: crud.delete,
    };
    Rights {
        models: crud(rights.models),
        files: crud(rights.files),
        fine_tuning: crud(rights.fine_tuning),
        responses: crud(rights.responses),
        completions: crud(rights.completions),
        chat: rights.chat,
        embeddings: rights.embeddings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_told_in_other_letters_is_a_change_of_the_same_key() {
        let bound = KeyName::new(&vault_url("strongroom"), "customer-key").unwrap();
        let changed = |vault: &str, key: Option<&str>| {
            let change = KeyChanged {
                vault: vault.to_owned(),
                key: key.map(str::to_owned),
                version: None,
            };
            concerns(&change, &bound)
        };
        assert!(changed("Strongroom", Some("CUSTOMER-Key")));
        assert!(!changed("strongroom", Some("customer-key2")));
        assert!(!changed("strongrooms", Some("customer-key")));
        assert!(changed("STRONGROOM", None));
        assert!(!changed("strongrooms", None));
    }
}
