use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://localhost:8443/tenant/v2.0";
const VAULT: &str = "https://vault.azure.net";

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::generate().unwrap());

fn claims() -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        aud: VAULT.to_owned(),
        exp: NOW + 3600,
        nbf: NOW,
        iat: NOW,
        oid: "object".to_owned(),
        sub: "object".to_owned(),
        tid: "tenant".to_owned(),
        appid: Some("app".to_owned()),
        idtyp: Some("app".to_owned()),
        resource: None,
        uti: None,
    }
}

fn verifier() -> Verifier {
    Verifier::new([ISSUER], Arc::new(StaticKeys::new(ISSUER, SIGNER.jwks())))
}

fn verify(change: impl FnOnce(&mut Claims)) -> Result<Claims, TokenError> {
    let mut claims = claims();
    change(&mut claims);
    verifier().verify(
        &SIGNER.sign(&claims).unwrap(),
        &["https://vault.localhost:8443", VAULT],
        NOW,
    )
}

#[test]
fn a_good_token_gives_its_claims() {
    assert_eq!(verify(|_| {}), Ok(claims()));
    assert!(verify(|claims| claims.aud = format!("{VAULT}/")).is_ok());
}

#[test]
fn wrong_issuer_audience_and_times_are_refused_apart() {
    assert_eq!(
        verify(|claims| claims.iss = "https://evil/v2.0".to_owned()),
        Err(TokenError::Issuer)
    );
    assert_eq!(
        verify(|claims| claims.aud = "https://management.azure.com".to_owned()),
        Err(TokenError::Audience)
    );
    assert_eq!(verify(|claims| claims.exp = NOW - 60), Err(TokenError::Expired));
    assert!(verify(|claims| claims.exp = NOW - 59).is_ok());
    assert_eq!(
        verify(|claims| claims.nbf = NOW + 61),
        Err(TokenError::NotYetValid)
    );
}

#[test]
fn another_algorithm_is_refused_whatever_its_signature() {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let payload = part(&serde_json::to_string(&claims()).unwrap());
    for algorithm in ["none", "HS256", "RS512", ""] {
        let header = part(&format!(r#"{{"alg":"{algorithm}","kid":"{}"}}"#, SIGNER.kid()));
        let token = format!("{header}.{payload}.AAAA");
        assert_eq!(
            verifier().verify(&token, &[VAULT], NOW),
            Err(TokenError::Algorithm)
        );
    }
}

#[test]
fn a_key_that_the_issuer_does_not_have_is_refused() {
    let other = Signer::generate().unwrap();
    let token = other.sign(&claims()).unwrap();
    assert_eq!(
        verifier().verify(&token, &[VAULT], NOW),
        Err(TokenError::UnknownKey)
    );
}

#[test]
fn a_signature_of_another_key_under_the_known_id_is_refused() {
    let token = SIGNER.sign(&claims()).unwrap();
    let other = Signer::generate().unwrap().sign(&claims()).unwrap();
    let forged = format!(
        "{}.{}",
        token.rsplit_once('.').unwrap().0,
        other.rsplit_once('.').unwrap().1
    );
    assert_eq!(
        verifier().verify(&forged, &[VAULT], NOW),
        Err(TokenError::Signature)
    );
}

#[test]
fn garbage_and_giants_are_refused() {
    for token in ["", "a", "a.b", "a.b.c", "..", "e30.e30.e30"] {
        assert_eq!(
            verifier().verify(token, &[VAULT], NOW),
            Err(TokenError::Malformed),
            "{token}"
        );
    }
    assert_eq!(
        verifier().verify(&"a".repeat(20_000), &[VAULT], NOW),
        Err(TokenError::TooLong)
    );
}

#[test]
fn a_kept_key_signs_as_before() {
    let again = SIGNER.expose_pkcs8(Signer::from_pkcs8).unwrap().unwrap();
    assert_eq!(again.jwks(), SIGNER.jwks());
    assert!(matches!(Signer::from_pkcs8(b"no key"), Err(SignerError::Key)));
}

#[test]
fn credentials_are_told_apart_by_their_form() {
    assert!(looks_like_token("a.b.c"));
    assert!(!looks_like_token("sk-key"));
    assert!(!looks_like_token("a..c"));
    assert_eq!(bearer("bearer  x "), Some("x"));
    assert_eq!(bearer("Basic x"), None);
    assert_eq!(
        scope_to_audience("https://management.core.windows.net//.default"),
        "https://management.core.windows.net/"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_changed_token_verifies(position in 0_usize..2000, byte in any::<u8>()) {
        let token = SIGNER.sign(&claims()).unwrap();
        let mut bytes = token.clone().into_bytes();
        let position = position % bytes.len();
        bytes[position] = byte;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(changed == token || verifier().verify(&changed, &[VAULT], NOW).is_err());
        }
    }
}
