//! A vault behind TLS on a port of its own, with token endpoints, that misbehaves when told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use http::{StatusCode, header};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use zeroize::Zeroizing;

use crate::routes::{VaultHost, routes};
use crate::testing::{House, SIGNER, TENANT, VAULT};
use crate::{Connections, KeyVaultClient, KeyVaultClientConfig, VaultCredential, VaultHosts};

pub(super) const HEADER: &str = "identity-header-secret";
pub(super) const SECRET: &str = "client-secret";

/// How an endpoint behaves.
#[derive(Clone)]
pub(super) enum Manner {
    /// As it should.
    Good,
    /// Answers this to whoever brings a token.
    Says(u16, &'static [(&'static str, &'static str)], String),
    /// Answers as it should, but changed like this.
    Lies(fn(serde_json::Value) -> serde_json::Value),
    /// Answers with this status, and then the body breaks off.
    Breaks(u16),
    /// Answers with this status, and then the body does not come.
    Stalls(u16),
    /// Takes the request and is silent.
    Hangs,
}

pub(super) struct Toy {
    pub(super) house: House,
    pub(super) address: SocketAddr,
    pub(super) vault: Mutex<Manner>,
    pub(super) identity: Mutex<Manner>,
    pub(super) challenge: Mutex<Option<&'static str>>,
    /// `Authorization` headers of tokens that the vault accepts no more.
    stale: Mutex<Vec<String>>,
    issued: Mutex<Vec<String>>,
    pub(super) vault_requests: AtomicUsize,
    pub(super) token_requests: AtomicUsize,
    pub(super) connections: Arc<AtomicUsize>,
    ca: String,
}

impl Toy {
    pub(super) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ca, acceptor) = certificates();
        let connections = Arc::new(AtomicUsize::new(0));
        let toy = Arc::new(Self {
            house: House::new().await,
            address,
            vault: Mutex::new(Manner::Good),
            identity: Mutex::new(Manner::Good),
            challenge: Mutex::new(None),
            stale: Mutex::default(),
            issued: Mutex::default(),
            vault_requests: AtomicUsize::new(0),
            token_requests: AtomicUsize::new(0),
            connections: Arc::clone(&connections),
            ca,
        });
        let listener = Tls {
            listener,
            acceptor,
            connections,
        };
        let app = Router::new().fallback(serve).with_state(Arc::clone(&toy));
        tokio::spawn(async move { axum::serve(listener, app).await });
        toy
    }

    pub(super) fn url(&self) -> String {
        format!("https://{VAULT}.vault.localhost:{}", self.address.port())
    }

    pub(super) fn app_service(&self) -> VaultCredential {
        VaultCredential::AppService {
            endpoint: format!("https://localhost:{}/msi/token", self.address.port()),
            header: Zeroizing::new(HEADER.to_owned()),
            client_id: None,
        }
    }

    pub(super) fn client_secret(&self, secret: &str) -> VaultCredential {
        VaultCredential::ClientSecret {
            authority: format!("https://localhost:{}", self.address.port()),
            tenant: TENANT.to_owned(),
            client_id: "app".to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
        }
    }

    pub(super) fn config(&self, credential: VaultCredential) -> KeyVaultClientConfig {
        let domain = format!("vault.localhost:{}", self.address.port());
        let hosts = VaultHosts::below(["vault.localhost", domain.as_str()]).unwrap();
        let clock = Arc::clone(&self.house.clock) as Arc<dyn strongroom_seal::Clock>;
        KeyVaultClientConfig {
            connections: Connections {
                trusted_roots: Some(self.ca.clone().into_bytes()),
                localhost: Some(self.address),
                environment_proxy: false,
            },
            ..KeyVaultClientConfig::new(credential, hosts, clock)
        }
    }

    pub(super) fn client(&self) -> KeyVaultClient {
        KeyVaultClient::new(self.config(self.app_service())).unwrap()
    }

    pub(super) fn set_vault(&self, manner: Manner) {
        *self.vault.lock().unwrap() = manner;
    }

    pub(super) fn set_identity(&self, manner: Manner) {
        *self.identity.lock().unwrap() = manner;
    }

    /// Every token issued until now is accepted no more, as when the issuer's key is replaced.
    pub(super) fn outdate_tokens(&self) {
        self.stale
            .lock()
            .unwrap()
            .append(&mut self.issued.lock().unwrap());
    }

    fn issue(&self, audience: &str) -> String {
        let mut issued = self.issued.lock().unwrap();
        let mut claims = self.house.claims(audience);
        claims.uti = Some(uuid::Uuid::new_v4().to_string());
        let token = SIGNER.sign(&claims).unwrap();
        issued.push(format!("Bearer {token}"));
        token
    }

    /// Requests to the vault, requests for tokens, connections.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (
            count(&self.vault_requests),
            count(&self.token_requests),
            count(&self.connections),
        )
    }

    async fn vault_answer(&self, mut request: Request, authority: String) -> Response {
        self.vault_requests.fetch_add(1, Ordering::SeqCst);
        let stale = |value: &http::HeaderValue| self.stale.lock().unwrap().iter().any(|token| value == token);
        if request.headers().get(header::AUTHORIZATION).is_some_and(stale) {
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        let authorized = request.headers().contains_key(header::AUTHORIZATION);
        let manner = self.vault.lock().unwrap().clone();
        request.extensions_mut().insert(VaultHost {
            vault: VAULT.to_owned(),
            authority,
        });
        let answer = routes(self.house.routes()).oneshot(request).await.unwrap();
        let challenge = *self.challenge.lock().unwrap();
        let mut answer = if authorized {
            behave(manner, answer).await
        } else {
            answer
        };
        if let Some(challenge) = challenge.filter(|_| answer.status() == StatusCode::UNAUTHORIZED) {
            answer
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        }
        answer
    }

    async fn token_answer(&self, request: Request) -> Response {
        self.token_requests.fetch_add(1, Ordering::SeqCst);
        let manner = self.identity.lock().unwrap().clone();
        behave(manner, self.token(request).await).await
    }

    async fn token(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let now = self.house.clock.seconds();
        let find = |text: &[u8], wanted: &str| {
            let mut pairs = url::form_urlencoded::parse(text);
            pairs
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        if parts.uri.path() == "/msi/token" {
            if parts
                .headers
                .get("x-identity-header")
                .is_none_or(|value| value != HEADER)
            {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            let audience = find(parts.uri.query().unwrap_or_default().as_bytes(), "resource");
            let token = self.issue(&audience);
            let expires_on = (now + 3600).to_string();
            let body = json!({"access_token": token, "expires_on": expires_on, "resource": audience, "token_type": "Bearer"});
            return axum::Json(body).into_response();
        }
        let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
        if find(&body, "client_secret") != SECRET {
            let body = json!({"error": "invalid_client", "error_description": "wrong secret", "error_codes": [7_000_215]});
            return (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response();
        }
        let scope = find(&body, "scope");
        let audience = strongroom_azure::token::scope_to_audience(&scope);
        let token = self.issue(audience);
        axum::Json(json!({"access_token": token, "expires_in": 3600, "ext_expires_in": 3600, "token_type": "Bearer"})).into_response()
    }
}

async fn serve(State(toy): State<Arc<Toy>>, request: Request) -> Response {
    let authority = request.uri().authority().map(ToString::to_string).or_else(|| {
        request
            .headers()
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .map(ToOwned::to_owned)
    });
    let authority = authority.unwrap();
    if authority.starts_with("localhost") {
        toy.token_answer(request).await
    } else {
        toy.vault_answer(request, authority).await
    }
}

async fn behave(manner: Manner, answer: Response) -> Response {
    match manner {
        Manner::Good => answer,
        Manner::Hangs => std::future::pending().await,
        Manner::Says(status, headers, body) => {
            let mut says = Response::new(Body::from(body));
            *says.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                says.headers_mut().insert(*name, value.parse().unwrap());
            }
            says
        }
        Manner::Breaks(status) => begins(
            status,
            futures::stream::once(async {
                // What came before is sent meanwhile.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut"))
            }),
        ),
        Manner::Stalls(status) => begins(status, futures::stream::pending()),
        Manner::Lies(change) => {
            let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
            Response::new(Body::from(
                change(serde_json::from_slice(&body).unwrap()).to_string(),
            ))
        }
    }
}

/// An answer whose body begins, and goes on as `rest` says.
fn begins(
    status: u16,
    rest: impl futures::Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static,
) -> Response {
    let first = futures::stream::iter([Ok(br#"{"error":"#.to_vec())]);
    let mut begun = Response::new(Body::from_stream(futures::StreamExt::chain(first, rest)));
    *begun.status_mut() = StatusCode::from_u16(status).unwrap();
    begun
}

fn certificates() -> (String, TlsAcceptor) {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "toy authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let names = ["localhost".to_owned(), "*.vault.localhost".to_owned()];
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names)
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
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    connections: Arc<AtomicUsize>,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            self.connections.fetch_add(1, Ordering::SeqCst);
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
