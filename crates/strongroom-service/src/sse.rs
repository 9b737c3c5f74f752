//! Server-sent events, as OpenAI frames them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::call::{Answer, AnswerBody};
use crate::flow::Pieces;
use crate::metrics::Metrics;
use crate::service::Slot;

/// The end of a stream of chat completion chunks.
pub(crate) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// `data: {...}` with its blank line.
pub(crate) fn data(value: &impl Serialize) -> Bytes {
    let mut event = b"data: ".to_vec();
    write(&mut event, value);
    event.into()
}

/// `event: name` and `data: {...}`, appended.
pub(crate) fn named(out: &mut Vec<u8>, name: &str, value: &Map<String, Value>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    write(out, value);
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to memory what is made of strings and numbers does not fail; JSON has no raw line breaks.
    let _ = serde_json::to_writer(&mut *out, value);
    out.extend_from_slice(b"\n\n");
}

/// An answer that is a stream of events.
pub(crate) fn answer(pieces: Pieces, slot: Slot, metrics: &Metrics) -> Answer {
    let pieces = counted(pieces, metrics);
    Answer::new(
        "text/event-stream; charset=utf-8",
        AnswerBody::Pieces {
            pieces,
            length: None,
            slot: Some(slot),
        },
    )
}

/// Counts as an open stream until dropped.
fn counted(pieces: Pieces, metrics: &Metrics) -> Pieces {
    let open = metrics.stream();
    Box::pin(futures::stream::unfold(
        (pieces, open),
        |(mut pieces, open)| async move {
            let piece = futures::StreamExt::next(&mut pieces).await?;
            Some((piece, (pieces, open)))
        },
    ))
}
