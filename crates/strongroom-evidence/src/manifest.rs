//! `manifest.json`: every file with its size and SHA-256.

use serde::Deserialize;

use crate::limits::FILES;

/// The files that every package has, apart from `raw/`.
pub(crate) const NAMES: [&str; 9] = [
    "README.md",
    "completeness.json",
    "findings.csv",
    "findings.json",
    "graph.json",
    "oscal/assessment-results.json",
    "raw/",
    "run.json",
    "summary.html",
];

/// The files that the manifest does not name: it cannot name itself, and the others are made over it or are signatures.
pub(crate) const OUTSIDE: [&str; 5] = [
    "checkpoint.txt",
    "completeness.dsse.json",
    "log.txt",
    "manifest.json",
    "statement.dsse.json",
];

/// The version of the format that this crate reads.
const FORMAT: u32 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) files: Vec<File>,
    format: u32,
    pub(crate) redaction: Option<Redaction>,
    pub(crate) rules: Rules,
    pub(crate) signers: Signers,
    pub(crate) tool: Tool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redaction {
    pub(crate) classes: Vec<String>,
    #[serde(rename = "keyId")]
    pub(crate) key_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) sha256: String,
}

/// The public keys that the package says it was signed with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signers {
    pub(crate) log: String,
    pub(crate) statement: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Manifest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|_| "it is not the JSON that a manifest is")?;
        if manifest.format != FORMAT {
            return Err("it is of another version of the format");
        }
        if manifest.files.len() > FILES {
            return Err("it names too many files");
        }
        if !manifest.files.is_sorted_by(|one, next| one.path < next.path) {
            return Err("its files are not in order, or one is named twice");
        }
        for file in &manifest.files {
            if !is_digest(&file.sha256) {
                return Err("a digest is not 64 lower-case hexadecimal digits");
            }
            if !is_known(&file.path) {
                return Err("it names a file that no package has");
            }
            if raw_digest(&file.path).is_some_and(|digest| digest != file.sha256) {
                return Err("a fact is not named by its digest");
            }
        }
        if !is_digest(&manifest.rules.sha256) {
            return Err("the digest of the rules is not 64 lower-case hexadecimal digits");
        }
        Ok(manifest)
    }

    /// Files that every package has and this manifest does not name.
    pub(crate) fn absent(&self) -> impl Iterator<Item = &'static str> {
        let names = NAMES.into_iter().filter(|name| !name.ends_with('/'));
        names.filter(|name| self.find(name).is_none())
    }

    pub(crate) fn find(&self, path: &str) -> Option<&File> {
        let at = self
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()?;
        self.files.get(at)
    }
}

/// Whether a package may have a file of this name in its manifest. There is no room for tricks with paths: all names are known.
pub(crate) fn is_known(path: &str) -> bool {
    raw_digest(path).is_some() || (NAMES.contains(&path) && !path.ends_with('/'))
}

/// The digest in the name of a fact's file.
fn raw_digest(path: &str) -> Option<&str> {
    let digest = path.strip_prefix("raw/")?.strip_suffix(".json")?;
    is_digest(digest).then_some(digest)
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
