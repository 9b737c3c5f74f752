//! Every byte counts: whatever is flipped, dropped, swapped, added, renamed or linked is found.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::Path;

use strongroom_evidence::{Trust, Verdict, verify, verify_zip};

use super::fixture::{Fixture, read_all};

/// Every position in a short file, and many in a long one: all near both ends, and a stride that meets every bit of a byte.
fn positions(length: usize) -> Vec<usize> {
    if length <= 300 {
        return (0..length).collect();
    }
    let step = length / 61;
    (0..32)
        .chain((32..length - 32).step_by(step))
        .chain(length - 32..length)
        .collect()
}

/// Changed copies of the bytes, each with what was done.
fn mutations(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for at in positions(bytes.len()) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        all.push((format!("bit flipped at {at}"), flipped));
    }
    for at in positions(bytes.len()).into_iter().step_by(7) {
        let mut dropped = bytes.to_vec();
        dropped.remove(at);
        all.push((format!("byte dropped at {at}"), dropped));
        let mut added = bytes.to_vec();
        added.insert(at, b' ');
        all.push((format!("byte added at {at}"), added));
        if at + 1 < bytes.len() && bytes[at] != bytes[at + 1] {
            let mut swapped = bytes.to_vec();
            swapped.swap(at, at + 1);
            all.push((format!("bytes swapped at {at}"), swapped));
        }
    }
    for end in [&b"\0"[..], b"\n", b" "] {
        all.push((format!("{end:?} added at the end"), [bytes, end].concat()));
    }
    all.push(("emptied".to_owned(), Vec::new()));
    all
}

fn assert_found(verdict: &Verdict, what: &str) {
    assert!(!verdict.is_intact(), "not found: {what}\n{verdict}");
    assert_eq!(verdict.exit_code(), 3);
}

#[test]
fn every_changed_byte_in_every_file_of_a_folder_is_found() {
    let fixture = Fixture::new();
    let path = fixture.write("package");
    let trust = fixture.trust();
    for (name, bytes) in read_all(&path) {
        for (what, changed) in mutations(&bytes) {
            fs::write(path.join(&name), changed).unwrap();
            assert_found(&verify(&path, &trust).unwrap(), &format!("{name}: {what}"));
        }
        fs::write(path.join(&name), bytes).unwrap();
    }
    assert!(verify(&path, &trust).unwrap().is_proven());
}

#[test]
fn every_changed_byte_of_a_zip_is_found() {
    let fixture = Fixture::new();
    let bytes = fs::read(fixture.write("package.zip")).unwrap();
    let trust = fixture.trust();
    let check = |zip: Vec<u8>, what: &str| assert_found(&verify_zip(Cursor::new(zip), &trust).unwrap(), what);
    // Every byte of the directory and its end, and the headers at the beginning.
    let directory = bytes
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap();
    for at in (0..80).chain(directory..bytes.len()) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        check(flipped, &format!("bit flipped at {at}"));
    }
    for (what, changed) in mutations(&bytes) {
        check(changed, &what);
    }
}

#[test]
fn without_a_trusted_key_a_changed_byte_is_found_all_the_same() {
    let fixture = Fixture::new();
    let path = fixture.write("package");
    for (name, bytes) in read_all(&path) {
        for at in positions(bytes.len()).into_iter().step_by(11) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            fs::write(path.join(&name), changed).unwrap();
            assert_found(
                &verify(&path, &Trust::default()).unwrap(),
                &format!("{name} at {at}"),
            );
        }
        fs::write(path.join(&name), bytes).unwrap();
    }
}

#[test]
fn missing_added_exchanged_and_linked_files_are_found() {
    let fixture = Fixture::new();
    let path = fixture.write("package");
    let files = read_all(&path);
    let check = |what: &str| assert_found(&fixture.verify(&path), what);
    for (name, bytes) in &files {
        fs::remove_file(path.join(name)).unwrap();
        check(&format!("{name} is missing"));
        fs::write(fixture.path("aside"), bytes).unwrap();
        symlink(fixture.path("aside"), path.join(name)).unwrap();
        check(&format!("{name} is a link to the same bytes"));
        fs::remove_file(path.join(name)).unwrap();
        fs::write(path.join(name), bytes).unwrap();
    }
    for name in [
        "more.txt",
        "raw/more.json",
        "oscal/more.json",
        ".hidden",
        "raw/..json",
    ] {
        fs::write(path.join(name), "x").unwrap();
        check(name);
        fs::remove_file(path.join(name)).unwrap();
    }
    for name in ["folder", "raw/folder"] {
        fs::create_dir(path.join(name)).unwrap();
        check(name);
        fs::remove_dir(path.join(name)).unwrap();
    }
    exchanged(&path, &files, check);
    linked_folder(&path, &fixture.path("elsewhere"), check);
    assert!(fixture.verify(&path).is_proven());
}

/// Each two files of a package in each other's place.
fn exchanged(path: &Path, files: &BTreeMap<String, Vec<u8>>, check: impl Fn(&str)) {
    let names: Vec<&String> = files.keys().collect();
    for pair in names.windows(2) {
        fs::write(path.join(pair[0]), &files[pair[1]]).unwrap();
        fs::write(path.join(pair[1]), &files[pair[0]]).unwrap();
        check(&format!("{pair:?} exchanged"));
        for name in pair {
            fs::write(path.join(name), &files[*name]).unwrap();
        }
    }
}

fn linked_folder(path: &Path, elsewhere: &Path, check: impl Fn(&str)) {
    fs::rename(path.join("raw"), elsewhere).unwrap();
    symlink(elsewhere, path.join("raw")).unwrap();
    check("raw is a link to the same folder");
    fs::remove_file(path.join("raw")).unwrap();
    fs::rename(elsewhere, path.join("raw")).unwrap();
}

#[test]
fn files_of_another_package_are_found() {
    let mut fixture = Fixture::new();
    let first = fixture.write("first");
    fixture.run.started_ms -= 1;
    let other = read_all(&fixture.write("second"));
    for (name, bytes) in read_all(&first) {
        let Some(theirs) = other.get(&name).filter(|theirs| **theirs != bytes) else {
            continue;
        };
        fs::write(first.join(&name), theirs).unwrap();
        assert_found(
            &fixture.verify(&first),
            &format!("{name} of another package by the same key"),
        );
        fs::write(first.join(&name), bytes).unwrap();
    }
}
