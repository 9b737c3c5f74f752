//! The protocol, request by request, through the same road that the listener uses.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
mod gate;

use crate::KeyAction;
use crate::testing::{DAY, House, Recording, SIGNER, VAULT};

mod keys;

const AUTHORITY: &str = "kv1.vault.localhost:8443";
const AUDIENCE: &str = "https://vault.azure.net";

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    fn codes(&self) -> (u16, &str, Option<&str>) {
        let error = &self.body["error"];
        (
            self.status,
            error["code"].as_str().unwrap_or_default(),
            error["innererror"]["code"].as_str(),
        )
    }

    fn text(&self, pointer: &str) -> &str {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{pointer} in {}", self.body))
    }
}

impl House {
    fn token(&self) -> String {
        SIGNER.sign(&self.claims(AUDIENCE)).unwrap()
    }

    async fn send(&self, method: Method, path: &str, token: Option<&str>, body: Vec<u8>) -> Reply {
        let version = if path.contains('?') {
            ""
        } else {
            "?api-version=7.6"
        };
        let mut request = Request::builder().method(method).uri(format!("{path}{version}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut request = request
            .header("user-agent", "tests")
            .body(Body::from(body))
            .unwrap();
        let host = VaultHost {
            vault: VAULT.to_owned(),
            authority: AUTHORITY.to_owned(),
        };
        request.extensions_mut().insert(host);
        request
            .extensions_mut()
            .insert(ClientAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let response = routes(self.routes()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap()
        };
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Reply {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        self.send(method, path, Some(&self.token()), body).await
    }

    async fn create(&self, name: &str) -> Reply {
        let made = self
            .ask(
                Method::POST,
                &format!("/keys/{name}/create"),
                json!({"kty": "RSA", "key_size": 2048}),
            )
            .await;
        assert_eq!(made.status, 200);
        made
    }

    async fn wrap(&self, path: &str) -> Reply {
        let value = URL_SAFE_NO_PAD.encode([7; 32]);
        self.ask(
            Method::POST,
            &format!("{path}/wrapkey"),
            json!({"alg": "RSA-OAEP-256", "value": value}),
        )
        .await
    }

    async fn unwrap(&self, path: &str, wrapped: &str) -> Reply {
        let body = json!({"alg": "RSA-OAEP-256", "value": wrapped});
        self.ask(Method::POST, &format!("{path}/unwrapkey"), body).await
    }
}

#[tokio::test]
async fn a_key_is_made_shown_used_and_rotated() {
    let house = House::new().await;
    let made = house.create("cmk").await;
    let kid = made.text("/key/kid").to_owned();
    assert!(
        kid.starts_with("https://kv1.vault.localhost:8443/keys/cmk/"),
        "{kid}"
    );
    assert_eq!(made.text("/key/kty"), "RSA");
    assert_eq!(made.text("/key/e"), "AQAB");
    assert_eq!(made.body["attributes"]["enabled"], true);
    assert_eq!(made.text("/attributes/recoveryLevel"), "Recoverable");
    assert_eq!(made.body["attributes"]["recoverableDays"], 90);
    assert!(made.body.get("tags").is_none());
    let version = kid.rsplit('/').next().unwrap().to_owned();
    for path in [
        "/keys/cmk",
        "/keys/cmk/",
        "/keys/CMK",
        &format!("/keys/cmk/{version}"),
    ] {
        assert_eq!(
            house.ask(Method::GET, path, Value::Null).await.body,
            made.body,
            "{path}"
        );
    }
    for path in ["/keys/cmk/", &format!("/keys/cmk/{version}")] {
        let wrapped = house.wrap(path).await;
        assert_eq!(wrapped.text("/kid"), kid);
        let plain = house.unwrap(path, wrapped.text("/value")).await;
        assert_eq!(plain.text("/kid"), kid);
        assert_eq!(URL_SAFE_NO_PAD.decode(plain.text("/value")).unwrap(), [7; 32]);
    }
    let wrapped = house.wrap("/keys/cmk/").await;
    let rotated = house.ask(Method::POST, "/keys/cmk/rotate", Value::Null).await;
    assert_ne!(rotated.text("/key/kid"), kid);
    assert_eq!(
        house.ask(Method::GET, "/keys/cmk/", Value::Null).await.body,
        rotated.body
    );
    let old = house
        .unwrap(&format!("/keys/cmk/{version}"), wrapped.text("/value"))
        .await;
    assert_eq!(old.text("/kid"), kid);
}

#[tokio::test]
async fn attributes_change_on_the_latest_and_on_named_versions() {
    let house = House::new().await;
    let first = house
        .create("cmk")
        .await
        .text("/key/kid")
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    house.ask(Method::POST, "/keys/cmk/rotate", Value::Null).await;
    let body = json!({"attributes": {"enabled": false, "exp": 1_900_000_000_u64}, "tags": {"a": "b"}, "key_ops": ["wrapKey"]});
    let changed = house
        .ask(Method::PATCH, &format!("/keys/cmk/{first}"), body)
        .await;
    assert_eq!(
        (changed.status, changed.body["attributes"]["enabled"].as_bool()),
        (200, Some(false))
    );
    assert_eq!(changed.body["attributes"]["exp"], 1_900_000_000_u64);
    assert_eq!(changed.body["tags"], json!({"a": "b"}));
    assert_eq!(changed.body["key"]["key_ops"], json!(["wrapKey"]));
    let latest = house
        .ask(Method::PATCH, "/keys/cmk/", json!({"attributes": {"nbf": 5}}))
        .await;
    assert_eq!(
        (
            latest.body["attributes"]["enabled"].as_bool(),
            latest.body["attributes"]["nbf"].as_u64()
        ),
        (Some(true), Some(5))
    );
}

#[tokio::test]
async fn a_disabled_key_is_shown_and_neither_wraps_nor_unwraps() {
    let house = House::new().await;
    house.create("cmk").await;
    let wrapped = house.wrap("/keys/cmk/").await;
    house
        .ask(
            Method::PATCH,
            "/keys/cmk/",
            json!({"attributes": {"enabled": false}}),
        )
        .await;
    let refused = (403, "Forbidden", Some("KeyDisabled"));
    assert_eq!(
        house.unwrap("/keys/cmk/", wrapped.text("/value")).await.codes(),
        refused
    );
    assert_eq!(house.wrap("/keys/cmk/").await.codes(), refused);
    assert_eq!(
        house.ask(Method::GET, "/keys/cmk/", Value::Null).await.body["attributes"]["enabled"],
        false
    );
    house
        .ask(
            Method::PATCH,
            "/keys/cmk/",
            json!({"attributes": {"enabled": true}}),
        )
        .await;
    assert_eq!(
        house.unwrap("/keys/cmk/", wrapped.text("/value")).await.status,
        200
    );
}

#[tokio::test]
async fn an_expired_key_unwraps_and_does_not_wrap() {
    let house = House::new().await;
    house.create("cmk").await;
    let wrapped = house.wrap("/keys/cmk/").await;
    let past = house.clock.seconds() - 1;
    house
        .ask(Method::PATCH, "/keys/cmk/", json!({"attributes": {"exp": past}}))
        .await;
    assert_eq!(
        house.unwrap("/keys/cmk/", wrapped.text("/value")).await.status,
        200
    );
    assert_eq!(
        house.wrap("/keys/cmk/").await.codes(),
        (403, "Forbidden", Some("KeyExpired"))
    );
    let future = house.clock.seconds() + 100;
    let later = json!({"attributes": {"nbf": future, "exp": future + 1}});
    house.ask(Method::PATCH, "/keys/cmk/", later).await;
    assert_eq!(
        house.wrap("/keys/cmk/").await.codes(),
        (403, "Forbidden", Some("KeyNotYetValid"))
    );
}

#[tokio::test]
async fn a_deleted_key_is_not_found_listed_as_deleted_and_recoverable() {
    let house = House::new().await;
    let made = house.create("cmk").await;
    let wrapped = house.wrap("/keys/cmk/").await;
    let deleted = house.ask(Method::DELETE, "/keys/cmk", Value::Null).await;
    assert_eq!(deleted.status, 200);
    assert_eq!(deleted.text("/key/kid"), made.text("/key/kid"));
    assert_eq!(
        deleted.text("/recoveryId"),
        "https://kv1.vault.localhost:8443/deletedkeys/cmk"
    );
    let span =
        deleted.body["scheduledPurgeDate"].as_u64().unwrap() - deleted.body["deletedDate"].as_u64().unwrap();
    assert_eq!(span, 90 * DAY.as_secs());
    for gone in [
        house.ask(Method::GET, "/keys/cmk/", Value::Null).await,
        house.unwrap("/keys/cmk/", wrapped.text("/value")).await,
        house.wrap("/keys/cmk/").await,
        house.ask(Method::PATCH, "/keys/cmk/", json!({})).await,
        house.ask(Method::POST, "/keys/cmk/rotate", Value::Null).await,
        house.ask(Method::GET, "/keys/cmk/versions", Value::Null).await,
        house.ask(Method::DELETE, "/keys/cmk", Value::Null).await,
    ] {
        assert_eq!(gone.codes(), (404, "KeyNotFound", None));
    }
    let taken = house
        .ask(Method::POST, "/keys/cmk/create", json!({"kty": "RSA"}))
        .await;
    assert_eq!(
        taken.codes(),
        (409, "Conflict", Some("ObjectIsDeletedButRecoverable"))
    );
    let listed = house.ask(Method::GET, "/deletedkeys", Value::Null).await;
    assert_eq!(
        listed.text("/value/0/kid"),
        "https://kv1.vault.localhost:8443/keys/cmk"
    );
    assert_eq!(listed.text("/value/0/recoveryId"), deleted.text("/recoveryId"));
    assert_eq!(
        house.ask(Method::GET, "/deletedkeys/cmk", Value::Null).await.body,
        deleted.body
    );
    assert_eq!(
        house
            .ask(Method::DELETE, "/deletedkeys/cmk", Value::Null)
            .await
            .codes(),
        (403, "Forbidden", None)
    );
    let recovered = house
        .ask(Method::POST, "/deletedkeys/cmk/recover", Value::Null)
        .await;
    assert_eq!(recovered.body, made.body);
    assert_eq!(
        house.unwrap("/keys/cmk/", wrapped.text("/value")).await.status,
        200
    );
    assert_eq!(
        house
            .ask(Method::GET, "/deletedkeys/cmk", Value::Null)
            .await
            .codes(),
        (404, "KeyNotFound", None)
    );
}

#[tokio::test]
async fn without_purge_protection_a_deleted_key_can_be_purged() {
    let house = House::new().await;
    let settings = VaultSettings {
        name: "open".to_owned(),
        purge_protection: false,
        ..crate::testing::vault_settings()
    };
    house.engine.create_vault(settings).unwrap();
    let host = VaultHost {
        vault: "open".to_owned(),
        authority: "open.vault.localhost:8443".to_owned(),
    };
    for (method, path, body, status) in [
        (Method::POST, "/keys/k/create", r#"{"kty":"RSA"}"#, 200),
        (Method::DELETE, "/keys/k", "", 200),
        (Method::DELETE, "/deletedkeys/k", "", 204),
        (Method::GET, "/deletedkeys/k", "", 404),
    ] {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{path}?api-version=7.6"));
        request = request.header("authorization", format!("Bearer {}", house.token()));
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(host.clone());
        assert_eq!(
            routes(house.routes()).oneshot(request).await.unwrap().status(),
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn lists_are_paged_by_absolute_links() {
    let house = House::new().await;
    for name in ["a", "b", "c"] {
        house.create(name).await;
    }
    let page = house
        .ask(Method::GET, "/keys?api-version=7.6&maxresults=2", Value::Null)
        .await;
    assert_eq!(page.body["value"].as_array().unwrap().len(), 2);
    assert_eq!(
        page.text("/value/0/kid"),
        "https://kv1.vault.localhost:8443/keys/a"
    );
    let next = page
        .text("/nextLink")
        .strip_prefix("https://kv1.vault.localhost:8443")
        .unwrap();
    let rest = house.ask(Method::GET, next, Value::Null).await;
    assert_eq!(
        rest.text("/value/0/kid"),
        "https://kv1.vault.localhost:8443/keys/c"
    );
    assert_eq!(rest.body["nextLink"], Value::Null);
    house.ask(Method::POST, "/keys/a/rotate", Value::Null).await;
    let versions = house
        .ask(
            Method::GET,
            "/keys/a/versions?api-version=7.6&maxresults=1",
            Value::Null,
        )
        .await;
    let next = versions
        .text("/nextLink")
        .strip_prefix("https://kv1.vault.localhost:8443")
        .unwrap();
    let second = house.ask(Method::GET, next, Value::Null).await;
    assert_ne!(second.text("/value/0/kid"), versions.text("/value/0/kid"));
    assert_eq!(second.body["nextLink"], Value::Null);
    let empty = house.ask(Method::GET, "/deletedkeys", Value::Null).await;
    assert_eq!(empty.body, json!({"value": [], "nextLink": null}));
}

#[tokio::test]
async fn without_a_good_token_there_is_a_challenge_and_the_body_stays_unread() {
    let house = House::new().await;
    let now = house.clock.seconds();
    let signed = |change: &dyn Fn(&mut strongroom_azure::token::Claims)| {
        let mut claims = house.claims(AUDIENCE);
        change(&mut claims);
        Some(SIGNER.sign(&claims).unwrap())
    };
    for token in [
        None,
        Some(String::new()),
        Some("a.b.c".to_owned()),
        signed(&|claims| claims.aud = "https://management.azure.com".to_owned()),
        signed(&|claims| claims.exp = now - 3600),
        signed(&|claims| claims.iss = "https://evil.example".to_owned()),
        signed(&|claims| claims.tid = "other".to_owned()),
    ] {
        // A body that would be an error if it were read.
        let reply = house
            .send(
                Method::POST,
                "/keys/N/create",
                token.as_deref(),
                vec![b'x'; 1 << 20],
            )
            .await;
        assert_eq!(reply.codes(), (401, "Unauthorized", None));
        let challenge = reply.headers["www-authenticate"].to_str().unwrap();
        let tenant = crate::testing::TENANT;
        let expected = format!(
            "Bearer authorization=\"https://localhost:8443/{tenant}\", resource=\"https://vault.localhost:8443\""
        );
        assert_eq!(challenge, expected);
    }
    for audience in [
        AUDIENCE,
        "https://vault.azure.net/",
        "https://vault.localhost:8443",
        "https://vault.localhost",
    ] {
        let token = SIGNER.sign(&house.claims(audience)).unwrap();
        assert_eq!(
            house
                .send(Method::GET, "/keys", Some(&token), Vec::new())
                .await
                .status,
            200,
            "{audience}"
        );
    }
}

#[tokio::test]
async fn each_operation_needs_its_permission() {
    let house = House::new().await;
    house.create("cmk").await;
    house.create("gone").await;
    house.ask(Method::DELETE, "/keys/gone", Value::Null).await;
    let value = json!({"alg": "RSA-OAEP-256", "value": "AAAA"});
    for (action, method, path, body) in [
        (
            KeyAction::Create,
            Method::POST,
            "/keys/cmk/create",
            json!({"kty": "RSA"}),
        ),
        (KeyAction::Read, Method::GET, "/keys/cmk/", Value::Null),
        (KeyAction::Read, Method::GET, "/keys", Value::Null),
        (KeyAction::Read, Method::GET, "/keys/cmk/versions", Value::Null),
        (KeyAction::Read, Method::GET, "/deletedkeys", Value::Null),
        (KeyAction::Read, Method::GET, "/deletedkeys/gone", Value::Null),
        (KeyAction::Update, Method::PATCH, "/keys/cmk/", json!({})),
        (KeyAction::Rotate, Method::POST, "/keys/cmk/rotate", Value::Null),
        (KeyAction::Wrap, Method::POST, "/keys/cmk//wrapkey", value.clone()),
        (KeyAction::Unwrap, Method::POST, "/keys/cmk//unwrapkey", value),
        (KeyAction::Delete, Method::DELETE, "/keys/cmk", Value::Null),
        (
            KeyAction::Recover,
            Method::POST,
            "/deletedkeys/gone/recover",
            Value::Null,
        ),
        (KeyAction::Purge, Method::DELETE, "/deletedkeys/gone", Value::Null),
    ] {
        *house.roles.0.lock().unwrap() = vec![action];
        let reply = house.ask(method, path, body).await;
        assert_eq!(
            reply.codes(),
            (403, "Forbidden", Some("ForbiddenByRbac")),
            "{path}"
        );
        assert!(reply.text("/error/message").contains(action.data_action()));
        let others = KeyAction::ALL
            .into_iter()
            .filter(|other| *other != action)
            .collect();
        *house.roles.0.lock().unwrap() = others;
    }
    *house.roles.0.lock().unwrap() = Vec::new();
    assert_eq!(
        house.ask(Method::GET, "/keys/cmk/", Value::Null).await.status,
        200
    );
}

fn bad_requests() -> Vec<(Method, &'static str, String)> {
    let unwrap = "/keys/cmk//unwrapkey";
    let oversized = URL_SAFE_NO_PAD.encode([0; 191]);
    vec![
        (Method::GET, "/keys?x=1", String::new()),
        (Method::GET, "/keys?api-version=latest", String::new()),
        (Method::GET, "/keys?api-version=6.9", String::new()),
        (Method::GET, "/keys?api-version=7.6&maxresults=99", String::new()),
        (Method::GET, "/keys?api-version=7.6&$skiptoken=%00", String::new()),
        (Method::POST, "/keys/cmk/create", "{".to_owned()),
        (Method::POST, "/keys/cmk/create", String::new()),
        (Method::POST, "/keys/cmk/create", "[".repeat(10_000)),
        (Method::POST, "/keys/cmk/create", "\u{fffd}".to_owned()),
        (
            Method::POST,
            "/keys/cmk/create",
            r#"{"kty":"RSA","key_size":1024}"#.to_owned(),
        ),
        (Method::POST, "/keys/cmk/create", r#"{"kty":"oct"}"#.to_owned()),
        (
            Method::POST,
            "/keys/cmk/create",
            format!(r#"{{"kty":"RSA","x":"{}"}}"#, "y".repeat(70_000)),
        ),
        (Method::POST, "/keys/a_b/create", r#"{"kty":"RSA"}"#.to_owned()),
        (Method::GET, "/keys/..%2f..%2fetc", String::new()),
        (
            Method::POST,
            unwrap,
            r#"{"alg":"RSA-OAEP-256","value":"+"}"#.to_owned(),
        ),
        (
            Method::POST,
            unwrap,
            r#"{"alg":"RSA-OAEP-256","value":"AAAA"}"#.to_owned(),
        ),
        (
            Method::POST,
            unwrap,
            r#"{"alg":"A256KW","value":"AAAA"}"#.to_owned(),
        ),
        (Method::POST, unwrap, r#"{"value":"AAAA"}"#.to_owned()),
        (
            Method::POST,
            unwrap,
            format!(
                r#"{{"alg":"RSA-OAEP-256","value":"{}"}}"#,
                URL_SAFE_NO_PAD.encode([1; 256])
            ),
        ),
        (
            Method::POST,
            "/keys/cmk//wrapkey",
            format!(r#"{{"alg":"RSA-OAEP-256","value":"{oversized}"}}"#),
        ),
        (
            Method::POST,
            "/keys/cmk//wrapkey",
            r#"{"alg":"RSA-OAEP-256","value":""}"#.to_owned(),
        ),
    ]
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let house = House::new().await;
    house.create("cmk").await;
    for (method, path, body) in bad_requests() {
        let reply = house
            .send(method, path, Some(&house.token()), body.into_bytes())
            .await;
        assert_eq!(reply.codes(), (400, "BadParameter", None), "{path}");
        assert!(!reply.text("/error/message").is_empty());
    }
    let nowhere = house.ask(Method::GET, "/secrets", Value::Null).await;
    assert_eq!(nowhere.codes(), (404, "ResourceNotFound", None));
    let method = house.ask(Method::PUT, "/keys/cmk/0123", json!({})).await;
    assert_eq!(method.codes(), (405, "HttpMethodNotAllowed", None));
    let unknown = house.ask(Method::GET, "/keys/cmk/0123", Value::Null).await;
    assert_eq!(unknown.codes(), (404, "KeyNotFound", None));
}

#[tokio::test]
async fn a_host_that_is_no_vault_is_not_found() {
    let house = House::new().await;
    let mut request = Request::builder()
        .uri("/keys?api-version=7.6")
        .body(Body::empty())
        .unwrap();
    request.extensions_mut().insert(VaultHost {
        vault: "other".to_owned(),
        authority: "other.vault.localhost".to_owned(),
    });
    assert_eq!(
        routes(house.routes()).oneshot(request).await.unwrap().status(),
        404
    );
}

#[tokio::test]
async fn every_operation_is_on_record_refused_ones_too() {
    let house = House::new().await;
    house.create("cmk").await;
    let wrapped = house.wrap("/keys/cmk/").await;
    let kid = wrapped.text("/kid").to_owned();
    house
        .ask(
            Method::PATCH,
            "/keys/cmk/",
            json!({"attributes": {"enabled": false}}),
        )
        .await;
    house.unwrap("/keys/cmk/", wrapped.text("/value")).await;
    house.send(Method::GET, "/keys/cmk", None, Vec::new()).await;
    house.ask(Method::GET, "/nonsense", Value::Null).await;
    let events = house.audit.events.lock().unwrap().clone();
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.operation_name,
                event.result_signature.as_str(),
                event.properties.http_status_code,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("KeyCreate", "OK", 200),
            ("KeyWrap", "OK", 200),
            ("KeyUpdate", "OK", 200),
            ("KeyUnwrap", "KeyDisabled", 403),
            ("KeyGet", "Unauthorized", 401),
            ("Unknown", "ResourceNotFound", 404),
        ]
    );
    let wrap = serde_json::to_value(&events[1]).unwrap();
    assert_eq!(wrap["properties"]["id"], kid);
    assert_eq!(
        wrap["properties"]["requestUri"],
        format!("https://{AUTHORITY}/keys/cmk//wrapkey?api-version=7.6")
    );
    assert_eq!(
        wrap["identity"]["claim"]["http://schemas.microsoft.com/identity/claims/objectidentifier"],
        "object"
    );
    assert_eq!(wrap["identity"]["claim"]["appid"], "app");
    assert_eq!(
        (wrap["category"].as_str(), wrap["resultType"].as_str()),
        (Some("AuditEvent"), Some("Success"))
    );
    assert_eq!(
        (
            wrap["callerIpAddress"].as_str(),
            wrap["operationVersion"].as_str()
        ),
        (Some("127.0.0.1"), Some("7.6"))
    );
    assert!(wrap["resourceId"].as_str().unwrap().ends_with("/VAULTS/KV1"));
    assert!(events[4].identity.claim.is_none());
    let value = URL_SAFE_NO_PAD.encode([7; 32]);
    assert!(
        events
            .iter()
            .all(|event| !serde_json::to_string(event).unwrap().contains(&value))
    );
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_answered() {
    let house = House::new().await;
    house.create("cmk").await;
    house.audit.set(Recording::Fails);
    let reply = house.wrap("/keys/cmk/").await;
    assert_eq!(reply.codes(), (503, "ServiceUnavailable", None));
    assert_eq!(reply.headers["retry-after"], "1");
    assert!(reply.body.get("value").is_none());
}

#[tokio::test]
async fn a_refusal_leaves_as_a_refusal_even_if_it_cannot_be_recorded() {
    for recording in [Recording::Fails, Recording::Hangs] {
        let house = House::new().await;
        let made = house.create("cmk").await;
        let wrapped = house.wrap("/keys/cmk/").await.text("/value").to_owned();
        let kid = made.text("/key/kid");
        let path = format!("/keys/cmk/{}", kid.rsplit('/').next().unwrap());
        let disabled = json!({"attributes": {"enabled": false}});
        assert_eq!(house.ask(Method::PATCH, &path, disabled).await.status, 200);
        house.audit.set(recording);
        assert_eq!(
            house.unwrap(&path, &wrapped).await.codes(),
            (403, "Forbidden", Some("KeyDisabled"))
        );
        let gone = house.unwrap("/keys/other/0", &wrapped).await;
        assert_eq!(gone.codes(), (404, "KeyNotFound", None));
        house.roles.0.lock().unwrap().push(KeyAction::Unwrap);
        assert_eq!(
            house.unwrap(&path, &wrapped).await.codes(),
            (403, "Forbidden", Some("ForbiddenByRbac"))
        );
        let nobody = house.send(Method::GET, "/keys/cmk", None, Vec::new()).await;
        assert_eq!(nobody.status, 401);
        assert!(nobody.headers.contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn records_are_entries_of_a_journal() {
    let house = House::new().await;
    let folder = house.folder.path().join("journal");
    let key = strongroom_journal::SigningKey::load_or_create(
        &house.folder.path().join("journal.key"),
        "vault.test",
    )
    .unwrap();
    let journal = strongroom_journal::Journal::open(&folder, key).unwrap();
    let audit = Arc::new(crate::JournalAudit::new(journal.clone()));
    let parts = VaultRoutes {
        audit,
        ..house.routes()
    };
    let mut request = Request::builder()
        .uri("/keys?api-version=7.6")
        .body(Body::empty())
        .unwrap();
    request.extensions_mut().insert(VaultHost {
        vault: VAULT.to_owned(),
        authority: AUTHORITY.to_owned(),
    });
    assert_eq!(routes(parts).oneshot(request).await.unwrap().status(), 401);
    let entries = journal.read(0, journal.size()).unwrap();
    let entry: Value = serde_json::from_slice(&entries[0]).unwrap();
    assert_eq!(entry["operationName"], "KeyList");
}

#[tokio::test]
async fn answers_carry_ids_and_are_not_cached() {
    let house = House::new().await;
    let reply = house.ask(Method::GET, "/keys", Value::Null).await;
    assert!(reply.headers.contains_key("x-ms-request-id"));
    assert_eq!(reply.headers["cache-control"], "no-store");
    assert_eq!(reply.headers["content-type"], "application/json; charset=utf-8");
}
