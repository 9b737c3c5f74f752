//! `strongroom account`: the two keys, the identities, and whether keys count at all.

use clap::{ArgAction, Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Instance;
use super::table::{self, Table, text};
use super::{CliError, InstanceArgs, Output};

#[derive(Args, Debug)]
pub(super) struct AccountArgs {
    #[command(subcommand)]
    action: AccountAction,
}

#[derive(Debug, Subcommand)]
enum AccountAction {
    /// The account's two keys.
    Keys(KeysArgs),
    /// Change the account.
    Update(UpdateArgs),
    /// The user-assigned identities that the account may use.
    Identity(IdentityArgs),
}

#[derive(Args, Debug)]
struct KeysArgs {
    #[command(subcommand)]
    action: KeysAction,
}

#[derive(Debug, Subcommand)]
enum KeysAction {
    /// Show both.
    List(ChosenArgs),
    /// Make one of them anew: the old one no longer counts.
    Regenerate(RegenerateArgs),
}

#[derive(Args, Debug)]
struct ChosenArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The account; the instance's own, if left out.
    #[arg(long)]
    name: Option<String>,
}

#[derive(Args, Debug)]
struct RegenerateArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// Which of the two.
    #[arg(long, value_enum)]
    key_name: KeyName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KeyName {
    #[value(alias = "Key1")]
    Key1,
    #[value(alias = "Key2")]
    Key2,
}

#[derive(Args, Debug)]
struct UpdateArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// Whether account keys are refused, so that only tokens count.
    #[arg(long, action = ArgAction::Set, required_unless_present = "retention")]
    disable_local_auth: Option<bool>,
    /// For how many days a class of objects is kept from when they are made; `none` for what is usual. Classes: files, responses,
    /// storedCompletions, batches. May be said several times.
    #[arg(long, value_name = "CLASS=DAYS", value_parser = days)]
    retention: Vec<(String, Option<u32>)>,
}

fn days(text: &str) -> Result<(String, Option<u32>), String> {
    let (class, days) = text.split_once('=').ok_or("it must be CLASS=DAYS")?;
    let days = match days {
        "none" => None,
        days => Some(days.parse().map_err(|_| "DAYS must be a whole number, or none")?),
    };
    Ok((class.to_owned(), days))
}

#[derive(Args, Debug)]
struct IdentityArgs {
    #[command(subcommand)]
    action: IdentityAction,
}

#[derive(Debug, Subcommand)]
enum IdentityAction {
    /// Let the account use an identity.
    Assign(IdentityChosenArgs),
    /// Take an identity off the account.
    Remove(IdentityChosenArgs),
}

#[derive(Args, Debug)]
struct IdentityChosenArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// The identity: its object id, client id or resource id.
    #[arg(long)]
    identity: String,
}

pub(super) fn run(args: &AccountArgs) -> Result<(), CliError> {
    match &args.action {
        AccountAction::Keys(keys) => match &keys.action {
            KeysAction::List(chosen) => keys_of(chosen, "list-keys", None),
            KeysAction::Regenerate(args) => {
                let name = match args.key_name {
                    KeyName::Key1 => "Key1",
                    KeyName::Key2 => "Key2",
                };
                keys_of(&args.chosen, "regenerate-key", Some(&json!({"keyName": name})))
            }
        },
        AccountAction::Update(args) => {
            let retention: serde_json::Map<_, _> = args
                .retention
                .iter()
                .map(|(class, days)| (class.clone(), json!(days)))
                .collect();
            let body = json!({"properties": {
                "disableLocalAuth": args.disable_local_auth, "retentionDays": retention,
            }});
            change(&args.chosen, Method::PATCH, "", &[], Some(&body))
        }
        AccountAction::Identity(args) => {
            let (method, chosen) = match &args.action {
                IdentityAction::Assign(chosen) => (Method::PUT, chosen),
                IdentityAction::Remove(chosen) => (Method::DELETE, chosen),
            };
            let query = [("identity", chosen.identity.as_str())];
            change(&chosen.chosen, method, "/identities", &query, None)
        }
    }
}

impl ChosenArgs {
    fn path(&self, instance: &Instance, rest: &str) -> Result<String, CliError> {
        let name = match &self.name {
            Some(name) => name,
            None => instance.variable("STRONGROOM_ACCOUNT")?,
        };
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err(CliError::Configuration(vec![format!(
                "`{name}` is not an account's name"
            )]));
        }
        Ok(format!("accounts/{name}{rest}"))
    }
}

fn keys_of(chosen: &ChosenArgs, action: &str, body: Option<&Value>) -> Result<(), CliError> {
    let instance = Instance::find(chosen.instance.folder.folder()?)?;
    let path = chosen.path(&instance, &format!("/{action}"))?;
    let keys = instance.admin(Method::POST, &path, body)?;
    if chosen.instance.output == Output::Json {
        return table::json(&keys);
    }
    let mut table = Table::new(&["Name", "Key"]);
    for name in ["key1", "key2"] {
        table.row([name.to_owned(), text(&keys, name)]);
    }
    table.print()
}

fn change(
    chosen: &ChosenArgs,
    method: Method,
    rest: &str,
    query: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<(), CliError> {
    let instance = Instance::find(chosen.instance.folder.folder()?)?;
    let account = instance.ask(method, &chosen.path(&instance, rest)?, query, body)?;
    if chosen.instance.output == Output::Json {
        return table::json(&account);
    }
    let property = |of: &str, name: &str| {
        account
            .get(of)
            .map_or_else(|| "-".to_owned(), |of| text(of, name))
    };
    let mut table = Table::new(&["Name", "Local auth", "Identity"]);
    let local = match property("properties", "disableLocalAuth").as_str() {
        "true" => "disabled",
        _ => "enabled",
    };
    table.row([
        text(&account, "name"),
        local.to_owned(),
        property("identity", "type"),
    ]);
    table.print()
}
