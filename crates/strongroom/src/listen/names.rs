//! From a request's Host, Origin and path to the part of the program that answers it. Pure, so that what is
//! admitted can be read, and tested, in one place.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

const VAULT_SUFFIX: &str = ".vault.localhost";
const ACCOUNT_SUFFIXES: [&str; 2] = [".openai.localhost", ".cognitiveservices.localhost"];
const CONTROL_NAMES: [&str; 4] = [
    "localhost",
    "login.localhost",
    "management.localhost",
    "graph.localhost",
];
const LOOPBACK_ADDRESS: &str = "127.0.0.1";
const ACCOUNT_PREFIX: &str = "/openai-accounts/";
const ADMIN_PREFIX: &str = "/strongroom/";

/// Which of the two doors a request came through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Door {
    /// The TLS listener.
    Https,
    /// The plain one, on loopback.
    Http,
}

/// The ports that the two doors have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) https: u16,
    pub(crate) http: u16,
}

/// Who answers.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// A vault, addressed as `authority`.
    Vault { vault: String, authority: String },
    /// An account's data plane; `path` is relative to the account.
    Account { account: String, path: String },
    /// The default account's data plane on the plain door.
    DefaultAccount,
    /// Token issuer, and whatever else the control plane serves.
    Control,
    /// The administrator's routes.
    Admin,
    /// Managed identity, health, metrics.
    Loopback,
}

/// Why nobody answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Misdirected {
    /// Neither a Host header nor an authority in the request line, or two that disagree.
    #[error("the request needs one Host")]
    NoHost,
    /// The name is not one of ours.
    #[error("this server does not answer for that Host; its names end in localhost, or are 127.0.0.1")]
    ForeignHost,
    /// A page of another site made the browser send this.
    #[error("requests from pages of another origin are refused")]
    ForeignOrigin,
    /// Such an account name cannot exist.
    #[error("no such account")]
    BadAccount,
}

/// Decides who answers.
pub(crate) fn target(
    door: Door,
    ports: Ports,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Target, Misdirected> {
    let authority = authority(uri, headers)?;
    let host = authority.host().to_ascii_lowercase();
    let target = match door {
        Door::Https => https_target(&host, &authority, uri)?,
        Door::Http => http_target(&host, uri)?,
    };
    match headers.get(ORIGIN) {
        None => Ok(target),
        Some(origin) if origin.to_str().is_ok_and(|origin| is_own_origin(origin, ports)) => Ok(target),
        Some(_) => Err(Misdirected::ForeignOrigin),
    }
}

fn https_target(host: &str, authority: &Authority, uri: &Uri) -> Result<Target, Misdirected> {
    if let Some(vault) = label_under(host, VAULT_SUFFIX) {
        let authority = authority.as_str().to_ascii_lowercase();
        return Ok(Target::Vault {
            vault: vault.to_owned(),
            authority,
        });
    }
    for suffix in ACCOUNT_SUFFIXES {
        if let Some(account) = label_under(host, suffix) {
            return Ok(Target::Account {
                account: account.to_owned(),
                path: uri.path().to_owned(),
            });
        }
    }
    if !CONTROL_NAMES.contains(&host) && host != LOOPBACK_ADDRESS {
        return Err(Misdirected::ForeignHost);
    }
    if let Some(rest) = uri.path().strip_prefix(ACCOUNT_PREFIX) {
        let (account, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let account = account.to_ascii_lowercase();
        if !is_label(&account) {
            return Err(Misdirected::BadAccount);
        }
        return Ok(Target::Account {
            account,
            path: path.to_owned(),
        });
    }
    if uri.path().starts_with(ADMIN_PREFIX) {
        return Ok(Target::Admin);
    }
    Ok(Target::Control)
}

fn http_target(host: &str, uri: &Uri) -> Result<Target, Misdirected> {
    if host != LOOPBACK_ADDRESS && host != "localhost" {
        return Err(Misdirected::ForeignHost);
    }
    if uri.path() == "/openai" || uri.path().starts_with("/openai/") {
        return Ok(Target::DefaultAccount);
    }
    Ok(Target::Loopback)
}

/// Whether a CONNECT may be tunnelled to our TLS door: our own names, on its port or the usual one.
pub(crate) fn may_tunnel(uri: &Uri, ports: Ports) -> bool {
    let Some(authority) = uri.authority() else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().to_ascii_lowercase();
    let port = authority.port_u16();
    is_own_name(&host) && (port == Some(443) || port == Some(ports.https))
}

/// The one authority that a request names.
fn authority(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Misdirected> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (None, _) => None,
        (Some(host), None) => {
            Some(Authority::try_from(host.as_bytes()).map_err(|_| Misdirected::ForeignHost)?)
        }
        (Some(_), Some(_)) => return Err(Misdirected::NoHost),
    };
    let authority = match (uri.authority(), header) {
        (Some(line), Some(header)) if *line != header => return Err(Misdirected::NoHost),
        (Some(line), _) => line.clone(),
        (None, Some(header)) => header,
        (None, None) => return Err(Misdirected::NoHost),
    };
    // What follows a colon must be a port: the authority is repeated in absolute links.
    let plain = authority.host().len() == authority.as_str().len() || authority.port_u16().is_some();
    if authority.as_str().contains('@') || !plain {
        return Err(Misdirected::ForeignHost);
    }
    Ok(authority)
}

fn is_own_origin(origin: &str, ports: Ports) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (origin.scheme_str(), origin.authority()) else {
        return false;
    };
    let host = authority.host().to_ascii_lowercase();
    let own_port = match scheme {
        "https" => matches!(authority.port_u16().unwrap_or(443), port if port == 443 || port == ports.https),
        "http" => authority.port_u16().unwrap_or(80) == ports.http,
        _ => false,
    };
    own_port && is_own_name(&host)
}

fn is_own_name(host: &str) -> bool {
    host == LOOPBACK_ADDRESS
        || CONTROL_NAMES.contains(&host)
        || label_under(host, VAULT_SUFFIX).is_some()
        || ACCOUNT_SUFFIXES
            .iter()
            .any(|suffix| label_under(host, suffix).is_some())
}

fn label_under<'a>(host: &'a str, suffix: &str) -> Option<&'a str> {
    host.strip_suffix(suffix).filter(|label| is_label(label))
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests;
