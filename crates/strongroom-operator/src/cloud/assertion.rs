//! A certificate's proof: a short assertion that its key signs. The official client's own way needs OpenSSL, which has no place here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use strongroom_seal::Clock;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::limits;

/// Why a certificate's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It lacks the certificate or its key.
    #[error("{} must hold, as PEM, a certificate and its RSA key without a password", .0.display())]
    Content(PathBuf),
}

/// A certificate and its key.
pub(super) struct Certificate {
    key: KeyPair,
    thumbprint: String,
    client: String,
    endpoint: String,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = out.debug_struct("Certificate");
        shown
            .field("thumbprint", &self.thumbprint)
            .finish_non_exhaustive()
    }
}

impl Certificate {
    pub(super) fn read(
        path: &Path,
        client: &str,
        endpoint: String,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CertificateError> {
        let pem = std::fs::read(path).map_err(|cause| CertificateError::Io {
            path: path.to_owned(),
            cause,
        })?;
        let pem = Zeroizing::new(pem);
        let wrong = || CertificateError::Content(path.to_owned());
        let certificate = CertificateDer::from_pem_slice(&pem).map_err(|_| wrong())?;
        let key = match PrivateKeyDer::from_pem_slice(&pem).map_err(|_| wrong())? {
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err(wrong()),
        };
        Ok(Self {
            key: key.map_err(|_| wrong())?,
            thumbprint: URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate)),
            client: client.to_owned(),
            endpoint,
            clock,
        })
    }

    fn sign(&self) -> Option<String> {
        let now = self.clock.now().wall.as_secs();
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": self.endpoint, "iss": self.client, "sub": self.client, "jti": Uuid::new_v4(),
            "nbf": now, "iat": now, "exp": now + limits::ASSERTION_LIFE.as_secs(),
        });
        let encoded = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(&RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature)
            .ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Certificate {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let failed = || Error::with_message(ErrorKind::Credential, "the certificate's key did not sign");
        self.sign().ok_or_else(failed)
    }
}
