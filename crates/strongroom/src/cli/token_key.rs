//! `strongroom token-key`: the keys that sign tokens.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::client::Instance;
use super::table::{self, Table};
use super::{CliError, Failure, InstanceArgs, Output};

#[derive(Args, Debug)]
pub(super) struct TokenKeyArgs {
    #[command(subcommand)]
    action: TokenKeyAction,
}

#[derive(Debug, Subcommand)]
enum TokenKeyAction {
    /// The key that signs, the one that will, and those whose last tokens still count.
    List(InstanceArgs),
    /// Let the next key sign now, and make one to follow it. No token that was issued is lost by it.
    Rotate(InstanceArgs),
}

pub(super) fn run(args: &TokenKeyArgs) -> Result<(), CliError> {
    let (args, method, path) = match &args.action {
        TokenKeyAction::List(args) => (args, Method::GET, "token-keys"),
        TokenKeyAction::Rotate(args) => (args, Method::POST, "token-keys/rotate"),
    };
    let answer = Instance::find(args.folder.folder()?)?.admin(method, path, None)?;
    let keys = answer.get("value").and_then(Value::as_array);
    let keys = keys.ok_or(Failure::Protocol("a list of token keys without `value`"))?;
    if args.output == Output::Json {
        return table::json(keys);
    }
    let mut table = Table::new(&["Key", "State", "Made", "Since", "Until"]);
    for key in keys {
        let text = |name| {
            key.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let time = |name| table::time(key.get(name).and_then(Value::as_i64));
        table.row([
            text("id"),
            text("state"),
            time("created"),
            time("since"),
            time("until"),
        ]);
    }
    table.print()
}
