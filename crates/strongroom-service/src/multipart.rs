//! Reads `multipart/form-data` (RFC 7578) as it comes: pieces of a part are slices of what arrived, not copies of it, and nothing
//! is held back but what could be the beginning of a delimiter.

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use memchr::memmem::Finder;

use crate::arriving::BodyFault;
use crate::limits;

/// A form on its way in.
pub struct Multipart<S> {
    source: S,
    /// `\r\n--boundary`
    delimiter: Finder<'static>,
    unread: Bytes,
    state: State,
    parts: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    InPart,
    AfterDelimiter,
    Over,
}

/// What stands above a part's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartHead {
    /// The field's name.
    pub name: String,
    /// The file's name as the client gave it.
    pub file_name: Option<String>,
}

/// Why a form cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormFault {
    /// The body below failed.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// The content type names no usable boundary.
    #[error("the Content-Type names no usable boundary")]
    Boundary,
    /// The body ends within a part.
    #[error("the form ends within a part")]
    Incomplete,
    /// A part's head is not one, is too long, or is not UTF-8.
    #[error("a part of the form has a malformed head")]
    Head,
    /// There are more parts than are read.
    #[error("the form has too many parts")]
    TooManyParts,
}

/// The boundary that a `Content-Type` names, if it is a form's.
pub fn boundary(content_type: &str) -> Option<Result<String, FormFault>> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let named = parameters_of(parameters).find(|(name, _)| name.eq_ignore_ascii_case("boundary"));
    let usable = |text: &String| {
        !text.is_empty()
            && text.len() <= limits::BOUNDARY_CHARS
            && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    Some(
        named
            .map(|(_, value)| value)
            .filter(usable)
            .ok_or(FormFault::Boundary),
    )
}

impl<S: Stream<Item = Result<Bytes, BodyFault>> + Unpin> Multipart<S> {
    /// Reads the form that `source` brings; the boundary is what [`boundary`] found.
    pub fn new(source: S, boundary: &str) -> Self {
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        // The first delimiter may stand without a line break before it.
        let unread = Bytes::from_static(b"\r\n");
        Self {
            source,
            delimiter,
            unread,
            state: State::Preamble,
            parts: 0,
        }
    }

    /// The next part's head; what was not read of the part before is passed over. `None` after the last.
    pub async fn next_part(&mut self) -> Result<Option<PartHead>, FormFault> {
        while matches!(self.state, State::Preamble | State::InPart) {
            self.take_piece().await?;
        }
        if self.state == State::Over {
            return Ok(None);
        }
        if !self.begin_part().await? {
            self.state = State::Over;
            return Ok(None);
        }
        self.parts += 1;
        if self.parts > limits::MULTIPART_PARTS {
            return Err(FormFault::TooManyParts);
        }
        let head = self.take_head().await?;
        self.state = State::InPart;
        Ok(Some(head))
    }

    /// The next piece of the part; `None` at its end.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, FormFault> {
        while self.state == State::InPart {
            let piece = self.take_piece().await?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// What is certainly before the next delimiter; possibly nothing yet.
    async fn take_piece(&mut self) -> Result<Bytes, FormFault> {
        if let Some(at) = self.delimiter.find(&self.unread) {
            let piece = self.unread.split_to(at);
            self.unread.advance(self.delimiter.needle().len());
            self.state = State::AfterDelimiter;
            return Ok(piece);
        }
        let open = undecided(&self.unread, self.delimiter.needle());
        if open < self.unread.len() {
            return Ok(self.unread.split_to(self.unread.len() - open));
        }
        self.read_more().await?;
        Ok(Bytes::new())
    }

    /// Whether a part follows the delimiter, rather than the end of the form.
    async fn begin_part(&mut self) -> Result<bool, FormFault> {
        self.read_at_least(2).await?;
        if self.unread.starts_with(b"--") {
            return Ok(false);
        }
        // Padding between the delimiter and the end of its line.
        for _ in 0..limits::PART_HEAD_BYTES {
            self.read_at_least(2).await?;
            if self.unread.starts_with(b"\r\n") {
                // The line break stays: a head without lines is a break of its own.
                return Ok(true);
            }
            if !matches!(self.unread.first(), Some(b' ' | b'\t')) {
                return Err(FormFault::Head);
            }
            self.unread.advance(1);
        }
        Err(FormFault::Head)
    }

    async fn take_head(&mut self) -> Result<PartHead, FormFault> {
        loop {
            let end = memchr::memmem::find(&self.unread, b"\r\n\r\n");
            if end.unwrap_or(self.unread.len()) > limits::PART_HEAD_BYTES {
                return Err(FormFault::Head);
            }
            if let Some(end) = end {
                let head = self.unread.split_to(end);
                self.unread.advance(4);
                return parse_head(&head);
            }
            self.read_more().await?;
        }
    }

    async fn read_at_least(&mut self, length: usize) -> Result<(), FormFault> {
        while self.unread.len() < length {
            self.read_more().await?;
        }
        Ok(())
    }

    /// Appends what comes next to the few bytes that are still undecided. Only those, and as much again, are copied.
    async fn read_more(&mut self) -> Result<(), FormFault> {
        let next = self
            .source
            .next()
            .await
            .transpose()?
            .ok_or(FormFault::Incomplete)?;
        if self.unread.is_empty() {
            self.unread = next;
            return Ok(());
        }
        let mut joined = BytesMut::with_capacity(self.unread.len() + next.len());
        joined.extend_from_slice(&self.unread);
        joined.extend_from_slice(&next);
        self.unread = joined.freeze();
        Ok(())
    }
}

/// How many of the last bytes could be the beginning of a delimiter.
fn undecided(bytes: &[u8], delimiter: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(delimiter.len() - 1);
    let tail = bytes.get(from..).unwrap_or_default();
    memchr::memchr_iter(b'\r', tail)
        .map(|at| tail.get(at..).unwrap_or_default())
        .find(|rest| delimiter.starts_with(rest))
        .map_or(0, <[u8]>::len)
}

fn parse_head(head: &[u8]) -> Result<PartHead, FormFault> {
    let head = std::str::from_utf8(head).map_err(|_| FormFault::Head)?;
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let disposition = lines
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
        .map(|(_, value)| value.trim())
        .next()
        .ok_or(FormFault::Head)?;
    let (kind, parameters) = disposition.split_once(';').ok_or(FormFault::Head)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(FormFault::Head);
    }
    let mut part = PartHead {
        name: String::new(),
        file_name: None,
    };
    for (name, value) in parameters_of(parameters) {
        if name.eq_ignore_ascii_case("name") {
            part.name = value;
        } else if name.eq_ignore_ascii_case("filename") {
            part.file_name.get_or_insert(value);
        } else if name.eq_ignore_ascii_case("filename*") {
            part.file_name = extended(&value).or(part.file_name);
        }
    }
    Ok(part)
}

/// `name=value` and `name="quoted \"value\""`, parted by semicolons. What is neither ends the list.
fn parameters_of(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (name, after) = rest.split_once('=')?;
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, left) = after.split_at(end);
                (value.trim().to_owned(), left)
            }
        };
        rest = left;
        Some((name.trim(), value))
    })
}

/// The text up to the closing quote, and what follows it. Clients escape the quote as `\"` or as `%22`.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value.replace("%22", "\""), quoted.get(at + 1..)?)),
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                // Some clients send a path with its backslashes as they are.
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    None
}

/// RFC 5987: `UTF-8''percent-encoded`.
fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    percent_encoding::percent_decode_str(encoded)
        .decode_utf8()
        .ok()
        .map(|text| text.into_owned())
}

#[cfg(test)]
mod tests;
