//! How the operator's commands print: one value, as a table for people or as JSON, YAML or tab-separated text for programs, as
//! `az` does it. Data goes to stdout; everything else to stderr.

use std::io::{self, IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;
use strongroom_operator::yaml;

use super::table::{self, Table};
use super::{CliError, Failure};

#[derive(Args, Clone, Debug)]
pub(super) struct Printing {
    /// How to print.
    #[arg(short = 'o', long, value_enum, default_value_t, global = true)]
    output: Format,
    /// A JMESPath query over what JSON would show; see <https://jmespath.org>.
    #[arg(long, value_name = "JMESPATH", global = true)]
    query: Option<String>,
    /// Nothing on stderr but errors: no progress, no warnings.
    #[arg(long, global = true)]
    only_show_errors: bool,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For people and programs.
    Yaml,
    /// Values alone, a tab between them: for shells.
    Tsv,
}

impl Printing {
    /// Prints a value; as a table, where nothing else is asked for, in the way that `shown` makes of it.
    pub(super) fn print<T: Serialize>(
        &self,
        value: &T,
        shown: impl FnOnce(&T) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        if self.output == Format::Table && self.query.is_none() {
            return shown(value);
        }
        let value =
            serde_json::to_value(value).map_err(|_| Failure::Protocol("it cannot be written as JSON"))?;
        let value = match &self.query {
            Some(query) => search(query, &value)?,
            None => value,
        };
        match self.output {
            Format::Table => generic_table(&value),
            Format::Json => table::json(&value),
            Format::Yaml => table::line(yaml::write(&value).trim_end()),
            Format::Tsv => tsv(&value),
        }
    }

    /// Refuses a query that is none before anything is asked.
    pub(super) fn check(&self) -> Result<(), CliError> {
        match &self.query {
            Some(query) => jmespath::compile(query)
                .map(drop)
                .map_err(|error| wrong(query, &error)),
            None => Ok(()),
        }
    }

    /// Whether progress and warnings are wanted.
    pub(super) fn is_talkative(&self) -> bool {
        !self.only_show_errors
    }

    /// A warning, on stderr.
    pub(super) fn warn(&self, text: &str) {
        if self.is_talkative() {
            // If stderr is closed nobody reads it.
            let _ = writeln!(io::stderr(), "warning: {text}");
        }
    }
}

/// Whether stdout shows colours: it is a terminal, and nobody said `NO_COLOR`.
pub(super) fn has_colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn wrong(query: &str, error: &jmespath::JmespathError) -> CliError {
    CliError::Usage(format!("`--query {query}` is no JMESPath query: {error}"))
}

fn search(query: &str, value: &Value) -> Result<Value, CliError> {
    let compiled = jmespath::compile(query).map_err(|error| wrong(query, &error))?;
    let found = compiled.search(value).map_err(|error| wrong(query, &error))?;
    serde_json::to_value(&*found).map_err(|_| Failure::Protocol("it cannot be written as JSON").into())
}

/// Objects as rows, their members as columns; anything else a line each.
fn generic_table(value: &Value) -> Result<(), CliError> {
    let rows = as_rows(value);
    let mut columns: Vec<&str> = Vec::new();
    for row in rows.iter().filter_map(|row| row.as_object()) {
        for name in row.keys().filter(|name| is_flat(row.get(*name))) {
            if !columns.contains(&name.as_str()) {
                columns.push(name);
            }
        }
    }
    if columns.is_empty() {
        return rows.iter().try_for_each(|row| table::line(&cell(row)));
    }
    let mut table = Table::new(&columns);
    for row in rows {
        table.row(
            columns
                .iter()
                .map(|name| cell(row.get(*name).unwrap_or(&Value::Null))),
        );
    }
    table.print()
}

fn is_flat(value: Option<&Value>) -> bool {
    !matches!(value, Some(Value::Array(_) | Value::Object(_)))
}

fn tsv(value: &Value) -> Result<(), CliError> {
    for row in as_rows(value) {
        let cells: Vec<String> = match row {
            Value::Object(members) => members.values().map(tsv_cell).collect(),
            Value::Array(items) => items.iter().map(tsv_cell).collect(),
            other => vec![tsv_cell(other)],
        };
        table::line(&cells.join("\t"))?;
    }
    Ok(())
}

fn as_rows(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(rows) => rows.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace(['\n', '\r', '\t'], " "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A tab or a line break inside a value would make two of it.
fn tsv_cell(value: &Value) -> String {
    match value {
        Value::String(text) => text
            .replace('\\', "\\\\")
            .replace('\t', "\\t")
            .replace('\n', "\\n")
            .replace('\r', "\\r"),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_picks_and_shapes() {
        let value = json!({"reads": [{"what": "a", "may": "yes"}, {"what": "b", "may": "no"}]});
        let found = search("reads[?may=='no'].what", &value).unwrap();
        assert_eq!(found, json!(["b"]));
        assert_eq!(search("missing", &value).unwrap(), Value::Null);
        assert!(matches!(search("reads[?", &value), Err(CliError::Usage(_))));
    }

    #[test]
    fn a_value_never_looks_like_two_in_tab_separated_text() {
        assert_eq!(tsv_cell(&json!("a\tb\nc\\")), "a\\tb\\nc\\\\");
        assert_eq!(tsv_cell(&json!(null)), "");
        assert_eq!(tsv_cell(&json!({"a": 1})), "{\"a\":1}");
    }
}
