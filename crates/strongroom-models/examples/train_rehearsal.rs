//! Trains the rehearsal model anew from `rehearsal/corpus/` and writes it into the folder named by the first argument
//! (default: `rehearsal/` of this crate). Minutes on one core:
//!
//! ```text
//! cargo run --release -p strongroom-models --example train_rehearsal [FOLDER] [STEPS]
//! ```
#![expect(
    clippy::print_stdout,
    reason = "a tool for developers that shows its progress"
)]

use std::path::PathBuf;

use strongroom_models::train_rehearsal;

const STEPS: usize = 1500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rehearsal");
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().map_or_else(|| home.clone(), PathBuf::from);
    let steps = match arguments.next() {
        Some(steps) => steps.to_string_lossy().parse()?,
        None => STEPS,
    };
    let text = corpus(&home.join("corpus"))?;
    println!("{} bytes of text, {steps} steps", text.len());
    train_rehearsal(&text, steps, &folder, &mut |step, loss| {
        if step % 25 == 0 || step + 1 == steps {
            println!("step {step}: loss {loss:.4}");
        }
    })?;
    println!("written to {}", folder.display());
    Ok(())
}

/// All files of the folder, in the order of their names.
fn corpus(folder: &std::path::Path) -> std::io::Result<String> {
    let mut paths = folder
        .read_dir()?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    let mut text = String::new();
    for path in paths {
        text += &std::fs::read_to_string(path)?;
        text.push('\n');
    }
    Ok(text)
}
