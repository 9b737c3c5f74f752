//! Keys of an issuer elsewhere: rollover, outage, replacement.

use super::publisher::{Published, Publisher};
use super::*;
use crate::limits::{KEYS_FRESH_SECONDS, KEYS_KEPT_SECONDS, KEYS_REFRESH_SECONDS, KEYS_RETRY_SECONDS};

static NEXT: LazyLock<Signer> = LazyLock::new(|| Signer::generate().unwrap());

struct Elsewhere {
    publisher: Arc<Publisher>,
    verifier: Verifier,
}

impl Elsewhere {
    async fn start() -> Self {
        let publisher = Publisher::start(SIGNER.jwks()).await;
        let keys = RemoteKeys::new(publisher.hosts().at(&publisher.url()).unwrap());
        let mut trusted = trusted();
        trusted.keys = Arc::new(keys);
        Self {
            publisher,
            verifier: Verifier::new([trusted]),
        }
    }

    async fn verify(&self, signer: &Signer, now: u64) -> Result<(), TokenError> {
        let mut claims = claims();
        (claims.nbf, claims.exp) = (now, now + 3600);
        let token = signer.sign(&claims).unwrap();
        self.verifier.verify(&token, &[VAULT], now).await.map(drop)
    }
}

fn silent() -> Published {
    Published::Says(http::StatusCode::SERVICE_UNAVAILABLE, String::new())
}

#[tokio::test]
async fn keys_are_fetched_once_and_kept() {
    let elsewhere = Elsewhere::start().await;
    for _ in 0..3 {
        assert_eq!(elsewhere.verify(&SIGNER, NOW).await, Ok(()));
    }
    assert_eq!(elsewhere.publisher.requests(), 1);
}

#[tokio::test]
async fn a_new_key_is_found_when_a_token_names_it_and_the_old_one_counts_while_it_is_published() {
    let elsewhere = Elsewhere::start().await;
    assert_eq!(elsewhere.verify(&SIGNER, NOW).await, Ok(()));
    let both = [SIGNER.public(), NEXT.public()];
    elsewhere
        .publisher
        .publish(Published::Keys(Jwks { keys: both.to_vec() }));
    let later = NOW + KEYS_REFRESH_SECONDS;
    assert_eq!(elsewhere.verify(&NEXT, later).await, Ok(()));
    assert_eq!(elsewhere.verify(&SIGNER, later).await, Ok(()));
    assert_eq!(elsewhere.publisher.requests(), 2);
}

#[tokio::test]
async fn a_replaced_set_ends_the_keys_that_are_no_longer_in_it() {
    let elsewhere = Elsewhere::start().await;
    assert_eq!(elsewhere.verify(&SIGNER, NOW).await, Ok(()));
    elsewhere.publisher.publish(Published::Keys(NEXT.jwks()));
    let later = NOW + KEYS_REFRESH_SECONDS;
    assert_eq!(elsewhere.verify(&NEXT, later).await, Ok(()));
    assert_eq!(
        elsewhere.verify(&SIGNER, later).await,
        Err(TokenError::UnknownKey)
    );
}

#[tokio::test]
async fn unknown_keys_cause_no_more_than_one_fetch_in_a_while_even_all_at_once() {
    let elsewhere = Elsewhere::start().await;
    assert_eq!(elsewhere.verify(&SIGNER, NOW).await, Ok(()));
    let later = NOW + KEYS_REFRESH_SECONDS;
    let asked = (0..32).map(|_| elsewhere.verify(&NEXT, later));
    for outcome in futures::future::join_all(asked).await {
        assert_eq!(outcome, Err(TokenError::UnknownKey));
    }
    assert_eq!(
        elsewhere.verify(&NEXT, later + KEYS_REFRESH_SECONDS - 1).await,
        Err(TokenError::UnknownKey)
    );
    assert_eq!(elsewhere.publisher.requests(), 2);
}

#[tokio::test]
async fn the_last_good_keys_count_through_an_outage_and_not_for_ever() {
    let elsewhere = Elsewhere::start().await;
    assert_eq!(elsewhere.verify(&SIGNER, NOW).await, Ok(()));
    elsewhere.publisher.publish(silent());
    assert_eq!(elsewhere.verify(&SIGNER, NOW + KEYS_KEPT_SECONDS).await, Ok(()));
    let over = NOW + KEYS_KEPT_SECONDS + KEYS_RETRY_SECONDS;
    assert_eq!(elsewhere.verify(&SIGNER, over).await, Err(TokenError::UnknownKey));
    elsewhere.publisher.publish(Published::Keys(SIGNER.jwks()));
    assert_eq!(elsewhere.verify(&SIGNER, over + KEYS_RETRY_SECONDS).await, Ok(()));
}

