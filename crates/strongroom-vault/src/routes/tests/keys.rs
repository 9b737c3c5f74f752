//! What came after wrapping: kinds of keys, imports, backups, signatures, encryption, policies, random bytes.

use aws_lc_rs::rsa::KeySize;

use super::*;
use crate::Maintenance;
use crate::testing::rsa_numbers;

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk(size: KeySize) -> Value {
    let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
    let mut jwk = json!({"kty": "RSA"});
    for (name, number) in names.into_iter().zip(rsa_numbers(size)) {
        jwk[name] = encoded(&number).into();
    }
    jwk
}

impl House {
    async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask(Method::POST, path, body).await
    }

    async fn create_curve(&self, name: &str, curve: &str) -> Reply {
        let made = self
            .post(
                &format!("/keys/{name}/create"),
                json!({"kty": "EC", "crv": curve}),
            )
            .await;
        assert_eq!(made.status, 200, "{curve}: {}", made.body);
        made
    }
}

#[tokio::test]
async fn keys_on_curves_are_made_rotated_and_sign() {
    let house = House::new().await;
    for (curve, algorithm, digest, size) in [
        ("P-256", "ES256", 32, 32),
        ("P-384", "ES384", 48, 48),
        ("P-521", "ES512", 64, 66),
        ("P-256K", "ES256K", 32, 32),
    ] {
        let made = house.create_curve(curve, curve).await;
        assert_eq!((made.text("/key/kty"), made.text("/key/crv")), ("EC", curve));
        for coordinate in ["/key/x", "/key/y"] {
            assert_eq!(URL_SAFE_NO_PAD.decode(made.text(coordinate)).unwrap().len(), size);
        }
        assert_eq!(made.body["key"]["key_ops"], json!(["sign", "verify"]));
        assert!(made.body["key"].get("n").is_none());
        let digest = encoded(&vec![6; digest]);
        let signed = house
            .post(
                &format!("/keys/{curve}//sign"),
                json!({"alg": algorithm, "value": digest}),
            )
            .await;
        assert_eq!(signed.text("/kid"), made.text("/key/kid"));
        assert_eq!(
            URL_SAFE_NO_PAD.decode(signed.text("/value")).unwrap().len(),
            2 * size
        );
        let verify = |value: String| json!({"alg": algorithm, "digest": digest, "value": value});
        let path = format!("/keys/{curve}/verify");
        let good = house.post(&path, verify(signed.text("/value").to_owned())).await;
        assert_eq!(good.body, json!({"value": true}));
        let bad = house.post(&path, verify(encoded(&vec![1; 2 * size]))).await;
        assert_eq!(bad.body, json!({"value": false}));
        let short = house.post(&path, verify(encoded(&[1]))).await;
        assert_eq!(short.body, json!({"value": false}));
        let rotated = house.post(&format!("/keys/{curve}/rotate"), Value::Null).await;
        assert_eq!(rotated.text("/key/crv"), curve);
        assert_ne!(rotated.text("/key/x"), made.text("/key/x"));
    }
}

