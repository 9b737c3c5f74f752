//! Which hosts may be spoken to at all.

use strongroom_seal::KeyName;

/// The domains under which vaults are trusted. Checked before any connection is made or token asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultHosts {
    suffixes: Vec<Suffix>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Suffix {
    /// Begins with a dot, in lower case.
    domain: String,
    port: u16,
}

/// The text is not a vault domain such as `vault.azure.net` or `vault.localhost:8443`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a domain with an optional port, such as vault.azure.net or vault.localhost:8443")]
pub struct VaultHostsError(String);

const HTTPS_PORT: u16 = 443;

impl VaultHosts {
    /// Trusts the vaults directly or further below each domain, at its port (443 if none is given).
    pub fn below<'a>(domains: impl IntoIterator<Item = &'a str>) -> Result<Self, VaultHostsError> {
        let suffixes = domains.into_iter().map(Suffix::parse).collect::<Result<_, _>>()?;
        Ok(Self { suffixes })
    }

    /// Whether the vault of this key is trusted.
    pub(crate) fn admit(&self, key: &KeyName) -> bool {
        // `KeyName` has parsed its vault: https, a lower-case host, a port unless 443, nothing else.
        let authority = key.vault().strip_prefix("https://").unwrap_or_default();
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().unwrap_or(0)),
            None => (authority, HTTPS_PORT),
        };
        self.suffixes.iter().any(|suffix| {
            port == suffix.port
                && host
                    .strip_suffix(&suffix.domain)
                    .is_some_and(|label| !label.is_empty())
        })
    }
}

impl Suffix {
    fn parse(text: &str) -> Result<Self, VaultHostsError> {
        let wrong = || VaultHostsError(text.to_owned());
        let (domain, port) = match text.split_once(':') {
            Some((domain, port)) => (domain, port.parse().map_err(|_| wrong())?),
            None => (text, HTTPS_PORT),
        };
        let domain = domain.trim_start_matches('.').to_ascii_lowercase();
        let is_label =
            |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        // One label alone would trust a whole top-level domain.
        if domain.contains('.') && domain.split('.').all(is_label) {
            Ok(Self {
                domain: format!(".{domain}"),
                port,
            })
        } else {
            Err(wrong())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(hosts: &VaultHosts, vault: &str) -> bool {
        hosts.admit(&KeyName::new(vault, "k").unwrap())
    }

    #[test]
    fn only_hosts_below_a_configured_domain_at_its_port_are_admitted() {
        let hosts = VaultHosts::below(["vault.azure.net", ".Vault.Localhost:8443"]).unwrap();
        for good in [
            "https://kv.vault.azure.net",
            "https://KV.vault.azure.net:443",
            "https://kv.vault.localhost:8443",
        ] {
            assert!(admits(&hosts, good), "{good}");
        }
        for bad in [
            "https://vault.azure.net",
            "https://kvvault.azure.net",
            "https://kv.vault.azure.net.evil.example",
            "https://evil.example",
            "https://kv.vault.azure.net:8443",
            "https://kv.vault.localhost",
            "https://kv.vault.localhost:8444",
            "https://127.0.0.1:8443",
        ] {
            assert!(!admits(&hosts, bad), "{bad}");
        }
    }

    #[test]
    fn nonsense_and_whole_top_level_domains_are_refused() {
        for bad in [
            "",
            ".",
            "net",
            ".net",
            "a..b",
            "vault.azure.net:0x1",
            "a.b:99999",
            "*.azure.net",
            "a.b/c",
        ] {
            assert!(VaultHosts::below([bad]).is_err(), "{bad}");
        }
    }
}
