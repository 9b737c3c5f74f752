//! Applications of another tenant, whose tokens another issuer signs.

use std::sync::Arc;

use strongroom_azure::token::{Claims, Signer, StaticKeys, TokenError, TrustedIssuer, Verifier};
use strongroom_control::{BuiltInRole, ControlError};
use strongroom_vault::{Access, Caller, Decision, KeyAction};
use uuid::Uuid;

use crate::rig::{Rig, START, VAULT};

const ENTRA: &str = "https://sts.windows.net/7a9f0f04-31c4-4a6c-9f1a-0d6a4f5f2b11/";
const ENTRA_V2: &str = "https://login.microsoftonline.com/7a9f0f04-31c4-4a6c-9f1a-0d6a4f5f2b11/v2.0";
const TENANT: &str = "7a9f0f04-31c4-4a6c-9f1a-0d6a4f5f2b11";

fn verifier(rig: &Rig, entra: &Signer) -> Verifier {
    rig.issuer.verifier([TrustedIssuer {
        names: vec![ENTRA.to_owned(), ENTRA_V2.to_owned()],
        tenant: TENANT.to_owned(),
        audiences: Some(vec![VAULT.to_owned()]),
        guest: true,
        keys: Arc::new(StaticKeys::new(entra.jwks())),
    }])
}

fn token(entra: &Signer, issuer: &str, tenant: &str, oid: Uuid) -> String {
    let claims = Claims {
        iss: issuer.to_owned(),
        aud: VAULT.to_owned(),
        exp: START + 3600,
        nbf: START,
        iat: START,
        oid: oid.to_string(),
        sub: oid.to_string(),
        tid: tenant.to_owned(),
        appid: None,
        idtyp: None,
        resource: None,
        upn: None,
        uti: None,
    };
    entra.sign(&claims).unwrap()
}

#[tokio::test]
async fn a_guest_has_the_roles_that_were_assigned_to_it_here() {
    let rig = Rig::new();
    let entra = Signer::generate().unwrap();
    let verifier = verifier(&rig, &entra);
    let guest = Uuid::new_v4();
    let vault = rig.control.ensure_vault("kv1", "rg").unwrap();
    let may = |claims: &Claims| {
        let caller = Caller {
            object_id: claims.oid.clone(),
            app_id: None,
            upn: None,
            tenant: claims.tid.clone(),
            issuer: claims.iss.clone(),
        };
        Access::may(
            &rig.control,
            &caller,
            vault.as_str(),
            Some("key"),
            KeyAction::Unwrap,
        )
    };
    for issuer in [ENTRA, ENTRA_V2] {
        let claims = verifier
            .verify(&token(&entra, issuer, TENANT, guest), &[VAULT], START)
            .await
            .unwrap();
        assert_eq!(
            (rig.control.caller(&claims), may(&claims)),
            (None, Decision::DeniedByRbac)
        );
    }
    let known = rig
        .actor()
        .create_guest("workload", TENANT.parse().unwrap(), guest, Uuid::new_v4())
        .unwrap();
    let claims = verifier
        .verify(&token(&entra, ENTRA, TENANT, guest), &[VAULT], START)
        .await
        .unwrap();
    assert_eq!(
        (rig.control.caller(&claims), may(&claims)),
        (Some(guest), Decision::DeniedByRbac)
    );
    let role = BuiltInRole::by_name("Key Vault Crypto Service Encryption User").unwrap();
    rig.control
        .ensure_assignment(known.object_id, role, &vault)
        .unwrap();
    assert_eq!(may(&claims), Decision::Allowed);
}

#[tokio::test]
async fn a_foreign_tenant_that_names_our_administrator_names_nobody() {
    let rig = Rig::new();
    let entra = Signer::generate().unwrap();
    let forged = token(&entra, ENTRA, TENANT, rig.administrator.object_id);
    let claims = verifier(&rig, &entra)
        .verify(&forged, &[VAULT], START)
        .await
        .unwrap();
    assert_eq!(rig.control.caller(&claims), None);
    // Nor may it say that it is our tenant.
    let forged = token(&entra, ENTRA, &rig.control.tenant(), rig.administrator.object_id);
    assert_eq!(
        verifier(&rig, &entra).verify(&forged, &[VAULT], START).await,
        Err(TokenError::Tenant)
    );
}

#[tokio::test]
async fn a_guest_proves_itself_at_home_and_not_here() {
    let rig = Rig::new();
    let (object, application) = (Uuid::new_v4(), Uuid::new_v4());
    rig.actor()
        .create_guest("workload", TENANT.parse().unwrap(), object, application)
        .unwrap();
    let secret = rig
        .actor()
        .add_secret(object, strongroom_control::NewSecret::default());
    assert!(matches!(secret, Err(ControlError::InvalidPrincipal { .. })));
    let answer = rig
        .ask_as(&application.to_string(), &[("client_secret", "x")])
        .await;
    assert_eq!(answer.number(), 700_016);
    let ours = rig.control.tenant().parse().unwrap();
    assert!(
        rig.actor()
            .create_guest("own", ours, Uuid::new_v4(), Uuid::new_v4())
            .is_err()
    );
    assert!(
        rig.actor()
            .create_guest("twice", TENANT.parse().unwrap(), object, Uuid::new_v4())
            .is_err()
    );
    let taken = rig.administrator.object_id;
    assert!(
        rig.actor()
            .create_guest("taken", TENANT.parse().unwrap(), taken, Uuid::new_v4())
            .is_err()
    );
}
