//! `strongroom design`: the approved design, written from what is live and held against it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use strongroom_operator::design::{Difference, Live};

use super::check::read_design;
use super::gather::{FactsArgs, failed};
use crate::cli::output::Printing;
use crate::cli::table::{self, Table};
use crate::cli::{CliError, Failure};

#[derive(Args, Debug)]
pub(in crate::cli) struct DesignArgs {
    #[command(subcommand)]
    action: DesignAction,
}

#[derive(Debug, Subcommand)]
enum DesignAction {
    /// Write a design that approves what is live. What it cannot know (owners without a tag, drill targets) is left out.
    Init(InitArgs),
    /// What is live that was not approved, and what was approved that is not live. Exit code 5 if there is anything.
    Diff(DiffArgs),
    /// Read a design and say everything that is wrong with it, each with its line. Asks nobody.
    Validate(ValidateArgs),
}

#[derive(Args, Debug)]
struct InitArgs {
    #[command(flatten)]
    facts: FactsArgs,
    #[command(flatten)]
    printing: Printing,
    /// A new file; without it, stdout.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct DiffArgs {
    #[command(flatten)]
    facts: FactsArgs,
    #[command(flatten)]
    printing: Printing,
    /// The design.
    #[arg(long, value_name = "FILE", default_value = "strongroom.yaml")]
    design: PathBuf,
}

#[derive(Args, Debug)]
struct ValidateArgs {
    /// The design.
    #[arg(value_name = "FILE", default_value = "strongroom.yaml")]
    design: PathBuf,
}

pub(in crate::cli) fn design(args: &DesignArgs) -> Result<(), CliError> {
    match &args.action {
        DesignAction::Init(args) => init(args),
        DesignAction::Diff(args) => diff(args),
        DesignAction::Validate(args) => validate(args),
    }
}

fn init(args: &InitArgs) -> Result<(), CliError> {
    args.printing.check()?;
    let live = live(&args.facts, &args.printing)?;
    for account in live.without_key() {
        args.printing.warn(&format!(
            "{account} names no customer key: the design leaves it out"
        ));
    }
    let design = live.design();
    let text = design.to_yaml();
    let Some(file) = &args.to else {
        return args.printing.print(&design, |_| table::line(text.trim_end()));
    };
    // Never over a file that somebody approved.
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut to| to.write_all(text.as_bytes()));
    written.map_err(CliError::io(file.display().to_string()))
}

fn diff(args: &DiffArgs) -> Result<(), CliError> {
    args.printing.check()?;
    let design = read_design(&args.design)?;
    let differences = live(&args.facts, &args.printing)?.differences(&design);
    args.printing.print(&differences, |all| show(all))?;
    match differences.len() {
        0 => Ok(()),
        count => Err(CliError::Drift(count)),
    }
}

fn validate(args: &ValidateArgs) -> Result<(), CliError> {
    let design = read_design(&args.design)?;
    let (accounts, exceptions) = (design.accounts.len(), design.exceptions.len());
    table::line(&format!("{accounts} accounts, {exceptions} exceptions"))
}

/// What is live; without accounts and vaults nothing can be said.
fn live(facts: &FactsArgs, printing: &Printing) -> Result<Live, CliError> {
    let gathered = facts.gather(printing)?;
    let live = Live::read(gathered.facts.iter()).map_err(|error| failed(&error))?;
    match live.unread() {
        [] => Ok(live),
        [first, ..] => {
            let what = format!(
                "what is live could not be read: {first}; `strongroom whoami` shows what may be read"
            );
            Err(Failure::Cloud(what).into())
        }
    }
}

fn show(differences: &[Difference]) -> Result<(), CliError> {
    if differences.is_empty() {
        return table::line("all is as it was approved");
    }
    let mut rows = Table::new(&["Resource", "What", "Approved", "Live"]);
    for one in differences {
        let dash = |text: &str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.to_owned()
            }
        };
        rows.row([
            one.resource.clone(),
            one.what.clone(),
            dash(&one.approved),
            dash(&one.live),
        ]);
    }
    rows.print()
}
