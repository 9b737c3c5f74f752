//! `strongroom model`: the account's fine-tuned models, through the data plane as any other client of it.

use std::fs::File;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use strongroom_models::REHEARSAL_MODEL;

use super::client::{Form, Instance};
use super::table::{self, Table, text};
use super::{CliError, InstanceArgs, Output};

#[derive(Args, Debug)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    action: ModelAction,
}

#[derive(Debug, Subcommand)]
enum ModelAction {
    /// Bring weights that were trained elsewhere: they are sealed as they come in, and can be deployed.
    Import(ImportArgs),
    /// Deployments and fine-tuned models, under the names that requests have for them.
    List(InstanceArgs),
    /// One of them.
    Show(NamedArgs),
    /// Shred a fine-tuned model. Its deployments must be deleted first.
    Delete(NamedArgs),
}

#[derive(Args, Debug)]
struct NamedArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The model.
    #[arg(long)]
    name: String,
}

#[derive(Args, Debug)]
struct ImportArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The model that it was made from, whose configuration and tokenizer it keeps: `rehearsal`, or the one that the instance was started
    /// with.
    #[arg(long)]
    base: String,
    /// Goes into its name.
    #[arg(long, value_name = "SUFFIX")]
    name: Option<String>,
    /// All its weights in one file of the safetensors format.
    file: PathBuf,
}

pub(super) fn run(args: &ModelArgs) -> Result<(), CliError> {
    match &args.action {
        ModelAction::Import(args) => import(args),
        ModelAction::List(args) => {
            let instance = Instance::find(args.folder.folder()?)?;
            let listed = instance.data(Method::GET, "models", None)?;
            let models = listed.get("data").cloned().unwrap_or_default();
            print(models.as_array().map_or(&[], Vec::as_slice), args.output)
        }
        ModelAction::Show(args) => {
            let instance = Instance::find(args.instance.folder.folder()?)?;
            let shown = instance.data(Method::GET, &path(&args.name), None)?;
            print(&[shown], args.instance.output)
        }
        ModelAction::Delete(args) => {
            let instance = Instance::find(args.instance.folder.folder()?)?;
            let deleted = instance.data(Method::DELETE, &path(&args.name), None)?;
            match args.instance.output {
                Output::Json => table::json(&deleted),
                Output::Table => table::line(&format!("{} is shredded", args.name)),
            }
        }
    }
}

fn path(name: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    // What stands for a space in a form is a plus in a path.
    format!("models/{}", name.replace('+', "%20"))
}

fn import(args: &ImportArgs) -> Result<(), CliError> {
    let shown = args.file.display().to_string();
    let file = File::open(&args.file).map_err(CliError::io(shown.clone()))?;
    let length = file.metadata().map_err(CliError::io(shown))?.len();
    let instance = Instance::find(args.instance.folder.folder()?)?;
    let base = match args.base.as_str() {
        "rehearsal" => REHEARSAL_MODEL,
        other => other,
    };
    let mut fields = vec![("base_model", base)];
    fields.extend(args.name.as_deref().map(|suffix| ("suffix", suffix)));
    let form = Form {
        fields: &fields,
        file,
        length,
    };
    let made = instance.data(Method::POST, "models", Some(form))?;
    print(&[made], args.instance.output)
}

fn print(models: &[Value], output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return table::json(&models);
    }
    let mut table = Table::new(&["Model", "Owner", "Created"]);
    for model in models {
        let created = model.get("created").and_then(Value::as_i64);
        table.row([text(model, "id"), text(model, "owned_by"), table::time(created)]);
    }
    table.print()
}
