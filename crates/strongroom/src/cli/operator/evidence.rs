//! `strongroom evidence`: makes packages, verifies them, shows the key that signs them.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use strongroom_evidence::{Trust, TrustedKey, Verdict};
use strongroom_operator::controls::{CATALOGUE, judge};
use strongroom_operator::facts::Facts;
use strongroom_operator::finding::Judgement;
use strongroom_operator::package::{
    Contents, Home, PackageError, RedactionClass, Redactor, Signer, VaultKey, Written, write,
};
use strongroom_operator::world::World;

use super::CloudArgs;
use super::check::read_design;
use super::gather::{FactsArgs, failed, now_ms};
use crate::cli::output::Printing;
use crate::cli::table;
use crate::cli::{CliError, Failure};
use crate::limits::EVIDENCE_GIVEN_BYTES;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct EvidenceArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    make: MakeArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether a package is what was signed, offline. What can be trusted must be given: nothing in the package counts for that.
    Verify(VerifyArgs),
    /// Show the key that signs this operator's packages, for whoever is to verify them; it is made at first use.
    Key(KeyArgs),
    /// Give a text from a redacted package its names back.
    Reveal(RevealArgs),
}

#[derive(Args, Debug)]
struct MakeArgs {
    #[command(flatten)]
    facts: FactsArgs,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    home: HomeArgs,
    /// Where the package goes: a folder that is not there yet, or a file that ends in `.zip`.
    #[arg(long, value_name = "PACKAGE")]
    to: Option<PathBuf>,
    /// The approved design to hold against what is live.
    #[arg(long, value_name = "FILE")]
    design: Option<PathBuf>,
    /// An EC key in a vault (`https://vault/keys/name`) that signs in the place of the operator's own key.
    #[arg(long, value_name = "URL")]
    signing_key: Option<String>,
    /// What to replace by pseudonyms; may be given again.
    #[arg(long, value_enum, value_name = "CLASS", requires = "map")]
    redact: Vec<Redact>,
    /// A new file for the map from pseudonyms to names. Keep it apart from the package.
    #[arg(long, value_name = "FILE", requires = "redact")]
    map: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct HomeArgs {
    /// The operator's own folder: signing key, evidence log, key of pseudonyms.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./strongroom-operator",
        env = "STRONGROOM_OPERATOR"
    )]
    home: PathBuf,
}

#[derive(Args, Debug)]
struct VerifyArgs {
    /// A folder or a zip.
    package: PathBuf,
    /// A key that may sign, from elsewhere than the package: a verifier key (`name+id+key`), or a file with verifier keys or PEM
    /// public keys; may be given again.
    #[arg(long, value_name = "FILE|KEY")]
    key: Vec<String>,
    /// A checkpoint of the log that was kept earlier: a `checkpoint.txt`, or the note in it.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The `log.txt` of a later package, for a checkpoint that is later than this package.
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    log: Option<PathBuf>,
    #[command(flatten)]
    printing: Printing,
}

#[derive(Args, Debug)]
struct KeyArgs {
    #[command(flatten)]
    home: HomeArgs,
    #[command(flatten)]
    printing: Printing,
}

#[derive(Args, Debug)]
struct RevealArgs {
    /// The map that was written with the package.
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// The text, such as `findings.csv`; without it, what comes on stdin.
    file: Option<PathBuf>,
}

/// What can be replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Redact {
    /// All of the following.
    All,
    /// Ids of subscriptions.
    Subscriptions,
    /// Ids of objects, principals and tenants.
    Objects,
    /// Names of people.
    People,
    /// IP addresses.
    Addresses,
    /// Names of resources.
    Names,
}

impl Redact {
    fn classes(self) -> Vec<RedactionClass> {
        match self {
            Self::All => RedactionClass::ALL.to_vec(),
            Self::Subscriptions => vec![RedactionClass::Subscriptions],
            Self::Objects => vec![RedactionClass::Objects],
            Self::People => vec![RedactionClass::People],
            Self::Addresses => vec![RedactionClass::Addresses],
            Self::Names => vec![RedactionClass::Names],
        }
    }
}

