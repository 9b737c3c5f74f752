//! A service over a real store in a temporary folder, a vault that answers on cue, and an engine that says what it is told.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};
use strongroom_models::{ChunkStream, Engine, EngineError, ModelCard, ModelSource};
use strongroom_seal::{
    AccountId, Clock, KeyDescription, KeyId, KeyName, KeyWrap, Moment, NoAnswer, Secret, VaultError,
    WrappedSeed,
};
use strongroom_store::{Action, Binding, Permit, PermitAuthority, Store, StoreConfig};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use crate::{
    AccountName, AuthDenied, Authenticate, Caller, Credential, Crud, Deployment, Deployments, Limits,
    Metrics, Retention, RevocationPolicy, Rights, ServiceEvent, ServiceJournal, ServiceParts, router,
};

pub(super) const KEY: &str = "key-of-contoso";
pub(super) const READER: &str = "reads-only";

/// A running service.
pub(super) struct Rig {
    pub(super) router: Router,
    pub(super) store: Store,
    pub(super) permits: PermitAuthority,
    pub(super) account: AccountId,
    pub(super) vault: Arc<ScriptedVault>,
    pub(super) engine: Arc<ScriptedEngine>,
    pub(super) journal: Arc<Lines>,
    pub(super) registry: Registry,
    pub(super) folder: tempfile::TempDir,
    table: watch::Sender<Arc<Deployments>>,
    _bindings: watch::Sender<Vec<Binding>>,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(super) async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let account: AccountId = "3f2504e0-4f89-41d3-9a0c-0305e82c3301".parse().unwrap();
        let vault = Arc::new(ScriptedVault::default());
        let clock = Arc::new(RunningClock::default());
        let wrap = Arc::clone(&vault) as Arc<dyn KeyWrap>;
        let config = StoreConfig::new(folder.path());
        let (store, permits) = Store::open(config, wrap, Arc::clone(&clock) as Arc<dyn Clock>)
            .await
            .unwrap();
        let binding = Binding {
            account,
            key: KeyName::parse("https://kv.vault.localhost/keys/k").unwrap(),
            version: None,
            retiring: None,
            anchor: None,
            revocation_bound: Duration::from_secs(10),
            outage_grace: Duration::ZERO,
        };
        let (bindings, bound) = watch::channel(vec![binding]);
        store.bind(bound);
        let engine = Arc::new(ScriptedEngine::default());
        let journal = Arc::new(Lines::default());
        let mut registry = Registry::default();
        let (table, told) = watch::channel(Arc::new(deployments(account, &engine)));
        let parts = ServiceParts {
            store: store.clone(),
            permits: permits.clone(),
            authenticate: Arc::new(Callers { account }),
            deployments: told,
            bases: std::iter::once(("strongroom-rehearsal".to_owned(), ModelSource::Rehearsal)).collect(),
            trainers: vec![super::fine_tuning::trainer(folder.path())],
            journal: Arc::clone(&journal) as Arc<dyn ServiceJournal>,
            now: Arc::new(move || clock.now().wall),
            limits,
            metrics: Metrics::register(&mut registry),
        };
        Self {
            router: router(parts),
            store,
            permits,
            account,
            vault,
            engine,
            journal,
            registry,
            folder,
            table,
            _bindings: bindings,
        }
    }

    /// The account keeps things for so long from now on.
    pub(super) fn retain(&self, retention: Retention) {
        self.table
            .send_modify(|table| Arc::make_mut(table).retain(self.account, retention));
    }

    /// The account has a deployment of this model from now on.
    pub(super) fn deploy(&self, name: &str, model: &str) {
        let deployment = Deployment {
            engine: Arc::clone(&self.engine) as Arc<dyn Engine>,
            model: model.to_owned(),
            created: 7,
            policy: RevocationPolicy::Shutdown,
            tuned: None,
        };
        self.table
            .send_modify(|table| Arc::make_mut(table).insert(self.account, name, deployment));
    }

    pub(super) fn permit_to_read(&self) -> Permit {
        self.permits.permit(self.account, Action::Read, "tests")
    }

    /// Sends a request as the account's key holder.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !headers
            .iter()
            .any(|(name, _)| matches!(*name, "api-key" | "authorization"))
        {
            request = request.header("api-key", KEY);
        }
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(AccountName("contoso".to_owned()));
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Said {
        said(self.send(Method::GET, path, Body::empty(), &[]).await).await
    }

    pub(super) async fn delete(&self, path: &str) -> Said {
        said(self.send(Method::DELETE, path, Body::empty(), &[]).await).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Said {
        self.post_bytes(path, body.to_string()).await
    }

    pub(super) async fn post_bytes(&self, path: &str, body: impl Into<Body>) -> Said {
        let headers = [("content-type", "application/json")];
        said(self.send(Method::POST, path, body.into(), &headers).await).await
    }

    /// Uploads a file and answers its object.
    pub(super) async fn upload(&self, name: &str, content: &[u8]) -> Value {
        let answer = self
            .upload_form(form(&[
                ("purpose", None, b"assistants"),
                ("file", Some(name), content),
            ]))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    pub(super) async fn upload_form(&self, form: Vec<u8>) -> Said {
        said(
            self.send(
                Method::POST,
                "/openai/v1/files",
                form.into(),
                &[("content-type", FORM)],
            )
            .await,
        )
        .await
    }

    /// How many objects of each kind the account has.
    pub(super) async fn kept(&self) -> Vec<(String, u64)> {
        let permit = self.permits.permit(self.account, Action::Administer, "tests");
        let sealed = self.store.statistics(&permit).await.unwrap().sealed;
        let there = sealed.into_iter().filter(|usage| usage.objects > 0);
        there.map(|usage| (usage.kind, usage.objects)).collect()
    }

    /// The names of the files that hold sealed blobs.
    pub(super) fn blobs(&self) -> BTreeSet<String> {
        let shelves = std::fs::read_dir(self.folder.path().join("blobs")).unwrap();
        let files = shelves.flat_map(|shelf| std::fs::read_dir(shelf.unwrap().path()).unwrap());
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names
            .map(|name| name.trim_end_matches(".staged").to_owned())
            .collect()
    }

    /// The vault says no from now on, and the service hears it.
    pub(super) async fn turn_key_off(&self, answer: NoAnswer) {
        *self.vault.answer.lock().unwrap() = Some(answer);
        let lease = self.store.lease(self.account).await;
        self.store.nudge(self.account);
        if let Ok(lease) = lease {
            lease.ended().await;
        }
    }

    pub(super) async fn turn_key_on(&self) {
        *self.vault.answer.lock().unwrap() = None;
        self.store.nudge(self.account);
        let mut state = self.store.key_state(self.account);
        while self.store.lease(self.account).await.is_err() {
            state.changed().await.unwrap();
        }
    }
}

pub(super) const FORM: &str = "multipart/form-data; boundary=b0undary";

/// A form of fields: name, file name, content.
pub(super) fn form(fields: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in fields {
        let file = file
            .map(|file| format!("; filename=\"{file}\""))
            .unwrap_or_default();
        let head = format!("--b0undary\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b0undary--\r\n");
    body
}

/// An answer, read to its end.
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) async fn said(response: Response<Body>) -> Said {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Said {
        status: head.status,
        headers: head.headers,
        body,
    }
}

impl Said {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// Checks that this is an error in both shapes and answers (status, code, param).
    pub(super) fn error(&self) -> (u16, String, Option<String>) {
        assert!(!self.status.is_success(), "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        let body = self.json();
        let error = &body["error"];
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{body}"
        );
        assert!(error["type"].is_string(), "{body}");
        assert!(error.get("param").is_some(), "{body}");
        let code = error["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {body}"))
            .to_owned();
        (
            self.status.as_u16(),
            code,
            error["param"].as_str().map(str::to_owned),
        )
    }

    /// The data of each event of a stream.
    pub(super) fn events(&self) -> Vec<String> {
        let text = String::from_utf8(self.body.to_vec()).unwrap();
        assert!(text.ends_with("\n\n"), "{text}");
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.map(str::to_owned).collect()
    }
}

