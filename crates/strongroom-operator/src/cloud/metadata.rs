//! Clouds that say of themselves where their parts are: Azure Stack, other sovereign clouds, Strongroom.

use serde::Deserialize;
use url::Url;

use super::{Cloud, Connections, HTTPS, Part, Zone};

const API_VERSION: &str = "2022-09-01";

/// The document at `/metadata/endpoints`, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    resource_manager: Option<String>,
    authentication: Authentication,
    microsoft_graph_resource_id: Option<String>,
    log_analytics_resource_id: Option<String>,
    #[serde(default)]
    suffixes: Suffixes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authentication {
    login_endpoint: String,
    audiences: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Suffixes {
    key_vault_dns: Option<String>,
    mhsm_dns: Option<String>,
}

/// Why a document does not describe a cloud.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// It is not the document that `az cloud register` reads.
    #[error("it is not what `/metadata/endpoints` of a cloud says: {0}")]
    Shape(#[from] serde_json::Error),
    /// It describes several clouds and none of them was chosen.
    #[error("it describes {0} clouds; give the one that is meant, as one object")]
    Several(usize),
    /// A part's address cannot be used.
    #[error("{what} is not an https address: {value}")]
    Address {
        /// Which.
        what: &'static str,
        /// What stands there.
        value: String,
    },
}

/// Why a cloud could not be found out about.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// Its Resource Manager did not say what belongs to it.
    #[error("{url} did not say what belongs to its cloud: {cause}")]
    Silent {
        /// The address asked.
        url: Url,
        /// What came instead.
        cause: String,
    },
    /// What it said cannot be used.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The trusted certificates are not PEM, or the TLS library did not start.
    #[error("connections cannot be made: {0}")]
    Connections(String),
}

/// Where a Resource Manager says what belongs to its cloud. The question needs no token.
fn metadata_url(manager: &str) -> Result<Url, MetadataError> {
    let mut url = address("the address of Resource Manager", manager)?;
    url.set_path("/metadata/endpoints");
    url.set_query(Some(&format!("api-version={API_VERSION}")));
    Ok(url)
}

impl Cloud {
    /// Asks a Resource Manager what belongs to its cloud. The question goes without a token.
    pub async fn described_by(manager: &str, connections: &Connections) -> Result<Self, DescribeError> {
        let url = metadata_url(manager)?;
        let client = connections
            .client()
            .map_err(|error| DescribeError::Connections(error.to_string()))?;
        let document = crate::ask::bare(client.get(url.clone())).await;
        let document = document.map_err(|cause| DescribeError::Silent { url, cause })?;
        Ok(Self::from_metadata(&document, Some(manager))?)
    }

    /// The cloud that a document describes: one object as `/metadata/endpoints` gives it, or a list of one. `manager`, where
    /// given, is where the document came from and stays Resource Manager's address.
    pub fn from_metadata(document: &[u8], manager: Option<&str>) -> Result<Self, MetadataError> {
        let document: serde_json::Value = serde_json::from_slice(document)?;
        let document = match document {
            serde_json::Value::Array(mut all) if all.len() == 1 => all.pop().unwrap_or_default(),
            serde_json::Value::Array(all) => return Err(MetadataError::Several(all.len())),
            one => one,
        };
        let told: Metadata = serde_json::from_value(document)?;
        let manager = manager.or(told.resource_manager.as_deref()).unwrap_or_default();
        let audience = told.authentication.audiences.first();
        let part = |what, base: &str, audience: Option<&String>| {
            Ok::<_, MetadataError>(Part {
                base: address(what, base)?,
                audience: audience
                    .map_or(base, String::as_str)
                    .trim_end_matches('/')
                    .to_owned(),
            })
        };
        let optional = |what, base: Option<&String>| {
            base.filter(|base| !base.is_empty())
                .map(|base| part(what, base, None))
                .transpose()
        };
        let suffixes = [told.suffixes.key_vault_dns, told.suffixes.mhsm_dns];
        Ok(Self {
            login: address(
                "authentication.loginEndpoint",
                &told.authentication.login_endpoint,
            )?,
            manager: part("resourceManager", manager, audience)?,
            directory: optional(
                "microsoftGraphResourceId",
                told.microsoft_graph_resource_id.as_ref(),
            )?,
            logs: optional("logAnalyticsResourceId", told.log_analytics_resource_id.as_ref())?,
            vaults: suffixes
                .into_iter()
                .flatten()
                .flat_map(|text| zones(&text))
                .collect(),
            name: told.name,
        })
    }
}

