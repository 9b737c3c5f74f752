//! The report's tables.

use std::collections::BTreeMap;

use super::super::answers::{ANSWERS, count, detail, framework, rank, severity, time, word};
use super::super::completeness::Document;
use super::super::csv::sources;
use super::super::error::PackageError;
use super::{About, Page, short};
use crate::finding::{Answer, Chain, Control, Finding, Judgement};
use crate::limits::{REPORT_CHAINS, REPORT_NAMES, REPORT_ROWS};

/// One row for each control: how it was answered, as of when, by which rule, and who owns what was judged.
pub(super) fn controls(page: &mut Page, about: &About<'_>) -> Result<(), PackageError> {
    let mut by_control: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in &about.judgement.findings {
        by_control.entry(&finding.control).or_default().push(finding);
    }
    let mut columns = vec!["Control", "Question", "Severity"];
    columns.extend(ANSWERS);
    columns.extend(["As of", "Source of the rule", "Maps to", "Owners"]);
    page.table("controls", "Controls", &columns);
    for (id, findings) in by_control {
        let control = about
            .catalogue
            .get(id)
            .ok_or_else(|| PackageError::NoSuchControl(id.to_owned()))?;
        page.raw("<tr>");
        page.cell(id);
        page.cell(control.question);
        page.cell(severity(control.severity));
        for (word, count) in ANSWERS.iter().zip(count(findings.iter().copied())) {
            if count == 0 {
                page.raw("<td class=\"n soft\">0</td>");
            } else {
                page.raw(&format!("<td class=\"n {word}\">{count}</td>"));
            }
        }
        page.cell(&span(&findings)?);
        page.wide_cell(&sources(control));
        page.wide_cell(&maps_to(control));
        page.wide_cell(&owners(&findings));
        page.raw("</tr>\n");
        conflicts(page, control, columns.len());
    }
    page.end_table(0, "findings.json");
    Ok(())
}

/// What other rules say against the control.
fn conflicts(page: &mut Page, control: &Control, columns: usize) {
    for conflict in control.conflicts {
        page.raw(&format!(
            "<tr class=\"note\"><td></td><td class=\"soft\" colspan=\"{}\">",
            columns - 1
        ));
        page.text(conflict);
        page.raw("</td></tr>\n");
    }
}

/// The oldest and the newest moment that the answers are of.
fn span(findings: &[&Finding]) -> Result<String, PackageError> {
    let oldest = findings.iter().map(|finding| finding.as_of_ms).min().unwrap_or(0);
    let newest = findings.iter().map(|finding| finding.as_of_ms).max().unwrap_or(0);
    let (oldest, newest) = (time(oldest)?, time(newest)?);
    Ok(if oldest == newest {
        newest
    } else {
        format!("{oldest} to {newest}")
    })
}

fn maps_to(control: &Control) -> String {
    let names = control
        .mappings
        .iter()
        .map(|mapping| format!("{} {}", framework(mapping.framework), mapping.control));
    names.collect::<Vec<_>>().join(", ")
}

fn owners(findings: &[&Finding]) -> String {
    let mut owners: Vec<&str> = findings
        .iter()
        .filter_map(|finding| finding.owner.as_deref())
        .collect();
    owners.sort_unstable();
    owners.dedup();
    let more = owners.len().saturating_sub(REPORT_NAMES);
    owners.truncate(REPORT_NAMES);
    let unknown = findings.iter().filter(|finding| finding.owner.is_none()).count();
    let mut text = owners.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    if unknown > 0 {
        text.push_str(&format!(
            "{}{unknown} without",
            if text.is_empty() { "" } else { "; " }
        ));
    }
    text
}

/// The way from each account to the proof of use, those that break first.
pub(super) fn chains(page: &mut Page, judgement: &Judgement) {
    let mut chains: Vec<&Chain> = judgement.chains.iter().collect();
    chains.sort_by_key(|chain| chain.hops.iter().map(|hop| rank(&hop.answer)).min());
    page.table(
        "chains",
        "From each account to the proof of use",
        &["Account", "Hops, up to where the chain breaks"],
    );
    for chain in chains.iter().take(REPORT_CHAINS) {
        page.raw("<tr>");
        page.wide_cell(&chain.account);
        page.raw("<td><ol class=\"chain\">");
        for hop in &chain.hops {
            let word = word(&hop.answer);
            page.raw("<li title=\"");
            page.text(&hop.target);
            page.raw("\">");
            page.text(&hop.hop);
            page.raw(&format!(" <span class=\"answer {word}\">{word}</span>"));
            if hop.answer != Answer::Pass {
                page.raw(" <span class=\"soft\">");
                page.text(&hop.reason);
                page.raw("</span>");
            }
            page.raw("</li>");
            if hop.answer != Answer::Pass {
                break;
            }
        }
        page.raw("</ol></td></tr>\n");
    }
    page.end_table(chains.len().saturating_sub(REPORT_CHAINS), "findings.json");
}