/// Answers as the test says.
#[derive(Default)]
pub(super) struct ScriptedVault {
    pub(super) answer: Mutex<Option<NoAnswer>>,
    seeds: Mutex<HashMap<Vec<u8>, [u8; 32]>>,
    count: AtomicU64,
}

impl ScriptedVault {
    fn check(&self) -> Result<(), VaultError> {
        match *self.answer.lock().unwrap() {
            None => Ok(()),
            Some(answer) => Err(VaultError::new(answer, "secret-detail-of-the-vault")),
        }
    }
}

impl KeyWrap for ScriptedVault {
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        _version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>> {
        Box::pin(async move {
            self.check()?;
            let id = key.with_version("v1").unwrap();
            let key_type = "RSA".to_owned();
            Ok(KeyDescription {
                id,
                enabled: true,
                key_type,
                bits: 2048,
                not_before: None,
                expires: None,
            })
        })
    }

    fn wrap<'a>(
        &'a self,
        _key: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>> {
        Box::pin(async move {
            self.check()?;
            let name = format!("wrap-{}", self.count.fetch_add(1, Ordering::Relaxed)).into_bytes();
            self.seeds
                .lock()
                .unwrap()
                .insert(name.clone(), *seed.expose_secret());
            Ok(WrappedSeed::new(name).unwrap())
        })
    }

