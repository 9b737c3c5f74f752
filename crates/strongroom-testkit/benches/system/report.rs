//! One JSON line for each measure; `cargo xtask bench-report` makes the table.

/// What a measure is held against.
pub(crate) enum Goal {
    None,
    AtLeast(f64),
    AtMost(f64),
    /// The ratio, and what it must reach.
    Ratio(f64, f64),
}

#[expect(clippy::print_stdout, reason = "the lines are what a bench is for")]
pub(crate) fn report(name: &str, value: f64, unit: &str, goal: &Goal) {
    let rest = match goal {
        Goal::None => String::new(),
        Goal::AtLeast(goal) => format!(r#","goal":{goal}"#),
        Goal::AtMost(goal) => format!(r#","goal":{goal},"better":"lower""#),
        Goal::Ratio(ratio, goal) => format!(r#","ratio":{ratio:.3},"goal":{goal}"#),
    };
    println!(r#"{{"name":"{name}","value":{value:.3},"unit":"{unit}"{rest}}}"#);
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The median of the quotients of each round.
pub(crate) fn median_ratio(above: &[f64], below: &[f64]) -> f64 {
    let quotients: Vec<f64> = above
        .iter()
        .zip(below)
        .map(|(above, below)| above / below)
        .collect();
    median(&quotients)
}

pub(crate) fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(otherwise)
}
