//! The timeline: a line for each key version or resource, a dot for each thing that happened to it.

use super::super::answers::time;
use super::super::error::PackageError;
use super::{Page, escape, short};
use crate::finding::Moment;
use crate::limits::{REPORT_LANES, REPORT_MOMENTS, REPORT_ROWS};

const LEFT: u64 = 260;
const WIDTH: u64 = 860;
const LANE: usize = 24;
const TOP: usize = 34;

pub(super) fn draw(page: &mut Page, timeline: &[Moment]) -> Result<(), PackageError> {
    page.raw("<section id=\"timeline\"><h2>Key versions, uses and drills in time</h2>\n");
    let first = timeline.iter().map(|moment| moment.at_ms).min();
    let last = timeline.iter().map(|moment| moment.at_ms).max();
    let (Some(first), Some(last)) = (first, last) else {
        page.raw("<p class=\"soft\">Nothing that has a time was read.</p></section>\n");
        return Ok(());
    };
    let mut lanes: Vec<&str> = timeline.iter().map(|moment| moment.subject.as_str()).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let more_lanes = lanes.len().saturating_sub(REPORT_LANES);
    lanes.truncate(REPORT_LANES);
    axis(page, first, last, &lanes)?;
    let x = |at: u64| LEFT + (at - first).saturating_mul(WIDTH) / (last - first).max(1);
    for moment in timeline.iter().take(REPORT_MOMENTS) {
        let Ok(lane) = lanes.binary_search(&moment.subject.as_str()) else {
            continue;
        };
        let class: String = moment
            .what
            .chars()
            .filter(|letter| letter.is_ascii_lowercase() || *letter == '-')
            .collect();
        page.raw(&format!(
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"5\"><title>{} {}</title></circle>\n",
            x(moment.at_ms),
            TOP + lane * LANE + 8,
            time(moment.at_ms)?,
            escape(&moment.what)
        ));
    }
    page.raw("</svg>");
    page.left_out(more_lanes, "findings.json");
    page.raw("<table><thead><tr><th>When</th><th>What</th><th>Of</th></tr></thead><tbody>\n");
    for moment in timeline.iter().take(REPORT_ROWS) {
        page.raw("<tr>");
        page.cell(&time(moment.at_ms)?);
        page.cell(&moment.what);
        page.wide_cell(&moment.subject);
        page.raw("</tr>\n");
    }
    page.end_table(timeline.len().saturating_sub(REPORT_ROWS), "findings.json");
    Ok(())
}

/// The frame: times above, a line and a name for each lane.
fn axis(page: &mut Page, first: u64, last: u64, lanes: &[&str]) -> Result<(), PackageError> {
    let (width, height) = (LEFT + WIDTH + 40, TOP + lanes.len() * LANE + 10);
    page.raw(&format!(
        "<svg role=\"img\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\"><title>What happened when</title>\n"
    ));
    for (step, anchor) in [(0, "start"), (1, "middle"), (2, "end")] {
        let at = first + (last - first) / 2 * step;
        let at = if step == 2 { last } else { at };
        let x = LEFT + WIDTH / 2 * step;
        page.raw(&format!(
            "<text class=\"head\" x=\"{x}\" y=\"16\" text-anchor=\"{anchor}\">{}</text><line x1=\"{x}\" y1=\"22\" x2=\"{x}\" y2=\"{height}\"/>\n",
            time(at)?
        ));
    }
    for (lane, subject) in lanes.iter().enumerate() {
        let y = TOP + lane * LANE + 8;
        let end = LEFT + WIDTH;
        let name: String = short(subject).chars().take(40).collect();
        page.raw(&format!(
            "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\"/><text x=\"10\" y=\"{}\">{}</text>\n",
            y + 4,
            escape(&name)
        ));
    }
    Ok(())
}
