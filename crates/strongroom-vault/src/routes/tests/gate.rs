//! What a request must pass: firewall, permission model, limits.

use super::*;
use crate::testing::{GROUP, SERVICE, TENANT};
use crate::{AccessPolicy, KeyPermission, PermissionModel, Throttling, VaultFault};

const LOOPBACK: &str = "127.0.0.1/32";

impl House {
    fn set(&self, change: impl FnOnce(&mut VaultSettings)) {
        let changed = self.engine.update_vault(VAULT, |before| {
            let mut after = before.clone();
            change(&mut after);
            Ok::<_, VaultFault>(after)
        });
        changed.unwrap();
    }

    async fn get_as(&self, app: &str) -> Reply {
        let mut claims = self.claims(AUDIENCE);
        claims.appid = Some(app.to_owned());
        let token = SIGNER.sign(&claims).unwrap();
        self.send(Method::GET, "/keys/cmk", Some(&token), Vec::new())
            .await
    }

    fn grant(&self, object_id: &str, keys: &[KeyPermission]) {
        let policy = AccessPolicy {
            tenant: TENANT.to_owned(),
            object_id: object_id.to_owned(),
            application_id: None,
            keys: keys.to_vec(),
            secrets: Vec::new(),
            certificates: Vec::new(),
            storage: Vec::new(),
        };
        self.set(|vault| {
            vault.permissions = PermissionModel::AccessPolicies;
            vault.policies = vec![policy];
        });
    }
}

#[tokio::test]
async fn the_firewall_shuts_out_addresses_and_lets_trusted_services_through() {
    let house = House::new().await;
    house.create("cmk").await;
    for (public_access, rule, bypass, app, inner) in [
        (true, LOOPBACK, false, "app", None),
        (true, "10.0.0.0/8", true, "app", Some("ForbiddenByFirewall")),
        (true, "10.0.0.0/8", true, SERVICE, None),
        (true, "10.0.0.0/8", false, SERVICE, Some("ForbiddenByFirewall")),
        (false, LOOPBACK, true, "app", Some("ForbiddenByConnection")),
        (false, LOOPBACK, true, SERVICE, None),
        (false, LOOPBACK, false, SERVICE, Some("ForbiddenByConnection")),
    ] {
        let range = rule.parse().unwrap();
        house.set(move |vault| {
            vault.network.public_access = public_access;
            vault.network.default_allow = false;
            vault.network.trusted_services = bypass;
            vault.network.ranges = vec![range];
        });
        let reply = house.get_as(app).await;
        let expected = match inner {
            Some(inner) => (403, "Forbidden", Some(inner)),
            None => (200, "", None),
        };
        assert_eq!(reply.codes(), expected, "{public_access} {rule} {bypass} {app}");
    }
}

#[tokio::test]
async fn a_firewall_names_the_address_and_hears_nobody_without_a_token() {
    let house = House::new().await;
    house.set(|vault| vault.network.default_allow = false);
    let reply = house.get_as("app").await;
    let message = reply.text("/error/message");
    assert!(
        message.contains("\r\nClient address: 127.0.0.1\r\nCaller: appid=app;oid=object;"),
        "{message}"
    );
    assert!(message.ends_with("Vault: kv1;location=local"), "{message}");
    let event = house.audit.events.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        (event.operation_name, event.result_signature.as_str()),
        ("KeyGet", "ForbiddenByFirewall")
    );
    let stranger = house.send(Method::GET, "/keys/cmk", None, Vec::new()).await;
    assert_eq!(stranger.codes(), (401, "Unauthorized", None));
}

