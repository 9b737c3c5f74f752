//! Tokens that another tenant issues, and tokens that nobody did.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use strongroom_azure::token::{Jwks, Signer};
use strongroom_seal::Clock as _;
use strongroom_testkit::{HandClock, System};
use uuid::Uuid;

use crate::entra::{Entra, MANAGEMENT, OWN, SERVICE, VAULT, planes};

/// Known, and without any right: what an authentic token of a guest without roles meets everywhere.
const WITHOUT_RIGHTS: [u16; 3] = [403; 3];
const REFUSED: [u16; 3] = [401; 3];

struct Foreign {
    entra: Arc<Entra>,
    system: System,
    clock: HandClock,
    guest: Uuid,
}

impl Foreign {
    async fn start() -> Self {
        let entra = Entra::start().await;
        let clock = HandClock::default();
        let system = entra
            .trusting()
            .clock(Arc::new(clock.clone()))
            .start()
            .await
            .unwrap();
        let guest = Uuid::new_v4();
        let body = json!({"displayName": "workload", "tenant": entra.tenant, "objectId": guest, "clientId": Uuid::new_v4()});
        let known = system
            .admin(reqwest::Method::POST, "guests", Some(body))
            .await
            .unwrap();
        assert_eq!(known.status(), 200);
        Self {
            entra,
            system,
            clock,
            guest,
        }
    }

    fn now(&self) -> u64 {
        self.clock.now().wall.as_secs()
    }

    /// What the planes make of a token of this signer, each with its own audience.
    async fn signed_by(&self, signer: &Signer) -> [u16; 3] {
        let token = |audience| {
            signer
                .sign(&self.entra.claims(self.guest, audience, self.now()))
                .unwrap()
        };
        let [vault, management, service] = [VAULT, MANAGEMENT, SERVICE].map(token);
        planes(&self.system, [&vault, &management, &service]).await
    }

    /// What they make of the same defective token.
    async fn changed(&self, change: impl Fn(&mut Value)) -> [u16; 3] {
        let token = |audience| {
            let mut claims = self.entra.claims(self.guest, audience, self.now());
            change(&mut claims);
            self.entra.signer.sign(&claims).unwrap()
        };
        let [vault, management, service] = [VAULT, MANAGEMENT, SERVICE].map(token);
        planes(&self.system, [&vault, &management, &service]).await
    }
}

