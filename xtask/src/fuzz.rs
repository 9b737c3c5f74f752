//! Short fuzz runs: each target, for some seconds, on the toolchain that builds the product.

use std::fs;
use std::process::Command;

use crate::run::{self, Outcome};

/// Memory that one target may use, in MiB: a parser that allocates by an attacker's length fails here.
const MEMORY_MIB: &str = "-rss_limit_mb=1024";

/// Where the targets land: fuzz/.cargo/config.toml names the machine, so that build scripts are not instrumented.
const BINARIES: &str = "target/x86_64-unknown-linux-gnu/release";

/// Builds the targets and runs each for `seconds`.
pub(crate) fn run(seconds: &str) -> Outcome {
    let seconds: u32 = seconds
        .parse()
        .map_err(|_| format!("{seconds} is not a number of seconds"))?;
    let folder = run::root().join("fuzz");
    // The flags that instrument the targets stand in fuzz/.cargo/config.toml, which cargo reads from there.
    run::command(
        Command::new("cargo")
            .args(["build", "--release", "--locked"])
            .current_dir(&folder),
    )?;
    let targets =
        fs::read_dir(folder.join("fuzz_targets")).map_err(|error| format!("fuzz/fuzz_targets: {error}"))?;
    let mut count = 0;
    for target in targets {
        let path = target.map_err(|error| error.to_string())?.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        run::say(&format!("-- fuzz {name} for {seconds} s"));
        let corpus = folder.join("target/corpus").join(name);
        fs::create_dir_all(&corpus).map_err(|error| error.to_string())?;
        let mut command = Command::new(folder.join(BINARIES).join(name));
        command.arg(format!("-max_total_time={seconds}")).args([
            MEMORY_MIB,
            "-print_final_stats=0",
            "-verbosity=0",
        ]);
        let seeds = folder.join("seeds").join(name);
        run::command(
            command
                .arg(corpus)
                .args(seeds.is_dir().then_some(seeds))
                .current_dir(&folder),
        )?;
        count += 1;
    }
    if count == 0 {
        Err("no fuzz target was found".to_owned())
    } else {
        Ok(())
    }
}
