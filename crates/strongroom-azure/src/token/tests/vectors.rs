//! The files under `vectors/token`: tokens with one defect each, and the reason for which they must be refused.
//!
//! Each generation draws a key of its own that nobody keeps, so the files are written once and not again: a new one needs all anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

/// How many files there are. Whoever adds or removes one says so here.
const COUNT: usize = 29;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    description: String,
    /// `ok`, or the name of the error.
    expect: String,
    case: Case,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case", deny_unknown_fields)]
enum Case {
    VerifyToken {
        token: String,
        /// Seconds since the Unix epoch.
        now: u64,
        /// Any one of them will do.
        audiences: Vec<String>,
        issuer: String,
        tenant: String,
        jwks: Value,
    },
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/token")
}

fn outcome(case: &Case) -> String {
    let Case::VerifyToken {
        token,
        now,
        audiences,
        issuer,
        tenant,
        jwks,
    } = case;
    assert_eq!(*now, NOW);
    let trusted = TrustedIssuer {
        names: vec![issuer.clone()],
        tenant: tenant.clone(),
        audiences: None,
        guest: false,
        keys: Arc::new(StaticKeys::new(Jwks::parse(jwks.to_string().as_bytes()).unwrap())),
    };
    let audiences: Vec<&str> = audiences.iter().map(String::as_str).collect();
    match check_for(trusted, token, &audiences) {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("TokenError::{error:?}"),
    }
}

#[test]
fn every_file_ends_as_it_says_and_every_reason_has_one() {
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let vector: Vector = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(outcome(&vector.case), vector.expect, "{}", path.display());
        found.insert(path, vector.expect);
    }
    assert_eq!(found.len(), COUNT);
    for reason in [
        TokenError::TooLong,
        TokenError::Malformed,
        TokenError::Header,
        TokenError::Algorithm,
        TokenError::Issuer,
        TokenError::Tenant,
        TokenError::UnknownKey,
        TokenError::Signature,
        TokenError::Audience,
        TokenError::Expired,
        TokenError::NotYetValid,
        TokenError::Life,
    ] {
        let name = format!("TokenError::{reason:?}");
        assert!(
            found.values().any(|expect| *expect == name),
            "{name} has no vector"
        );
    }
}

/// `STRONGROOM_WRITE_TOKEN_VECTORS=1` writes all of them anew, under a new key.
#[test]
fn the_generator_writes_the_files_when_it_is_told_to() {
    if std::env::var_os("STRONGROOM_WRITE_TOKEN_VECTORS").is_none() {
        return;
    }
    std::fs::create_dir_all(folder()).unwrap();
    for (name, description, expect, token) in all() {
        let case = Case::VerifyToken {
            token,
            now: NOW,
            audiences: vec![VAULT.to_owned()],
            issuer: ISSUER.to_owned(),
            tenant: "tenant".to_owned(),
            jwks: serde_json::to_value(SIGNER.jwks()).unwrap(),
        };
        let expect = if expect == "ok" {
            expect.to_owned()
        } else {
            format!("TokenError::{expect}")
        };
        let vector = Vector {
            description: description.to_owned(),
            expect,
            case,
        };
        let text = serde_json::to_string_pretty(&vector).unwrap() + "\n";
        std::fs::write(folder().join(format!("{name}.json")), text).unwrap();
    }
}

type Row = (&'static str, &'static str, &'static str, String);

fn all() -> Vec<Row> {
    let mut rows = claims_of_parties();
    rows.extend(claims_of_form());
    rows.extend(wrong_headers());
    rows.extend(wrong_forms());
    rows
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "RS256", "kid": SIGNER.kid()})
}

fn with_claim(name: &str, value: Value) -> String {
    let mut payload = serde_json::to_value(claims()).unwrap();
    payload[name] = value;
    signed(&header().to_string(), &payload.to_string())
}

fn with_header(name: &str, value: Value) -> String {
    let mut changed = header();
    changed[name] = value;
    signed(&changed.to_string(), &serde_json::to_string(&claims()).unwrap())
}

