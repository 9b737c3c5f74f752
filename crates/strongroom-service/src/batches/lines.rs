//! The lines of a file, as they stream in: no more of them is held than the longest line that is accepted.

use bytes::{Buf as _, Bytes, BytesMut};
use strongroom_store::StoreError;

use crate::files::Content;
use crate::limits;

/// Reads lines from a content.
pub(super) struct Lines {
    content: Content,
    held: BytesMut,
    /// Where in the file what is held begins.
    offset: u64,
    number: u64,
    /// The line that is being read has more bytes than it may; they are not kept.
    too_long: bool,
    is_over: bool,
}

/// A line with something in it.
pub(super) struct Line {
    /// Counted from 1, empty lines included.
    pub(super) number: u64,
    /// Where in the file the next one begins.
    pub(super) end: u64,
    /// What stands in it; none if that is too long.
    pub(super) text: Option<Bytes>,
}

impl Lines {
    /// Of a content that begins at `offset` in its file, behind so many lines.
    pub(super) fn new(content: Content, offset: u64, number: u64) -> Self {
        Self {
            content,
            held: BytesMut::new(),
            offset,
            number,
            too_long: false,
            is_over: false,
        }
    }

    /// The next line that is not empty.
    pub(super) async fn next(&mut self) -> Option<Result<Line, StoreError>> {
        let mut searched = 0;
        loop {
            let unsearched = self.held.get(searched..).unwrap_or_default();
            if let Some(at) = unsearched.iter().position(|byte| *byte == b'\n') {
                if let Some(line) = self.take(searched + at, 1) {
                    return Some(Ok(line));
                }
                searched = 0;
                continue;
            }
            searched = self.held.len();
            if searched > limits::BATCH_LINE_BYTES {
                self.offset += searched as u64;
                self.held.clear();
                self.too_long = true;
                searched = 0;
            }
            if self.is_over {
                let rest = self.held.len();
                return self.take(rest, 0).map(Ok);
            }
            match self.content.next_chunk().await {
                Some(Ok(bytes)) => self.held.extend_from_slice(&bytes),
                Some(Err(error)) => return Some(Err(error)),
                None => self.is_over = true,
            }
        }
    }

    /// Takes a line of this length and what ends it; none if it is empty.
    fn take(&mut self, length: usize, ending: usize) -> Option<Line> {
        let text = self.held.split_to(length).freeze();
        self.held.advance(ending);
        self.offset += (length + ending) as u64;
        let is_long = std::mem::take(&mut self.too_long) || text.len() > limits::BATCH_LINE_BYTES;
        let is_empty = !is_long && text.trim_ascii().is_empty();
        if ending > 0 || !is_empty {
            self.number += 1;
        }
        (!is_empty).then(|| Line {
            number: self.number,
            end: self.offset,
            text: (!is_long).then_some(text),
        })
    }
}
