//! A part on its way in: straight into the sealer, like a file.

use serde_json::json;

use super::{Upload, WHAT};
use crate::arriving::Arriving;
use crate::call::{Answer, Call};
use crate::fields;
use crate::files::{Draft, twice};
use crate::multipart::{Multipart, PartHead};
use crate::problem::Problem;
use strongroom_store::StagedBlob;

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
    let upload = Upload::find(&service.store, permits.read()?, &id).await?;
    upload.demand_pending()?;
    let draft = upload.draft(&service.store, &permits)?;
    let limit = service.limits.part_bytes;
    let taken = take(draft, Multipart::new(body, &boundary), limit).await;
    let piece = taken.map_err(|fault| upload.fault(fault))?;
    let part = upload.part_id(piece.part());
    let added = draft.add(piece, upload.most(limit)).await;
    added.map_err(|fault| upload.fault(fault))?;
    Answer::json(&json!({
        "id": part,
        "object": "upload.part",
        "created_at": service.seconds(),
        "upload_id": id,
    }))
}

/// Seals and stages the form's one field.
async fn take(
    draft: Draft<'_>,
    mut form: Multipart<Arriving>,
    limit: u64,
) -> Result<StagedBlob, crate::files::DraftFault> {
    let mut taken = None;
    while let Some(PartHead { name, .. }) = form.next_part().await.map_err(Problem::from)? {
        if name != "data" {
            let message = "The form has a field that is not known here: data is.";
            return Err(Problem::coded("unknown_parameter", "form", message).into());
        }
        if taken.is_some() {
            return Err(twice("data").into());
        }
        let mut writer = draft.piece().await?;
        while let Some(bytes) = form.next_piece().await.map_err(Problem::from)? {
            writer.write(bytes).await?;
            if writer.len() > limit {
                let what = "The part";
                return Err(Problem::TooLarge { what, limit }.into());
            }
        }
        if writer.is_empty() {
            return Err(Problem::coded("empty_part", "data", "The part is empty.").into());
        }
        taken = Some(writer.finish().await?);
    }
    taken.ok_or_else(|| fields::missing("data").into())
}
