//! Values: operators by their rank, from `or` down to names and literals.

use serde_json::Value;

use super::Parser;
use crate::arm::graph::ast::{Compare, Expr, Match, Math};
use crate::arm::graph::error::QueryError;
use crate::arm::graph::function::Function;
use crate::arm::graph::lex::Kind;
use crate::arm::time;
use crate::limits::GRAPH_DEPTH;

type Parsed = Result<Expr, QueryError>;

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > GRAPH_DEPTH {
            return Err(QueryError::TooDeep);
        }
        let mut expr = self.all_of()?;
        while self.takes_word("or") {
            self.link(1)?;
            expr = Expr::Or(Box::new(expr), Box::new(self.all_of()?));
        }
        self.depth -= 1;
        Ok(expr)
    }

    fn all_of(&mut self) -> Parsed {
        let mut expr = self.comparison()?;
        while self.takes_word("and") {
            self.link(1)?;
            expr = Expr::And(Box::new(expr), Box::new(self.comparison()?));
        }
        Ok(expr)
    }

    fn comparison(&mut self) -> Parsed {
        let one = self.sum()?;
        for (sign, compare) in [
            ("==", Compare::Equal),
            ("!=", Compare::Unequal),
            ("<>", Compare::Unequal),
            ("=~", Compare::EqualAnyCase),
            ("!~", Compare::UnequalAnyCase),
            ("<=", Compare::LessOrEqual),
            (">=", Compare::GreaterOrEqual),
            ("<", Compare::Less),
            (">", Compare::Greater),
        ] {
            if self.takes(sign) {
                return Ok(Expr::Compare(compare, Box::new(one), Box::new(self.sum()?)));
            }
        }
        let negated = matches!(
            (self.peek(), self.peek_at(1)),
            (Some(Kind::Sign("!")), Some(Kind::Word(_)))
        );
        let Some(Kind::Word(word)) = self.peek_at(usize::from(negated)) else {
            return Ok(one);
        };
        let word = word.clone();
        let Some(matched) = self.matched(&word, negated, one.clone())? else {
            return Ok(one);
        };
        Ok(if negated {
            Expr::Not(Box::new(matched))
        } else {
            matched
        })
    }

    /// An operator that is a word, if this is one.
    fn matched(&mut self, word: &str, negated: bool, one: Expr) -> Result<Option<Expr>, QueryError> {
        let (name, exact) = match word.strip_suffix("_cs") {
            Some(name) => (name, true),
            None => (word, false),
        };
        let how = match name {
            "contains" => Match::Contains,
            "startswith" => Match::StartsWith,
            "endswith" => Match::EndsWith,
            "has" => Match::Has,
            "hasprefix" => Match::HasPrefix,
            "hassuffix" => Match::HasSuffix,
            "in" | "has_any" | "has_all" | "between" => return self.many(name, negated, one).map(Some),
            "matches" => return Err(QueryError::Unsupported("the operator matches regex".to_owned())),
            _ if negated => return Err(self.expected("an operator")),
            _ => return Ok(None),
        };
        self.at += 1 + usize::from(negated);
        let (text, part) = (Box::new(one), Box::new(self.sum()?));
        Ok(Some(Expr::Match {
            how,
            exact,
            text,
            part,
        }))
    }

    /// An operator whose right side is in parentheses.
    fn many(&mut self, name: &str, negated: bool, one: Expr) -> Parsed {
        self.at += 1 + usize::from(negated);
        let any_case = name == "in" && self.takes("~");
        self.must("(")?;
        let value = Box::new(one);
        if name == "between" {
            let low = Box::new(self.sum()?);
            self.must("..")?;
            let high = Box::new(self.sum()?);
            self.must(")")?;
            return Ok(Expr::Between(value, low, high));
        }
        let list = if self.takes(")") {
            Vec::new()
        } else {
            let list = self.list(Self::expr)?;
            self.must(")")?;
            list
        };
        if name == "in" {
            return Ok(Expr::In {
                any_case,
                value,
                list,
            });
        }
        let has = |part| Expr::Match {
            how: Match::Has,
            exact: false,
            text: value.clone(),
            part: Box::new(part),
        };
        self.link(list.len())?;
        let all = name == "has_all";
        let join = |one, other| {
            if all {
                Expr::And(Box::new(one), Box::new(other))
            } else {
                Expr::Or(Box::new(one), Box::new(other))
            }
        };
        let joined = list.into_iter().map(has).reduce(join);
        Ok(joined.unwrap_or(Expr::Const(Value::Bool(all))))
    }

    fn sum(&mut self) -> Parsed {
        let mut expr = self.product()?;
        loop {
            let math = if self.takes("+") {
                Math::Add
            } else if self.takes("-") {
                Math::Subtract
            } else {
                return Ok(expr);
            };
            self.link(1)?;
            expr = Expr::Math(math, Box::new(expr), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Parsed {
        let mut expr = self.sign()?;
        loop {
            let math = if self.takes("*") {
                Math::Multiply
            } else if self.takes("/") {
                Math::Divide
            } else if self.takes("%") {
                Math::Remainder
            } else {
                return Ok(expr);
            };
            self.link(1)?;
            expr = Expr::Math(math, Box::new(expr), Box::new(self.sign()?));
        }
    }

    fn sign(&mut self) -> Parsed {
        if self.takes("-") {
            return Ok(Expr::Minus(Box::new(self.path()?)));
        }
        self.path()
    }

    /// A value and what is taken out of it: `a.b['c'][0]`.
    fn path(&mut self) -> Parsed {
        let mut expr = self.atom()?;
        let mut length = 0;
        loop {
            length += 1;
            if length > GRAPH_DEPTH {
                return Err(QueryError::TooDeep);
            }
            if self.takes(".") {
                expr = Expr::Member(Box::new(expr), self.word("a member")?);
            } else if self.takes("[") {
                let index = self.expr()?;
                self.must("]")?;
                expr = Expr::Index(Box::new(expr), Box::new(index));
            } else {
                return Ok(expr);
            }
        }
    }

    fn atom(&mut self) -> Parsed {
        let Some(kind) = self.peek().cloned() else {
            return Err(self.expected("a value"));
        };
        if self.takes("(") {
            let expr = self.expr()?;
            return self.must(")").map(|()| expr);
        }
        // A column whose name is no word.
        if let (Kind::Sign("["), Some(Kind::Text(name))) = (&kind, self.peek_at(1)) {
            let name = name.clone();
            self.at += 2;
            return self.must("]").map(|()| Expr::Name(name));
        }
        let constant = match kind {
            Kind::Text(text) => text.into(),
            Kind::Integer(number) | Kind::Span(number) => number.into(),
            Kind::Number(number) => number.into(),
            Kind::Word(word) => return self.named_value(&word),
            Kind::Sign(_) => return Err(self.expected("a value")),
        };
        self.at += 1;
        Ok(Expr::Const(constant))
    }

    fn named_value(&mut self, word: &str) -> Parsed {
        let called = matches!(self.peek_at(1), Some(Kind::Sign("(")));
        self.at += 1;
        if !called {
            return Ok(match word {
                "true" => Expr::Const(Value::Bool(true)),
                "false" => Expr::Const(Value::Bool(false)),
                "null" => Expr::Const(Value::Null),
                _ => Expr::Name(word.to_owned()),
            });
        }
        match word {
            "dynamic" => return self.raw().and_then(|(raw, at)| dynamic(raw, at)),
            "datetime" => return self.raw().and_then(|(raw, at)| datetime(raw, at)),
            _ => {}
        }
        self.must("(")?;
        let mut arguments = Vec::new();
        if !self.takes(")") {
            arguments = self.list(Self::expr)?;
            self.must(")")?;
        }
        if word == "not" {
            let [one] =
                <[Expr; 1]>::try_from(arguments).map_err(|_| QueryError::Arguments("not".to_owned()))?;
            return Ok(Expr::Not(Box::new(one)));
        }
        let function =
            Function::named(word).ok_or_else(|| QueryError::Unsupported(format!("the function {word}")))?;
        if !function.takes(arguments.len()) {
            return Err(QueryError::Arguments(word.to_owned()));
        }
        Ok(Expr::Call(function, arguments))
    }

    /// The text between parentheses, as it stands.
    fn raw(&mut self) -> Result<(&str, usize), QueryError> {
        self.must("(")?;
        let begin = self.tokens.get(self.at).map_or(self.text.len(), |token| token.at);
        let mut depth = 1_usize;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match token.kind {
                Kind::Sign("(") => depth += 1,
                Kind::Sign(")") => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let raw = self.text.get(begin..token.at).unwrap_or_default();
                return Ok((raw, begin));
            }
        }
        Err(QueryError::Open(begin))
    }
}

fn dynamic(raw: &str, at: usize) -> Parsed {
    let raw = raw.trim();
    // Kusto takes either quote around texts.
    let json = serde_json::from_str(raw).or_else(|_| serde_json::from_str(&raw.replace('\'', "\"")));
    json.map(Expr::Const).map_err(|_| QueryError::Expected {
        at,
        wanted: "a dynamic literal",
    })
}

fn datetime(raw: &str, at: usize) -> Parsed {
    let raw = raw.trim().trim_matches(['\'', '"']);
    let normal = time::normal(raw).ok_or(QueryError::Expected { at, wanted: "a time" })?;
    Ok(Expr::Const(normal.into()))
}
