//! The one way out: a client of our own under the official Azure clients, tied to one host and bounded in what it takes in.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use azure_core::Bytes;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::response::AsyncResponseBody;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, StatusCode, Transport, Url,
};
use futures::StreamExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use zeroize::Zeroizing;

use crate::limits::{CONNECT_TIMEOUT, MAX_ANSWER, REFUSAL_BODY_WAIT};

/// How connections are made.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// PEM certificates that alone are trusted; without any, the system's.
    pub trusted_roots: Option<Vec<u8>>,
    /// Where names below `localhost` are found, without asking a name server. The port counts for URLs that have none, so
    /// that key ids need not change with it.
    pub localhost: Option<SocketAddr>,
    /// Whether `HTTPS_PROXY` and its kin are obeyed.
    pub environment_proxy: bool,
}

impl Connections {
    pub(crate) fn client(&self, deadline: std::time::Duration) -> Result<reqwest::Client, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // One call a connection at a time: a call that times out takes its connection with it, where a shared HTTP/2
            // connection to a machine that has vanished would fail call after call.
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT.min(deadline))
            .timeout(deadline);
        if let Some(roots) = &self.trusted_roots {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(roots)?);
        }
        if let Some(here) = self.localhost {
            builder = builder.dns_resolver(Localhost(here));
        }
        if !self.environment_proxy {
            builder = builder.no_proxy();
        }
        builder.build()
    }
}

tokio::task_local! {
    /// The status of the vault's latest answer within one call, unless it was a success or a mere challenge for a token.
    static HEARD: Cell<Option<u16>>;
}

/// Makes one call, whose requests [`heard`] listens to.
pub(super) async fn listening<T>(call: impl Future<Output = T>) -> T {
    HEARD.scope(Cell::new(None), call).await
}

/// What the vault last said within this call, if that was no yes. It was said, whatever breaks off or hangs after it.
pub(super) fn heard() -> Option<u16> {
    HEARD.try_with(Cell::get).ok().flatten()
}

/// Sends to one origin and to no other.
#[derive(Debug)]
pub(crate) struct Pinned {
    client: reqwest::Client,
    origin: url::Origin,
    is_vault: bool,
}

impl Pinned {
    /// To a vault, whose answers are heard.
    pub(crate) fn to_vault(client: reqwest::Client, to: &Url) -> Arc<Self> {
        Self::new(client, to, true)
    }

    /// To a token endpoint.
    pub(crate) fn to_identity(client: reqwest::Client, to: &Url) -> Arc<Self> {
        Self::new(client, to, false)
    }

    fn new(client: reqwest::Client, to: &Url, is_vault: bool) -> Arc<Self> {
        Arc::new(Self {
            client,
            origin: to.origin(),
            is_vault,
        })
    }

    fn hear(&self, request: &Request, status: StatusCode) {
        let had_token = request.headers().get_optional_str(&AUTHORIZATION).is_some();
        let is_challenge = status == StatusCode::Unauthorized && !had_token;
        if self.is_vault && !is_challenge {
            let said = Some(u16::from(status)).filter(|_| !status.is_success());
            // Outside a call nobody listens.
            let _ = HEARD.try_with(|heard| heard.set(said));
        }
    }

    /// Options for an official client that uses this transport, never retries by itself, and knows no public cloud.
    pub(crate) fn options(self: Arc<Self>) -> ClientOptions {
        ClientOptions {
            transport: Some(Transport::new(self)),
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Pinned {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if request.url().origin() != self.origin {
            return Err(Error::with_message(
                ErrorKind::Other,
                "the request left the host it was made for",
            ));
        }
        let response = HttpClient::execute_request(&self.client, request).await?;
        let (status, headers, body) = response.deconstruct();
        self.hear(request, status);
        // Answers may carry a seed: they are kept in memory that is wiped. The buffers of TLS and HTTP below are not ours to wipe.
        let mut kept = Zeroizing::new(Vec::with_capacity(MAX_ANSWER.min(8 * 1024)));
        if status.is_success() {
            take_in(body, &mut kept).await?;
        } else {
            // The status says it; of the body, which only adds detail, whatever came will do.
            let _ = tokio::time::timeout(REFUSAL_BODY_WAIT, take_in(body, &mut kept)).await;
        }
        Ok(AsyncRawResponse::from_bytes(
            status,
            headers,
            Bytes::from_owner(kept),
        ))
    }
}

async fn take_in(mut body: AsyncResponseBody, kept: &mut Zeroizing<Vec<u8>>) -> azure_core::Result<()> {
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if kept.len() + piece.len() > MAX_ANSWER {
            return Err(Error::with_message(
                ErrorKind::Other,
                "the answer is larger than any that is expected",
            ));
        }
        extend(kept, &piece);
    }
    Ok(())
}

/// Appends without leaving a stale copy where the buffer had to move.
fn extend(kept: &mut Zeroizing<Vec<u8>>, piece: &[u8]) {
    if kept.capacity() - kept.len() < piece.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((kept.len() + piece.len()) * 2));
        larger.extend_from_slice(kept);
        *kept = larger;
    }
    kept.extend_from_slice(piece);
}

/// Names below `localhost` are loopback by definition (RFC 6761); all others go the system's way.
struct Localhost(SocketAddr);

impl Resolve for Localhost {
    fn resolve(&self, name: Name) -> Resolving {
        let here = self.0;
        Box::pin(async move {
            let name = name.as_str();
            if name == "localhost" || name.ends_with(".localhost") {
                return Ok(Box::new(std::iter::once(here)) as Addrs);
            }
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
