//! The shape of the house, as ARCHITECTURE.md and CONTRIBUTING.md promise it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::run::{self, Outcome};

/// Edges between our crates: who may use whom. Nothing else is allowed.
const EDGES: &[(&str, &[&str])] = &[
    ("seal", &[]),
    ("azure", &[]),
    ("journal", &[]),
    ("models", &[]),
    ("store", &["seal"]),
    ("vault", &["seal", "azure", "journal"]),
    ("control", &["seal", "azure", "journal", "vault"]),
    ("service", &["azure", "journal", "models", "store"]),
    ("operator", &["seal", "journal"]),
    ("evidence", &[]),
];

/// Lines that a file may have; the production lines of `seal` altogether; those of `main.rs`; those of the README.
const FILE_LINES: usize = 800;
const SEAL_LINES: usize = 2_000;
const MAIN_LINES: usize = 150;
const README_LINES: usize = 220;

/// Inline tests longer than this belong in a file of their own.
const INLINE_TEST_LINES: usize = 150;

/// Places in shipped code that look at secret bytes. Whoever changes this number says why in the commit.
const EXPOSURES: usize = 11;

/// Cargo features that shipped crates may have. None of them changes what is sealed.
const FEATURES: &[&str] = &["conformance", "default"];

/// Words that a switch to turn sealing off would carry.
const UNSEALED_WORDS: &[&str] = &[
    "unsealed",
    "no_seal",
    "no-seal",
    "skip_seal",
    "disable_seal",
    "without_seal",
    "plaintext_mode",
];

/// Checks everything and reports all faults at once.
pub(crate) fn check() -> Outcome {
    let mut faults = Vec::new();
    let packages = packages()?;
    check_edges(&packages, &mut faults);
    check_features(&packages, &mut faults);
    check_documents(&packages, &mut faults);
    let sources = sources()?;
    check_sizes(&sources, &mut faults);
    check_exposures(&sources, &mut faults);
    check_unsealed(&sources, &mut faults);
    check_weakening_names(&sources, &mut faults);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn name(&self) -> String {
        self.path
            .strip_prefix(run::root())
            .unwrap_or(&self.path)
            .display()
            .to_string()
    }

    fn is_test(&self) -> bool {
        let name = self.name();
        [
            "/tests/",
            "/benches/",
            "/examples/",
            "/tests.rs",
            "_tests.rs",
            "/conformance",
        ]
        .iter()
        .any(|part| name.contains(part))
    }

    /// Shipped: compiled into what users run.
    fn is_shipped(&self) -> bool {
        let name = self.name();
        !self.is_test() && name.starts_with("crates/") && !name.starts_with("crates/strongroom-testkit/")
    }

    /// The lines that are compiled into the product: those before the inline test module.
    fn production(&self) -> impl Iterator<Item = &str> {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines
            .windows(2)
            .position(|pair| pair == ["#[cfg(test)]", "mod tests {"]);
        let end = tests.unwrap_or(lines.len());
        lines
            .into_iter()
            .take(end)
            .filter(|line| !matches!(*line, "#[cfg(test)]" | "mod tests;"))
    }
}

fn packages() -> Result<Vec<Value>, String> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
    let json = run::output(Command::new("cargo").args(arguments).current_dir(run::root()))?;
    let metadata: Value = serde_json::from_str(&json).map_err(|error| format!("cargo metadata: {error}"))?;
    Ok(metadata
        .get("packages")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn check_edges(packages: &[Value], faults: &mut Vec<String>) {
    let allowed: BTreeMap<String, Vec<String>> = EDGES
        .iter()
        .map(|(name, uses)| {
            (
                format!("strongroom-{name}"),
                uses.iter().map(|u| format!("strongroom-{u}")).collect(),
            )
        })
        .collect();
    for package in packages {
        let name = text(package, "name");
        let dependencies = package
            .get("dependencies")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let Some(allowed) = allowed.get(name) else {
            continue;
        };
        for dependency in dependencies.filter(|d| text(d, "name").starts_with("strongroom")) {
            let used = text(dependency, "name");
            // Tests script a vault and a clock, whose traits live in `seal`, and hold packages against their verifier; that teaches the
            // crate itself nothing.
            let scripted = text(dependency, "kind") == "dev"
                && matches!(used, "strongroom-seal" | "strongroom-evidence");
            if !allowed.iter().any(|a| a == used) && used != name && !scripted {
                faults.push(format!(
                    "{name} may not use {used}: see the edges in ARCHITECTURE.md"
                ));
            }
        }
    }
}

fn check_features(packages: &[Value], faults: &mut Vec<String>) {
    for package in packages
        .iter()
        .filter(|package| text(package, "name").starts_with("strongroom"))
    {
        let features = package
            .get("features")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        for (feature, _) in features.filter(|(feature, _)| !FEATURES.contains(&feature.as_str())) {
            faults.push(format!(
                "{}: the feature {feature} is not on tidy's list",
                text(package, "name")
            ));
        }
    }
}

fn check_documents(packages: &[Value], faults: &mut Vec<String>) {
    for name in [
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/format.md",
    ] {
        if !run::root().join(name).is_file() {
            faults.push(format!("{name} is missing"));
        }
    }
    let readme = fs::read_to_string(run::root().join("README.md")).unwrap_or_default();
    limit("README.md", readme.lines().count(), README_LINES, faults);
    let architecture = fs::read_to_string(run::root().join("ARCHITECTURE.md")).unwrap_or_default();
    for package in packages
        .iter()
        .filter(|package| !architecture.contains(&format!("`{}`", text(package, "name"))))
    {
        faults.push(format!(
            "ARCHITECTURE.md does not name `{}`",
            text(package, "name")
        ));
    }
}

fn sources() -> Result<Vec<Source>, String> {
    let listed = run::output(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
            .current_dir(run::root()),
    )?;
    let paths = listed
        .lines()
        .map(|line| run::root().join(line))
        .filter(|path| path.is_file());
    paths.map(read_source).collect()
}

fn read_source(path: PathBuf) -> Result<Source, String> {
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Source { path, text })
}

