//! The trainer as a program of its own, for tests; the strongroom program has the same as a hidden command.

use std::process::ExitCode;

fn main() -> ExitCode {
    strongroom_models::trainer_main(std::env::args_os().skip(1).collect()).into()
}
