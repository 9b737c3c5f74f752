//! The vectors under `vectors/evidence`: one whole package, and what is done to it in each bad case.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use strongroom_evidence::verify_zip;

use super::fixture::Fixture;
use crate::package::Signer as _;

/// How many there are, the good one included.
const COUNT: usize = 15;

/// A case: its name, what it shows, and the edits of the zip.
type Case = (&'static str, &'static str, Vec<Value>);

fn flip(byte: usize) -> Value {
    json!({"flip-bit": {"byte": byte, "bit": 0}})
}

fn insert(byte: usize) -> Value {
    json!({"insert": {"byte": byte, "bytes": "00"}})
}

/// A bit in one of the files, or between them.
fn flipped(zip: &[u8]) -> Vec<Case> {
    let at = |what: &str| position(zip, what.as_bytes());
    let directory = position(zip, b"PK\x01\x02");
    let signature = last(zip, b"\"sig\":\"") + 20;
    let note = at("\u{2014} strongroom.example") + 50;
    [
        ("flipped-fact", "a bit of a fact", at("\"caller\"") + 12),
        ("flipped-report", "a bit of the report", at("<!doctype html>") + 3),
        (
            "flipped-manifest",
            "a bit of a digest in the manifest",
            at("\"sha256\": \"") + 12,
        ),
        (
            "flipped-signature",
            "a bit of the statement's signature",
            signature,
        ),
        ("flipped-checkpoint", "a bit of the checkpoint's signature", note),
        (
            "flipped-log",
            "a bit of a leaf in the log",
            at("evidence/log.txt") + 20,
        ),
        (
            "flipped-crc",
            "a bit of a checksum in the directory",
            directory + 16,
        ),
        ("flipped-time", "a bit of a file's time in its own header", 10),
    ]
    .map(|(name, what, byte)| (name, what, vec![flip(byte)]))
    .into()
}

fn cases(zip: &[u8]) -> Vec<Case> {
    let directory = position(zip, b"PK\x01\x02");
    let (append, short) = (
        json!({"append": {"bytes": "00"}}),
        json!({"truncate": {"length": zip.len() - 1}}),
    );
    let name = b"evidence/README.md";
    let rename = |byte| json!({"overwrite": {"byte": byte, "bytes": hex::encode("../../../README.md")}});
    let renamed = vec![rename(position(zip, name)), rename(last(zip, name))];
    let shape = [
        ("valid", "a package as it was written", vec![]),
        ("trailing-byte", "a byte after the end", vec![append]),
        ("leading-byte", "a byte before the beginning", vec![insert(0)]),
        ("truncated", "the last byte is missing", vec![short]),
        (
            "gap",
            "a byte between the files and the directory",
            vec![insert(directory)],
        ),
        (
            "renamed",
            "a name that climbs out of the package, in header and directory",
            renamed,
        ),
        (
            "nothing",
            "no byte at all",
            vec![json!({"truncate": {"length": 0}})],
        ),
    ];
    flipped(zip).into_iter().chain(shape).collect()
}

fn position(bytes: &[u8], what: &[u8]) -> usize {
    bytes
        .windows(what.len())
        .position(|window| window == what)
        .unwrap()
}

fn last(bytes: &[u8], what: &[u8]) -> usize {
    bytes
        .windows(what.len())
        .rposition(|window| window == what)
        .unwrap()
}

fn apply(mut zip: Vec<u8>, edits: &[Value]) -> Vec<u8> {
    for edit in edits {
        let (what, how) = edit.as_object().unwrap().iter().next().unwrap();
        let number = |name: &str| usize::try_from(how[name].as_u64().unwrap()).unwrap();
        let bytes = || hex::decode(how["bytes"].as_str().unwrap()).unwrap();
        match what.as_str() {
            "flip-bit" => zip[number("byte")] ^= 1 << number("bit"),
            "append" => zip.extend(bytes()),
            "truncate" => zip.truncate(number("length")),
            "insert" => {
                let at = number("byte");
                zip.splice(at..at, bytes());
            }
            "overwrite" => {
                let (at, bytes) = (number("byte"), bytes());
                zip[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            other => panic!("{other}"),
        }
    }
    zip
}

fn generate(folder: &Path) {
    let fixture = Fixture::new();
    let zip = fs::read(fixture.write("package.zip")).unwrap();
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("package.zip"), &zip).unwrap();
    let key = fixture.key().public_key().unwrap().text;
    for (name, description, edits) in cases(&zip) {
        let vector = json!({
            "description": description,
            "expect": if edits.is_empty() { "ok" } else { "changed" },
            "case": {"operation": "verify-evidence", "package": "package.zip", "key": key, "edits": edits},
        });
        let text = serde_json::to_string_pretty(&vector).unwrap() + "\n";
        fs::write(folder.join(format!("{name}.json")), text).unwrap();
    }
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/evidence")
}

#[test]
fn the_generator() {
    if let Ok(folder) = std::env::var("STRONGROOM_WRITE_VECTORS") {
        generate(
            &Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../..")
                .join(folder)
                .join("evidence"),
        );
    }
}

#[test]
fn each_vector_ends_as_it_says() {
    let zip = fs::read(committed().join("package.zip")).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(committed()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let vector: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let edited = apply(zip.clone(), vector["case"]["edits"].as_array().unwrap());
        let verdict = verify_zip(Cursor::new(edited), &Fixture::new().trust()).unwrap();
        assert_eq!(
            verdict.is_proven(),
            vector["expect"] == "ok",
            "{}: {verdict}",
            path.display()
        );
        assert_eq!(
            verdict.is_intact(),
            vector["expect"] == "ok",
            "{}: {verdict}",
            path.display()
        );
        count += 1;
    }
    assert_eq!(count, COUNT);
}
