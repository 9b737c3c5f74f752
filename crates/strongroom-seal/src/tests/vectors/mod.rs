//! The files under `vectors/`: their schema, the generator that makes them and the run that checks them.
//!
//! They are for other implementations as much as for this one. `vectors/README.md` describes them.

#[expect(clippy::too_many_lines, reason = "each function is a table of cases")]
mod blobs;
#[expect(clippy::too_many_lines, reason = "each function is a table of cases")]
mod keys;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{AccountId, Context};

/// How many files there are. Whoever adds or removes one says so here.
const COUNT: usize = 121;

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    description: String,
    /// `ok`, or the name of the error.
    expect: String,
    case: Case,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case", deny_unknown_fields)]
enum Case {
    DeriveBranchKey {
        branch: Branch,
        check_value: Hex,
    },
    VerifyEndorsement {
        branch: Branch,
        next_version: u32,
        next_check_value: Hex,
        endorsement: Hex,
    },
    UnwrapObjectKey {
        branch: Branch,
        context: Named,
        wrapped_key: Hex,
        object_key: Option<Hex>,
    },
    EncodeContext {
        context: Named,
        object_key: Option<Hex>,
        record: Option<Hex>,
        blob: Option<Hex>,
    },
    OpenRecord {
        object_key: Hex,
        context: Named,
        record: Hex,
        plaintext: Option<Hex>,
    },
    OpenBlob {
        object_key: Hex,
        context: Named,
        blob: Blob,
        recorded_length: Option<u64>,
        plaintext: Option<Digest>,
    },
    OpenRange {
        object_key: Hex,
        context: Named,
        blob: Blob,
        start: u64,
        end: u64,
        plaintext: Option<Digest>,
    },
    BlobLength {
        stored: u64,
        plaintext: Option<u64>,
    },
    ExportBlobKey {
        object_key: Hex,
        context: Named,
        keyset: serde_json::Value,
        associated_data: Hex,
    },
    ParseKeyId {
        text: String,
    },
    AdmitKeyId {
        text: String,
        configured: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Branch {
    seed: Hex,
    account: String,
    version: u32,
}

/// A context by its fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    account: String,
    kind: String,
    id: String,
    part: u32,
}

/// A stored blob: its bytes, or how to make them and what to do to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Blob {
    Bytes(Hex),
    Made {
        /// Plaintext byte `i` is `i` modulo 251.
        plaintext_length: u64,
        salt: Hex,
        nonce_prefix: Hex,
        /// The context it is sealed for, if not the one it is opened for.
        #[serde(skip_serializing_if = "Option::is_none")]
        sealed_for: Option<Named>,
        /// Of the blob as sealed.
        sealed: Digest,
        /// Done to the sealed blob, in order.
        then: Vec<Edit>,
    },
}

/// Stored segments are counted from 0; segment `i` begins at `i` MiB and the first one includes the header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Edit {
    FlipBit { byte: u64, bit: u8 },
    Truncate { length: u64 },
    Append { bytes: Hex },
    SwapSegments { first: u64, second: u64 },
    DuplicateSegment { segment: u64 },
    RemoveSegment { segment: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    length: u64,
    sha256: Hex,
}

/// Bytes, in hexadecimal.
#[derive(Debug, Clone, PartialEq)]
struct Hex(Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hex::decode(String::deserialize(deserializer)?)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

impl Hex {
    fn of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }
}

impl Digest {
    fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        Self {
            length: bytes.len() as u64,
            sha256: Hex::of(digest.as_ref()),
        }
    }
}

impl Named {
    fn context(&self) -> Result<Context<'_>, crate::ContextError> {
        Context::new(account(&self.account), &self.kind, &self.id, self.part)
    }
}

fn account(text: &str) -> AccountId {
    text.parse().unwrap()
}

/// Every file by its path below `vectors/`, as the generator makes it.
fn generated() -> BTreeMap<String, Vector> {
    let all: Vec<(String, Vector)> = keys::all().into_iter().chain(blobs::all()).collect();
    let (count, vectors) = (all.len(), all.into_iter().collect::<BTreeMap<_, _>>());
    assert_eq!(vectors.len(), count, "two vectors have one name");
    vectors
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file by its path below `vectors/`, as it lies there.
fn committed() -> BTreeMap<String, Vector> {
    let mut found = BTreeMap::new();
    for form in std::fs::read_dir(root().join("vectors"))
        .unwrap()
        .map(Result::unwrap)
    {
        // Those of tokens and of evidence packages are other crates'.
        let others = ["token", "evidence"]
            .iter()
            .any(|other| form.file_name() == *other);
        if !form.file_type().unwrap().is_dir() || others {
            continue;
        }
        for file in std::fs::read_dir(form.path()).unwrap().map(Result::unwrap) {
            let name = format!("{}/{}", form.file_name().display(), file.file_name().display());
            let text = std::fs::read_to_string(file.path()).unwrap();
            let vector = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            found.insert(name, vector);
        }
    }
    found
}

/// `cargo xtask vectors` names a folder in the variable; without it nothing is written.
#[test]
fn the_generator_writes_the_files_where_it_is_told_to() {
    let Some(told) = std::env::var_os("STRONGROOM_WRITE_VECTORS") else {
        return;
    };
    let folder = root().join(told);
    for (name, vector) in generated() {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_string_pretty(&vector).unwrap() + "\n").unwrap();
    }
}

#[test]
fn the_files_are_what_the_generator_makes_and_as_many_as_are_counted() {
    let (generated, committed) = (generated(), committed());
    let names = |vectors: &BTreeMap<String, Vector>| vectors.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&committed), names(&generated));
    for (name, vector) in &generated {
        assert!(committed.get(name) == Some(vector), "{name} differs");
    }
    assert_eq!(committed.len(), COUNT);
}

#[test]
fn every_file_ends_as_it_says() {
    for (name, vector) in committed() {
        assert_eq!(
            run::outcome(&vector.case),
            vector.expect,
            "{name}: {}",
            vector.description
        );
    }
}

#[test]
fn every_reason_not_to_open_has_a_file() {
    let expectations: BTreeSet<String> = committed().into_values().map(|vector| vector.expect).collect();
    for reason in run::all_reasons() {
        assert!(
            expectations.contains(&run::name_of(reason)),
            "{reason:?} has no vector"
        );
    }
}
