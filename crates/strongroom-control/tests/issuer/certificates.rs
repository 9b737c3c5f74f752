//! Assertions that a client signs itself, with a registered certificate.

use rcgen::{CertificateParams, date_time_ymd};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use std::sync::Arc;
use strongroom_azure::token::{Certificate, Signer};
use strongroom_control::{ControlError, NewCertificate, Principal};

use crate::rig::{AUTHORITY, Rig, START, client};

struct Holder {
    application: Arc<Principal>,
    signer: Signer,
    certificate: Certificate,
    pem: String,
}

fn pem(signer: &Signer, last_year: i32) -> String {
    let key = signer
        .expose_pkcs8(|der| {
            let der = PrivatePkcs8KeyDer::from(der.to_vec());
            rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256).unwrap()
        })
        .unwrap();
    let mut parameters = CertificateParams::new(vec!["app".to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(2024, 1, 1);
    parameters.not_after = date_time_ymd(last_year, 1, 1);
    parameters.self_signed(&key).unwrap().pem()
}

impl Holder {
    fn new(rig: &Rig) -> Self {
        let application = rig.actor().create_application("app").unwrap();
        let signer = Signer::generate().unwrap();
        let pem = pem(&signer, 2028);
        let new = NewCertificate {
            display_name: Some("laptop".to_owned()),
            pem: pem.clone(),
        };
        rig.actor().add_certificate(application.object_id, &new).unwrap();
        Self {
            certificate: Certificate::from_pem(&pem).unwrap(),
            application,
            signer,
            pem,
        }
    }

    fn id(&self) -> String {
        client(&self.application)
    }

    fn claims(&self, rig: &Rig) -> Value {
        let now = rig.clock.seconds();
        json!({"aud": rig.endpoint(), "iss": self.id(), "sub": self.id(), "jti": uuid::Uuid::new_v4(), "iat": now, "exp": now + 600})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "typ": "JWT", "x5t": self.certificate.sha1});
        self.signer
            .sign_text(&header.to_string(), &claims.to_string())
            .unwrap()
    }
}

#[tokio::test]
async fn a_certificate_proves_its_application() {
    let rig = Rig::new();
    let holder = Holder::new(&rig);
    let answer = rig
        .ask_with_assertion(&holder.id(), &format!("{}\n", holder.sign(&holder.claims(&rig))))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let claims = rig.verify(answer.token()).await.unwrap();
    assert_eq!(claims.oid, holder.application.object_id.to_string());
}

#[tokio::test]
async fn every_name_of_the_token_endpoint_will_do_and_no_other() {
    let rig = Rig::new();
    let holder = Holder::new(&rig);
    let tenant = rig.control.tenant();
    for (audience, number) in [
        (format!("{AUTHORITY}/{tenant}/oauth2/v2.0/token"), 0),
        (format!("{AUTHORITY}/{tenant}/oauth2/token"), 0),
        (
            format!("https://login.localhost:8443/{tenant}/oauth2/v2.0/token"),
            0,
        ),
        (format!("https://login.localhost/{tenant}/oauth2/v2.0/token"), 0),
        (
            format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"),
            700_023,
        ),
        (format!("{AUTHORITY}/other/oauth2/v2.0/token"), 700_023),
        (AUTHORITY.to_owned(), 700_023),
    ] {
        let mut claims = holder.claims(&rig);
        claims["aud"] = json!(audience);
        assert_eq!(
            rig.ask_with_assertion(&holder.id(), &holder.sign(&claims))
                .await
                .number(),
            number,
            "{audience}"
        );
    }
}

#[tokio::test]
async fn an_assertion_counts_once_for_each_resource_even_after_a_restart() {
    let mut rig = Rig::new();
    let holder = Holder::new(&rig);
    let assertion = holder.sign(&holder.claims(&rig));
    let proof = [
        ("client_assertion", assertion.as_str()),
        ("client_assertion_type", crate::rig::ASSERTION_TYPE),
    ];
    assert_eq!(rig.ask_as(&holder.id(), &proof).await.status, 200);
    // Microsoft's clients show one assertion for every resource that they ask for.
    let other = "https://management.azure.com/.default";
    assert_eq!(rig.ask_for(&holder.id(), other, &proof).await.status, 200);
    rig.restart();
    for scope in [
        other,
        "https://management.azure.com//.default",
        "https://VAULT.azure.net/.default",
    ] {
        let answer = rig.ask_for(&holder.id(), scope, &proof).await;
        assert_eq!(
            (answer.status.as_u16(), answer.number()),
            (401, 700_027),
            "{scope}"
        );
    }
    rig.clock.advance(1000);
    assert_eq!(rig.ask_as(&holder.id(), &proof).await.number(), 700_024);
}

