//! The client for any Key Vault: Azure's, and the embedded one, over the same wire and without a short cut.

mod answers;
mod hosts;
mod identity;
#[cfg(test)]
mod tests;
mod transport;

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_core::Bytes;
use azure_core::credentials::TokenCredential;
use azure_core::http::{RequestContent, Response, Url};
use azure_security_keyvault_keys::models::{KeyClientGetKeyOptions, KeyClientWrapKeyOptions};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use strongroom_seal::{
    BoxFuture, Clock, KeyDescription, KeyId, KeyName, KeyWrap, NoAnswer, Secret, VaultError, WrapAlgorithm,
    WrappedSeed,
};
use zeroize::Zeroizing;

pub use hosts::{VaultHosts, VaultHostsError};
pub use identity::VaultCredential;
pub use transport::Connections;

use crate::client::transport::{Pinned, heard, listening};
use crate::limits::{CALL_DEADLINE, KEPT_CLIENTS};

/// How a [`KeyVaultClient`] reaches vaults.
pub struct KeyVaultClientConfig {
    /// Who it is.
    pub credential: VaultCredential,
    /// Where it may go.
    pub hosts: VaultHosts,
    /// How it connects.
    pub connections: Connections,
    /// How seeds are wrapped.
    pub algorithm: WrapAlgorithm,
    /// What one call may take in all, the token included.
    pub deadline: Duration,
    /// Tells when tokens end.
    pub clock: Arc<dyn Clock>,
}

impl KeyVaultClientConfig {
    /// RSA-OAEP-256, the default deadline, the system's trust and names.
    pub fn new(credential: VaultCredential, hosts: VaultHosts, clock: Arc<dyn Clock>) -> Self {
        Self {
            credential,
            hosts,
            connections: Connections::default(),
            algorithm: WrapAlgorithm::RsaOaep256,
            deadline: CALL_DEADLINE,
            clock,
        }
    }
}

/// The client cannot be made as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyVaultClientError {
    /// The identity endpoint or login authority is not a URL that can be used (https for authorities).
    #[error("the identity endpoint or login authority is not acceptable")]
    IdentityEndpoint,
    /// The trusted certificates are not PEM, or the TLS library refused to start.
    #[error("the trusted certificates cannot be used")]
    TrustedRoots,
}

/// Asks a Key Vault to wrap and unwrap seeds. One connection pool and one client a vault are kept.
///
/// Requests and answers that hold a seed live in memory of ours that is wiped. Not wiped, because not ours, are the buffers of
/// the HTTP and TLS libraries that such bytes pass through, and the copies of tokens that the official clients keep.
pub struct KeyVaultClient {
    config: KeyVaultClientConfig,
    http: reqwest::Client,
    session: Mutex<Arc<Session>>,
}

/// A credential with its tokens, and the vault clients that use it. Replaced when a vault rejects its token.
struct Session {
    credential: Arc<dyn TokenCredential>,
    vaults: Mutex<HashMap<String, Arc<KeyClient>>>,
}

type Call<'a, T> = Pin<Box<dyn Future<Output = azure_core::Result<Response<T>>> + Send + 'a>>;

impl KeyVaultClient {
    /// Makes a client. Nothing is sent yet.
    pub fn new(config: KeyVaultClientConfig) -> Result<Self, KeyVaultClientError> {
        let http = config
            .connections
            .client(config.deadline)
            .map_err(|_| KeyVaultClientError::TrustedRoots)?;
        let session = Mutex::new(Session::begin(&config, &http)?);
        Ok(Self {
            config,
            http,
            session,
        })
    }

