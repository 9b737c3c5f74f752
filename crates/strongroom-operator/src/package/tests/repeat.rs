//! The same bytes from the same facts; whole or not at all; whose word it is.

use std::fs;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use strongroom_evidence::{Completeness, Pinned, Trust, TrustedKey, Word, verify};

use super::fixture::{Fixture, payload, read_all};
use crate::fact::FactId;
use crate::package::{EvidenceLog, LocalKey, PackageError, PublicKey, SignError, Signer, write};

#[test]
fn a_package_is_verified_by_its_key() {
    let fixture = Fixture::new();
    for name in ["package", "package.zip"] {
        let verdict = fixture.verify(&fixture.write(name));
        assert_eq!(verdict.defects, [], "{verdict}");
        assert!(verdict.is_proven(), "{verdict}");
        assert_eq!(verdict.exit_code(), 0);
        let told = Completeness {
            complete: false,
            interrupted: false,
            asked: 5,
            answered: 3,
            could_not_check: 1,
        };
        assert_eq!(verdict.completeness, Some(told));
    }
}

#[test]
fn the_same_facts_give_the_same_bytes_however_the_log_grew_meanwhile() {
    let mut fixture = Fixture::new();
    let (first, zip) = (
        read_all(&fixture.write("first")),
        fs::read(fixture.write("first.zip")).unwrap(),
    );
    let tool = std::mem::replace(&mut fixture.run.tool, "another".to_owned());
    fixture.write("between");
    fixture.run.tool = tool;
    assert_eq!(first, read_all(&fixture.write("again")));
    assert_eq!(zip, fs::read(fixture.write("again.zip")).unwrap());
}

#[test]
fn without_a_key_from_elsewhere_nothing_is_proven() {
    let fixture = Fixture::new();
    let path = fixture.write("package");
    let verdict = verify(&path, &Trust::default()).unwrap();
    assert!(verdict.is_intact() && !verdict.is_proven(), "{verdict}");
    assert!(matches!(verdict.statement, Word::PackageOnly { .. }));
    assert_eq!(verdict.exit_code(), 4);
    assert!(verdict.to_string().contains("NOT PROVEN"), "{verdict}");
}

#[test]
fn a_package_that_was_signed_anew_by_another_key_is_not_believed() {
    let fixture = Fixture::new();
    let other = LocalKey::load_or_create(&fixture.path("other"), "strongroom.example/evidence").unwrap();
    let log = EvidenceLog::open(&fixture.path("other/log"), &other).unwrap();
    let path = fixture.path("package");
    write(&path, fixture.contents(), &other, &log).unwrap();
    let verdict = fixture.verify(&path);
    assert!(!verdict.is_intact(), "{verdict}");
    assert_eq!(verdict.statement, Word::Nobody);
}

#[test]
fn an_earlier_checkpoint_holds_and_one_of_a_rewritten_log_does_not() {
    let mut fixture = Fixture::new();
    let first = fixture.try_write("first").unwrap();
    fixture.run.started_ms -= 1;
    let second = fixture.write("second");
    let pinned = |checkpoint: &str| Trust {
        checkpoint: Some(checkpoint.to_owned()),
        ..fixture.trust()
    };
    let verdict = verify(&second, &pinned(&first.checkpoint)).unwrap();
    assert_eq!(verdict.pinned, Pinned::Consistent { size: 1 }, "{verdict}");
    assert!(verdict.is_proven());
    // The same key keeps another history.
    fs::rename(fixture.path("operator/log"), fixture.path("moved")).unwrap();
    let rewritten = fixture.write("rewritten");
    let verdict = verify(&rewritten, &pinned(&first.checkpoint)).unwrap();
    assert_eq!(verdict.pinned, Pinned::Inconsistent, "{verdict}");
    assert_eq!(verdict.exit_code(), 3);
}

#[test]
fn a_later_checkpoint_needs_the_later_log() {
    let mut fixture = Fixture::new();
    let first = fixture.write("first");
    fixture.run.started_ms -= 1;
    let second = fixture.try_write("second").unwrap();
    let mut trust = Trust {
        checkpoint: Some(second.checkpoint),
        ..fixture.trust()
    };
    let verdict = verify(&first, &trust).unwrap();
    assert_eq!(
        (verdict.pinned, verdict.exit_code()),
        (Pinned::CannotTell { size: 2 }, 4),
        "{verdict}"
    );
    trust.later_log = Some(fs::read_to_string(fixture.path("second/log.txt")).unwrap());
    let verdict = verify(&first, &trust).unwrap();
    assert_eq!(
        (verdict.pinned, verdict.exit_code()),
        (Pinned::Consistent { size: 2 }, 0),
        "{verdict}"
    );
}

