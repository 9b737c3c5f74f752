//! The command line.

mod account;
mod client;
mod credential;
mod deployment;
mod documents;
mod exit;
mod export;
mod jobs;
mod key;
mod model;
mod operator;
mod output;
mod principal;
mod role;
mod rotation;
mod shell;
mod status;
mod table;
mod token_key;
mod up;
mod vault;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use strongroom_control::LogSink;
use strongroom_vault::Throttling;

use crate::folder::DataFolder;
use crate::logs::LogFormat;

pub use exit::{CliError, EXIT_CODES, Failure};

/// Customer-managed keys for an OpenAI-compatible AI service.
#[derive(Debug, Parser)]
#[command(name = "strongroom", version, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole system on this machine: vault, control plane and sealed service.
    #[command(after_help = EXIT_CODES)]
    Up(UpArgs),
    /// The customer key: list its versions, turn it off and on, rotate it.
    #[command(after_help = EXIT_CODES)]
    Key(KeyArgs),
    /// Vaults: make, change, delete, recover and purge them; their access policies and firewalls.
    #[command(after_help = EXIT_CODES)]
    Vault(vault::VaultArgs),
    /// Who may do what: role assignments and role definitions.
    #[command(after_help = EXIT_CODES)]
    Role(role::RoleArgs),
    /// Who there is: applications, users, groups and user-assigned identities.
    #[command(after_help = EXIT_CODES)]
    Principal(principal::PrincipalArgs),
    /// Who is in a group.
    #[command(after_help = EXIT_CODES)]
    Group(principal::GroupArgs),
    /// The AI service's account: its two keys, its identities, and whether keys count at all.
    #[command(after_help = EXIT_CODES)]
    Account(account::AccountArgs),
    /// Fine-tuned models: bring weights, list, show, shred.
    #[command(after_help = EXIT_CODES)]
    Model(model::ModelArgs),
    /// Deployments: which model is served under which name, and what a revoked key means for it.
    #[command(after_help = EXIT_CODES)]
    Deployment(deployment::DeploymentArgs),
    /// The keys that sign tokens: list them, let the next one sign.
    #[command(after_help = EXIT_CODES)]
    TokenKey(token_key::TokenKeyArgs),
    /// Account, customer key, lease, and what is sealed under which key version.
    #[command(after_help = EXIT_CODES)]
    Status(StatusArgs),
    /// Walk every byte that the service stored and say what it is.
    #[command(after_help = EXIT_CODES)]
    Verify(VerifyArgs),
    /// Hand out one object with its own key, so that Google Tink opens it. Journalled and counted: the copy
    /// outlives a revocation.
    #[command(after_help = EXIT_CODES)]
    Export(ExportArgs),
    /// Make a new branch key and rewrap every object key under it, in the background.
    #[command(after_help = EXIT_CODES)]
    Rekey(InstanceArgs),
    /// Background jobs of all kinds and how far they are; follow them, cancel, hold or resume one.
    #[command(after_help = EXIT_CODES)]
    Jobs(jobs::JobsArgs),
    /// Print what a shell needs, as `export` lines (the file DIR/env). It holds secrets.
    #[command(after_help = EXIT_CODES)]
    Env(FolderArgs),
    /// Open a shell with that environment; `az`, where installed, is registered and logged in.
    #[command(after_help = EXIT_CODES)]
    Shell(FolderArgs),
    /// Who asks, and what it may read of the cloud: tried by harmless reads, before anything else is trusted.
    #[command(after_help = help(operator::WHOAMI))]
    Whoami(operator::WhoAmIArgs),
    /// Follow each account's key: account, key, version, identity, grant, vault, network; judge every control, and say where it
    /// breaks. Reads only.
    #[command(after_help = help(operator::CHECK))]
    Check(operator::CheckArgs),
    /// The approved design, `strongroom.yaml`: write it from what is live, hold it against what is live. Changes nothing there.
    #[command(after_help = help(operator::DESIGN))]
    Design(operator::DesignArgs),
    /// Make a signed package of what was read and judged, for an auditor; or verify one, offline.
    #[command(after_help = help(operator::EVIDENCE))]
    Evidence(operator::EvidenceArgs),
    /// A script that completes this program's commands in a shell.
    #[command(after_help = help(documents::COMPLETION))]
    Completion(documents::CompletionArgs),
    /// Man pages: the program's on stdout, or all of them in a folder.
    #[command(after_help = help(documents::MAN))]
    Man(documents::ManArgs),
    /// The process that runs a built-in model; started by the service.
    #[command(hide = true)]
    Worker,
    /// The process that trains a model, or confines one that does; started by the service.
    #[command(hide = true)]
    Trainer {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
}