/// Every operation with the permission that it needs. Requests that pass meet a key that is not there, or a body that is none.
const OPERATIONS: [(Method, &str, KeyPermission); 24] = [
    (Method::POST, "/keys/none/create", KeyPermission::Create),
    (Method::GET, "/keys/none", KeyPermission::Get),
    (Method::GET, "/keys/none/abc", KeyPermission::Get),
    (Method::GET, "/keys", KeyPermission::List),
    (Method::GET, "/keys/none/versions", KeyPermission::List),
    (Method::PATCH, "/keys/none", KeyPermission::Update),
    (Method::POST, "/keys/none/rotate", KeyPermission::Rotate),
    (Method::POST, "/keys/none/wrapkey", KeyPermission::WrapKey),
    (Method::POST, "/keys/none/unwrapkey", KeyPermission::UnwrapKey),
    (Method::POST, "/keys/none/encrypt", KeyPermission::Encrypt),
    (Method::POST, "/keys/none/decrypt", KeyPermission::Decrypt),
    (Method::POST, "/keys/none/sign", KeyPermission::Sign),
    (Method::POST, "/keys/none/verify", KeyPermission::Verify),
    (Method::PUT, "/keys/none", KeyPermission::Import),
    (Method::POST, "/keys/none/backup", KeyPermission::Backup),
    (Method::POST, "/keys/restore", KeyPermission::Restore),
    (
        Method::GET,
        "/keys/none/rotationpolicy",
        KeyPermission::GetRotationPolicy,
    ),
    (
        Method::PUT,
        "/keys/none/rotationpolicy",
        KeyPermission::SetRotationPolicy,
    ),
    (Method::POST, "/keys/none/release", KeyPermission::Release),
    (Method::GET, "/deletedkeys/none", KeyPermission::Get),
    (Method::DELETE, "/keys/none", KeyPermission::Delete),
    (Method::GET, "/deletedkeys", KeyPermission::List),
    (Method::POST, "/deletedkeys/none/recover", KeyPermission::Recover),
    (Method::DELETE, "/deletedkeys/none", KeyPermission::Purge),
];

#[tokio::test]
async fn the_record_of_every_operation_has_every_field_of_the_schema_done_or_refused() {
    let house = House::new().await;
    house.create("cmk").await;
    let mut claims = house.claims(AUDIENCE);
    claims.upn = Some("ada@example.org".to_owned());
    let token = SIGNER.sign(&claims).unwrap();
    for (method, path, _) in OPERATIONS {
        for path in [path.to_owned(), path.replace("none", "cmk")] {
            house
                .send(method.clone(), &path, Some(&token), b"{}".to_vec())
                .await;
        }
    }
    house
        .send(Method::POST, "/rng", Some(&token), b"{\"count\":1}".to_vec())
        .await;
    let events = house.audit.events.lock().unwrap().clone();
    let mut names: Vec<_> = events.iter().map(|event| event.operation_name).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 24 && !names.contains(&"Unknown"), "{names:?}");
    for event in &events[1..] {
        let shown = serde_json::to_value(event).unwrap();
        for (name, is_right) in SCHEMA {
            let value = shown.pointer(name).and_then(Value::as_str);
            assert!(value.is_some_and(is_right), "{name} of {shown}");
        }
        let status = shown["properties"]["httpStatusCode"].as_u64().unwrap();
        let is_done = shown["resultType"] == "Success";
        assert_eq!(status < 300, is_done, "{shown}");
        assert_eq!(shown["resultSignature"] == "OK", is_done, "{shown}");
        assert_eq!(shown.get("resultDescription").is_some(), !is_done, "{shown}");
        let claim = shown["identity"]["claim"].as_object().unwrap();
        assert_eq!(
            claim["http://schemas.microsoft.com/identity/claims/objectidentifier"],
            "object"
        );
        assert_eq!(
            claim["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"],
            "ada@example.org"
        );
        assert_eq!((&claim["appid"], claim.len()), (&json!("app"), 3));
        assert!(shown["properties"]["id"].is_string());
    }
}

type Look = fn(&str) -> bool;

/// The documented texts of a record, by their places, and what they look like.
const SCHEMA: [(&str, Look); 11] = [
    ("/time", |text| text.parse::<Timestamp>().is_ok()),
    ("/resourceId", |text| {
        text.ends_with("/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/KV1")
    }),
    ("/operationName", |text| {
        text.starts_with("Key") || text == "RandomBytesGet"
    }),
    ("/operationVersion", |text| text == "7.6"),
    ("/category", |text| text == "AuditEvent"),
    ("/resultType", |text| ["Success", "Failed"].contains(&text)),
    ("/durationMs", |text| text.parse::<u64>().is_ok()),
    ("/callerIpAddress", |text| text == "127.0.0.1"),
    ("/correlationId", |text| text.parse::<Uuid>().is_ok()),
    ("/properties/clientInfo", |text| text == "tests"),
    ("/properties/requestUri", |text| {
        text.starts_with("https://kv1.vault.")
    }),
];