    fn unwrap<'a>(
        &'a self,
        _key: &'a KeyId,
        seed: &'a WrappedSeed,
    ) -> BoxFuture<'a, Result<Secret<32>, VaultError>> {
        Box::pin(async move {
            self.check()?;
            let seeds = self.seeds.lock().unwrap();
            let seed = seeds.get(seed.as_bytes()).copied().unwrap();
            Ok(Secret::build(|bytes| bytes.copy_from_slice(&seed)))
        })
    }
}

/// Runs with the runtime's time.
struct RunningClock {
    began: tokio::time::Instant,
}

impl Default for RunningClock {
    fn default() -> Self {
        Self {
            began: tokio::time::Instant::now(),
        }
    }
}

impl Clock for RunningClock {
    fn now(&self) -> Moment {
        const BEGAN: Duration = Duration::from_secs(1_700_000_000);
        let elapsed = self.began.elapsed();
        Moment {
            boot: elapsed,
            wall: BEGAN + elapsed,
        }
    }
}

/// Says what it is told; by default three words.
#[derive(Default)]
pub(super) struct ScriptedEngine {
    /// The last request.
    pub(super) asked: Mutex<Map<String, Value>>,
    /// What the next answer fails with.
    pub(super) fails: Mutex<Option<EngineError>>,
    /// What the next stream yields, as it comes.
    pub(super) chunks: Mutex<Option<mpsc::Receiver<Result<Value, EngineError>>>>,
    /// What the next whole answer says instead.
    pub(super) message: Mutex<Option<Value>>,
    /// Why it ends.
    pub(super) finish: Mutex<Option<&'static str>>,
    /// Whole answers wait for a place here, if it is set, and use it up.
    pub(super) paced: Mutex<Option<Arc<tokio::sync::Semaphore>>>,
    /// How often it was asked.
    pub(super) count: AtomicU64,
}

impl ScriptedEngine {
    fn take(&self, request: Map<String, Value>) -> Result<(), EngineError> {
        *self.asked.lock().unwrap() = request;
        self.fails.lock().unwrap().take().map_or(Ok(()), Err)
    }

    async fn pace(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let paced = self.paced.lock().unwrap().clone();
        if let Some(paced) = paced {
            paced.acquire().await.unwrap().forget();
        }
    }

    /// From now on it gives this many whole answers, and as many more as places are added.
    pub(super) fn answers_only(&self, answers: usize) -> Arc<tokio::sync::Semaphore> {
        let paced = Arc::new(tokio::sync::Semaphore::new(answers));
        *self.paced.lock().unwrap() = Some(Arc::clone(&paced));
        paced
    }

    pub(super) fn asked(&self) -> Value {
        Value::Object(self.asked.lock().unwrap().clone())
    }

    /// The next stream yields what is sent here.
    pub(super) fn by_hand(&self) -> mpsc::Sender<Result<Value, EngineError>> {
        let (sender, receiver) = mpsc::channel(16);
        *self.chunks.lock().unwrap() = Some(receiver);
        sender
    }
}

pub(super) fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
    })
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

impl Engine for ScriptedEngine {
    fn models(&self) -> Vec<ModelCard> {
        vec![ModelCard {
            id: "m".to_owned(),
            created: 1,
            owned_by: "tests".to_owned(),
        }]
    }

