//! What tokens are issued for. An audience that nobody here knows gets none: a token is of use to whoever receives it.

use strongroom_azure::token::{KnownResource, same_audience};

use crate::vaults::VAULT_DOMAIN;

/// Hosts of this instance that clients ask tokens for, beside Azure's own names.
const LOCAL: [&str; 4] = [
    "localhost",
    "management.localhost",
    "graph.localhost",
    VAULT_DOMAIN,
];

/// The audiences that are known.
pub(super) struct Resources {
    local: Vec<String>,
}

impl Resources {
    /// Those of the instance whose authority is `https://host[:port]`: with its port, and without, as clients that go through
    /// the proxy write them.
    pub(super) fn of(authority: &str) -> Self {
        Self {
            local: local_audiences(authority, &LOCAL),
        }
    }

    pub(super) fn know(&self, audience: &str) -> bool {
        KnownResource::by_audience(audience).is_some()
            || self.local.iter().any(|local| same_audience(local, audience))
    }
}

/// The audiences that name these hosts of the instance whose authority is `https://host[:port]`.
pub(crate) fn local_audiences(authority: &str, hosts: &[&str]) -> Vec<String> {
    let host = authority.trim_start_matches("https://");
    let port = host.split_once(':').map(|(_, port)| format!(":{port}"));
    let ports = port.into_iter().chain([String::new()]);
    ports
        .flat_map(|port| hosts.iter().map(move |host| format!("https://{host}{port}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azures_names_and_our_own_are_known_and_no_others() {
        let resources = Resources::of("https://localhost:8443");
        for known in [
            "https://management.core.windows.net/",
            "https://management.azure.com",
            "https://vault.azure.net",
            "https://graph.microsoft.com/",
            "https://cognitiveservices.azure.com",
            "https://ai.azure.com/",
            "https://vault.localhost:8443",
            "https://vault.localhost",
            "https://localhost:8443/",
            "https://VAULT.azure.net",
        ] {
            assert!(resources.know(known), "{known}");
        }
        for unknown in [
            "",
            "/",
            "https://vault.azure.net//",
            "https://vault.azure.net/x",
            "http://vault.azure.net",
            "https://vault.localhost:8444",
            "https://kv1.vault.localhost:8443",
            "https://storage.azure.com",
            "api://something",
        ] {
            assert!(!resources.know(unknown), "{unknown}");
        }
    }
}
