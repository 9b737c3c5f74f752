//! A control plane on a disk of its own, and two callers: an owner of the subscription, and somebody without any role.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use strongroom_azure::token::TrustedIssuer;
use strongroom_control::{
    Actor, AiService, Arm, ArmParts, BuiltInRole, Control, Graph, LoadFault, NewSecret, ServedModel,
    ServiceFault, TokenIssuer,
};
use strongroom_journal::{Journal, SigningKey};
use strongroom_seal::{AccountId, BoxFuture, Clock, Moment};
use strongroom_vault::{AuditError, AuditEvent, AuditSink, ClientAddress, RootKey, VaultEngine};
use tempfile::TempDir;
use uuid::Uuid;

const AUTHORITY: &str = "https://localhost:8443";

/// Goes on by a millisecond whenever it is asked.
#[derive(Default)]
pub(crate) struct TickingClock(AtomicU64);

impl Clock for TickingClock {
    fn now(&self) -> Moment {
        let ticks = Duration::from_millis(self.0.fetch_add(1, Ordering::Relaxed));
        Moment {
            boot: ticks,
            wall: Duration::from_secs(1_800_000_000) + ticks,
        }
    }
}

pub(crate) const GRAPH: &str = "https://graph.localhost:8443";

/// A service that has one model and nothing to wrap, and does as it is told.
pub(crate) struct Service {
    /// What each attempt to settle comes to; `Ok` when there is no more.
    pub(crate) says: Mutex<VecDeque<Result<(), ServiceFault>>>,
    pub(crate) forgotten: Mutex<Vec<AccountId>>,
    /// What every account's fine-tuned models are; an error instead while the key is denied.
    pub(crate) tuned: Mutex<Result<Vec<&'static str>, LoadFault>>,
    /// What each attempt to load a model comes to, as soon as it is said.
    pub(crate) loads: Loads,
}

/// Attempts to load wait here until a test says what they come to.
pub(crate) struct Loads {
    pub(crate) say: tokio::sync::mpsc::UnboundedSender<Result<(), LoadFault>>,
    said: tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<Result<(), LoadFault>>>,
    heard: tokio::sync::watch::Sender<usize>,
}

impl Loads {
    /// Waits until so many attempts have heard what they come to.
    pub(crate) async fn heard(&self, attempts: usize) {
        let mut heard = self.heard.subscribe();
        heard.wait_for(|heard| *heard == attempts).await.unwrap();
    }
}

impl Default for Loads {
    fn default() -> Self {
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        Self {
            say,
            said: tokio::sync::Mutex::new(said),
            heard: tokio::sync::watch::Sender::new(0),
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self {
            says: Mutex::default(),
            forgotten: Mutex::default(),
            tuned: Mutex::new(Ok(Vec::new())),
            loads: Loads::default(),
        }
    }
}

impl AiService for Service {
    fn models(&self) -> Vec<ServedModel> {
        vec![ServedModel {
            name: "rehearsal".to_owned(),
            publisher: "tests".to_owned(),
        }]
    }

    fn tuned_models(&self, _: AccountId) -> BoxFuture<'_, Result<Vec<ServedModel>, LoadFault>> {
        let tuned = self.tuned.lock().unwrap().clone();
        let served = |name: &str| ServedModel {
            name: name.to_owned(),
            publisher: "main".to_owned(),
        };
        Box::pin(async move { Ok(tuned?.into_iter().map(served).collect()) })
    }

    fn load<'a>(&'a self, _: AccountId, _: &'a str) -> BoxFuture<'a, Result<(), LoadFault>> {
        Box::pin(async {
            let said = self.loads.said.lock().await.recv().await.unwrap();
            self.loads.heard.send_modify(|heard| *heard += 1);
            said
        })
    }

    fn settle(&self, _: AccountId) -> BoxFuture<'_, Result<(), ServiceFault>> {
        let next = self.says.lock().unwrap().pop_front();
        Box::pin(async move { next.unwrap_or(Ok(())) })
    }

    fn forget(&self, account: AccountId) -> BoxFuture<'_, Result<(), ServiceFault>> {
        self.forgotten.lock().unwrap().push(account);
        Box::pin(async { Ok(()) })
    }
}

/// The vaults' log.
#[derive(Default)]
pub(crate) struct Audits {
    pub(crate) events: Mutex<Vec<AuditEvent>>,
    pub(crate) is_shut: AtomicBool,
}

