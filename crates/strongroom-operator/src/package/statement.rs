//! Signed statements: in-toto Statement v1 in a DSSE envelope.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::error::PackageError;
use super::key::Signer;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

#[derive(Serialize)]
struct Statement<'a, P> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Subject<'a>; 1],
    #[serde(rename = "predicateType")]
    predicate_type: &'a str,
    predicate: &'a P,
}

#[derive(Serialize)]
struct Subject<'a> {
    name: &'a str,
    digest: Digest<'a>,
}

#[derive(Serialize)]
struct Digest<'a> {
    sha256: &'a str,
}

#[derive(Serialize)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: &'static str,
    signatures: [Signature; 1],
}

#[derive(Serialize)]
struct Signature {
    keyid: String,
    sig: String,
}

/// The envelope that says `predicate` of the file with this digest.
pub(super) fn sign(
    (file, sha256): (&str, &str),
    predicate_type: &str,
    predicate: &impl Serialize,
    signer: &dyn Signer,
) -> Result<Vec<u8>, PackageError> {
    let statement = Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject: [Subject {
            name: file,
            digest: Digest { sha256 },
        }],
        predicate_type,
        predicate,
    };
    let payload = json(&statement)?;
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    let public = signer.public_key()?;
    let signature = public.lower(signer.sign(&[head.as_bytes(), &payload].concat())?);
    let envelope = Envelope {
        payload: STANDARD.encode(payload),
        payload_type: PAYLOAD_TYPE,
        signatures: [Signature {
            keyid: public.name,
            sig: STANDARD.encode(signature),
        }],
    };
    let mut bytes = json(&envelope)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, PackageError> {
    serde_json::to_vec(value).map_err(|error| PackageError::io("a statement")(error.into()))
}
