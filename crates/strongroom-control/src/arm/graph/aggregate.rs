//! `summarize`: rows in groups, and one value of each group.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::ast::{Aggregate, Aggregation, Named};
use super::error::QueryError;
use super::expression::Setting;
use super::operators::Rowset;
use super::value::{from_number, number, rank, truth, weight};

/// What is known so far of one aggregation in one group.
enum State {
    Count(u64),
    Distinct(HashSet<String>),
    Sum { sum: f64, count: u64 },
    Extreme(Value),
    Set(Vec<Value>, HashSet<String>),
    List(Vec<Value>),
}

struct Group {
    key: Vec<Value>,
    states: Vec<State>,
}

pub(crate) fn summarize(
    rows: Rowset,
    by: &[Named],
    of: &[Aggregation],
    setting: &Setting<'_>,
) -> Result<Rowset, QueryError> {
    let keys = by
        .iter()
        .map(|key| key.expr.resolve(&rows.columns))
        .collect::<Result<Vec<_>, _>>()?;
    let values = of
        .iter()
        .map(|one| one.of.as_ref().map(|of| of.resolve(&rows.columns)).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let mut groups: Vec<Group> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    // Without keys there is one group, also of no rows.
    if by.is_empty() {
        groups.push(Group::new(Vec::new(), of));
        known.insert(String::new(), 0);
    }
    for row in &rows.rows {
        let mut key = Vec::with_capacity(keys.len());
        for expr in &keys {
            key.push(expr.compute(row, setting)?.into_owned());
        }
        let name = fingerprint(&key);
        setting.fuel.burn(name.len())?;
        let at = *known.entry(name).or_insert_with(|| {
            groups.push(Group::new(key, of));
            groups.len() - 1
        });
        let Some(group) = groups.get_mut(at) else { continue };
        for ((state, one), expr) in group.states.iter_mut().zip(of).zip(&values) {
            let value = match expr {
                Some(expr) => expr.compute(row, setting)?.into_owned(),
                None => Value::Null,
            };
            setting.fuel.burn(weight(&value))?;
            state.take(one.kind, value);
        }
    }
    let columns = by.iter().map(|key| key.name.clone());
    let columns = columns.chain(of.iter().map(|one| one.name.clone())).collect();
    let rows = groups.into_iter().map(|group| {
        let values = group
            .states
            .into_iter()
            .zip(of)
            .map(|(state, one)| state.result(one.kind));
        group.key.into_iter().chain(values).collect()
    });
    Ok(Rowset {
        columns,
        rows: rows.collect(),
    })
}

/// One text for equal keys: groups, joins and distinct rows go by it.
pub(crate) fn fingerprint(values: &[Value]) -> String {
    let parts: Vec<String> = values.iter().map(Value::to_string).collect();
    parts.join("\u{1}")
}

impl Group {
    fn new(key: Vec<Value>, of: &[Aggregation]) -> Self {
        let states = of.iter().map(|one| State::new(one.kind)).collect();
        Self { key, states }
    }
}

impl State {
    fn new(kind: Aggregate) -> Self {
        match kind {
            Aggregate::Count | Aggregate::CountIf => Self::Count(0),
            Aggregate::DCount => Self::Distinct(HashSet::new()),
            Aggregate::Sum | Aggregate::Avg => Self::Sum { sum: 0.0, count: 0 },
            Aggregate::Min | Aggregate::Max | Aggregate::Any => Self::Extreme(Value::Null),
            Aggregate::MakeSet => Self::Set(Vec::new(), HashSet::new()),
            Aggregate::MakeList => Self::List(Vec::new()),
        }
    }

    fn take(&mut self, kind: Aggregate, value: Value) {
        match self {
            Self::Count(count) => *count += u64::from(kind == Aggregate::Count || truth(&value)),
            _ if value.is_null() => {}
            Self::Distinct(known) => {
                known.insert(value.to_string());
            }
            Self::Sum { sum, count } => {
                if let Some(value) = number(&value) {
                    *sum += value;
                    *count += 1;
                }
            }
            Self::Extreme(known) => {
                let better = match kind {
                    Aggregate::Min => rank(&value, known).is_lt(),
                    Aggregate::Max => rank(&value, known).is_gt(),
                    _ => false,
                };
                if known.is_null() || better {
                    *known = value;
                }
            }
            Self::Set(all, known) => {
                if known.insert(value.to_string()) {
                    all.push(value);
                }
            }
            Self::List(all) => all.push(value),
        }
    }

    fn result(self, kind: Aggregate) -> Value {
        match self {
            Self::Count(count) => count.into(),
            Self::Distinct(known) => known.len().into(),
            Self::Sum { count: 0, .. } if kind == Aggregate::Avg => Value::Null,
            Self::Sum { sum, count } if kind == Aggregate::Avg => from_number(sum / count as f64),
            Self::Sum { sum, .. } => from_number(sum),
            Self::Extreme(value) => value,
            Self::Set(all, _) | Self::List(all) => Value::Array(all),
        }
    }
}
