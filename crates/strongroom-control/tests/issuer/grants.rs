//! Client credentials with a secret, in both versions, and everything that is wrong with a request.

use axum::body::Body;
use http::Request;
use http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER};
use strongroom_control::NewSecret;

use crate::rig::{ASSERTION_TYPE, AUTHORITY, Rig, START, VAULT, VAULT_SCOPE, client, form, send};

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test]
async fn an_application_gets_a_token_that_verifies_as_msal_asks_for_it() {
    let rig = Rig::new();
    let id = client(&rig.administrator);
    let msal = [
        ("client_secret", rig.secret.as_str()),
        ("client_info", "1"),
        ("claims", r#"{"access_token":{"xms_cc":{"values":["CP1"]}}}"#),
    ];
    let answer = rig.ask_as(&id, &msal).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body["token_type"].as_str()),
        (200, Some("Bearer"))
    );
    assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
    assert!(answer.body["expires_in"].is_u64());
    let claims = rig.verify(answer.token()).await.unwrap();
    assert_eq!(claims.oid, rig.administrator.object_id.to_string());
    assert_eq!(claims.appid, Some(id));
    assert_eq!(claims.iss, format!("{AUTHORITY}/{}/v2.0", rig.control.tenant()));
}

#[tokio::test]
async fn the_first_version_takes_a_resource_and_answers_with_text() {
    let rig = Rig::new();
    let path = format!("/{}/oauth2/token", rig.control.tenant());
    let id = client(&rig.administrator);
    let fields = [
        GRANT,
        ("client_id", id.as_str()),
        ("client_secret", &rig.secret),
        ("resource", VAULT),
    ];
    let answer = rig.post(&path, &form(&fields)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body["resource"].as_str()),
        (200, Some(VAULT))
    );
    assert_eq!(answer.body["expires_in"], "3600");
    assert_eq!(answer.body["expires_on"], (START + 3600).to_string());
    assert_eq!(rig.verify(answer.token()).await.unwrap().aud, VAULT);
    assert_eq!(rig.post(&path, &form(&fields[..3])).await.number(), 900_144);
}

#[tokio::test]
async fn discovery_in_both_versions_names_this_authority_and_the_keys_that_sign() {
    let rig = Rig::new();
    let tenant = rig.control.tenant();
    for (version, oauth, keys) in [
        ("v2.0/", "oauth2/v2.0/token", "discovery/v2.0/keys"),
        ("", "oauth2/token", "discovery/keys"),
    ] {
        let document = rig
            .get(&format!("/{tenant}/{version}.well-known/openid-configuration"))
            .await
            .body;
        assert_eq!(
            document["token_endpoint"],
            format!("{AUTHORITY}/{tenant}/{oauth}")
        );
        assert_eq!(document["jwks_uri"], format!("{AUTHORITY}/{tenant}/{keys}"));
        let published = rig.get(&format!("/{tenant}/{keys}")).await.body;
        assert_eq!(
            (
                published["keys"][0]["kty"].as_str(),
                published["keys"].as_array().unwrap().len()
            ),
            (Some("RSA"), 2)
        );
    }
    let any = rig
        .get("/organizations/v2.0/.well-known/openid-configuration")
        .await;
    assert_eq!(any.body["issuer"], format!("{AUTHORITY}/{tenant}/v2.0"));
    let refusal = rig.get("/common/v2.0/.well-known/openid-configuration").await;
    assert_eq!((refusal.status.as_u16(), refusal.number()), (400, 90002));
}

