//! `strongroom status`.

use reqwest::Method;

use super::client::Instance;
use super::table::{self, Table};
use super::{CliError, Failure, Output, StatusArgs};
use crate::status::{AccountRow, Overview, Status};

pub(super) fn run(args: &StatusArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.instance.folder.folder()?)?;
    let account = args.account.as_deref();
    let query: Vec<_> = account.map(|name| ("account", name)).into_iter().collect();
    let answer = instance.ask(Method::GET, "status", &query, None)?;
    if args.instance.output == Output::Json {
        return table::json(&answer);
    }
    let overview: Overview = serde_json::from_value(answer).map_err(|_| Failure::Protocol("a status"))?;
    let Overview { status, accounts } = overview;
    facts(&status).print()?;
    if accounts.len() > 1 {
        table::line("")?;
        others(&accounts).print()?;
    }
    table::line("")?;
    journals(&status).print()?;
    table::line("")?;
    sealed(&status).print()?;
    if !status.weights.is_empty() {
        table::line("")?;
        weights(&status).print()?;
    }
    if status.still_needed.is_empty() {
        return Ok(());
    }
    table::line("")?;
    needed(&status).print()
}

fn facts(status: &Status) -> Table {
    let key = &status.key;
    let dash = || "-".to_owned();
    let seconds = |milliseconds: u64| format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100);
    let mut table = Table::new(&["Account", &format!("{} ({})", status.account, status.account_id)]);
    let mut fact = |name: &str, value: String| table.row([name.to_owned(), value]);
    fact("Customer key", key.bound.clone().unwrap_or_else(dash));
    fact("Key version", key.version.clone().unwrap_or_else(dash));
    fact(
        "Branch version",
        key.branch.map_or_else(dash, |branch| branch.to_string()),
    );
    fact("State", format!("{} since {}", key.state, moment(key.since_ms)));
    fact("Lease age", key.lease_age_ms.map_or_else(dash, seconds));
    fact(
        "Last vault answer",
        key.last_answer
            .as_ref()
            .map_or_else(dash, |last| format!("{} at {}", last.answer, moment(last.at_ms))),
    );
    fact("Revocation bound", seconds(key.revocation_bound_ms));
    fact("Outage grace", seconds(key.outage_grace_ms));
    fact(
        "Key pages",
        key.locked_in_memory.map_or_else(dash, |locked| {
            if locked {
                "locked in memory"
            } else {
                "not locked in memory"
            }
            .to_owned()
        }),
    );
    if !status.retention_days.is_empty() {
        let classes = status.retention_days.iter();
        let classes: Vec<_> = classes.map(|(class, days)| format!("{class} {days} d")).collect();
        fact("Kept for", classes.join(", "));
    }
    fact("Exports", status.exports.to_string());
    fact("Awaiting erasure", status.awaiting_erasure.to_string());
    fact(
        "Swap",
        match status.swap_bytes {
            Some(0) => "none".to_owned(),
            Some(bytes) => format!(
                "{}: memory that is not locked may be written there",
                table::bytes(bytes)
            ),
            None => "unknown".to_owned(),
        },
    );
    table
}

fn others(accounts: &[AccountRow]) -> Table {
    let mut table = Table::new(&["Account", "Key", "State", "Last vault answer"]);
    for row in accounts {
        let answer = row.last_answer.as_ref();
        table.row([
            row.account.clone(),
            row.key.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{} since {}", row.state, moment(row.since_ms)),
            answer.map_or_else(
                || "-".to_owned(),
                |last| format!("{} at {}", last.answer, moment(last.at_ms)),
            ),
        ]);
    }
    table
}

fn journals(status: &Status) -> Table {
    let mut table = Table::new(&["Journal", "Entries", "In checkpoint", "Verifier key"]);
    for row in &status.journals {
        table.row([
            row.journal.clone(),
            row.entries.to_string(),
            row.checkpoint.to_string(),
            row.verifier_key.clone(),
        ]);
    }
    table
}

fn sealed(status: &Status) -> Table {
    let mut table = Table::new(&["Sealed", "Objects", "Bytes", "Branch", "Key version"]);
    for row in &status.sealed {
        table.row([
            row.kind.clone(),
            row.objects.to_string(),
            table::bytes(row.bytes),
            row.branch.to_string(),
            row.key.as_deref().map_or("-", version).to_owned(),
        ]);
    }
    table
}

fn weights(status: &Status) -> Table {
    let mut table = Table::new(&["Opened weights", "Model", "Revocation policy", "Key"]);
    for row in &status.weights {
        let key = if row.residual {
            "denied: residual"
        } else {
            "in force"
        };
        table.row([
            row.deployment.clone(),
            row.model.clone(),
            row.policy.clone(),
            key.to_owned(),
        ]);
    }
    table
}

fn needed(status: &Status) -> Table {
    let mut table = Table::new(&["Key version still needed", "Objects", "Bytes"]);
    for row in &status.still_needed {
        table.row([
            version(&row.key).to_owned(),
            row.objects.to_string(),
            table::bytes(row.bytes),
        ]);
    }
    table
}

fn version(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn moment(milliseconds: u64) -> String {
    match i64::try_from(milliseconds / 1000) {
        Ok(0) | Err(_) => "the start".to_owned(),
        Ok(seconds) => table::time(Some(seconds)),
    }
}
