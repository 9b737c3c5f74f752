//! The one way to published keys: TLS to a host on the list, no redirect, bounded in time and size.

use std::sync::Arc;

use serde::Deserialize;

use super::jwks::Asked;
use super::{FetchKeys, Jwks};
use crate::limits::{KEY_SET, KEYS_FETCH};

/// What follows an issuer's name in the URL of its OpenID Connect document.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Fetches from hosts on its list. Clones share the connections.
#[derive(Clone)]
pub struct KeyHosts {
    client: reqwest::Client,
    /// `host` or `host:port`, in lower case.
    hosts: Arc<[String]>,
}

/// Why keys cannot be fetched from somewhere.
#[derive(Debug, thiserror::Error)]
pub enum KeyHostsError {
    /// The URL is not `https://host[:port]/path`.
    #[error("{0} is not an https URL without user, query and fragment")]
    Url(String),
    /// The host is not on the list.
    #[error("keys are not fetched from {0}: it is not on the list of hosts")]
    Host(String),
    /// There is no client.
    #[error("the client for published keys: {0}")]
    Client(#[from] reqwest::Error),
}

impl KeyHosts {
    /// Fetches from these hosts (`host`, for port 443, or `host:port`). With `trusted_roots` (PEM), they alone are trusted; without, the system's.
    pub fn new(
        hosts: impl IntoIterator<Item = impl AsRef<str>>,
        trusted_roots: Option<&[u8]>,
    ) -> Result<Self, KeyHostsError> {
        let mut builder = reqwest::Client::builder()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(KEYS_FETCH)
            .timeout(KEYS_FETCH);
        if let Some(roots) = trusted_roots {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(roots)?);
        }
        let hosts = hosts.into_iter().map(|host| host.as_ref().to_ascii_lowercase());
        Ok(Self {
            client: builder.build()?,
            hosts: hosts.collect(),
        })
    }

    /// The keys at a URL whose host is on the list; or the keys that an OpenID Connect document there points to, where the URL
    /// is one of such a document. They must be at a host on the list too.
    pub fn at(&self, url: &str) -> Result<impl FetchKeys + use<>, KeyHostsError> {
        Ok(PublishedAt {
            url: self.check(url)?,
            hosts: self.clone(),
        })
    }

    fn check(&self, url: &str) -> Result<url::Url, KeyHostsError> {
        let wrong = || KeyHostsError::Url(url.to_owned());
        let parsed = url::Url::parse(url).map_err(|_| wrong())?;
        let plain = parsed.username().is_empty()
            && parsed.password().is_none()
            && parsed.query().is_none()
            && parsed.fragment().is_none();
        let host = parsed.host_str().ok_or_else(wrong)?;
        if parsed.scheme() != "https" || !plain {
            return Err(wrong());
        }
        // The parser leaves out the port that https has anyway.
        let host = match parsed.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        if !self
            .hosts
            .iter()
            .any(|known| known.strip_suffix(":443").unwrap_or(known) == host)
        {
            return Err(KeyHostsError::Host(host));
        }
        Ok(parsed)
    }
}

struct PublishedAt {
    hosts: KeyHosts,
    url: url::Url,
}

/// What an issuer tells of itself, as far as it matters here.
#[derive(Deserialize)]
struct Told {
    issuer: String,
    jwks_uri: String,
}

impl PublishedAt {
    async fn read(&self) -> Result<Jwks, String> {
        let mut body = self.get(&self.url).await?;
        if let Some(issuer) = self.url.as_str().strip_suffix(DISCOVERY) {
            let told: Told = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            if told.issuer.trim_end_matches('/') != issuer {
                return Err(format!("the document is that of another issuer, {}", told.issuer));
            }
            let keys = self
                .hosts
                .check(&told.jwks_uri)
                .map_err(|error| error.to_string())?;
            body = self.get(&keys).await?;
        }
        Jwks::parse(&body).ok_or_else(|| "the answer is no set of keys".to_owned())
    }

    async fn get(&self, url: &url::Url) -> Result<Vec<u8>, String> {
        let mut answer = self
            .hosts
            .client
            .get(url.clone())
            .send()
            .await
            .map_err(|error| root_cause(&error))?;
        // A redirect is an answer like any other that is no success: it is not followed.
        if answer.status() != http::StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| root_cause(&error))? {
            if body.len() + piece.len() > KEY_SET {
                return Err("the answer is longer than any set of keys".to_owned());
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

impl FetchKeys for PublishedAt {
    fn fetch(&self) -> Asked<'_, Option<Jwks>> {
        Box::pin(async move {
            match self.read().await {
                Ok(keys) => Some(keys),
                Err(reason) => {
                    tracing::warn!(url = %self.url, reason, "an issuer's keys could not be fetched; the last good ones stay for now");
                    None
                }
            }
        })
    }
}

/// The innermost reason: what the client puts around it only names the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