#[tokio::test]
async fn old_keys_are_fetched_anew_without_a_token_that_waits() {
    let elsewhere = Elsewhere::start().await;
    assert_eq!(elsewhere.verify(&SIGNER, NOW).await, Ok(()));
    elsewhere.publisher.publish(Published::Keys(NEXT.jwks()));
    let later = NOW + KEYS_FRESH_SECONDS;
    assert_eq!(elsewhere.verify(&SIGNER, later).await, Ok(()));
    // The fetch is under way; a token that names the new key waits for it.
    assert_eq!(elsewhere.verify(&NEXT, later).await, Ok(()));
    assert_eq!(
        elsewhere.verify(&SIGNER, later).await,
        Err(TokenError::UnknownKey)
    );
    assert_eq!(elsewhere.publisher.requests(), 2);
}

#[tokio::test]
async fn answers_that_are_no_keys_bring_none() {
    let padding = " ".repeat(300 * 1024);
    let keys = serde_json::to_string(&SIGNER.jwks()).unwrap();
    let ok = |body: String| Published::Says(http::StatusCode::OK, body);
    for published in [
        silent(),
        ok("<html>".to_owned()),
        ok(format!("{padding}{keys}")),
        ok(keys.replacen("\"keys\"", "\"keys\":[],\"keys\"", 1)),
        Published::Says(http::StatusCode::CREATED, keys.clone()),
        Published::Elsewhere(SIGNER.jwks()),
    ] {
        let elsewhere = Elsewhere::start().await;
        elsewhere.publisher.publish(published);
        assert_eq!(elsewhere.verify(&SIGNER, NOW).await, Err(TokenError::UnknownKey));
        assert_eq!(elsewhere.publisher.requests(), 1);
    }
}

#[tokio::test]
async fn an_issuers_document_leads_to_its_keys_and_nowhere_else() {
    let publisher = Publisher::start(SIGNER.jwks()).await;
    let issuer = format!("https://localhost:{}/cluster", publisher.address.port());
    let fetch = async |told_issuer: &str, keys_at: &str| {
        let document = serde_json::json!({ "issuer": told_issuer, "jwks_uri": keys_at }).to_string();
        publisher.publish(Published::Document(document, SIGNER.jwks()));
        let url = format!("{issuer}/.well-known/openid-configuration");
        publisher.hosts().at(&url).unwrap().fetch().await
    };
    assert_eq!(fetch(&issuer, &publisher.url()).await, Some(SIGNER.jwks()));
    assert_eq!(
        fetch(&format!("{issuer}/"), &publisher.url()).await,
        Some(SIGNER.jwks())
    );
    assert_eq!(fetch("https://other.example", &publisher.url()).await, None);
    assert_eq!(
        fetch(&issuer, "https://other.example/keys").await,
        None,
        "not on the list"
    );
    assert_eq!(fetch(&issuer, "http://localhost/keys").await, None);
}

#[tokio::test]
async fn a_host_that_is_not_trusted_by_tls_brings_no_keys() {
    let publisher = Publisher::start(SIGNER.jwks()).await;
    let stranger = Publisher::start(SIGNER.jwks()).await;
    let host = format!("localhost:{}", publisher.address.port());
    let hosts = KeyHosts::new([host], Some(stranger.authority.as_bytes())).unwrap();
    let fetched = hosts.at(&publisher.url()).unwrap().fetch().await;
    assert_eq!(fetched, None);
    assert_eq!(publisher.requests(), 0);
}

#[test]
fn only_plain_https_urls_of_listed_hosts_are_taken() {
    let hosts = KeyHosts::new(["Login.Example", "other.example:8443"], None).unwrap();
    for good in [
        "https://login.example/keys",
        "https://LOGIN.example:443/a/b",
        "https://other.example:8443/",
    ] {
        assert!(hosts.at(good).is_ok(), "{good}");
    }
    for bad in [
        "http://login.example/keys",
        "https://login.example:8443/keys",
        "https://other.example/keys",
        "https://login.example.evil/keys",
        "https://user@login.example/keys",
        "https://login.example/keys?x=1",
        "https://login.example/keys#x",
        "https://127.0.0.1/keys",
        "file:///etc/passwd",
        "",
    ] {
        assert!(hosts.at(bad).is_err(), "{bad}");
    }
}