fn address(what: &'static str, value: &str) -> Result<Url, MetadataError> {
    let wrong = || MetadataError::Address {
        what,
        value: value.to_owned(),
    };
    let url = Url::parse(value).map_err(|_| wrong())?;
    if url.scheme() == "https" && url.has_host() && url.username().is_empty() {
        Ok(url)
    } else {
        Err(wrong())
    }
}

/// `vault.example` or `.vault.localhost:8443`. A single label would trust a whole top-level domain.
fn zones(text: &str) -> Vec<Zone> {
    let (domain, port) = match text.split_once(':') {
        Some((domain, port)) => (domain, port.parse().ok()),
        None => (text, Some(HTTPS)),
    };
    let domain = domain.trim_start_matches('.').to_ascii_lowercase();
    let Some(port) = port.filter(|_| domain.contains('.')) else {
        return Vec::new();
    };
    let mut zones = vec![zone(&domain, port)];
    // Strongroom's vaults are known by name: a URL without a port leads to the same listener, through its proxy.
    if domain.ends_with(".localhost") && port != HTTPS {
        zones.push(zone(&domain, HTTPS));
    }
    zones
}

fn zone(domain: &str, port: u16) -> Zone {
    let shown = match port {
        HTTPS => String::new(),
        other => format!(":{other}"),
    };
    Zone {
        domain: format!(".{domain}"),
        port,
        audience: format!("https://{domain}{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Source;

    const LOCAL: &str = r#"{"name":"Strongroom","resourceManager":"https://localhost:8443",
        "authentication":{"loginEndpoint":"https://localhost:8443","audiences":["https://management.core.windows.net/"]},
        "microsoftGraphResourceId":"https://graph.localhost:8443/",
        "suffixes":{"keyVaultDns":"vault.localhost:8443","mhsmDns":"net"}}"#;

    #[test]
    fn a_cloud_that_describes_itself_is_taken_at_its_word() {
        let cloud = Cloud::from_metadata(LOCAL.as_bytes(), Some("https://localhost:8443")).unwrap();
        assert_eq!(cloud.manager_audience(), "https://management.core.windows.net");
        for (url, audience) in [
            (
                "https://kv.vault.localhost:8443/keys/k",
                "https://vault.localhost:8443",
            ),
            ("https://kv.vault.localhost/keys/k", "https://vault.localhost"),
        ] {
            let admitted = cloud.admits(Source::KeyVault, &Url::parse(url).unwrap());
            assert_eq!(admitted, Some(audience));
        }
        let elsewhere = Url::parse("https://example.net/").unwrap();
        assert!(cloud.admits(Source::KeyVault, &elsewhere).is_none());
    }

    #[test]
    fn what_is_no_https_address_is_named() {
        for (from, to, what) in [
            (
                "https://localhost:8443\",\"aud",
                "http://localhost\",\"aud",
                "loginEndpoint",
            ),
            ("https://graph", "ftp://graph", "microsoftGraphResourceId"),
        ] {
            let wrong = LOCAL.replace(from, to);
            let error = Cloud::from_metadata(wrong.as_bytes(), None).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
        assert!(Cloud::from_metadata(b"[]", None).is_err());
        assert!(Cloud::from_metadata(b"{}", None).is_err());
        assert!(metadata_url("localhost:8443").is_err());
    }
}
