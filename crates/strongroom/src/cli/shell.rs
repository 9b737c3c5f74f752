//! `strongroom env` and `strongroom shell`.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::client::Instance;
use super::{CliError, FolderArgs, table};
use crate::env::Environment;

pub(super) fn env(args: &FolderArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.folder()?)?;
    let path = args.folder()?.env_file();
    let text = std::fs::read_to_string(&path).map_err(CliError::io(path.display().to_string()))?;
    drop(instance);
    table::line(zeroize::Zeroizing::new(text).trim_end())
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

/// Makes `az`, where it is installed, know this instance. It keeps its settings in a folder of this
/// instance's own, so nothing of the user's is touched. The shell opens whether or not this works.
fn register_az(environment: &Environment) {
    let value = |name| environment.get(name).unwrap_or_default();
    let authority = value("AZURE_AUTHORITY_HOST").trim_end_matches('/');
    let resources = format!("{authority}/");
    // An origin of its own: `az rest` chooses the token by it.
    let graph = format!("{}/", authority.replacen("://", "://graph.", 1));
    let register = [
        [
            "cloud",
            "register",
            "-n",
            "Strongroom",
            "--skip-endpoint-discovery",
        ]
        .as_slice(),
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
            .envs(environment.iter())
            .stdout(Stdio::null())
            .status();
        if outcome.is_err() {
            return;
        }
    }
}