#[tokio::test]
async fn a_guest_is_known_on_every_plane_and_has_no_right_by_that() {
    let foreign = Foreign::start().await;
    assert_eq!(foreign.signed_by(&foreign.entra.signer).await, WITHOUT_RIGHTS);
    let own = foreign.entra.token(foreign.guest, OWN, foreign.now());
    assert_eq!(planes(&foreign.system, [&own; 3]).await, WITHOUT_RIGHTS);
    // Neither a stranger of that tenant nor an object id of ours gets further by that tenant's word.
    for oid in [Uuid::new_v4(), foreign.administrator().await] {
        let [vault, management, service] =
            [VAULT, MANAGEMENT, SERVICE].map(|audience| foreign.entra.token(oid, audience, foreign.now()));
        assert_eq!(
            planes(&foreign.system, [&vault, &management, &service]).await,
            WITHOUT_RIGHTS
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_foreign_token_is_wrong_on_every_plane() {
    let foreign = Foreign::start().await;
    assert_eq!(foreign.signed_by(&foreign.entra.signer).await, WITHOUT_RIGHTS);
    let now = foreign.now();
    let tenant = foreign.system.variable("AZURE_TENANT_ID").to_owned();
    let claims: [(&str, Value); 8] = [
        ("iss", json!("https://sts.windows.net/other/")),
        ("iss", json!(foreign.entra.issuer().trim_end_matches('/'))),
        ("tid", json!(tenant)),
        ("aud", json!("https://storage.azure.com")),
        ("aud", json!([VAULT, MANAGEMENT, SERVICE])),
        ("exp", json!(now - 60)),
        ("nbf", json!(now + 3600)),
        ("oid", Value::Null),
    ];
    for (claim, value) in claims {
        assert_eq!(
            foreign.changed(|claims| claims[claim] = value.clone()).await,
            REFUSED,
            "{claim}: {value}"
        );
    }
    // A token for one plane is none for another.
    let [vault, management, service] =
        [VAULT, MANAGEMENT, SERVICE].map(|audience| foreign.entra.token(foreign.guest, audience, now));
    assert_eq!(
        planes(&foreign.system, [&management, &service, &vault]).await,
        REFUSED
    );
}

#[tokio::test]
async fn forged_tokens_are_refused_on_every_plane() {
    let foreign = Foreign::start().await;
    let stranger = Signer::generate().unwrap();
    assert_eq!(foreign.signed_by(&stranger).await, REFUSED);
    let kid = foreign.entra.signer.kid().to_owned();
    let public = serde_json::to_value(stranger.public()).unwrap();
    let claims = foreign
        .entra
        .claims(foreign.guest, OWN, foreign.now())
        .to_string();
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let unsigned = format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims));
    let confused = {
        let message = format!(
            "{}.{}",
            part(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#)),
            part(&claims)
        );
        let secret = serde_json::to_vec(&foreign.entra.signer.public()).unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()))
        )
    };
    let brought = stranger
        .sign_text(
            &json!({"alg": "RS256", "kid": kid, "jwk": public}).to_string(),
            &claims,
        )
        .unwrap();
    let pointed = json!({"alg": "RS256", "kid": kid, "jku": foreign.entra.url()}).to_string();
    let pointed = foreign.entra.signer.sign_text(&pointed, &claims).unwrap();
    let doubled = claims.replacen(
        '{',
        &format!(r#"{{"oid":"{}","#, foreign.administrator().await),
        1,
    );
    let header = json!({"alg": "RS256", "kid": kid}).to_string();
    let doubled = foreign.entra.signer.sign_text(&header, &doubled).unwrap();
    for forged in [unsigned, confused, brought, pointed, doubled] {
        assert_eq!(planes(&foreign.system, [&forged; 3]).await, REFUSED, "{forged}");
    }
}

#[tokio::test]
async fn the_foreign_tenants_keys_roll_over_fall_silent_and_are_replaced() {
    let foreign = Foreign::start().await;
    let (old, next) = (&foreign.entra.signer, Signer::generate().unwrap());
    assert_eq!(foreign.signed_by(old).await, WITHOUT_RIGHTS);
    // Within the pause nothing is fetched; after it the new key is found, and the old one counts on.
    let both = vec![old.public(), next.public()];
    foreign.entra.publish(Some(Jwks { keys: both }));
    assert_eq!(foreign.signed_by(&next).await, REFUSED);
    foreign.clock.advance(Duration::from_secs(300));
    assert_eq!(foreign.signed_by(&next).await, WITHOUT_RIGHTS);
    assert_eq!(foreign.signed_by(old).await, WITHOUT_RIGHTS);
    // Silence: the last good keys count for a day.
    foreign.entra.publish(None);
    foreign.clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(foreign.signed_by(&next).await, WITHOUT_RIGHTS);
    foreign.clock.advance(Duration::from_secs(3601));
    assert_eq!(foreign.signed_by(&next).await, REFUSED);
    // Back, with other keys: the old ones are over.
    let replaced = Signer::generate().unwrap();
    foreign.entra.publish(Some(replaced.jwks()));
    foreign.clock.advance(Duration::from_secs(30));
    assert_eq!(foreign.signed_by(&replaced).await, WITHOUT_RIGHTS);
    assert_eq!(foreign.signed_by(&next).await, REFUSED);
}

#[tokio::test]
async fn without_the_setting_no_foreign_token_counts() {
    let entra = Entra::start().await;
    let system = System::start().await.unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let token = entra.token(Uuid::new_v4(), VAULT, now);
    assert_eq!(planes(&system, [&token; 3]).await, REFUSED);
}

impl Foreign {
    /// The administrator's object id, out of its token.
    async fn administrator(&self) -> Uuid {
        let token = self.system.token(VAULT).await.unwrap();
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        claims["oid"].as_str().unwrap().parse().unwrap()
    }
}
