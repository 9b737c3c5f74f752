//! `strongroom jobs`: what is done in the background, listed, followed, and asked to stop.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::Instance;
use super::table::{self, Table};
use super::{CliError, Failure, InstanceArgs, Output};
use crate::limits;

#[derive(Args, Clone, Debug)]
pub(super) struct JobsArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Show every change until nothing is left to be done, or only jobs that are held.
    #[arg(long, short)]
    follow: bool,
    /// End a job before its work is done. Carried out in its next turn, which needs the customer key.
    #[arg(long, value_name = "JOB", group = "wish", conflicts_with = "follow")]
    cancel: Option<String>,
    /// Let a job wait.
    #[arg(long, value_name = "JOB", group = "wish", conflicts_with = "follow")]
    hold: Option<String>,
    /// Let a job that is held go on.
    #[arg(long, value_name = "JOB", group = "wish", conflicts_with = "follow")]
    resume: Option<String>,
}

impl JobsArgs {
    fn wish(&self) -> Option<(&'static str, &str)> {
        let wishes = [
            ("cancel", &self.cancel),
            ("hold", &self.hold),
            ("resume", &self.resume),
        ];
        let mut asked = wishes
            .into_iter()
            .filter_map(|(wish, job)| Some((wish, job.as_deref()?)));
        asked.next()
    }
}

pub(super) fn jobs(args: &JobsArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.instance.folder.folder()?)?;
    let output = args.instance.output;
    if let Some((wish, job)) = args.wish() {
        return ask(&instance, job, wish, output);
    }
    if args.follow {
        return follow(&instance, output);
    }
    let jobs = instance.admin(Method::GET, "jobs", None)?;
    if output == Output::Json {
        return table::json(&jobs);
    }
    let mut table = Table::new(&["Job", "Kind", "Object", "State", "Done", "Total"]);
    for job in list(&jobs)? {
        let mut cells = ["id", "kind", "object", "state", "done", "total"].map(|name| table::text(job, name));
        cells[3] = state(job);
        table.row(cells);
    }
    table.print()
}

fn ask(instance: &Instance, job: &str, wish: &str, output: Output) -> Result<(), CliError> {
    // What is no job's name names none; it must not become another path.
    let is_name = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let job = if is_name(job) { job } else { "none" };
    let now = instance.admin(Method::POST, &format!("jobs/{job}/{wish}"), None)?;
    if output == Output::Json {
        return table::json(&now);
    }
    table::line(&line(&now))
}

/// The state, and what is asked of the job and still to be done.
fn state(job: &Value) -> String {
    let state = table::text(job, "state");
    match job.get("wish").and_then(Value::as_str) {
        Some(wish) => format!("{state} (to {wish})"),
        None => state,
    }
}

fn list(jobs: &Value) -> Result<&Vec<Value>, CliError> {
    jobs.as_array()
        .ok_or_else(|| Failure::Protocol("a list of jobs that is no list").into())
}

/// Shows jobs that are not over, oldest first, and how each of them ends. On a terminal each has a line with a bar that is drawn anew; elsewhere
/// each change is a line of its own.
fn follow(instance: &Instance, output: Output) -> Result<(), CliError> {
    let bars = output == Output::Table && io::stdout().is_terminal();
    let mut seen: HashMap<String, Value> = HashMap::new();
    let mut drawn = 0;
    loop {
        let jobs = instance.admin(Method::GET, "jobs", None)?;
        let mut shown: Vec<&Value> = Vec::new();
        for job in list(&jobs)?.iter().rev() {
            let id = table::text(job, "id");
            let is_known = seen.contains_key(&id);
            if is_over(job) && !is_known {
                continue;
            }
            shown.push(job);
            let is_new = seen.insert(id, changing(job)) != Some(changing(job));
            match (bars, is_new, output) {
                (false, true, Output::Json) => table::line(&job.to_string())?,
                (false, true, Output::Table) => table::line(&line(job))?,
                _ => {}
            }
        }
        if bars {
            draw(&shown, &mut drawn)?;
        }
        if shown.iter().all(|job| is_over(job) || is(job, "held")) {
            return Ok(());
        }
        std::thread::sleep(limits::FOLLOW_JOBS);
    }
}

/// What of a job is shown.
fn changing(job: &Value) -> Value {
    let of = |name: &str| job.get(name).cloned().unwrap_or_default();
    Value::Array(["state", "wish", "done", "total"].map(of).to_vec())
}

fn is_over(job: &Value) -> bool {
    ["done", "failed", "cancelled"].iter().any(|state| is(job, state))
}

fn is(job: &Value, state: &str) -> bool {
    job.get("state").and_then(Value::as_str) == Some(state)
}

/// A job as one line.
fn line(job: &Value) -> String {
    let [id, kind, done, total] = ["id", "kind", "done", "total"].map(|name| table::text(job, name));
    format!("{id}  {kind}  {}  {done}/{total}", state(job))
}

/// Draws all lines over those that were drawn before.
fn draw(jobs: &[&Value], drawn: &mut usize) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let mut text = String::new();
    if *drawn > 0 {
        text += &format!("\x1b[{drawn}A");
    }
    for job in jobs {
        text += &format!("\x1b[2K{}  {}\n", bar(job), line(job));
    }
    *drawn = jobs.len();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CliError::io("stdout"))
}

/// How much of a job is done. Nothing where it is not known how much there is.
fn bar(job: &Value) -> String {
    const WIDTH: u64 = 24;
    let number = |name: &str| job.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (done, total) = (number("done"), number("total"));
    let full = (done.min(total) * WIDTH).checked_div(total).unwrap_or(0);
    let cell = |at: u64| if at < full { '#' } else { '-' };
    let cells: String = (0..WIDTH).map(cell).collect();
    format!("[{cells}]")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{bar, line};

    #[test]
    fn a_bar_is_as_full_as_the_job_is_done() {
        let of = |done: u64, total: u64| bar(&json!({ "done": done, "total": total }));
        assert_eq!(of(0, 0), format!("[{}]", "-".repeat(24)));
        assert_eq!(of(6, 12), format!("[{}{}]", "#".repeat(12), "-".repeat(12)));
        assert_eq!(of(99, 12), format!("[{}]", "#".repeat(24)));
    }

    #[test]
    fn a_line_says_what_is_asked_of_a_job() {
        let job = json!({ "id": "job-1", "kind": "batch", "state": "running", "wish": "cancel", "done": 3, "total": 9 });
        assert_eq!(line(&job), "job-1  batch  running (to cancel)  3/9");
    }
}
