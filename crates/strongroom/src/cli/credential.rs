//! `strongroom principal credential`, `guest` and `host`: how principals prove who they are.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use strongroom_seal::Clock as _;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::client::Instance;
use super::principal::object_id;
use super::table::{self, Table};
use super::{CliError, Failure, InstanceArgs, Output};
use crate::clock::SystemClock;
use crate::folder::FolderError;

const DAY_SECONDS: u64 = 24 * 3600;

#[derive(Debug, Subcommand)]
pub(super) enum ProofAction {
    /// What a principal proves itself with: secrets, certificates, external issuers.
    Credential(CredentialArgs),
    /// Make an application of another tenant known, so that roles can be assigned to it.
    Guest(GuestArgs),
    /// Let a host ask for tokens of managed identities. Prints what it needs, this once; it counts until the instance stops.
    Host(HostArgs),
}

#[derive(Args, Debug)]
pub(super) struct CredentialArgs {
    #[command(subcommand)]
    action: CredentialAction,
}

#[derive(Debug, Subcommand)]
enum CredentialAction {
    /// Add one.
    #[command(subcommand)]
    Add(AddAction),
    /// All of them; never a secret.
    List(OfArgs),
    /// Take one away: it no longer counts.
    Delete(DeleteArgs),
}

#[derive(Debug, Subcommand)]
enum AddAction {
    /// A secret, made here and shown this once.
    Secret(SecretArgs),
    /// A certificate in PEM whose RSA key signs the client's assertions; a private key in the file is passed over.
    Certificate(CertificateArgs),
    /// An external issuer that vouches for the client (workload identity federation).
    Federated(FederatedArgs),
}

#[derive(Args, Debug)]
struct OfArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The principal: object id, client id, name to sign in with or display name.
    #[arg(long)]
    id: String,
}

#[derive(Args, Debug)]
struct NamedArgs {
    #[command(flatten)]
    of: OfArgs,
    /// A name for the credential, for people.
    #[arg(long)]
    display_name: Option<String>,
}

#[derive(Args, Debug)]
struct SecretArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// In how many days it ends; never, if left out.
    #[arg(long)]
    days: Option<u32>,
}

#[derive(Args, Debug)]
struct CertificateArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// The file.
    #[arg(long, value_name = "PEM")]
    file: PathBuf,
}

#[derive(Args, Debug)]
struct FederatedArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// The issuer, to the letter.
    #[arg(long)]
    issuer: String,
    /// The subject, to the letter.
    #[arg(long)]
    subject: String,
    /// The audience, to the letter; `api://AzureADTokenExchange` if left out.
    #[arg(long)]
    audience: Option<String>,
    /// A file with the issuer's keys, as it publishes them.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "jwks_url",
        conflicts_with = "jwks_url"
    )]
    jwks_file: Option<PathBuf>,
    /// Where the issuer publishes its keys; the host must have been allowed by `up --key-host`.
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,
}

#[derive(Args, Debug)]
struct DeleteArgs {
    #[command(flatten)]
    of: OfArgs,
    /// The credential's id.
    #[arg(long)]
    credential: Uuid,
}

#[derive(Args, Debug)]
pub(super) struct GuestArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The name, for people.
    #[arg(long)]
    display_name: String,
    /// The tenant that it belongs to.
    #[arg(long)]
    tenant: Uuid,
    /// The object id of its service principal there, which its tokens name.
    #[arg(long)]
    object_id: Uuid,
    /// Its application (client) id.
    #[arg(long)]
    client_id: Uuid,
}

#[derive(Args, Debug)]
pub(super) struct HostArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The object id of the host's own identity.
    #[arg(long, required_unless_present = "user_assigned")]
    system_assigned: Option<Uuid>,
    /// The object id of another identity that is assigned to it; may be given again.
    #[arg(long)]
    user_assigned: Vec<Uuid>,
}

pub(super) fn run(action: &ProofAction) -> Result<(), CliError> {
    match action {
        ProofAction::Credential(args) => credential(&args.action),
        ProofAction::Guest(args) => guest(args),
        ProofAction::Host(args) => host(args),
    }
}

