//! `findings.json` and `graph.json`: the judgement, row by row, so that a large one is never in memory twice.

use std::io::Write;

use serde::Serialize;

use super::error::PackageError;
use crate::finding::Judgement;

/// Everything that was judged but the graph.
pub(super) fn write(out: &mut dyn Write, judgement: &Judgement) -> Result<(), PackageError> {
    let file = "findings.json";
    head(out, file, "{\"findings\":")?;
    rows(out, file, &judgement.findings)?;
    head(out, file, ",\n\"chains\":")?;
    rows(out, file, &judgement.chains)?;
    head(out, file, ",\n\"coverage\":")?;
    rows(out, file, &judgement.coverage)?;
    head(out, file, ",\n\"timeline\":")?;
    rows(out, file, &judgement.timeline)?;
    head(out, file, "}\n")
}

/// What stands with what.
pub(super) fn write_graph(out: &mut dyn Write, judgement: &Judgement) -> Result<(), PackageError> {
    let file = "graph.json";
    head(out, file, "{\"nodes\":")?;
    rows(out, file, &judgement.graph.nodes)?;
    head(out, file, ",\n\"edges\":")?;
    rows(out, file, &judgement.graph.edges)?;
    head(out, file, "}\n")
}

/// One value as a line of JSON.
pub(super) fn json(out: &mut dyn Write, file: &str, value: &impl Serialize) -> Result<(), PackageError> {
    serde_json::to_writer(&mut *out, value).map_err(|error| PackageError::io(file)(error.into()))
}

fn rows<T: Serialize>(out: &mut dyn Write, file: &str, rows: &[T]) -> Result<(), PackageError> {
    head(out, file, "[")?;
    for (number, row) in rows.iter().enumerate() {
        head(out, file, if number == 0 { "\n" } else { ",\n" })?;
        json(out, file, row)?;
    }
    head(out, file, "]")
}

fn head(out: &mut dyn Write, file: &str, text: &str) -> Result<(), PackageError> {
    out.write_all(text.as_bytes()).map_err(PackageError::io(file))
}
