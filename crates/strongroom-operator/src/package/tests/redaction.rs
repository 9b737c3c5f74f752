//! A redacted package says nothing that was to be hidden, and still verifies.

use std::fs;

use super::fixture::{Fixture, read_all};
use crate::fact::decode;
use crate::package::{RedactionClass, RedactionKey, Redactor};

const HIDDEN: [&str; 8] = [
    "ann.lee",
    "bob@example",
    "203.0.113.7",
    "3f2504e0",
    "7c9e6679",
    "kv-claims",
    "cmk-claims",
    "rg-claims",
];

fn redactor(fixture: &Fixture, classes: &[RedactionClass]) -> Redactor {
    let key = RedactionKey::load_or_create(&fixture.path("redaction.key")).unwrap();
    let mut redactor = Redactor::new(key, classes);
    redactor.learn_run(&fixture.run);
    for (_, bytes) in &fixture.facts {
        redactor.learn(&decode(bytes).unwrap());
    }
    redactor
}

/// The fixture with pseudonyms, and the map.
fn redacted(mut fixture: Fixture, classes: &[RedactionClass]) -> (Fixture, serde_json::Value) {
    let mut redactor = redactor(&fixture, classes);
    let facts = fixture
        .facts
        .iter()
        .map(|(id, bytes)| redactor.fact(id, &decode(bytes).unwrap()));
    let mut facts: Vec<_> = facts.collect();
    facts.sort();
    fixture.facts = facts;
    fixture.judgement = redactor.judgement(&fixture.judgement).unwrap();
    fixture.run = redactor.run(&fixture.run).unwrap();
    fixture.redaction = Some(redactor.redacted());
    (fixture, redactor.map())
}

#[test]
fn a_redacted_package_verifies_and_holds_none_of_the_names() {
    let (fixture, map) = redacted(Fixture::new(), &RedactionClass::ALL);
    let path = fixture.write("package");
    let verdict = fixture.verify(&path);
    assert!(verdict.is_proven(), "{verdict}");
    assert!(verdict.redacted.contains(&"people".to_owned()));
    for (file, bytes) in read_all(&path) {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        for name in HIDDEN {
            assert!(!text.contains(name), "{name} stands in {file}");
        }
    }
    let map = map.to_string();
    for name in HIDDEN {
        assert!(map.contains(name), "{name} is not in the map");
    }
}

#[test]
fn the_map_gives_every_name_back() {
    let plain = Fixture::new();
    let reason = serde_json::to_string(&plain.judgement).unwrap().to_lowercase();
    let (fixture, map) = redacted(plain, &RedactionClass::ALL);
    let mut text = serde_json::to_string(&fixture.judgement).unwrap();
    for entry in map["names"].as_array().unwrap() {
        text = text.replace(
            entry["pseudonym"].as_str().unwrap(),
            entry["name"].as_str().unwrap(),
        );
    }
    for entry in map["facts"].as_array().unwrap() {
        text = text.replace(entry["fact"].as_str().unwrap(), entry["was"].as_str().unwrap());
    }
    assert_eq!(text.to_lowercase(), reason);
}

#[test]
fn what_is_not_chosen_stays_and_the_same_key_gives_the_same_pseudonyms() {
    let first = Fixture::new();
    let key = first.path("redaction.key");
    let (first, map) = redacted(first, &[RedactionClass::People]);
    let text = serde_json::to_string(&first.judgement).unwrap();
    assert!(text.contains("kv-claims") && !text.contains("ann.lee"));
    let second = Fixture::new();
    fs::copy(key, second.path("redaction.key")).unwrap();
    assert_eq!(redacted(second, &[RedactionClass::People]).1, map);
}
