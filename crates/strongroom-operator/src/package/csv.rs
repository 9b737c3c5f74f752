//! `findings.csv`: one row for each check and resource, every answer among them. Every cell is in quotation marks; one that a spreadsheet
//! would take for a formula begins with an apostrophe.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::answers::{framework, severity, time, word};
use super::error::PackageError;
use crate::finding::{Answer, Control, Finding, Framework};

const COLUMNS: [&str; 20] = [
    "control",
    "question",
    "severity",
    "resource",
    "answer",
    "reason",
    "status",
    "call",
    "approver",
    "until",
    "exception",
    "rules",
    "as_of",
    "owner",
    "remedy",
    "sources",
    "nist_800_53",
    "iso_27001",
    "mcsb",
    "facts",
];

pub(super) fn write(
    out: &mut dyn Write,
    findings: &[Finding],
    catalogue: &BTreeMap<&str, &Control>,
) -> Result<(), PackageError> {
    let failed = || PackageError::io("findings.csv");
    row(out, COLUMNS.map(str::to_owned)).map_err(failed())?;
    for finding in findings {
        let control = catalogue.get(finding.control.as_str());
        let control = control.ok_or_else(|| PackageError::NoSuchControl(finding.control.clone()))?;
        row(out, cells(finding, control)?).map_err(failed())?;
    }
    Ok(())
}

fn cells(finding: &Finding, control: &Control) -> Result<[String; 20], PackageError> {
    let (mut status, mut call, mut approver, mut until, mut exception, mut rules) = Default::default();
    match &finding.answer {
        Answer::CouldNotCheck {
            status: told,
            call: failed,
        } => {
            status = told.map(|status| status.to_string()).unwrap_or_default();
            call = failed.clone();
        }
        Answer::Excepted {
            approver: who,
            until: end,
            reason,
        } => {
            (approver, until, exception) = (who.clone(), end.clone(), reason.clone());
        }
        Answer::Conflict { rules: cited } => rules = cited.join("; "),
        Answer::Pass | Answer::Fail | Answer::NotApplicable => {}
    }
    let facts: Vec<&str> = finding.facts.iter().map(|id| id.as_str()).collect();
    Ok([
        finding.control.clone(),
        control.question.to_owned(),
        severity(finding.severity).to_owned(),
        finding.resource.clone(),
        word(&finding.answer).to_owned(),
        finding.reason.clone(),
        status,
        call,
        approver,
        until,
        exception,
        rules,
        time(finding.as_of_ms)?,
        finding.owner.clone().unwrap_or_default(),
        finding.remedy.clone().unwrap_or_default(),
        sources(control),
        mapped(control, Framework::Nist80053),
        mapped(control, Framework::Iso27001),
        mapped(control, Framework::Mcsb),
        facts.join(" "),
    ])
}

/// Where the control's rule comes from, with dates.
pub(super) fn sources(control: &Control) -> String {
    let sources = control
        .sources
        .iter()
        .map(|source| format!("{}, {} ({})", source.title, source.locator, source.date));
    sources.collect::<Vec<_>>().join("; ")
}

/// The controls of a framework that the control speaks to.
fn mapped(control: &Control, which: Framework) -> String {
    let mapped = control
        .mappings
        .iter()
        .filter(|mapping| framework(mapping.framework) == framework(which));
    mapped
        .map(|mapping| mapping.control)
        .collect::<Vec<_>>()
        .join(" ")
}

fn row(out: &mut dyn Write, cells: [String; 20]) -> io::Result<()> {
    let cells = cells.map(|cell| quoted(&cell));
    out.write_all(cells.join(",").as_bytes())?;
    out.write_all(b"\r\n")
}

/// In quotation marks, on one line, and never a formula.
fn quoted(cell: &str) -> String {
    let cell: String = cell
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let guard = match cell.trim_start().chars().next() {
        Some('=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}') => "'",
        _ => "",
    };
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn no_cell_is_a_formula_or_breaks_its_row() {
        assert_eq!(quoted("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        for formula in ["+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", " =1", "\u{ff1d}1"] {
            assert!(
                quoted(formula).starts_with("\"'") || quoted(formula).starts_with("\" "),
                "{formula:?}"
            );
            assert!(quoted(formula).contains('\''), "{formula:?}");
        }
        assert_eq!(quoted("a,b\nc"), "\"a,b c\"");
        assert_eq!(quoted("/subscriptions/x"), "\"/subscriptions/x\"");
    }
}
