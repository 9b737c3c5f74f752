//! `strongroom check`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use strongroom_operator::controls::{CATALOGUE, judge};
use strongroom_operator::design::{Criterion, Design};
use strongroom_operator::finding::{Answer, Chain, Finding, Judgement, Severity};
use strongroom_operator::package::answers::{rank, severity, word};
use strongroom_operator::world::World;

use super::gather::{FactsArgs, failed, now_ms};
use crate::cli::CliError;
use crate::cli::output::{Printing, has_colours};
use crate::cli::table::{self, Table};

#[derive(Args, Debug)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    facts: FactsArgs,
    #[command(flatten)]
    printing: Printing,
    /// The approved design to hold against what is live: its exceptions, owners and targets.
    #[arg(long, value_name = "FILE")]
    design: Option<PathBuf>,
    /// From which severity on, and with which answers, the exit code says so: info, low, medium, high or critical; fail,
    /// could-not-check, conflict, excepted; or none.
    #[arg(long, value_name = "LIST", default_value = "low,fail,could-not-check", value_parser = FailOn::parse)]
    fail_on: FailOn,
    /// In the table, also findings that pass or do not apply.
    #[arg(long)]
    all: bool,
}

/// What makes the exit code say that not all is well.
#[derive(Clone, Debug)]
struct FailOn {
    from: Severity,
    answers: Vec<String>,
}

const SEVERITIES: [Severity; 5] = [
    Severity::Info,
    Severity::Low,
    Severity::Medium,
    Severity::High,
    Severity::Critical,
];

impl FailOn {
    fn parse(text: &str) -> Result<Self, String> {
        let mut on = Self {
            from: Severity::Info,
            answers: Vec::new(),
        };
        for part in text.split(',').map(str::trim) {
            if let Some(from) = SEVERITIES.iter().find(|known| severity(**known) == part) {
                on.from = *from;
            } else if ["fail", "could-not-check", "conflict", "excepted"].contains(&part) {
                on.answers.push(part.to_owned());
            } else if part != "none" {
                return Err(format!("`{part}` is no severity and no answer"));
            }
        }
        // A severity alone means the answers that count anyway.
        if on.answers.is_empty() && text.trim() != "none" {
            on.answers = vec!["fail".to_owned(), "could-not-check".to_owned()];
        }
        Ok(on)
    }

    fn count(&self, findings: &[Finding], answers: &[&str]) -> usize {
        let counts = |finding: &&Finding| {
            let answer = word(&finding.answer);
            finding.severity >= self.from
                && answers.contains(&answer)
                && self.answers.iter().any(|known| known == answer)
        };
        findings.iter().filter(counts).count()
    }
}

/// What is printed for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked<'a> {
    as_of_ms: u64,
    cloud: &'a str,
    summary: BTreeMap<&'static str, usize>,
    /// The design's criteria, and whether each is met.
    acceptance: Vec<Met>,
    #[serde(flatten)]
    judgement: &'a Judgement,
}

#[derive(Serialize)]
struct Met {
    criterion: String,
    met: bool,
}

pub(in crate::cli) fn check(args: &CheckArgs) -> Result<(), CliError> {
    args.printing.check()?;
    // A design that cannot be read is told before anything is asked.
    let design = args.design.as_ref().map(read_design).transpose()?;
    let gathered = args.facts.gather(&args.printing)?;
    let facts = &gathered.facts;
    let world = World::read(facts.iter(), design.as_ref()).map_err(|error| failed(&error))?;
    let as_of_ms = facts.run().ended_ms.unwrap_or_else(now_ms);
    let judgement = judge(&world, as_of_ms);
    drop(world);
    let checked = Checked {
        as_of_ms,
        cloud: &facts.run().cloud,
        summary: summary(&judgement.findings),
        acceptance: acceptance(design.as_ref(), &judgement.findings),
        judgement: &judgement,
    };
    args.printing.print(&checked, |checked| show(checked, args.all))?;
    let not_met = checked
        .acceptance
        .iter()
        .filter(|criterion| !criterion.met)
        .count();
    let unchecked = args.fail_on.count(&judgement.findings, &["could-not-check"]);
    match args
        .fail_on
        .count(&judgement.findings, &["fail", "conflict", "excepted"])
    {
        0 if not_met > 0 => Err(CliError::NotAccepted(not_met)),
        0 if unchecked > 0 => Err(CliError::Unchecked(unchecked)),
        0 => Ok(()),
        failed => Err(CliError::ControlsFail { failed, unchecked }),
    }
}

/// Reads a design; every fault of the file in one message.
pub(super) fn read_design(file: &PathBuf) -> Result<Design, CliError> {
    let text = std::fs::read_to_string(file).map_err(CliError::io(file.display().to_string()))?;
    let is_control = |id: &str| CATALOGUE.iter().any(|control| control.id == id);
    Design::parse(&text, &is_control).map_err(|error| {
        let told = error
            .faults
            .iter()
            .map(|fault| format!("{}:{}: {}", file.display(), fault.line, fault.what));
        CliError::Configuration(told.collect())
    })
}

