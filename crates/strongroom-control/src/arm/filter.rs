//! OData filters: `resourceType eq 'a/b' and name eq 'c'`, with `not`, `in`, parentheses, `list/any(x:x eq 'c')` and a few
//! functions.

use crate::limits::{FILTER, FILTER_DEPTH};

/// A filter, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    /// `name op 'value'`.
    Compare(String, Comparison, String),
    /// `function(name, 'value')`, in either order.
    Call(Function, String, String),
    /// `name in ('a', 'b')`.
    In(String, Vec<String>),
    /// `name/any(x:x op 'value')`.
    Any(String, Comparison, String),
    /// `atScope()`.
    AtScope,
    /// `atScopeAndBelow()`.
    AtScopeAndBelow,
    /// `assignedTo('principal')`.
    AssignedTo(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    StartsWith,
    EndsWith,
    Contains,
}

/// Why a text is no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    /// Longer than any filter needs to be.
    #[error("the filter is too long")]
    TooLong,
    /// Its parentheses nest too deep.
    #[error("the filter nests too deep")]
    TooDeep,
    /// A text in quotes does not end.
    #[error("a text in the filter does not end")]
    OpenText,
    /// Something stands where something else must stand.
    #[error("the filter is not understood at byte {0}")]
    Unexpected(usize),
}

