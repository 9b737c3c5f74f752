//! A file's content on its way out: whole or one range, a segment at a time.

use futures::stream;
use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use strongroom_store::StoreError;

use super::range::{Asked, asked};
use super::{Content, File, WHAT};
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
    let file = File::find(store, permit, id).await?;
    let length = file.len();
    let part = match asked(call.headers.get(RANGE).map(|value| value.as_bytes()), length) {
        Asked::Whole => None,
        Asked::Part(part) => Some(part),
        Asked::Outside => return Err(Problem::Range { len: length }),
    };
    let wanted = part.as_ref().map_or(length, |part| part.end - part.start);
    let slot = call.service.transfer_slot(Some(wanted)).await?;
    let content = file.read(store, permit, part.clone()).await;
    let content = content.map_err(|error| Problem::store(error, WHAT, id))?;
    let length_out = content.len();
    let body = AnswerBody::Pieces {
        pieces: pieces(content),
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
                utf8_percent_encode(&file.record.filename, NAME)
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

fn pieces(content: Content) -> Pieces {
    Box::pin(stream::unfold(Some(content), |content| async {
        let mut content = content?;
        match content.next_chunk().await? {
            Ok(piece) => Some((Ok(piece), Some(content))),
            Err(StoreError::Key(denied)) => Some((Err(CutShort::Key(denied)), None)),
            Err(error) => {
                tracing::error!(%error, "a download was broken off");
                Some((Err(CutShort::Failed), None))
            }
        }
    }))
}
