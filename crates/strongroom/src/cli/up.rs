//! `strongroom up`: from nothing to a running system, and back in good order.

use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, Failure, UpArgs, table};
use crate::config::{EntraTenant, KeyFetching, Model, Settings, TrainerCommand};
use crate::folder::FolderError;
use crate::harden::{harden, raise_file_limit};
use crate::logs;
use crate::start::{Outside, Running, StartError};

pub(super) fn run(args: &UpArgs) -> Result<(), CliError> {
    let settings = settings(args)?;
    let mistakes = settings.mistakes();
    if !mistakes.is_empty() {
        return Err(CliError::Configuration(mistakes));
    }
    let weaknesses = harden();
    raise_file_limit();
    let folder = settings.folder.clone();
    folder.prepare().map_err(Failure::from)?;
    logs::start(&folder.logs(), args.log_format).map_err(Failure::from)?;
    for weakness in weaknesses {
        tracing::warn!(?weakness, "this system does not give a protection");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::io("threads to run on"))?;
    let outcome = runtime.block_on(serve(settings));
    // What still runs now was given its time already.
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: Settings) -> Result<(), CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::io("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::io("SIGINT"))?;
    let started = tokio::select! {
        started = Running::start(settings, Outside::default()) => started,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let running = match started {
        Err(StartError::Server(crate::ServerError::Folder(FolderError::InUse { folder }))) => {
            return Err(CliError::InUse(folder));
        }
        other => other.map_err(Failure::from)?,
    };
    tracing::info!("ready");
    table::line(&welcome(&running))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: requests in flight finish first; interrupt again to end at once");
    tokio::select! {
        () = running.stop() => tracing::info!("stopped"),
        // Whatever was acknowledged is kept all the same.
        _ = interrupt.recv() => tracing::warn!("ended before requests in flight had finished"),
    }
    Ok(())
}

fn settings(args: &UpArgs) -> Result<Settings, CliError> {
    let program = std::env::current_exe().map_err(CliError::io("the path of this program"))?;
    let mut settings = Settings::new(args.folder.folder()?, program);
    settings.https_port = args.https_port;
    settings.http_port = args.http_port;
    settings.revocation_bound = args.revocation_bound;
    settings.outage_grace = args.outage_grace;
    settings.erase_within = args.erase_within;
    settings.throttling = args.throttling;
    settings.entra = args.entra_tenant.map(|tenant| EntraTenant {
        tenant,
        issuers: args.entra_issuer.clone(),
        audiences: args.entra_audience.clone(),
        jwks_url: args.entra_jwks_url.clone(),
    });
    settings.keys = KeyFetching {
        hosts: args.key_host.clone(),
        roots: args.key_roots.clone(),
    };
    settings.log_sinks = args.log_sink.iter().cloned().collect();
    settings.trainer = (!args.trainer_command.is_empty()).then(|| TrainerCommand {
        command: args.trainer_command.clone(),
        network: args.trainer_network,
        insecure: args.insecure_trainer,
        silence: args.trainer_silence,
    });
    settings.model = match (&args.upstream, &args.model) {
        (Some(url), _) => Model::Upstream {
            url: url.clone(),
            key_file: args.upstream_key_file.clone(),
        },
        (None, Some(folder)) => Model::Folder(folder.clone()),
        (None, None) => Model::RehearsalOnly,
    };
    Ok(settings)
}

/// Where everything is, and a line to try.
fn welcome(running: &Running) -> String {
    let environment = running.environment();
    let value = |name| environment.get(name).unwrap_or_default();
    let root = running.folder().root().display();
    let data = match running.folder().is_default() {
        true => String::new(),
        false => format!(" --data {root}"),
    };
    let base = value("OPENAI_BASE_URL");
    let model = value("STRONGROOM_DEPLOYMENT");
    format!(
        "\
Strongroom is ready.

  OpenAI API        {base}
  Azure OpenAI API  {endpoint}
  Vault             {vault}  key `{key}`
  Account           {account}  deployment `{model}`
  Data, logs        {root}
  Trust             {authority}

Try, in another terminal (`strongroom` is this program):

  eval \"$(strongroom env{data})\"
  curl -s $OPENAI_BASE_URL/chat/completions -H \"Authorization: Bearer $OPENAI_API_KEY\" \\
    -H 'Content-Type: application/json' \\
    -d '{{\"model\":\"{model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"What is a lease?\"}}]}}'
  python3 -c 'import openai; print(openai.OpenAI().files.list().data)'

  strongroom key disable{data}    # and every call above is refused
  strongroom key enable{data}     # and nothing is lost
",
        endpoint = value("AZURE_OPENAI_ENDPOINT"),
        vault = value("STRONGROOM_VAULT_URL"),
        key = value("STRONGROOM_KEY"),
        account = value("STRONGROOM_ACCOUNT"),
        authority = value("SSL_CERT_FILE"),
    )
}