impl AuditSink for Audits {
    fn record(&self, event: AuditEvent) -> BoxFuture<'_, Result<(), AuditError>> {
        let kept = match self.is_shut.load(Ordering::Relaxed) {
            true => Err(AuditError::Busy),
            false => {
                self.events.lock().unwrap().push(event);
                Ok(())
            }
        };
        Box::pin(std::future::ready(kept))
    }
}

pub(crate) struct Rig {
    pub(crate) arm: Arm,
    pub(crate) graph: Graph,
    pub(crate) control: Control,
    pub(crate) vaults: VaultEngine,
    pub(crate) journal: Journal,
    pub(crate) audits: Arc<Audits>,
    pub(crate) service: Arc<Service>,
    pub(crate) subscription: String,
    issuer: TokenIssuer,
    client: String,
    secret: String,
    pub(crate) owner: String,
    pub(crate) nobody: String,
    pub(crate) owner_id: Uuid,
    pub(crate) nobody_id: Uuid,
    pub(crate) place: TempDir,
}

pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Told {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A member of each row of a list.
    pub(crate) fn each(&self, name: &str) -> Vec<String> {
        let rows = self.body["value"].as_array().unwrap();
        rows.iter()
            .map(|row| row[name].as_str().unwrap().to_owned())
            .collect()
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::at(TempDir::new().unwrap()).await
    }

    /// The same disk, after a stop. The vaults go on.
    pub(crate) async fn again(self) -> Self {
        let Self {
            place,
            arm,
            graph,
            control,
            vaults,
            journal,
            issuer,
            ..
        } = self;
        drop((arm, graph, control, journal, issuer));
        Self::over(place, vaults, None).await
    }

    pub(crate) async fn at(place: TempDir) -> Self {
        Self::with_guests(place, None).await
    }

    pub(crate) async fn with_guests(place: TempDir, guests: Option<TrustedIssuer>) -> Self {
        let root = RootKey::File(place.path().join("root-key"));
        let clock = Arc::new(TickingClock::default());
        let vaults = VaultEngine::open(&place.path().join("vault"), root, clock).unwrap();
        Self::over(place, vaults, guests).await
    }

    async fn over(place: TempDir, vaults: VaultEngine, guests: Option<TrustedIssuer>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TickingClock::default());
        let control =
            Control::open(&place.path().join("control"), vaults.clone(), Arc::clone(&clock)).unwrap();
        let (owner, secret) = control.ensure_administrator(None).unwrap();
        let subscription = format!("/subscriptions/{}", control.subscription());
        let role = BuiltInRole::by_name("Owner").unwrap();
        control
            .ensure_assignment(owner.object_id, role, &subscription.parse().unwrap())
            .unwrap();
        let issuer = control.issuer(AUTHORITY);
        let journal = open_journal(place.path());
        let service = Arc::new(Service::default());
        let audits = Arc::new(Audits::default());
        let arm = Arm::open(ArmParts {
            folder: place.path().join("control"),
            control: control.clone(),
            verifier: issuer.verifier(guests),
            login: AUTHORITY.to_owned(),
            clock,
            journal: journal.clone(),
            audit: Arc::clone(&audits) as _,
            service: Arc::clone(&service) as _,
        })
        .unwrap();
        arm.resume().unwrap();
        let graph = Graph::new(&arm);
        let mut rig = Self {
            arm,
            graph,
            control,
            vaults,
            journal,
            audits,
            service,
            subscription,
            issuer,
            client: owner.client_id().unwrap().to_string(),
            secret: secret.unwrap().to_string(),
            owner: String::new(),
            nobody: String::new(),
            owner_id: owner.object_id,
            nobody_id: Uuid::nil(),
            place,
        };
        rig.owner = rig.token("https://management.core.windows.net//.default").await;
        rig.nobody = rig.token_of_nobody().await;
        rig.nobody_id = rig.control.account("acct").unwrap().identity.unwrap();
        rig
    }

    /// The control plane on behalf of the owner, who is the administrator of the directory too.
    pub(crate) fn actor(&self) -> Actor {
        self.control.actor(self.owner_id)
    }

    pub(crate) async fn token(&self, scope: &str) -> String {
        self.token_of(&self.client, &self.secret, scope).await
    }

    /// An application with a secret: its object id, client id, and a token for this scope.
    pub(crate) async fn application(&self, name: &str, scope: &str) -> (Uuid, String, String) {
        let made = self.actor().create_application(name).unwrap();
        let (_, secret) = self
            .actor()
            .add_secret(made.object_id, NewSecret::default())
            .unwrap();
        let client = made.client_id().unwrap().to_string();
        let token = self.token_of(&client, &secret, scope).await;
        (made.object_id, client, token)
    }

    pub(crate) async fn token_of(&self, client: &str, secret: &str, scope: &str) -> String {
        let form =
            format!("grant_type=client_credentials&client_id={client}&client_secret={secret}&scope={scope}");
        let path = format!("/{}/oauth2/v2.0/token", self.control.tenant());
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(Body::from(form)).unwrap();
        let answer = tower::ServiceExt::oneshot(self.issuer.routes(), request)
            .await
            .unwrap();
        token_in(answer).await
    }

    /// The identity of an account has no role of its own.
    async fn token_of_nobody(&self) -> String {
        let account = self.control.ensure_account(&strongroom_control::NewAccount {
            name: "acct".to_owned(),
            resource_group: "nobodys".to_owned(),
            location: "local".to_owned(),
            encryption: strongroom_control::Encryption::customer(
                "https://kv1.vault.localhost",
                "customer",
                None,
            ),
        });
        let secret = self
            .issuer
            .admit_host(strongroom_control::IdentityHost {
                system_assigned: account.unwrap().identity,
                user_assigned: Vec::new(),
            })
            .unwrap();
        let query = "/msi/token?api-version=2019-08-01&resource=https://management.azure.com/";
        let request = Request::get(query).header("x-identity-header", secret.as_str());
        let request = request.body(Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(self.issuer.identity_routes(), request)
            .await
            .unwrap();
        token_in(answer).await
    }

    /// The owner asks. `{sub}` in the path is the subscription.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> Told {
        self.ask_as(&self.owner, method, path, body, &[]).await
    }

    pub(crate) async fn get(&self, path: &str) -> Told {
        self.ask(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Told {
        self.ask(Method::PUT, path, body).await
    }

    pub(crate) async fn ask_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Told {
        let mut uri = path.replace("{sub}", &self.subscription).replace(' ', "%20");
        if !uri.contains("api-version") {
            let sign = if uri.contains('?') { '&' } else { '?' };
            uri.push_str(&format!("{sign}api-version=2024-11-01"));
        }
        let body = match body {
            Value::Null => Body::empty(),
            Value::String(raw) => Body::from(raw),
            body => Body::from(body.to_string()),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(HOST, "management.localhost:8443");
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let here = ClientAddress(Ipv4Addr::LOCALHOST.into());
        self.send(request.extension(here).body(body).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Told {
        told(self.arm.answer(request).await).await
    }

    /// Asks Graph. `path` begins after the version.
    pub(crate) async fn graph(&self, token: &str, method: Method, path: &str, body: Value) -> Told {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1.0{path}").replace(' ', "%20"))
            .header(HOST, "graph.localhost:8443");
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        told(self.graph.answer(request.body(body).unwrap()).await).await
    }

    pub(crate) async fn group(&self, name: &str) {
        let told = self
            .put(
                &format!("{{sub}}/resourceGroups/{name}"),
                serde_json::json!({"location": "eastus"}),
            )
            .await;
        assert_eq!(told.status, 201, "{}", told.body);
    }

    /// Polls as clients do, without their pauses.
    pub(crate) async fn finish(&self, begun: &Told) -> Told {
        let url = begun.header("azure-asyncoperation");
        let path = url.strip_prefix("https://management.localhost:8443").unwrap();
        let ends = async {
            loop {
                let told = self.get(path).await;
                if told.body["status"] != "InProgress" {
                    return told;
                }
                assert_eq!(told.header("retry-after"), "1");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ends).await.unwrap()
    }

    /// Follows `nextLink` to the end; gives a member of every row.
    pub(crate) async fn all(&self, path: &str, name: &str) -> (Vec<String>, usize) {
        let mut told = self.get(path).await;
        let (mut found, mut pages) = (told.each(name), 1);
        while let Some(next) = told.body["nextLink"].as_str() {
            let next = next
                .strip_prefix("https://management.localhost:8443")
                .unwrap()
                .to_owned();
            told = self.get(&next).await;
            found.extend(told.each(name));
            pages += 1;
        }
        (found, pages)
    }
}

async fn told(answer: http::Response<Body>) -> Told {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    Told {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

async fn token_in(answer: http::Response<Body>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

fn open_journal(folder: &Path) -> Journal {
    let key =
        SigningKey::load_or_create(&folder.join("journal-key"), "strongroom.localhost/control").unwrap();
    Journal::open(&folder.join("journal"), key).unwrap()
}
