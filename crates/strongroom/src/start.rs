//! From settings to a running system, and back: the order in which the parts come up and go down.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};
use prometheus_client::registry::Registry;
use strongroom_azure::token::{KeyHostsError, Verifier};
use strongroom_control::{
    Arm, ArmError, ArmParts, Control, ControlError, Graph, LogSinks, TokenIssuer, VAULT_DOMAIN,
};
use strongroom_journal::JournalError;
use strongroom_seal::{AccountId, Clock, KeyWrap};
use strongroom_service::{
    Deployments, JournalSink, Limits, Metrics, ServiceJournal, ServiceParts, TunedParts, follow,
};
use strongroom_store::{Binding, OpenStoreError, PermitAuthority, Store, StoreConfig};
use strongroom_vault::{
    JournalAudit, KeyVaultClientError, Maintenance, OpenVaultError, RootKey, Throttle, VaultEngine,
    VaultFault, VaultHostsError, VaultRoutes,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin};
use crate::ai;
use crate::clock::SystemClock;
use crate::compose::{self, AccountAnchors, Callers, Engines};
use crate::config::Settings;
use crate::deployments::{self, AtStart, ModelError, TunedModels};
use crate::env::Environment;
use crate::first_start::{self, Identities};
use crate::folder::{DataFolder, FolderError};
use crate::health::{self, KeyGauges, Stage};
use crate::journals::Journals;
use crate::listen::{Ports, Routes, nothing_here};
use crate::request_log::RequestLog;
use crate::server::{LocalServer, OpenServer, ServerError};
use crate::shutdown;
use crate::vaults::{AccountVaults, Way};

/// What the program takes from outside; tests bring their own.
pub struct Outside {
    /// The time, for leases, tokens, certificates.
    pub clock: Arc<dyn Clock>,
    /// Puts something before the client of the vault.
    pub before_vault: BeforeVault,
}

/// See [`Outside::before_vault`].
pub type BeforeVault = Box<dyn FnOnce(Arc<dyn KeyWrap>) -> Arc<dyn KeyWrap> + Send>;

