//! The official clients, from outside: environments with pinned versions, a real `strongroom up`, pytest and Node's own test runner.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::run::{self, Outcome};

/// How long `strongroom up` may take to be ready on a busy machine.
const READY_TRIES: u32 = 600;
const READY_PAUSE: Duration = Duration::from_millis(100);

/// The suites' own environment, and that of azure-cli, whose pins clash with it: folder under `target/`, file of pins.
const SUITES: [&str; 2] = ["venv", "clients/requirements.txt"];
const AZ: [&str; 2] = ["venv-az", "clients/az/requirements.txt"];
/// The suite that is JavaScript: its folder, and what says which packages it has.
const NODE: &str = "clients/node";
const NODE_PINS: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];

/// The suites that need azure-cli.
const WITH_AZ: [&str; 2] = ["az", "operator"];

/// Runs the suites named, which are folders under `clients/`, or all of them; a suite that cannot run is a failure. Those with `az` run
/// beside the others, with an instance of their own: their time goes into the starts of `az`, and into making its environment.
pub(crate) fn run(suites: &[String]) -> Outcome {
    let python = environment(SUITES)?.join("bin/python");
    // The same selection as in the test step, so that nothing is compiled a second time with other features.
    run::cargo(&[
        "test",
        "--quiet",
        "--workspace",
        "--all-features",
        "--locked",
        "--no-run",
    ])?;
    // A test run makes only the programs that tests of their own crate start.
    run::cargo(&[
        "build",
        "--quiet",
        "--package",
        "strongroom-evidence",
        "--all-features",
        "--locked",
    ])?;
    let folder = run::root().join("target/clients");
    // What an earlier run left would be found again, and its keys with it.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let is_wanted = |name: &str| suites.is_empty() || suites.iter().any(|suite| suite == name);
    let path = |suite: &str| format!("clients/{suite}");
    let with_node = is_wanted("node");
    let with_az: Vec<String> = WITH_AZ
        .into_iter()
        .filter(|suite| is_wanted(suite))
        .map(path)
        .collect();
    let others: Vec<String> = if suites.is_empty() {
        let ignored = WITH_AZ.map(|suite| format!("--ignore=clients/{suite}"));
        ["clients".to_owned()].into_iter().chain(ignored).collect()
    } else {
        let apart = |suite: &&str| *suite == "node" || WITH_AZ.contains(suite);
        let named = suites.iter().map(String::as_str);
        named.filter(|suite| !apart(suite)).map(path).collect()
    };
    // Before anything runs: what cannot be had is known at once.
    let modules = with_node.then(node_modules).transpose()?;
    thread::scope(|scope| {
        let az = (!with_az.is_empty()).then(|| scope.spawn(|| run_az(&python, &folder, &with_az)));
        let others = if others.is_empty() && modules.is_none() {
            Ok(())
        } else {
            System::start(&folder.join("data")).and_then(|system| {
                if !others.is_empty() {
                    run::command(system.pytest(&python).args(&others))?;
                }
                // After the others, which turn the customer key off and on.
                modules.map_or(Ok(()), |modules| run_node(&system, &modules))
            })
        };
        match az.map(thread::ScopedJoinHandle::join) {
            None | Some(Ok(Ok(()))) => others,
            Some(Ok(failed)) => failed,
            Some(Err(_)) => Err("the suite of az could not run".to_owned()),
        }
    })
}

/// Runs the suites with `az`. What they print is shown when it is over, so that it does not mix with the others'.
fn run_az(python: &Path, folder: &Path, suites: &[String]) -> Outcome {
    let az = environment(AZ)?.join("bin/az");
    let system = System::start(&folder.join("az"))?;
    let mut pytest = system.pytest(python);
    let done = pytest.args(suites).env("STRONGROOM_AZ", az).output();
    let done = done.map_err(|error| format!("the suite of az: {error}"))?;
    run::say(&String::from_utf8_lossy(&done.stdout));
    run::say(&String::from_utf8_lossy(&done.stderr));
    if done.status.success() {
        Ok(())
    } else {
        Err(format!("the suite of az: {}", done.status))
    }
}

/// Runs the suite of Node.
fn run_node(system: &System, modules: &Path) -> Outcome {
    let folder = run::root().join(NODE);
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let tests: Vec<_> = files
        .filter(|path| path.to_string_lossy().ends_with(".test.cjs"))
        .collect();
    if tests.is_empty() {
        return Err(format!("{}: no tests", folder.display()));
    }
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=dot"]).args(tests);
    node.envs(system.variables.iter().cloned())
        .env("NODE_PATH", modules);
    run::command(&mut node)
}

