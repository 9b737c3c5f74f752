//! A cloud for tests, over TLS on port 0, whose every answer the test decides.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::Listener;
use futures::StreamExt as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use strongroom_seal::{Clock, Moment};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::server::TlsStream;
use url::Url;

use crate::ask::{Asker, Bounds};
use crate::cloud::{Cloud, Connections, Credential, CredentialKind, Variables};

/// The token that the cloud gives out: it must never stand in a fact.
pub(crate) const TOKEN: &str = "head.eyJvaWQiOiJtZSIsImFwcGlkIjoiYXBwIiwidGlkIjoidCJ9.never-to-be-kept";
pub(crate) const SUBSCRIPTION: &str = "11111111-1111-1111-1111-111111111111";
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// A request that came, but for those for tokens.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
    pub(crate) has_token: bool,
}

/// What the cloud does then.
pub(crate) enum Reply {
    Json(u16, Value),
    Headers(u16, Vec<(&'static str, String)>, Value),
    Raw(&'static str),
    Endless,
    Hangs,
    Stalls,
}

impl Reply {
    pub(crate) fn list(rows: &[Value]) -> Self {
        Self::Json(200, json!({ "value": rows, "data": rows }))
    }
}

type Manner = Box<dyn Fn(&Came) -> Reply + Send + Sync>;

pub(crate) struct TestCloud {
    address: SocketAddr,
    roots: Vec<u8>,
    manner: Mutex<Manner>,
    came: Mutex<Vec<Came>>,
}

pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Moment {
        Moment {
            boot: Duration::from_secs(5),
            wall: Duration::from_millis(NOW_MS),
        }
    }
}

impl TestCloud {
    pub(crate) async fn start(manner: impl Fn(&Came) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (roots, acceptor) = certificates();
        let cloud = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            roots,
            manner: Mutex::new(Box::new(manner)),
            came: Mutex::default(),
        });
        let app = Router::new().fallback(serve).with_state(Arc::clone(&cloud));
        tokio::spawn(async move { axum::serve(Tls { listener, acceptor }, app).await });
        cloud
    }

    pub(crate) fn now(&self, manner: impl Fn(&Came) -> Reply + Send + Sync + 'static) {
        *self.manner.lock().unwrap() = Box::new(manner);
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// An address of a part of the cloud, such as `localhost` or `v.vault.localhost`.
    pub(crate) fn url(&self, host: &str, path: &str) -> Url {
        Url::parse(&format!("https://{host}:{}{path}", self.address.port())).unwrap()
    }

    pub(crate) async fn asker(&self, bounds: Bounds) -> Asker {
        let at = |host: &str| self.url(host, "/").to_string();
        let domain = format!("vault.localhost:{}", self.address.port());
        let document = json!({
            "name": "test", "resourceManager": at("localhost"), "microsoftGraphResourceId": at("graph.localhost"),
            "authentication": {"loginEndpoint": at("localhost"), "audiences": ["https://manager/"]},
            "suffixes": {"keyVaultDns": domain},
        });
        let cloud = Cloud::from_metadata(document.to_string().as_bytes(), None).unwrap();
        let connections = Connections {
            trusted_roots: Some(self.roots.clone()),
            localhost: Some(self.address),
        };
        let variables = Variables::from_pairs([
            ("AZURE_TENANT_ID", "22222222-2222-2222-2222-222222222222"),
            ("AZURE_CLIENT_ID", "app"),
            ("AZURE_CLIENT_SECRET", "the-secret"),
        ]);
        let clock: Arc<dyn Clock> = Arc::new(StillClock);
        let kind = CredentialKind::ClientSecret;
        let credential = Credential::new(kind, &variables, &cloud, &connections, Arc::clone(&clock)).unwrap();
        Asker::new(cloud, credential, &connections, clock, bounds)
            .await
            .unwrap()
    }
}

/// Bounds that a test need not wait for.
pub(crate) fn tight() -> Bounds {
    Bounds {
        exchange: Duration::from_millis(400),
        backoff: Duration::from_millis(1),
        answer: 64 * 1024,
        pages: 20,
        ..Bounds::default()
    }
}

async fn serve(State(cloud): State<Arc<TestCloud>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.uri.path().ends_with("/oauth2/v2.0/token") {
        return answer(
            200,
            &[],
            Body::from(
                json!({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}).to_string(),
            ),
        );
    }
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let host = parts
        .headers
        .get("host")
        .map(|host| host.to_str().unwrap().to_owned());
    let host = host
        .or_else(|| parts.uri.host().map(str::to_owned))
        .unwrap_or_default();
    let came = Came {
        host: host.split(':').next().unwrap_or_default().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        has_token: parts.headers.contains_key("authorization"),
    };
    cloud.came.lock().unwrap().push(came.clone());
    let reply = (cloud.manner.lock().unwrap())(&came);
    let begun = || futures::stream::iter([Ok::<_, std::io::Error>(b"{\"value\": [".to_vec())]);
    match reply {
        Reply::Json(status, value) => answer(status, &[], Body::from(value.to_string())),
        Reply::Headers(status, headers, value) => answer(status, &headers, Body::from(value.to_string())),
        Reply::Raw(text) => answer(200, &[], Body::from(text)),
        Reply::Endless => {
            let more = futures::stream::repeat_with(|| Ok(vec![b' '; 4096]));
            answer(200, &[], Body::from_stream(begun().chain(more)))
        }
        Reply::Hangs => std::future::pending().await,
        Reply::Stalls => answer(
            200,
            &[],
            Body::from_stream(begun().chain(futures::stream::pending())),
        ),
    }
}

fn answer(status: u16, headers: &[(&'static str, String)], body: Body) -> Response {
    let mut answer = Response::builder()
        .status(status)
        .header("date", "Fri, 15 Jan 2027 08:00:05 GMT");
    for (name, value) in headers {
        answer = answer.header(*name, value);
    }
    answer.body(body).unwrap()
}

fn certificates() -> (Vec<u8>, TlsAcceptor) {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let names = [
        "localhost",
        "graph.localhost",
        "*.vault.localhost",
        "elsewhere.localhost",
    ];
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names.map(str::to_owned))
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (authority.pem().into_bytes(), TlsAcceptor::from(Arc::new(config)))
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
