//! A part on its way in: straight into the sealer, like a file.

use serde_json::json;
use strongroom_store::{BlobWriter, StagedBlob, Store};

use super::{Upload, WHAT};
use crate::arriving::Arriving;
use crate::auth::Permits;
use crate::call::{Answer, Call};
use crate::fields;
use crate::files::twice;
use crate::multipart::{Multipart, PartHead};
use crate::problem::Problem;

/// `POST uploads/{id}/parts`
pub(crate) async fn add(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?.to_owned();
    let boundary = call.boundary()?;
    call.body.check_announced()?;
    let _slot = call.service.transfer_slot(call.body.announced()).await?;
    let Call {
        service,
        permits,
        body,
        ..
    } = call;
    let (upload, piece) = match begin(&service.store, &permits, &id).await {
        Ok(begun) => begun,
        Err(problem) => {
            body.pass_over().await;
            return Err(problem);
        }
    };
    let limit = service.limits.part_bytes;
    let piece = take(piece, Multipart::new(body, &boundary), limit).await?;
    let part = upload.part_id(piece.part());
    let draft = upload.draft(&service.store, &permits)?;
    let added = draft.add(piece, upload.most(limit)).await;
    added.map_err(|fault| upload.fault(fault))?;
    Answer::json(&json!({
        "id": part,
        "object": "upload.part",
        "created_at": service.seconds(),
        "upload_id": id,
    }))
}

/// The upload, if it takes parts, and the place for one more.
async fn begin(store: &Store, permits: &Permits, id: &str) -> Result<(Upload, BlobWriter), Problem> {
    let upload = Upload::find_pending(store, permits.read()?, id).await?;
    let begun = upload.draft(store, permits)?.piece().await;
    let piece = begun.map_err(|fault| upload.fault(fault))?;
    Ok((upload, piece))
}

/// Seals and stages the form's one field.
async fn take(
    mut piece: BlobWriter,
    mut form: Multipart<Arriving>,
    limit: u64,
) -> Result<StagedBlob, Problem> {
    let mut is_there = false;
    while let Some(PartHead { name, .. }) = form.next_part().await? {
        if name != "data" {
            let message = "The form has a field that is not known here: data is.";
            return Err(Problem::coded("unknown_parameter", "form", message));
        }
        if std::mem::replace(&mut is_there, true) {
            return Err(twice("data"));
        }
        while let Some(bytes) = form.next_piece().await? {
            piece.write(bytes).await?;
            if piece.len() > limit {
                let what = "The part";
                return Err(Problem::TooLarge { what, limit });
            }
        }
    }
    if !is_there {
        return Err(fields::missing("data"));
    }
    if piece.is_empty() {
        return Err(Problem::coded("empty_part", "data", "The part is empty."));
    }
    Ok(piece.finish().await?)
}
