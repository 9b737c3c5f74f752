//! A second issuer's keys on loopback, behind TLS, published as told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::serve::Listener;
use http::StatusCode;
use http::header::LOCATION;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// What is published.
#[derive(Clone)]
pub(super) enum Published {
    Keys(Jwks),
    Says(StatusCode, String),
    /// Points elsewhere, to where the keys are.
    Elsewhere(Jwks),
    /// An OpenID Connect document, and the keys at any other path.
    Document(String, Jwks),
}

pub(super) struct Publisher {
    pub(super) address: SocketAddr,
    pub(super) authority: String,
    published: Mutex<Published>,
    requests: AtomicUsize,
}

impl Publisher {
    pub(super) async fn start(keys: Jwks) -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (authority, acceptor) = certificates();
        let publisher = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            authority,
            published: Mutex::new(Published::Keys(keys)),
            requests: AtomicUsize::new(0),
        });
        let routes = Router::new().fallback(serve).with_state(Arc::clone(&publisher));
        tokio::spawn(async move { axum::serve(Tls { listener, acceptor }, routes).await });
        publisher
    }

    pub(super) fn publish(&self, published: Published) {
        *self.published.lock().unwrap() = published;
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(super) fn url(&self) -> String {
        format!("https://localhost:{}/keys", self.address.port())
    }

    pub(super) fn hosts(&self) -> KeyHosts {
        let host = format!("localhost:{}", self.address.port());
        KeyHosts::new([host], Some(self.authority.as_bytes())).unwrap()
    }
}

async fn serve(State(publisher): State<Arc<Publisher>>, request: axum::extract::Request) -> Response {
    publisher.requests.fetch_add(1, Ordering::SeqCst);
    let published = publisher.published.lock().unwrap().clone();
    let answer = |status, body: String| {
        let mut answer = Response::new(Body::from(body));
        *answer.status_mut() = status;
        answer
    };
    let set = |keys: &Jwks| serde_json::to_string(keys).unwrap();
    match published {
        Published::Keys(keys) => answer(StatusCode::OK, set(&keys)),
        Published::Says(status, body) => answer(status, body),
        Published::Elsewhere(keys) if request.uri().path() == "/elsewhere" => {
            answer(StatusCode::OK, set(&keys))
        }
        Published::Document(document, _) if request.uri().path().ends_with("openid-configuration") => {
            answer(StatusCode::OK, document)
        }
        Published::Document(_, keys) => answer(StatusCode::OK, set(&keys)),
        Published::Elsewhere(_) => {
            let mut answer = answer(StatusCode::FOUND, String::new());
            answer
                .headers_mut()
                .insert(LOCATION, "/elsewhere".parse().unwrap());
            answer
        }
    }
}

fn certificates() -> (String, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
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