#[tokio::test]
async fn what_a_key_cannot_do_is_refused() {
    let house = House::new().await;
    house.create("rsa").await;
    house.create_curve("ec", "P-256").await;
    let digest = encoded(&[1; 32]);
    for (path, body) in [
        (
            "/keys/ec//wrapkey",
            json!({"alg": "RSA-OAEP-256", "value": digest}),
        ),
        (
            "/keys/ec//sign",
            json!({"alg": "ES384", "value": encoded(&[1; 48])}),
        ),
        ("/keys/ec//sign", json!({"alg": "PS256", "value": digest})),
        (
            "/keys/ec//sign",
            json!({"alg": "ES256", "value": encoded(&[1; 31])}),
        ),
        ("/keys/rsa//sign", json!({"alg": "ES256", "value": digest})),
        (
            "/keys/rsa//sign",
            json!({"alg": "RS256", "value": encoded(&[1; 20])}),
        ),
        ("/keys/rsa//sign", json!({"alg": "RSNULL", "value": digest})),
        ("/keys/rsa//sign", json!({"alg": "HS256", "value": digest})),
        (
            "/keys/rsa//verify",
            json!({"alg": "RS256", "digest": encoded(&[1]), "value": digest}),
        ),
        ("/keys/rsa//encrypt", json!({"alg": "A256GCM", "value": digest})),
        (
            "/keys/x/create",
            json!({"kty": "EC", "crv": "P-256", "key_ops": ["wrapKey"]}),
        ),
        ("/keys/x/create", json!({"kty": "EC", "crv": "P-224"})),
        ("/keys/x/create", json!({"kty": "EC-HSM", "crv": "P-256"})),
        ("/keys/x/create", json!({"kty": "oct-HSM"})),
        (
            "/keys/x/create",
            json!({"kty": "RSA", "release_policy": {"data": "x"}}),
        ),
        ("/rng", json!({"count": 0})),
        ("/rng", json!({"count": 129})),
        ("/keys/restore", json!({"value": "AAAA"})),
    ] {
        let reply = house.post(path, body.clone()).await;
        // A key that may not wrap says so first.
        let expected = if path.ends_with("wrapkey") { 403 } else { 400 };
        assert_eq!(reply.status, expected, "{path} {body}: {}", reply.body);
    }
    let update = json!({"key_ops": ["decrypt"]});
    assert_eq!(house.ask(Method::PATCH, "/keys/ec/", update).await.status, 400);
    let released = house.post("/keys/rsa//release", json!({"target": "t"})).await;
    assert_eq!(released.codes(), (403, "Forbidden", None));
    assert!(released.text("/error/message").contains("exportable"));
}

