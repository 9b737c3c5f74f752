//! Clients that note what they see of an answer, and when: some drain it, one stalls.

use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{RequestBuilder, Url};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use strongroom_testkit::Instance;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::PATIENCE;

/// The receive buffer of a raw client: small, so that what it reads was written a moment ago.
pub(crate) const RECEIVE: u32 = 128 << 10;
/// A download is taken in steps of this size, with a pause after each: some 5 MiB a second.
const STEP: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(10);

/// How an answer ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// As its head promised.
    Whole,
    /// The connection was reset.
    Reset,
    /// In some other way before its end.
    Early(String),
}

/// What a client saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) bytes: u64,
    pub(crate) last: Instant,
    pub(crate) ended: Instant,
    pub(crate) end: End,
}

impl Seen {
    fn begun() -> Self {
        let now = Instant::now();
        Self {
            bytes: 0,
            last: now,
            ended: now,
            end: End::Whole,
        }
    }

    fn more(&mut self, length: usize, progress: &watch::Sender<u64>) {
        self.bytes += length as u64;
        self.last = Instant::now();
        progress.send_replace(self.bytes);
    }

    fn ended(mut self, end: End) -> Self {
        self.ended = Instant::now();
        self.end = end;
        self
    }
}

/// A client at work.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) progress: watch::Receiver<u64>,
    task: JoinHandle<Seen>,
}

impl Client {
    fn start<F: Future<Output = Seen> + Send + 'static>(
        name: &'static str,
        work: impl FnOnce(watch::Sender<u64>) -> F,
    ) -> Self {
        let (sender, progress) = watch::channel(0);
        let task = tokio::spawn(work(sender));
        Self { name, progress, task }
    }

    /// Waits until it has seen this much.
    pub(crate) async fn at_least(&mut self, bytes: u64) {
        let reached = timeout(PATIENCE, self.progress.wait_for(|seen| *seen >= bytes)).await;
        assert!(
            reached.is_ok_and(|seen| seen.is_ok()),
            "{}: ended before it was under way",
            self.name
        );
    }

    /// Waits for its end.
    pub(crate) async fn seen(self) -> Seen {
        timeout(PATIENCE, self.task)
            .await
            .expect("a client must come to an end")
            .unwrap()
    }
}

/// Drains an answer over the official kind of client, which may speak HTTP/2, at a steady pace.
pub(crate) fn draining(name: &'static str, request: RequestBuilder) -> Client {
    Client::start(name, |progress| async move {
        let mut seen = Seen::begun();
        let mut answer = match request.send().await {
            Ok(answer) if answer.status().is_success() => answer,
            other => return seen.ended(End::Early(format!("{other:?}"))),
        };
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => seen.more(chunk.len(), &progress),
                Ok(None) => return seen.ended(End::Whole),
                Err(error) => return seen.ended(End::Early(format!("{error:?}"))),
            }
            if seen.bytes > STEP as u64 {
                sleep(PAUSE / 5).await;
            }
        }
    })
}

/// Drains a raw answer over TCP at a steady pace.
pub(crate) async fn draining_raw(name: &'static str, instance: &Instance, path: &str) -> Client {
    let head = head(instance, &instance.base_url(), path);
    let stream = connect(instance.http_port()).await;
    Client::start(name, |progress| drain(stream, head, progress, None))
}

/// The same over TLS.
pub(crate) async fn draining_raw_tls(name: &'static str, instance: &Instance, path: &str) -> Client {
    let head = head(instance, &instance.tls_base_url(), path);
    let stream = connect_tls(instance).await;
    Client::start(name, |progress| drain(stream, head, progress, None))
}

/// Takes one step of the answer, then nothing until it is told, and then all it can get.
pub(crate) async fn stalling(
    name: &'static str,
    instance: &Instance,
    path: &str,
) -> (Client, oneshot::Sender<()>) {
    let head = head(instance, &instance.base_url(), path);
    let stream = connect(instance.http_port()).await;
    let (go_on, told) = oneshot::channel();
    (
        Client::start(name, |progress| drain(stream, head, progress, Some(told))),
        go_on,
    )
}

async fn drain(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    head: String,
    progress: watch::Sender<u64>,
    mut stall: Option<oneshot::Receiver<()>>,
) -> Seen {
    let mut seen = Seen::begun();
    if let Err(error) = stream.write_all(head.as_bytes()).await {
        return seen.ended(early(&error));
    }
    let length = match read_head(&mut stream).await {
        Ok(length) => length,
        Err(error) => return seen.ended(early(&error)),
    };
    let mut buffer = vec![0; STEP];
    let hurried = stall.is_some();
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) if seen.bytes == length => return seen.ended(End::Whole),
            Ok(0) => return seen.ended(End::Early("closed".to_owned())),
            Ok(count) => seen.more(count, &progress),
            Err(error) => return seen.ended(early(&error)),
        }
        if seen.bytes == length {
            return seen.ended(End::Whole);
        }
        if let Some(told) = stall.take() {
            let _ = told.await;
        }
        if !hurried {
            sleep(PAUSE).await;
        }
    }
}

fn early(error: &io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset => End::Reset,
        _ => End::Early(format!("{error:?}")),
    }
}

fn head(instance: &Instance, base: &str, path: &str) -> String {
    let url: Url = format!("{base}{path}").parse().unwrap();
    let key = instance.variable("OPENAI_API_KEY");
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {key}\r\n\r\n",
        url.path(),
        url.authority()
    )
}

/// Reads to the end of the head and answers with the length of the body.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)
        .map_err(io::Error::other)?
        .to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    match length.map(|length| length.trim().parse()) {
        Some(Ok(length)) if head.starts_with("http/1.1 200") => Ok(length),
        _ => Err(io::Error::other(head)),
    }
}

async fn connect(port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap()
}

async fn connect_tls(instance: &Instance) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(instance.folder().authority_certificate()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connect(instance.https_port()).await;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}