/// Issuer, tenant, audience.
fn claims_of_parties() -> Vec<Row> {
    vec![
        ("good", "a good token", "ok", SIGNER.sign(&claims()).unwrap()),
        (
            "slash",
            "one slash behind the audience does not count",
            "ok",
            with_claim("aud", json!(format!("{VAULT}/"))),
        ),
        (
            "second-version",
            "azp instead of appid, and claims that nobody knows",
            "ok",
            with_claim("groups", json!(["g"])),
        ),
        (
            "foreign-issuer",
            "an issuer that is not trusted",
            "Issuer",
            with_claim("iss", json!("https://evil.example/tenant/v2.0")),
        ),
        (
            "issuer-with-slash",
            "the issuer's name with a slash more",
            "Issuer",
            with_claim("iss", json!(format!("{ISSUER}/"))),
        ),
        (
            "foreign-tenant",
            "another tenant under the trusted issuer",
            "Tenant",
            with_claim("tid", json!("other")),
        ),
        (
            "foreign-audience",
            "meant for Resource Manager",
            "Audience",
            with_claim("aud", json!("https://management.azure.com")),
        ),
        (
            "audience-below",
            "an audience that only begins like the wanted one",
            "Audience",
            with_claim("aud", json!(format!("{VAULT}/x"))),
        ),
    ]
}

/// Times, and what they are written as.
fn claims_of_form() -> Vec<Row> {
    vec![
        (
            "list-of-audiences",
            "an audience that is a list",
            "Malformed",
            with_claim("aud", json!([VAULT])),
        ),
        (
            "expired",
            "ended a minute ago",
            "Expired",
            with_claim("exp", json!(NOW - 60)),
        ),
        (
            "not-yet",
            "begins in more than a minute",
            "NotYetValid",
            with_claim("nbf", json!(NOW + 61)),
        ),
        (
            "for-days",
            "would count for two days",
            "Life",
            with_claim("exp", json!(NOW + 172_800)),
        ),
        (
            "time-as-text",
            "an end that is text",
            "Malformed",
            with_claim("exp", json!((NOW + 3600).to_string())),
        ),
        (
            "negative-time",
            "a beginning before time",
            "Malformed",
            with_claim("nbf", json!(-1)),
        ),
        (
            "no-object",
            "an object id that is nothing",
            "Malformed",
            with_claim("oid", Value::Null),
        ),
    ]
}

fn wrong_headers() -> Vec<Row> {
    let unsigned = |algorithm: &str| {
        let token = with_header("alg", json!(algorithm));
        format!("{}.", token.rsplit_once('.').unwrap().0)
    };
    let confused = {
        let token = with_header("alg", json!("HS256"));
        let message = token.rsplit_once('.').unwrap().0;
        let public = serde_json::to_vec(&SIGNER.public()).unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &public);
        let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    };
    vec![
        (
            "none",
            "algorithm none, without a signature",
            "Algorithm",
            unsigned("none"),
        ),
        (
            "none-in-capitals",
            "algorithm NONE, without a signature",
            "Algorithm",
            unsigned("NONE"),
        ),
        (
            "confused",
            "HMAC keyed with the public key",
            "Algorithm",
            confused,
        ),
        (
            "stripped",
            "RS256 without a signature",
            "Signature",
            unsigned("RS256"),
        ),
        (
            "unknown-key",
            "a key id that the issuer does not have",
            "UnknownKey",
            with_header("kid", json!("other")),
        ),
        (
            "path-as-key",
            "a key id that is a path",
            "UnknownKey",
            with_header("kid", json!("../../../dev/null")),
        ),
        (
            "long-key-name",
            "a key id of 300 letters",
            "Header",
            with_header("kid", json!("k".repeat(300))),
        ),
        (
            "points-to-keys",
            "jku points to a set of keys",
            "Header",
            with_header("jku", json!("https://evil.example/keys")),
        ),
        (
            "brings-a-key",
            "jwk brings a key",
            "Header",
            with_header("jwk", serde_json::to_value(SIGNER.public()).unwrap()),
        ),
    ]
}

fn wrong_forms() -> Vec<Row> {
    let good = SIGNER.sign(&claims()).unwrap();
    let other = Signer::generate().unwrap();
    let strange = format!(
        "{}.{}",
        good.rsplit_once('.').unwrap().0,
        other.sign(&claims()).unwrap().rsplit_once('.').unwrap().1
    );
    let payload = serde_json::to_string(&claims()).unwrap();
    let doubled = payload.replacen('{', r#"{"oid":"administrator","#, 1);
    let four = format!("{good}.{}", good.rsplit_once('.').unwrap().1);
    vec![
        (
            "strange-signature",
            "the signature of another key under the known id",
            "Signature",
            strange,
        ),
        (
            "said-twice",
            "two object ids",
            "Malformed",
            signed(&header().to_string(), &doubled),
        ),
        ("four-parts", "four parts", "Malformed", four),
        ("padded", "base64 with padding", "Malformed", format!("{good}==")),
        (
            "too-long",
            "longer than 16 KiB",
            "TooLong",
            with_claim("x", json!("x".repeat(16 * 1024))),
        ),
    ]
}
