mod assertions;
mod publisher;
mod remote;
mod vectors;

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

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
        upn: None,
        uti: None,
    }
}

fn trusted() -> TrustedIssuer {
    TrustedIssuer {
        names: vec![ISSUER.to_owned()],
        tenant: "tenant".to_owned(),
        audiences: None,
        guest: false,
        keys: Arc::new(StaticKeys::new(SIGNER.jwks())),
    }
}

fn check(token: &str) -> Result<Claims, TokenError> {
    check_for(trusted(), token, &["https://vault.localhost:8443", VAULT])
}

/// Keys of a fixed set are there at once: nothing waits.
fn check_for(trusted: TrustedIssuer, token: &str, audiences: &[&str]) -> Result<Claims, TokenError> {
    let verifier = Verifier::new([trusted]);
    let mut verified = pin!(verifier.verify(token, audiences, NOW));
    match verified.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => unreachable!("a fixed key was waited for"),
    }
}

fn verify(change: impl FnOnce(&mut Claims)) -> Result<Claims, TokenError> {
    let mut claims = claims();
    change(&mut claims);
    check(&SIGNER.sign(&claims).unwrap())
}

/// A token with this header and payload, signed as if all were well.
fn signed(header: &str, payload: &str) -> String {
    SIGNER.sign_text(header, payload).unwrap()
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
        assert_eq!(check(&token), Err(TokenError::Algorithm));
    }
}

#[test]
fn a_key_that_the_issuer_does_not_have_is_refused() {
    let other = Signer::generate().unwrap();
    let token = other.sign(&claims()).unwrap();
    assert_eq!(check(&token), Err(TokenError::UnknownKey));
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
    assert_eq!(check(&forged), Err(TokenError::Signature));
}

#[test]
fn garbage_and_giants_are_refused() {
    for token in ["", "a", "a.b", "a.b.c", "..", "e30.e30.e30"] {
        assert_eq!(check(token), Err(TokenError::Malformed), "{token}");
    }
    assert_eq!(check(&"a".repeat(20_000)), Err(TokenError::TooLong));
}