    /// Makes one call, with a fresh token and once more if the vault rejects the one at hand; all of it within the deadline.
    async fn call<'a, T>(
        &'a self,
        key: &'a KeyName,
        request: impl Fn(Arc<KeyClient>) -> Call<'a, T> + Send,
    ) -> Result<Response<T>, VaultError> {
        if !self.config.hosts.admit(key) {
            let detail = format!("{} is not among the vaults that are trusted", key.host());
            return Err(VaultError::new(NoAnswer::Refused, detail));
        }
        let attempts = async {
            let session = self.session();
            match request(session.client(key, &self.http)?).await {
                Err(error) if answers::is_unauthorized(&error) => {
                    let fresh = self.replace(&session)?;
                    request(fresh.client(key, &self.http)?)
                        .await
                        .map_err(|error| answers::last_word(&error, heard()))
                }
                other => other.map_err(|error| answers::last_word(&error, heard())),
            }
        };
        listening(async {
            match tokio::time::timeout(self.config.deadline, attempts).await {
                Ok(result) => result,
                Err(_) => Err(answers::too_late(self.config.deadline, heard())),
            }
        })
        .await
    }

    fn session(&self) -> Arc<Session> {
        Arc::clone(&self.session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A session without tokens in place of `used`, unless somebody replaced that already.
    fn replace(&self, used: &Arc<Session>) -> Result<Arc<Session>, VaultError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&session, used) {
            *session = Session::begin(&self.config, &self.http)
                .map_err(|error| VaultError::new(NoAnswer::Refused, error.to_string()))?;
        }
        Ok(Arc::clone(&session))
    }

    async fn ask_describe(&self, key: &KeyName, version: Option<&str>) -> Result<KeyDescription, VaultError> {
        if let Some(version) = version {
            // Versions go into the path as they are.
            key.with_version(version)
                .map_err(|error| VaultError::new(NoAnswer::Refused, error.to_string()))?;
        }
        let response = self
            .call(key, |client| {
                let key_version = version.map(ToOwned::to_owned);
                Box::pin(async move {
                    let options = KeyClientGetKeyOptions {
                        key_version,
                        ..KeyClientGetKeyOptions::default()
                    };
                    client.get_key(key.name(), Some(options)).await
                })
            })
            .await?;
        read_description(key, version, response.body())
    }

    async fn ask_wrap(&self, key: &KeyId, seed: &Secret<32>) -> Result<WrappedSeed, VaultError> {
        // The seed goes to the vault, which is what a wrap is; the request's bytes are wiped when it is done.
        let body = operation_body(self.config.algorithm, seed.expose_secret());
        let response = self
            .call(key.key_name(), |client| {
                let body: RequestContent<_> = body.clone().into();
                Box::pin(async move {
                    let key_version = Some(key.version().to_owned());
                    let options = KeyClientWrapKeyOptions {
                        key_version,
                        ..KeyClientWrapKeyOptions::default()
                    };
                    client.wrap_key(key.name(), body, Some(options)).await
                })
            })
            .await?;
        let answer = OperationAnswer::read(key, response.body())?;
        let wrapped = URL_SAFE_NO_PAD.decode(answer.value.as_bytes());
        let wrapped = wrapped.map_err(|_| answers::malformed("the wrapped value is not base64url"))?;
        WrappedSeed::new(wrapped)
            .map_err(|_| answers::malformed("the wrapped value has no length of an RSA key"))
    }

    async fn ask_unwrap(&self, key: &KeyId, seed: &WrappedSeed) -> Result<Secret<32>, VaultError> {
        let body = operation_body(self.config.algorithm, seed.as_bytes());
        let response = self
            .call(key.key_name(), |client| {
                let body: RequestContent<_> = body.clone().into();
                Box::pin(async move { client.unwrap_key(key.name(), key.version(), body, None).await })
            })
            .await?;
        let answer = OperationAnswer::read(key, response.body())?;
        Secret::try_build(
            |seed| match URL_SAFE_NO_PAD.decode_slice(answer.value.as_bytes(), seed) {
                Ok(32) => Ok(()),
                _ => Err(answers::malformed("the unwrapped value is not 32 bytes long")),
            },
        )
    }
}

impl KeyWrap for KeyVaultClient {
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>> {
        Box::pin(self.ask_describe(key, version))
    }

    fn wrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>> {
        Box::pin(self.ask_wrap(key, seed))
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a WrappedSeed,
    ) -> BoxFuture<'a, Result<Secret<32>, VaultError>> {
        Box::pin(self.ask_unwrap(key, seed))
    }
}

impl Session {
    fn begin(
        config: &KeyVaultClientConfig,
        http: &reqwest::Client,
    ) -> Result<Arc<Self>, KeyVaultClientError> {
        let credential = config.credential.fresh(http, &config.clock)?;
        Ok(Arc::new(Self {
            credential,
            vaults: Mutex::new(HashMap::new()),
        }))
    }

    /// The client of this key's vault. Its host has been admitted.
    fn client(&self, key: &KeyName, http: &reqwest::Client) -> Result<Arc<KeyClient>, VaultError> {
        let mut vaults = self.vaults.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = vaults.get(key.vault()) {
            return Ok(Arc::clone(client));
        }
        let url = Url::parse(key.vault()).map_err(|_| answers::malformed("the vault's name is no URL"))?;
        // The official client checks that the challenge's resource is a parent of the vault's domain; that check stays on.
        let options = KeyClientOptions {
            client_options: Pinned::to_vault(http.clone(), &url).options(),
            ..KeyClientOptions::default()
        };
        let client = KeyClient::new(key.vault(), Arc::clone(&self.credential), Some(options))
            .map_err(|error| answers::from_error(&error))?;
        if vaults.len() >= KEPT_CLIENTS {
            vaults.clear();
        }
        Ok(Arc::clone(
            vaults.entry(key.vault().to_owned()).or_insert(Arc::new(client)),
        ))
    }
}

