//! The client against a vault over TLS, which behaves and misbehaves.

mod toy;

use proptest::prelude::*;
use serde_json::json;

use self::toy::{Manner, SECRET, Toy};
use super::*;
use crate::conformance::{InProcess, key_wrap_conforms};
use crate::engine::kinds::KeySpec;
use crate::engine::settings::NewKey;
use crate::testing::{DAY, House, VAULT};

/// A toy vault with a key, a client, and something that the key has wrapped.
struct Stage {
    toy: Arc<Toy>,
    client: KeyVaultClient,
    key: KeyId,
    wrapped: WrappedSeed,
}

async fn stage() -> Stage {
    let toy = Toy::start().await;
    let made = toy
        .house
        .engine
        .create_key(VAULT, "cmk", NewKey::of(KeySpec::Rsa2048))
        .await
        .unwrap();
    let key = KeyName::new(&toy.url(), "cmk")
        .unwrap()
        .with_version(&made.version)
        .unwrap();
    let client = toy.client();
    let wrapped = client.wrap(&key, &Secret::random().unwrap()).await.unwrap();
    Stage {
        toy,
        client,
        key,
        wrapped,
    }
}

impl Stage {
    async fn unwrap(&self) -> Result<(), VaultError> {
        self.client.unwrap(&self.key, &self.wrapped).await.map(|_| ())
    }

    async fn answer(&self) -> NoAnswer {
        self.unwrap().await.unwrap_err().answer
    }
}

#[tokio::test]
async fn the_client_conforms_over_the_wire() {
    let toy = Toy::start().await;
    let key = KeyName::new(&toy.url(), "cmk").unwrap();
    key_wrap_conforms(&toy.client(), &toy.house.engine, VAULT, &key).await;
}

#[tokio::test]
async fn the_client_conforms_with_a_client_secret_and_ids_without_a_port() {
    let toy = Toy::start().await;
    let client = KeyVaultClient::new(toy.config(toy.client_secret(SECRET))).unwrap();
    let key = KeyName::new("https://kv1.vault.localhost", "cmk").unwrap();
    key_wrap_conforms(&client, &toy.house.engine, VAULT, &key).await;
}

#[tokio::test]
async fn the_engine_conforms_when_asked_directly() {
    let house = House::new().await;
    let key = KeyName::new("https://kv1.vault.localhost", "cmk").unwrap();
    key_wrap_conforms(
        &InProcess::new(house.engine.clone(), VAULT),
        &house.engine,
        VAULT,
        &key,
    )
    .await;
}

#[tokio::test]
async fn one_connection_and_one_token_serve_many_calls() {
    let stage = stage().await;
    let (requests, tokens, connections) = stage.toy.counts();
    // The challenge, the wrap, one token; the vault and the token endpoint have a connection each.
    assert_eq!((requests, tokens, connections), (2, 1, 2));
    for _ in 0..5 {
        stage.unwrap().await.unwrap();
    }
    assert_eq!(stage.toy.counts(), (requests + 5, 1, 2));
}

#[tokio::test]
async fn a_host_that_is_not_trusted_gets_neither_a_connection_nor_a_token() {
    let stage = stage().await;
    let before = stage.toy.counts();
    let port = stage.toy.address.port();
    for vault in [
        "https://kv1.vault.example".to_owned(),
        format!("https://kv1.vault.localhost.example:{port}"),
        format!("https://localhost:{port}"),
        format!("https://vault.localhost:{port}"),
        "https://kv1.vault.localhost:1".to_owned(),
    ] {
        let key = KeyName::new(&vault, "cmk").unwrap();
        let id = key.with_version(stage.key.version()).unwrap();
        assert_eq!(
            stage.client.describe(&key, None).await.unwrap_err().answer,
            NoAnswer::Refused
        );
        let unwrapped = stage.client.unwrap(&id, &stage.wrapped).await.map(|_| ());
        assert_eq!(unwrapped.unwrap_err().answer, NoAnswer::Refused, "{vault}");
    }
    assert_eq!(stage.toy.counts(), before);
}

