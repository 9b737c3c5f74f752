//! Runs a query: each operator makes other rows out of rows.

use std::collections::HashSet;

use serde_json::Value;

use super::Refusal;
use super::aggregate::{fingerprint, summarize};
use super::ast::{Expr, Key, Named, Operator, Query};
use super::error::QueryError;
use super::expression::{Setting, position};
use super::join::join;
use super::tables::Tables;
use super::value::{rank, weight};
use super::wanted::Wanted;

/// Rows under the names of their columns.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Rowset {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

/// Answers a query.
pub(super) fn run(query: &Query, tables: &Tables<'_>) -> Result<Rowset, Refusal> {
    let mut rows = tables.rows(query, &Wanted::by(&query.operators))?;
    let setting = &tables.setting();
    for operator in &query.operators {
        rows = match operator {
            Operator::Join(how) => join(rows, run(&how.right, tables)?, how, setting)?,
            other => step(rows, other, setting)?,
        };
    }
    Ok(rows)
}

fn step(rows: Rowset, operator: &Operator, setting: &Setting<'_>) -> Result<Rowset, QueryError> {
    match operator {
        Operator::Where(expr) => filtered(rows, expr, setting),
        Operator::Project(all) => projected(rows, all, setting),
        Operator::ProjectAway(names) => without(rows, names),
        Operator::ProjectRename(names) => renamed(rows, names),
        Operator::Extend(all) => all
            .iter()
            .try_fold(rows, |rows, one| extended(rows, one, setting)),
        Operator::Count => Ok(counted(&rows)),
        Operator::Summarize { by, of } => summarize(rows, by, of, setting),
        Operator::Order(keys) => sorted(rows, keys, setting),
        Operator::Take(count) => Ok(taken(rows, *count)),
        Operator::Top(count, keys) => Ok(taken(sorted(rows, keys, setting)?, *count)),
        Operator::Distinct(all) => distinct(projected(rows, all, setting)?, setting),
        Operator::Expand(one) => expanded(rows, one, setting),
        // Its right side is a query: it is run where the tables are.
        Operator::Join(_) => Ok(rows),
    }
}

fn filtered(mut rows: Rowset, expr: &Expr, setting: &Setting<'_>) -> Result<Rowset, QueryError> {
    let expr = expr.resolve(&rows.columns)?;
    let mut kept = Vec::new();
    for row in rows.rows {
        if expr.holds(&row, setting)? {
            kept.push(row);
        }
    }
    rows.rows = kept;
    Ok(rows)
}

fn projected(rows: Rowset, all: &[Named], setting: &Setting<'_>) -> Result<Rowset, QueryError> {
    let exprs = all
        .iter()
        .map(|one| one.expr.resolve(&rows.columns))
        .collect::<Result<Vec<_>, _>>()?;
    let mut made = Vec::with_capacity(rows.rows.len());
    for row in &rows.rows {
        let mut new = Vec::with_capacity(exprs.len());
        for expr in &exprs {
            let value = expr.compute(row, setting)?;
            setting.fuel.burn(weight(&value))?;
            new.push(value.into_owned());
        }
        made.push(new);
    }
    let columns = all.iter().map(|one| one.name.clone()).collect();
    Ok(Rowset { columns, rows: made })
}

fn extended(mut rows: Rowset, one: &Named, setting: &Setting<'_>) -> Result<Rowset, QueryError> {
    let expr = one.expr.resolve(&rows.columns)?;
    let place = rows.columns.iter().position(|column| *column == one.name);
    for row in &mut rows.rows {
        let value = expr.compute(row, setting)?.into_owned();
        setting.fuel.burn(weight(&value))?;
        match place.and_then(|at| row.get_mut(at)) {
            Some(cell) => *cell = value,
            None => row.push(value),
        }
    }
    if place.is_none() {
        rows.columns.push(one.name.clone());
    }
    Ok(rows)
}

fn without(mut rows: Rowset, names: &[String]) -> Result<Rowset, QueryError> {
    for name in names {
        let at = position(&rows.columns, name)?;
        rows.columns.remove(at);
        for row in rows.rows.iter_mut().filter(|row| at < row.len()) {
            row.remove(at);
        }
    }
    Ok(rows)
}

fn renamed(mut rows: Rowset, names: &[(String, String)]) -> Result<Rowset, QueryError> {
    for (new, old) in names {
        let at = position(&rows.columns, old)?;
        if let Some(column) = rows.columns.get_mut(at) {
            column.clone_from(new);
        }
    }
    Ok(rows)
}

fn counted(rows: &Rowset) -> Rowset {
    Rowset {
        columns: vec!["Count".to_owned()],
        rows: vec![vec![rows.rows.len().into()]],
    }
}

fn taken(mut rows: Rowset, count: usize) -> Rowset {
    rows.rows.truncate(count);
    rows
}

fn sorted(rows: Rowset, keys: &[Key], setting: &Setting<'_>) -> Result<Rowset, QueryError> {
    let exprs = keys
        .iter()
        .map(|key| key.expr.resolve(&rows.columns))
        .collect::<Result<Vec<_>, _>>()?;
    let mut ranked = Vec::with_capacity(rows.rows.len());
    for row in rows.rows {
        let mut values = Vec::with_capacity(exprs.len());
        for expr in &exprs {
            values.push(expr.compute(&row, setting)?.into_owned());
        }
        setting.fuel.burn(16 + values.iter().map(weight).sum::<usize>())?;
        ranked.push((values, row));
    }
    ranked.sort_by(|(one, _), (other, _)| {
        let by_key = keys.iter().zip(one.iter().zip(other)).map(|(key, (one, other))| {
            if one.is_null() != other.is_null() {
                let first = one.is_null() == key.nulls_first;
                return if first {
                    std::cmp::Ordering::Less
                } else {
                    std::cmp::Ordering::Greater
                };
            }
            let order = rank(one, other);
            if key.descending { order.reverse() } else { order }
        });
        by_key.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    Ok(Rowset {
        columns: rows.columns,
        rows: ranked.into_iter().map(|(_, row)| row).collect(),
    })
}

fn distinct(mut rows: Rowset, setting: &Setting<'_>) -> Result<Rowset, QueryError> {
    let mut known = HashSet::new();
    let mut kept = Vec::new();
    for row in rows.rows {
        let key = fingerprint(&row);
        setting.fuel.burn(key.len())?;
        if known.insert(key) {
            kept.push(row);
        }
    }
    rows.rows = kept;
    Ok(rows)
}

/// A row for each element of a list; one with nothing for a list without any.
fn expanded(rows: Rowset, one: &Named, setting: &Setting<'_>) -> Result<Rowset, QueryError> {
    let mut rows = extended(rows, one, setting)?;
    let at = position(&rows.columns, &one.name)?;
    let mut made = Vec::new();
    for mut row in rows.rows {
        let value = row.get_mut(at).map(Value::take).unwrap_or_default();
        let elements = match value {
            Value::Array(all) if all.is_empty() => vec![Value::Null],
            Value::Array(all) => all,
            other => vec![other],
        };
        for element in elements {
            setting.fuel.burn(row.iter().map(weight).sum())?;
            let mut new = row.clone();
            if let Some(cell) = new.get_mut(at) {
                *cell = element;
            }
            made.push(new);
        }
    }
    rows.rows = made;
    Ok(rows)
}
