//! A YAML document as a tree in which everything knows its line. Anchors, aliases and tags are refused: a design says what it
//! says, once.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::Fault;
use crate::limits;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A text, and whether it stands without quotes, so that it may mean nothing.
    Scalar(String, bool),
    List(Vec<Node>),
    /// Names with their lines, in the order of the file.
    Map(Vec<(String, usize, Node)>),
}

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Node, Fault> {
    if text.len() > limits::DESIGN_BYTES {
        return Err(Fault::new(1, "the file is larger than any design"));
    }
    let mut events = Events {
        parser: Parser::new_from_str(text),
    };
    loop {
        match events.next()? {
            (Event::StreamStart | Event::DocumentStart(_), _) => {}
            (Event::StreamEnd, line) => return Err(Fault::new(line, "the file is empty")),
            (event, line) => {
                let node = events.node(event, line, 0)?;
                return match events.next()? {
                    (Event::DocumentEnd, _) => events.end(node),
                    (_, line) => Err(Fault::new(line, "something follows the design")),
                };
            }
        }
    }
}

struct Events<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, Span { start, .. }))) => Ok((event, start.line().max(1))),
            Some(Err(error)) => Err(Fault::new(
                error.marker().line().max(1),
                format!("this is not YAML: {}", error.info()),
            )),
            None => Err(Fault::new(1, "the file breaks off")),
        }
    }

    /// A second document would be approved by nobody who reads the first.
    fn end(&mut self, node: Node) -> Result<Node, Fault> {
        match self.next()? {
            (Event::StreamEnd, _) => Ok(node),
            (_, line) => Err(Fault::new(
                line,
                "a file holds one design, this is a second document",
            )),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Fault> {
        if depth > limits::DESIGN_DEPTH {
            return Err(Fault::new(line, "this nests deeper than any design"));
        }
        let refused = |what: &str| Err(Fault::new(line, format!("{what} are not read in a design")));
        let kind = match event {
            Event::Alias(_) => return refused("aliases"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor > 0 =>
            {
                return refused("anchors");
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return refused("tags"),
            Event::Scalar(text, style, ..) => {
                Kind::Scalar(text.into_owned(), matches!(style, ScalarStyle::Plain))
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            _ => return Err(Fault::new(line, "the file breaks off")),
        };
        Ok(Node { line, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(items)),
                (event, line) => items.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Fault> {
        let mut members: Vec<(String, usize, Node)> = Vec::new();
        loop {
            let (name, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Kind::Map(members)),
                (event, line) => match self.node(event, line, depth + 1)?.kind {
                    Kind::Scalar(name, _) => (name, line),
                    _ => return Err(Fault::new(line, "a name is a text")),
                },
            };
            if let Some((_, first, _)) = members.iter().find(|(known, ..)| *known == name) {
                let what = format!("`{name}` stands here again, first in line {first}");
                return Err(Fault::new(line, what));
            }
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth + 1)?;
            members.push((name, line, value));
        }
    }
}
