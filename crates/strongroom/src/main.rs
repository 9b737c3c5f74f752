//! The program's entry: read the command line, do it, end with its exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use strongroom::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is closed, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "strongroom: {error}");
            error.exit_code()
        }
    }
}
