//! Values of a row.

use std::borrow::Cow;

use serde_json::Value;

use super::ast::{Compare, Expr, Match, Math};
use super::error::QueryError;
use super::fuel::Fuel;
use super::value::{equal, from_number, has, number, order, text, truth, weight};
use crate::arm::time;

/// What computing needs beside the row.
pub(crate) struct Setting<'a> {
    pub(crate) fuel: &'a Fuel,
    pub(crate) now_ms: i64,
}

type Computed<'a> = Result<Cow<'a, Value>, QueryError>;

impl Expr {
    /// The same with columns in place of names.
    pub(crate) fn resolve(&self, columns: &[String]) -> Result<Self, QueryError> {
        let one = |expr: &Self| expr.resolve(columns).map(Box::new);
        let all = |all: &[Self]| {
            all.iter()
                .map(|one| one.resolve(columns))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(match self {
            Self::Name(name) => Self::Column(position(columns, name)?),
            Self::Const(_) | Self::Column(_) => self.clone(),
            Self::Member(of, name) => Self::Member(one(of)?, name.clone()),
            Self::Index(of, at) => Self::Index(one(of)?, one(at)?),
            Self::Call(function, arguments) => Self::Call(*function, all(arguments)?),
            Self::Not(of) => Self::Not(one(of)?),
            Self::Minus(of) => Self::Minus(one(of)?),
            Self::And(left, right) => Self::And(one(left)?, one(right)?),
            Self::Or(left, right) => Self::Or(one(left)?, one(right)?),
            Self::Math(math, left, right) => Self::Math(*math, one(left)?, one(right)?),
            Self::Compare(compare, left, right) => Self::Compare(*compare, one(left)?, one(right)?),
            Self::Match {
                how,
                exact,
                text,
                part,
            } => Self::Match {
                how: *how,
                exact: *exact,
                text: one(text)?,
                part: one(part)?,
            },
            Self::In {
                any_case,
                value,
                list,
            } => Self::In {
                any_case: *any_case,
                value: one(value)?,
                list: all(list)?,
            },
            Self::Between(value, low, high) => Self::Between(one(value)?, one(low)?, one(high)?),
        })
    }

    /// The value for a row.
    pub(crate) fn compute<'a>(&'a self, row: &'a [Value], setting: &Setting<'_>) -> Computed<'a> {
        setting.fuel.burn(1)?;
        let compute = |expr: &'a Self| expr.compute(row, setting);
        match self {
            Self::Const(value) => Ok(Cow::Borrowed(value)),
            Self::Column(at) => Ok(row.get(*at).map_or(Cow::Owned(Value::Null), Cow::Borrowed)),
            Self::Name(name) => Err(QueryError::NoColumn(name.clone())),
            Self::Member(of, name) => Ok(member(compute(of)?, name)),
            Self::Index(of, at) => {
                let (of, at) = (compute(of)?, compute(at)?);
                Ok(match at.as_ref() {
                    Value::String(name) => member(of, name),
                    Value::Number(at) => element(of, at.as_i64()),
                    _ => Cow::Owned(Value::Null),
                })
            }
            Self::Call(function, arguments) => {
                let mut given = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    let value = compute(argument)?;
                    // Results are made of the arguments: what they take is paid before it is taken.
                    setting.fuel.burn(weight(&value))?;
                    given.push(value.into_owned());
                }
                function.apply(&given, setting.now_ms).map(Cow::Owned)
            }
            Self::Math(math, left, right) => {
                let (left, right) = (compute(left)?, compute(right)?);
                Ok(Cow::Owned(calculate(*math, &left, &right)))
            }
            Self::Minus(of) => {
                let value = number(&*compute(of)?).map_or(Value::Null, |value| from_number(-value));
                Ok(Cow::Owned(value))
            }
            condition => condition
                .holds(row, setting)
                .map(|holds| Cow::Owned(Value::Bool(holds))),
        }
    }

    /// Whether it is true for a row.
    pub(crate) fn holds(&self, row: &[Value], setting: &Setting<'_>) -> Result<bool, QueryError> {
        setting.fuel.burn(1)?;
        match self {
            Self::And(left, right) => Ok(left.holds(row, setting)? && right.holds(row, setting)?),
            Self::Or(left, right) => Ok(left.holds(row, setting)? || right.holds(row, setting)?),
            Self::Not(of) => Ok(!of.holds(row, setting)?),
            Self::Compare(how, left, right) => {
                let (left, right) = (left.compute(row, setting)?, right.compute(row, setting)?);
                Ok(compare(*how, &left, &right))
            }
            Self::Match {
                how,
                exact,
                text,
                part,
            } => {
                let (whole, part) = (text.compute(row, setting)?, part.compute(row, setting)?);
                setting.fuel.burn(weight(&whole))?;
                Ok(matches(*how, *exact, &whole, &part))
            }
            Self::In {
                any_case,
                value,
                list,
            } => {
                let value = value.compute(row, setting)?;
                for one in list {
                    let one = one.compute(row, setting)?;
                    let within = |all: &Vec<Value>| all.iter().any(|one| equal(&value, one, *any_case));
                    if equal(&value, &one, *any_case) || one.as_array().is_some_and(within) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Between(value, low, high) => {
                let value = value.compute(row, setting)?;
                let (low, high) = (low.compute(row, setting)?, high.compute(row, setting)?);
                Ok(compare(Compare::GreaterOrEqual, &value, &low)
                    && compare(Compare::LessOrEqual, &value, &high))
            }
            value => value.compute(row, setting).map(|value| truth(&value)),
        }
    }
}

/// Where a column is.
pub(crate) fn position(columns: &[String], name: &str) -> Result<usize, QueryError> {
    let exact = columns.iter().position(|column| column == name);
    let any_case = || {
        columns
            .iter()
            .position(|column| column.eq_ignore_ascii_case(name))
    };
    exact
        .or_else(any_case)
        .ok_or_else(|| QueryError::NoColumn(name.to_owned()))
}

fn member<'a>(of: Cow<'a, Value>, name: &str) -> Cow<'a, Value> {
    let find = |value: &'a Value| -> Option<&'a Value> {
        let object = value.as_object()?;
        let any_case = || {
            object
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        object.get(name).or_else(any_case)
    };
    match of {
        Cow::Borrowed(value) => find(value).map_or(Cow::Owned(Value::Null), Cow::Borrowed),
        Cow::Owned(Value::Object(mut object)) => {
            let known = object
                .keys()
                .find(|known| known.eq_ignore_ascii_case(name))
                .cloned();
            Cow::Owned(
                known
                    .and_then(|known| object.swap_remove(&known))
                    .unwrap_or_default(),
            )
        }
        Cow::Owned(_) => Cow::Owned(Value::Null),
    }
}

