//! How an upstream server is reached.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::limits;

/// Where an OpenAI-compatible server is and how long to wait for it.
pub struct UpstreamConfig {
    /// The root of its API, for example `https://models.example/v1`; `http` or `https`.
    pub base_url: String,
    /// Sent as a bearer token.
    pub api_key: Option<ApiKey>,
    /// The models to offer; when empty, what the server lists (see `Upstream::refresh_models`).
    pub models: Vec<String>,
    /// How long to wait, at each step.
    pub timeouts: Timeouts,
}

impl UpstreamConfig {
    /// A server without a key and with the usual time-outs.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: None,
            models: Vec::new(),
            timeouts: Timeouts::default(),
        }
    }
}

/// How long to wait for an upstream server.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For the whole answer.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: limits::CONNECT,
            first_byte: limits::FIRST_BYTE,
            idle: limits::IDLE,
            total: limits::TOTAL,
        }
    }
}

/// The key of an upstream server: cannot be printed or copied, wiped on drop.
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// Takes the key; surrounding white space, as files have it, is not part of it.
    pub fn new(key: Zeroizing<String>) -> Self {
        Self(Zeroizing::new(key.trim().to_owned()))
    }

    /// The one way to look inside: to put it on the wire.
    pub(crate) fn expose_secret(&self) -> &str {
        &self.0
    }
}