#[tokio::test]
async fn each_defect_of_an_assertion_has_its_number() {
    let rig = Rig::new();
    let holder = Holder::new(&rig);
    let changes: [(&str, Value, u64); 8] = [
        ("exp", json!(START - 301), 700_024),
        ("exp", json!(START + 8000), 700_024),
        ("nbf", json!(START + 301), 700_024),
        ("iat", json!(START + 301), 700_024),
        ("sub", json!(rig.administrator.object_id), 700_021),
        ("jti", Value::Null, 50027),
        ("jti", json!(""), 50027),
        ("exp", json!("soon"), 50027),
    ];
    for (claim, value, number) in changes {
        let mut claims = holder.claims(&rig);
        claims[claim] = value;
        let answer = rig.ask_with_assertion(&holder.id(), &holder.sign(&claims)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.number()),
            (401, number),
            "{claims}"
        );
    }
}

#[tokio::test]
async fn only_the_registered_key_signs_and_only_by_what_names_it() {
    let rig = Rig::new();
    let (holder, other) = (Holder::new(&rig), Holder::new(&rig));
    let claims = holder.claims(&rig);
    let x5t = json!({"alg": "RS256", "x5t": holder.certificate.sha1});
    let mut attempts = vec![
        // Another key under the registered thumbprint, and a registered one of somebody else.
        other
            .signer
            .sign_text(&x5t.to_string(), &claims.to_string())
            .unwrap(),
        other.sign(&claims),
    ];
    for header in [
        json!({"alg": "RS256"}),
        json!({"alg": "RS256", "kid": holder.certificate.sha1}),
        json!({"alg": "PS256", "x5t": holder.certificate.sha1}),
        json!({"alg": "RS256", "x5t": holder.certificate.sha1, "x5t#S256": "other"}),
    ] {
        attempts.push(
            holder
                .signer
                .sign_text(&header.to_string(), &claims.to_string())
                .unwrap(),
        );
    }
    for attempt in attempts {
        assert_eq!(
            rig.ask_with_assertion(&holder.id(), &attempt).await.number(),
            700_027
        );
    }
    // The issuer is the other application: for this client nobody vouches.
    let foreign = holder.sign(&other.claims(&rig));
    assert_eq!(
        rig.ask_with_assertion(&holder.id(), &foreign).await.number(),
        70021
    );
    for header in [
        json!({"alg": "none", "x5t": "x"}),
        json!({"alg": "RS256", "jwk": {"kty": "RSA"}}),
    ] {
        let attempt = holder
            .signer
            .sign_text(&header.to_string(), &claims.to_string())
            .unwrap();
        assert_eq!(
            rig.ask_with_assertion(&holder.id(), &attempt).await.number(),
            50027
        );
    }
}

#[tokio::test]
async fn a_certificate_ends_with_its_time_and_when_it_is_taken_away() {
    let rig = Rig::new();
    let holder = Holder::new(&rig);
    rig.clock.advance(2 * 365 * 86_400);
    let late = holder.sign(&holder.claims(&rig));
    assert_eq!(
        rig.ask_with_assertion(&holder.id(), &late).await.number(),
        700_027
    );

    let rig = Rig::new();
    let holder = Holder::new(&rig);
    let again = NewCertificate {
        display_name: None,
        pem: holder.pem.clone(),
    };
    // Registered once, however often it is asked for.
    let id = rig
        .actor()
        .add_certificate(holder.application.object_id, &again)
        .unwrap()
        .id;
    assert!(
        rig.actor()
            .remove_credential(holder.application.object_id, id)
            .unwrap()
    );
    let gone = holder.sign(&holder.claims(&rig));
    assert_eq!(
        rig.ask_with_assertion(&holder.id(), &gone).await.number(),
        700_027
    );
}

#[test]
fn what_cannot_prove_an_application_is_not_registered() {
    let rig = Rig::new();
    let application = rig.actor().create_application("app").unwrap().object_id;
    let group = rig.actor().create_group("group").unwrap().object_id;
    let signer = Signer::generate().unwrap();
    let register = |who, pem: String| {
        let new = NewCertificate {
            display_name: None,
            pem,
        };
        rig.actor().add_certificate(who, &new).err()
    };
    for (who, pem) in [
        (application, String::new()),
        (application, pem(&signer, 2025)),
        (
            application,
            rcgen::generate_simple_self_signed(["x".to_owned()])
                .unwrap()
                .cert
                .pem(),
        ),
        (group, pem(&signer, 2028)),
    ] {
        assert!(matches!(
            register(who, pem),
            Some(ControlError::InvalidPrincipal { .. })
        ));
    }
    let stranger = rig.control.actor(application);
    let new = NewCertificate {
        display_name: None,
        pem: pem(&signer, 2028),
    };
    assert!(matches!(
        stranger.add_certificate(application, &new),
        Err(ControlError::DirectoryDenied)
    ));
}
