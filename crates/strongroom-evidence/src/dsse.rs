//! Signed statements: in-toto Statement v1 in a DSSE envelope, written in one way only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::keys::TrustedKey;

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// An envelope, with a signature that is not checked yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

/// What is signed: who (not said here), what about which file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    pub(crate) predicate_type: String,
    pub(crate) predicate: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Digest,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    sha256: String,
}

impl Envelope {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let envelope: Self =
            serde_json::from_slice(bytes).map_err(|_| "it is not the JSON that an envelope is")?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err("it holds no in-toto statement");
        }
        let [signature] = envelope.signatures.as_slice() else {
            return Err("it has not exactly one signature");
        };
        if signature.keyid.len() > 1024
            || signature
                .keyid
                .bytes()
                .any(|byte| !matches!(byte, b'!'..=b'~') || byte == b'"' || byte == b'\\')
        {
            return Err("the name of the key is not plain text");
        }
        let text = format!(
            "{{\"payload\":\"{}\",\"payloadType\":\"{PAYLOAD_TYPE}\",\"signatures\":[{{\"keyid\":\"{}\",\"sig\":\"{}\"}}]}}\n",
            envelope.payload, signature.keyid, signature.sig
        );
        if text.as_bytes() != bytes {
            return Err("it is not written in the one way");
        }
        Ok(envelope)
    }

    /// What the key says of itself. A hint: nothing signs it.
    pub(crate) fn key_name(&self) -> &str {
        self.signatures.first().map_or("", |signature| &signature.keyid)
    }

    /// The first of the keys that signed it.
    pub(crate) fn signer<'a>(&self, keys: &'a [TrustedKey]) -> Option<&'a TrustedKey> {
        let payload = STANDARD.decode(&self.payload).ok()?;
        let signature = STANDARD.decode(&self.signatures.first()?.sig).ok()?;
        let message = encode_for_signing(&payload);
        keys.iter().find(|key| key.verifies(&message, &signature))
    }

    /// The statement inside, if it is about this file with this digest.
    pub(crate) fn statement(&self, file: &str, digest: &str) -> Result<Statement, &'static str> {
        let payload = STANDARD
            .decode(&self.payload)
            .map_err(|_| "its content is not base64")?;
        let statement: Statement =
            serde_json::from_slice(&payload).map_err(|_| "its content is not an in-toto statement")?;
        if statement.kind != STATEMENT_TYPE {
            return Err("its content is not an in-toto statement of version 1");
        }
        match statement.subject.as_slice() {
            [subject] if subject.name == file && subject.digest.sha256 == digest => Ok(statement),
            [subject] if subject.name == file => Err("it was made over other bytes than are there"),
            _ => Err("it is about something else"),
        }
    }
}

/// DSSE's pre-authentication encoding.
fn encode_for_signing(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}
