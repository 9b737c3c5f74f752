//! `strongroom deployment`: which model the account serves under which name, through Resource Manager as any other client of it.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Instance;
use super::table::{self, Table, items, text};
use super::vault::{property, segment};
use super::{CliError, InstanceArgs, Output};
use crate::limits;

#[derive(Args, Debug)]
pub(super) struct DeploymentArgs {
    #[command(subcommand)]
    action: DeploymentAction,
}

#[derive(Debug, Subcommand)]
enum DeploymentAction {
    /// Serve a model under a name. A fine-tuned one is opened first, which takes the customer key.
    Create(CreateArgs),
    /// Deployments, by name.
    List(InstanceArgs),
    /// One deployment.
    Show(NamedArgs),
    /// Change what a revoked key means for a deployment, from now on.
    Update(UpdateArgs),
    /// Serve it no more. Opened weights leave the memory; the model stays.
    Delete(NamedArgs),
}

#[derive(Args, Debug)]
struct NamedArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The deployment.
    #[arg(long)]
    name: String,
}

#[derive(Args, Debug)]
struct CreateArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// The model: one that `model list` shows, or one that the instance was started with.
    #[arg(long)]
    model: String,
    /// What happens when the customer key is refused or gone.
    #[arg(long, value_enum)]
    revocation_policy: Option<Policy>,
    /// Its capacity; kept and shown.
    #[arg(long, default_value_t = 1)]
    capacity: u32,
}

#[derive(Args, Debug)]
struct UpdateArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// What happens when the customer key is refused or gone.
    #[arg(long, value_enum)]
    revocation_policy: Policy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// Within the bound nothing is served, and opened weights are gone.
    Shutdown,
    /// Requests in flight finish first.
    Drain,
    /// What runs goes on. Opened weights stay in memory, and `status` shows them as residual.
    PreventNew,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Self::Shutdown => "Shutdown",
            Self::Drain => "Drain",
            Self::PreventNew => "PreventNew",
        }
    }
}

pub(super) fn run(args: &DeploymentArgs) -> Result<(), CliError> {
    match &args.action {
        DeploymentAction::Create(args) => create(args),
        DeploymentAction::List(args) => {
            let instance = Instance::find(args.folder.folder()?)?;
            let listed = instance.manage(Method::GET, &place(&instance, None)?, None)?;
            print(items(&listed)?, args.output)
        }
        DeploymentAction::Show(args) => {
            let instance = Instance::find(args.instance.folder.folder()?)?;
            let shown = ask(&instance, Method::GET, args, None)?;
            print(&[shown], args.instance.output)
        }
        DeploymentAction::Update(args) => {
            let instance = Instance::find(args.named.instance.folder.folder()?)?;
            let body = json!({"properties": {"revocationPolicy": args.revocation_policy.name()}});
            let changed = ask(&instance, Method::PATCH, &args.named, Some(&body))?;
            print(&[changed], args.named.instance.output)
        }
        DeploymentAction::Delete(args) => {
            let instance = Instance::find(args.instance.folder.folder()?)?;
            let shown = ask(&instance, Method::GET, args, None)?;
            ask(&instance, Method::DELETE, args, None)?;
            print(&[shown], args.instance.output)
        }
    }
}

/// Where the account's deployments are, or one of them, below the subscription.
fn place(instance: &Instance, name: Option<&str>) -> Result<String, CliError> {
    let group = instance.variable("STRONGROOM_RESOURCE_GROUP")?;
    let account = instance.variable("STRONGROOM_ACCOUNT")?;
    let all = format!(
        "/resourceGroups/{group}/providers/Microsoft.CognitiveServices/accounts/{account}/deployments"
    );
    match name {
        Some(name) => Ok(format!("{all}/{}", segment(name)?)),
        None => Ok(all),
    }
}

fn ask(
    instance: &Instance,
    method: Method,
    args: &NamedArgs,
    body: Option<&Value>,
) -> Result<Value, CliError> {
    instance.manage(method, &place(instance, Some(&args.name))?, body)
}

fn create(args: &CreateArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.named.instance.folder.folder()?)?;
    let mut body = json!({
        "sku": {"name": "Standard", "capacity": args.capacity},
        "properties": {"model": {"format": "OpenAI", "name": args.model, "version": "1"}},
    });
    if let (Some(policy), Some(properties)) = (args.revocation_policy, body.get_mut("properties")) {
        properties["revocationPolicy"] = json!(policy.name());
    }
    let mut shown = ask(&instance, Method::PUT, &args.named, Some(&body))?;
    let mut waited = Duration::ZERO;
    while text(property_of(&shown), "provisioningState") == "Creating" && waited < limits::COMMAND_MAKING {
        std::thread::sleep(limits::COMMAND_POLL);
        waited += limits::COMMAND_POLL;
        shown = ask(&instance, Method::GET, &args.named, None)?;
    }
    let error = property(&shown, "provisioningError");
    if error.is_object() {
        let (code, message) = (text(error, "code"), text(error, "message"));
        return Err(if code.starts_with("customer_key") {
            CliError::Refused { code, message }
        } else {
            CliError::Answered { code, message }
        });
    }
    print(&[shown], args.named.instance.output)
}

fn property_of(shown: &Value) -> &Value {
    shown.get("properties").unwrap_or(&Value::Null)
}

fn print(deployments: &[Value], output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return table::json(&deployments);
    }
    let mut table = Table::new(&["Deployment", "Model", "State", "Revocation policy"]);
    for deployment in deployments {
        let properties = property_of(deployment);
        table.row([
            text(deployment, "name"),
            text(property(deployment, "model"), "name"),
            text(properties, "provisioningState"),
            text(properties, "revocationPolicy"),
        ]);
    }
    table.print()
}