pub(in crate::cli) fn evidence(args: &EvidenceArgs) -> Result<(), CliError> {
    match &args.action {
        None => make(&args.make),
        Some(Action::Verify(args)) => verify(args),
        Some(Action::Key(args)) => show_key(args),
        Some(Action::Reveal(args)) => reveal(args),
    }
}

fn make(args: &MakeArgs) -> Result<(), CliError> {
    args.printing.check()?;
    let to = args.to.as_deref();
    let to = to.ok_or_else(|| CliError::Usage("say where the package goes: --to PACKAGE".to_owned()))?;
    let design = args.design.as_ref().map(read_design).transpose()?;
    if to.symlink_metadata().is_ok() {
        // Before anybody is asked anything.
        return Err(package_failed(&PackageError::Exists(to.to_owned())));
    }
    let home = Home::open(&args.home.home).map_err(|error| package_failed(&error))?;
    let gathered = args.facts.gather(&args.printing)?;
    let facts = &gathered.facts;
    let world = World::read(facts.iter(), design.as_ref()).map_err(|error| failed(&error))?;
    let judgement = judge(&world, facts.run().ended_ms.unwrap_or_else(now_ms));
    drop(world);
    let made = with_signer(args, &home, |signer| {
        write_package(args, to, &home, facts, &judgement, signer)
    })?;
    let (written, key) = made;
    let value = json!({
        "package": to.display().to_string(),
        "manifest": written.manifest,
        "files": written.files,
        "complete": written.is_complete,
        "key": key,
        "checkpoint": written.checkpoint,
    });
    args.printing.print(&value, |_| show_written(&written, &key))
}

/// Signs with the key in the vault, where one is named, else with the operator's own.
fn with_signer<T>(
    args: &MakeArgs,
    home: &Home,
    work: impl FnOnce(&dyn Signer) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let Some(url) = &args.signing_key else {
        return work(home.key());
    };
    let cloud: &CloudArgs = args.facts.cloud();
    let connected = cloud.connect()?;
    let key = VaultKey::find(&connected.asker, connected.runtime.handle(), url);
    work(&key.map_err(|error| package_failed(&error.into()))?)
}

fn write_package(
    args: &MakeArgs,
    to: &Path,
    home: &Home,
    facts: &Facts,
    judgement: &Judgement,
    signer: &dyn Signer,
) -> Result<(Written, String), CliError> {
    let log = home.log().map_err(|error| package_failed(&error))?;
    let key = signer
        .public_key()
        .map_err(|error| package_failed(&error.into()))?;
    let written = match &args.map {
        None => {
            let ids = facts.ids().into_iter();
            let contents = Contents {
                run: facts.run(),
                facts: ids.map(|id| facts.bytes(&id).map(|bytes| (id, bytes))),
                judgement,
                catalogue: &CATALOGUE,
                redaction: None,
            };
            write(to, contents, signer, &log)
        }
        Some(map) => {
            let mut redactor = redactor(args, home, facts)?;
            let renamed = redactor.facts(facts).map_err(|error| failed(&error))?;
            let not_redacted = |_| Failure::Protocol("the judgement cannot be redacted");
            let judgement = redactor.judgement(judgement).map_err(not_redacted)?;
            let run = redactor.run(facts.run()).map_err(not_redacted)?;
            write_map(map, &redactor.map())?;
            let redacted = redactor.redacted();
            let again = renamed.values().map(|id| Ok(redactor.fact(id, &facts.get(id)?)));
            let contents = Contents {
                run: &run,
                facts: again,
                judgement: &judgement,
                catalogue: &CATALOGUE,
                redaction: Some(&redacted),
            };
            write(to, contents, signer, &log)
        }
    };
    Ok((written.map_err(|error| package_failed(&error))?, key.text))
}

fn redactor(args: &MakeArgs, home: &Home, facts: &Facts) -> Result<Redactor, CliError> {
    let classes: Vec<RedactionClass> = args.redact.iter().flat_map(|class| class.classes()).collect();
    let key = home.redaction_key().map_err(|error| package_failed(&error))?;
    let mut redactor = Redactor::new(key, &classes);
    redactor.learn_run(facts.run());
    Ok(redactor)
}

