//! Assertions and the certificates that sign them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use rcgen::{CertificateParams, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;

const ENDPOINT: &str = "https://localhost:8443/tenant/oauth2/v2.0/token";

/// A certificate over the signer's key, as `openssl req -x509` would make it.
fn certificate(years: [i32; 2]) -> String {
    let key = SIGNER
        .expose_pkcs8(|der| {
            let der = PrivatePkcs8KeyDer::from(der.to_vec());
            rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256).unwrap()
        })
        .unwrap();
    let mut parameters = CertificateParams::new(vec!["app".to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(years[0], 1, 1);
    parameters.not_after = date_time_ymd(years[1], 3, 1);
    parameters.self_signed(&key).unwrap().pem()
}

fn payload(extra: &str) -> String {
    format!(
        r#"{{"iss":"app","sub":"app","aud":"{ENDPOINT}","jti":"1","iat":{NOW}.25,"exp":{}.75{extra}}}"#,
        NOW + 600
    )
}

#[test]
fn a_certificate_gives_its_key_life_and_thumbprints() {
    let pem = certificate([2024, 2060]);
    let read = Certificate::from_pem(&format!(
        "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n{pem}"
    ))
    .unwrap();
    assert_eq!(
        (&read.key.n, &read.key.e),
        (&SIGNER.public().n, &SIGNER.public().e)
    );
    // 2024-01-01 and 2060-03-01, the one before and the other after the notation of years changes.
    assert_eq!((read.not_before, read.not_after), (1_704_067_200, 2_845_324_800));
    assert_eq!((read.sha1.len(), read.sha256.len()), (27, 43));
    assert_eq!(
        Certificate::from_pem(&certificate([1960, 2000]))
            .unwrap()
            .not_before,
        0
    );
}

#[test]
fn what_is_no_certificate_of_an_rsa_key_is_refused() {
    let elliptic = rcgen::generate_simple_self_signed(["x".to_owned()])
        .unwrap()
        .cert
        .pem();
    assert_eq!(Certificate::from_pem(&elliptic), Err(CertificateError::Key));
    let pem = certificate([2024, 2060]);
    let cut = pem.replacen("MII", "MIJ", 1);
    for wrong in [
        "",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
        &cut,
        &pem[..200],
    ] {
        assert_eq!(Certificate::from_pem(wrong), Err(CertificateError::Malformed));
    }
}

#[test]
fn an_assertion_is_read_as_clients_write_it() {
    let read = Certificate::from_pem(&certificate([2024, 2060])).unwrap();
    // Padded, as MSAL writes it; times with fractions; a line's end behind it.
    let header = format!(
        r#"{{"alg":"RS256","typ":"JWT","x5t":"{}=","x5c":["MII"]}}"#,
        read.sha1
    );
    let text = format!(" {}\n", signed(&header, &payload("")));
    let assertion = Assertion::parse(&text).unwrap();
    assert!(assertion.names_certificate(&read.sha1, &read.sha256));
    assert!(assertion.is_signed_by(&read.key));
    assert!(
        assertion.is_for(ENDPOINT) && !assertion.is_for("https://localhost:8443/tenant/oauth2/v2.0/token/")
    );
    assert_eq!(
        (assertion.issuer(), assertion.subject(), assertion.id()),
        ("app", "app", Some("1"))
    );
    assert_eq!(assertion.expires(), NOW + 600);
    assert_eq!(assertion.check_times(NOW, 3600), Ok(()));
}

#[test]
fn newer_clients_sign_with_padding_of_chance() {
    let read = Certificate::from_pem(&certificate([2024, 2060])).unwrap();
    let header = format!(r#"{{"alg":"PS256","x5t#S256":"{}"}}"#, read.sha256);
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(&header),
        URL_SAFE_NO_PAD.encode(payload(""))
    );
    let pair = SIGNER
        .expose_pkcs8(|der| KeyPair::from_pkcs8(der).unwrap())
        .unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PSS_SHA256,
        &SystemRandom::new(),
        message.as_bytes(),
        &mut signature,
    )
    .unwrap();
    let text = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&signature));
    let assertion = Assertion::parse(&text).unwrap();
    assert!(assertion.names_certificate(&read.sha1, &read.sha256));
    assert!(assertion.is_signed_by(&read.key));
    // The same signature under the other algorithm's name is none.
    let renamed = text.replacen(
        &URL_SAFE_NO_PAD.encode(&header),
        &URL_SAFE_NO_PAD.encode(header.replace("PS256", "RS256")),
        1,
    );
    assert!(!Assertion::parse(&renamed).unwrap().is_signed_by(&read.key));
}

