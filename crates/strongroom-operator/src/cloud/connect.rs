//! How connections are made.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::limits;

/// How the cloud is reached. By default with the system's trust and names, through the proxy that the environment names.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// PEM certificates that alone are trusted; without any, the system's, or those in `SSL_CERT_FILE`.
    pub trusted_roots: Option<Vec<u8>>,
    /// Where `localhost` and all names below it are found, without a name server or a proxy. The port counts for URLs that
    /// have none.
    pub localhost: Option<SocketAddr>,
}

impl Connections {
    pub(crate) fn client(&self) -> Result<reqwest::Client, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            // A redirect could lead a token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(limits::CONNECT)
            .pool_max_idle_per_host(limits::CALLS_IN_FLIGHT);
        if let Some(roots) = &self.trusted_roots {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(roots)?);
        }
        if let Some(here) = self.localhost {
            builder = builder.no_proxy().dns_resolver(Arc::new(Localhost(here)));
        }
        builder.build()
    }
}

/// Names below `localhost` are loopback by definition (RFC 6761); all others go the system's way.
struct Localhost(SocketAddr);

impl Resolve for Localhost {
    fn resolve(&self, name: Name) -> Resolving {
        let here = self.0;
        Box::pin(async move {
            let name = name.as_str();
            if name == "localhost" || name.ends_with(".localhost") {
                return Ok(Box::new(std::iter::once(here)) as Addrs);
            }
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
