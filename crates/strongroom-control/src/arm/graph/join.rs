//! `join`: rows of two tables that have the same keys.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::aggregate::fingerprint;
use super::ast::{Join, JoinKind};
use super::error::QueryError;
use super::expression::{Setting, position};
use super::operators::Rowset;
use super::value::weight;

pub(crate) fn join(
    left: Rowset,
    right: Rowset,
    join: &Join,
    setting: &Setting<'_>,
) -> Result<Rowset, QueryError> {
    let at = |columns: &[String], names: Vec<&String>| {
        let found = names.into_iter().map(|name| position(columns, name));
        found.collect::<Result<Vec<_>, _>>()
    };
    let left_keys = at(&left.columns, join.on.iter().map(|(left, _)| left).collect())?;
    let right_keys = at(&right.columns, join.on.iter().map(|(_, right)| right).collect())?;
    let mut by_key: HashMap<String, Vec<&Vec<Value>>> = HashMap::new();
    for row in &right.rows {
        by_key
            .entry(key(row, &right_keys, setting)?)
            .or_default()
            .push(row);
    }
    let mut seen = HashSet::new();
    let mut rows = Vec::new();
    for row in left.rows {
        let key = key(&row, &left_keys, setting)?;
        let found = by_key.get(&key).map(Vec::as_slice).unwrap_or_default();
        match join.kind {
            JoinKind::LeftAnti | JoinKind::LeftSemi => {
                if found.is_empty() == (join.kind == JoinKind::LeftAnti) {
                    rows.push(row);
                }
            }
            JoinKind::InnerUnique if !seen.insert(key.clone()) => {}
            JoinKind::LeftOuter if found.is_empty() => {
                let nothing = right.columns.iter().map(|_| Value::Null);
                rows.push(row.into_iter().chain(nothing).collect());
            }
            _ => {
                for other in found {
                    let both = row.iter().chain(other.iter());
                    setting.fuel.burn(both.clone().map(weight).sum())?;
                    rows.push(both.cloned().collect());
                }
            }
        }
    }
    let columns = match join.kind {
        JoinKind::LeftAnti | JoinKind::LeftSemi => left.columns,
        _ => joined(left.columns, right.columns),
    };
    Ok(Rowset { columns, rows })
}

fn key(row: &[Value], keys: &[usize], setting: &Setting<'_>) -> Result<String, QueryError> {
    let values: Vec<Value> = keys
        .iter()
        .map(|at| row.get(*at).cloned().unwrap_or_default())
        .collect();
    let key = fingerprint(&values);
    setting.fuel.burn(key.len())?;
    Ok(key)
}

/// A column of the right whose name is taken gets a number.
fn joined(left: Vec<String>, right: Vec<String>) -> Vec<String> {
    let mut columns = left;
    for name in right {
        let mut free = name.clone();
        let mut number = 0_u32;
        while columns.contains(&free) {
            number += 1;
            free = format!("{name}{number}");
        }
        columns.push(free);
    }
    columns
}
