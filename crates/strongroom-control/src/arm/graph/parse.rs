//! From tokens to a query: the table and its operators. Values are in `values`.

mod values;

use super::ast::{Aggregate, Aggregation, Expr, Join, JoinKind, Key, Named, Operator, Query};
use super::error::QueryError;
use super::function::Function;
use super::lex::{Kind, Token, tokens};
use crate::limits::{GRAPH_DEPTH, GRAPH_JOINS, GRAPH_LINKS, GRAPH_OPERATORS};

/// Parses a whole query.
pub(crate) fn parse(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser {
        text,
        tokens: tokens(text)?,
        at: 0,
        operators: 0,
        joins: 0,
        depth: 0,
        links: 0,
    };
    let query = parser.query()?;
    parser.takes(";");
    match parser.peek() {
        None => Ok(query),
        Some(_) => Err(parser.expected("the end of the query")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    operators: usize,
    joins: usize,
    depth: usize,
    /// Links of all chains such as `a or b or c`: each is one level deeper in the tree.
    links: usize,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query, QueryError> {
        let table = self.word("the name of a table")?;
        let mut operators = Vec::new();
        while self.takes("|") {
            self.operators += 1;
            if self.operators > GRAPH_OPERATORS {
                return Err(QueryError::TooDeep);
            }
            operators.push(self.operator()?);
        }
        Ok(Query { table, operators })
    }

    /// A name of an operator may have hyphens.
    fn operator_name(&mut self) -> Result<String, QueryError> {
        let mut name = self.word("an operator")?;
        while let (Some(Kind::Sign("-")), Some(Kind::Word(next))) = (self.peek(), self.peek_at(1)) {
            name = format!("{name}-{next}");
            self.at += 2;
        }
        Ok(name)
    }

    fn operator(&mut self) -> Result<Operator, QueryError> {
        let name = self.operator_name()?;
        match name.as_str() {
            "where" | "filter" => self.expr().map(Operator::Where),
            "project" => self.list(Self::named).map(Operator::Project),
            "project-away" => self.list(|p| p.word("a column")).map(Operator::ProjectAway),
            "project-rename" => self.list(Self::renamed).map(Operator::ProjectRename),
            "extend" => self.list(Self::named).map(Operator::Extend),
            "count" => Ok(Operator::Count),
            "summarize" => self.summarize(),
            "join" => self.join().map(Operator::Join),
            "order" | "sort" => {
                self.must_word("by")?;
                self.list(Self::key).map(Operator::Order)
            }
            "take" | "limit" => self.count().map(Operator::Take),
            "top" => {
                let count = self.count()?;
                self.must_word("by")?;
                Ok(Operator::Top(count, self.list(Self::key)?))
            }
            "distinct" => self.list(Self::named).map(Operator::Distinct),
            "mv-expand" | "mvexpand" => self.named().map(Operator::Expand),
            other => Err(QueryError::Unsupported(format!("the operator {other}"))),
        }
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T, QueryError>) -> Result<Vec<T>, QueryError> {
        let mut all = vec![one(self)?];
        while self.takes(",") {
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// `name = value`, or a value that gives its own name.
    fn named(&mut self) -> Result<Named, QueryError> {
        if let (Some(Kind::Word(name)), Some(Kind::Sign("="))) = (self.peek(), self.peek_at(1)) {
            let name = name.clone();
            self.at += 2;
            return Ok(Named {
                name,
                expr: self.expr()?,
            });
        }
        let expr = self.expr()?;
        let name = own_name(&expr).unwrap_or_else(|| format!("Column{}", self.at));
        Ok(Named { name, expr })
    }

    fn renamed(&mut self) -> Result<(String, String), QueryError> {
        let new = self.word("a column")?;
        self.must("=")?;
        Ok((new, self.word("a column")?))
    }

    fn key(&mut self) -> Result<Key, QueryError> {
        let expr = self.expr()?;
        let descending = !self.takes_word("asc");
        if descending {
            self.takes_word("desc");
        }
        let nulls_first = if self.takes_word("nulls") {
            let first = self.takes_word("first");
            if !first {
                self.must_word("last")?;
            }
            first
        } else {
            !descending
        };
        Ok(Key {
            expr,
            descending,
            nulls_first,
        })
    }

    fn count(&mut self) -> Result<usize, QueryError> {
        match self.peek() {
            Some(Kind::Integer(count)) if *count >= 0 => {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                self.at += 1;
                Ok(count)
            }
            _ => Err(self.expected("a number of rows")),
        }
    }

    fn summarize(&mut self) -> Result<Operator, QueryError> {
        let mut of = Vec::new();
        if !self.is_word("by") {
            of = self.list(Self::aggregation)?;
        }
        let by = if self.takes_word("by") {
            self.list(Self::named)?
        } else {
            Vec::new()
        };
        if of.is_empty() && by.is_empty() {
            return Err(self.expected("an aggregation"));
        }
        Ok(Operator::Summarize { by, of })
    }

    fn aggregation(&mut self) -> Result<Aggregation, QueryError> {
        let given = match (self.peek(), self.peek_at(1)) {
            (Some(Kind::Word(name)), Some(Kind::Sign("="))) => Some(name.clone()),
            _ => None,
        };
        self.at += given.as_ref().map_or(0, |_| 2);
        let function = self.word("an aggregation")?;
        self.must("(")?;
        let (kind, prefix) = aggregate(&function)
            .ok_or_else(|| QueryError::Unsupported(format!("the aggregation {function}")))?;
        let of = if kind == Aggregate::Count {
            None
        } else {
            Some(self.expr()?)
        };
        self.must(")")?;
        let own = of.as_ref().and_then(own_name).unwrap_or_default();
        let name = given.unwrap_or_else(|| format!("{prefix}_{own}"));
        Ok(Aggregation { name, kind, of })
    }

    fn join(&mut self) -> Result<Join, QueryError> {
        self.joins += 1;
        self.depth += 1;
        if self.joins > GRAPH_JOINS || self.depth > GRAPH_DEPTH {
            return Err(QueryError::TooDeep);
        }
        let mut kind = JoinKind::InnerUnique;
        if self.takes_word("kind") {
            self.must("=")?;
            let name = self.word("a kind of join")?;
            kind =
                join_kind(&name).ok_or_else(|| QueryError::Unsupported(format!("the join kind {name}")))?;
        }
        self.must("(")?;
        let right = self.query()?;
        self.must(")")?;
        self.must_word("on")?;
        let on = self.list(Self::condition)?;
        self.depth -= 1;
        Ok(Join { kind, right, on })
    }

    /// `column`, or `$left.one == $right.other`.
    fn condition(&mut self) -> Result<(String, String), QueryError> {
        let name = self.word("a column")?;
        if name != "$left" && name != "$right" {
            return Ok((name.clone(), name));
        }
        self.must(".")?;
        let one = self.word("a column")?;
        self.must("==")?;
        let side = self.word("$left or $right")?;
        self.must(".")?;
        let other = self.word("a column")?;
        match (name.as_str(), side.as_str()) {
            ("$left", "$right") => Ok((one, other)),
            ("$right", "$left") => Ok((other, one)),
            _ => Err(self.expected("a condition between $left and $right")),
        }
    }

    fn link(&mut self, count: usize) -> Result<(), QueryError> {
        self.links += count;
        if self.links > GRAPH_LINKS {
            Err(QueryError::TooDeep)
        } else {
            Ok(())
        }
    }

    fn peek(&self) -> Option<&Kind> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<&Kind> {
        self.tokens.get(self.at + ahead).map(|token| &token.kind)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let taken = matches!(self.peek(), Some(Kind::Sign(found)) if *found == sign);
        self.at += usize::from(taken);
        taken
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Kind::Word(found)) if found == word)
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let taken = self.is_word(word);
        self.at += usize::from(taken);
        taken
    }

    fn must(&mut self, sign: &'static str) -> Result<(), QueryError> {
        if self.takes(sign) {
            Ok(())
        } else {
            Err(self.expected(sign))
        }
    }

    fn must_word(&mut self, word: &'static str) -> Result<(), QueryError> {
        if self.takes_word(word) {
            Ok(())
        } else {
            Err(self.expected(word))
        }
    }

    fn word(&mut self, wanted: &'static str) -> Result<String, QueryError> {
        let found = match self.peek() {
            Some(Kind::Word(word)) => word.clone(),
            _ => return Err(self.expected(wanted)),
        };
        self.at += 1;
        Ok(found)
    }

    fn expected(&self, wanted: &'static str) -> QueryError {
        let at = self.tokens.get(self.at).map_or(self.text.len(), |token| token.at);
        QueryError::Expected { at, wanted }
    }
}

fn aggregate(name: &str) -> Option<(Aggregate, &'static str)> {
    Some(match name {
        "count" => (Aggregate::Count, "count"),
        "countif" => (Aggregate::CountIf, "countif"),
        "dcount" | "count_distinct" => (Aggregate::DCount, "dcount"),
        "sum" => (Aggregate::Sum, "sum"),
        "min" => (Aggregate::Min, "min"),
        "max" => (Aggregate::Max, "max"),
        "avg" => (Aggregate::Avg, "avg"),
        "make_set" | "makeset" => (Aggregate::MakeSet, "set"),
        "make_list" | "makelist" => (Aggregate::MakeList, "list"),
        "any" | "take_any" => (Aggregate::Any, "any"),
        _ => return None,
    })
}

fn join_kind(name: &str) -> Option<JoinKind> {
    Some(match name {
        "inner" => JoinKind::Inner,
        "innerunique" => JoinKind::InnerUnique,
        "leftouter" => JoinKind::LeftOuter,
        "leftanti" | "anti" => JoinKind::LeftAnti,
        "leftsemi" => JoinKind::LeftSemi,
        _ => return None,
    })
}

/// The name of the column that a value goes to if none is given.
fn own_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Name(name) => Some(name.clone()),
        Expr::Member(of, name) => Some(format!("{}_{name}", own_name(of)?)),
        Expr::Index(of, name) => match name.as_ref() {
            Expr::Const(name) => Some(format!("{}_{}", own_name(of)?, name.as_str()?)),
            _ => None,
        },
        Expr::Call(Function::ToString | Function::ToLong | Function::ToDouble | Function::ToBool, all) => {
            all.first().and_then(own_name)
        }
        _ => None,
    }
}
