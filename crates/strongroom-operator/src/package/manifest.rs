//! `manifest.json`: every file with its size and digest, what made them, by which rules, and which keys sign.

use std::io::{self, Write};

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::Serialize;

use super::key::PublicKey;
use super::redact::Redacted;
use super::staging::Entry;
use crate::finding::Control;

/// The version of the package's format.
const FORMAT: u32 = 1;

/// What a run's statement and log entry say that they are.
pub(super) const RUN_TYPE: &str = "urn:strongroom:evidence:run:1";

#[derive(Serialize)]
struct Manifest<'a> {
    files: &'a [Entry],
    format: u32,
    redaction: Option<&'a Redacted>,
    rules: Rules,
    signers: Signers<'a>,
    tool: Tool<'a>,
}

#[derive(Serialize)]
struct Rules {
    sha256: String,
}

#[derive(Serialize)]
struct Signers<'a> {
    log: &'a str,
    statement: &'a str,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'static str,
    version: &'a str,
}

/// What the manifest says beside the files.
pub(super) struct About<'a> {
    pub(super) redaction: Option<&'a Redacted>,
    pub(super) rules: String,
    pub(super) signer: &'a PublicKey,
    pub(super) log: &'a str,
}

/// The manifest's bytes.
pub(super) fn to_bytes(files: &[Entry], about: &About<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let manifest = Manifest {
        files,
        format: FORMAT,
        redaction: about.redaction,
        rules: Rules {
            sha256: about.rules.clone(),
        },
        signers: Signers {
            log: about.log,
            statement: &about.signer.text,
        },
        tool: Tool {
            name: "strongroom",
            version: env!("CARGO_PKG_VERSION"),
        },
    };
    let mut bytes = serde_json::to_vec_pretty(&manifest)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What names the rules: the digest of the catalogue as JSON.
pub(super) fn rules(catalogue: &[Control]) -> Result<String, serde_json::Error> {
    json_sha256(&catalogue)
}

/// The log's entry for a manifest.
pub(super) fn log_entry(manifest: &[u8]) -> String {
    let (digest, size) = (sha256(manifest), manifest.len());
    format!("{{\"manifest\":{{\"sha256\":\"{digest}\",\"size\":{size}}},\"type\":\"{RUN_TYPE}\"}}")
}

/// SHA-256 in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// SHA-256 in hex of a value as JSON, which is never in memory whole.
pub(super) fn json_sha256(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut digest = Digest(Context::new(&SHA256));
    serde_json::to_writer(&mut digest, value)?;
    Ok(hex::encode(digest.0.finish()))
}

struct Digest(Context);

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
