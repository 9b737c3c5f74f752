//! Requests to the server and the waiting for it.

use std::future::Future;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::config::{ApiKey, Timeouts, UpstreamConfig};
use super::{UpstreamConfigError, answer};
use crate::engine::{EngineError, Object};
use crate::limits;

/// The client of one server.
pub(crate) struct Link {
    client: Client,
    base: Url,
    key: Option<ApiKey>,
    timeouts: Timeouts,
}

impl Link {
    pub(crate) fn new(config: UpstreamConfig) -> Result<Self, UpstreamConfigError> {
        let base = base(&config.base_url).ok_or(UpstreamConfigError::Address)?;
        if let Some(key) = &config.api_key {
            authorization(key).ok_or(UpstreamConfigError::Key)?;
        }
        let client = Client::builder()
            .connect_timeout(config.timeouts.connect)
            // A redirect would carry prompts to a server that nobody configured.
            .redirect(redirect::Policy::none())
            // The environment's proxy may be our own, which reaches our own names only.
            .no_proxy()
            .build()
            .map_err(|error| UpstreamConfigError::Client(error.to_string()))?;
        Ok(Self {
            client,
            base,
            key: config.api_key,
            timeouts: config.timeouts,
        })
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(crate) async fn get(&self, path: &str, patience: &mut Patience) -> Result<Response, EngineError> {
        self.send(self.client.get(self.url(path)?), patience).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        request: &Object,
        patience: &mut Patience,
    ) -> Result<Response, EngineError> {
        let body = serde_json::to_vec(request).map_err(|_| EngineError::Protocol)?;
        let request = self
            .client
            .post(self.url(path)?)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        self.send(request, patience).await
    }

    /// Sends, waits for the head of the answer and maps a refusal.
    async fn send(&self, request: RequestBuilder, patience: &mut Patience) -> Result<Response, EngineError> {
        let mut request = request.header(ACCEPT, "application/json, text/event-stream");
        if let Some(header) = self.key.as_ref().and_then(authorization) {
            request = request.header(AUTHORIZATION, header);
        }
        let response = patience
            .wait(self.timeouts.first_byte, request.send())
            .await?
            .map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = body(response, limits::UPSTREAM_ERROR, patience)
            .await
            .unwrap_or_default();
        Err(answer::refusal(status, &headers, &body, self.key.as_ref()))
    }

    fn url(&self, path: &str) -> Result<Url, EngineError> {
        self.base.join(path).map_err(|_| EngineError::Unavailable)
    }
}

/// How long to wait still, and whether to wait at all: a stop of the engine ends every wait.
pub(crate) struct Patience {
    stops: watch::Receiver<u64>,
    idle: Duration,
    deadline: Instant,
}

impl Patience {
    pub(crate) fn new(stops: watch::Receiver<u64>, timeouts: Timeouts) -> Self {
        Self {
            stops,
            idle: timeouts.idle,
            deadline: Instant::now() + timeouts.total,
        }
    }

    /// Waits at most `most`, and never past the deadline of the whole answer.
    pub(crate) async fn wait<T>(
        &mut self,
        most: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, EngineError> {
        let until = self.deadline.min(Instant::now() + most);
        tokio::select! {
            biased;
            () = stopped(&mut self.stops) => Err(EngineError::Stopped),
            outcome = timeout_at(until, future) => outcome.map_err(|_| EngineError::TimedOut),
        }
    }

    /// The next bytes of a body; `None` at its end.
    pub(crate) async fn chunk(
        &mut self,
        response: &mut Response,
    ) -> Result<Option<bytes::Bytes>, EngineError> {
        self.wait(self.idle, response.chunk()).await?.map_err(broken)
    }
}

/// An answer that is one JSON object.
pub(crate) async fn whole(response: Response, patience: &mut Patience) -> Result<Object, EngineError> {
    let body = body(response, limits::UPSTREAM_ANSWER, patience).await?;
    serde_json::from_slice(&body).map_err(|_| EngineError::Protocol)
}

async fn body(
    mut response: Response,
    most: usize,
    patience: &mut Patience,
) -> Result<Zeroizing<Vec<u8>>, EngineError> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(piece) = patience.chunk(&mut response).await? {
        if body.len() + piece.len() > most {
            return Err(EngineError::Protocol);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Resolves at the next stop; never if the engine is merely dropped, since answers under way may then finish.
async fn stopped(stops: &mut watch::Receiver<u64>) {
    if stops.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn broken(error: reqwest::Error) -> EngineError {
    tracing::warn!(error = %error.without_url(), "the upstream model server cannot be reached or broke off");
    EngineError::Unavailable
}

/// With a slash at its end, so that joining keeps the last part of the path.
fn base(address: &str) -> Option<Url> {
    let mut url = Url::parse(address.trim()).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    plain.then_some(url)
}

fn authorization(key: &ApiKey) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("Bearer {}", key.expose_secret()));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
