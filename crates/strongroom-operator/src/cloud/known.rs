//! The clouds that are known by name. Hosts as `az cloud list` gives them (azure-cli 2.91, November 2026).

use url::Url;

use super::{Cloud, HTTPS, Part, Zone};

/// name, login, Resource Manager, Microsoft Graph, Log Analytics, domains of vaults and of managed HSMs.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    [&'static str; 2],
);

const KNOWN: [Row; 3] = [
    (
        "public",
        "https://login.microsoftonline.com",
        "https://management.azure.com",
        "https://graph.microsoft.com",
        "https://api.loganalytics.io",
        ["vault.azure.net", "managedhsm.azure.net"],
    ),
    (
        "us-government",
        "https://login.microsoftonline.us",
        "https://management.usgovcloudapi.net",
        "https://graph.microsoft.us",
        "https://api.loganalytics.us",
        ["vault.usgovcloudapi.net", "managedhsm.usgovcloudapi.net"],
    ),
    (
        "china",
        "https://login.partner.microsoftonline.cn",
        "https://management.chinacloudapi.cn",
        "https://microsoftgraph.chinacloudapi.cn",
        "https://api.loganalytics.azure.cn",
        ["vault.azure.cn", "managedhsm.azure.cn"],
    ),
];

impl Cloud {
    /// The names that [`Cloud::named`] knows.
    pub const NAMES: [&'static str; 3] = ["public", "us-government", "china"];

    /// A cloud that is known by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (name, login, manager, directory, logs, domains) =
            KNOWN.into_iter().find(|(known, ..)| *known == name)?;
        let part = |base: &str| {
            Some(Part {
                base: Url::parse(base).ok()?,
                audience: base.to_owned(),
            })
        };
        let zone = |domain: &str| Zone {
            domain: format!(".{domain}"),
            port: HTTPS,
            audience: format!("https://{domain}"),
        };
        Some(Self {
            name: name.to_owned(),
            login: Url::parse(login).ok()?,
            manager: part(manager)?,
            directory: part(directory),
            logs: part(logs),
            vaults: domains.into_iter().map(zone).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_and_no_other() {
        for name in Cloud::NAMES {
            assert_eq!(Cloud::named(name).unwrap().name(), name);
        }
        assert!(Cloud::named("Public").is_none());
    }
}