#[test]
fn an_assertion_names_its_certificate_by_all_that_it_says() {
    let names = |header: &str| {
        let text = signed(header, &payload(""));
        Assertion::parse(&text).unwrap().names_certificate("one", "two")
    };
    assert!(names(r#"{"alg":"RS256","x5t":"one"}"#));
    assert!(names(r#"{"alg":"RS256","x5t":"one","x5t#S256":"two"}"#));
    assert!(!names(r#"{"alg":"RS256","x5t":"one","x5t#S256":"three"}"#));
    assert!(!names(r#"{"alg":"RS256","x5t":"two"}"#));
    assert!(!names(r#"{"alg":"RS256","kid":"one"}"#));
}

#[test]
fn an_assertion_has_its_time_and_no_longer_one_than_is_allowed() {
    let check = |extra: &str, now| {
        let text = signed(r#"{"alg":"RS256"}"#, &payload(extra));
        Assertion::parse(&text).unwrap().check_times(now, 600)
    };
    assert_eq!(check("", NOW), Ok(()));
    assert_eq!(check("", NOW + 600 + 299), Ok(()));
    assert_eq!(check("", NOW + 600 + 300), Err(AssertionTime::Outside));
    assert_eq!(check("", NOW - 301), Err(AssertionTime::Outside));
    assert_eq!(
        check(&format!(r#","nbf":{}"#, NOW + 301), NOW),
        Err(AssertionTime::Outside)
    );
    assert_eq!(
        check(&format!(r#","nbf":{}"#, NOW - 3600), NOW),
        Err(AssertionTime::TooLong)
    );
}

#[test]
fn an_assertion_says_who_it_is_for_once_or_in_a_list() {
    let payload = format!(r#"{{"iss":"i","sub":"s","aud":["one","two"],"exp":{NOW}}}"#);
    let text = signed(r#"{"alg":"RS256","kid":"k"}"#, &payload);
    let assertion = Assertion::parse(&text).unwrap();
    assert!(assertion.is_for("two") && !assertion.is_for("three"));
    assert_eq!((assertion.id(), assertion.key_id()), (None, Some("k")));
}

#[test]
fn what_is_no_assertion_is_refused_by_its_reason() {
    let refused = |header: &str, payload: &str| Assertion::parse(&signed(header, payload)).err();
    for algorithm in ["none", "HS256", "RS512", "ES256"] {
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        assert_eq!(refused(&header, &payload("")), Some(AssertionError::Algorithm));
    }
    assert_eq!(
        refused(r#"{"alg":"RS256","jku":"https://x"}"#, &payload("")),
        Some(AssertionError::Header)
    );
    for wrong in [
        "{}",
        "[]",
        r#"{"iss":"i","sub":"s","aud":"a","exp":-1}"#,
        r#"{"iss":"i","sub":"s","aud":1,"exp":1}"#,
    ] {
        assert_eq!(
            refused(r#"{"alg":"RS256"}"#, wrong),
            Some(AssertionError::Malformed),
            "{wrong}"
        );
    }
    assert_eq!(
        refused(r#"{"alg":"RS256"}"#, &payload(r#","sub":"other""#)),
        Some(AssertionError::Malformed)
    );
    assert_eq!(
        Assertion::parse(&" ".repeat(100_000)).err(),
        Some(AssertionError::Malformed)
    );
}
