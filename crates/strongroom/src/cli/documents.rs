//! `strongroom completion` and `strongroom man`: documents made of the command line's own definition.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, CliError, table};

pub(super) const COMPLETION: &str = "  \
  strongroom completion bash > ~/.local/share/bash-completion/completions/strongroom
  strongroom completion zsh > ~/.zfunc/_strongroom
  strongroom completion fish > ~/.config/fish/completions/strongroom.fish";

pub(super) const MAN: &str = "  \
  strongroom man | man -l -
  strongroom man --to /usr/local/share/man/man1";

#[derive(Args, Debug)]
pub(super) struct CompletionArgs {
    /// The shell.
    shell: Shell,
}

#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// A folder for one page a command; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(super) fn completion(args: &CompletionArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "strongroom", &mut script);
    table::line(String::from_utf8_lossy(&script).trim_end())
}

pub(super) fn man(args: &ManArgs) -> Result<(), CliError> {
    if let Some(folder) = &args.to {
        let failed = || CliError::io(folder.display().to_string());
        std::fs::create_dir_all(folder).map_err(failed())?;
        return clap_mangen::generate_to(Cli::command(), folder).map_err(failed());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(CliError::io("the page"))?;
    table::line(String::from_utf8_lossy(&page).trim_end())
}
