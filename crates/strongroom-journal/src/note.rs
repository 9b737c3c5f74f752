//! Checkpoints: a tree head as a C2SP signed note, by Ed25519.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::JournalError;
use crate::tree::Hash;

/// Signature type of Ed25519 in a key id (C2SP signed-note).
const ED25519_TYPE: u8 = 0x01;
const SEPARATOR: &str = "\n\n";
const DASH: &str = "\u{2014} ";

/// The key that signs a journal's checkpoints, with the name (origin) that it signs under.
pub struct SigningKey {
    name: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Reads the PKCS#8 key at `path`, or makes one there that only its owner can read.
    pub fn load_or_create(path: &Path, name: &str) -> Result<Self, JournalError> {
        if !valid_name(name) {
            return Err(JournalError::BadNote {
                what: "the origin has a space, a plus sign or no character",
            });
        }
        let pair = match fs::read(path) {
            Ok(der) => parse_key(&der)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create_key(path)?,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            name: name.to_owned(),
            pair,
        })
    }

    /// The public half, as anyone needs it to check this journal.
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        VerifyingKey {
            name: self.name.clone(),
            key,
        }
    }

    /// A signed note that states the tree's size and root.
    pub(crate) fn sign(&self, size: u64, root: &Hash) -> String {
        let text = format!("{}\n{size}\n{}\n", self.name, STANDARD.encode(root));
        let mut signature = self.verifying_key().id().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n{DASH}{} {}\n", self.name, STANDARD.encode(signature))
    }
}

/// The public key of a journal, with its name. `Display` gives the form of C2SP signed-note: `name+id+key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    key: [u8; 32],
}

impl VerifyingKey {
    /// Parses `name+id+key`.
    pub fn parse(text: &str) -> Result<Self, JournalError> {
        let bad = |what| JournalError::BadNote { what };
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("a verifier key has three parts"));
        };
        let key = STANDARD
            .decode(key)
            .map_err(|_| bad("the verifier key is not base64"))?;
        let [ED25519_TYPE, key @ ..] = key.as_slice() else {
            return Err(bad("the verifier key is not Ed25519"));
        };
        let key: [u8; 32] = key
            .try_into()
            .map_err(|_| bad("the verifier key is not 32 bytes long"))?;
        let parsed = Self {
            name: name.to_owned(),
            key,
        };
        if !valid_name(name) || parsed.to_string() != format!("{name}+{id}+{}", encoded_key(&key)) {
            return Err(bad("the verifier key's id does not match its key"));
        }
        Ok(parsed)
    }

    /// Checks the note's signature and returns the tree head that it states.
    pub fn verify(&self, note: &str) -> Result<Checkpoint, JournalError> {
        let bad = |what| JournalError::BadNote { what };
        let cut = note
            .rfind(SEPARATOR)
            .ok_or(bad("no signature follows the text"))?;
        let (text, signatures) = note.split_at(cut + 1);
        let prefix = format!("{DASH}{} ", self.name);
        let signature = signatures
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .filter_map(|encoded| STANDARD.decode(encoded).ok())
            .find(|signature| signature.starts_with(&self.id()))
            .ok_or(bad("no signature by this key"))?;
        UnparsedPublicKey::new(&ED25519, &self.key)
            .verify(text.as_bytes(), signature.get(4..).unwrap_or_default())
            .map_err(|_| bad("the signature does not verify"))?;
        Checkpoint::parse(text, &self.name)
    }

    fn id(&self) -> [u8; 4] {
        let mut message = self.name.as_bytes().to_vec();
        message.push(b'\n');
        message.push(ED25519_TYPE);
        message.extend_from_slice(&self.key);
        let mut id = [0; 4];
        id.copy_from_slice(digest(&SHA256, &message).as_ref().get(..4).unwrap_or(&[0; 4]));
        id
    }
}

impl std::fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, encoded_key(&self.key))
    }
}

/// A tree head whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of entries that the head covers.
    pub size: u64,
    /// Root hash over them.
    pub root: Hash,
}

impl Checkpoint {
    fn parse(text: &str, origin: &str) -> Result<Self, JournalError> {
        let bad = |what| JournalError::BadNote { what };
        let mut lines = text.lines();
        let (Some(first), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(bad("a checkpoint has three lines"));
        };
        if first != origin {
            return Err(bad("the checkpoint is of another origin"));
        }
        let parsed: u64 = size.parse().map_err(|_| bad("the size is not a number"))?;
        if parsed.to_string() != size {
            return Err(bad("the size is not in plain decimal form"));
        }
        let root = STANDARD.decode(root).map_err(|_| bad("the root is not base64"))?;
        let root = root
            .try_into()
            .map_err(|_| bad("the root is not 32 bytes long"))?;
        Ok(Self { size: parsed, root })
    }
}

fn valid_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

fn encoded_key(key: &[u8; 32]) -> String {
    let mut typed = vec![ED25519_TYPE];
    typed.extend_from_slice(key);
    STANDARD.encode(typed)
}

fn parse_key(der: &[u8]) -> Result<Ed25519KeyPair, JournalError> {
    Ed25519KeyPair::from_pkcs8(der).map_err(|_| JournalError::Damaged {
        what: "the signing key is not PKCS#8 Ed25519",
    })
}

fn create_key(path: &Path) -> Result<Ed25519KeyPair, JournalError> {
    let failed = |_| JournalError::Damaged {
        what: "no signing key could be generated",
    };
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(der.as_ref())?;
    file.sync_all()?;
    crate::tiles::sync_parent(path)?;
    Ok(pair)
}
