//! Names as Azure spells them, which is in more than one way: brought to one spelling before anything is compared.
//!
//! Everything here takes any text, gives nothing rather than a guess, and never fails otherwise.

use std::borrow::Borrow;
use std::fmt;

use crate::limits::NAME;

/// The host of a vault, in small letters and without a port: what tells one vault from another, sovereign clouds included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultHost(String);

impl VaultHost {
    /// Reads `https://V.vault.azure.net`, with or without a port, a path, a final slash or a scheme, in any case.
    pub fn read(text: &str) -> Option<Self> {
        Some(split_url(text)?.0)
    }

    /// As it is compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The vault's own name.
    pub fn name(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// The domain that the vault's name stands under.
    pub fn domain(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for VaultHost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A key, and a version where one is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName {
    /// Where it is.
    pub vault: VaultHost,
    /// Its name, in small letters: Key Vault compares without regard to case.
    pub key: String,
    /// The version, in small letters. None follows the latest.
    pub version: Option<String>,
}

impl KeyName {
    /// From the three properties by which Azure's resources name a key; an empty version is none.
    pub fn new(vault: &str, key: &str, version: Option<&str>) -> Option<Self> {
        let key = part(key)?;
        let version = match version.map(str::trim) {
            None | Some("") => None,
            Some(version) => Some(part(version)?),
        };
        Some(Self {
            vault: VaultHost::read(vault)?,
            key,
            version,
        })
    }

    /// From an identifier, `https://V.vault.azure.net/keys/K` with or without a version and a final slash.
    pub fn read(text: &str) -> Option<Self> {
        let (vault, path) = split_url(text)?;
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        if !parts.next()?.eq_ignore_ascii_case("keys") {
            return None;
        }
        let key = part(parts.next()?)?;
        let version = match parts.next() {
            None => None,
            Some(version) => Some(part(version)?),
        };
        parts.next().is_none().then_some(Self { vault, key, version })
    }

    /// The same key without a version.
    #[must_use]
    pub fn versionless(&self) -> Self {
        Self {
            version: None,
            ..self.clone()
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "https://{}/keys/{}", self.vault, self.key)?;
        match &self.version {
            Some(version) => write!(out, "/{version}"),
            None => Ok(()),
        }
    }
}

/// One part of a key's identifier.
fn part(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let whole = !text.is_empty() && text.len() <= NAME && text.bytes().all(fits);
    whole.then(|| text.to_ascii_lowercase())
}

/// The host, and what follows it without query and fragment.
fn split_url(text: &str) -> Option<(VaultHost, &str)> {
    let text = text.trim();
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some(_) => return None,
        None => text,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) => return None,
        None => authority,
    };
    let host = host.trim_end_matches('.');
    let label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(fits)
    };
    let whole = host.len() <= NAME && host.contains('.') && host.split('.').all(label);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    whole.then(|| (VaultHost(host.to_ascii_lowercase()), path))
}

/// A resource's id, or a scope, in one spelling: small letters, single slashes, none at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArmId(String);

impl ArmId {
    /// Reads an id that begins with a slash; `/` itself is the scope above all.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.starts_with('/') || text.len() > 8 * NAME || text.contains(char::is_control) {
            return None;
        }
        let parts = text.split('/').filter(|part| !part.is_empty());
        let joined: String = parts.flat_map(|part| ["/", part]).collect();
        Some(Self(if joined.is_empty() {
            "/".to_owned()
        } else {
            joined.to_lowercase()
        }))
    }

    /// As it is compared.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The subscription's id, if it is in one.
    pub fn subscription(&self) -> Option<&str> {
        self.0.strip_prefix("/subscriptions/")?.split('/').next()
    }

    /// The resource group's name, if it is in one.
    pub fn group(&self) -> Option<&str> {
        let mut parts = self.0.strip_prefix("/subscriptions/")?.split('/').skip(1);
        (parts.next()? == "resourcegroups").then(|| parts.next())?
    }

    /// The type in small letters, such as `microsoft.keyvault/vaults`; that of the innermost provider. None for what has none.
    pub fn kind(&self) -> Option<String> {
        let (_, typed) = self.0.rsplit_once("/providers/")?;
        let mut parts = typed.split('/');
        let mut kind = parts.next()?.to_owned();
        while let (Some(part), Some(_)) = (parts.next(), parts.next()) {
            kind.push('/');
            kind.push_str(part);
        }
        kind.contains('/').then_some(kind)
    }

    /// Whether what is granted at this scope holds at `other`. Of management groups it is not known who is below them.
    pub fn covers(&self, other: &Self) -> bool {
        self.0 == "/"
            || other
                .0
                .strip_prefix(&self.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Every scope that it is in, from the top down, and itself.
    pub fn and_above(&self) -> impl Iterator<Item = &str> {
        let parts = self
            .0
            .match_indices('/')
            .skip(1)
            .filter_map(|(end, _)| self.0.get(..end));
        let whole = (self.0 != "/").then_some(self.0.as_str());
        ["/"].into_iter().chain(parts).chain(whole)
    }

    /// Whether it is a management group.
    pub fn is_management_group(&self) -> bool {
        self.0
            .starts_with("/providers/microsoft.management/managementgroups/")
    }

    /// What it is a part of: the account of a deployment, the resource that a setting is on.
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once('/')?;
        let (parent, kind) = parent.rsplit_once('/')?;
        let parent = match parent.rsplit_once("/providers/") {
            // `.../providers/N/kind/name`: what is above stands before the provider.
            Some((above, namespace)) if !namespace.contains('/') => above,
            _ => parent,
        };
        (!parent.is_empty() && !kind.is_empty()).then(|| Self(parent.to_owned()))
    }

    /// A resource below, such as a key of a vault.
    #[must_use]
    pub fn child(&self, kind: &str, name: &str) -> Self {
        Self(format!("{}/{}/{}", self.0, kind, name).to_lowercase())
    }
}

impl Borrow<str> for ArmId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ArmId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A region in one spelling: `South Central US`, `SOUTHCENTRALUS` and `(US) South Central US` are `southcentralus`.
pub fn location(text: &str) -> Option<String> {
    let text = text.trim();
    let bare = match text.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest,
        None => text,
    };
    let kept = bare.chars().filter(|char| !char.is_whitespace() && *char != '-');
    let name: String = kept.flat_map(char::to_lowercase).take(NAME).collect();
    (!name.is_empty()).then_some(name)
}

/// A GUID, or another short name that is compared without regard to case: of an identity, a tenant, a role.
pub fn guid(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches('{').trim_end_matches('}');
    (!text.is_empty() && text.len() <= NAME).then(|| text.to_ascii_lowercase())
}
