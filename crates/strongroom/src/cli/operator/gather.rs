//! From a cloud, or from a folder of an earlier run, to facts.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use strongroom_operator::collect::{Recorder, Scope, collect, stored_bytes};
use strongroom_operator::facts::{Facts, FactsError};
use strongroom_operator::run::{Caller, Run};
use strongroom_seal::Clock as _;

use super::CloudArgs;
use super::connect::Connected;
use super::progress::Progress;
use crate::cli::output::Printing;
use crate::cli::{CliError, Failure, verify};
use crate::clock::SystemClock;
use crate::folder::DataFolder;

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct FactsArgs {
    #[command(flatten)]
    cloud: CloudArgs,
    /// An account, by its name or ARM id; may be given again. Without it, all of them.
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<String>,
    /// A folder for what is read. If it holds a run that was interrupted, that goes on; if it holds one that has ended, nothing is
    /// asked and that one is taken. Without it, what is read is gone afterwards.
    #[arg(long, value_name = "DIR")]
    facts: Option<PathBuf>,
    /// A folder with vaults' audit events, as diagnostic settings write them to storage. On a data folder, its own.
    #[arg(long, value_name = "DIR")]
    audit_logs: Option<PathBuf>,
}

/// Facts, and the folder that goes with them if it was only lent.
pub(in crate::cli) struct Gathered {
    pub(in crate::cli) facts: Facts,
    _lent: Option<Lent>,
}

impl FactsArgs {
    /// The cloud that is asked.
    pub(in crate::cli) fn cloud(&self) -> &CloudArgs {
        &self.cloud
    }

    /// The facts of an earlier run, or of one that is made now.
    pub(in crate::cli) fn gather(&self, printing: &Printing) -> Result<Gathered, CliError> {
        if let Some(folder) = &self.facts {
            match Facts::open(folder) {
                Ok(facts) if facts.run().ended_ms.is_some() => return Ok(Gathered { facts, _lent: None }),
                Ok(_) | Err(FactsError::NoRun(_)) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        let lent = match self.facts {
            Some(_) => None,
            None => Some(Lent::new()?),
        };
        let folder = self
            .facts
            .as_deref()
            .or(lent.as_ref().map(|lent| lent.0.as_path()));
        let facts = self.collect(folder.unwrap_or(Path::new(".")), printing)?;
        Ok(Gathered { facts, _lent: lent })
    }

    fn collect(&self, folder: &Path, printing: &Printing) -> Result<Facts, CliError> {
        let connected = self.cloud.connect()?;
        let asker = &connected.asker;
        let scope = Scope {
            subscriptions: connected.subscriptions.clone(),
            accounts: self.account.clone(),
            audit_logs: self.audit_logs.clone().or_else(|| own_logs(&connected)),
        };
        let recorder = Recorder::begin(folder, run(&connected), &scope).map_err(|error| failed(&error))?;
        let progress = Progress::of(asker.tally(), printing.is_talkative());
        let done = connected.runtime.block_on(collect(asker, &recorder, &scope));
        done.map_err(|error| failed(&error))?;
        if let Some(data) = &connected.local {
            stored_bytes(asker, &recorder, stored(data)).map_err(|error| failed(&error))?;
        }
        drop(progress);
        recorder
            .finish(now_ms(), asker.tally().count())
            .map_err(|error| failed(&error))
    }
}

/// Where the local instance's logs lie, if any diagnostic setting has brought some.
fn own_logs(connected: &Connected) -> Option<PathBuf> {
    let folder = connected.local.as_ref()?.diagnostics();
    folder.is_dir().then_some(folder)
}

/// What `verify` says of the stored bytes: with keys; without them, where the vault does not let them be used.
fn stored(data: &DataFolder) -> Result<Vec<u8>, String> {
    let told = |error: CliError| error.to_string();
    let report = match verify::report(data.clone(), false) {
        Ok((report, None)) => report,
        _ => verify::report(data.clone(), true).map_err(told)?.0,
    };
    serde_json::to_vec(&report).map_err(|error| error.to_string())
}

fn run(connected: &Connected) -> Run {
    let claims = connected.asker.claims();
    Run {
        tool: format!("strongroom {}", env!("CARGO_PKG_VERSION")),
        started_ms: now_ms(),
        ended_ms: None,
        cloud: connected.asker.cloud().name().to_owned(),
        tenant: claims.tenant.clone().unwrap_or_default(),
        subscriptions: connected.subscriptions.clone(),
        scope: Vec::new(),
        caller: Caller {
            object_id: claims.object_id.clone(),
            application_id: claims.application_id.clone(),
            credential: connected.asker.credential().kind().to_string(),
        },
        clock: "the asking machine's; each answer's offset is as its Date header tells, to the second"
            .to_owned(),
        sent: 0,
        repeated: 0,
        asked: Vec::new(),
    }
}

pub(in crate::cli) fn now_ms() -> u64 {
    u64::try_from(SystemClock.now().wall.as_millis()).unwrap_or(u64::MAX)
}

pub(in crate::cli) fn failed(error: &dyn std::error::Error) -> CliError {
    Failure::Cloud(error.to_string()).into()
}

/// A folder that goes when it is no longer needed.
struct Lent(PathBuf);

impl Lent {
    fn new() -> Result<Self, CliError> {
        let path = std::env::temp_dir().join(format!("strongroom-facts-{}", uuid::Uuid::new_v4()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(CliError::io(path.display().to_string()))?;
        Ok(Self(path))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // What is left in the system's folder for temporary files is the system's to sweep.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
