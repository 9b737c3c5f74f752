//! A key and its versions, put together from all who show them: the vault itself, and Resource Manager where the vault is not reached.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::json::{at, field, list, moment, number, text, texts, truth};
use super::lookup::FactRef;
use super::names::KeyName;

/// A key.
#[derive(Debug, Clone, Default)]
pub struct Key {
    /// The version that is used where none is named.
    pub latest: Option<(String, FactRef)>,
    /// What is known of each version.
    pub versions: BTreeMap<String, KeyVersion>,
    /// When it is rotated by itself.
    pub rotation: Option<(Rotation, FactRef)>,
    /// When it is destroyed for good, where it is deleted.
    pub deleted: Option<(Option<Timestamp>, FactRef)>,
    /// What a tag says of the owner.
    pub owner: Option<String>,
}

/// One version of a key. What no answer showed is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVersion {
    /// Whether it is turned on.
    pub enabled: Option<bool>,
    /// From when new data may be wrapped.
    pub not_before: Option<Timestamp>,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was last changed.
    pub updated: Option<Timestamp>,
    /// `RSA`, `RSA-HSM`, `EC` and others, in capitals.
    pub kind: Option<String>,
    /// The size of an RSA key in bits.
    pub bits: Option<u32>,
    /// The curve.
    pub curve: Option<String>,
    /// What it may be used for, in small letters.
    pub operations: Option<Vec<String>>,
    /// Such as `Recoverable`, `CustomizedRecoverable+Purgeable`.
    pub recovery_level: Option<String>,
    /// Where that was read, the best source last.
    pub facts: Vec<FactRef>,
}

/// When a key is rotated by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotation {
    /// What triggers it, as `timeAfterCreate P90D` or `timeBeforeExpiry P30D`.
    pub rotate: Option<String>,
}

impl Key {
    /// The version that a reference means.
    pub fn version(&self, name: Option<&str>) -> Option<(&str, &KeyVersion)> {
        let wanted = match name {
            Some(name) => name,
            None => self.newest()?,
        };
        self.versions
            .get_key_value(wanted)
            .map(|(name, version)| (name.as_str(), version))
    }

    /// The newest version: the one that the vault gives for none, else the one that was made last.
    pub fn newest(&self) -> Option<&str> {
        if let Some((latest, _)) = &self.latest {
            return Some(latest);
        }
        let made = self.versions.iter().max_by_key(|(_, version)| version.created);
        made.map(|(name, _)| name.as_str())
    }

    pub(super) fn add(&mut self, name: &str, version: KeyVersion) {
        match self.versions.get_mut(name) {
            Some(known) => known.fill(version),
            None => {
                self.versions.insert(name.to_owned(), version);
            }
        }
    }
}

impl KeyVersion {
    /// From the data plane: a key bundle, or an item of a list, which shows attributes alone.
    pub(super) fn from_vault(body: &Value, fact: FactRef) -> Option<(KeyName, Self)> {
        let id = text(body, "key.kid").or_else(|| text(body, "kid"))?;
        let name = KeyName::read(id)?;
        let jwk = field(body, "key");
        let of = |path: &str| jwk.and_then(|jwk| text(jwk, path));
        let attributes = field(body, "attributes");
        let mut version = Self::attributes(attributes, fact);
        version.kind = of("kty").map(str::to_ascii_uppercase);
        version.bits = of("n").and_then(modulus_bits);
        version.curve = of("crv").map(str::to_owned);
        version.operations = jwk.and_then(|jwk| operations(jwk, "key_ops"));
        Some((name, version))
    }

    /// From Resource Manager: the latest version of a key, or one version.
    pub(super) fn from_manager(body: &Value, fact: FactRef) -> Option<(KeyName, Self)> {
        let properties = field(body, "properties")?;
        let name = KeyName::read(text(properties, "keyUriWithVersion")?)?;
        let mut version = Self::attributes(field(properties, "attributes"), fact);
        version.kind = text(properties, "kty").map(str::to_ascii_uppercase);
        version.bits = number(properties, "keySize").and_then(|bits| u32::try_from(bits).ok());
        version.curve = text(properties, "curveName").map(str::to_owned);
        version.operations = operations(properties, "keyOps");
        Some((name, version))
    }

    fn attributes(attributes: Option<&Value>, fact: FactRef) -> Self {
        let time = |path: &str| attributes.and_then(|attributes| moment(attributes, path));
        Self {
            enabled: attributes.and_then(|attributes| truth(attributes, "enabled")),
            not_before: time("nbf"),
            expires: time("exp"),
            created: time("created"),
            updated: time("updated"),
            kind: None,
            bits: None,
            curve: None,
            operations: None,
            recovery_level: attributes
                .and_then(|attributes| text(attributes, "recoveryLevel"))
                .map(str::to_owned),
            facts: vec![fact],
        }
    }

    /// Takes from another answer what this one did not show, and its word where both show it: the later read counts.
    fn fill(&mut self, other: Self) {
        fn take<T>(mine: &mut Option<T>, theirs: Option<T>) {
            if theirs.is_some() {
                *mine = theirs;
            }
        }
        // Absence of these is itself said wherever attributes are shown.
        if other.enabled.is_some() {
            (self.not_before, self.expires) = (other.not_before, other.expires);
        }
        take(&mut self.enabled, other.enabled);
        take(&mut self.created, other.created);
        take(&mut self.updated, other.updated);
        take(&mut self.kind, other.kind);
        take(&mut self.bits, other.bits);
        take(&mut self.curve, other.curve);
        take(&mut self.operations, other.operations);
        take(&mut self.recovery_level, other.recovery_level);
        self.facts.extend(other.facts);
    }

    /// Whether an HSM holds it.
    pub fn in_hsm(&self) -> Option<bool> {
        self.kind.as_deref().map(|kind| kind.ends_with("-HSM"))
    }
}

impl Rotation {
    /// From either plane.
    pub(super) fn read(body: &Value) -> Self {
        let rotates = |action: &&Value| {
            let kind = text(action, "action.type");
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case("rotate"))
        };
        let trigger = |action: &Value| {
            let named =
                |name: &str| text(action, &format!("trigger.{name}")).map(|time| format!("{name} {time}"));
            named("timeAfterCreate").or_else(|| named("timeBeforeExpiry"))
        };
        Self {
            rotate: list(body, "lifetimeActions")
                .iter()
                .find(rotates)
                .and_then(trigger),
        }
    }
}

fn operations(value: &Value, path: &str) -> Option<Vec<String>> {
    at(value, path)?;
    let mut found = texts(value, path);
    for operation in &mut found {
        operation.make_ascii_lowercase();
    }
    Some(found)
}

/// The size of an RSA modulus in base64url, without decoding it: leading zero bits are the first character's.
fn modulus_bits(text: &str) -> Option<u32> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let text = text.trim_end_matches('=');
    let value = |byte: u8| match byte {
        b'+' => Some(62),
        b'/' => Some(63),
        _ => ALPHABET.iter().position(|known| *known == byte),
    };
    let bytes = u32::try_from(text.len()).ok()? / 4 * 3 + [0, 0, 1, 2].get(text.len() % 4)?;
    if !text.bytes().all(|byte| value(byte).is_some()) {
        return None;
    }
    // Zero bytes in front are padding, as some encoders write them.
    let zeros = text.bytes().take_while(|byte| *byte == b'A').count();
    let first = value(text.as_bytes().get(zeros).copied()?)?;
    let used = u32::try_from(zeros).ok()? * 6 + 6 + first.leading_zeros() - usize::BITS;
    (bytes * 8).checked_sub(used)
}