/// A key that is kept elsewhere, as a vault keeps it.
struct Elsewhere(EcdsaKeyPair);

impl Signer for Elsewhere {
    fn public_key(&self) -> Result<PublicKey, SignError> {
        let point = self.0.public_key().as_ref();
        PublicKey::ec(&point[1..33], &point[33..])
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self
            .0
            .sign(&SystemRandom::new(), message)
            .unwrap()
            .as_ref()
            .to_vec())
    }
}

#[test]
fn an_ec_key_elsewhere_signs_and_vouches_for_the_log() {
    let fixture = Fixture::new();
    let elsewhere = Elsewhere(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let keys = TrustedKey::parse_all(&elsewhere.public_key().unwrap().text).unwrap();
    let trust = Trust {
        keys,
        ..Trust::default()
    };
    let local = fixture.key();
    let mut manifests = Vec::new();
    // Often enough that both forms of a signature come up.
    for number in 0..6 {
        let path = fixture.path(&format!("package-{number}"));
        let written = write(&path, fixture.contents(), &elsewhere, &fixture.log(&local)).unwrap();
        manifests.push(written.manifest);
        let verdict = verify(&path, &trust).unwrap();
        assert!(verdict.is_proven(), "{verdict}");
        assert!(matches!(verdict.log.unwrap().word, Word::Vouched { .. }));
    }
    manifests.dedup();
    assert_eq!(manifests.len(), 1, "only the signatures differ");
}

#[test]
fn what_cannot_be_whole_is_not_there_at_all() {
    let mut fixture = Fixture::new();
    fixture.write("package");
    assert!(matches!(
        fixture.try_write("package"),
        Err(PackageError::Exists(_))
    ));
    fixture.judgement.findings[0]
        .facts
        .push(FactId::of(b"nobody asked"));
    for name in ["half", "half.zip"] {
        assert!(matches!(
            fixture.try_write(name),
            Err(PackageError::NoSuchFact(_))
        ));
    }
    fixture.judgement.findings[0].facts.pop();
    fixture.judgement.findings[0].control = "X99".to_owned();
    assert!(matches!(
        fixture.try_write("half"),
        Err(PackageError::NoSuchControl(_))
    ));
    let mut names: Vec<String> = fs::read_dir(fixture.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["operator", "package"]);
}

#[test]
fn two_runs_do_not_write_to_one_log() {
    let fixture = Fixture::new();
    let key = fixture.key();
    let _held = fixture.log(&key);
    let second = EvidenceLog::open(&fixture.path("operator/log"), &key);
    assert!(matches!(second, Err(PackageError::LogInUse)));
}

#[test]
fn the_statement_tells_the_run_and_an_interrupted_run_is_incomplete() {
    let mut fixture = Fixture::new();
    let files = read_all(&fixture.write("package"));
    let statement = payload(&files["statement.dsse.json"]);
    assert_eq!(statement["predicate"]["findings"]["could-not-check"], 1);
    assert_eq!(statement["predicate"]["tenant"], fixture.run.tenant.as_str());
    fixture.run.ended_ms = None;
    let verdict = fixture.verify(&fixture.write("interrupted"));
    assert!(verdict.is_proven(), "{verdict}");
    assert!(
        verdict
            .completeness
            .is_some_and(|told| told.interrupted && !told.complete)
    );
}

#[test]
fn nothing_from_elsewhere_is_markup_or_a_formula() {
    let fixture = Fixture::new();
    let files = read_all(&fixture.write("package"));
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let report = text("summary.html");
    assert!(
        !report.contains("<script") && !report.contains("<img"),
        "markup came through"
    );
    assert!(report.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(report.contains("default-src 'none'") && !report.contains("http-equiv=\"refresh\""));
    for word in [
        "id=\"controls\"",
        "id=\"graph\"",
        "id=\"timeline\"",
        "id=\"coverage\"",
        "id=\"unanswered\"",
        "SC-12",
    ] {
        assert!(report.contains(word), "{word}");
    }
    let csv = text("findings.csv");
    assert!(csv.contains("\"'=HYPERLINK(\"\"https"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + fixture.judgement.findings.len());
}
