//! Server-sent events, read as the bytes come.

use crate::limits;

/// Cuts bytes into the data of events. Any way of chunking the same bytes gives the same events.
#[derive(Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return; a line feed right after it belongs to the same line end.
    after_return: bool,
    past_first_line: bool,
}

/// The bytes are not events within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    #[error("a line is longer than {} bytes", limits::SSE_LINE)]
    LongLine,
    #[error("an event is longer than {} bytes", limits::SSE_EVENT)]
    LongEvent,
}

impl SseParser {
    /// Nothing read yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and adds the data of each event that they complete to `events`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], events: &mut Vec<Vec<u8>>) -> Result<(), SseError> {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (part, rest) = bytes
                .split_at_checked(end.unwrap_or(bytes.len()))
                .unwrap_or((bytes, &[]));
            if self.line.len() + part.len() > limits::SSE_LINE {
                return Err(SseError::LongLine);
            }
            self.line.extend_from_slice(part);
            bytes = rest;
            if let Some((ending, rest)) = rest.split_first() {
                self.after_return = *ending == b'\r';
                bytes = rest;
                self.end_line(events)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<Vec<u8>>) -> Result<(), SseError> {
        let mut line = std::mem::take(&mut self.line);
        let text = match self.past_first_line {
            true => line.as_slice(),
            false => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line),
        };
        self.past_first_line = true;
        if text.is_empty() {
            if std::mem::take(&mut self.has_data) {
                events.push(std::mem::take(&mut self.data));
            }
        } else if let Some(value) = data_field(text) {
            if self.data.len() + value.len() >= limits::SSE_EVENT {
                return Err(SseError::LongEvent);
            }
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.has_data = true;
        }
        line.clear();
        self.line = line;
        Ok(())
    }
}

/// The value of a `data` line; other fields and comments carry nothing that is needed here.
fn data_field(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    match rest.split_first() {
        None => Some(rest),
        Some((b':', value)) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, SseError> {
        let mut parser = SseParser::new();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.push(chunk, &mut events)?;
        }
        Ok(events)
    }

    fn texts(bytes: &str) -> Vec<String> {
        let events = parse([bytes.as_bytes()]).expect("within the limits");
        events
            .into_iter()
            .map(|event| String::from_utf8(event).expect("text"))
            .collect()
    }

    #[test]
    fn lines_may_end_in_three_ways() {
        assert_eq!(
            texts("data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d"),
            ["a", "b", "c"]
        );
    }

    #[test]
    fn data_lines_of_one_event_are_joined_and_only_one_space_is_cut() {
        assert_eq!(texts("data:a\ndata:  b\ndata\ndata: c\n\n"), ["a\n b\n\nc"]);
    }

    #[test]
    fn comments_other_fields_and_a_byte_order_mark_are_skipped() {
        assert_eq!(
            texts("\u{feff}data: a\n: note\nevent: x\ndatabase: y\nid: 1\n\n: alone\n\n"),
            ["a"]
        );
    }

    #[test]
    fn an_empty_data_line_is_an_event_but_no_line_is_none() {
        assert_eq!(texts("\n\ndata:\n\n\n\n"), [""]);
    }

    #[test]
    fn giant_lines_and_events_are_refused_before_they_are_kept() {
        let giant = vec![b'x'; limits::SSE_LINE + 1];
        assert_eq!(parse([giant.as_slice()]), Err(SseError::LongLine));
        let mut line = b"data:".to_vec();
        line.resize(limits::SSE_LINE, b'x');
        line.push(b'\n');
        let lines = std::iter::repeat_n(line.as_slice(), limits::SSE_EVENT / limits::SSE_LINE + 1);
        assert_eq!(parse(lines), Err(SseError::LongEvent));
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"data: ".to_vec()),
            Just(b"data:".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n\n".to_vec()),
            Just(b": note".to_vec()),
            Just(b"event: x".to_vec()),
            Just(b"\xef\xbb\xbf".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..12),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(bytes in pieces(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(parse(chunks), parse([bytes.as_slice()]));
        }
    }
}