#[tokio::test]
async fn every_encryption_and_signature_of_rsa_comes_back() {
    let house = House::new().await;
    house.create("rsa").await;
    for algorithm in ["RSA-OAEP-256", "RSA-OAEP", "RSA1_5"] {
        for (there, back) in [("encrypt", "decrypt"), ("wrapkey", "unwrapkey")] {
            let plain = encoded(b"some thirty-two bytes, or so....");
            let body = |value: &str| json!({"alg": algorithm, "value": value});
            let made = house.post(&format!("/keys/rsa/{there}"), body(&plain)).await;
            let read = house
                .post(&format!("/keys/rsa//{back}"), body(made.text("/value")))
                .await;
            assert_eq!(read.text("/value"), plain, "{algorithm}");
            assert_eq!(read.text("/kid"), made.text("/kid"));
            // One answer, whatever is wrong.
            let wrong = [[0; 256], [1; 256], [0x7f; 256]].map(|value| body(&encoded(&value)));
            let mut answers = Vec::new();
            for wrong in wrong {
                answers.push(house.post(&format!("/keys/rsa//{back}"), wrong).await.body);
            }
            assert_eq!(answers[0]["error"]["code"], "BadParameter");
            assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
    for (algorithm, length) in [
        ("PS256", 32),
        ("PS384", 48),
        ("PS512", 64),
        ("RS256", 32),
        ("RS384", 48),
        ("RS512", 64),
    ] {
        let digest = encoded(&vec![3; length]);
        let signed = house
            .post("/keys/rsa//sign", json!({"alg": algorithm, "value": digest}))
            .await;
        let verify = json!({"alg": algorithm, "digest": digest, "value": signed.text("/value")});
        assert_eq!(
            house.post("/keys/rsa//verify", verify).await.body,
            json!({"value": true})
        );
    }
}

#[tokio::test]
async fn times_bind_signing_and_encrypting_and_not_their_opposites() {
    let house = House::new().await;
    house.create("rsa").await;
    let digest = encoded(&[2; 32]);
    let sign = json!({"alg": "PS256", "value": digest});
    let encrypt = json!({"alg": "RSA-OAEP", "value": digest});
    let signed = house.post("/keys/rsa//sign", sign.clone()).await;
    let encrypted = house.post("/keys/rsa//encrypt", encrypt.clone()).await;
    let verify = json!({"alg": "PS256", "digest": digest, "value": signed.text("/value")});
    let decrypt = json!({"alg": "RSA-OAEP", "value": encrypted.text("/value")});
    let now = house.clock.seconds();
    for (attributes, inner) in [
        (json!({"exp": now - 1}), "KeyExpired"),
        (json!({"nbf": now + 100, "exp": now + 200}), "KeyNotYetValid"),
        (json!({"enabled": false}), "KeyDisabled"),
    ] {
        let changed = house
            .ask(Method::PATCH, "/keys/rsa", json!({"attributes": attributes}))
            .await;
        assert_eq!(changed.status, 200);
        let refused = (403, "Forbidden", Some(inner));
        assert_eq!(house.post("/keys/rsa//sign", sign.clone()).await.codes(), refused);
        assert_eq!(
            house.post("/keys/rsa//encrypt", encrypt.clone()).await.codes(),
            refused
        );
        let expected = if inner == "KeyDisabled" { 403 } else { 200 };
        assert_eq!(
            house.post("/keys/rsa//verify", verify.clone()).await.status,
            expected
        );
        assert_eq!(
            house.post("/keys/rsa//decrypt", decrypt.clone()).await.status,
            expected
        );
    }
}

#[tokio::test]
async fn what_a_patch_leaves_out_or_empties_is_kept_or_emptied() {
    let house = House::new().await;
    let now = house.clock.seconds();
    let body = json!({"kty": "RSA", "tags": {"a": "b"}, "attributes": {"exp": now + 9}, "key_ops": null});
    let made = house.post("/keys/k/create", body).await;
    for nothing in [
        json!({}),
        json!({"attributes": null, "tags": null, "key_ops": null, "release_policy": null}),
        json!({"attributes": {}}),
        json!({"attributes": {"exp": null, "enabled": null}}),
    ] {
        assert_eq!(
            house.ask(Method::PATCH, "/keys/k/", nothing).await.body,
            made.body
        );
    }
    let emptied = house
        .ask(Method::PATCH, "/keys/k/", json!({"tags": {}, "key_ops": []}))
        .await;
    assert_eq!(
        (emptied.body.get("tags"), &emptied.body["key"]["key_ops"]),
        (None, &json!([]))
    );
    let late = json!({"attributes": {"nbf": now + 9}});
    assert_eq!(
        house.ask(Method::PATCH, "/keys/k/", late).await.codes(),
        (400, "BadParameter", None)
    );
    let attributes = &made.body["attributes"];
    assert_eq!(
        (&attributes["exportable"], &attributes["hsmPlatform"]),
        (&json!(false), &json!("0"))
    );
    assert!(attributes.get("managed").is_none() && made.body.get("managed").is_none());
}

#[tokio::test]
async fn a_key_made_elsewhere_is_imported_and_used() {
    let house = House::new().await;
    let jwk = rsa_jwk(KeySize::Rsa3072);
    let body =
        json!({"key": jwk, "Hsm": false, "tags": {"from": "elsewhere"}, "attributes": {"enabled": true}});
    let imported = house.ask(Method::PUT, "/keys/brought", body.clone()).await;
    assert_eq!(imported.status, 200, "{}", imported.body);
    assert_eq!(imported.text("/key/e"), "AQAB");
    assert_eq!(imported.text("/tags/from"), "elsewhere");
    assert!(imported.body["key"].get("d").is_none());
    let wrapped = house.wrap("/keys/brought/").await;
    let plain = house.unwrap("/keys/brought/", wrapped.text("/value")).await;
    assert_eq!(plain.text("/value"), encoded(&[7; 32]));
    let again = house.ask(Method::PUT, "/keys/brought", body).await;
    assert_ne!(again.text("/key/kid"), imported.text("/key/kid"));

    let without = |name: &str| {
        let mut jwk = jwk.clone();
        jwk.as_object_mut().unwrap().remove(name);
        json!({"key": jwk})
    };
    let mut swapped = jwk.clone();
    swapped["p"] = jwk["q"].clone();
    for refused in [
        without("d"),
        without("qi"),
        without("kty"),
        json!({"key": swapped}),
        json!({"key": jwk, "Hsm": true}),
        json!({"key": {"kty": "oct", "k": "AAAA"}}),
        json!({"key": {"kty": "RSA-HSM", "key_hsm": "AAAA"}}),
        json!({"key": {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "d": "AAAA"}}),
        json!({}),
    ] {
        let reply = house.ask(Method::PUT, "/keys/no", refused).await;
        assert_eq!(reply.codes(), (400, "BadParameter", None));
    }
    assert_eq!(house.ask(Method::GET, "/keys/no", Value::Null).await.status, 404);
    let records = serde_json::to_string(&*house.audit.events.lock().unwrap()).unwrap();
    assert!(!records.contains(jwk["d"].as_str().unwrap()));
}

#[tokio::test]
async fn a_backup_is_restored_once_its_name_is_free() {
    let house = House::new().await;
    let settings = VaultSettings {
        name: "kv2".to_owned(),
        ..crate::testing::vault_settings()
    };
    house.engine.create_vault(settings).unwrap();
    let made = house.create("cmk").await;
    let backup = house.post("/keys/cmk/backup", Value::Null).await;
    assert_eq!(backup.body.as_object().unwrap().len(), 1);
    let restore = json!({"value": backup.text("/value")});
    assert_eq!(
        house.post("/keys/restore", restore.clone()).await.codes(),
        (409, "Conflict", None)
    );
    house.ask(Method::DELETE, "/keys/cmk", Value::Null).await;
    let held = (409, "Conflict", Some("ObjectIsDeletedButRecoverable"));
    assert_eq!(house.post("/keys/restore", restore.clone()).await.codes(), held);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/keys/restore?api-version=2025-07-01")
        .header("authorization", format!("Bearer {}", house.token()))
        .body(Body::from(restore.to_string()))
        .unwrap();
    request.extensions_mut().insert(VaultHost {
        vault: "kv2".to_owned(),
        authority: "kv2.vault.localhost".to_owned(),
    });
    let response = routes(house.routes()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let restored: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(restored["key"]["n"], made.body["key"]["n"]);
}

#[tokio::test]
async fn rotation_policies_are_shown_set_and_refused() {
    let house = House::new().await;
    house.create("cmk").await;
    let path = "/keys/cmk/rotationpolicy";
    let notify = json!({"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}});
    let unset = house.ask(Method::GET, path, Value::Null).await;
    let id = format!("https://{AUTHORITY}/keys/cmk/rotationpolicy");
    assert_eq!(
        unset.body,
        json!({"id": id, "lifetimeActions": [notify], "attributes": {}})
    );
    let rotate = json!({"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "rotate"}});
    let body = json!({"lifetimeActions": [rotate], "attributes": {"expiryTime": "P2Y"}});
    let set = house.ask(Method::PUT, path, body).await;
    let now = house.clock.seconds();
    let expected = json!({
        "id": id,
        "lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}, notify],
        "attributes": {"expiryTime": "P2Y", "created": now, "updated": now},
    });
    assert_eq!(set.body, expected);
    // What was shown can be sent back.
    assert_eq!(
        house.ask(Method::PUT, path, set.body.clone()).await.body,
        expected
    );
    assert_eq!(house.ask(Method::GET, path, Value::Null).await.body, expected);
    let after = |text: &str| json!({"trigger": {"timeAfterCreate": text}, "action": {"type": "Rotate"}});
    for refused in [
        json!({"lifetimeActions": [after("P6D")]}),
        json!({"lifetimeActions": [after("90 days")]}),
        json!({"lifetimeActions": [after("P30D"), after("P31D")]}),
        json!({"lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Notify"}}]}),
        json!({"lifetimeActions": [{"trigger": {}, "action": {"type": "Rotate"}}]}),
        json!({"lifetimeActions": [{"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Burn"}}]}),
        json!({"attributes": {"expiryTime": "P27D"}}),
    ] {
        let reply = house.ask(Method::PUT, path, refused.clone()).await;
        assert_eq!(reply.codes(), (400, "BadParameter", None), "{refused}");
    }
    let reset = house.ask(Method::PUT, path, json!({"lifetimeActions": []})).await;
    assert_eq!(reset.body["lifetimeActions"], json!([notify]));
}

#[tokio::test]
async fn random_bytes_are_given() {
    let house = House::new().await;
    let mut seen = Vec::new();
    for count in [1, 16, 128] {
        let reply = house.post("/rng", json!({"count": count})).await;
        let bytes = URL_SAFE_NO_PAD.decode(reply.text("/value")).unwrap();
        assert_eq!(bytes.len(), count);
        seen.push(bytes);
    }
    assert_ne!(seen[1], seen[2][..16]);
}

/// A permission, what needs it, and how that is called on record.
type Guarded = (KeyAction, Method, &'static str, &'static str);

const GUARDED: [Guarded; 11] = [
    (KeyAction::Import, Method::PUT, "/keys/cmk", "KeyImport"),
    (KeyAction::Backup, Method::POST, "/keys/cmk/backup", "KeyBackup"),
    (KeyAction::Restore, Method::POST, "/keys/restore", "KeyRestore"),
    (
        KeyAction::Encrypt,
        Method::POST,
        "/keys/cmk//encrypt",
        "KeyEncrypt",
    ),
    (
        KeyAction::Decrypt,
        Method::POST,
        "/keys/cmk//decrypt",
        "KeyDecrypt",
    ),
    (KeyAction::Sign, Method::POST, "/keys/cmk//sign", "KeySign"),
    (KeyAction::Verify, Method::POST, "/keys/cmk//verify", "KeyVerify"),
    (
        KeyAction::ReadRotationPolicy,
        Method::GET,
        "/keys/cmk/rotationpolicy",
        "KeyRotationPolicyGet",
    ),
    (
        KeyAction::WriteRotationPolicy,
        Method::PUT,
        "/keys/cmk/rotationpolicy",
        "KeyRotationPolicySet",
    ),
    (KeyAction::Read, Method::POST, "/rng", "RandomBytesGet"),
    (
        KeyAction::Release,
        Method::POST,
        "/keys/cmk/release",
        "KeyRelease",
    ),
];

#[tokio::test]
async fn each_new_operation_needs_its_permission_and_is_on_record() {
    let house = House::new().await;
    house.create("cmk").await;
    for (action, method, path, name) in GUARDED {
        *house.roles.0.lock().unwrap() = vec![action];
        let refused = house.ask(method.clone(), path, json!({})).await;
        assert_eq!(
            refused.codes(),
            (403, "Forbidden", Some("ForbiddenByRbac")),
            "{path}"
        );
        assert!(refused.text("/error/message").contains(action.data_action()));
        let others = KeyAction::ALL.into_iter().filter(|other| *other != action);
        *house.roles.0.lock().unwrap() = others.collect();
        let reply = house.ask(method, path, json!({})).await;
        assert_ne!(reply.codes().2, Some("ForbiddenByRbac"), "{path}");
        let records = house.audit.events.lock().unwrap();
        let [.., first, second] = &**records else {
            panic!("no records")
        };
        assert_eq!((first.operation_name, second.operation_name), (name, name));
        assert_eq!(first.result_signature, "ForbiddenByRbac");
        assert_eq!(second.properties.http_status_code, reply.status);
    }
}

#[tokio::test]
async fn maintenance_rotates_on_time_and_puts_it_on_record() {
    let house = House::new().await;
    house.create("cmk").await;
    let rotate = json!({"trigger": {"timeAfterCreate": "P30D"}, "action": {"type": "Rotate"}});
    let body = json!({"lifetimeActions": [rotate], "attributes": {"expiryTime": "P60D"}});
    assert_eq!(
        house
            .ask(Method::PUT, "/keys/cmk/rotationpolicy", body)
            .await
            .status,
        200
    );
    house.audit.events.lock().unwrap().clear();
    house.clock.advance(DAY * 30);
    let mut changes = house.engine.subscribe();
    let maintenance = Maintenance {
        engine: house.engine.clone(),
        audit: Arc::clone(&house.audit) as Arc<dyn AuditSink>,
        clock: Arc::clone(&house.clock) as Arc<dyn Clock>,
        domain: "vault.localhost:8443".to_owned(),
    };
    let running = tokio::spawn(maintenance.clone().run());
    let change = changes.recv().await.unwrap();
    let version = change.version.unwrap();
    let recorded = || house.audit.events.lock().unwrap().first().cloned();
    while recorded().is_none() {
        tokio::task::yield_now().await;
    }
    let event = recorded().unwrap();
    assert_eq!(event.operation_name, "KeyRotate");
    assert_eq!(
        event.properties.id,
        format!("https://kv1.vault.localhost:8443/keys/cmk/{version}")
    );
    assert!(event.identity.claim.is_none());
    running.abort();
    let latest = house.ask(Method::GET, "/keys/cmk", Value::Null).await;
    assert_eq!(latest.text("/key/kid"), event.properties.id);
    assert!(latest.body["attributes"]["exp"].is_u64());
}
