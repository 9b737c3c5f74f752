//! Benches in release, and `docs/performance.md` from what they print.
//!
//! Each bench is a program that prints one JSON object a line: `name`, `value`, `unit`, and where it has one `ratio`,
//! `goal` (a number that the ratio or value is held against) and `better` ("higher" or "lower").

use std::fmt::Write;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::run::{self, Outcome};

/// The benches, in the order of the report: package, bench, heading.
const BENCHES: &[(&str, &str, &str)] = &[
    ("strongroom-seal", "throughput", "Sealing and opening"),
    ("strongroom-store", "records", "Records, rotation and rekey"),
    ("strongroom-control", "decisions", "Deciding who may do what"),
    ("strongroom-control", "accounts", "Ten thousand accounts"),
    ("strongroom-testkit", "system", "The whole system"),
];

/// Variables that make a bench do less. The report is always of whole runs.
const SHORTENINGS: [&str; 3] = [
    "STRONGROOM_BENCH_BODY",
    "STRONGROOM_BENCH_ONLY",
    "STRONGROOM_BENCH_RUNS",
];

const HEAD: &str = "\
# Performance

Written by `cargo xtask bench-report`. Every ratio compares two things measured in the same run on the same machine; a
rate without its ratio says more about the machine than about Strongroom. Goals are those of the project's plan.
";

/// What a reader of missed goals should know.
const NOTES: &str = "
## How to read the goals

- **Transfers.** An unsealed transfer of U CPU seconds for a GB, and AES at A, leave at most U ÷ (U + A), however good the rest is. With AES at 10.7 GB/s (A = 0.093), that
  is about 0.77 for a plain download of 0.32 and 0.85 for one over TLS of 0.52: a goal above it cannot be met on such a machine, and downloads are at the limit. The unsealed side
  is a server as lean as the sealed one, with the same keys to show, tables, buffers and durability. Of plain uploads the unsealed side varies most: fresh page cache is charged to it.
- **4 KiB uploads.** A sealed one writes two rows more, the wrapped keys of record and blob, and seals and wraps; beside a request of 70 µs each of these shows.
- **Unwraps.** The 64 clients run on the same cores as the vault, so the rate says less than the CPU of the vault beside it. What is left there is TLS, HTTP and the record of each operation, which is durable before the
  answer leaves; some 60 µs are the kernel's alone.
- **Resource Graph.** Of a row a query reads only what it looks at: an index where that is enough, else those members of its document.
- **First start.** Two RSA keys are made beside each other, the customer's and the token authority's; the authority's next one follows. How long that takes is chance.
- **Without a bench in this report.** Lines of batches; the operator over 10,000 accounts.
";

/// Runs all benches and writes the report; a bench that cannot run is a failure, a missed goal is only shown.
pub(crate) fn report() -> Outcome {
    let mut text = String::from(HEAD);
    let machine = machine();
    let _ = write!(text, "\nMachine: {machine}.\n");
    for (package, bench, heading) in BENCHES {
        run::say(&format!("-- {package} {bench}"));
        let arguments = [
            "bench",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--bench",
            bench,
        ];
        let mut cargo = Command::new("cargo");
        for shortening in SHORTENINGS {
            cargo.env_remove(shortening);
        }
        let lines = run::output(cargo.args(arguments).current_dir(run::root()))?;
        let _ = write!(
            text,
            "\n## {heading}\n\n| Measure | Value | Ratio | Goal | Met |\n| --- | --- | --- | --- | --- |\n"
        );
        for line in lines.lines().filter(|line| line.starts_with('{')) {
            let measure: Value =
                serde_json::from_str(line).map_err(|error| format!("{bench}: {error}: {line}"))?;
            text.push_str(&row(&measure));
        }
    }
    text.push_str(NOTES);
    fs::write(run::root().join("docs/performance.md"), text)
        .map_err(|error| format!("docs/performance.md: {error}"))
}

fn row(measure: &Value) -> String {
    let name = measure.get("name").and_then(Value::as_str).unwrap_or("?");
    let unit = measure.get("unit").and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| measure.get(key).and_then(Value::as_f64);
    let lower = measure.get("better").and_then(Value::as_str) == Some("lower");
    let shown = |value: Option<f64>| value.map_or_else(String::new, plain);
    let held = number("ratio").or(number("value"));
    let met = match (held, number("goal")) {
        (Some(held), Some(goal)) if (lower && held <= goal) || (!lower && held >= goal) => "yes",
        (Some(_), Some(_)) => "**no**",
        _ => "",
    };
    let goal = number("goal").map_or_else(String::new, |goal| {
        format!("{} {}", if lower { "≤" } else { "≥" }, plain(goal))
    });
    format!(
        "| {name} | {} {unit} | {} | {goal} | {met} |\n",
        shown(number("value")),
        shown(number("ratio"))
    )
}

fn plain(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| {
        line.strip_prefix("model name")?
            .split_once(':')
            .map(|(_, name)| name.trim().to_owned())
    });
    format!(
        "{}, {cores} cores",
        model.unwrap_or_else(|| "unknown processor".to_owned())
    )
}

#[cfg(test)]
mod tests {
    use super::row;
    use serde_json::json;

    #[test]
    fn a_missed_goal_is_shown_as_missed() {
        let line = row(&json!({"name": "seal", "value": 9000.0, "unit": "MB/s", "ratio": 0.8, "goal": 0.9}));
        assert_eq!(line, "| seal | 9000 MB/s | 0.800 | ≥ 0.900 | **no** |\n");
        let line = row(&json!({"name": "bound", "value": 0.4, "unit": "s", "goal": 1.0, "better": "lower"}));
        assert_eq!(line, "| bound | 0.400 s |  | ≤ 1.000 | yes |\n");
    }
}
