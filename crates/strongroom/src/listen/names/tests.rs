use http::HeaderValue;

use super::*;

const PORTS: Ports = Ports {
    https: 8443,
    http: 8080,
};

fn ask(door: Door, host: &str, path: &str, origin: Option<&str>) -> Result<Target, Misdirected> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_str(host).unwrap());
    if let Some(origin) = origin {
        headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
    }
    target(door, PORTS, &path.parse().unwrap(), &headers)
}

#[test]
fn a_vault_is_addressed_by_its_host_with_or_without_a_port() {
    for host in [
        "kv1.vault.localhost:8443",
        "kv1.vault.localhost",
        "KV1.Vault.localhost:8443",
    ] {
        let answer = ask(Door::Https, host, "/keys/k", None).unwrap();
        assert_eq!(
            answer,
            Target::Vault {
                vault: "kv1".into(),
                authority: host.to_ascii_lowercase()
            }
        );
    }
}

#[test]
fn an_account_is_addressed_by_host_or_by_path() {
    let by_host = ask(
        Door::Https,
        "acct.openai.localhost:8443",
        "/openai/v1/models",
        None,
    )
    .unwrap();
    let by_path = ask(
        Door::Https,
        "localhost:8443",
        "/openai-accounts/acct/openai/v1/models",
        None,
    )
    .unwrap();
    assert_eq!(by_host, by_path);
    assert_eq!(
        by_path,
        Target::Account {
            account: "acct".into(),
            path: "/openai/v1/models".into()
        }
    );
}

#[test]
fn the_plain_door_serves_the_default_account_and_loopback_routes_only() {
    assert_eq!(
        ask(Door::Http, "127.0.0.1:8080", "/openai/v1/models", None),
        Ok(Target::DefaultAccount)
    );
    assert_eq!(
        ask(Door::Http, "127.0.0.1:8080", "/msi/token", None),
        Ok(Target::Loopback)
    );
    assert_eq!(
        ask(Door::Http, "kv1.vault.localhost", "/keys", None),
        Err(Misdirected::ForeignHost)
    );
}

#[test]
fn foreign_hosts_are_refused_on_both_doors() {
    for host in [
        "example.com",
        "localhost.example.com",
        "evil.localhost",
        "a.b.vault.localhost",
        "vault.localhost",
    ] {
        assert_eq!(
            ask(Door::Https, host, "/", None),
            Err(Misdirected::ForeignHost),
            "{host}"
        );
        assert_eq!(
            ask(Door::Http, host, "/", None),
            Err(Misdirected::ForeignHost),
            "{host}"
        );
    }
    for host in ["localhost:", "localhost:x", "user@localhost", "localhost:8443:1"] {
        assert_eq!(
            ask(Door::Https, host, "/", None),
            Err(Misdirected::ForeignHost),
            "{host}"
        );
    }
}

#[test]
fn two_hosts_or_none_are_refused() {
    let mut headers = HeaderMap::new();
    let path = "/".parse().unwrap();
    assert_eq!(
        target(Door::Https, PORTS, &path, &headers),
        Err(Misdirected::NoHost)
    );
    headers.append(HOST, HeaderValue::from_static("localhost"));
    headers.append(HOST, HeaderValue::from_static("example.com"));
    assert_eq!(
        target(Door::Https, PORTS, &path, &headers),
        Err(Misdirected::NoHost)
    );
    let absolute = "http://localhost/".parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.append(HOST, HeaderValue::from_static("127.0.0.1"));
    assert_eq!(
        target(Door::Http, PORTS, &absolute, &headers),
        Err(Misdirected::NoHost)
    );
}

#[test]
fn only_pages_of_our_own_origins_may_call() {
    for own in [
        "https://localhost:8443",
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "https://acct.openai.localhost",
    ] {
        assert!(
            ask(Door::Https, "localhost:8443", "/", Some(own)).is_ok(),
            "{own}"
        );
    }
    for foreign in [
        "null",
        "https://example.com",
        "http://localhost:3000",
        "https://localhost:8080",
        "file://localhost",
        "x",
    ] {
        let answer = ask(Door::Https, "localhost:8443", "/", Some(foreign));
        assert_eq!(answer, Err(Misdirected::ForeignOrigin), "{foreign}");
    }
}

#[test]
fn account_names_in_paths_cannot_hide_anything() {
    for path in [
        "/openai-accounts//openai",
        "/openai-accounts/a%2fb/openai",
        "/openai-accounts/..",
        "/openai-accounts/a.b/x",
    ] {
        assert_eq!(
            ask(Door::Https, "localhost", path, None),
            Err(Misdirected::BadAccount),
            "{path}"
        );
    }
}

#[test]
fn tunnels_lead_to_our_own_names_on_our_own_port() {
    for own in [
        "kv1.vault.localhost:443",
        "kv1.vault.localhost:8443",
        "localhost:8443",
        "a.openai.localhost:443",
    ] {
        assert!(may_tunnel(&own.parse().unwrap(), PORTS), "{own}");
    }
    for foreign in [
        "example.com:443",
        "localhost:22",
        "localhost:8080",
        "evil.localhost:443",
        "x@localhost:443",
        "10.0.0.1:443",
    ] {
        assert!(!may_tunnel(&foreign.parse().unwrap(), PORTS), "{foreign}");
    }
}