fn element(of: Cow<'_, Value>, at: Option<i64>) -> Cow<'_, Value> {
    let index = |length: usize| {
        let at = at?;
        // From the end, if negative.
        if at < 0 {
            length.checked_sub(usize::try_from(at.unsigned_abs()).ok()?)
        } else {
            usize::try_from(at).ok()
        }
    };
    match of {
        Cow::Borrowed(value) => {
            let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let found = index(all.len()).and_then(|at| all.get(at));
            found.map_or(Cow::Owned(Value::Null), Cow::Borrowed)
        }
        Cow::Owned(Value::Array(mut all)) => {
            let at = index(all.len()).filter(|at| *at < all.len());
            Cow::Owned(at.map_or(Value::Null, |at| all.swap_remove(at)))
        }
        Cow::Owned(_) => Cow::Owned(Value::Null),
    }
}

fn compare(how: Compare, left: &Value, right: &Value) -> bool {
    let ordered = || order(left, right);
    match how {
        Compare::Equal => equal(left, right, false),
        Compare::Unequal => !equal(left, right, false),
        Compare::EqualAnyCase => equal(left, right, true),
        Compare::UnequalAnyCase => !equal(left, right, true),
        Compare::Less => ordered().is_some_and(|order| order.is_lt()),
        Compare::LessOrEqual => ordered().is_some_and(|order| order.is_le()),
        Compare::Greater => ordered().is_some_and(|order| order.is_gt()),
        Compare::GreaterOrEqual => ordered().is_some_and(|order| order.is_ge()),
    }
}

fn matches(how: Match, exact: bool, whole: &Value, part: &Value) -> bool {
    let (mut whole, mut part) = (text(whole), text(part));
    if !exact {
        (whole, part) = (whole.to_lowercase(), part.to_lowercase());
    }
    match how {
        Match::Contains => whole.contains(&part),
        Match::StartsWith => whole.starts_with(&part),
        Match::EndsWith => whole.ends_with(&part),
        Match::Has => has(&whole, &part, true, true),
        Match::HasPrefix => has(&whole, &part, true, false),
        Match::HasSuffix => has(&whole, &part, false, true),
    }
}

/// Numbers, and spans of time added to times.
fn calculate(math: Math, left: &Value, right: &Value) -> Value {
    if let (Value::String(at), Value::Number(span)) = (left, right)
        && let Some(moved) = moved(at, math, span.as_i64())
    {
        return moved;
    }
    let (Some(left), Some(right)) = (number(left), number(right)) else {
        return Value::Null;
    };
    let whole = left.fract() == 0.0 && right.fract() == 0.0;
    match math {
        Math::Add => from_number(left + right),
        Math::Subtract => from_number(left - right),
        Math::Multiply => from_number(left * right),
        Math::Divide | Math::Remainder if right == 0.0 => Value::Null,
        Math::Divide if whole => from_number((left / right).trunc()),
        Math::Divide => from_number(left / right),
        Math::Remainder => from_number(left % right),
    }
}

fn moved(at: &str, math: Math, span: Option<i64>) -> Option<Value> {
    let at = time::milliseconds(at)?;
    let moved = match math {
        Math::Add => at.checked_add(span?)?,
        Math::Subtract => at.checked_sub(span?)?,
        _ => return None,
    };
    Some(time::text(moved).into())
}
