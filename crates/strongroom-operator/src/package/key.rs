//! Who signs a package: an Ed25519 key of the operator's own, or a key elsewhere behind a narrow trait.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strongroom_journal::{JournalError, SigningKey};
use zeroize::Zeroizing;

/// Signs statements.
pub trait Signer {
    /// The public half, as a verifier is to be told of it.
    fn public_key(&self) -> Result<PublicKey, SignError>;

    /// Signs the message as it is: Ed25519's 64 bytes, or ECDSA's two numbers one after another over SHA-256 (P-256) or SHA-384
    /// (P-384). Of the two signatures that ECDSA has for everything, [`PublicKey::lower`] picks the one that counts.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The local key could not be read or made.
    #[error("the signing key: {0}")]
    Local(#[from] JournalError),
    /// Whoever has the key did not sign. Look at its grants, and try again.
    #[error("whoever has the key did not sign: {0}")]
    Elsewhere(String),
    /// The key is of a kind that no verifier knows. Take an EC key on P-256 or P-384.
    #[error("the key is neither Ed25519 nor on P-256 or P-384")]
    Kind,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// For people and verifiers: `name+id+key` of C2SP signed-note, or PEM.
    pub text: String,
    /// What an envelope calls it.
    pub name: String,
    /// The order of the curve, where signatures have two forms.
    order: Option<&'static str>,
}

/// SubjectPublicKeyInfo up to the point, and the order, of P-256 and P-384 (RFC 5480, FIPS 186-5).
const P256: (&str, &str) = (
    "3059301306072a8648ce3d020106082a8648ce3d030107034200",
    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
);
const P384: (&str, &str) = (
    "3076301006072a8648ce3d020106052b81040022036200",
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
);

impl PublicKey {
    /// The public key with these coordinates, 32 (P-256) or 48 (P-384) bytes each.
    pub fn ec(x: &[u8], y: &[u8]) -> Result<Self, SignError> {
        let (prefix, order) = match (x.len(), y.len()) {
            (32, 32) => P256,
            (48, 48) => P384,
            _ => return Err(SignError::Kind),
        };
        let prefix = hex::decode(prefix).unwrap_or_default();
        let der = [&prefix[..], &[4], x, y].concat();
        let text = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----",
            STANDARD.encode(&der)
        );
        let name = format!("sha256:{}", hex::encode(digest(&SHA256, &der)));
        Ok(Self {
            text,
            name,
            order: Some(order),
        })
    }

    /// The one of the two equivalent signatures whose second number is in the lower half: `s`, or the order less `s`.
    #[must_use]
    pub fn lower(&self, signature: Vec<u8>) -> Vec<u8> {
        let Some(order) = self.order.and_then(|order| hex::decode(order).ok()) else {
            return signature;
        };
        let (r, s) = signature.split_at(signature.len() / 2);
        if s.len() != order.len() {
            return signature;
        }
        let other = subtract(&order, s);
        if other.as_slice() < s {
            [r, &other].concat()
        } else {
            signature
        }
    }
}

/// `one - other` of two big-endian numbers of one length, where `one` is the larger.
fn subtract(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut borrow = false;
    let mut result: Vec<u8> = one
        .iter()
        .zip(other)
        .rev()
        .map(|(one, other)| {
            let (difference, first) = one.overflowing_sub(*other);
            let (difference, second) = difference.overflowing_sub(u8::from(borrow));
            borrow = first || second;
            difference
        })
        .collect();
    result.reverse();
    result
}

/// The operator's own Ed25519 key. It signs statements and the checkpoints of the evidence log; neither can be taken for the other: an
/// envelope's signature is over a line that begins `DSSEv1 `, and the first line of a note has no space.
pub struct LocalKey {
    path: PathBuf,
    name: String,
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl LocalKey {
    /// The key in `folder` (made with mode 0700), which is made there at first use and can be read by its owner alone.
    pub fn load_or_create(folder: &Path, name: &str) -> Result<Self, SignError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(JournalError::from)?;
        let path = folder.join("key.pkcs8");
        let public = SigningKey::load_or_create(&path, name)?
            .verifying_key()
            .to_string();
        let der = Zeroizing::new(fs::read(&path).map_err(JournalError::from)?);
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| JournalError::Damaged {
            what: "the signing key is not PKCS#8 Ed25519",
        })?;
        // The key is base64, which may hold plus signs; name and id hold none.
        let name_and_id: Vec<&str> = public.splitn(3, '+').take(2).collect();
        let public = PublicKey {
            name: name_and_id.join("+"),
            text: public.clone(),
            order: None,
        };
        Ok(Self {
            path,
            name: name.to_owned(),
            pair,
            public,
        })
    }

    /// The same key for the evidence log.
    pub(super) fn for_log(&self) -> Result<SigningKey, JournalError> {
        SigningKey::load_or_create(&self.path, &self.name)
    }
}

impl Signer for LocalKey {
    fn public_key(&self) -> Result<PublicKey, SignError> {
        Ok(self.public.clone())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.pair.sign(message).as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_equivalent_signatures_the_lower_one_is_taken() {
        let key = PublicKey::ec(&[1; 32], &[2; 32]).unwrap();
        let mut high = vec![7; 32];
        high.extend(hex::decode(P256.1).unwrap());
        high[63] -= 5;
        let mut low = vec![7; 32];
        low.extend([0; 31]);
        low.push(5);
        assert_eq!(key.lower(high), low);
        assert_eq!(key.lower(low.clone()), low);
    }

    #[test]
    fn a_key_with_a_plus_sign_in_it_is_named_by_name_and_id() {
        // About every other key has one.
        let keys = (0..24).map(|_| {
            let folder = tempfile::tempdir().unwrap();
            LocalKey::load_or_create(folder.path(), "example").unwrap().public
        });
        let keys: Vec<PublicKey> = keys.collect();
        assert!(keys.iter().any(|key| key.text.matches('+').count() > 2));
        for key in keys {
            assert_eq!(key.name.len(), "example+01234567".len(), "{}", key.text);
            assert!(key.text.starts_with(&format!("{}+A", key.name)));
        }
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let first = LocalKey::load_or_create(&folder.path().join("evidence"), "example").unwrap();
        let again = LocalKey::load_or_create(&folder.path().join("evidence"), "example").unwrap();
        assert_eq!(first.public, again.public);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&first.path), mode(first.path.parent().unwrap())),
            (0o600, 0o700)
        );
    }
}
