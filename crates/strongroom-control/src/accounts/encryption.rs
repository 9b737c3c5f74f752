//! Which key an account uses, and everything that is wrong with one that it is to use.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strongroom_azure::{ErrorDetail, ErrorStatus, Problem};
use strongroom_seal::{KeyIdError, KeyName};
use strongroom_vault::{Caller, KeyAction, KeyOperation, KeySpec, KeyVersion, VaultFault, VaultSettings};
use uuid::Uuid;

use super::{Account, PROVIDER_VAULT, provider};
use crate::control::Control;
use crate::directory::Principal;
use crate::error::ControlError;
use crate::vaults::VAULT_DOMAIN;

const SCHEME: &str = "https://";

/// What an identity must be allowed to do with a key, and how access policies call it.
const NEEDED: [(KeyAction, &str); 3] = [
    (KeyAction::Read, "get"),
    (KeyAction::Wrap, "wrapKey"),
    (KeyAction::Unwrap, "unwrapKey"),
];

/// Whose key it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeySource {
    /// The customer's, in the customer's vault.
    #[default]
    Customer,
    /// The service's own, in the provider's vault.
    Service,
}

/// Which key an account uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Whose it is.
    #[serde(default)]
    pub source: KeySource,
    /// `https://<vault>...`, without a slash at the end.
    pub vault_url: String,
    /// The key's name.
    pub key_name: String,
    /// The version, or none to follow the latest.
    pub key_version: Option<String>,
    /// The client id of the user-assigned identity that asks for it; without one, the system-assigned identity does.
    #[serde(default)]
    pub identity: Option<Uuid>,
}

impl Encryption {
    /// A customer's key, asked for by the account's own identity.
    pub fn customer(vault_url: impl Into<String>, key_name: &str, key_version: Option<&str>) -> Self {
        Self {
            source: KeySource::Customer,
            vault_url: vault_url.into(),
            key_name: key_name.to_owned(),
            key_version: key_version.map(str::to_owned),
            identity: None,
        }
    }

    /// The service's own key.
    pub fn service() -> Self {
        Self {
            source: KeySource::Service,
            vault_url: format!("{SCHEME}{PROVIDER_VAULT}.{VAULT_DOMAIN}"),
            key_name: provider::KEY.to_owned(),
            key_version: None,
            identity: None,
        }
    }

    /// The key, as vaults name it.
    pub fn key(&self) -> Result<KeyName, KeyIdError> {
        KeyName::new(&self.vault_url, &self.key_name)
    }

    /// Whether it names a key as a vault could have it.
    pub(crate) fn check(&self) -> Result<(), ControlError> {
        let versioned = self.key().and_then(|key| {
            let version = self.key_version.as_deref();
            version.map(|version| key.with_version(version)).transpose()
        });
        versioned.map(drop).map_err(ControlError::KeyName)
    }
}

/// Something that is wrong with a key that an account is to use. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncryptionFault {
    #[error(
        "keyVaultUri '{0}' is not the URI of a vault that this service may ask, such as https://<name>.vault.localhost/."
    )]
    Uri(String),
    #[error("keyName or keyVersion is not one that a key vault could have: {0}.")]
    KeyName(KeyIdError),
    #[error("The key vault '{0}' does not exist.")]
    NoVault(String),
    #[error("The key vault '{0}' is deleted. Recover it.")]
    VaultDeleted(String),
    #[error("The key vault '{0}' belongs to another tenant than the account.")]
    Tenant(String),
    #[error("The key vault is in the region '{0}' and the account in '{1}'. They must be in the same one.")]
    Region(String, String),
    #[error("The key vault '{0}' must have soft delete and purge protection enabled.")]
    PurgeProtection(String),
    #[error("The key '{0}' does not exist in the key vault, or is deleted.")]
    NoKey(String),
    #[error("The key '{0}' is disabled.")]
    Disabled(String),
    #[error("The key '{0}' is not valid yet.")]
    NotYetValid(String),
    #[error("The key '{0}' has expired.")]
    Expired(String),
    #[error("The key '{0}' is of the type {1}. Only RSA keys are supported.")]
    Kind(String, &'static str),
    #[error("The key '{0}' has {1} bits. Only RSA keys of size 2048 are supported.")]
    Size(String, u32),
    #[error("The key '{0}' does not permit the operation {1}.")]
    Operation(String, &'static str),
    #[error("The account has no system-assigned identity, and identityClientId names none.")]
    NoIdentity,
    #[error("identityClientId '{0}' is not the client id of a user-assigned identity of this account.")]
    ForeignIdentity(Uuid),
    #[error("The identity '{0}' does not have the permission {1} on the key.")]
    Permission(String, &'static str),
    #[error(
        "The firewall of the key vault '{0}' does not let the service through. Allow trusted Microsoft services to bypass it."
    )]
    Firewall(String),
}

