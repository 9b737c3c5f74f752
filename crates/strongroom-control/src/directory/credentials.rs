//! What an application proves itself with.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::proofs::{ClientCertificate, Federation};
use crate::error::ControlError;
use crate::limits::{HINT, SECRET, SECRETS};

/// Everything that proves one principal. Every kind is a list of its own, empty where a document does not have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Client secrets. Several, so that a new one can be handed out before the old one is taken away.
    #[serde(default)]
    pub secrets: Vec<ClientSecret>,
    /// Certificates whose keys sign the client's assertions.
    #[serde(default)]
    pub certificates: Vec<ClientCertificate>,
    /// External issuers that vouch for the client.
    #[serde(default)]
    pub federations: Vec<Federation>,
}

/// What a presented secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretMatch {
    /// One of the client's.
    Valid,
    /// It was one; its time is over.
    Expired,
    /// None of the client's.
    None,
}

/// A client secret as it is kept: what it is called, and enough to know it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecret {
    /// Its own id.
    pub id: Uuid,
    /// For people.
    pub display_name: Option<String>,
    /// Its first characters, so that a person can tell which of them is used where.
    pub hint: String,
    /// When it was made, in seconds since the Unix epoch.
    pub created: u64,
    /// From when on it no longer counts, in seconds since the Unix epoch.
    pub expires: Option<u64>,
    /// SHA-256 of the secret, in hex. The secret has 256 random bits: there is nothing to guess, so nothing to stretch.
    hash: String,
}

/// What is asked for when a secret is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewSecret {
    /// For people.
    pub display_name: Option<String>,
    /// From when on it no longer counts, in seconds since the Unix epoch.
    pub expires: Option<u64>,
}

impl Credentials {
    /// Makes a secret and returns it with its id: the only time that it can be seen.
    pub(crate) fn add_secret(
        &mut self,
        new: NewSecret,
        now: u64,
    ) -> Result<(Uuid, Zeroizing<String>), ControlError> {
        if self.secrets.len() >= SECRETS {
            return Err(ControlError::TooMany { what: "secrets" });
        }
        let secret = random_text()?;
        let id = Uuid::new_v4();
        self.secrets.push(ClientSecret {
            id,
            display_name: new.display_name,
            hint: secret.chars().take(HINT).collect(),
            created: now,
            expires: new.expires,
            hash: hash(&secret),
        });
        Ok((id, secret))
    }

    /// Whether this is one of the secrets, and whether its time is over. All are compared, so that the time taken does not tell
    /// which one came close.
    pub(crate) fn match_secret(&self, presented: &str, now: u64) -> SecretMatch {
        let presented = hash(presented);
        self.secrets.iter().fold(SecretMatch::None, |found, known| {
            let same = verify_slices_are_equal(known.hash.as_bytes(), presented.as_bytes()).is_ok();
            match (same, known.expires.is_none_or(|end| now < end)) {
                (true, true) => SecretMatch::Valid,
                (true, false) => SecretMatch::Expired,
                (false, _) => found,
            }
        })
    }
}

/// A secret as text: 256 random bits. It does not begin with a hyphen: commands that take it as an argument would read an option.
pub(crate) fn random_text() -> Result<Zeroizing<String>, ControlError> {
    loop {
        let mut bytes = Zeroizing::new([0; SECRET]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| ControlError::NoRandomness)?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        if !text.starts_with('-') {
            return Ok(text);
        }
    }
}

fn hash(secret: &str) -> String {
    hex::encode(digest(&SHA256, secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_looks_like_an_option() {
        // One in 64 would.
        for _ in 0..2000 {
            let (_, secret) = Credentials::default()
                .add_secret(NewSecret::default(), 1)
                .unwrap();
            assert!(!secret.starts_with('-'));
        }
    }
}