#[test]
fn a_header_that_brings_or_points_to_a_key_is_refused() {
    let payload = serde_json::to_string(&claims()).unwrap();
    let public = serde_json::to_string(&SIGNER.public()).unwrap();
    for extra in [
        r#""jku":"https://evil.example/keys""#.to_owned(),
        r#""x5u":"https://evil.example/cert""#.to_owned(),
        format!(r#""jwk":{public}"#),
        r#""crit":["exp"]"#.to_owned(),
        r#""b64":false"#.to_owned(),
    ] {
        let header = format!(r#"{{"alg":"RS256","kid":"{}",{extra}}}"#, SIGNER.kid());
        assert_eq!(
            check(&signed(&header, &payload)),
            Err(TokenError::Header),
            "{extra}"
        );
    }
}

#[test]
fn a_key_id_is_a_name_and_nothing_else() {
    let payload = serde_json::to_string(&claims()).unwrap();
    for (kid, expected) in [
        (r#""""#, TokenError::UnknownKey),
        (r#""../../control/signing-key""#, TokenError::UnknownKey),
        (r#""' OR 1=1 --""#, TokenError::UnknownKey),
        ("7", TokenError::Malformed),
        ("null", TokenError::Malformed),
    ] {
        let header = format!(r#"{{"alg":"RS256","kid":{kid}}}"#);
        assert_eq!(check(&signed(&header, &payload)), Err(expected), "{kid}");
    }
}

#[test]
fn what_is_said_twice_is_not_heard() {
    let header = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, SIGNER.kid());
    let payload = serde_json::to_string(&claims()).unwrap();
    assert!(check(&signed(&header, &payload)).is_ok());
    for extra in [
        r#""oid":"administrator""#,
        r#""unknown":1,"unknown":2"#,
        r#""x":{"a":1,"a":2}"#,
    ] {
        let doubled = payload.replacen('{', &format!("{{{extra},"), 1);
        assert_eq!(
            check(&signed(&header, &doubled)),
            Err(TokenError::Malformed),
            "{extra}"
        );
    }
    let doubled = header.replacen('{', r#"{"alg":"none","#, 1);
    assert_eq!(check(&signed(&doubled, &payload)), Err(TokenError::Malformed));
}

#[test]
fn a_token_of_another_tenant_is_refused_whoever_signed_it() {
    assert_eq!(
        verify(|claims| claims.tid = "other".to_owned()),
        Err(TokenError::Tenant)
    );
}

#[test]
fn a_token_that_would_count_for_days_is_refused() {
    assert_eq!(
        verify(|claims| claims.exp = NOW + 40 * 3600),
        Err(TokenError::Life)
    );
}

#[test]
fn both_versions_of_entras_claims_are_read() {
    let header = format!(
        r#"{{"typ":"JWT","alg":"RS256","x5t":"x","kid":"{}"}}"#,
        SIGNER.kid()
    );
    let common = format!(
        r#""aud":"{VAULT}","iat":{NOW},"nbf":{NOW},"exp":{},"oid":"o","sub":"o","tid":"tenant","uti":"u","rh":"1.A","groups":["g"]"#,
        NOW + 3600
    );
    let first =
        format!(r#"{{"iss":"{ISSUER}","appid":"app","appidacr":"1","idtyp":"app","ver":"1.0",{common}}}"#);
    let second = format!(r#"{{"iss":"{ISSUER}","azp":"app","azpacr":"1","ver":"2.0",{common}}}"#);
    for payload in [first, second] {
        let claims = check(&signed(&header, &payload)).unwrap();
        assert_eq!((claims.appid.as_deref(), claims.oid.as_str()), (Some("app"), "o"));
    }
}

#[test]
fn a_restricted_issuer_counts_for_its_audiences_alone() {
    let verify = |own: &[&str], audience: &str| {
        let mut trusted = trusted();
        trusted.audiences = Some(own.iter().map(|audience| (*audience).to_owned()).collect());
        let mut claims = claims();
        claims.aud = audience.to_owned();
        check_for(trusted, &SIGNER.sign(&claims).unwrap(), &[VAULT]).map(drop)
    };
    assert_eq!(verify(&["api://strongroom"], "api://strongroom"), Ok(()));
    assert_eq!(verify(&[VAULT], VAULT), Ok(()));
    assert_eq!(verify(&["api://strongroom"], VAULT), Err(TokenError::Audience));
    assert_eq!(
        verify(&["api://strongroom"], "api://other"),
        Err(TokenError::Audience)
    );
    let management = "https://management.azure.com";
    assert_eq!(verify(&[management], management), Err(TokenError::Audience));
}

#[test]
fn two_keys_of_one_id_are_nobodys() {
    let mut set = SIGNER.jwks();
    let mut second = Signer::generate().unwrap().public();
    second.kid = SIGNER.kid().to_owned();
    set.keys.push(second);
    let mut trusted = trusted();
    trusted.keys = Arc::new(StaticKeys::new(set));
    let token = SIGNER.sign(&claims()).unwrap();
    assert_eq!(check_for(trusted, &token, &[VAULT]), Err(TokenError::UnknownKey));
}

#[test]
fn a_key_for_something_else_signs_nothing() {
    for change in [
        |key: &mut Jwk| key.usage = Some("enc".to_owned()),
        |key: &mut Jwk| key.kty = "oct".to_owned(),
        |key: &mut Jwk| key.alg = Some("HS256".to_owned()),
        |key: &mut Jwk| key.n = "AQAB".to_owned(),
    ] {
        let mut set = SIGNER.jwks();
        set.keys.iter_mut().for_each(change);
        let mut trusted = trusted();
        trusted.keys = Arc::new(StaticKeys::new(set));
        let token = SIGNER.sign(&claims()).unwrap();
        assert_eq!(check_for(trusted, &token, &[VAULT]), Err(TokenError::Signature));
    }
}

#[test]
fn sets_of_keys_are_read_with_what_others_publish_in_them() {
    let entra = br#"{"keys":[{"kty":"RSA","use":"sig","kid":"a","x5t":"a","n":"AQAB","e":"AQAB","x5c":["MII"],"issuer":"https://login"},
        {"kty":"EC","crv":"P-256","x":"x","y":"y"}]}"#;
    let set = Jwks::parse(entra).unwrap();
    assert!(set.key("a").is_some());
    assert!(set.key("").is_none());
    for wrong in [
        &b""[..],
        b"[]",
        b"{}",
        br#"{"keys":[],"keys":[]}"#,
        br#"{"keys":[{"kid":"a"}]}"#,
    ] {
        assert_eq!(Jwks::parse(wrong), None);
    }
    let many = Jwks {
        keys: vec![SIGNER.public(); 65],
    };
    assert_eq!(Jwks::parse(&serde_json::to_vec(&many).unwrap()), None);
}

#[test]
fn a_form_says_each_thing_once() {
    let form = Form::parse(b"grant_type=client_credentials&scope=a%2Fb&empty=").unwrap();
    assert_eq!(form.get("scope"), Some("a/b"));
    assert_eq!(form.get("empty"), None);
    assert!(Form::parse(b"scope=a&scope=b").is_none());
    let many: String = (0..100).map(|field| format!("f{field}=1&")).collect();
    assert!(Form::parse(many.as_bytes()).is_none());
}

#[test]
fn basic_credentials_are_decoded_as_a_form_is() {
    let header = format!(
        "basic {}",
        base64::engine::general_purpose::STANDARD.encode("app%2Did:a%3Ab+c")
    );
    let (id, secret) = basic_credentials(&header).unwrap();
    assert_eq!((id.as_str(), secret.as_str()), ("app-id", "a:b c"));
    assert!(basic_credentials("Bearer YTpi").is_none());
    assert!(basic_credentials("Basic !").is_none());
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
    fn parsers_end_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = Jwks::parse(&bytes);
        let _ = Form::parse(&bytes);
        let _ = Certificate::from_der(&bytes);
        let _ = Assertion::parse(&text);
        let part = URL_SAFE_NO_PAD.encode(&bytes);
        let token = format!("{part}.{part}.{part}");
        let _ = Assertion::parse(&token);
        prop_assert!(check(&token).is_err());
    }

    #[test]
    fn no_changed_token_verifies(position in 0_usize..2000, byte in any::<u8>()) {
        let token = SIGNER.sign(&claims()).unwrap();
        let mut bytes = token.clone().into_bytes();
        let position = position % bytes.len();
        bytes[position] = byte;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(changed == token || check(&changed).is_err());
        }
    }
}

#[test]
fn a_token_seen_before_ends_with_its_time_its_audience_and_its_key() {
    let keys = Arc::new(Turning(std::sync::Mutex::new(SIGNER.jwks())));
    let verifier = Verifier::new([TrustedIssuer {
        keys: Arc::clone(&keys) as _,
        ..trusted()
    }]);
    let token = SIGNER.sign(&claims()).unwrap();
    let ask = |token: &str, audience: &str, now: u64| {
        let audiences = [audience];
        let mut verified = pin!(verifier.verify(token, &audiences, now));
        match verified.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome.map(drop),
            Poll::Pending => unreachable!("a key at hand was waited for"),
        }
    };
    for _ in 0..2 {
        assert_eq!(ask(&token, VAULT, NOW), Ok(()));
    }
    assert_eq!(ask(&token, VAULT, NOW + 7200), Err(TokenError::Expired));
    assert_eq!(ask(&token, "https://other", NOW), Err(TokenError::Audience));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let other = serde_json::to_vec(&Claims {
        oid: "somebody else".to_owned(),
        ..claims()
    });
    let forged = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(other.unwrap()));
    assert_eq!(ask(&forged, VAULT, NOW), Err(TokenError::Signature));
    // The issuer has another key of the same name now, then none.
    let mut planted = Signer::generate().unwrap().public();
    planted.kid = SIGNER.public().kid;
    *keys.0.lock().unwrap() = Jwks { keys: vec![planted] };
    assert_eq!(ask(&token, VAULT, NOW), Err(TokenError::Signature));
    *keys.0.lock().unwrap() = Jwks::default();
    assert_eq!(ask(&token, VAULT, NOW), Err(TokenError::UnknownKey));
}

/// An issuer that changes its keys.
struct Turning(std::sync::Mutex<Jwks>);

impl KeySource for Turning {
    fn key<'a>(&'a self, kid: &'a str, _: u64) -> Asked<'a, Option<Jwk>> {
        let found = self.0.lock().unwrap().key(kid).cloned();
        Box::pin(std::future::ready(found))
    }
}
