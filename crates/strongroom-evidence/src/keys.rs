//! The keys that a verifier trusts: Ed25519 in the form of C2SP signed-note, P-256 and P-384 as PEM.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::defect::PackageError;
use crate::tree::sha256;

/// Signature type of Ed25519 in a key id (C2SP signed-note).
const ED25519_TYPE: u8 = 0x01;

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// What stands before the point in a SubjectPublicKeyInfo (RFC 5480), and half of the curve's order: of the two values that
/// verify, the format takes the lower one, so that nobody can change a signature into another that verifies.
struct Curve {
    algorithm: &'static EcdsaVerificationAlgorithm,
    prefix: &'static str,
    point: usize,
    half_order: &'static str,
}

const P256: Curve = Curve {
    algorithm: &ECDSA_P256_SHA256_FIXED,
    prefix: "3059301306072a8648ce3d020106082a8648ce3d030107034200",
    point: 65,
    half_order: "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8",
};
const P384: Curve = Curve {
    algorithm: &ECDSA_P384_SHA384_FIXED,
    prefix: "3076301006072a8648ce3d020106052b81040022036200",
    point: 97,
    half_order: "7fffffffffffffffffffffffffffffffffffffffffffffff\
                 e3b1a6c0fa1b96efac0d06d9245853bd76760cb5666294b9",
};

/// A public key, with the text that it was read from.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey {
    text: String,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Ed25519 { name: String, key: [u8; 32] },
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl TrustedKey {
    /// Reads all keys in a text: verifier keys (`name+id+key`), one a line, and PEM blocks. A line that begins with `#` says something
    /// to people.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, PackageError> {
        let mut keys = Vec::new();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        while let Some(line) = lines.next() {
            if line.starts_with('#') {
                continue;
            }
            if line == PEM_BEGIN {
                let body: String = lines.by_ref().take_while(|line| *line != PEM_END).collect();
                keys.push(Self::parse_pem_body(&body)?);
            } else {
                keys.push(Self::parse_verifier_key(line)?);
            }
        }
        if keys.is_empty() {
            return Err(PackageError::BadKey {
                what: "there is none",
            });
        }
        Ok(keys)
    }

    fn parse_verifier_key(text: &str) -> Result<Self, PackageError> {
        let bad = |what| PackageError::BadKey { what };
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("a verifier key has three parts, or is a PEM block"));
        };
        let typed = STANDARD
            .decode(encoded)
            .map_err(|_| bad("its key is not base64"))?;
        let [ED25519_TYPE, key @ ..] = typed.as_slice() else {
            return Err(bad("its key is not Ed25519"));
        };
        let key: [u8; 32] = key.try_into().map_err(|_| bad("its key is not 32 bytes long"))?;
        if name.is_empty() || name.contains(char::is_whitespace) || id != hex::encode(key_id(name, &key)) {
            return Err(bad("its id does not follow from its name and key"));
        }
        let name = name.to_owned();
        Ok(Self {
            text: text.to_owned(),
            kind: Kind::Ed25519 { name, key },
        })
    }

    fn parse_pem_body(body: &str) -> Result<Self, PackageError> {
        let bad = |what| PackageError::BadKey { what };
        let der = STANDARD
            .decode(body)
            .map_err(|_| bad("the PEM block is not base64"))?;
        let text = format!("{PEM_BEGIN}\n{body}\n{PEM_END}");
        let point = |curve: &Curve| {
            let point = der.strip_prefix(hex::decode(curve.prefix).ok()?.as_slice())?;
            (point.len() == curve.point && point.first() == Some(&4)).then(|| point.to_vec())
        };
        let kind = match (point(&P256), point(&P384)) {
            (Some(point), _) => Kind::P256(point),
            (_, Some(point)) => Kind::P384(point),
            _ => return Err(bad("the PEM block holds no P-256 or P-384 key")),
        };
        Ok(Self { text, kind })
    }

    /// Whether this key signed the message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            Kind::Ed25519 { key, .. } => UnparsedPublicKey::new(&ED25519, key)
                .verify(message, signature)
                .is_ok(),
            Kind::P256(point) => verify_ec(&P256, point, message, signature),
            Kind::P384(point) => verify_ec(&P384, point, message, signature),
        }
    }

    /// What an envelope calls it: `name+id`, or `sha256:` and the digest of its SubjectPublicKeyInfo.
    pub(crate) fn name(&self) -> String {
        let spki = |curve: &Curve, point: &[u8]| {
            let prefix = hex::decode(curve.prefix).unwrap_or_default();
            format!("sha256:{}", hex::encode(sha256(&[&prefix, point])))
        };
        match &self.kind {
            Kind::Ed25519 { name, key } => format!("{name}+{}", hex::encode(key_id(name, key))),
            Kind::P256(point) => spki(&P256, point),
            Kind::P384(point) => spki(&P384, point),
        }
    }

    /// The name and id that its signatures carry in a note; none for a key that signs no notes.
    pub(crate) fn note_name(&self) -> Option<(&str, [u8; 4])> {
        match &self.kind {
            Kind::Ed25519 { name, key } => Some((name, key_id(name, key))),
            Kind::P256(_) | Kind::P384(_) => None,
        }
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl serde::Serialize for TrustedKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn verify_ec(curve: &Curve, point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let half = hex::decode(curve.half_order).unwrap_or_default();
    let (_, s) = signature.split_at(signature.len() / 2);
    s.len() == half.len()
        && s <= half.as_slice()
        && UnparsedPublicKey::new(curve.algorithm, point)
            .verify(message, signature)
            .is_ok()
}

fn key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[ED25519_TYPE], key]);
    let [one, two, three, four, ..] = hash;
    [one, two, three, four]
}