#[tokio::test]
async fn exactly_one_default_is_taken_off_a_scope() {
    let rig = Rig::new();
    let id = client(&rig.administrator);
    for (scope, audience) in [
        (
            "https://management.core.windows.net//.default",
            Some("https://management.core.windows.net/"),
        ),
        (
            "https://management.azure.com/.default",
            Some("https://management.azure.com"),
        ),
        (
            "https://vault.localhost:8443/.default",
            Some("https://vault.localhost:8443"),
        ),
        (
            "https://vault.localhost/.default",
            Some("https://vault.localhost"),
        ),
        (
            "https://graph.localhost:8443//.default",
            Some("https://graph.localhost:8443/"),
        ),
        (
            "https://localhost:8443//.default",
            Some("https://localhost:8443/"),
        ),
        (
            "https://cognitiveservices.azure.com/.default",
            Some("https://cognitiveservices.azure.com"),
        ),
        ("https://ai.azure.com/.default", Some("https://ai.azure.com")),
        ("https://vault.azure.net/.default/.default", None),
        ("https://vault.azure.net///.default", None),
        ("https://evil.example/.default", None),
        ("api://other/.default", None),
        ("/.default", None),
    ] {
        let answer = rig.ask_for(&id, scope, &[("client_secret", &rig.secret)]).await;
        let Some(audience) = audience else {
            assert_eq!(
                (answer.status.as_u16(), answer.number()),
                (400, 500_011),
                "{scope}"
            );
            continue;
        };
        let verifier = rig.issuer.verifier([]);
        let claims = verifier.verify(answer.token(), &[audience], START).await.unwrap();
        assert_eq!(claims.aud, audience);
    }
}

/// The fields of a request; status and number of the refusal.
type Case<'a> = (&'a [(&'a str, &'a str)], u16, u64);

#[tokio::test]
async fn refusals_carry_the_numbers_that_clients_know() {
    let rig = Rig::new();
    let id = client(&rig.administrator);
    let (grant, secret, scope) = (
        GRANT,
        ("client_secret", rig.secret.as_str()),
        ("scope", VAULT_SCOPE),
    );
    let who = ("client_id", id.as_str());
    let cases: &[Case<'_>] = &[
        (&[grant, who, ("client_secret", "wrong"), scope], 401, 7_000_215),
        (&[grant, who, scope], 401, 7_000_218),
        (&[grant, ("client_id", "nobody"), secret, scope], 400, 700_016),
        (
            &[
                grant,
                ("client_id", "00000000-0000-0000-0000-000000000000"),
                secret,
                scope,
            ],
            400,
            700_016,
        ),
        (&[("grant_type", "password"), who], 400, 70003),
        (&[], 400, 900_144),
        (&[grant, secret, scope], 400, 900_144),
        (&[grant, who, secret], 400, 900_144),
        (&[grant, who, secret, ("scope", VAULT)], 400, 1_002_012),
        (
            &[
                grant,
                who,
                secret,
                ("scope", "https://vault.azure.net/.default openid"),
            ],
            400,
            1_002_012,
        ),
        (&[grant, who, secret, scope, ("resource", VAULT)], 400, 901_002),
        (&[grant, who, secret, scope, scope], 400, 9_002_313),
        (
            &[grant, who, secret, scope, ("client_assertion", "a.b.c")],
            400,
            9_002_313,
        ),
        (&[grant, who, scope, ("client_assertion", "a.b.c")], 400, 900_144),
        (
            &[
                grant,
                who,
                scope,
                ("client_assertion", "a.b.c"),
                ("client_assertion_type", ASSERTION_TYPE),
            ],
            401,
            50027,
        ),
    ];
    for (fields, status, number) in cases {
        let answer = rig.ask(fields).await;
        assert_eq!(
            (answer.status.as_u16(), answer.number()),
            (*status, *number),
            "{fields:?}"
        );
        assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
    }
}

#[tokio::test]
async fn bodies_that_are_no_forms_and_foreign_tenants_are_refused_by_number() {
    let rig = Rig::new();
    let path = format!("/{}/oauth2/v2.0/token", rig.control.tenant());
    let long = format!("scope=x&{}", "x".repeat(100_000));
    for (body, number) in [(long.as_str(), 9_002_313), ("\u{0}\u{1}=%ff%", 900_144)] {
        assert_eq!(rig.post(&path, body).await.number(), number);
    }
    let foreign = rig
        .post("/00000000-0000-0000-0000-000000000000/oauth2/v2.0/token", "")
        .await;
    assert_eq!((foreign.status.as_u16(), foreign.number()), (400, 90002));
}