#[derive(Args, Clone, Debug)]
struct FolderArgs {
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = crate::folder::DEFAULT, env = "STRONGROOM_DATA")]
    data: PathBuf,
}

impl FolderArgs {
    fn folder(&self) -> Result<DataFolder, CliError> {
        DataFolder::at(&self.data).map_err(|error| Failure::from(error).into())
    }
}

#[derive(Args, Clone, Debug)]
struct InstanceArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// How to print.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Args, Debug)]
struct StatusArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The account to show in full; the instance's own, if left out.
    #[arg(long)]
    account: Option<String>,
}

/// How a command prints.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

#[derive(Args, Debug)]
struct UpArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Port of the HTTPS listener on 127.0.0.1; 0 picks a free one.
    #[arg(long, default_value_t = 8443)]
    https_port: u16,
    /// Port of the plain listener on 127.0.0.1; 0 picks a free one.
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// An OpenAI-compatible model server; its models are deployed under their own names.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// A file that holds the upstream's API key.
    #[arg(long, value_name = "FILE", requires = "upstream")]
    upstream_key_file: Option<PathBuf>,
    /// A local folder with a Hugging Face model of the Llama or Qwen2 family, deployed under the folder's name.
    #[arg(long, value_name = "DIR", conflicts_with = "upstream")]
    model: Option<PathBuf>,
    /// How long after the vault's last yes the key may be used: 1s to 1h.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    revocation_bound: Duration,
    /// How long a silent vault is put up with, from its last yes; 0 for not at all.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    outage_grace: Duration,
    /// Deleted content is erased from the live store within this time: 1s to 24h.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    erase_within: Duration,
    /// How much may be asked of each vault: off, or one of the two tables that Azure has published, named by its number of
    /// operations on RSA-2048 keys in ten seconds: 2000 (the older one) or 4000.
    #[arg(long, value_name = "LIMITS", default_value = "off", value_parser = throttling)]
    throttling: Throttling,
    /// A tenant of Microsoft Entra whose tokens count too; its applications are made known by `principal guest`.
    #[arg(long, value_name = "GUID", requires = "entra_audience")]
    entra_tenant: Option<uuid::Uuid>,
    /// An audience for which that tenant's tokens count; may be given again.
    #[arg(long, value_name = "AUDIENCE", requires = "entra_tenant")]
    entra_audience: Vec<String>,
    /// A name of that tenant's issuer, to the letter, in place of the public cloud's two; may be given again.
    #[arg(long, value_name = "ISSUER", requires = "entra_tenant")]
    entra_issuer: Vec<String>,
    /// Where that tenant publishes its keys, in place of the public cloud's place.
    #[arg(long, value_name = "URL", requires = "entra_tenant")]
    entra_jwks_url: Option<String>,
    /// A host (`host` or `host:port`) from which keys of federated credentials may be fetched; may be given again.
    #[arg(long, value_name = "HOST")]
    key_host: Vec<String>,
    /// A file with the certificates that alone are trusted where keys are fetched; without it, the system's.
    #[arg(long, value_name = "FILE")]
    key_roots: Option<PathBuf>,
    /// Where the logs for a workspace, storage account or event hub go that diagnostic settings name: its id, `=`, and a folder or
    /// an https URL; may be given again. Any other goes to a folder of its own under `diagnostics/`.
    #[arg(long, value_name = "ID=WHERE", value_parser = LogSink::parse)]
    log_sink: Vec<(String, LogSink)>,
    /// A program that trains models in place of the built-in trainer, and its arguments: all that follows on the command line. It
    /// runs in a cage where every disk is read-only.
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    trainer_command: Vec<OsString>,
    /// Let that program use the network.
    #[arg(long, requires = "trainer_command")]
    trainer_network: bool,
    /// How long that program may be silent before it is killed.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    trainer_silence: Duration,
    /// Run that program without a cage: it may then leave plaintext anywhere.
    #[arg(long, requires = "trainer_command")]
    insecure_trainer: bool,
    /// How stderr looks; `logs/` always has JSON.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