impl EncryptionFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Uri(_) => "KeyVaultUriInvalid",
            Self::KeyName(_) => "KeyNameInvalid",
            Self::NoVault(_) => "KeyVaultNotFound",
            Self::VaultDeleted(_) => "KeyVaultDeleted",
            Self::Tenant(_) => "KeyVaultTenantMismatch",
            Self::Region(..) => "KeyVaultRegionMismatch",
            Self::PurgeProtection(_) => "KeyVaultPurgeProtectionRequired",
            Self::NoKey(_) => "KeyNotFound",
            Self::Disabled(_) => "KeyDisabled",
            Self::NotYetValid(_) => "KeyNotYetValid",
            Self::Expired(_) => "KeyExpired",
            Self::Kind(..) => "KeyTypeNotSupported",
            Self::Size(..) => "KeySizeNotSupported",
            Self::Operation(..) => "KeyOperationNotPermitted",
            Self::NoIdentity => "IdentityRequired",
            Self::ForeignIdentity(_) => "IdentityNotAssigned",
            Self::Permission(..) => "KeyVaultPermissionMissing",
            Self::Firewall(_) => "KeyVaultFirewall",
        }
    }

    /// All of them as one refusal.
    pub(crate) fn problem(faults: &[Self]) -> Problem {
        let told: Vec<String> = faults.iter().map(Self::to_string).collect();
        let details = faults
            .iter()
            .map(|fault| ErrorDetail::new(fault.code(), fault.to_string()))
            .collect();
        let message = format!(
            "The encryption settings of the account are not valid; the key in force stays. {}",
            told.join(" ")
        );
        Problem::new(ErrorStatus::BAD_REQUEST, "InvalidEncryption", message).with_details(details)
    }
}

/// What is judged: an account as it would be, and the key that it is to use.
pub(crate) struct Judged<'a> {
    pub(crate) control: &'a Control,
    pub(crate) account: &'a Account,
    pub(crate) wanted: &'a Encryption,
}

