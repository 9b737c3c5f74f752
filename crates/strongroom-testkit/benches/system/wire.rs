//! HTTP/1.1 by hand: a client that costs so little that a measurement sees the server.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use strongroom_testkit::Instance;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::Helper;

const BUFFER: usize = 1 << 20;
const BOUNDARY: &str = "strongroom-bench-0123456789";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Target {
    address: String,
    path: String,
    host: String,
    tls: Option<TlsConnector>,
    key: String,
}

impl Target {
    fn new(base: &str, pem: Option<&[u8]>, key: &str) -> Self {
        let rest = base.split_once("://").unwrap().1;
        let (authority, path) = rest.split_once('/').unwrap();
        let port = authority.rsplit_once(':').unwrap().1;
        let tls = pem.map(|pem| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
            let config = rustls::ClientConfig::builder()
                .with_root_certificates(roots)
                .with_no_client_auth();
            TlsConnector::from(Arc::new(config))
        });
        Self {
            address: format!("127.0.0.1:{port}"),
            path: format!("/{path}"),
            host: "localhost".to_owned(),
            tls,
            key: key.to_owned(),
        }
    }

    /// The sealed service, on one of its doors.
    pub(crate) fn sealed(instance: &Instance, tls: bool) -> Self {
        let key = instance.variable("OPENAI_API_KEY");
        if tls {
            let pem = std::fs::read(instance.folder().authority_certificate()).unwrap();
            Self::new(&instance.tls_base_url(), Some(&pem), key)
        } else {
            Self::new(&instance.base_url(), None, key)
        }
    }

    /// The embedded vault, asked with this token.
    pub(crate) fn vault(instance: &Instance, token: &str) -> Self {
        let pem = std::fs::read(instance.folder().authority_certificate()).unwrap();
        let url = format!("{}/", instance.variable("STRONGROOM_VAULT_URL"));
        let authority = url.trim_start_matches("https://").trim_end_matches('/');
        let target = Self::new(&url, Some(&pem), token);
        Self {
            path: String::new(),
            host: authority.to_owned(),
            ..target
        }
    }

    /// The unsealed twin, or a proxy.
    pub(crate) fn helper(helper: &Helper, tls: bool) -> Self {
        let key = helper.text("key");
        if tls {
            Self::new(helper.text("tls"), Some(helper.text("pem").as_bytes()), key)
        } else {
            Self::new(helper.text("plain"), None, key)
        }
    }

    fn head(&self, method: &str, path: &str, more: &str) -> String {
        let Self {
            path: base,
            host,
            key,
            ..
        } = self;
        format!("{method} {base}{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n{more}\r\n")
    }

    /// A request without a body.
    pub(crate) fn bare(&self, method: &str, path: &str) -> Vec<u8> {
        self.head(method, path, "").into_bytes()
    }

    /// A request with a JSON body.
    pub(crate) fn json(&self, path: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        let more = format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        (self.head("POST", path, &more) + &body).into_bytes()
    }

    /// What goes before and after the content of a part of an upload.
    pub(crate) fn part(&self, upload: &str, length: usize) -> (Vec<u8>, Vec<u8>) {
        let before = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"data\"; filename=\"part\"\r\n\r\n"
        );
        self.form(&format!("/uploads/{upload}/parts"), &before, length)
    }

    /// What goes before and after the content of an upload.
    pub(crate) fn upload(&self, length: usize) -> (Vec<u8>, Vec<u8>) {
        let before = format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n\
             --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"bench.bin\"\r\n\
             content-type: application/octet-stream\r\n\r\n"
        );
        self.form("/files", &before, length)
    }

    fn form(&self, path: &str, before: &str, length: usize) -> (Vec<u8>, Vec<u8>) {
        let after = format!("\r\n--{BOUNDARY}--\r\n");
        let total = before.len() + length + after.len();
        let more =
            format!("content-type: multipart/form-data; boundary={BOUNDARY}\r\ncontent-length: {total}\r\n");
        (
            (self.head("POST", path, &more) + before).into_bytes(),
            after.into_bytes(),
        )
    }
}

/// One connection that is kept.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(target: &Target) -> Self {
        let stream = TcpStream::connect(&target.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream: Box<dyn Stream> = match &target.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from("localhost").unwrap();
                Box::new(tls.connect(name, stream).await.unwrap())
            }
        };
        Self {
            stream,
            buffer: vec![0; BUFFER],
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn flush(&mut self) {
        self.stream.flush().await.unwrap();
    }

    /// Sends a request and reads its answer, which must be a success.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request).await;
        self.flush().await;
        let mut body = Vec::new();
        let status = self.answer(|bytes| body.extend_from_slice(bytes)).await.unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        body
    }

    /// Reads one answer and hands its body over as it comes. An error is a connection that was cut.
    pub(crate) async fn answer(&mut self, mut body: impl FnMut(&[u8])) -> std::io::Result<u16> {
        let (mut filled, end) = (0, std::io::ErrorKind::UnexpectedEof);
        let head = loop {
            let read = self.stream.read(self.buffer.get_mut(filled..).unwrap()).await?;
            filled += read;
            let so_far = self.buffer.get(..filled).unwrap();
            if let Some(at) = so_far.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if read == 0 {
                return Err(end.into());
            }
        };
        let text = String::from_utf8_lossy(self.buffer.get(..head).unwrap()).to_ascii_lowercase();
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.unwrap().trim().parse().unwrap();
        let mut left = length - (filled - head);
        body(self.buffer.get(head..filled).unwrap());
        while left > 0 {
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                return Err(end.into());
            }
            body(self.buffer.get(..read).unwrap());
            left -= read;
        }
        Ok(status)
    }
}
