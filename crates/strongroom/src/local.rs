//! Clients of our own listener: names under `localhost` lead to loopback, nothing else resolves, and only
//! the local authority is trusted.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A client for `https://<anything>.localhost`, through our own TLS listener. A URL without a port goes to
/// that listener's port, as it would through the proxy.
pub(crate) fn client_builder(
    authority_pem: &str,
    https_port: u16,
) -> Result<reqwest::ClientBuilder, reqwest::Error> {
    let authority = reqwest::Certificate::from_pem(authority_pem.as_bytes())?;
    Ok(reqwest::Client::builder()
        .tls_certs_only([authority])
        .dns_resolver(Arc::new(Loopback { port: https_port }))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy())
}

/// Resolves `localhost` and names under it to 127.0.0.1, and refuses every other name.
#[derive(Debug)]
struct Loopback {
    port: u16,
}

impl Resolve for Loopback {
    fn resolve(&self, name: Name) -> Resolving {
        let own = name.as_str() == "localhost" || name.as_str().ends_with(".localhost");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        Box::pin(std::future::ready(if own {
            Ok(Box::new(std::iter::once(address)) as Addrs)
        } else {
            Err("only names under localhost are reached from here".into())
        }))
    }
}
