//! Workload identity: an external issuer vouches for a client.

use serde_json::{Value, json};
use strongroom_azure::token::{KeyHosts, Signer};
use strongroom_control::{ControlError, ExternalKeys, NewFederation, NewIdentity};
use uuid::Uuid;

use crate::rig::{Rig, START, client};

const CLUSTER: &str = "https://cluster.example/";
const SUBJECT: &str = "system:serviceaccount:default:app";
const EXCHANGE: &str = "api://AzureADTokenExchange";

fn credential(signer: &Signer) -> NewFederation {
    NewFederation {
        display_name: None,
        issuer: CLUSTER.to_owned(),
        subject: SUBJECT.to_owned(),
        audience: None,
        keys: ExternalKeys::Fixed(signer.jwks()),
    }
}

fn claims() -> Value {
    json!({"iss": CLUSTER, "sub": SUBJECT, "aud": [EXCHANGE], "iat": START, "nbf": START, "exp": START + 3600})
}

fn sign(signer: &Signer, claims: &Value) -> String {
    signer.sign(claims).unwrap()
}

#[tokio::test]
async fn a_file_of_the_cluster_proves_an_application_and_an_identity_again_and_again() {
    let rig = Rig::new();
    let cluster = Signer::generate().unwrap();
    let application = rig.actor().create_application("app").unwrap();
    let identity = rig.actor().create_identity(&NewIdentity {
        name: "workload".to_owned(),
        resource_group: "rg".to_owned(),
        location: "local".to_owned(),
    });
    // Identities are resources: whoever may make them is decided by a role.
    assert!(matches!(identity, Err(ControlError::NotAuthorized { .. })));
    rig.actor()
        .add_federation(application.object_id, credential(&cluster))
        .unwrap();
    let file = format!("{}\n", sign(&cluster, &claims()));
    for _ in 0..2 {
        let answer = rig.ask_with_assertion(&client(&application), &file).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let claims = rig.verify(answer.token()).await.unwrap();
        assert_eq!(claims.oid, application.object_id.to_string());
    }
}

#[tokio::test]
async fn issuer_subject_and_audience_count_to_the_letter() {
    let rig = Rig::new();
    let cluster = Signer::generate().unwrap();
    let application = rig.actor().create_application("app").unwrap();
    rig.actor()
        .add_federation(application.object_id, credential(&cluster))
        .unwrap();
    let cases: [(&str, Value, u16, u64); 9] = [
        ("iss", json!("https://cluster.example"), 400, 70021),
        ("iss", json!("https://Cluster.example/"), 400, 70021),
        ("sub", json!("system:serviceaccount:default:app2"), 401, 700_213),
        ("sub", json!("system:serviceaccount:default:App"), 401, 700_213),
        ("aud", json!("api://azureadtokenexchange"), 401, 700_212),
        (
            "aud",
            json!(["other", "api://AzureADTokenExchange/"]),
            401,
            700_212,
        ),
        ("exp", json!(START - 301), 401, 700_024),
        ("nbf", json!(START + 301), 401, 700_024),
        ("exp", json!(START + 90_000), 401, 700_024),
    ];
    for (claim, value, status, number) in cases {
        let mut claims = claims();
        claims[claim] = value;
        let answer = rig
            .ask_with_assertion(&client(&application), &sign(&cluster, &claims))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.number()),
            (status, number),
            "{claims}"
        );
    }
}

#[tokio::test]
async fn another_key_vouches_for_nobody_whatever_it_calls_itself() {
    let rig = Rig::new();
    let (cluster, stranger) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    let application = rig.actor().create_application("app").unwrap();
    rig.actor()
        .add_federation(application.object_id, credential(&cluster))
        .unwrap();
    let renamed = json!({"alg": "RS256", "kid": cluster.kid()});
    let unnamed = json!({"alg": "RS256"});
    for attempt in [
        sign(&stranger, &claims()),
        stranger
            .sign_text(&renamed.to_string(), &claims().to_string())
            .unwrap(),
        cluster
            .sign_text(&unnamed.to_string(), &claims().to_string())
            .unwrap(),
    ] {
        let answer = rig.ask_with_assertion(&client(&application), &attempt).await;
        assert_eq!((answer.status.as_u16(), answer.number()), (401, 50013));
    }
    // For an application that nobody vouches for, the right key is of no use.
    let (other, _) = rig.application(None);
    assert_eq!(
        rig.ask_with_assertion(&client(&other), &sign(&cluster, &claims()))
            .await
            .number(),
        70021
    );
}

#[tokio::test]
async fn a_taken_credential_no_longer_counts() {
    let rig = Rig::new();
    let cluster = Signer::generate().unwrap();
    let (application, _) = rig.application(None);
    let added = rig
        .actor()
        .add_federation(application.object_id, credential(&cluster))
        .unwrap();
    let twice = rig
        .actor()
        .add_federation(application.object_id, credential(&cluster));
    assert!(matches!(twice, Err(ControlError::AlreadyExists { .. })));
    assert!(
        rig.actor()
            .remove_credential(application.object_id, added.id)
            .unwrap()
    );
    assert!(
        !rig.actor()
            .remove_credential(application.object_id, added.id)
            .unwrap()
    );
    let answer = rig
        .ask_with_assertion(&client(&application), &sign(&cluster, &claims()))
        .await;
    assert_eq!(answer.number(), 70021);
}

#[test]
fn keys_are_fetched_from_listed_hosts_alone() {
    let rig = Rig::new();
    let application = rig.actor().create_application("app").unwrap().object_id;
    let add = |url: &str| {
        let keys = ExternalKeys::Published(url.to_owned());
        let new = NewFederation {
            subject: Uuid::new_v4().to_string(),
            keys,
            ..credential(&Signer::generate().unwrap())
        };
        rig.actor().add_federation(application, new).is_ok()
    };
    assert!(!add("https://cluster.example/keys"));
    rig.control
        .fetch_keys_from(KeyHosts::new(["cluster.example"], None).unwrap());
    assert!(add("https://cluster.example/keys"));
    for refused in [
        "http://cluster.example/keys",
        "https://169.254.169.254/keys",
        "https://other.example/keys",
        "keys",
    ] {
        assert!(!add(refused), "{refused}");
    }
}