#[derive(Args, Debug)]
struct KeyArgs {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// Versions of the customer key.
    List(InstanceArgs),
    /// Turn the customer key off: the service goes blind within the revocation bound.
    Disable(KeyVersionArgs),
    /// Turn it on again.
    Enable(KeyVersionArgs),
    /// Make a new version; the service moves to it without touching the data.
    Rotate(InstanceArgs),
}

#[derive(Args, Debug)]
struct KeyVersionArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// One version instead of all of them.
    #[arg(long)]
    key_version: Option<String>,
}

#[derive(Args, Debug)]
struct VerifyArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Without any key, over storage alone: says what everything is, opens nothing.
    #[arg(long)]
    blind: bool,
}

#[derive(Args, Debug)]
struct ExportArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// The kind of object, such as `file`.
    kind: String,
    /// Its id.
    id: String,
    /// Which of its blobs.
    #[arg(long, default_value_t = 0)]
    part: u32,
    /// A new folder for `keyset.json`, `associated_data.bin` and `sealed.bin`.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

impl Cli {
    /// Does what the command line asks.
    pub fn run(self) -> Result<(), CliError> {
        match self.command {
            Command::Up(args) => up::run(&args),
            Command::Key(args) => key::run(&args.action),
            Command::Vault(args) => vault::run(&args),
            Command::Role(args) => role::run(&args),
            Command::Principal(args) => principal::run(&args),
            Command::Group(args) => principal::run_group(&args),
            Command::Account(args) => account::run(&args),
            Command::Model(args) => model::run(&args),
            Command::Deployment(args) => deployment::run(&args),
            Command::TokenKey(args) => token_key::run(&args),
            Command::Status(args) => status::run(&args),
            Command::Verify(args) => verify::run(&args),
            Command::Export(args) => export::run(&args),
            Command::Rekey(args) => rotation::rekey(&args),
            Command::Jobs(args) => jobs::jobs(&args),
            Command::Env(args) => shell::env(&args),
            Command::Shell(args) => shell::shell(&args),
            Command::Whoami(args) => operator::whoami(&args),
            Command::Check(args) => operator::check(&args),
            Command::Design(args) => operator::design(&args),
            Command::Evidence(args) => operator::evidence(&args),
            Command::Completion(args) => documents::completion(&args),
            Command::Man(args) => documents::man(&args),
            Command::Worker => worker(),
            Command::Trainer { rest } => trainer(rest),
        }
    }
}

/// A command's examples and the exit codes.
fn help(examples: &str) -> String {
    format!("Examples:\n{examples}\n\n{EXIT_CODES}")
}

fn worker() -> Result<(), CliError> {
    strongroom_models::worker_main();
    Ok(())
}

fn trainer(rest: Vec<OsString>) -> Result<(), CliError> {
    match strongroom_models::trainer_main(rest) {
        0 => Ok(()),
        // The cage ends with its program's code.
        code => std::process::exit(code.into()),
    }
}

/// `10s`, `1500ms`, `5m`, `1h`, or plain seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("`{text}` is not a duration such as 10s, 5m or 1h");
    let number: u32 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "" | "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_secs(u64::from(number) * 60)),
        "h" => Ok(Duration::from_secs(u64::from(number) * 3600)),
        _ => Err(wrong()),
    }
}

/// `off`, `2000` or `4000`.
fn throttling(text: &str) -> Result<Throttling, String> {
    Throttling::from_name(text).ok_or_else(|| format!("`{text}` is none of off, 2000 and 4000"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "s", "1d", "-1s", "1.5s", "1 s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
