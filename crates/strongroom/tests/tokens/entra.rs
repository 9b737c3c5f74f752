//! Another tenant: an issuer that publishes its keys on loopback, behind TLS of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use strongroom::{EntraTenant, KeyFetching};
use strongroom_azure::token::{Jwks, Signer};
use strongroom_testkit::{System, SystemOptions};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use uuid::Uuid;

pub(crate) const VAULT: &str = "https://vault.azure.net";
pub(crate) const MANAGEMENT: &str = "https://management.azure.com";
pub(crate) const SERVICE: &str = "https://cognitiveservices.azure.com";
/// An audience of no resource of Azure: an application's own.
pub(crate) const OWN: &str = "api://strongroom";

pub(crate) struct Entra {
    pub(crate) tenant: Uuid,
    pub(crate) signer: Signer,
    address: SocketAddr,
    published: Mutex<Option<Jwks>>,
    roots: PathBuf,
    _place: TempDir,
}

impl Entra {
    pub(crate) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let place = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let roots = place.path().join("roots.pem");
        std::fs::write(&roots, made.cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let signer = Signer::generate().unwrap();
        let entra = Arc::new(Self {
            tenant: Uuid::new_v4(),
            address: listener.local_addr().unwrap(),
            published: Mutex::new(Some(signer.jwks())),
            signer,
            roots,
            _place: place,
        });
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let routes = Router::new().fallback(keys).with_state(Arc::clone(&entra));
        tokio::spawn(async move { axum::serve(Tls { listener, acceptor }, routes).await });
        entra
    }

    /// What is published from now on; nothing is an outage.
    pub(crate) fn publish(&self, keys: Option<Jwks>) {
        *self.published.lock().unwrap() = keys;
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/keys", self.address.port())
    }

    pub(crate) fn issuer(&self) -> String {
        format!("https://sts.windows.net/{}/", self.tenant)
    }

    /// Options of a system that trusts this tenant, and fetches keys from its host.
    pub(crate) fn trusting(&self) -> SystemOptions {
        let tenant = EntraTenant {
            tenant: self.tenant,
            issuers: Vec::new(),
            audiences: [VAULT, MANAGEMENT, SERVICE, OWN].map(str::to_owned).to_vec(),
            jwks_url: Some(self.url()),
        };
        let keys = KeyFetching {
            hosts: vec![format!("localhost:{}", self.address.port())],
            roots: Some(self.roots.clone()),
        };
        SystemOptions::new().unwrap().trust(Some(tenant), keys)
    }

    /// The claims of a good token, in the first version's shape.
    pub(crate) fn claims(&self, oid: Uuid, audience: &str, now: u64) -> Value {
        json!({
            "iss": self.issuer(), "aud": audience, "tid": self.tenant, "oid": oid, "sub": oid,
            "iat": now, "nbf": now, "exp": now + 3600, "appid": Uuid::new_v4(), "idtyp": "app", "groups": ["g"], "ver": "1.0",
        })
    }

    pub(crate) fn token(&self, oid: Uuid, audience: &str, now: u64) -> String {
        self.signer.sign(&self.claims(oid, audience, now)).unwrap()
    }
}

/// What each plane makes of a token: the vault, the administrator's routes, the service.
pub(crate) async fn planes(system: &System, tokens: [&str; 3]) -> [u16; 3] {
    let vault = format!(
        "{}/keys/{}?api-version=2025-07-01",
        system.variable("STRONGROOM_VAULT_URL"),
        system.variable("STRONGROOM_KEY")
    );
    let admin = format!("https://localhost:{}/strongroom/status", system.https_port());
    let service = format!("{}/models", system.tls_base_url());
    let mut statuses = [0; 3];
    for ((status, url), token) in statuses.iter_mut().zip([vault, admin, service]).zip(tokens) {
        let answer = system.client().get(url).bearer_auth(token).send().await.unwrap();
        *status = answer.status().as_u16();
    }
    statuses
}

async fn keys(State(entra): State<Arc<Entra>>) -> Response {
    match entra.published.lock().unwrap().as_ref() {
        Some(keys) => axum::Json(keys).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
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
