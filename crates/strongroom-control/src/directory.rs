//! The directory: one tenant, one subscription, and the principals in it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::ControlError;
use crate::limits::SECRET;

/// The tenant and its one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) subscription: Uuid,
}

impl Tenant {
    pub(crate) fn new() -> Self {
        Self {
            id: Uuid::new_v4(),
            subscription: Uuid::new_v4(),
        }
    }
}

/// What a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrincipalKind {
    /// An application that proves itself with a secret.
    Application,
    /// The identity of a resource; tokens for it are given to the resource alone.
    ManagedIdentity,
}

/// Somebody whom role assignments can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// What role assignments name.
    pub object_id: Uuid,
    /// The application (client) id.
    pub client_id: Uuid,
    /// What it is.
    pub kind: PrincipalKind,
    /// For people.
    pub display_name: String,
    /// The resource whose identity it is.
    pub resource: Option<String>,
    /// SHA-256 of the secret, in hex. The secret has 256 random bits: there is nothing to guess, so nothing to stretch.
    secret_hash: Option<String>,
}

impl Principal {
    pub(crate) fn new(kind: PrincipalKind, display_name: &str, resource: Option<String>) -> Self {
        let (object_id, client_id) = (Uuid::new_v4(), Uuid::new_v4());
        Self {
            object_id,
            client_id,
            kind,
            display_name: display_name.to_owned(),
            resource,
            secret_hash: None,
        }
    }

    /// Gives it a new secret and returns it, the only time that it can be seen.
    pub(crate) fn renew_secret(&mut self) -> Result<Zeroizing<String>, ControlError> {
        let secret = random_text()?;
        self.secret_hash = Some(hash(&secret));
        Ok(secret)
    }

    /// Whether this is its secret.
    pub(crate) fn has_secret(&self, presented: &str) -> bool {
        let kept = self.secret_hash.as_deref().unwrap_or_default();
        verify_slices_are_equal(kept.as_bytes(), hash(presented).as_bytes()).is_ok()
    }
}

/// A secret as text: 256 random bits.
pub(crate) fn random_text() -> Result<Zeroizing<String>, ControlError> {
    let mut bytes = Zeroizing::new([0; SECRET]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| ControlError::NoRandomness)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

fn hash(secret: &str) -> String {
    hex::encode(digest(&SHA256, secret.as_bytes()))
}