fn check_sizes(sources: &[Source], faults: &mut Vec<String>) {
    let mut seal = 0;
    for source in sources {
        let lines = source.text.lines().count();
        limit(&source.name(), lines, FILE_LINES, faults);
        if source.name().ends_with("/src/main.rs") {
            limit(&source.name(), lines, MAIN_LINES, faults);
        }
        let production = source.production().count();
        if source.name().starts_with("crates/strongroom-seal/src/") && !source.is_test() {
            seal += production;
        }
        if source.is_shipped() && lines.saturating_sub(production) > INLINE_TEST_LINES {
            faults.push(format!(
                "{}: {} lines of inline tests belong in a file of their own",
                source.name(),
                lines - production
            ));
        }
    }
    limit("crates/strongroom-seal", seal, SEAL_LINES, faults);
}

fn limit(name: &str, lines: usize, most: usize, faults: &mut Vec<String>) {
    if lines > most {
        faults.push(format!("{name} has {lines} lines, more than {most}"));
    }
}

fn check_exposures(sources: &[Source], faults: &mut Vec<String>) {
    let shipped = sources.iter().filter(|source| source.is_shipped());
    let count: usize = shipped
        .flat_map(Source::production)
        .map(|line| line.matches(".expose_secret()").count())
        .sum();
    if count != EXPOSURES {
        faults.push(format!(
            "{count} places expose a secret; the reviewed number in xtask/src/tidy.rs is {EXPOSURES}"
        ));
    }
}

fn check_unsealed(sources: &[Source], faults: &mut Vec<String>) {
    for source in sources.iter().filter(|source| source.is_shipped()) {
        for (number, line) in source.production().enumerate() {
            let lower = line.to_lowercase();
            if !lower.trim_start().starts_with("//") && UNSEALED_WORDS.iter().any(|word| lower.contains(word))
            {
                faults.push(format!(
                    "{}:{}: a shipped crate has no switch that turns sealing off",
                    source.name(),
                    number + 1
                ));
            }
        }
    }
}

/// Names that weaken security begin with `danger` or `insecure`, and SECURITY.md lists each.
fn check_weakening_names(sources: &[Source], faults: &mut Vec<String>) {
    let security = fs::read_to_string(run::root().join("SECURITY.md")).unwrap_or_default();
    for source in sources.iter().filter(|source| source.is_shipped()) {
        for word in source.production().flat_map(words).filter(|word| weakens(word)) {
            if !security.contains(&format!("`{word}`")) {
                faults.push(format!(
                    "{}: `{word}` weakens security and is not in SECURITY.md",
                    source.name()
                ));
            }
        }
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with("//") {
        ""
    } else {
        line
    };
    code.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-')
}

fn weakens(word: &str) -> bool {
    let word = word.trim_start_matches('-');
    word.starts_with("danger") || word.starts_with("insecure")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_weaken_are_found_in_code_and_not_in_comments() {
        assert!(words("let x = insecure_trainer();").any(weakens));
        assert!(words("  --dangerous").any(weakens));
        assert!(!words("// insecure things").any(weakens));
        assert!(!words("let endanger = 1;").any(weakens));
    }

    #[test]
    fn production_lines_end_where_inline_tests_begin() {
        let source = Source {
            path: "x.rs".into(),
            text: "a\nb\n#[cfg(test)]\nmod tests {\n}\n".to_owned(),
        };
        assert_eq!(source.production().count(), 2);
    }
}
