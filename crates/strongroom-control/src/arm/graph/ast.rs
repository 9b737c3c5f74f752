//! A query, parsed.

use serde_json::Value;

use super::function::Function;

/// A table and what is done with its rows, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) table: String,
    pub(crate) operators: Vec<Operator>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operator {
    Where(Expr),
    Project(Vec<Named>),
    ProjectAway(Vec<String>),
    ProjectRename(Vec<(String, String)>),
    Extend(Vec<Named>),
    Count,
    Summarize { by: Vec<Named>, of: Vec<Aggregation> },
    Join(Join),
    Order(Vec<Key>),
    Take(usize),
    Top(usize, Vec<Key>),
    Distinct(Vec<Named>),
    Expand(Named),
}

/// A value and the column that it goes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) expr: Expr,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Aggregation {
    pub(crate) name: String,
    pub(crate) kind: Aggregate,
    pub(crate) of: Option<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Count,
    CountIf,
    DCount,
    Sum,
    Min,
    Max,
    Avg,
    MakeSet,
    MakeList,
    Any,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Join {
    pub(crate) kind: JoinKind,
    pub(crate) right: Query,
    /// Columns that must be equal: left and right.
    pub(crate) on: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    /// Of several left rows with one key only the first counts; what Kusto does when no kind is given.
    InnerUnique,
    LeftOuter,
    LeftAnti,
    LeftSemi,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    Const(Value),
    Name(String),
    /// A name, once it is known where the column is.
    Column(usize),
    Member(Box<Self>, String),
    Index(Box<Self>, Box<Self>),
    Call(Function, Vec<Self>),
    Not(Box<Self>),
    Minus(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Math(Math, Box<Self>, Box<Self>),
    Compare(Compare, Box<Self>, Box<Self>),
    Match {
        how: Match,
        exact: bool,
        text: Box<Self>,
        part: Box<Self>,
    },
    In {
        any_case: bool,
        value: Box<Self>,
        list: Vec<Self>,
    },
    Between(Box<Self>, Box<Self>, Box<Self>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Math {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    Unequal,
    EqualAnyCase,
    UnequalAnyCase,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Contains,
    StartsWith,
    EndsWith,
    Has,
    HasPrefix,
    HasSuffix,
}

impl Expr {
    /// Shows `see` every name in it, with the members that are looked at of it, as far as they are known.
    pub(crate) fn paths(&self, see: &mut impl FnMut(&[&str])) {
        if let Some(path) = self.path() {
            return see(&path);
        }
        match self {
            Self::Name(_) | Self::Const(_) | Self::Column(_) => {}
            Self::Member(one, _) | Self::Not(one) | Self::Minus(one) => one.paths(see),
            Self::Call(_, all) => all.iter().for_each(|one| one.paths(see)),
            Self::Index(one, other)
            | Self::And(one, other)
            | Self::Or(one, other)
            | Self::Math(_, one, other)
            | Self::Compare(_, one, other)
            | Self::Match {
                text: one,
                part: other,
                ..
            } => {
                one.paths(see);
                other.paths(see);
            }
            Self::In { value, list, .. } => {
                value.paths(see);
                list.iter().for_each(|one| one.paths(see));
            }
            Self::Between(one, low, high) => {
                one.paths(see);
                low.paths(see);
                high.paths(see);
            }
        }
    }

    /// A name, a member of it, a member of that.
    fn path(&self) -> Option<Vec<&str>> {
        let (of, name) = match self {
            Self::Name(name) => return Some(vec![name]),
            Self::Member(of, name) => (of, name),
            Self::Index(of, at) => match at.as_ref() {
                Self::Const(Value::String(name)) => (of, name),
                _ => return None,
            },
            _ => return None,
        };
        let mut path = of.path()?;
        path.push(name);
        Some(path)
    }
}
