//! `strongroom principal credential`, `guest` and `host`, as a person runs them.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use strongroom_azure::token::{Jwks, Signer};
use strongroom_testkit::{System, strongroom_command};
use uuid::Uuid;

use crate::entra::{Entra, VAULT};

const EXCHANGE: &str = "api://AzureADTokenExchange";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

async fn run(system: &System, arguments: &[&str]) -> Output {
    strongroom_command(system.folder().root(), arguments)
        .await
        .unwrap()
}

async fn json_of(system: &System, arguments: &[&str]) -> Value {
    let output = run(system, &[arguments, &["--output", "json"]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The administrator's object id.
async fn administrator(system: &System) -> String {
    use base64::Engine as _;
    let token = system.token(VAULT).await.unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
    let claims: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
    claims["oid"].as_str().unwrap().to_owned()
}

/// The AADSTS number of the answer to a token request of the administrator with this proof; 0 for a token.
async fn ask(system: &System, proof: &[(&str, &str)]) -> u64 {
    let mut fields = vec![
        ("grant_type", "client_credentials"),
        ("client_id", system.variable("AZURE_CLIENT_ID")),
        ("scope", "https://vault.azure.net/.default"),
    ];
    fields.extend(proof);
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let url = format!(
        "{}/{}/oauth2/v2.0/token",
        system.variable("AZURE_AUTHORITY_HOST"),
        system.variable("AZURE_TENANT_ID")
    );
    let request = system
        .client()
        .post(url)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["error_codes"][0].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn a_secret_is_shown_once_listed_without_it_and_taken_away() {
    let system = System::start().await.unwrap();
    let id = administrator(&system).await;
    let command = |words: &[&'static str]| [&["principal", "credential"], words].concat();
    // Whoever goes by one name only can be called by it.
    let named = vec!["--id", "administrator", "--days", "1"];
    let added = json_of(&system, &[command(&["add", "secret"]), named].concat()).await;
    let secret = added["secret"].as_str().unwrap();
    assert_eq!(ask(&system, &[("client_secret", secret)]).await, 0);
    let listed = json_of(&system, &[command(&["list"]), vec!["--id", &id]].concat()).await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(secret) && listed[1]["hint"] == secret[..3]);
    // It stands in no file either.
    assert!(!stands_below(system.folder().root(), secret.as_bytes()));
    let credential = added["id"].as_str().unwrap();
    let taken = [
        command(&["delete"]),
        vec!["--id", &id, "--credential", credential],
    ]
    .concat();
    assert_eq!(json_of(&system, &taken).await["removed"], true);
    assert_eq!(json_of(&system, &taken).await["removed"], false);
    assert_eq!(ask(&system, &[("client_secret", secret)]).await, 7_000_215);
}

#[tokio::test]
async fn an_external_issuer_vouches_by_a_file_of_keys_or_by_what_it_publishes() {
    let cluster = Entra::start().await;
    let system = cluster.trusting().start().await.unwrap();
    let id = administrator(&system).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        serde_json::to_string(&cluster.signer.jwks()).unwrap(),
    )
    .unwrap();
    let (url, fixed) = (cluster.url(), file.path().display().to_string());
    let add = [
        "principal",
        "credential",
        "add",
        "federated",
        "--id",
        &id,
        "--issuer",
        "https://cluster.example/",
    ];
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let proof = |signer: &Signer, subject: &str| {
        let claims = json!({"iss": "https://cluster.example/", "sub": subject, "aud": EXCHANGE, "iat": now, "exp": now + 600});
        signer.sign(&claims).unwrap()
    };
    for (subject, keys) in [
        ("fixed", ["--jwks-file", &fixed]),
        ("published", ["--jwks-url", &url]),
    ] {
        let added = run(&system, &[&add[..], &["--subject", subject], &keys].concat()).await;
        assert!(added.status.success(), "{added:?}");
        let assertion = proof(&cluster.signer, subject);
        let shown = [
            ("client_assertion", assertion.as_str()),
            ("client_assertion_type", ASSERTION_TYPE),
        ];
        assert_eq!(ask(&system, &shown).await, 0, "{subject}");
    }
    let assertion = proof(&Signer::generate().unwrap(), "published");
    let shown = [
        ("client_assertion", assertion.as_str()),
        ("client_assertion_type", ASSERTION_TYPE),
    ];
    assert_eq!(ask(&system, &shown).await, 50013);
    // Keys are fetched from listed hosts alone, and a wrong file is told from a wrong key.
    let elsewhere = run(
        &system,
        &[
            &add[..],
            &["--subject", "x", "--jwks-url", "https://169.254.169.254/keys"],
        ]
        .concat(),
    )
    .await;
    assert_eq!(elsewhere.status.code(), Some(1), "{elsewhere:?}");
    std::fs::write(file.path(), "no keys").unwrap();
    let wrong = run(
        &system,
        &[&add[..], &["--subject", "x", "--jwks-file", &fixed]].concat(),
    )
    .await;
    assert_eq!(wrong.status.code(), Some(64));
    cluster.publish(Some(Jwks::default()));
}

#[tokio::test]
async fn certificates_guests_and_hosts_are_checked_before_they_are_known() {
    let system = System::start().await.unwrap();
    let id = administrator(&system).await;
    let made = rcgen::generate_simple_self_signed(["app".to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.cert.pem()).unwrap();
    let path = file.path().display().to_string();
    let elliptic = run(
        &system,
        &[
            "principal",
            "credential",
            "add",
            "certificate",
            "--id",
            &id,
            "--file",
            &path,
        ],
    )
    .await;
    assert!(
        String::from_utf8_lossy(&elliptic.stderr).contains("RSA"),
        "{elliptic:?}"
    );
    let host = run(&system, &["principal", "host", "--system-assigned", &id]).await;
    assert_eq!(host.status.code(), Some(1), "{host:?}");
    let (tenant, object, client) = (
        system.variable("AZURE_TENANT_ID"),
        Uuid::new_v4().to_string(),
        Uuid::new_v4().to_string(),
    );
    let guest = [
        "principal",
        "guest",
        "--display-name",
        "own",
        "--tenant",
        tenant,
        "--object-id",
        &object,
        "--client-id",
        &client,
    ];
    assert_eq!(run(&system, &guest).await.status.code(), Some(1));
}

fn stands_below(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return stands_below(&path, needle);
        }
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    })
}