    fn chat(&self, request: Map<String, Value>) -> BoxFuture<'_, Result<Map<String, Value>, EngineError>> {
        Box::pin(async move {
            self.pace().await;
            self.take(request)?;
            let message = self.message.lock().unwrap().take();
            let message =
                message.unwrap_or_else(|| json!({ "role": "assistant", "content": "one two three" }));
            let finish = self.finish.lock().unwrap().take().unwrap_or("stop");
            Ok(object(json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
                "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
                "usage": { "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8 },
            })))
        })
    }

    fn chat_stream(&self, request: Map<String, Value>) -> BoxFuture<'_, Result<ChunkStream, EngineError>> {
        Box::pin(async move {
            self.take(request)?;
            if let Some(chunks) = self.chunks.lock().unwrap().take() {
                let chunks = futures::stream::unfold(chunks, |mut chunks| async {
                    Some((chunks.recv().await?, chunks))
                });
                return Ok(Box::pin(chunks.map(|chunk| chunk.map(object))) as ChunkStream);
            }
            let mut chunks: Vec<_> = ["one ", "two ", "three"]
                .map(|word| chunk(&json!({ "content": word }), None))
                .into();
            chunks.push(chunk(
                &json!({}),
                Some(self.finish.lock().unwrap().take().unwrap_or("stop")),
            ));
            chunks.push(json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 3 } }));
            Ok(Box::pin(futures::stream::iter(chunks).map(|chunk| Ok(object(chunk)))) as ChunkStream)
        })
    }

    fn embed(&self, request: Map<String, Value>) -> BoxFuture<'_, Result<Map<String, Value>, EngineError>> {
        Box::pin(async move {
            self.take(request)?;
            let data = json!([{ "object": "embedding", "index": 0, "embedding": [0.5, -1.25, 3.0] }]);
            let usage = json!({ "prompt_tokens": 2, "total_tokens": 2 });
            Ok(object(
                json!({ "object": "list", "data": data, "model": "m", "usage": usage }),
            ))
        })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn deployments(account: AccountId, engine: &Arc<ScriptedEngine>) -> Deployments {
    let mut deployments = Deployments::default();
    let policies = [
        ("tiny", RevocationPolicy::Shutdown),
        ("drains", RevocationPolicy::Drain),
        ("goes-on", RevocationPolicy::PreventNew),
    ];
    for (name, policy) in policies {
        let engine = Arc::clone(engine) as Arc<dyn Engine>;
        deployments.insert(
            account,
            name,
            Deployment {
                engine,
                model: "m".to_owned(),
                created: 7,
                policy,
                tuned: None,
            },
        );
    }
    deployments
}

struct Callers {
    account: AccountId,
}

impl Authenticate for Callers {
    fn authenticate<'a>(
        &'a self,
        account: &'a AccountName,
        credential: Credential<'a>,
    ) -> BoxFuture<'a, Result<Caller, AuthDenied>> {
        let only_read = Crud {
            write: false,
            delete: false,
            ..Crud::ALL
        };
        let reads = Rights {
            models: only_read,
            files: only_read,
            fine_tuning: only_read,
            responses: only_read,
            completions: only_read,
            chat: false,
            embeddings: false,
        };
        // What a Cognitive Services OpenAI User has.
        let nothing = Crud {
            read: false,
            ..only_read
        };
        let asks = Rights {
            models: only_read,
            files: only_read,
            completions: nothing,
            ..Rights::ALL
        };
        let found = match credential {
            Credential::Key(KEY) => Ok(Rights::ALL),
            Credential::Key(READER) => Ok(reads),
            // A careless authenticator: the service itself must compare the accounts.
            Credential::Key("key-of-fabrikam") => Ok(Rights::ALL),
            Credential::Token("good.token.here") => Ok(Rights::ALL),
            Credential::Token("asking.token.here") => Ok(asks),
            Credential::Token("old.token.here") => Err(AuthDenied::Expired),
            Credential::Token("no.rights.here") => Err(AuthDenied::Forbidden),
            _ => Err(AuthDenied::Unknown),
        };
        let account_name = match credential {
            Credential::Key("key-of-fabrikam") => "fabrikam".to_owned(),
            _ => account.0.clone(),
        };
        let caller = found.map(|rights| Caller {
            account: self.account,
            account_name,
            name: "key1".to_owned(),
            rights,
        });
        Box::pin(std::future::ready(caller))
    }
}

/// Keeps what was journalled.
#[derive(Default)]
pub(super) struct Lines(pub(super) Mutex<Vec<ServiceEvent>>);

impl ServiceJournal for Lines {
    fn record(&self, event: ServiceEvent) {
        self.0.lock().unwrap().push(event);
    }
}
