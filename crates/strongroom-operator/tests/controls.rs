//! Every control, each with what makes it pass, fail and unable to tell: an estate recorded from Azure's shapes, with one change.
//!
//! `controls/estate.json` is the estate; `controls/cases/*.json` are the cases, by control. A case names what is changed of which
//! answer, and what the control then says of which resource.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Case, cases, judged, named};
use strongroom_operator::controls::CATALOGUE;
use strongroom_operator::finding::{Answer, Finding, Judgement};

#[test]
fn each_case_is_answered_as_its_file_says_and_what_was_not_read_names_its_call() {
    let mut wrong = Vec::new();
    for (file, case) in cases() {
        let judgement = judged(&case);
        wrong.extend(
            nameless(&judgement).map(|finding| format!("{file}, {}: no call: {finding:?}", case.name)),
        );
        let control = case.control.as_deref().unwrap_or(&file);
        let found = judgement.findings.iter().find(|finding| {
            finding.control == control && finding.resource.contains(&case.resource.to_lowercase())
        });
        match found {
            Some(finding) if named(&finding.answer) == case.answer && finding.reason.contains(&case.says) => {
            }
            Some(finding) => wrong.push(format!(
                "{file}, {}: {:?}: {}",
                case.name, finding.answer, finding.reason
            )),
            None => wrong.push(format!("{file}, {}: no finding for {}", case.name, case.resource)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Findings of what could not be read that do not say by which call.
fn nameless(judgement: &Judgement) -> impl Iterator<Item = &Finding> {
    let is =
        |finding: &&Finding| matches!(&finding.answer, Answer::CouldNotCheck { call, .. } if call.is_empty());
    judgement.findings.iter().filter(is)
}

#[test]
fn each_control_has_a_case_for_each_answer_that_it_can_give() {
    let mut answers: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
    for (file, Case { control, answer, .. }) in cases() {
        answers
            .entry(control.unwrap_or(file))
            .or_default()
            .insert(answer.as_str());
    }
    let mut missing = Vec::new();
    for control in CATALOGUE.iter() {
        for wanted in ["pass", "fail", "could-not-check"] {
            let there = answers
                .get(control.id)
                .is_some_and(|answers| answers.contains(wanted));
            if !there && !CANNOT.contains(&(control.id, wanted)) {
                missing.push(format!("{} {wanted}", control.id));
            }
        }
    }
    assert!(missing.is_empty(), "no case for: {}", missing.join(", "));
}

/// Answers that a control cannot give, by its nature.
const CANNOT: &[(&str, &str)] = &[
    // Drills leave no facts yet: what a design asks of them cannot be told.
    ("N21", "pass"),
    ("N21", "fail"),
    // What was not answered is not wrong; it is not known.
    ("N22", "fail"),
];

#[test]
fn whatever_an_answer_holds_the_account_is_judged_and_what_was_not_understood_is_no_pass() {
    for judgement in common::spoilt() {
        assert!(!judgement.findings.is_empty());
        let complete = judgement
            .findings
            .iter()
            .filter(|finding| finding.control == "N22");
        assert!(
            complete.clone().all(|finding| finding.answer != Answer::Pass),
            "{:?}",
            complete.collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_same_facts_are_judged_alike_whatever_their_order() {
    let case = Case::plain();
    assert!(judged(&case) == judged(&case));
    let answers = |case: Case| {
        let findings = judged(&case).findings.into_iter();
        findings
            .map(|finding| (finding.control, finding.resource, named(&finding.answer)))
            .collect::<Vec<_>>()
    };
    assert_eq!(answers(case.clone()), answers(case.reversed()));
}
