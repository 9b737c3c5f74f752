//! A control plane with an issuer, and a clock that moves when told to.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use strongroom_azure::token::{Claims, TokenError};
use strongroom_control::{Actor, Control, NewSecret, Principal, TokenIssuer};
use strongroom_seal::{Clock, Moment};
use strongroom_vault::{RootKey, VaultEngine};
use tempfile::TempDir;
use tower::ServiceExt;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

pub(crate) const AUTHORITY: &str = "https://localhost:8443";
pub(crate) const VAULT: &str = "https://vault.azure.net";
pub(crate) const VAULT_SCOPE: &str = "https://vault.azure.net/.default";
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(crate) const START: u64 = 1_800_000_000;

pub(crate) struct HandClock(Mutex<u64>);

impl HandClock {
    pub(crate) fn advance(&self, seconds: u64) {
        *self.0.lock().unwrap() += seconds;
    }

    pub(crate) fn seconds(&self) -> u64 {
        *self.0.lock().unwrap()
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        let now = Duration::from_secs(self.seconds());
        Moment { boot: now, wall: now }
    }
}

pub(crate) struct Rig {
    pub(crate) control: Control,
    pub(crate) vaults: VaultEngine,
    pub(crate) issuer: TokenIssuer,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) administrator: Arc<Principal>,
    pub(crate) secret: Zeroizing<String>,
    pub(crate) folder: TempDir,
}

/// What the issuer answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The AADSTS number of a refusal.
    pub(crate) fn number(&self) -> u64 {
        self.body["error_codes"][0].as_u64().unwrap_or_default()
    }

    pub(crate) fn token(&self) -> &str {
        self.body["access_token"].as_str().unwrap_or_default()
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(HandClock(Mutex::new(START)));
        let root = RootKey::File(folder.path().join("root-key"));
        let still: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let vaults = VaultEngine::open(&folder.path().join("vault"), root, still).unwrap();
        let control = open(folder.path(), &vaults, &clock);
        let (administrator, secret) = control.ensure_administrator(None).unwrap();
        Self {
            issuer: control.issuer(AUTHORITY),
            control,
            vaults,
            clock,
            administrator,
            secret: secret.unwrap(),
            folder,
        }
    }

    /// Ends the control plane and opens it again.
    pub(crate) fn restart(&mut self) {
        self.control = open(self.folder.path(), &self.vaults, &self.clock);
        self.issuer = self.control.issuer(AUTHORITY);
    }

    pub(crate) fn actor(&self) -> Actor {
        self.control.actor(self.administrator.object_id)
    }

    /// A new application with a secret that counts until `expires`.
    pub(crate) fn application(&self, expires: Option<u64>) -> (Arc<Principal>, Zeroizing<String>) {
        let application = self.actor().create_application("app").unwrap();
        let new = NewSecret {
            expires,
            ..NewSecret::default()
        };
        let (_, secret) = self.actor().add_secret(application.object_id, new).unwrap();
        (application, secret)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{AUTHORITY}/{}/oauth2/v2.0/token", self.control.tenant())
    }

    /// A token request in the protocol's second version.
    pub(crate) async fn ask(&self, fields: &[(&str, &str)]) -> Answer {
        let path = format!("/{}/oauth2/v2.0/token", self.control.tenant());
        self.post(&path, &form(fields)).await
    }

    /// One with a client id, the grant and the vault's scope, and what proves the client.
    pub(crate) async fn ask_as(&self, client: &str, proof: &[(&str, &str)]) -> Answer {
        self.ask_for(client, VAULT_SCOPE, proof).await
    }

    pub(crate) async fn ask_for(&self, client: &str, scope: &str, proof: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("scope", scope),
        ];
        fields.extend(proof);
        self.ask(&fields).await
    }

    pub(crate) async fn ask_with_assertion(&self, client: &str, assertion: &str) -> Answer {
        self.ask_as(
            client,
            &[
                ("client_assertion", assertion),
                ("client_assertion_type", ASSERTION_TYPE),
            ],
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        send(
            self.issuer.routes(),
            request.body(Body::from(body.to_owned())).unwrap(),
        )
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(
            self.issuer.routes(),
            Request::get(path).body(Body::empty()).unwrap(),
        )
        .await
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.issuer
            .verifier([])
            .verify(token, &[VAULT], self.clock.seconds())
            .await
    }
}

pub(crate) fn open(folder: &Path, vaults: &VaultEngine, clock: &Arc<HandClock>) -> Control {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let control = Control::open(&folder.join("control"), vaults.clone(), clock).unwrap();
    // As a running instance does at once.
    control.tend_token_keys().unwrap();
    control
}

pub(crate) fn client(principal: &Principal) -> String {
    principal.client_id().unwrap().to_string()
}

pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

pub(crate) async fn send(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}