#[tokio::test]
async fn each_permission_of_a_policy_opens_its_own_operations_and_no_other() {
    let house = House::new().await;
    for granted in KeyPermission::EACH {
        house.grant("object", &[granted]);
        for (method, path, needed) in OPERATIONS {
            let reply = house.ask(method.clone(), path, Value::Null).await;
            if granted == needed || granted == KeyPermission::All {
                assert_ne!(
                    reply.codes().2,
                    Some("AccessDenied"),
                    "{granted:?} {method} {path}"
                );
                assert_ne!(reply.status, 401);
                continue;
            }
            assert_eq!(
                reply.codes(),
                (403, "Forbidden", Some("AccessDenied")),
                "{granted:?} {method} {path}"
            );
            let refusal = format!(
                "The user, group or application 'appid=app;oid=object;iss={}' does not have keys {} permission on key \
                 vault 'kv1;location=local'.",
                crate::testing::ISSUER,
                needed.name()
            );
            assert_eq!(reply.text("/error/message"), refusal);
        }
    }
}

#[tokio::test]
async fn switching_the_permission_model_ends_the_other_ones_grants_at_once() {
    let house = House::new().await;
    house.create("cmk").await;
    let read = || house.ask(Method::GET, "/keys/cmk", Value::Null);
    house.grant("object", &[]);
    assert_eq!(read().await.codes(), (403, "Forbidden", Some("AccessDenied")));
    house.grant(GROUP, &[KeyPermission::Get]);
    assert_eq!(read().await.status, 200);
    house.roles.0.lock().unwrap().push(KeyAction::Read);
    assert_eq!(read().await.status, 200);
    house.set(|vault| vault.permissions = PermissionModel::Rbac);
    assert_eq!(read().await.codes(), (403, "Forbidden", Some("ForbiddenByRbac")));
}

#[tokio::test]
async fn a_throttled_vault_says_when_to_come_back_and_lets_others_alone() {
    let house = House::new().await;
    house.set(|vault| vault.throttling = Some(Throttling::Limit2000));
    let create = || house.ask(Method::POST, "/keys/none/create", Value::Null);
    for _ in 0..10 {
        assert_eq!(create().await.status, 400);
    }
    house.clock.advance(std::time::Duration::from_millis(2500));
    for _ in 0..3 {
        let reply = create().await;
        assert_eq!(
            reply.codes(),
            (429, "Throttled", Some("VaultRequestTypeLimitReached"))
        );
        assert_eq!(reply.headers["retry-after"], "8");
    }
    assert_eq!(house.ask(Method::GET, "/keys", Value::Null).await.status, 200);
    house.clock.advance(std::time::Duration::from_millis(7500));
    assert_eq!(create().await.status, 400);
}

#[tokio::test]
async fn operations_count_by_the_size_of_their_key_and_only_where_they_are_permitted() {
    let house = House::new().await;
    let body = json!({"kty": "RSA", "key_size": 3072});
    house.ask(Method::POST, "/keys/cmk/create", body).await;
    house.set(|vault| vault.throttling = Some(Throttling::Limit2000));
    let read = || house.ask(Method::GET, "/keys/cmk", Value::Null);
    house.roles.0.lock().unwrap().push(KeyAction::Read);
    for _ in 0..10 {
        assert_eq!(read().await.status, 403);
    }
    house.roles.0.lock().unwrap().clear();
    for _ in 0..500 {
        assert_eq!(read().await.status, 200);
    }
    assert_eq!(read().await.status, 429);
}

#[tokio::test]
async fn a_deleted_vault_answers_as_one_that_is_not_there() {
    let house = House::new().await;
    house.create("cmk").await;
    house.engine.delete_vault(VAULT).unwrap();
    let read = || house.ask(Method::GET, "/keys/cmk", Value::Null);
    assert_eq!(read().await.codes(), (404, "VaultNotFound", None));
    house.engine.recover_vault(VAULT).unwrap();
    assert_eq!(read().await.status, 200);
}
