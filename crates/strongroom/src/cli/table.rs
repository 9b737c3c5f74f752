//! Plain tables for people, JSON for programs; the only place that writes to stdout.

use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::Value;

use super::{CliError, Failure};

/// Rows of text in aligned columns.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(|title| (*title).to_owned()).collect()],
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn print(&self) -> Result<(), CliError> {
        line(&self.to_string())
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut text = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                text.push_str(&format!("{cell:<width$}  "));
            }
            if number > 0 {
                writeln!(out)?;
            }
            write!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// Prints one line.
pub(super) fn line(text: &str) -> Result<(), CliError> {
    writeln!(io::stdout().lock(), "{text}").map_err(CliError::io("stdout"))
}

/// Prints a value as indented JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|_| Failure::Protocol("it cannot be written as JSON"))?;
    line(&text)
}

/// A property as people read it; `-` where there is none.
pub(super) fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// The items of a list in Azure's shape.
pub(super) fn items(list: &Value) -> Result<&[Value], CliError> {
    let items = list.get("value").and_then(Value::as_array);
    Ok(items.ok_or(Failure::Protocol("a list without `value`"))?)
}

/// A time in Unix seconds as people read it.
pub(super) fn time(seconds: Option<i64>) -> String {
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// Bytes as people read them.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = count;
    while scaled >= 10 * 1024 && unit + 1 < UNITS.len() {
        scaled /= 1024;
        unit += 1;
    }
    format!("{scaled} {}", UNITS.get(unit).copied().unwrap_or("TiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_space() {
        let mut table = Table::new(&["Version", "Enabled"]);
        table.row(["abc".to_owned(), "yes".to_owned()]);
        assert_eq!(table.to_string(), "Version  Enabled\nabc      yes");
    }

    #[test]
    fn bytes_are_given_in_the_unit_that_suits_them() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(20 << 20), "20 MiB");
        assert_eq!(bytes(9 << 10), "9216 B");
    }
}
