//! `strongroom rekey` and `strongroom jobs`.

use reqwest::Method;

use super::client::Instance;
use super::table::{self, Table};
use super::{CliError, Failure, InstanceArgs, Output};

pub(super) fn rekey(args: &InstanceArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.folder.folder()?)?;
    let job = instance.admin(Method::POST, "rekey", None)?;
    if args.output == Output::Json {
        return table::json(&job);
    }
    table::line(&format!(
        "job {} has begun; `strongroom jobs` shows how far it is",
        table::text(&job, "id")
    ))
}

pub(super) fn jobs(args: &InstanceArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.folder.folder()?)?;
    let jobs = instance.admin(Method::GET, "jobs", None)?;
    if args.output == Output::Json {
        return table::json(&jobs);
    }
    let list = jobs
        .as_array()
        .ok_or(Failure::Protocol("a list of jobs that is no list"))?;
    let mut table = Table::new(&["Job", "Kind", "State", "Done", "Total"]);
    for job in list {
        table.row(["id", "kind", "state", "done", "total"].map(|name| table::text(job, name)));
    }
    table.print()
}