/// The packages of the suite of Node, installed under `target/` as its lock file says.
fn node_modules() -> Result<PathBuf, String> {
    let (from, folder) = (run::root().join(NODE), run::root().join("target/node"));
    let mut wanted = String::new();
    for name in NODE_PINS {
        let path = from.join(name);
        wanted += &fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let (modules, made_of) = (folder.join("node_modules"), folder.join("made-of.txt"));
    if fs::read_to_string(&made_of).is_ok_and(|known| known == wanted) {
        return Ok(modules);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(failed)?;
    for name in NODE_PINS {
        fs::copy(from.join(name), folder.join(name)).map_err(failed)?;
    }
    run::command(
        Command::new("npm")
            .args(["ci", "--silent", "--prefix"])
            .arg(&folder),
    )?;
    fs::write(&made_of, wanted).map_err(failed)?;
    Ok(modules)
}

/// A virtual environment under `target/` that holds what the file pins. Where the file is as it was, nothing is made anew.
fn environment([name, pins]: [&str; 2]) -> Result<PathBuf, String> {
    let (folder, pins) = (run::root().join("target").join(name), run::root().join(pins));
    let wanted = fs::read_to_string(&pins).map_err(|error| format!("{}: {error}", pins.display()))?;
    // Written last: an environment that was left half made has none.
    let made_of = folder.join("made-of.txt");
    if fs::read_to_string(&made_of).is_ok_and(|known| known == wanted) {
        return Ok(folder);
    }
    run::command(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run::command(
        Command::new(folder.join("bin/python"))
            .args(install)
            .arg("--requirement")
            .arg(&pins),
    )?;
    fs::write(&made_of, wanted).map_err(|error| format!("{}: {error}", made_of.display()))?;
    Ok(folder)
}

fn binary(name: &str) -> PathBuf {
    run::root().join("target/debug").join(name)
}

/// A running `strongroom up` that ends with this value.
struct System {
    child: Child,
    data: PathBuf,
    variables: Vec<(String, String)>,
}

impl System {
    fn start(data: &Path) -> Result<Self, String> {
        let log = fs::File::create(data.with_extension("log")).map_err(|error| error.to_string())?;
        let child = Command::new(binary("strongroom"))
            .args(["up", "--https-port", "0", "--http-port", "0", "--data"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("strongroom up: {error}"))?;
        let mut system = Self {
            child,
            data: data.to_owned(),
            variables: Vec::new(),
        };
        for _ in 0..READY_TRIES {
            if let Ok(Some(status)) = system.child.try_wait() {
                return Err(format!(
                    "strongroom up ended early, {status}: see {}",
                    data.with_extension("log").display()
                ));
            }
            system.variables = fs::read_to_string(data.join("env"))
                .map(|text| exports(&text))
                .unwrap_or_default();
            if system.is_ready() {
                return Ok(system);
            }
            thread::sleep(READY_PAUSE);
        }
        Err(format!(
            "strongroom up was not ready in time: see {}",
            data.with_extension("log").display()
        ))
    }

    /// pytest, told of this instance; what it is to run is still to be said.
    fn pytest(&self, python: &Path) -> Command {
        let mut pytest = Command::new(python);
        pytest
            .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"])
            .current_dir(run::root())
            .envs(self.variables.iter().cloned())
            .env("STRONGROOM_BINARY", binary("strongroom"))
            .env("STRONGROOM_DATA", &self.data)
            .env("STRONGROOM_TINK_PEER", binary("examples/tink_peer"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        pytest
    }

    fn is_ready(&self) -> bool {
        let base = self.variables.iter().find(|(name, _)| name == "OPENAI_BASE_URL");
        let address =
            base.and_then(|(_, url)| url.strip_prefix("http://")?.split('/').next().map(str::to_owned));
        address
            .is_some_and(|address| get_ready(&address).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // The suites are over; nothing is lost by an abrupt end, and the next start shows it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get_ready(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The pairs of a shell file of plain `export NAME='value'` lines.
fn exports(text: &str) -> Vec<(String, String)> {
    let pairs = text
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::exports;

    #[test]
    fn an_environment_file_is_read_as_names_and_values() {
        let pairs = exports("# a comment\nexport A='1'\nexport URL='http://127.0.0.1:8080/x?a=b'\n");
        let expected =
            [("A", "1"), ("URL", "http://127.0.0.1:8080/x?a=b")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(pairs, expected);
    }
}
