//! Names of customer keys, as Key Vault writes them.

use std::fmt;

use crate::limits::{
    MAX_HOST_LABEL_LEN, MAX_HOST_LEN, MAX_KEY_ID_LEN, MAX_KEY_NAME_LEN, MAX_KEY_VERSION_LEN,
};

/// A key of a vault, whatever its version: `https://host[:port]/keys/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    vault: String,
    name: String,
}

/// One version of a key of a vault: `https://host[:port]/keys/name/version`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId {
    key: KeyName,
    version: String,
}

/// Why the name of a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyIdError {
    /// Longer than any key identifier.
    #[error("a key identifier has at most 512 characters")]
    TooLong,
    /// It does not begin with `https://`.
    #[error("a key identifier begins with https://")]
    NotHttps,
    /// The host is not a DNS name with an optional port.
    #[error("the vault's host must be a DNS name with an optional port, and nothing else")]
    Host,
    /// What follows the host is not `/keys/name` or `/keys/name/version`.
    #[error("a key identifier is https://host/keys/name/version")]
    Path,
    /// The name has a character outside `0-9 a-z A-Z -` or a wrong length.
    #[error("a key's name has 1 to 127 letters, digits and hyphens")]
    Name,
    /// The version has a character outside `0-9 a-z A-Z` or a wrong length.
    #[error("a key's version has 1 to 64 letters and digits")]
    Version,
    /// The key is another one than is configured here. It must not be asked, nor its host connected to.
    #[error("the key is not the one that is configured")]
    Foreign,
}

impl KeyName {
    /// Puts a name together from the vault's URL (one trailing slash is let pass) and the key's name.
    pub fn new(vault: &str, name: &str) -> Result<Self, KeyIdError> {
        if vault.len() > MAX_KEY_ID_LEN {
            return Err(KeyIdError::TooLong);
        }
        Self::assemble(vault.strip_suffix('/').unwrap_or(vault), name)
    }

    /// Reads `https://host[:port]/keys/name`.
    pub fn parse(text: &str) -> Result<Self, KeyIdError> {
        let (vault, path) = split(text)?;
        Self::assemble(vault, path)
    }

    fn assemble(vault: &str, name: &str) -> Result<Self, KeyIdError> {
        if name.is_empty() || name.len() > MAX_KEY_NAME_LEN || !name.bytes().all(is_name_byte) {
            return Err(KeyIdError::Name);
        }
        Ok(Self {
            vault: parse_vault(vault)?,
            name: name.to_owned(),
        })
    }

    /// The vault's URL, without a slash at the end.
    pub fn vault(&self) -> &str {
        &self.vault
    }

    /// The key's name in its vault.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The vault's host, without the port.
    pub fn host(&self) -> &str {
        let authority = self.vault.strip_prefix(SCHEME).unwrap_or_default();
        authority.split_once(':').map_or(authority, |(host, _)| host)
    }

    /// One version of this key.
    pub fn with_version(&self, version: &str) -> Result<KeyId, KeyIdError> {
        let is_version = |b: u8| b.is_ascii_alphanumeric();
        if version.is_empty() || version.len() > MAX_KEY_VERSION_LEN || !version.bytes().all(is_version) {
            return Err(KeyIdError::Version);
        }
        Ok(KeyId {
            key: self.clone(),
            version: version.to_owned(),
        })
    }

    /// Checks that a stored or received identifier names a version of this very key: what was read never steers where a
    /// connection or a token goes.
    pub fn admit(&self, id: &KeyId) -> Result<(), KeyIdError> {
        (id.key == *self).then_some(()).ok_or(KeyIdError::Foreign)
    }
}

impl KeyId {
    /// Reads `https://host[:port]/keys/name/version`.
    pub fn parse(text: &str) -> Result<Self, KeyIdError> {
        let (vault, path) = split(text)?;
        let (name, version) = path.split_once('/').ok_or(KeyIdError::Path)?;
        KeyName::assemble(vault, name)?.with_version(version)
    }

    /// The vault's URL, without a slash at the end.
    pub fn vault(&self) -> &str {
        self.key.vault()
    }

    /// The key's name in its vault.
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// The version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The vault's host, without the port.
    pub fn host(&self) -> &str {
        self.key.host()
    }

    /// The key, whatever its version.
    pub const fn key_name(&self) -> &KeyName {
        &self.key
    }

    /// The key, whatever its version, as a value of its own.
    pub fn without_version(&self) -> KeyName {
        self.key.clone()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{KEYS}{}", self.vault, self.name)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key, self.version)
    }
}

/// The vault's URL and what follows `/keys/`.
fn split(text: &str) -> Result<(&str, &str), KeyIdError> {
    if text.len() > MAX_KEY_ID_LEN {
        return Err(KeyIdError::TooLong);
    }
    let authority = text.strip_prefix(SCHEME).ok_or(KeyIdError::NotHttps)?;
    let end = authority.find('/').ok_or(KeyIdError::Path)?;
    let (vault, path) = text.split_at(SCHEME.len() + end);
    Ok((vault, path.strip_prefix(KEYS).ok_or(KeyIdError::Path)?))
}

/// Checks `https://host[:port]` and writes it the one way we write it: host in lower case, no port 443.
fn parse_vault(vault: &str) -> Result<String, KeyIdError> {
    let authority = vault.strip_prefix(SCHEME).ok_or(KeyIdError::NotHttps)?;
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (authority, HTTPS_PORT),
    };
    let is_label = |label: &str| {
        (1..=MAX_HOST_LABEL_LEN).contains(&label.len())
            && label.bytes().all(is_name_byte)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > MAX_HOST_LEN || !host.split('.').all(is_label) {
        return Err(KeyIdError::Host);
    }
    let host = host.to_ascii_lowercase();
    Ok(if port == HTTPS_PORT {
        format!("{SCHEME}{host}")
    } else {
        format!("{SCHEME}{host}:{port}")
    })
}

fn parse_port(text: &str) -> Result<u16, KeyIdError> {
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(KeyIdError::Host);
    }
    text.parse().map_err(|_| KeyIdError::Host)
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

const SCHEME: &str = "https://";
const KEYS: &str = "/keys/";
const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests;
