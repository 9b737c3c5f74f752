//! A fact: one exchange with somebody who knows, kept as it was. A read that failed is a fact too.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// Names a fact: the SHA-256 of its bytes, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FactId(pub(crate) String);

impl FactId {
    /// The id of a fact with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(digest(&SHA256, bytes)))
    }

    /// Reads 64 lower-case hex digits; none if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 64 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// As 64 lower-case hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FactId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Azure Resource Manager, one resource or one list.
    ResourceManager,
    /// Azure Resource Graph.
    ResourceGraph,
    /// The data plane of a Key Vault.
    KeyVault,
    /// The audit log of a vault, wherever it is kept.
    AuditLog,
    /// Microsoft Graph.
    Directory,
    /// The data plane of an AI account.
    Service,
    /// What `strongroom verify` said of the stored bytes.
    Verify,
    /// The approved design, a file.
    Design,
}

/// What was sent. There is no place for headers that authorize: they are never kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The HTTP method; `READ` for a file.
    pub method: String,
    /// The whole URL, query included; a path for a file.
    pub url: String,
    /// The api-version asked for, where the protocol has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The body, where one was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Bytes>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An answer, whatever its status.
    Answered {
        /// The HTTP status; 200 for a file that was read.
        status: u16,
        /// The headers kept, names in lower case.
        headers: BTreeMap<String, String>,
        /// The body, byte for byte.
        body: Bytes,
    },
    /// No answer, or none that can be used.
    Failed {
        /// In what way.
        failure: Failure,
        /// For people; holds no secret.
        message: String,
    },
}

/// The ways in which a read fails without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// No name, no connection, or it broke off.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// No token was to be had for it.
    NoToken,
    /// The answer was larger than the limit.
    TooLarge,
    /// The answer is not the protocol.
    NotTheProtocol,
    /// It was not asked: the host is not one of the cloud's, or the budget was spent.
    NotAsked,
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Who was asked.
    pub source: Source,
    /// What the exchange is to tell, such as "the key's versions".
    pub question: String,
    /// The resource that the question is about, as an ARM id or key id, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Who asked: the principal's object id, or what is known of it.
    pub caller: String,
    /// What was sent.
    pub request: Request,
    /// What came back.
    pub outcome: Outcome,
    /// When the answer was complete, by the asking machine's clock, in milliseconds since the Unix epoch.
    pub received_ms: u64,
    /// The answering server's clock less ours, in milliseconds, where it told its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
}

impl Fact {
    /// Its status, where there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.outcome {
            Outcome::Answered { status, .. } => Some(*status),
            Outcome::Failed { .. } => None,
        }
    }

    /// The body of a successful answer.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        match &self.outcome {
            Outcome::Answered { status, body, .. } if (200..300).contains(status) => Some(&body.0),
            _ => None,
        }
    }

    /// The call, as a person would name it: method and URL.
    #[must_use]
    pub fn call(&self) -> String {
        format!("{} {}", self.request.method, self.request.url)
    }
}

/// The fact's bytes, and what names them: one JSON object without line breaks, members in the order of the types here.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "every member is text, a number or a map with text keys: writing it to memory cannot fail"
)]
pub fn encode(fact: &Fact) -> (FactId, Vec<u8>) {
    let bytes = serde_json::to_vec(fact).expect("a fact is JSON");
    (FactId::of(&bytes), bytes)
}

/// Reads what [`encode`] wrote, and nothing else: bytes that say the same in another way are refused.
pub fn decode(bytes: &[u8]) -> Result<Fact, DecodeError> {
    let fact: Fact = serde_json::from_slice(bytes).map_err(DecodeError::NotAFact)?;
    if encode(&fact).1 == bytes {
        Ok(fact)
    } else {
        Err(DecodeError::NotCanonical)
    }
}

/// Bytes that are no fact.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// They do not have a fact's members.
    #[error("not a fact: {0}")]
    NotAFact(serde_json::Error),
    /// They are a fact's, but written in another way than facts are.
    #[error("a fact that is not written in the one way that facts are written")]
    NotCanonical,
}

/// Bytes as they were: in JSON a string where they are UTF-8, else an object with their base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.0.len())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Written {
    Text(String),
    Binary { base64: String },
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Written::Binary {
                base64: base64::engine::general_purpose::STANDARD.encode(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(Self(text.into_bytes())),
            Written::Binary { base64 } => base64::engine::general_purpose::STANDARD
                .decode(base64)
                .map(Self)
                .map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(body: &[u8]) -> Fact {
        Fact {
            source: Source::KeyVault,
            question: "key".to_owned(),
            about: None,
            caller: "me".to_owned(),
            request: Request {
                method: "GET".to_owned(),
                url: "https://v.vault.azure.net/keys/k".to_owned(),
                api_version: Some("2025-07-01".to_owned()),
                body: None,
            },
            outcome: Outcome::Answered {
                status: 200,
                headers: BTreeMap::from([("date".to_owned(), "now".to_owned())]),
                body: Bytes(body.to_vec()),
            },
            received_ms: 7,
            clock_offset_ms: Some(-3),
        }
    }

    #[test]
    fn what_is_written_is_read_back_whatever_the_bytes() {
        for body in [b"{\"a\": 1}".as_slice(), b"", b"\xff\x00", "\u{2028}".as_bytes()] {
            let fact = fact(body);
            let (id, bytes) = encode(&fact);
            assert_eq!(decode(&bytes).unwrap(), fact);
            assert_eq!(FactId::of(&bytes), id);
            assert_eq!(FactId::parse(id.as_str()), Some(id));
        }
    }

    #[test]
    fn the_same_fact_in_other_words_is_refused() {
        let (_, bytes) = encode(&fact(b"x"));
        let spaced = [b" ".as_slice(), &bytes].concat();
        assert!(matches!(decode(&spaced), Err(DecodeError::NotCanonical)));
        assert!(matches!(decode(b"{}"), Err(DecodeError::NotAFact(_))));
    }

    #[test]
    fn ids_are_lower_case_hex_of_one_length() {
        for wrong in ["", "../../etc/passwd", &"A".repeat(64), &"a".repeat(63)] {
            assert_eq!(FactId::parse(wrong), None, "{wrong}");
        }
    }
}
