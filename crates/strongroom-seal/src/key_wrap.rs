//! What the service asks of a vault, and the ways a vault does not answer yes.

use std::pin::Pin;
use std::time::Duration;

use crate::key_id::{KeyId, KeyName};
use crate::limits::MAX_WRAPPED_SEED_LEN;
use crate::secret::Secret;

/// A boxed future, so that [`KeyWrap`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A vault that wraps and unwraps seeds with a customer key and never shows it.
pub trait KeyWrap: Send + Sync + 'static {
    /// What the vault says of a key: its current version if none is named.
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>>;

    /// Wraps a seed by RSA-OAEP-256.
    fn wrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>>;

    /// Unwraps a seed by RSA-OAEP-256. Only this shows that the customer still grants the use of the key.
    fn unwrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a WrappedSeed,
    ) -> BoxFuture<'a, Result<Secret<32>, VaultError>>;
}

/// How a seed is wrapped, by the names of Key Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WrapAlgorithm {
    /// RSA-OAEP with SHA-256: what we use.
    RsaOaep256,
    /// RSA-OAEP with SHA-1: for what others have wrapped.
    RsaOaep,
}

impl WrapAlgorithm {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::RsaOaep => "RSA-OAEP",
        }
    }

    /// The algorithm of that name, if it is one of these.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::RsaOaep256, Self::RsaOaep]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

/// A seed as the customer key wrapped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedSeed(Vec<u8>);

/// A wrapped seed is empty or longer than any key could make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a wrapped seed has 1 to 512 bytes")]
pub struct WrappedSeedError;

impl WrappedSeed {
    /// Takes the bytes that a vault returned or that were stored.
    pub fn new(bytes: Vec<u8>) -> Result<Self, WrappedSeedError> {
        if bytes.is_empty() || bytes.len() > MAX_WRAPPED_SEED_LEN {
            return Err(WrappedSeedError);
        }
        Ok(Self(bytes))
    }

    /// The bytes, to store or to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a vault says of a key. Dates are for people: an expired key still unwraps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// The version described.
    pub id: KeyId,
    /// Whether the vault would use it.
    pub enabled: bool,
    /// Its type, as the vault spells it (`RSA`, `RSA-HSM`).
    pub key_type: String,
    /// Length of its modulus in bits.
    pub bits: u32,
    /// Not to be used before this time, in seconds since the Unix epoch.
    pub not_before: Option<u64>,
    /// Not to be used after this time, in seconds since the Unix epoch.
    pub expires: Option<u64>,
}

/// The ways a vault does not answer yes. They are never merged: refusal ends a lease at once, silence does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoAnswer {
    /// The vault says no: the key is disabled, permission is missing, the network or the identity is rejected.
    Refused,
    /// The vault says that there is no such key or version.
    Gone,
    /// The vault says nothing, or nothing that counts: time-out, no name, reset, 5xx.
    Unreachable,
    /// The vault asks for patience.
    Throttled {
        /// How long, if it said so.
        retry_after: Option<Duration>,
    },
}

/// A vault did not answer yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the vault did not answer yes ({answer:?}): {detail}")]
pub struct VaultError {
    /// What kind of no it was; the only part to decide by.
    pub answer: NoAnswer,
    /// For the log: what was asked and heard, without secrets.
    pub detail: String,
    /// The vault's own name for the request, if it gave one.
    pub request_id: Option<String>,
}

impl VaultError {
    /// A no of that kind.
    pub fn new(answer: NoAnswer, detail: impl Into<String>) -> Self {
        Self {
            answer,
            detail: detail.into(),
            request_id: None,
        }
    }

    /// Adds the vault's own name for the request.
    #[must_use]
    pub fn with_request_id(mut self, request_id: Option<String>) -> Self {
        self.request_id = request_id;
        self
    }
}