/// The body of a wrap or unwrap, in memory that is wiped. (The official client's own type would leave copies behind.)
fn operation_body(algorithm: WrapAlgorithm, value: &[u8]) -> Bytes {
    const QUOTES: usize = 32;
    let length = base64::encoded_len(value.len(), false).unwrap_or(0);
    let mut text = Zeroizing::new(vec![0; length]);
    // The buffer has just the length that is needed.
    let _ = URL_SAFE_NO_PAD.encode_slice(value, &mut text);
    let mut body = Zeroizing::new(Vec::with_capacity(length + algorithm.as_str().len() + QUOTES));
    body.extend_from_slice(br#"{"alg":""#);
    body.extend_from_slice(algorithm.as_str().as_bytes());
    body.extend_from_slice(br#"","value":""#);
    body.extend_from_slice(&text);
    body.extend_from_slice(br#""}"#);
    Bytes::from_owner(body)
}

/// What a wrap or unwrap answers, read in place: nothing is copied out of the body that is wiped.
#[derive(Deserialize)]
struct OperationAnswer<'a> {
    #[serde(borrow)]
    kid: Cow<'a, str>,
    value: &'a str,
}

impl<'a> OperationAnswer<'a> {
    /// Reads the answer, if it speaks of the key that was asked for.
    fn read(asked: &KeyId, body: &'a [u8]) -> Result<Self, VaultError> {
        let answer: Self = serde_json::from_slice(body)
            .map_err(|_| answers::malformed("the body is not a key operation's result"))?;
        match KeyId::parse(&answer.kid) {
            Ok(kid) if is_same(asked.key_name(), &kid) && kid.version() == asked.version() => Ok(answer),
            _ => Err(answers::malformed("the answer is about another key")),
        }
    }
}

#[derive(Deserialize)]
struct Bundle {
    key: BundleKey,
    attributes: BundleAttributes,
}

#[derive(Deserialize)]
struct BundleKey {
    kid: String,
    kty: String,
    #[serde(default)]
    n: String,
}

#[derive(Deserialize)]
struct BundleAttributes {
    enabled: bool,
    nbf: Option<u64>,
    exp: Option<u64>,
}

fn read_description(key: &KeyName, version: Option<&str>, body: &[u8]) -> Result<KeyDescription, VaultError> {
    let bundle: Bundle =
        serde_json::from_slice(body).map_err(|_| answers::malformed("the body is not a key bundle"))?;
    let kid = KeyId::parse(&bundle.key.kid).map_err(|_| answers::malformed("the key's id cannot be read"))?;
    if !is_same(key, &kid) || version.is_some_and(|version| version != kid.version()) {
        return Err(answers::malformed("the answer is about another key"));
    }
    let modulus = URL_SAFE_NO_PAD
        .decode(bundle.key.n.as_bytes())
        .map_err(|_| answers::malformed("the key's modulus is not base64url"))?;
    // The id is spelled as the caller spells the name.
    let id = key
        .with_version(kid.version())
        .map_err(|_| answers::malformed("the key's version cannot be read"))?;
    Ok(KeyDescription {
        id,
        enabled: bundle.attributes.enabled,
        key_type: bundle.key.kty,
        bits: bit_length(&modulus),
        not_before: bundle.attributes.nbf,
        expires: bundle.attributes.exp,
    })
}

/// Names of keys are compared without letter case, as vaults do.
fn is_same(asked: &KeyName, answered: &KeyId) -> bool {
    answered.vault() == asked.vault() && answered.name().eq_ignore_ascii_case(asked.name())
}

fn bit_length(modulus: &[u8]) -> u32 {
    let significant = modulus
        .iter()
        .position(|byte| *byte != 0)
        .and_then(|start| modulus.get(start..));
    let Some([first, rest @ ..]) = significant else {
        return 0;
    };
    let rest = u32::try_from(rest.len()).unwrap_or(u32::MAX / 8);
    rest.saturating_mul(8)
        .saturating_add(u8::BITS - first.leading_zeros())
}
