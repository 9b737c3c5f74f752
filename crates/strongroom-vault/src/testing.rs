//! What the tests of this crate share.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use strongroom_azure::token::{Claims, Signer, StaticKeys, TrustedIssuer, Verifier};
use strongroom_seal::{BoxFuture, Clock, Moment};

use crate::{
    Access, AuditError, AuditEvent, AuditSink, Caller, Decision, KeyAction, RootKey, Throttle, Throttling,
    VaultEngine, VaultRoutes, VaultSettings,
};

pub(crate) const VAULT: &str = "kv1";
pub(crate) const TENANT: &str = "6f1b6b0e-7a55-4a5e-9d0f-2f5f3a9f1c11";
pub(crate) const ISSUER: &str = "https://localhost:8443/6f1b6b0e-7a55-4a5e-9d0f-2f5f3a9f1c11/v2.0";
/// The group that every caller is in.
pub(crate) const GROUP: &str = "group";
/// The application that firewalls trust.
pub(crate) const SERVICE: &str = "service";
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::generate().unwrap());

/// A clock that moves when told to. It stands far ahead, so that tokens dated by it never look old to the official clients,
/// which ask the machine.
pub(crate) struct HandClock(Mutex<Duration>);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Duration::from_secs(4_000_000_000))))
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.0.lock().unwrap().as_secs()
    }
}

impl Clock for HandClock {
    fn now(&self) -> Moment {
        let now = *self.0.lock().unwrap();
        Moment { boot: now, wall: now }
    }
}

pub(crate) fn vault_settings() -> VaultSettings {
    let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv1";
    VaultSettings {
        purge_protection: true,
        ..VaultSettings::new(VAULT, id, TENANT, "local")
    }
}

/// How a [`MemoryAudit`] behaves.
#[derive(Default, Clone, Copy)]
pub(crate) enum Recording {
    #[default]
    Works,
    Fails,
    Hangs,
}

/// Keeps records in memory, or fails when told to.
#[derive(Default)]
pub(crate) struct MemoryAudit {
    pub(crate) events: Mutex<Vec<AuditEvent>>,
    recording: Mutex<Recording>,
}

impl MemoryAudit {
    pub(crate) fn set(&self, recording: Recording) {
        *self.recording.lock().unwrap() = recording;
    }
}

impl AuditSink for MemoryAudit {
    fn record(&self, event: AuditEvent) -> BoxFuture<'_, Result<(), AuditError>> {
        Box::pin(async move {
            let recording = *self.recording.lock().unwrap();
            match recording {
                Recording::Works => {}
                Recording::Fails => return Err(AuditError::Failed("no disk".to_owned())),
                Recording::Hangs => std::future::pending().await,
            }
            self.events.lock().unwrap().push(event);
            Ok(())
        })
    }
}

/// Allows all but what was taken away.
#[derive(Default)]
pub(crate) struct Roles(pub(crate) Mutex<Vec<KeyAction>>);

impl Access for Roles {
    fn may(&self, _: &Caller, _: &str, _: Option<&str>, action: KeyAction) -> Decision {
        if self.0.lock().unwrap().contains(&action) {
            Decision::DeniedByRbac
        } else {
            Decision::Allowed
        }
    }

    fn is_member(&self, _: &Caller, group: &str) -> bool {
        group == GROUP
    }

    fn is_trusted_service(&self, caller: &Caller) -> bool {
        caller.app_id.as_deref() == Some(SERVICE)
    }
}

/// A vault with its routes and everything a test wants to turn.
pub(crate) struct House {
    pub(crate) engine: VaultEngine,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) roles: Arc<Roles>,
    pub(crate) audit: Arc<MemoryAudit>,
    pub(crate) throttle: Throttle,
    pub(crate) folder: tempfile::TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = HandClock::new();
        let root = RootKey::File(folder.path().join("root.key"));
        let engine = VaultEngine::open(
            &folder.path().join("vault"),
            root,
            Arc::clone(&clock) as Arc<dyn Clock>,
        );
        let engine = engine.unwrap();
        engine.create_vault(vault_settings()).unwrap();
        Self {
            engine,
            clock,
            roles: Arc::default(),
            audit: Arc::default(),
            throttle: Throttle::new(Throttling::Off),
            folder,
        }
    }

    pub(crate) fn routes(&self) -> VaultRoutes {
        VaultRoutes {
            engine: self.engine.clone(),
            verifier: Verifier::new([TrustedIssuer {
                names: vec![ISSUER.to_owned()],
                tenant: TENANT.to_owned(),
                audiences: None,
                guest: false,
                keys: Arc::new(StaticKeys::new(SIGNER.jwks())),
            }]),
            access: Arc::clone(&self.roles) as Arc<dyn Access>,
            audit: Arc::clone(&self.audit) as Arc<dyn AuditSink>,
            throttle: self.throttle.clone(),
            login: "https://localhost:8443".to_owned(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        }
    }

    pub(crate) fn claims(&self, audience: &str) -> Claims {
        let now = self.clock.seconds();
        Claims {
            iss: ISSUER.to_owned(),
            aud: audience.to_owned(),
            exp: now + 3600,
            nbf: now,
            iat: now,
            oid: "object".to_owned(),
            sub: "object".to_owned(),
            tid: TENANT.to_owned(),
            appid: Some("app".to_owned()),
            idtyp: Some("app".to_owned()),
            resource: None,
            upn: None,
            uti: None,
        }
    }
}

/// The numbers of a new RSA key, as JWK orders them: n, e, d, p, q, dp, dq, qi.
pub(crate) fn rsa_numbers(size: aws_lc_rs::rsa::KeySize) -> Vec<Vec<u8>> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    let pair = aws_lc_rs::rsa::KeyPair::generate(size).unwrap();
    let document: Pkcs8V1Der<'static> = pair.as_der().unwrap();
    // The private key's own structure lies in an octet string at the end: a version, and then the numbers.
    let (_, info) = der(document.as_ref());
    let after_version = der(info).0;
    let after_algorithm = der(after_version).0;
    let (_, key) = der(after_algorithm);
    let (_, mut rest) = der(key);
    rest = der(rest).0;
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let (after, number) = der(rest);
        numbers.push(number.to_vec());
        rest = after;
    }
    assert_eq!(numbers.len(), 8);
    numbers
}

/// What follows the first element, and what that one holds.
fn der(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, head) = match bytes[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        0x81 => (usize::from(bytes[2]), 3),
        _ => (usize::from(bytes[2]) << 8 | usize::from(bytes[3]), 4),
    };
    (&bytes[head + length..], &bytes[head..head + length])
}