impl Default for Outside {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            before_vault: Box::new(|vault| vault),
        }
    }
}

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Data folder, certificates or ports.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The embedded vault cannot be opened.
    #[error("the embedded vault: {0}")]
    Vault(#[from] OpenVaultError),
    /// The embedded vault refused its first vault or key.
    #[error("the embedded vault: {0}")]
    VaultFault(#[from] VaultFault),
    /// The client of the vault cannot be set up.
    #[error("the client of the vault: {0}")]
    VaultClient(#[from] KeyVaultClientError),
    /// The vault's domain is no domain.
    #[error("the client of the vault: {0}")]
    VaultHosts(#[from] VaultHostsError),
    /// Identities and accounts cannot be opened.
    #[error("the control plane: {0}")]
    Control(#[from] ControlError),
    /// Resource Manager cannot be opened.
    #[error("the control plane: {0}")]
    Arm(#[from] ArmError),
    /// The keys of other issuers cannot be fetched.
    #[error("keys of other issuers: {0}")]
    KeyHosts(#[from] KeyHostsError),
    /// The sealed store cannot be opened.
    #[error("the sealed store: {0}")]
    Store(#[from] OpenStoreError),
    /// A journal cannot be opened, or is not what was signed.
    #[error("the journal in logs/{name}-journal: {cause}")]
    Journal {
        /// Whose journal it is.
        name: &'static str,
        /// Why.
        cause: JournalError,
    },
    /// A model cannot be set up.
    #[error("a model: {0}")]
    Model(#[from] ModelError),
    /// A task of the start broke.
    #[error("the start was interrupted")]
    Interrupted,
}

/// A running instance.
pub struct Running {
    server: LocalServer,
    store: Store,
    permits: PermitAuthority,
    account: AccountId,
    engines: watch::Receiver<Arc<Engines>>,
    deployments: watch::Receiver<Arc<Deployments>>,
    environment: Environment,
    folder: DataFolder,
    stage: watch::Sender<Stage>,
    journals: Journals,
    stop: CancellationToken,
    background: TaskTracker,
}

impl Running {
    /// Brings everything up; when this returns, everything serves.
    pub async fn start(settings: Settings, outside: Outside) -> Result<Self, StartError> {
        let Outside { clock, before_vault } = outside;
        let folder = settings.folder.clone();
        let server = OpenServer::open(
            &folder,
            settings.https_port,
            settings.http_port,
            Arc::clone(&clock),
        )
        .await?;
        folder.check_whole()?;
        let grounds = Grounds::prepare(&folder, &clock).await?;
        let making_key = tokio::spawn(first_start::key(grounds.control.clone(), grounds.engine.clone()));
        let known = Environment::load(&folder).ok();
        let control = grounds.control.clone();
        let identities = blocking(move || {
            let known_secret = known.as_ref().and_then(|known| known.get("AZURE_CLIENT_SECRET"));
            first_start::identities(&control, known_secret)
        })
        .await?;

        let ports = server.ports();
        let issuer = grounds
            .control
            .issuer(&format!("https://localhost:{}", ports.https));
        let verifier = issuer.verifier(compose::foreign(&settings, &grounds.control)?);
        let way = Way {
            authority_pem: server.authority_pem().to_owned(),
            ports,
            secret: issuer.admit_service()?,
            clock: Arc::clone(&clock),
        };
        let own = identities.account.id;
        let (store, permits) = open_store(&settings, &grounds, way, (own, before_vault)).await?;
        let mut at_start = deployments::at_start(&settings).await?;
        let deployment = deploy(&grounds.control, &at_start, clock.as_ref())?;
        let environment = environment(&folder, ports, &grounds.control, &identities, &deployment);
        let watched = Watched::begin(&settings, &grounds, (&store, &permits), &mut at_start, &clock);
        let service = watched.service(&grounds.control, &store, &permits);
        let arm = open_arm(&folder, &grounds, verifier.clone(), ports, (&clock, service)).await?;
        let resumes = arm.clone();

        // Both were made beside all this.
        making_key.await.map_err(|_| StartError::Interrupted)??;
        let control = grounds.control.clone();
        blocking(move || Ok(control.token_keys_ready()?)).await?;

        let parts = Parts {
            settings,
            clock,
            issuer,
            arm,
            verifier,
            store,
            permits,
            at_start,
            watched,
        };
        let running = Assembly {
            folder,
            server,
            grounds,
            identities,
            environment,
            parts,
        }
        .serve()?;
        running.environment.save(&running.folder)?;
        // What goes on needs vaults, and those are reached through our own door.
        resumes.resume()?;
        running.stage.send_replace(Stage::Ready);
        Ok(running)
    }

    /// What clients need.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The data folder.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// The sealed store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The account that clients use if they name none.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Makes permits: whoever holds the instance decides who may do what.
    pub fn permits(&self) -> &PermitAuthority {
        &self.permits
    }

    /// Lets requests in flight finish, ends the workers, writes what is queued, wipes the keys.
    pub async fn stop(self) {
        self.stage.send_replace(Stage::Stopping);
        if !self.server.stop().await {
            tracing::warn!("requests were still in flight when the time to finish was over");
        }
        let engines = Arc::clone(&self.engines.borrow());
        let deployed = Arc::clone(&self.deployments.borrow());
        deployments::stop(&engines, &deployed).await;
        self.store.close().await;
        self.stop.cancel();
        self.background.close();
        self.background.wait().await;
        self.journals.finish().await;
    }
}

/// The vaults, the control plane that manages them, and the journals.
struct Grounds {
    control: Control,
    engine: VaultEngine,
    journals: Journals,
}

impl Grounds {
    async fn prepare(folder: &DataFolder, clock: &Arc<dyn Clock>) -> Result<Self, StartError> {
        let open_planes = {
            let (folder, clock) = (folder.clone(), Arc::clone(clock));
            blocking(move || {
                let root = RootKey::File(folder.vault().join("root-key"));
                let engine = VaultEngine::open(&folder.vault(), root, Arc::clone(&clock))?;
                let control = Control::open(&folder.control(), engine.clone(), clock)?;
                first_start::vault(&control)?;
                Ok((control, engine))
            })
        };
        let open_journals = {
            let (folder, clock) = (folder.clone(), Arc::clone(clock));
            blocking(move || Journals::open(&folder, clock))
        };
        let ((control, engine), journals) = tokio::try_join!(open_planes, open_journals)?;
        Ok(Self {
            control,
            engine,
            journals,
        })
    }
}

/// What the routes and the background are made of.
struct Parts {
    settings: Settings,
    clock: Arc<dyn Clock>,
    issuer: TokenIssuer,
    arm: Arm,
    verifier: Verifier,
    store: Store,
    permits: PermitAuthority,
    at_start: AtStart,
    watched: Watched,
}

/// What the control plane says of accounts' keys, and the engines at hand: the store follows from before anything serves.
struct Watched {
    bindings: watch::Receiver<Vec<Binding>>,
    deployments: watch::Receiver<Arc<Deployments>>,
    engines: watch::Receiver<Arc<Engines>>,
    publish_engines: watch::Sender<Arc<Engines>>,
    background: Background,
}

impl Watched {
    fn begin(
        settings: &Settings,
        grounds: &Grounds,
        (store, permits): (&Store, &PermitAuthority),
        at_start: &mut AtStart,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let control = &grounds.control;
        let (publish_engines, engines) = watch::channel(Arc::new(std::mem::take(&mut at_start.engines)));
        let (bindings, follow) = compose::bindings(control, settings.revocation_bound, settings.outage_grace);
        store.bind(bindings.clone());
        let mut background = Background::default();
        background.run(follow);
        let now = Arc::clone(clock);
        let parts = TunedParts {
            store: store.clone(),
            permits: permits.clone(),
            journal: Arc::new(JournalSink::new(grounds.journals.service().clone())),
            now: Arc::new(move || now.now().wall),
        };
        let tuned = TunedModels::new(parts, at_start.bases.clone(), settings);
        let (deployments, follow) = compose::deployments(control, engines.clone(), tuned);
        background.run(follow);
        Self {
            bindings,
            deployments,
            engines,
            publish_engines,
            background,
        }
    }

    /// The service as the control plane drives it.
    fn service(&self, control: &Control, store: &Store, permits: &PermitAuthority) -> ai::Service {
        ai::Service {
            control: control.clone(),
            store: store.clone(),
            permits: permits.clone(),
            bindings: self.bindings.clone(),
            deployments: self.deployments.clone(),
            engines: self.engines.clone(),
        }
    }
}

/// Deploys the models at hand under their own names, and gives the deployment to recommend.
fn deploy(control: &Control, at_start: &AtStart, clock: &dyn Clock) -> Result<String, ControlError> {
    let now = clock.now().wall.as_secs();
    for model in &at_start.models {
        first_start::deploy(control, model, now)?;
    }
    let first = at_start.models.first().cloned();
    Ok(first.unwrap_or_else(|| deployments::FALLBACK.to_owned()))
}

/// What flows between the parts.
struct Flows {
    bindings: watch::Receiver<Vec<Binding>>,
    deployments: watch::Receiver<Arc<Deployments>>,
    engines: watch::Receiver<Arc<Engines>>,
    journal: Arc<dyn ServiceJournal>,
    background: Background,
}

/// Everything opened; nothing serves yet.
struct Assembly {
    folder: DataFolder,
    server: OpenServer,
    grounds: Grounds,
    identities: Identities,
    environment: Environment,
    parts: Parts,
}

impl Assembly {
    fn serve(mut self) -> Result<Running, StartError> {
        let flows = self.flow();
        let (stage, watched) = watch::channel(Stage::Starting);
        let routes = self.routes(&flows, watched);
        let Self {
            folder,
            server,
            grounds: Grounds { journals, .. },
            identities,
            environment,
            parts,
        } = self;
        let server = server.serve(&identities.account.name, routes)?;
        let Flows {
            engines,
            deployments,
            background: Background {
                stop,
                tasks: background,
            },
            ..
        } = flows;
        let Parts { store, permits, .. } = parts;
        let account = identities.account.id;
        Ok(Running {
            server,
            store,
            permits,
            account,
            engines,
            deployments,
            environment,
            folder,
            stage,
            journals,
            stop,
            background,
        })
    }

    /// Lets what one part publishes reach the others.
    fn flow(&mut self) -> Flows {
        let Parts {
            settings,
            clock,
            arm,
            store,
            at_start,
            watched:
                Watched {
                    bindings,
                    deployments,
                    engines,
                    publish_engines,
                    background,
                },
            ..
        } = &mut self.parts;
        let (bindings, deployments, engines) = (bindings.clone(), deployments.clone(), engines.clone());
        let mut background = std::mem::take(background);
        let Grounds {
            control,
            engine,
            journals,
            ..
        } = &self.grounds;
        background.run(arm.keep());
        background.run(compose::push(engine.subscribe(), bindings.clone(), store.clone()));
        let journal: Arc<dyn ServiceJournal> = Arc::new(JournalSink::new(journals.service().clone()));
        let stopped = background.stop.clone().cancelled_owned();
        // It is not cut off: what the store tells while it closes is written too.
        background
            .tasks
            .spawn(follow(store.events(), Arc::clone(&journal), stopped));
        background.run(journals.clone().keep_checkpoints());
        let maintenance = Maintenance {
            engine: engine.clone(),
            audit: Arc::new(JournalAudit::new(journals.vault().clone())),
            clock: Arc::clone(clock),
            domain: format!("{}:{}", VAULT_DOMAIN, self.server.ports().https),
        };
        background.run(maintenance.run());
        background.tend_token_keys(control);
        let sinks = LogSinks {
            folder: self.folder.diagnostics(),
            named: settings.log_sinks.clone(),
        };
        let (vault, service) = (journals.vault().clone(), journals.service().clone());
        background.run(arm.clone().deliver_logs(vault, service, sinks));

        background.run(shutdown::watch_keys(
            bindings.clone(),
            store.clone(),
            deployments.clone(),
            Arc::clone(clock),
        ));
        if let Some(upstream) = at_start.silent.take() {
            background.run(deployments::ask_again(
                upstream,
                publish_engines.clone(),
                deploy_later(control, clock),
            ));
        }
        Flows {
            bindings,
            deployments,
            engines,
            journal,
            background,
        }
    }

    fn routes(&self, flows: &Flows, stage: watch::Receiver<Stage>) -> Routes {
        let Parts {
            clock,
            issuer,
            verifier,
            store,
            permits,
            ..
        } = &self.parts;
        let Grounds {
            control,
            engine,
            journals,
            ..
        } = &self.grounds;
        let arm = self.parts.arm.clone();
        let graph = Graph::new(&arm);
        let account = &self.identities.account;
        let mut registry = Registry::default();
        let callers = Arc::new(Callers::new(control, issuer, verifier.clone(), account.id));
        let now = Arc::clone(clock);
        let service = ServiceParts {
            store: store.clone(),
            permits: permits.clone(),
            authenticate: Arc::clone(&callers) as _,
            deployments: flows.deployments.clone(),
            bases: self.parts.at_start.bases.clone(),
            trainers: self.parts.at_start.trainers.clone(),
            journal: Arc::clone(&flows.journal),
            now: Arc::new(move || now.now().wall),
            limits: Limits::default(),
            metrics: Metrics::register(&mut registry),
        };
        let gauges = KeyGauges::register(&mut registry, store.key_state(account.id), Arc::clone(clock));
        let admin = Admin {
            control: control.clone(),
            issuer: issuer.clone(),
            loopback: format!("http://127.0.0.1:{}", self.server.ports().http).into(),
            store: store.clone(),
            permits: permits.clone(),
            account: account.id,
            bindings: flows.bindings.clone(),
            deployments: flows.deployments.clone(),
            guard: callers,
            clock: Arc::clone(clock),
            journals: journals.clone(),
        };
        let ruled = control.clone();
        let firewall =
            axum::middleware::from_fn(move |request, next| compose::firewall(ruled.clone(), request, next));
        let vault = VaultRoutes {
            engine: engine.clone(),
            verifier: verifier.clone(),
            access: Arc::new(control.clone()),
            audit: Arc::new(JournalAudit::new(journals.vault().clone())),
            throttle: Throttle::new(self.parts.settings.throttling),
            login: format!("https://localhost:{}", self.server.ports().https),
            clock: Arc::clone(clock),
        };
        Routes {
            vault: strongroom_vault::routes(vault),
            service: RequestLog::of(&arm, journals.service(), clock)
                .over(strongroom_service::router(service).layer(firewall)),
            control: issuer
                .routes()
                .fallback(move |request: Request<Body>| control_plane(arm, graph, request)),
            admin: admin::router(admin).fallback(nothing_here),
            loopback: health::router(stage, registry, gauges)
                .merge(issuer.identity_routes())
                .fallback(nothing_here),
        }
    }
}

/// What the store needs of the control plane and the journals.
fn store_config(settings: &Settings, grounds: &Grounds) -> StoreConfig {
    let mut config = StoreConfig::new(settings.folder.service());
    config.erase_within = settings.erase_within;
    config.anchors = Some(Arc::new(AccountAnchors(grounds.control.clone())));
    config.witness = Some(Arc::new(grounds.journals.clone()));
    config
}

/// Opens the store over the vaults of all accounts.
async fn open_store(
    settings: &Settings,
    grounds: &Grounds,
    way: Way,
    (own, before_vault): (AccountId, BeforeVault),
) -> Result<(Store, PermitAuthority), StartError> {
    let clock = Arc::clone(&way.clock);
    let vaults = AccountVaults::new(grounds.control.clone(), way, own, before_vault)?;
    Ok(Store::open(store_config(settings, grounds), vaults, clock).await?)
}

/// Opens Resource Manager, with the group that everything of the first start is in.
async fn open_arm(
    folder: &DataFolder,
    grounds: &Grounds,
    verifier: Verifier,
    ports: Ports,
    (clock, service): (&Arc<dyn Clock>, ai::Service),
) -> Result<Arm, StartError> {
    let parts = ArmParts {
        folder: folder.control(),
        control: grounds.control.clone(),
        verifier,
        login: format!("https://localhost:{}", ports.https),
        clock: Arc::clone(clock),
        journal: grounds.journals.control().clone(),
        audit: Arc::new(JournalAudit::new(grounds.journals.vault().clone())),
        service: Arc::new(service),
    };
    blocking(move || {
        let arm = Arm::open(parts)?;
        arm.ensure_group(first_start::GROUP, first_start::LOCATION)?;
        Ok(arm)
    })
    .await
}

/// Resource Manager and Graph: what the token issuer does not answer.
async fn control_plane(arm: Arm, graph: Graph, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    if Arm::serves(path) {
        arm.answer(request).await
    } else if Graph::serves(path) {
        graph.answer(request).await
    } else {
        nothing_here().await
    }
}

/// Tasks that end with the instance.
#[derive(Default)]
struct Background {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Background {
    fn tend_token_keys(&mut self, control: &Control) {
        // At the first start this makes a key, which takes a while; whoever stops the instance waits for it.
        let tended = control.clone();
        self.tasks.spawn_blocking(move || {
            if let Err(error) = tended.tend_token_keys() {
                tracing::error!(%error, "the token keys could not be tended");
            }
        });
        self.run(control.clone().keep_token_keys());
    }

    fn run(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

fn deploy_later(control: &Control, clock: &Arc<dyn Clock>) -> impl Fn(&str) + Send + Sync + use<> {
    let (control, clock) = (control.clone(), Arc::clone(clock));
    move |model| {
        if let Err(error) = first_start::deploy(&control, model, clock.now().wall.as_secs()) {
            tracing::error!(%error, "a model of the upstream was not deployed");
        }
    }
}

fn environment(
    folder: &DataFolder,
    ports: Ports,
    control: &Control,
    identities: &Identities,
    deployment: &str,
) -> Environment {
    let Ports { https, http } = ports;
    let account = identities.account.name.as_str();
    // A deleted account has none.
    let key = control
        .account_keys(account)
        .map(|[key, _]| key)
        .unwrap_or_default();
    let authority = folder.authority_certificate().display().to_string();
    let mut environment = Environment::default();
    let mut set = |name, value: &str| environment.set(name, value);
    set("OPENAI_BASE_URL", &format!("http://127.0.0.1:{http}/openai/v1"));
    set("OPENAI_API_KEY", &key);
    set(
        "AZURE_OPENAI_ENDPOINT",
        &format!("https://localhost:{https}/openai-accounts/{account}"),
    );
    set("AZURE_OPENAI_API_KEY", &key);
    set("STRONGROOM_ACCOUNT", account);
    set("STRONGROOM_RESOURCE_GROUP", &identities.account.resource_group);
    set("STRONGROOM_VAULT", first_start::VAULT);
    set(
        "STRONGROOM_VAULT_URL",
        &format!("{}:{https}", compose::vault_url(first_start::VAULT)),
    );
    set("STRONGROOM_KEY", first_start::KEY);
    set("STRONGROOM_DEPLOYMENT", deployment);
    set("AZURE_SUBSCRIPTION_ID", &control.subscription());
    set("AZURE_TENANT_ID", &control.tenant());
    set("AZURE_CLIENT_ID", &identities.administrator_client);
    set("AZURE_CLIENT_SECRET", &identities.administrator_secret);
    set("AZURE_AUTHORITY_HOST", &format!("https://localhost:{https}"));
    set("ARM_ENDPOINT", &format!("https://localhost:{https}"));
    for name in ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
        set(name, &authority);
    }
    set("HTTPS_PROXY", &format!("http://127.0.0.1:{http}"));
    // Not `localhost`: clients read it as every name under it, and those need the proxy.
    set("NO_PROXY", "127.0.0.1");
    set("AZURE_CONFIG_DIR", &folder.azure_config().display().to_string());
    environment
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StartError::Interrupted)?
}