/// The map, for its owner alone; written before the package, which is of no use without it.
fn write_map(path: &Path, map: &Value) -> Result<(), CliError> {
    let text = serde_json::to_vec_pretty(map).map_err(|_| Failure::Protocol("the map cannot be written"))?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .map_err(CliError::io(path.display().to_string()))
}

fn show_written(written: &Written, key: &str) -> Result<(), CliError> {
    table::line(&format!(
        "package     {} ({} files)",
        written.path.display(),
        written.files
    ))?;
    table::line(&format!("manifest    {}", written.manifest))?;
    let complete = if written.is_complete {
        "complete: every question was answered"
    } else {
        "INCOMPLETE: see completeness.json"
    };
    table::line(&format!("            {complete}"))?;
    table::line("Give whoever verifies it this key, by another way than the package:")?;
    table::line(key)?;
    table::line("and keep checkpoint.txt where this machine cannot write.")
}

fn verify(args: &VerifyArgs) -> Result<(), CliError> {
    args.printing.check()?;
    let mut trust = Trust::default();
    for given in &args.key {
        trust.keys.extend(keys(given)?);
    }
    trust.checkpoint = args.checkpoint.as_deref().map(read_given).transpose()?;
    trust.later_log = args.log.as_deref().map(read_given).transpose()?;
    let verdict = strongroom_evidence::verify(&args.package, &trust);
    let verdict = verdict.map_err(|error| Failure::Verify(error.to_string()))?;
    args.printing
        .print(&verdict, |verdict: &Verdict| table::line(&verdict.to_string()))?;
    match (verdict.is_intact(), verdict.is_proven()) {
        (false, _) => Err(CliError::Changed(verdict.defect_count)),
        (true, false) => Err(CliError::NotProven),
        (true, true) => Ok(()),
    }
}

fn keys(given: &str) -> Result<Vec<TrustedKey>, CliError> {
    let path = Path::new(given);
    let text = if path.is_file() {
        read_given(path)?
    } else {
        given.to_owned()
    };
    TrustedKey::parse_all(&text).map_err(|error| CliError::Usage(format!("{given}: {error}")))
}

fn read_given(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let file = File::open(path).map_err(CliError::io(path.display().to_string()))?;
    file.take(EVIDENCE_GIVEN_BYTES)
        .read_to_string(&mut text)
        .map_err(CliError::io(path.display().to_string()))?;
    Ok(text)
}

fn show_key(args: &KeyArgs) -> Result<(), CliError> {
    args.printing.check()?;
    let home = Home::open(&args.home.home).map_err(|error| package_failed(&error))?;
    let key = home
        .key()
        .public_key()
        .map_err(|error| package_failed(&error.into()))?;
    args.printing
        .print(&json!({"key": key.text}), |_| table::line(&key.text))
}

fn reveal(args: &RevealArgs) -> Result<(), CliError> {
    let map: Value = serde_json::from_str(&read_given(&args.map)?)
        .map_err(|_| CliError::Usage(format!("{} is not a map of pseudonyms", args.map.display())))?;
    let mut text = String::new();
    match &args.file {
        Some(file) => {
            let read = File::open(file).and_then(|mut file| file.read_to_string(&mut text));
            read.map_err(CliError::io(file.display().to_string()))?
        }
        None => std::io::stdin()
            .read_to_string(&mut text)
            .map_err(CliError::io("stdin"))?,
    };
    let names = map.get("names").and_then(Value::as_array).into_iter().flatten();
    for entry in names {
        let part = |name: &str| entry.get(name).and_then(Value::as_str);
        if let (Some(pseudonym), Some(name)) = (part("pseudonym"), part("name")) {
            text = text.replace(pseudonym, name);
        }
    }
    table::line(text.trim_end_matches('\n'))
}

fn package_failed(error: &PackageError) -> CliError {
    Failure::Evidence(error.to_string()).into()
}
