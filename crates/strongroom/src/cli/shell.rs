//! `strongroom env` and `strongroom shell`.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::client::Instance;
use super::{CliError, FolderArgs, table};
use crate::env::Environment;

pub(super) fn env(args: &FolderArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.folder()?)?;
    register_az(instance.environment());
    let path = args.folder()?.env_file();
    let text = std::fs::read_to_string(&path).map_err(CliError::io(path.display().to_string()))?;
    drop(instance);
    table::line(Zeroizing::new(text).trim_end())
}

pub(super) fn shell(args: &FolderArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.folder()?)?;
    let environment = instance.environment();
    register_az(environment);
    let program = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut shell = Command::new(&program);
    shell.envs(environment.iter());
    // Replaces this process; comes back only when it could not.
    let cause = shell.exec();
    Err(CliError::io(program.display().to_string())(cause))
}

/// Whether `az` knows this instance already, where it is now and by the administrator's present secret.
fn is_known_to_az(environment: &Environment) -> bool {
    let value = |name| environment.get(name).unwrap_or_default();
    let authority = value("AZURE_AUTHORITY_HOST").trim_end_matches('/');
    az_file(environment, "clouds.config").contains(&format!("endpoint_resource_manager = {authority}/\n"))
        && az_file(environment, "service_principal_entries.json").contains(value("AZURE_CLIENT_SECRET"))
}

/// A file of `az`'s own; empty if there is none.
fn az_file(environment: &Environment, name: &str) -> Zeroizing<String> {
    let folder = Path::new(environment.get("AZURE_CONFIG_DIR").unwrap_or_default());
    Zeroizing::new(std::fs::read_to_string(folder.join(name)).unwrap_or_default())
}

/// Makes `az`, where it is installed, know this instance. It keeps its settings in a folder of this
/// instance's own, so nothing of the user's is touched. Whether or not this works, the command goes on.
fn register_az(environment: &Environment) {
    if is_known_to_az(environment) {
        return;
    }
    let value = |name| environment.get(name).unwrap_or_default();
    let authority = value("AZURE_AUTHORITY_HOST").trim_end_matches('/');
    // It refuses to register a name twice; where an instance is can change with every start.
    let known = az_file(environment, "clouds.config").contains("[Strongroom]");
    let verb = if known { "update" } else { "register" };
    let resources = format!("{authority}/");
    // An origin of its own: `az rest` chooses the token by it.
    let graph = format!("{}/", authority.replacen("://", "://graph.", 1));
    let register = [
        ["cloud", verb, "-n", "Strongroom", "--skip-endpoint-discovery"].as_slice(),
        &[
            "--endpoint-resource-manager",
            &resources,
            "--endpoint-active-directory",
            authority,
        ],
        &[
            "--endpoint-active-directory-resource-id",
            "https://management.core.windows.net/",
        ],
        &["--endpoint-microsoft-graph-resource-id", &graph],
        &["--endpoint-active-directory-graph-resource-id", &graph],
        &["--suffix-keyvault-dns", ".vault.localhost"],
    ]
    .concat();
    let (client, tenant) = (value("AZURE_CLIENT_ID"), value("AZURE_TENANT_ID"));
    let steps = [
        register,
        vec![
            "config",
            "set",
            "core.instance_discovery=false",
            "core.collect_telemetry=false",
        ],
        vec!["cloud", "set", "-n", "Strongroom"],
        // Tokens that it keeps may name an issuer at the port of before.
        vec!["account", "clear"],
        vec![
            "login",
            "--service-principal",
            "-u",
            client,
            "-p",
            value("AZURE_CLIENT_SECRET"),
            "--tenant",
            tenant,
        ],
    ];
    for step in steps {
        let outcome = Command::new("az")
            .args(step)
            .arg("--only-show-errors")
            .envs(environment.iter())
            .stdout(Stdio::null())
            .status();
        if outcome.is_err() {
            return;
        }
    }
}