#[tokio::test]
async fn a_refusal_can_be_found_again() {
    let rig = Rig::new();
    let path = format!("/{}/oauth2/v2.0/token", rig.control.tenant());
    let own = "6f1b6b0e-7a55-4a5e-9d0f-2f5f3a9f1c11";
    let request = Request::post(path)
        .header("client-request-id", own)
        .body(Body::empty())
        .unwrap();
    let body = send(rig.issuer.routes(), request).await.body;
    assert_eq!(
        (body["error"].as_str(), body["correlation_id"].as_str()),
        (Some("invalid_request"), Some(own))
    );
    assert_eq!(body["timestamp"], "2027-01-15 08:00:00Z");
    let trace = body["trace_id"].as_str().unwrap();
    let end = format!(" Trace ID: {trace} Correlation ID: {own} Timestamp: 2027-01-15 08:00:00Z");
    let description = body["error_description"].as_str().unwrap();
    assert!(
        description.starts_with("AADSTS900144: ") && description.ends_with(&end),
        "{description}"
    );
}

#[tokio::test]
async fn secrets_stand_side_by_side_and_end_apart() {
    let rig = Rig::new();
    let (application, first) = rig.application(Some(START + 100));
    let id = client(&application);
    let (second_id, second) = rig
        .actor()
        .add_secret(application.object_id, NewSecret::default())
        .unwrap();
    for secret in [&first, &second] {
        assert_eq!(rig.ask_as(&id, &[("client_secret", secret)]).await.status, 200);
    }
    rig.clock.advance(100);
    assert_eq!(
        rig.ask_as(&id, &[("client_secret", &first)]).await.number(),
        7_000_222
    );
    assert_eq!(rig.ask_as(&id, &[("client_secret", &second)]).await.status, 200);
    assert!(
        rig.actor()
            .remove_credential(application.object_id, second_id)
            .unwrap()
    );
    assert_eq!(
        rig.ask_as(&id, &[("client_secret", &second)]).await.number(),
        7_000_215
    );
    // The id of a secret is no secret.
    assert_eq!(
        rig.ask_as(&id, &[("client_secret", &second_id.to_string())])
            .await
            .number(),
        7_000_215
    );
}

#[tokio::test]
async fn a_client_may_prove_itself_in_the_header() {
    let rig = Rig::new();
    let basic = format!("{}:{}", client(&rig.administrator), rig.secret.as_str());
    let header = format!(
        "Basic {}",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, basic)
    );
    let path = format!("/{}/oauth2/v2.0/token", rig.control.tenant());
    let request = |header: &str| {
        let body = form(&[GRANT, ("scope", VAULT_SCOPE)]);
        Request::post(&path)
            .header(AUTHORIZATION, header)
            .body(Body::from(body))
            .unwrap()
    };
    assert_eq!(send(rig.issuer.routes(), request(&header)).await.status, 200);
    assert_eq!(
        send(rig.issuer.routes(), request("Basic !")).await.number(),
        9_002_313
    );
}

#[tokio::test]
async fn wrong_proofs_are_slowed_down_and_lock_nobody_out() {
    let rig = Rig::new();
    let id = client(&rig.administrator);
    let (other, secret) = rig.application(None);
    let mut last = rig.ask_as(&id, &[("client_secret", "wrong")]).await;
    for _ in 0..20 {
        last = rig.ask_as(&id, &[("client_secret", "wrong")]).await;
    }
    assert_eq!(
        (last.status.as_u16(), last.body["error"].as_str()),
        (429, Some("temporarily_unavailable"))
    );
    assert_eq!(last.headers[RETRY_AFTER], "60");
    // The administrator still comes in, and so does everybody else.
    assert_eq!(
        rig.ask_as(&id, &[("client_secret", &rig.secret)]).await.status,
        200
    );
    assert_eq!(
        rig.ask_as(&client(&other), &[("client_secret", &secret)])
            .await
            .status,
        200
    );
    rig.clock.advance(60);
    assert_eq!(
        rig.ask_as(&id, &[("client_secret", "wrong")]).await.number(),
        7_000_215
    );
}

#[tokio::test]
async fn unknown_clients_are_slowed_down_together() {
    let rig = Rig::new();
    for _ in 0..20 {
        assert_eq!(
            rig.ask_as("nobody", &[("client_secret", "x")]).await.number(),
            700_016
        );
    }
    let other = uuid::Uuid::new_v4().to_string();
    assert_eq!(rig.ask_as(&other, &[("client_secret", "x")]).await.status, 429);
}
