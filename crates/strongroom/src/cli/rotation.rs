//! `strongroom rekey`.

use reqwest::Method;

use super::client::Instance;
use super::table;
use super::{CliError, InstanceArgs, Output};

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