impl Filter {
    /// Parses a filter, as it is after the query was decoded.
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER {
            return Err(FilterError::TooLong);
        }
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
            end: text.len(),
        };
        let filter = parser.or(0)?;
        match parser.peek() {
            None => Ok(filter),
            Some(_) => Err(parser.unexpected()),
        }
    }

    /// Whether it holds, where `value` gives what a name stands for. A name that stands for nothing equals nothing.
    pub(crate) fn holds(&self, value: &impl Fn(&str) -> Option<String>) -> bool {
        self.holds_with(value, &|name| value(name).into_iter().collect())
    }

    /// As [`Self::holds`], where `list` gives what is in the list of a name.
    pub(crate) fn holds_with(
        &self,
        value: &impl Fn(&str) -> Option<String>,
        list: &impl Fn(&str) -> Vec<String>,
    ) -> bool {
        match self {
            Self::And(one, other) => one.holds_with(value, list) && other.holds_with(value, list),
            Self::Or(one, other) => one.holds_with(value, list) || other.holds_with(value, list),
            Self::Not(one) => !one.holds_with(value, list),
            Self::In(name, wanted) => {
                value(name).is_some_and(|found| wanted.iter().any(|one| same(one, &found)))
            }
            Self::Any(name, comparison, wanted) => {
                let wanted = wanted.to_lowercase();
                let mut found = list(name).into_iter().map(|found| found.to_lowercase());
                found.any(|found| compare(Some(&found), *comparison, &wanted))
            }
            Self::Compare(name, comparison, wanted) => {
                let found = value(name);
                let found = found.as_deref().map(str::to_lowercase);
                compare(found.as_deref(), *comparison, &wanted.to_lowercase())
            }
            Self::Call(function, name, wanted) => value(name).is_some_and(|found| {
                let (found, wanted) = (found.to_lowercase(), wanted.to_lowercase());
                match function {
                    Function::StartsWith => found.starts_with(&wanted),
                    Function::EndsWith => found.ends_with(&wanted),
                    Function::Contains => found.contains(&wanted),
                }
            }),
            Self::AtScope | Self::AtScopeAndBelow | Self::AssignedTo(_) => true,
        }
    }

    /// The names that it asks for.
    pub(crate) fn names(&self) -> Vec<&str> {
        let (mut found, mut open) = (Vec::new(), vec![self]);
        while let Some(one) = open.pop() {
            match one {
                Self::And(one, other) | Self::Or(one, other) => open.extend([one.as_ref(), other.as_ref()]),
                Self::Not(one) => open.push(one),
                Self::Compare(name, ..)
                | Self::Call(_, name, _)
                | Self::In(name, _)
                | Self::Any(name, ..) => {
                    found.push(name.as_str());
                }
                // Those ask for scopes. Where there are none, they are names that nothing has.
                Self::AtScope => found.push("atScope()"),
                Self::AtScopeAndBelow => found.push("atScopeAndBelow()"),
                Self::AssignedTo(_) => found.push("assignedTo()"),
            }
        }
        found
    }

    /// What must hold, each by itself.
    pub(crate) fn conditions(&self) -> Vec<&Self> {
        let (mut found, mut open) = (Vec::new(), vec![self]);
        while let Some(one) = open.pop() {
            match one {
                Self::And(one, other) => open.extend([other.as_ref(), one.as_ref()]),
                one => found.push(one),
            }
        }
        found
    }

    /// The value that `name` must equal for the filter to hold, if the filter says so without alternatives.
    pub(crate) fn required(&self, name: &str, comparison: Comparison) -> Option<&str> {
        match self {
            Self::And(one, other) => one
                .required(name, comparison)
                .or_else(|| other.required(name, comparison)),
            Self::Compare(known, found, value)
                if *found == comparison && known.eq_ignore_ascii_case(name) =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// The filter with other values, where `map` is given name and value; or the first error of `map`.
    pub(crate) fn map_values<E>(self, map: &impl Fn(&str, &str) -> Result<String, E>) -> Result<Self, E> {
        Ok(match self {
            Self::And(one, other) => {
                Self::And(Box::new(one.map_values(map)?), Box::new(other.map_values(map)?))
            }
            Self::Or(one, other) => {
                Self::Or(Box::new(one.map_values(map)?), Box::new(other.map_values(map)?))
            }
            Self::Not(one) => Self::Not(Box::new(one.map_values(map)?)),
            Self::Compare(name, comparison, value) => {
                let value = map(&name, &value)?;
                Self::Compare(name, comparison, value)
            }
            other => other,
        })
    }

    /// Whether it asks for what is at the scope and not below.
    pub(crate) fn at_scope(&self) -> bool {
        self.conditions().contains(&&Self::AtScope)
    }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn compare(found: Option<&str>, comparison: Comparison, wanted: &str) -> bool {
    match (comparison, found) {
        (Comparison::Ne, found) => found != Some(wanted),
        (_, None) => false,
        (Comparison::Eq, Some(found)) => found == wanted,
        (Comparison::Gt, Some(found)) => found > wanted,
        (Comparison::Ge, Some(found)) => found >= wanted,
        (Comparison::Lt, Some(found)) => found < wanted,
        (Comparison::Le, Some(found)) => found <= wanted,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
    Comma,
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '\'' => {
                let mut value = String::new();
                loop {
                    match rest.next() {
                        None => return Err(FilterError::OpenText),
                        // Two quotes are one quote of the text.
                        Some((_, '\'')) if rest.next_if(|(_, c)| *c == '\'').is_some() => value.push('\''),
                        Some((_, '\'')) => break,
                        Some((_, c)) => value.push(c),
                    }
                }
                Token::Text(value)
            }
            c => {
                let mut word = String::from(c);
                while let Some((_, c)) = rest.next_if(|(_, c)| !c.is_whitespace() && !"(),'".contains(*c)) {
                    word.push(c);
                }
                Token::Word(word)
            }
        };
        tokens.push((at, token));
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    end: usize,
}

impl Parser {
    fn or(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut filter = self.and(depth)?;
        while self.takes_word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.and(depth)?));
        }
        Ok(filter)
    }

    fn and(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut filter = self.one(depth)?;
        while self.takes_word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one(depth)?));
        }
        Ok(filter)
    }

    fn one(&mut self, depth: usize) -> Result<Filter, FilterError> {
        if depth > FILTER_DEPTH {
            return Err(FilterError::TooDeep);
        }
        if self.takes_word("not") {
            return Ok(Filter::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes(&Token::Open) {
            let filter = self.or(depth + 1)?;
            return self.must(&Token::Close).map(|()| filter);
        }
        let name = self.operand()?;
        if self.takes(&Token::Open) {
            return self.call(&name);
        }
        if self.takes_word("in") {
            return Ok(Filter::In(name, self.list()?));
        }
        let comparison = self.comparison()?;
        Ok(Filter::Compare(name, comparison, self.operand()?))
    }

    fn comparison(&mut self) -> Result<Comparison, FilterError> {
        let at = self.unexpected();
        Ok(match self.operand()?.to_ascii_lowercase().as_str() {
            "eq" => Comparison::Eq,
            "ne" => Comparison::Ne,
            "gt" => Comparison::Gt,
            "ge" => Comparison::Ge,
            "lt" => Comparison::Lt,
            "le" => Comparison::Le,
            _ => return Err(at),
        })
    }

    /// `('a', 'b')`.
    fn list(&mut self) -> Result<Vec<String>, FilterError> {
        self.must(&Token::Open)?;
        let mut values = vec![self.operand()?];
        while self.takes(&Token::Comma) {
            values.push(self.operand()?);
        }
        self.must(&Token::Close).map(|()| values)
    }

    /// `x:x eq 'value')`, where the opening parenthesis was taken. Tokens end at spaces, so `x: x` are two.
    fn any(&mut self, list: &str) -> Result<Filter, FilterError> {
        let at = self.unexpected();
        let mut lambda = self.operand()?;
        if lambda.ends_with(':') {
            lambda.push_str(&self.operand()?);
        }
        match lambda.split_once(':') {
            Some((name, used)) if name == used && !name.is_empty() => {}
            _ => return Err(at),
        }
        let comparison = self.comparison()?;
        let value = self.operand()?;
        self.must(&Token::Close)?;
        Ok(Filter::Any(list.to_owned(), comparison, value))
    }

    fn call(&mut self, function: &str) -> Result<Filter, FilterError> {
        let at = self.unexpected();
        if let Some(list) = function.strip_suffix("/any") {
            return self.any(list);
        }
        let function = match function.to_ascii_lowercase().as_str() {
            "atscope" => return self.must(&Token::Close).map(|()| Filter::AtScope),
            "atscopeandbelow" => return self.must(&Token::Close).map(|()| Filter::AtScopeAndBelow),
            "assignedto" => {
                let principal = self.operand()?;
                return self.must(&Token::Close).map(|()| Filter::AssignedTo(principal));
            }
            "startswith" => Function::StartsWith,
            "endswith" => Function::EndsWith,
            "contains" | "substringof" => Function::Contains,
            _ => return Err(at),
        };
        let text_first = matches!(self.peek(), Some(Token::Text(_)));
        let first = self.operand()?;
        self.must(&Token::Comma)?;
        let second = self.operand()?;
        self.must(&Token::Close)?;
        // `substringof('text', name)` has them the other way round.
        let (name, text) = if text_first {
            (second, first)
        } else {
            (first, second)
        };
        Ok(Filter::Call(function, name, text))
    }

    fn operand(&mut self) -> Result<String, FilterError> {
        let found = match self.peek() {
            Some(Token::Word(text) | Token::Text(text)) => text.clone(),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(found)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn takes(&mut self, token: &Token) -> bool {
        let taken = self.peek() == Some(token);
        self.at += usize::from(taken);
        taken
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let taken = matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(taken);
        taken
    }

    fn must(&mut self, token: &Token) -> Result<(), FilterError> {
        if self.takes(token) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> FilterError {
        FilterError::Unexpected(self.tokens.get(self.at).map_or(self.end, |(at, _)| *at))
    }
}

#[cfg(test)]
mod tests;
