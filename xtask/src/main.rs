//! Developer commands. `cargo xtask test` runs everything that must pass before a change lands.

mod bench;
mod clients;
mod fuzz;
mod run;
mod tidy;
mod vectors;

use std::process::ExitCode;

use run::{Outcome, Step};

const USAGE: &str = "\
usage: cargo xtask <command>

  test          everything that must pass: format, lints, tidy, dependencies, unit and end to end, vectors, fuzz, real clients
  tidy          the shape of the house: edges between crates, sizes, documents, exposed secrets, no unsealed switch
  deny          licences, sources, duplicate versions and who may use what (installs cargo-deny under target/)
  clients [SUITE ...]
                the official clients against a running `strongroom up` (makes its own virtual environments); suites are folders
                under clients/
  fuzz [SECS]   each fuzz target for SECS seconds (default 5)
  vectors       writes the test vectors anew
  train-rehearsal
                trains the rehearsal model anew from its corpus (minutes on one core)
  bench-report  runs the benches in release and writes docs/performance.md
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let outcome = match command.as_str() {
        "test" => test(),
        "tidy" => tidy::check(),
        "deny" => run::deny(),
        "clients" => clients::run(&arguments.collect::<Vec<_>>()),
        "fuzz" => fuzz::run(arguments.next().as_deref().unwrap_or("5")),
        "vectors" => vectors::write(),
        "train-rehearsal" => run::cargo(&[
            "run",
            "--release",
            "--locked",
            "-p",
            "strongroom-models",
            "--example",
            "train_rehearsal",
        ]),
        "bench-report" => bench::report(),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            run::say(&message);
            ExitCode::FAILURE
        }
    }
}

/// Runs every step, also after one failed, so that one run shows all that is wrong.
fn test() -> Outcome {
    let steps: [Step; 8] = [
        ("format", || run::cargo(&["fmt", "--all", "--check"])),
        ("tidy", tidy::check),
        ("lints", || {
            run::cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--locked",
                "--",
                "-D",
                "warnings",
            ])
        }),
        ("unit and end to end", || {
            run::cargo(&[
                "test",
                "--workspace",
                "--all-features",
                "--locked",
                "--no-fail-fast",
            ])
        }),
        ("vectors", vectors::check),
        ("real clients", || clients::run(&[])),
        ("fuzz", || fuzz::run("5")),
        ("dependencies", run::deny),
    ];
    run::all(&steps)
}
