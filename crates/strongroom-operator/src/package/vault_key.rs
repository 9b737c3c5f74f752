//! A signer whose key stays in a Key Vault: the vault is given a digest and answers with a signature.

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Handle;
use url::Url;

use super::key::{PublicKey, SignError, Signer};
use crate::ask::{Asker, Question};
use crate::fact::{Outcome, Source};

const API_VERSION: &str = "7.4";

/// An EC key in a vault, of one version.
pub struct VaultKey<'a> {
    asker: &'a Asker,
    runtime: &'a Handle,
    /// With the version.
    kid: Url,
    algorithm: &'static str,
    public: PublicKey,
}

#[derive(Deserialize)]
struct Bundle {
    key: Jwk,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

#[derive(Deserialize)]
struct Signed {
    value: String,
}

impl<'a> VaultKey<'a> {
    /// Asks for the public half of `https://vault/keys/name` or of one of its versions; what is signed later is signed by that version.
    pub fn find(asker: &'a Asker, runtime: &'a Handle, key: &str) -> Result<Self, SignError> {
        let named = address(key)?;
        let bundle: Bundle = ask(asker, runtime, named.clone(), None)?;
        let kid = address(&bundle.key.kid)?;
        if kid.origin() != named.origin() || !kid.path().starts_with(named.path()) {
            return Err(SignError::Elsewhere(
                "the vault answered with another key".to_owned(),
            ));
        }
        let (algorithm, length) = match bundle.key.crv.as_str() {
            "P-256" => ("ES256", 32),
            "P-384" => ("ES384", 48),
            _ => return Err(SignError::Kind),
        };
        let (x, y) = (
            coordinate(&bundle.key.x, length)?,
            coordinate(&bundle.key.y, length)?,
        );
        let public = PublicKey::ec(&x, &y)?;
        Ok(Self {
            asker,
            runtime,
            kid,
            algorithm,
            public,
        })
    }
}

impl Signer for VaultKey<'_> {
    fn public_key(&self) -> Result<PublicKey, SignError> {
        Ok(self.public.clone())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let hash = if self.algorithm == "ES256" {
            &SHA256
        } else {
            &SHA384
        };
        let value = URL_SAFE_NO_PAD.encode(digest(hash, message));
        let body = json!({"alg": self.algorithm, "value": value}).to_string();
        let mut url = self.kid.clone();
        url.set_path(&format!("{}/sign", self.kid.path().trim_end_matches('/')));
        let signed: Signed = ask(self.asker, self.runtime, url, Some(body))?;
        decode(&signed.value)
    }
}

fn address(key: &str) -> Result<Url, SignError> {
    Url::parse(key).map_err(|_| SignError::Elsewhere(format!("`{key}` is not the address of a key")))
}

/// A number of a fixed length, where some writers leave zeros at the front out.
fn coordinate(text: &str, length: usize) -> Result<Vec<u8>, SignError> {
    let bytes = decode(text)?;
    let missing = length.checked_sub(bytes.len()).ok_or(SignError::Kind)?;
    Ok([vec![0; missing], bytes].concat())
}

fn decode(text: &str) -> Result<Vec<u8>, SignError> {
    let decoded = URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|_| SignError::Elsewhere("the vault's answer is not base64url".to_owned()))
}

/// Asks the vault and reads its answer. Nothing of it becomes a fact: it is not about what is judged.
fn ask<T: for<'de> Deserialize<'de>>(
    asker: &Asker,
    runtime: &Handle,
    mut url: Url,
    body: Option<String>,
) -> Result<T, SignError> {
    url.set_query(Some(&format!("api-version={API_VERSION}")));
    let question = Question {
        source: Source::KeyVault,
        question: "signing-key",
        about: None,
        url,
        body,
        is_list: false,
    };
    let fact = runtime.block_on(asker.ask(&question));
    match fact.body().map(serde_json::from_slice) {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(_)) => Err(SignError::Elsewhere(format!(
            "{}: not what a vault answers",
            fact.call()
        ))),
        None => Err(SignError::Elsewhere(match &fact.outcome {
            Outcome::Answered { status, .. } => format!("{}: {status}", fact.call()),
            Outcome::Failed { message, .. } => format!("{}: {message}", fact.call()),
        })),
    }
}