/// What is under the customer's key and what is not.
pub(super) fn coverage(page: &mut Page, judgement: &Judgement) {
    let mut rows: Vec<_> = judgement.coverage.iter().collect();
    rows.sort_by_key(|row| row.state == "covered");
    page.table(
        "coverage",
        "What is under the customer's key, and what is not",
        &["Account", "Class", "State", "In use", "Known by", "Source"],
    );
    for row in rows.iter().take(REPORT_ROWS) {
        page.raw("<tr>");
        page.cell(short(&row.account));
        page.cell(&row.class);
        page.cell(&row.state);
        page.cell(match row.in_use {
            Some(true) => "yes",
            Some(false) => "no",
            None => "could not be read",
        });
        page.cell(&row.by);
        page.wide_cell(&row.source);
        page.raw("</tr>\n");
    }
    page.end_table(rows.len().saturating_sub(REPORT_ROWS), "findings.json");
}

/// The findings, those that ask for attention first.
pub(super) fn findings(page: &mut Page, about: &About<'_>) -> Result<(), PackageError> {
    let mut findings: Vec<&Finding> = about.judgement.findings.iter().collect();
    findings.sort_by_key(|finding| (rank(&finding.answer), std::cmp::Reverse(finding.severity)));
    let columns = [
        "Control", "Resource", "Answer", "Severity", "Reason", "Remedy", "As of", "Owner", "Facts",
    ];
    page.table("findings", "Findings", &columns);
    for finding in findings.iter().take(REPORT_ROWS) {
        page.raw("<tr>");
        page.cell(&finding.control);
        page.raw("<td class=\"w\" title=\"");
        page.text(&finding.resource);
        page.raw("\">");
        page.text(short(&finding.resource));
        page.raw("</td>");
        page.answer(word(&finding.answer));
        page.cell(severity(finding.severity));
        let told = detail(&finding.answer);
        page.wide_cell(&if told.is_empty() {
            finding.reason.clone()
        } else {
            format!("{} ({told})", finding.reason)
        });
        page.raw("<td class=\"w\">");
        if let Some(remedy) = &finding.remedy {
            page.code(remedy);
        }
        page.raw("</td>");
        page.cell(&time(finding.as_of_ms)?);
        page.wide_cell(finding.owner.as_deref().unwrap_or("-"));
        facts(page, finding);
        page.raw("</tr>\n");
    }
    page.end_table(findings.len().saturating_sub(REPORT_ROWS), "findings.csv");
    Ok(())
}

fn facts(page: &mut Page, finding: &Finding) {
    page.raw("<td>");
    for fact in finding.facts.iter().take(REPORT_NAMES) {
        let id = fact.as_str();
        page.raw(&format!(
            "<a href=\"raw/{id}.json\"><code>{}</code></a> ",
            id.get(..8).unwrap_or(id)
        ));
    }
    page.left_out(finding.facts.len().saturating_sub(REPORT_NAMES), "findings.csv");
    page.raw("</td>");
}

/// The questions without an answer.
pub(super) fn unanswered(page: &mut Page, document: &Document<'_>) {
    page.table(
        "unanswered",
        "What could not be read",
        &["Question", "About", "Call", "Status", "What it said"],
    );
    for row in document.unanswered.iter().take(REPORT_ROWS) {
        page.raw("<tr>");
        page.cell(row.question);
        page.wide_cell(row.about.unwrap_or("-"));
        page.wide_cell(row.call);
        page.cell(
            &row.status
                .map_or_else(|| "no answer".to_owned(), |status| status.to_string()),
        );
        page.wide_cell(row.message.unwrap_or("-"));
        page.raw("</tr>\n");
    }
    page.end_table(
        document.unanswered.len().saturating_sub(REPORT_ROWS),
        "completeness.json",
    );
}