#[tokio::test]
async fn what_the_vault_says_is_heard_as_it_was_meant_and_asked_once() {
    let stage = stage().await;
    let body = |inner: &str| {
        format!(r#"{{"error":{{"code":"C","message":"m","innererror":{{"code":"{inner}"}}}}}}"#)
    };
    let seven = Some(Duration::from_secs(7));
    for (status, headers, inner, expected) in [
        (403, &[][..], "KeyDisabled", NoAnswer::Refused),
        (403, &[], "ForbiddenByRbac", NoAnswer::Refused),
        (404, &[], "", NoAnswer::Gone),
        (409, &[], "ObjectIsDeletedButRecoverable", NoAnswer::Gone),
        (
            429,
            &[("retry-after", "7")],
            "",
            NoAnswer::Throttled { retry_after: seven },
        ),
        (500, &[], "", NoAnswer::Unreachable),
        (503, &[("retry-after", "7")], "", NoAnswer::Unreachable),
        (
            302,
            &[("location", "https://evil.example/")],
            "",
            NoAnswer::Refused,
        ),
        (400, &[], "", NoAnswer::Refused),
    ] {
        let (requests, _, _) = stage.toy.counts();
        stage.toy.set_vault(Manner::Says(status, headers, body(inner)));
        assert_eq!(stage.answer().await, expected, "{status} {inner}");
        assert_eq!(stage.toy.counts().0, requests + 1, "{status} is not asked again");
    }
    stage.toy.set_vault(Manner::Good);
    stage.unwrap().await.unwrap();
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_grants_nothing() {
    let stage = stage().await;
    let lies: [fn(serde_json::Value) -> serde_json::Value; 6] = [
        |_| json!("nonsense"),
        |answer| json!({"kid": answer["kid"]}),
        |answer| json!({"kid": answer["kid"], "value": "AAAA"}),
        |answer| json!({"kid": answer["kid"], "value": "A".repeat(44)}),
        |answer| json!({"kid": answer["kid"], "value": "+".repeat(43)}),
        |answer| json!({"kid": format!("{}0", answer["kid"].as_str().unwrap()), "value": answer["value"]}),
    ];
    for lie in lies {
        stage.toy.set_vault(Manner::Lies(lie));
        let error = stage.unwrap().await.unwrap_err();
        assert_eq!(error.answer, NoAnswer::Refused);
        assert!(error.detail.contains("cannot be used"), "{error}");
    }
    for body in [String::new(), "<html>".to_owned(), " ".repeat(300 * 1024)] {
        stage.toy.set_vault(Manner::Says(200, &[], body));
        assert_eq!(stage.answer().await, NoAnswer::Refused);
    }
    stage.toy.set_vault(Manner::Lies(|mut bundle| {
        bundle["key"]["kid"] = json!("https://kv1.vault.localhost/keys/other/0");
        bundle
    }));
    let described = stage.client.describe(stage.key.key_name(), None).await;
    assert_eq!(described.unwrap_err().answer, NoAnswer::Refused);
}

#[tokio::test]
async fn silence_ends_at_the_deadline_and_is_unreachable() {
    let toy = Toy::start().await;
    let made = toy
        .house
        .engine
        .create_key(VAULT, "cmk", NewKey::of(KeySpec::Rsa2048))
        .await
        .unwrap();
    let key = KeyName::new(&toy.url(), "cmk")
        .unwrap()
        .with_version(&made.version)
        .unwrap();
    let deadline = Duration::from_millis(300);
    let client = |credential| {
        KeyVaultClient::new(KeyVaultClientConfig {
            deadline,
            ..toy.config(credential)
        })
        .unwrap()
    };
    toy.set_identity(Manner::Hangs);
    for credential in [toy.app_service(), toy.client_secret(SECRET)] {
        let answer = client(credential)
            .describe(key.key_name(), None)
            .await
            .unwrap_err()
            .answer;
        assert_eq!(answer, NoAnswer::Unreachable, "the token endpoint is silent");
    }
    toy.set_identity(Manner::Good);
    toy.set_vault(Manner::Hangs);
    let client = client(toy.app_service());
    let answer = client.describe(key.key_name(), None).await.unwrap_err().answer;
    assert_eq!(answer, NoAnswer::Unreachable, "the vault is silent");
    toy.set_vault(Manner::Good);
    client.describe(key.key_name(), None).await.unwrap();
}

#[tokio::test]
async fn a_vault_that_cannot_be_reached_or_is_not_itself_is_unreachable() {
    let stage = stage().await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let with = |change: &dyn Fn(&mut Connections)| {
        let mut config = stage.toy.config(stage.toy.app_service());
        config.hosts = VaultHosts::below(["vault.localhost", "vault.invalid"]).unwrap();
        change(&mut config.connections);
        KeyVaultClient::new(config).unwrap()
    };
    let key = KeyName::new("https://kv1.vault.localhost", "cmk").unwrap();
    let nobody = with(&|connections| connections.localhost = Some(closed));
    assert_eq!(
        nobody.describe(&key, None).await.unwrap_err().answer,
        NoAnswer::Unreachable
    );
    let other = rcgen::generate_simple_self_signed(["x.localhost".to_owned()])
        .unwrap()
        .cert
        .pem();
    let stranger = with(&|connections| connections.trusted_roots = Some(other.clone().into_bytes()));
    assert_eq!(
        stranger.describe(&key, None).await.unwrap_err().answer,
        NoAnswer::Unreachable
    );
    let nameless = KeyName::new("https://kv1.vault.invalid", "cmk").unwrap();
    assert_eq!(
        with(&|_| ()).describe(&nameless, None).await.unwrap_err().answer,
        NoAnswer::Unreachable
    );
}

#[tokio::test]
async fn a_rejected_identity_is_refused_and_a_missing_token_endpoint_is_unreachable() {
    let toy = Toy::start().await;
    let key = KeyName::new(&toy.url(), "cmk").unwrap();
    let ask = async |credential| {
        let client = KeyVaultClient::new(toy.config(credential)).unwrap();
        client.describe(&key, None).await.unwrap_err().answer
    };
    assert_eq!(ask(toy.client_secret("wrong")).await, NoAnswer::Refused);
    let endpoint = format!("https://localhost:{}/msi/token", toy.address.port());
    let header = Zeroizing::new("wrong".to_owned());
    let wrong = VaultCredential::AppService {
        endpoint,
        header: header.clone(),
        client_id: None,
    };
    assert_eq!(ask(wrong).await, NoAnswer::Refused);
    for (status, expected) in [
        (400, NoAnswer::Refused),
        (403, NoAnswer::Refused),
        (429, NoAnswer::Throttled { retry_after: None }),
        (500, NoAnswer::Unreachable),
        (503, NoAnswer::Unreachable),
    ] {
        toy.set_identity(Manner::Says(
            status,
            &[],
            r#"{"error":"e","error_description":"d"}"#.to_owned(),
        ));
        assert_eq!(
            ask(toy.app_service()).await,
            expected,
            "managed identity {status}"
        );
        assert_eq!(
            ask(toy.client_secret(SECRET)).await,
            expected,
            "client secret {status}"
        );
    }
    toy.set_identity(Manner::Says(502, &[], "<html>".to_owned()));
    assert_eq!(ask(toy.app_service()).await, NoAnswer::Unreachable);
    assert_eq!(ask(toy.client_secret(SECRET)).await, NoAnswer::Unreachable);
    let endpoint = "http://127.0.0.1:1/msi/token".to_owned();
    let nobody = VaultCredential::AppService {
        endpoint,
        header,
        client_id: None,
    };
    assert_eq!(ask(nobody).await, NoAnswer::Unreachable);
}

#[tokio::test]
async fn a_token_that_has_ended_or_that_the_vault_no_longer_accepts_is_replaced() {
    let stage = stage().await;
    // The vault's time passes the token's end; the official client, which asks the machine's clock, would keep it.
    stage.toy.house.clock.advance(DAY);
    let (_, tokens, _) = stage.toy.counts();
    stage.unwrap().await.unwrap();
    assert_eq!(stage.toy.counts().1, tokens + 1);
    for credential in [stage.toy.app_service(), stage.toy.client_secret(SECRET)] {
        let client = KeyVaultClient::new(stage.toy.config(credential)).unwrap();
        client
            .unwrap(&stage.key, &stage.wrapped)
            .await
            .map(|_| ())
            .unwrap();
        stage.toy.outdate_tokens();
        client
            .unwrap(&stage.key, &stage.wrapped)
            .await
            .map(|_| ())
            .unwrap();
    }
}

#[tokio::test]
async fn an_identity_that_the_vault_rejects_with_a_fresh_token_is_refused() {
    let stage = stage().await;
    let challenge = r#"Bearer authorization="https://localhost/t", resource="https://vault.localhost""#;
    let headers: &'static [(&str, &str)] = Box::leak(Box::new([("www-authenticate", challenge)]));
    stage.toy.set_vault(Manner::Says(401, headers, String::new()));
    let (requests, _, _) = stage.toy.counts();
    assert_eq!(stage.answer().await, NoAnswer::Refused);
    assert!(
        stage.toy.counts().0 - requests <= 5,
        "a rejection is not asked about for ever"
    );
}

#[tokio::test]
async fn a_status_that_was_heard_counts_although_its_body_does_not_come() {
    let stage = stage().await;
    for (status, expected) in [
        (403, NoAnswer::Refused),
        (404, NoAnswer::Gone),
        (503, NoAnswer::Unreachable),
        (200, NoAnswer::Unreachable),
    ] {
        stage.toy.set_vault(Manner::Breaks(status));
        assert_eq!(stage.answer().await, expected, "{status} that breaks off");
    }
    stage.toy.set_vault(Manner::Stalls(403));
    assert_eq!(stage.answer().await, NoAnswer::Refused);
    let impatient = KeyVaultClient::new(KeyVaultClientConfig {
        deadline: Duration::from_millis(500),
        ..stage.toy.config(stage.toy.app_service())
    });
    let key = stage.key.key_name();
    let answer = impatient.unwrap().describe(key, None).await.unwrap_err().answer;
    assert_eq!(answer, NoAnswer::Refused, "also when the deadline comes first");
    stage.toy.set_vault(Manner::Good);
    stage.toy.set_identity(Manner::Breaks(403));
    let answer = stage.toy.client().describe(key, None).await.unwrap_err().answer;
    assert_eq!(answer, NoAnswer::Refused, "the token endpoint said no");
}

#[tokio::test]
async fn a_token_that_was_rejected_stays_so_while_the_token_endpoint_gives_no_other() {
    let stage = stage().await;
    let later = |status| Manner::Says(status, &[], r#"{"error":"e"}"#.to_owned());
    for manner in [Manner::Hangs, later(503), later(429), Manner::Breaks(200)] {
        for credential in [stage.toy.app_service(), stage.toy.client_secret(SECRET)] {
            let client = KeyVaultClient::new(KeyVaultClientConfig {
                deadline: Duration::from_millis(800),
                ..stage.toy.config(credential)
            });
            let client = client.unwrap();
            let key = stage.key.key_name();
            client.describe(key, None).await.unwrap();
            stage.toy.outdate_tokens();
            stage.toy.set_identity(manner.clone());
            let answer = client.describe(key, None).await.unwrap_err().answer;
            assert_eq!(answer, NoAnswer::Refused);
            stage.toy.set_identity(Manner::Good);
            client.describe(key, None).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_challenge_for_a_foreign_resource_gets_no_token() {
    let stage = stage().await;
    let foreign = r#"Bearer authorization="https://localhost/t", resource="https://management.azure.com""#;
    *stage.toy.challenge.lock().unwrap() = Some(foreign);
    let client = stage.toy.client();
    let (_, tokens, _) = stage.toy.counts();
    let answer = client
        .unwrap(&stage.key, &stage.wrapped)
        .await
        .map(|_| ())
        .unwrap_err()
        .answer;
    assert_eq!(answer, NoAnswer::Refused);
    assert_eq!(stage.toy.counts().1, tokens);
}

#[tokio::test]
async fn many_calls_at_once_ask_for_one_token() {
    let toy = Toy::start().await;
    toy.house
        .engine
        .create_key(VAULT, "cmk", NewKey::of(KeySpec::Rsa2048))
        .await
        .unwrap();
    let client = toy.client();
    let key = KeyName::new(&toy.url(), "cmk").unwrap();
    let calls = (0..16).map(|_| client.describe(&key, None));
    for described in futures::future::join_all(calls).await {
        described.unwrap();
    }
    assert_eq!(toy.counts().1, 1);
}

#[tokio::test]
async fn a_client_that_cannot_work_is_not_made() {
    let toy = Toy::start().await;
    let made = |credential| KeyVaultClient::new(toy.config(credential)).err();
    let wrong = Some(KeyVaultClientError::IdentityEndpoint);
    let header = Zeroizing::new(String::new());
    assert_eq!(
        made(VaultCredential::AppService {
            endpoint: "msi".to_owned(),
            header,
            client_id: None
        }),
        wrong
    );
    let plain = VaultCredential::ClientSecret {
        authority: "http://login.example".to_owned(),
        tenant: "t".to_owned(),
        client_id: "c".to_owned(),
        secret: Zeroizing::new("s".to_owned()),
    };
    assert_eq!(made(plain), wrong);
    let mut config = toy.config(toy.app_service());
    config.connections.trusted_roots =
        Some(b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----".to_vec());
    assert!(KeyVaultClient::new(config).is_err());
}

#[test]
fn bodies_are_what_the_official_client_would_send() {
    let body = operation_body(WrapAlgorithm::RsaOaep256, &[0xfb, 0xff]);
    assert_eq!(&body[..], br#"{"alg":"RSA-OAEP-256","value":"-_8"}"#);
    assert_eq!(bit_length(&[0, 0x80, 0]), 16);
    assert_eq!(bit_length(&[]), 0);
}

proptest! {
    #[test]
    fn any_answer_is_read_without_harm_and_none_about_another_key_counts(
        body in proptest::collection::vec(any::<u8>(), 0..120),
        name in "[0-9A-Za-z-]{1,12}",
        version in "[0-9a-f]{1,32}",
    ) {
        let asked = KeyId::parse("https://kv1.vault.localhost/keys/cmk/00").unwrap();
        prop_assert!(OperationAnswer::read(&asked, &body).is_err());
        prop_assert!(read_description(asked.key_name(), None, &body).is_err());
        let kid = format!("https://kv1.vault.localhost/keys/{name}/{version}");
        let body = json!({"kid": kid, "value": "AA"}).to_string();
        let same = name.eq_ignore_ascii_case("cmk") && version == "00";
        prop_assert_eq!(OperationAnswer::read(&asked, body.as_bytes()).is_ok(), same);
        let asked = KeyId::parse(&kid).unwrap();
        prop_assert!(OperationAnswer::read(&asked, body.as_bytes()).is_ok());
    }
}
