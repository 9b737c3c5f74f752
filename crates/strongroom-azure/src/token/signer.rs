//! The issuing side: signs claims with an RSA key.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::{Jwk, Jwks};

/// Signs tokens. Holds a private key: no `Debug`.
pub struct Signer {
    pair: KeyPair,
    kid: String,
}

/// Why there is no signer or no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The key is not an RSA key in PKCS#8.
    #[error("the signing key is not an RSA key in PKCS#8")]
    Key,
    /// The cryptographic library refused.
    #[error("the token could not be signed")]
    Signing,
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
}

impl Signer {
    /// Makes a new RSA-2048 key.
    pub fn generate() -> Result<Self, SignerError> {
        Self::new(KeyPair::generate(KeySize::Rsa2048).map_err(|_| SignerError::Signing)?)
    }

    /// Takes a key in PKCS#8.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SignerError> {
        Self::new(KeyPair::from_pkcs8(der).map_err(|_| SignerError::Key)?)
    }

    fn new(pair: KeyPair) -> Result<Self, SignerError> {
        let public = pair.public_key();
        // The id is taken from the key, so that the same key always has the same one.
        let kid = digest(&SHA256, public.as_ref());
        let kid = URL_SAFE_NO_PAD.encode(kid.as_ref().get(..20).ok_or(SignerError::Key)?);
        Ok(Self { pair, kid })
    }

    /// Hands the private key, in PKCS#8, to whoever keeps it; it is wiped afterwards.
    pub fn expose_pkcs8<T>(&self, keep: impl FnOnce(&[u8]) -> T) -> Result<T, SignerError> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().map_err(|_| SignerError::Key)?;
        Ok(keep(der.as_ref()))
    }

    /// The public key as issuers publish it.
    pub fn public(&self) -> Jwk {
        let public = self.pair.public_key();
        let mut key = Jwk::rsa(
            self.kid.clone(),
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
        );
        key.alg = Some("RS256".to_owned());
        key
    }

    /// The key alone, as a set.
    pub fn jwks(&self) -> Jwks {
        Jwks {
            keys: vec![self.public()],
        }
    }

    /// The id of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs the claims.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, SignerError> {
        let header = Header {
            typ: "JWT",
            alg: "RS256",
            kid: &self.kid,
        };
        let json = |text: Result<String, _>| text.map_err(|_| SignerError::Signing);
        self.sign_text(
            &json(serde_json::to_string(&header))?,
            &json(serde_json::to_string(claims))?,
        )
    }

    /// Signs a header and a payload as they are given, as for an assertion whose header names a certificate.
    pub fn sign_text(&self, header: &str, payload: &str) -> Result<String, SignerError> {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", encode(header), encode(payload));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .map_err(|_| SignerError::Signing)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
