//! Clouds: where their parts are, which token each part takes, and how they are reached.

mod assertion;
mod connect;
mod credential;
mod known;
mod login;
mod metadata;

use url::Url;

pub use self::assertion::CertificateError;
pub use self::connect::Connections;
pub use self::credential::{Claims, Credential, CredentialError, CredentialKind, Variables};
pub use self::metadata::{DescribeError, MetadataError};

use crate::fact::Source;

/// One cloud. A token goes to its parts alone, and to each part only the token that is made for it.
#[derive(Clone, Debug)]
pub struct Cloud {
    name: String,
    login: Url,
    manager: Part,
    directory: Option<Part>,
    logs: Option<Part>,
    vaults: Vec<Zone>,
}

/// A part at one origin.
#[derive(Clone, Debug)]
struct Part {
    base: Url,
    audience: String,
}

/// A domain under which each name is a vault.
#[derive(Clone, Debug)]
struct Zone {
    /// Begins with a dot, in small letters.
    domain: String,
    port: u16,
    audience: String,
}

const HTTPS: u16 = 443;

impl Cloud {
    /// Its name: `public`, `us-government`, `china`, or what it calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where tokens come from.
    #[must_use]
    pub fn login(&self) -> &Url {
        &self.login
    }

    /// A URL of Resource Manager; `path` begins with a slash and holds no query.
    #[must_use]
    pub fn manager(&self, path: &str) -> Url {
        below(&self.manager.base, path)
    }

    /// A URL of Microsoft Graph, where the cloud has it.
    #[must_use]
    pub fn directory(&self, path: &str) -> Option<Url> {
        self.directory.as_ref().map(|part| below(&part.base, path))
    }

    /// A URL of the service that answers queries of Log Analytics, where the cloud has it.
    #[must_use]
    pub fn logs(&self, path: &str) -> Option<Url> {
        self.logs.as_ref().map(|part| below(&part.base, path))
    }

    /// What a token for Resource Manager is made for.
    #[must_use]
    pub fn manager_audience(&self) -> &str {
        &self.manager.audience
    }

    /// The audience of the token that a part of the cloud takes, if the URL leads there. None if it leads anywhere else:
    /// nothing is sent there.
    #[must_use]
    pub fn admits(&self, source: Source, url: &Url) -> Option<&str> {
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let part = match source {
            Source::ResourceManager | Source::ResourceGraph => Some(&self.manager),
            Source::Directory => self.directory.as_ref(),
            Source::AuditLog => self.logs.as_ref(),
            Source::KeyVault => return self.admits_vault(url),
            Source::Service | Source::Verify | Source::Design => None,
        };
        let part = part.filter(|part| part.base.origin() == url.origin())?;
        Some(&part.audience)
    }

    fn admits_vault(&self, url: &Url) -> Option<&str> {
        let host = url.host_str()?.to_ascii_lowercase();
        let port = url.port_or_known_default()?;
        let zone = self.vaults.iter().find(|zone| zone.has(&host, port))?;
        Some(&zone.audience)
    }
}

impl Zone {
    fn has(&self, host: &str, port: u16) -> bool {
        let label = host.strip_suffix(&self.domain).unwrap_or_default();
        // One label: a vault's name has no dots.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_name) && self.port == port
    }
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(path);
    url.set_query(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(cloud: &Cloud, source: Source, url: &str) -> Option<String> {
        let url = Url::parse(url).unwrap();
        cloud.admits(source, &url).map(str::to_owned)
    }

    #[test]
    fn each_part_of_a_cloud_gets_the_token_that_is_made_for_it() {
        for (name, url, source, audience) in [
            (
                "public",
                "https://management.azure.com/subscriptions",
                Source::ResourceManager,
                "https://management.azure.com",
            ),
            (
                "public",
                "https://KV.vault.azure.net:443/keys/k",
                Source::KeyVault,
                "https://vault.azure.net",
            ),
            (
                "public",
                "https://pool.managedhsm.azure.net/keys/k",
                Source::KeyVault,
                "https://managedhsm.azure.net",
            ),
            (
                "us-government",
                "https://kv.vault.usgovcloudapi.net/",
                Source::KeyVault,
                "https://vault.usgovcloudapi.net",
            ),
            (
                "china",
                "https://microsoftgraph.chinacloudapi.cn/v1.0/groups",
                Source::Directory,
                "https://microsoftgraph.chinacloudapi.cn",
            ),
        ] {
            let cloud = Cloud::named(name).unwrap();
            let got = admitted(&cloud, source, url);
            assert_eq!(got.as_deref(), Some(audience), "{url}");
        }
    }

    #[test]
    fn nothing_is_admitted_that_is_not_the_clouds() {
        let cloud = Cloud::named("public").unwrap();
        for url in [
            "http://management.azure.com/",
            "https://management.azure.com:8443/",
            "https://management.azure.com.evil.example/",
            "https://evil.example/?https://management.azure.com/",
            "https://me@management.azure.com/",
            "https://vault.azure.net/",
            "https://a.b.vault.azure.net/",
            "https://kvvault.azure.net/",
            "https://kv.vault.azure.net:8443/",
            "https://kv.vault.azure.cn/",
            "https://management.usgovcloudapi.net/",
            "https://127.0.0.1/",
        ] {
            for source in [
                Source::ResourceManager,
                Source::ResourceGraph,
                Source::KeyVault,
                Source::Directory,
                Source::AuditLog,
            ] {
                assert_eq!(admitted(&cloud, source, url), None, "{url}");
            }
        }
        let vault = "https://kv.vault.azure.net/keys/k";
        assert_eq!(admitted(&cloud, Source::ResourceManager, vault), None);
    }
}
