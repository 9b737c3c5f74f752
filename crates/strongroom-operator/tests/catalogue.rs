//! `docs/controls.md` is what the catalogue says. With `STRONGROOM_WRITE_DOCS` set, it is written instead of compared.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use strongroom_operator::controls::CATALOGUE;
use strongroom_operator::finding::{Control, Framework, Severity};

const HEAD: &str = "# The catalogue of controls

Made from the tables in `crates/strongroom-operator/src/controls`; a test compares (`STRONGROOM_WRITE_DOCS=1 cargo test -p strongroom-operator --test catalogue` writes it anew).

`strongroom check` asks each question of each resource that it applies to, and gives one of six answers: `pass`, `fail`, `not-applicable`, `could-not-check` (with the status and the call that
failed or was missing), `excepted` (by the approved design: who approved it, until when, why) and `conflict` (two rules that both apply disagree; both are cited). None is folded into another:
what could not be read is never a pass and never a failure, and where accounts could not be listed every control says so.

N are Strongroom's own: they follow the reference from the account to the key, its version, the identity, the grant, the vault, the network and the proof of use. A, B, C and D are what other
checkers ask of the account, the vault, the key and the stores beside it, without the defects that were found in them. Numbers that are missing: A11 (approved models), B14 (manual everywhere),
C10 (C01 and C02 ask it of managed HSMs too), D03 and D05 (their settings are not read yet), D16 (types that hold no data of an AI account).

Rules age. Each source stands here with the date as of which it was read.
";

#[test]
fn the_document_is_what_the_catalogue_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/controls.md");
    let text = document();
    if std::env::var_os("STRONGROOM_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap();
    assert!(
        there == text,
        "docs/controls.md is not what the catalogue says: write it anew"
    );
}

#[test]
fn each_control_has_an_id_of_its_own_a_dated_source_a_remedy_and_its_place_in_each_framework() {
    let ids: BTreeSet<_> = CATALOGUE.iter().map(|control| control.id).collect();
    assert_eq!(ids.len(), CATALOGUE.len());
    for control in CATALOGUE.iter() {
        assert!(
            !control.sources.is_empty() && !control.remedy.is_empty(),
            "{}",
            control.id
        );
        assert!(control.question.ends_with('?'), "{}", control.id);
        assert!(
            control
                .sources
                .iter()
                .all(|source| source.date.starts_with("202")),
            "{}",
            control.id
        );
        let named: BTreeSet<_> = control.mappings.iter().map(|mapping| mapping.framework).collect();
        assert_eq!(named.len(), 3, "{}: {named:?}", control.id);
    }
}

fn document() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("\n| Control | Severity | Question |\n| --- | --- | --- |\n");
    for control in CATALOGUE.iter() {
        writeln!(
            text,
            "| {} | {} | {} |",
            control.id,
            severity(control.severity),
            control.question
        )
        .unwrap();
    }
    for control in CATALOGUE.iter() {
        text.push_str(&section(control));
    }
    text
}

fn section(control: &Control) -> String {
    let mut text = format!("\n## {}\n\n{}\n\n", control.id, control.question);
    writeln!(text, "- Severity: {}", severity(control.severity)).unwrap();
    for source in control.sources {
        writeln!(
            text,
            "- Source: {}, `{}`, {}",
            source.title, source.locator, source.date
        )
        .unwrap();
    }
    writeln!(text, "- Remedy: `{}`", control.remedy).unwrap();
    for conflict in control.conflicts {
        writeln!(text, "- Note: {conflict}").unwrap();
    }
    let mappings = control
        .mappings
        .iter()
        .map(|mapping| format!("{} {}", framework(mapping.framework), mapping.control));
    writeln!(text, "- Speaks to: {}", mappings.collect::<Vec<_>>().join(", ")).unwrap();
    text
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn framework(framework: Framework) -> &'static str {
    match framework {
        Framework::Nist80053 => "NIST SP 800-53",
        Framework::Iso27001 => "ISO/IEC 27001",
        Framework::Mcsb => "MCSB",
    }
}
