//! The test vectors under `vectors/`: written by a generator with fixed inputs, checked to be what it writes.

use std::process::Command;

use crate::run::{self, Outcome};

/// Writes the vectors into `vectors/`.
pub(crate) fn write() -> Outcome {
    generate("vectors")
}

/// Generates the vectors elsewhere and compares: what is committed must be what the code says today.
pub(crate) fn check() -> Outcome {
    generate("target/vectors")?;
    run::command(
        Command::new("diff")
            .args(["--recursive", "--brief", "vectors", "target/vectors"])
            .current_dir(run::root()),
    )
}

fn generate(folder: &str) -> Outcome {
    run::cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--package",
        "strongroom-seal",
        "--example",
        "vectors",
        "--",
        folder,
    ])
}
