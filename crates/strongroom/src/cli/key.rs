//! `strongroom key`: the administrator at the vault, in the vault's own protocol.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::Instance;
use super::table::{self, Table};
use super::{CliError, Failure, KeyAction, KeyVersionArgs, Output};

pub(super) fn run(action: &KeyAction) -> Result<(), CliError> {
    match action {
        KeyAction::List(args) => {
            let instance = Instance::find(args.folder.folder()?)?;
            print(&versions(&instance)?, args.output)
        }
        KeyAction::Disable(args) => set_enabled(args, false),
        KeyAction::Enable(args) => set_enabled(args, true),
        KeyAction::Rotate(args) => {
            let instance = Instance::find(args.folder.folder()?)?;
            instance.key(Method::POST, "/rotate", None)?;
            print(&versions(&instance)?, args.output)
        }
    }
}

fn set_enabled(args: &KeyVersionArgs, enabled: bool) -> Result<(), CliError> {
    let instance = Instance::find(args.instance.folder.folder()?)?;
    let chosen = match &args.key_version {
        Some(version) => vec![version.clone()],
        None => versions(&instance)?
            .into_iter()
            .map(|version| version.version)
            .collect(),
    };
    let change = json!({"attributes": {"enabled": enabled}});
    for version in chosen {
        // An empty one, as of a variable that is not set, must not mean the key as a whole.
        if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(CliError::Configuration(vec![format!(
                "`{version}` is not a key version"
            )]));
        }
        instance.key(Method::PATCH, &format!("/{version}"), Some(&change))?;
    }
    print(&versions(&instance)?, args.instance.output)
}

/// One version of the customer key, as the vault lists it.
#[derive(serde::Serialize)]
struct KeyVersion {
    id: String,
    version: String,
    enabled: bool,
    created: Option<i64>,
    expires: Option<i64>,
}

/// All versions, oldest first.
fn versions(instance: &Instance) -> Result<Vec<KeyVersion>, CliError> {
    let answer = instance.key(Method::GET, "/versions", None)?;
    let list = answer.get("value").and_then(Value::as_array);
    let list = list.ok_or(Failure::Protocol("a list of key versions without `value`"))?;
    let mut versions = list
        .iter()
        .map(version)
        .collect::<Option<Vec<_>>>()
        .ok_or(Failure::Protocol("a key version"))?;
    versions.sort_by_key(|version| version.created);
    Ok(versions)
}

fn version(item: &Value) -> Option<KeyVersion> {
    let id = item.get("kid")?.as_str()?.to_owned();
    let version = id.rsplit('/').next()?.to_owned();
    let attributes = item.get("attributes")?;
    Some(KeyVersion {
        version,
        enabled: attributes.get("enabled")?.as_bool()?,
        created: attributes.get("created").and_then(Value::as_i64),
        expires: attributes.get("exp").and_then(Value::as_i64),
        id,
    })
}

fn print(versions: &[KeyVersion], output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return table::json(&versions);
    }
    let mut table = Table::new(&["Version", "Enabled", "Created", "Expires"]);
    for version in versions {
        table.row([
            version.version.clone(),
            if version.enabled { "yes" } else { "no" }.to_owned(),
            table::time(version.created),
            table::time(version.expires),
        ]);
    }
    table.print()
}
