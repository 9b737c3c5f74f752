//! `strongroom-evidence-verify`: verifies an evidence package on any machine, offline.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use strongroom_evidence::{Trust, TrustedKey, verify};

const USAGE: &str = "\
usage: strongroom-evidence-verify PACKAGE [--key FILE|KEY]... [--checkpoint FILE] [--log FILE]

  PACKAGE            a folder or a zip
  --key FILE|KEY     a key that may sign, from elsewhere than the package: a verifier key (name+id+key), or a file with
                     verifier keys or PEM public keys; may be given again
  --checkpoint FILE  a checkpoint of the log that was kept earlier: a checkpoint.txt, or the note in it
  --log FILE         the log.txt of a later package, for a checkpoint that is later than this package

Exit codes:
  0  verified: nothing was changed, and a key that was given says so
  1  it could not be read
  2  the command line is wrong
  3  it was changed
  4  intact, but not proven: no key was given, or the checkpoint cannot be compared
";

/// No file that is given beside the package is larger.
const GIVEN_BYTES: u64 = 4 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        return say(&mut std::io::stdout(), USAGE, 0);
    }
    let (package, trust) = match read_arguments(arguments) {
        Ok(read) => read,
        Err(message) => return say(&mut std::io::stderr(), &format!("{message}\n\n{USAGE}"), 2),
    };
    match verify(&package, &trust) {
        Ok(verdict) => say(
            &mut std::io::stdout(),
            &format!("{verdict}\n"),
            verdict.exit_code(),
        ),
        Err(error) => say(&mut std::io::stderr(), &format!("{error}\n"), 1),
    }
}

fn say(out: &mut impl std::io::Write, text: &str, code: u8) -> ExitCode {
    // A verdict that nobody could read was not given.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::from(1),
    }
}

fn read_arguments(arguments: Vec<String>) -> Result<(PathBuf, Trust), String> {
    let (mut package, mut trust) = (None, Trust::default());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--key" => trust.keys.extend(keys(&value()?)?),
            "--checkpoint" => trust.checkpoint = Some(read(Path::new(&value()?))?),
            "--log" => trust.later_log = Some(read(Path::new(&value()?))?),
            option if option.starts_with("--") => return Err(format!("{option} is not an option")),
            _ if package.is_some() => return Err("only one package at a time".to_owned()),
            _ => package = Some(PathBuf::from(argument)),
        }
    }
    Ok((package.ok_or("no package was given")?, trust))
}

fn keys(given: &str) -> Result<Vec<TrustedKey>, String> {
    let path = Path::new(given);
    let text = if path.is_file() {
        read(path)?
    } else {
        given.to_owned()
    };
    TrustedKey::parse_all(&text).map_err(|error| format!("{given}: {error}"))
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |cause| format!("{}: {cause}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(GIVEN_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
