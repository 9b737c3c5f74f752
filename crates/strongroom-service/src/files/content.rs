//! A file's content on its way out: whole or one range, a segment at a time.

use futures::stream;
use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use strongroom_store::{BlobReader, StoreError};

use super::range::{Asked, asked};
use super::{CONTENT, KIND, WHAT};
use crate::call::{Answer, AnswerBody, Call};
use crate::flow::{CutShort, Pieces};
use crate::problem::Problem;

/// What RFC 5987 lets stand in `filename*`.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'~');

/// `GET files/{id}/content`
pub(crate) async fn content(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let store = &call.service.store;
    let permit = call.permits.read()?;
    let object = super::find(store, permit, id).await?;
    let length = object.meta.size_of(CONTENT).unwrap_or(0);
    let part = match asked(call.headers.get(RANGE).map(|value| value.as_bytes()), length) {
        Asked::Whole => None,
        Asked::Part(part) => Some(part),
        Asked::Outside => return Err(Problem::Range { len: length }),
    };
    let wanted = part.as_ref().map_or(length, |part| part.end - part.start);
    let slot = call.service.transfer_slot(Some(wanted)).await?;
    let reader = store.open_blob(permit, KIND, id, CONTENT, part.clone()).await;
    let reader = reader.map_err(|error| Problem::store(error, WHAT, id))?;
    let length_out = reader.len();
    let name = super::read(&object)?.filename;
    let body = AnswerBody::Pieces {
        pieces: pieces(reader),
        length: Some(length_out),
        slot: Some(slot),
    };
    let mut answer = Answer::new("application/octet-stream", body)
        .header(ACCEPT_RANGES, "bytes")
        .header(CONTENT_LENGTH, length_out.to_string())
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(
            CONTENT_DISPOSITION,
            format!(
                "attachment; filename*=UTF-8''{}",
                utf8_percent_encode(&name, NAME)
            ),
        );
    if let Some(part) = part {
        answer.status = StatusCode::PARTIAL_CONTENT;
        answer = answer.header(
            CONTENT_RANGE,
            format!("bytes {}-{}/{length}", part.start, part.end - 1),
        );
    }
    Ok(answer)
}

fn pieces(reader: BlobReader) -> Pieces {
    Box::pin(stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next_chunk().await? {
            Ok(piece) => Some((Ok(piece), Some(reader))),
            Err(StoreError::Key(denied)) => Some((Err(CutShort::Key(denied)), None)),
            Err(error) => {
                tracing::error!(%error, "a download was broken off");
                Some((Err(CutShort::Failed), None))
            }
        }
    }))
}