impl Judged<'_> {
    /// Everything that is wrong, as far as it can be told without using the key.
    pub(crate) async fn faults(&self) -> Result<Vec<EncryptionFault>, ControlError> {
        let mut faults = Vec::new();
        let identity = self.identity(&mut faults);
        if let Err(ControlError::KeyName(error)) = self.wanted.check() {
            faults.push(EncryptionFault::KeyName(error));
        }
        let Some(vault) = self.vault(&mut faults) else {
            return Ok(faults);
        };
        self.judge_vault(&vault, &mut faults);
        self.judge_access(&vault, identity.as_ref(), &mut faults);
        let version = self.wanted.key_version.as_deref();
        match self
            .control
            .vaults()
            .key(&vault.name, &self.wanted.key_name, version)
            .await
        {
            Ok(key) => self.judge_key(&key, &mut faults),
            Err(VaultFault::KeyNotFound(_) | VaultFault::BadParameter(_)) => {
                faults.push(EncryptionFault::NoKey(self.key_text()));
            }
            Err(fault) => {
                tracing::error!(%fault, "the vault was not asked about a key");
                return Err(ControlError::Interrupted);
            }
        }
        Ok(faults)
    }

    fn key_text(&self) -> String {
        match &self.wanted.key_version {
            Some(version) => format!("{}/{version}", self.wanted.key_name),
            None => self.wanted.key_name.clone(),
        }
    }

    /// Who would ask for the key.
    fn identity(&self, faults: &mut Vec<EncryptionFault>) -> Option<Arc<Principal>> {
        let asks = self.control.asks_for_key(self.account, self.wanted);
        if asks.is_none() {
            match (self.wanted.identity, self.account.identity) {
                (Some(client), _) => faults.push(EncryptionFault::ForeignIdentity(client)),
                (None, None) => faults.push(EncryptionFault::NoIdentity),
                // It is about to be made, and nobody has granted it anything yet.
                (None, Some(_)) => faults.extend(NEEDED.map(|(_, name)| {
                    EncryptionFault::Permission(format!("of the account {}", self.account.name), name)
                })),
            }
        }
        asks
    }

    fn vault(&self, faults: &mut Vec<EncryptionFault>) -> Option<Arc<VaultSettings>> {
        let Some(name) = vault_label(&self.wanted.vault_url) else {
            faults.push(EncryptionFault::Uri(self.wanted.vault_url.clone()));
            return None;
        };
        // The provider's own vault is nobody else's.
        let theirs = !name.eq_ignore_ascii_case(PROVIDER_VAULT);
        if theirs && let Ok(vault) = self.control.vaults().vault(&name) {
            return Some(vault);
        }
        faults.push(if theirs && self.control.vaults().deleted_vault(&name).is_ok() {
            EncryptionFault::VaultDeleted(name)
        } else {
            EncryptionFault::NoVault(name)
        });
        None
    }

    fn judge_vault(&self, vault: &VaultSettings, faults: &mut Vec<EncryptionFault>) {
        let name = || vault.name.clone();
        if !vault.tenant.eq_ignore_ascii_case(&self.control.tenant()) {
            faults.push(EncryptionFault::Tenant(name()));
        }
        let plain = |region: &str| region.to_ascii_lowercase().replace(' ', "");
        let (there, here) = (plain(&vault.location), plain(&self.account.location));
        if there != here {
            faults.push(EncryptionFault::Region(there, here));
        }
        // Soft delete cannot be off in a vault of ours; on Azure neither, any more.
        if !vault.purge_protection {
            faults.push(EncryptionFault::PurgeProtection(name()));
        }
        // The service asks from this machine, as the identity of an account, which a firewall may let through as a trusted service.
        let here = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        if vault.network.admit(here, || true).is_err() {
            faults.push(EncryptionFault::Firewall(name()));
        }
    }

    fn judge_access(
        &self,
        vault: &VaultSettings,
        identity: Option<&Arc<Principal>>,
        faults: &mut Vec<EncryptionFault>,
    ) {
        let Some(identity) = identity else { return };
        let caller = Caller {
            object_id: identity.object_id.to_string(),
            app_id: identity.client_id().map(|id| id.to_string()),
            upn: None,
            tenant: self.control.tenant(),
            issuer: String::new(),
        };
        for (action, name) in NEEDED {
            if !vault.allows(self.control, &caller, &self.wanted.key_name, action) {
                let who = identity.object_id.to_string();
                faults.push(EncryptionFault::Permission(who, name));
            }
        }
    }

    fn judge_key(&self, key: &KeyVersion, faults: &mut Vec<EncryptionFault>) {
        let name = || self.key_text();
        if !key.enabled {
            faults.push(EncryptionFault::Disabled(name()));
        }
        let now = self.control.now();
        if key.not_before.is_some_and(|from| now < from) {
            faults.push(EncryptionFault::NotYetValid(name()));
        }
        if key.expires.is_some_and(|until| now >= until) {
            faults.push(EncryptionFault::Expired(name()));
        }
        match key.spec {
            KeySpec::Rsa2048 => {}
            KeySpec::Rsa3072 => faults.push(EncryptionFault::Size(name(), 3072)),
            KeySpec::Rsa4096 => faults.push(EncryptionFault::Size(name(), 4096)),
            _ => faults.push(EncryptionFault::Kind(name(), "EC")),
        }
        for operation in [KeyOperation::WrapKey, KeyOperation::UnwrapKey] {
            if !key.operations.contains(&operation) {
                faults.push(EncryptionFault::Operation(name(), operation.name()));
            }
        }
    }
}

/// The vault's name in `https://<name>.vault.localhost`, with any port: vaults here answer on ours alone, which may change.
pub(crate) fn vault_label(url: &str) -> Option<String> {
    let authority = url.strip_prefix(SCHEME)?.trim_end_matches('/');
    let host = match authority.split_once(':') {
        Some((host, port)) => {
            port.parse::<u16>().ok()?;
            host
        }
        None => authority,
    };
    let host = host.to_ascii_lowercase();
    let label = host.strip_suffix(VAULT_DOMAIN)?.strip_suffix('.')?;
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!label.is_empty() && label.bytes().all(is_label)).then(|| label.to_owned())
}

/// A vault's URL in the one spelling that is kept; as it was given, where it is no vault of ours.
pub(crate) fn plain_url(url: &str) -> String {
    match vault_label(url) {
        Some(label) => format!("{SCHEME}{label}.{VAULT_DOMAIN}"),
        None => url.trim_end_matches('/').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_directly_below_the_domain_of_vaults_are_vaults() {
        for url in [
            "https://v1.vault.localhost",
            "https://V1.vault.localhost:8443/",
            "https://v1.vault.localhost:443",
        ] {
            assert_eq!(plain_url(url), "https://v1.vault.localhost", "{url}");
        }
        for url in [
            "http://v1.vault.localhost",
            "https://v1.vault.azure.net/",
            "https://vault.localhost",
            "https://a.b.vault.localhost",
            "https://v1.vault.localhost.evil.example",
            "https://v1.vault.localhost:x",
            "https://v1.vault.localhost@evil.example",
            "https://evilvault.localhost",
            "",
        ] {
            assert_eq!(vault_label(url), None, "{url}");
        }
    }
}
