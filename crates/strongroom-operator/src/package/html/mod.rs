//! `summary.html`: the report for people. It stands alone: no script, no network (its own policy forbids both), drawings as inline SVG.
//! Every text from elsewhere goes through [`escape`]; every list has an end, and says what it leaves out.

mod graph;
mod style;
mod tables;
mod timeline;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::answers::{ANSWERS, count, time};
use super::completeness::Document;
use super::error::PackageError;
use crate::finding::{Control, Judgement};
use crate::limits::REPORT_TEXT;
use crate::run::Run;

/// What the report is of.
pub(super) struct About<'a> {
    pub(super) run: &'a Run,
    pub(super) judgement: &'a Judgement,
    pub(super) catalogue: &'a BTreeMap<&'a str, &'a Control>,
    pub(super) completeness: &'a Document<'a>,
    pub(super) rules: &'a str,
    pub(super) redacted: &'a [&'static str],
    pub(super) log: &'a str,
}

pub(super) fn to_text(about: &About<'_>) -> Result<String, PackageError> {
    let mut page = Page(String::with_capacity(64 * 1024));
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width\"><title>Evidence of customer-managed keys</title>\n<style>");
    page.raw(style::SHEET);
    page.raw("</style></head>\n<body>\n<header><h1>Evidence of customer-managed keys</h1>\n");
    head(&mut page, about)?;
    page.raw("</header>\n<main>\n");
    tables::controls(&mut page, about)?;
    tables::chains(&mut page, about.judgement);
    graph::draw(&mut page, &about.judgement.graph);
    timeline::draw(&mut page, &about.judgement.timeline)?;
    tables::coverage(&mut page, about.judgement);
    tables::findings(&mut page, about)?;
    tables::unanswered(&mut page, about.completeness);
    verify(&mut page, about);
    page.raw("</main>\n</body></html>\n");
    Ok(page.0)
}

fn head(page: &mut Page, about: &About<'_>) -> Result<(), PackageError> {
    let (run, verdict) = (about.run, &about.completeness.verdict);
    let counts = count(about.judgement.findings.iter());
    page.raw("<ul id=\"counts\" class=\"counts\">");
    for (word, count) in ANSWERS.iter().zip(counts) {
        page.raw(&format!("<li class=\"{word}\"><b>{count}</b> {word}</li>"));
    }
    page.raw("</ul>\n<dl id=\"run\">");
    let told = if verdict.complete {
        "complete"
    } else {
        "INCOMPLETE"
    };
    let ended = run.ended_ms.map(time).transpose()?;
    let caller = [
        run.caller.object_id.as_deref(),
        run.caller.application_id.as_deref(),
        Some(&run.caller.credential),
    ];
    let caller = caller.into_iter().flatten().collect::<Vec<_>>().join(", ");
    for (name, value) in [
        ("Cloud and tenant", format!("{}, {}", run.cloud, run.tenant)),
        ("Subscriptions", run.subscriptions.join(", ")),
        ("Asked by", caller),
        ("Read from", time(run.started_ms)?),
        ("Until", ended.unwrap_or_else(|| "interrupted".to_owned())),
        ("Clock", run.clock.clone()),
        ("Made by", run.tool.clone()),
        ("Rules", about.rules.to_owned()),
        (
            "Completeness",
            format!(
                "{told}: {} of {} questions answered, {} findings could not be checked",
                verdict.answered, verdict.asked, verdict.could_not_check
            ),
        ),
        ("Redacted", about.redacted.join(", ")),
    ] {
        if !value.is_empty() {
            page.raw(&format!("<dt>{name}</dt><dd>"));
            page.text(&value);
            page.raw("</dd>");
        }
    }
    page.raw("</dl>\n");
    Ok(())
}

fn verify(page: &mut Page, about: &About<'_>) {
    page.raw(
        "<section id=\"verify\"><h2>How far to believe this</h2>\n<p>This page is one file of a signed package. Alone it proves nothing: verify the package \
         (<code>strongroom-evidence-verify PACKAGE --key KEY</code>; README.md says how to do it by hand), with a key that did not come with it. \
         The log of this package is ",
    );
    page.code(about.log);
    page.raw(".</p></section>\n");
}

/// The page being written.
pub(super) struct Page(String);

impl Page {
    /// Markup of ours.
    fn raw(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// Text from elsewhere.
    fn text(&mut self, text: &str) {
        self.0.push_str(&escape(text));
    }

    fn code(&mut self, text: &str) {
        self.raw("<code>");
        self.text(text);
        self.raw("</code>");
    }

    /// A cell with text from elsewhere.
    fn cell(&mut self, text: &str) {
        self.raw("<td>");
        self.text(text);
        self.raw("</td>");
    }

    /// A cell with text that is long, such as an id: it may be broken anywhere.
    fn wide_cell(&mut self, text: &str) {
        self.raw("<td class=\"w\">");
        self.text(text);
        self.raw("</td>");
    }

    /// A cell with an answer.
    fn answer(&mut self, word: &str) {
        let _ = write!(self.0, "<td><span class=\"answer {word}\">{word}</span></td>");
    }

    /// Begins a section with a table.
    fn table(&mut self, id: &str, title: &str, columns: &[&str]) {
        let _ = write!(
            self.0,
            "<section id=\"{id}\"><h2>{title}</h2>\n<table><thead><tr>"
        );
        for column in columns {
            let _ = write!(self.0, "<th>{column}</th>");
        }
        self.raw("</tr></thead><tbody>\n");
    }

    /// Ends it, and says how many rows are left out and where they stand.
    fn end_table(&mut self, left_out: usize, elsewhere: &str) {
        self.raw("</tbody></table>");
        self.left_out(left_out, elsewhere);
        self.raw("</section>\n");
    }

    fn left_out(&mut self, count: usize, elsewhere: &str) {
        if count > 0 {
            let _ = write!(
                self.0,
                "<p class=\"more\">and {count} more, in <code>{elsewhere}</code></p>"
            );
        }
    }
}

/// Text that is no markup, whatever it holds: also in attributes, and without what would turn the direction of reading.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (number, letter) in text.chars().enumerate() {
        if number >= REPORT_TEXT {
            escaped.push('\u{2026}');
            break;
        }
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                escaped.push('\u{fffd}');
            }
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// The last part of an ARM id or key id, for where there is little room.
fn short(id: &str) -> &str {
    let id = id.trim_end_matches('/');
    let last = id.rsplit('/').next().unwrap_or(id);
    if last.is_empty() { id } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(escape("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
        assert_eq!(escape("a\u{202e}b\n"), "a\u{fffd}b ");
        assert_eq!(
            escape(&"x".repeat(REPORT_TEXT + 5)).chars().count(),
            REPORT_TEXT + 1
        );
    }

    #[test]
    fn short_names_are_the_last_part() {
        assert_eq!(short("/subscriptions/s/accounts/a"), "a");
        assert_eq!(short("https://v.vault.azure.net/"), "v.vault.azure.net");
        assert_eq!(short("plain"), "plain");
    }
}
