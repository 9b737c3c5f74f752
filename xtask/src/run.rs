//! Running other programs, and saying how it went.

use std::path::PathBuf;
use std::process::Command;

/// Ok, or a message that says what failed.
pub(crate) type Outcome = Result<(), String>;

/// A named part of a run.
pub(crate) type Step = (&'static str, fn() -> Outcome);

/// The version that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Runs all steps and fails with the names of those that failed.
pub(crate) fn all(steps: &[Step]) -> Outcome {
    let mut failed = Vec::new();
    for (name, step) in steps {
        say(&format!("\n== {name}"));
        if let Err(message) = step() {
            say(&format!("== {name} FAILED: {message}"));
            failed.push(*name);
        }
    }
    say(&format!(
        "\nsteps: {} passed, {} failed",
        steps.len() - failed.len(),
        failed.len()
    ));
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

/// Runs cargo at the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Outcome {
    command(Command::new("cargo").args(arguments).current_dir(root()))
}

/// Runs a command with its output shown; anything but success is an error.
pub(crate) fn command(command: &mut Command) -> Outcome {
    let shown = shown(command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// Runs a command and gives what it printed on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let shown = shown(command);
    let output = command.output().map_err(|error| format!("{shown}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{shown}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{shown}: its output is not UTF-8"))
}

/// A command as it would be typed, without its environment: that holds the keys of an instance.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(PathBuf::from)
        .unwrap_or_default()
}

/// Checks licences, sources, bans and duplicate versions with cargo-deny, installed under `target/tools` when absent.
pub(crate) fn deny() -> Outcome {
    let tools = root().join("target/tools");
    let program = tools.join("bin/cargo-deny");
    let wanted = format!("cargo-deny {CARGO_DENY}");
    if output(Command::new(&program).arg("--version")).is_ok_and(|version| version.trim() == wanted) {
        return check_dependencies(&program);
    }
    // Its own target folder is dropped afterwards; `--locked` takes the versions its authors tested.
    let arguments = [
        "install",
        "cargo-deny",
        "--version",
        CARGO_DENY,
        "--locked",
        "--quiet",
        "--root",
    ];
    command(
        Command::new("cargo")
            .args(arguments)
            .arg(&tools)
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    )?;
    check_dependencies(&program)
}

fn check_dependencies(program: &std::path::Path) -> Outcome {
    command(
        Command::new(program)
            .args(["--offline", "check", "bans", "licenses", "sources"])
            .current_dir(root()),
    )
}

/// Prints a line for the developer.
#[expect(clippy::print_stderr, reason = "a command-line tool speaks to its terminal")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