fn credential(action: &CredentialAction) -> Result<(), CliError> {
    match action {
        CredentialAction::Add(AddAction::Secret(args)) => add_secret(args),
        CredentialAction::Add(AddAction::Certificate(args)) => {
            let pem = read(&args.file)?;
            let body =
                json!({"kind": "certificate", "displayName": args.named.display_name, "pem": pem.as_str()});
            add_and_show(&args.named.of, &body, &["id", "thumbprint"])
        }
        CredentialAction::Add(AddAction::Federated(args)) => add_federated(args),
        CredentialAction::List(args) => list(args),
        CredentialAction::Delete(args) => {
            let instance = Instance::find(args.of.instance.folder.folder()?)?;
            let id = object_id(&instance, &args.of.id)?;
            let path = format!("principals/{id}/credentials/{}", args.credential);
            let answer = instance.admin(Method::DELETE, &path, None)?;
            if args.of.instance.output == Output::Json {
                return table::json(&answer);
            }
            let removed = answer.get("removed").and_then(Value::as_bool) == Some(true);
            table::line(if removed {
                "removed"
            } else {
                "there was no such credential"
            })
        }
    }
}

fn add_secret(args: &SecretArgs) -> Result<(), CliError> {
    let now = SystemClock.now().wall.as_secs();
    let expires = args
        .days
        .map(|days| now.saturating_add(DAY_SECONDS.saturating_mul(days.into())));
    let body = json!({"kind": "secret", "displayName": args.named.display_name, "expires": expires});
    add_and_show(&args.named.of, &body, &["id", "secret"])
}

fn add_federated(args: &FederatedArgs) -> Result<(), CliError> {
    let keys = args.jwks_file.as_deref().map(|file| {
        let wrong = || CliError::Configuration(vec![format!("{} is no set of keys", file.display())]);
        serde_json::from_str::<Value>(&read(file)?).map_err(|_| wrong())
    });
    let body = json!({
        "kind": "federated",
        "displayName": args.named.display_name,
        "issuer": args.issuer,
        "subject": args.subject,
        "audience": args.audience,
        "jwks": keys.transpose()?,
        "jwksUrl": args.jwks_url,
    });
    add_and_show(&args.named.of, &body, &["id", "audience"])
}

/// Adds a credential to the principal with this object id.
pub(super) fn add(instance: &Instance, id: &str, body: &Value) -> Result<Value, CliError> {
    instance.admin(Method::POST, &format!("principals/{id}/credentials"), Some(body))
}

/// Adds a credential and shows what the answer says of it.
fn add_and_show(of: &OfArgs, body: &Value, shown: &[&'static str]) -> Result<(), CliError> {
    let instance = Instance::find(of.instance.folder.folder()?)?;
    let answer = add(&instance, &object_id(&instance, &of.id)?, body)?;
    if of.instance.output == Output::Json {
        return table::json(&answer);
    }
    for name in shown {
        table::line(&format!("{name:<12}{}", text(&answer, name)))?;
    }
    Ok(())
}

fn list(args: &OfArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.instance.folder.folder()?)?;
    let path = format!("principals/{}/credentials", object_id(&instance, &args.id)?);
    let answer = instance.admin(Method::GET, &path, None)?;
    let known = answer.get("value").and_then(Value::as_array);
    let known = known.ok_or(Failure::Protocol("a list of credentials without `value`"))?;
    if args.instance.output == Output::Json {
        return table::json(known);
    }
    let mut table = Table::new(&["Credential", "Kind", "Name", "What", "Ends"]);
    for row in known {
        let what = match text(row, "kind").as_str() {
            "secret" => format!("{}…", text(row, "hint")),
            "certificate" => text(row, "thumbprint"),
            _ => format!("{} · {}", text(row, "issuer"), text(row, "subject")),
        };
        let ends = table::time(row.get("expires").and_then(Value::as_i64));
        table.row([
            text(row, "id"),
            text(row, "kind"),
            text(row, "displayName"),
            what,
            ends,
        ]);
    }
    table.print()
}

fn guest(args: &GuestArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.instance.folder.folder()?)?;
    let body = json!({
        "displayName": args.display_name,
        "tenant": args.tenant,
        "objectId": args.object_id,
        "clientId": args.client_id,
    });
    let made = instance.admin(Method::POST, "guests", Some(&body))?;
    if args.instance.output == Output::Json {
        return table::json(&made);
    }
    table::line(&format!(
        "{} is known as {}",
        text(&made, "displayName"),
        text(&made, "id")
    ))
}

fn host(args: &HostArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.instance.folder.folder()?)?;
    let body = json!({"systemAssigned": args.system_assigned, "userAssigned": args.user_assigned});
    let made = instance.admin(Method::POST, "identity-hosts", Some(&body))?;
    if args.instance.output == Output::Json {
        return table::json(&made);
    }
    for (variable, name) in [
        ("IDENTITY_ENDPOINT", "endpoint"),
        ("IDENTITY_HEADER", "header"),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "machine"),
    ] {
        table::line(&format!("export {variable}='{}'", text(&made, name)))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<Zeroizing<String>, CliError> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|cause| Failure::from(FolderError::at(file, cause)))?;
    Ok(Zeroizing::new(text))
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or("-").to_owned()
}