/// The design's criteria, in words, and whether each is met.
fn acceptance(design: Option<&Design>, findings: &[Finding]) -> Vec<Met> {
    let criteria = design.into_iter().flat_map(|design| &design.acceptance);
    let none = |from: Severity, answer: &str| {
        !findings
            .iter()
            .any(|finding| finding.severity >= from && word(&finding.answer) == answer)
    };
    let judged = criteria.map(|criterion| match criterion {
        Criterion::NoFailureFrom(from) => (
            format!("no failure from {} on", severity(*from)),
            none(*from, "fail"),
        ),
        Criterion::NothingUncheckedFrom(from) => (
            format!("nothing unchecked from {} on", severity(*from)),
            none(*from, "could-not-check"),
        ),
        Criterion::Passes(control) => {
            let of = || findings.iter().filter(|finding| finding.control == *control);
            let holds = |finding: &Finding| matches!(finding.answer, Answer::Pass | Answer::NotApplicable);
            // Of nothing it cannot be said to pass.
            (
                format!("{control} passes"),
                of().next().is_some() && of().all(holds),
            )
        }
    });
    judged.map(|(criterion, met)| Met { criterion, met }).collect()
}

fn summary(findings: &[Finding]) -> BTreeMap<&'static str, usize> {
    let mut summary = BTreeMap::new();
    for finding in findings {
        *summary.entry(word(&finding.answer)).or_default() += 1;
    }
    summary
}

fn show(checked: &Checked<'_>, all: bool) -> Result<(), CliError> {
    for chain in &checked.judgement.chains {
        show_chain(chain)?;
    }
    show_findings(&checked.judgement.findings, all)?;
    for criterion in checked.acceptance.iter().filter(|criterion| !criterion.met) {
        table::line(&format!("not met: {}", criterion.criterion))?;
    }
    let counts = checked
        .summary
        .iter()
        .map(|(answer, count)| format!("{count} {answer}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    if checked.judgement.findings.is_empty() {
        return table::line("nothing was found to be judged: no account is seen");
    }
    table::line(&counts)
}

/// The way from an account to its proof of use; after the first hop that does not hold, nothing counts.
fn show_chain(chain: &Chain) -> Result<(), CliError> {
    table::line(&plain(&chain.account))?;
    let mut hops = Table::new(&["  Hop", "Answer", "Leads to", "Why"]);
    let mut broken = false;
    for hop in &chain.hops {
        let answer = word(&hop.answer);
        let breaks = !broken && !matches!(hop.answer, Answer::Pass | Answer::NotApplicable);
        broken |= breaks;
        let mark = if breaks { "> " } else { "  " };
        hops.row([
            format!("{mark}{}", hop.hop),
            answer.to_owned(),
            plain(&hop.target),
            plain(&hop.reason),
        ]);
    }
    hops.print()?;
    table::line("")
}

fn show_findings(findings: &[Finding], all: bool) -> Result<(), CliError> {
    let quiet = |finding: &&Finding| !matches!(finding.answer, Answer::Pass | Answer::NotApplicable);
    let mut shown: Vec<&Finding> = findings.iter().filter(|finding| all || quiet(finding)).collect();
    if shown.is_empty() {
        return Ok(());
    }
    // The worst first; the rest as they were judged.
    shown.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), rank(&finding.answer)));
    let mut rows = Table::new(&["Severity", "Control", "Answer", "Resource", "Why", "Remedy"]);
    for finding in shown {
        rows.row([
            severity(finding.severity).to_owned(),
            finding.control.clone(),
            coloured(&finding.answer),
            plain(&short(&finding.resource)),
            plain(&why(finding)),
            plain(finding.remedy.as_deref().unwrap_or_default()),
        ]);
    }
    rows.print()?;
    table::line("")
}

fn why(finding: &Finding) -> String {
    match &finding.answer {
        Answer::CouldNotCheck { status, call } => {
            let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
            format!("{}{status}: {call}", finding.reason)
        }
        Answer::Excepted {
            approver,
            until,
            reason,
        } => format!("{approver} until {until}: {reason}"),
        _ => finding.reason.clone(),
    }
}

/// As many letters whatever the colour, so that columns stay in line.
fn coloured(answer: &Answer) -> String {
    let text = format!("{:15}", word(answer));
    if !has_colours() {
        return text;
    }
    let colour = match answer {
        Answer::Fail => 31,
        Answer::CouldNotCheck { .. } | Answer::Conflict { .. } => 33,
        Answer::Pass => 32,
        Answer::Excepted { .. } | Answer::NotApplicable => 2,
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// Text of a server, without what would steer the terminal or change the order of what is read.
fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

/// The end of an id, by which people know the thing: type and name.
fn short(id: &str) -> String {
    let Some((_, rest)) = id.rsplit_once("/providers/") else {
        return id.to_owned();
    };
    rest.split_once('/').map_or(rest, |(_, rest)| rest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_does_not_steer_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[2Jb\nc\u{202e}d"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d"
        );
        assert_eq!(plain("/subscriptions/ä"), "/subscriptions/ä");
    }

    #[test]
    fn a_control_passes_only_if_it_was_asked() {
        let design = Design {
            acceptance: vec![Criterion::Passes("N01".to_owned())],
            ..Design::default()
        };
        assert!(
            acceptance(Some(&design), &[])
                .iter()
                .all(|criterion| !criterion.met)
        );
    }

    #[test]
    fn what_fails_the_command_is_said_in_words() {
        let on = FailOn::parse("high").unwrap();
        assert_eq!((on.from, on.answers.len()), (Severity::High, 2));
        let on = FailOn::parse("medium,fail").unwrap();
        assert_eq!(on.answers, ["fail"]);
        assert!(FailOn::parse("none").unwrap().answers.is_empty());
        assert!(FailOn::parse("awful").is_err());
    }
}
