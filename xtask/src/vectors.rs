//! The test vectors under `vectors/`: written by a generator with fixed inputs, checked to be what it writes.

use std::fs;
use std::process::Command;

use crate::run::{self, Outcome};

/// Writes the vectors into `vectors/`.
pub(crate) fn write() -> Outcome {
    generate("vectors")
}

/// Generates the vectors elsewhere and compares: what is committed must be what the code says today.
pub(crate) fn check() -> Outcome {
    // What an earlier run left would be compared as well.
    let _ = fs::remove_dir_all(run::root().join("target/vectors"));
    generate("target/vectors")?;
    run::command(
        Command::new("diff")
            .args([
                "--recursive",
                "--brief",
                "--exclude=README.md",
                // Signed with a key that nobody has kept; the crate of tokens checks that they end as they say.
                "--exclude=token",
                "vectors",
                "target/vectors",
            ])
            .current_dir(run::root()),
    )
}

/// The generator is a test of the crate, because it chooses nonces, which nothing outside of the crate may.
fn generate(folder: &str) -> Outcome {
    // The same selection as in the test step: elsewhere the name finds nothing, and nothing is compiled a second time.
    let arguments = [
        "test",
        "--quiet",
        "--workspace",
        "--all-features",
        "--locked",
        "--lib",
    ];
    run::command(
        Command::new("cargo")
            .args(arguments)
            .arg("tests::vectors::the_generator")
            .env("STRONGROOM_WRITE_VECTORS", folder)
            .current_dir(run::root()),
    )
}
